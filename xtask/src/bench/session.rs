//! One machine from its start to its power-off: what the console says, and when.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::Error;
use super::process_memory::{Footprint, cpu_seconds, footprint, forget_peak, peak_bytes};
use super::program::Outcome;

/// Longer than any kernel takes on a loaded host; a machine that says nothing for so long hangs.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);
/// Lines of output that an error repeats.
const TAIL_LINES: usize = 30;

/// The guest's clock may differ from the host's by this share of a kernel's time, and by this time.
const CLOCK_SHARE: f64 = 0.02;
const CLOCK_SLACK_SECONDS: f64 = 0.1;

/// What one machine showed.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// From the start of the process to the first line of the guest's first process.
    pub(super) boot_seconds: f64,
    /// The guest's view of its processor: instruction set, translation mode, number.
    pub(super) isa: String,
    pub(super) mmu: String,
    pub(super) cpus: String,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) footprint: Footprint,
    /// Share of a host core while the guest sleeps.
    pub(super) idle_share: Option<f64>,
    /// Rows that a calibration printed.
    pub(super) rows: Vec<String>,
    /// Kernels whose time by the guest's clock is not the host's.
    pub(super) clock_errors: Vec<String>,
}

impl Run {
    pub(super) fn outcome(&self, kernel: &str) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.name == kernel)
    }
}

struct Line {
    at: Instant,
    text: String,
    is_console: bool,
}

/// Runs a machine to its end. `name` is for messages; `progress` sees each result.
pub(super) fn run(
    mut command: Command,
    name: &str,
    ram_bytes: u64,
    progress: &dyn Fn(&str),
) -> Result<Run, Error> {
    let mut session = Session::start(&mut command, name)?;
    let mut reading = Reading {
        run: Run::default(),
        kernel_started: None,
        idle_since: None,
        peak_bytes: 0,
    };
    loop {
        let line = session.next_line()?;
        if !line.is_console {
            continue;
        }
        match reading.take(&line, &session, ram_bytes) {
            Step::Nothing => {}
            Step::Progress(text) => progress(&text),
            Step::Failed(why) => return Err(session.failure(why)),
            Step::End => break,
        }
    }
    let status = session.wait()?;
    if !status.success() {
        return Err(session.failure(format!("ended with {status}")));
    }
    Ok(reading.run)
}

/// Runs a machine until a line of its console holds `text`, and ends it there: the time since its start and
/// the largest resident set.
pub(super) fn until(mut command: Command, name: &str, text: &str) -> Result<(f64, u64), Error> {
    let mut session = Session::start(&mut command, name)?;
    loop {
        let line = session.next_line()?;
        if line.is_console && line.text.contains(text) {
            let seconds = (line.at - session.started).as_secs_f64();
            return Ok((seconds, peak_bytes(session.pid()).unwrap_or(0)));
        }
    }
}

enum Step {
    Nothing,
    Progress(String),
    Failed(String),
    End,
}

/// What has been understood of the console so far.
struct Reading {
    run: Run,
    kernel_started: Option<Instant>,
    idle_since: Option<(Instant, f64)>,
    /// The largest resident set before the last kernel began.
    peak_bytes: u64,
}

impl Reading {
    fn take(&mut self, line: &Line, session: &Session, ram_bytes: u64) -> Step {
        // A message of the kernel may stand before it on the same line.
        if let Some((_, mark)) = line.text.split_once("bench: ") {
            return self.mark(mark, line.at, session, ram_bytes);
        }
        if line.text.starts_with("KERNEL(") {
            self.run.rows.push(line.text.clone());
            return Step::Progress(line.text.clone());
        }
        if line.text.starts_with("start ") {
            self.kernel_started = Some(line.at);
            self.peak_bytes = self.peak_bytes.max(peak_bytes(session.pid()).unwrap_or(0));
            forget_peak(session.pid());
        } else if let Some(mut outcome) = Outcome::parse(&line.text) {
            outcome.peak_bytes = peak_bytes(session.pid());
            if let Some(from) = self.kernel_started.take() {
                let seconds = (line.at - from).as_secs_f64();
                let difference = (seconds - outcome.seconds).abs();
                if difference > CLOCK_SLACK_SECONDS + CLOCK_SHARE * seconds {
                    self.run.clock_errors.push(format!(
                        "{}: {:.2} s by the guest's clock, {seconds:.2} s by the host's",
                        outcome.name, outcome.seconds
                    ));
                }
            }
            let text = format!("{} {:.3} s", outcome.name, outcome.seconds);
            self.run.outcomes.push(outcome);
            return Step::Progress(text);
        }
        Step::Nothing
    }

    fn mark(&mut self, mark: &str, at: Instant, session: &Session, ram_bytes: u64) -> Step {
        let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        match (word, rest) {
            ("userspace", _) => {
                self.run.boot_seconds = (at - session.started).as_secs_f64();
                return Step::Progress(format!("userspace after {:.2} s", self.run.boot_seconds));
            }
            ("isa", isa) => self.run.isa = isa.to_owned(),
            ("mmu", mmu) => self.run.mmu = mmu.to_owned(),
            ("cpus", cpus) => self.run.cpus = cpus.to_owned(),
            ("idle", "over") => {
                if let (Some((since, before)), Some(now)) =
                    (self.idle_since, cpu_seconds(session.pid()))
                {
                    let seconds = since.elapsed().as_secs_f64();
                    self.run.idle_share = Some((now - before) / seconds);
                }
            }
            ("idle", _) => {
                self.idle_since = cpu_seconds(session.pid()).map(|used| (Instant::now(), used));
            }
            ("failed", what) => return Step::Failed(format!("the guest's `{what}` failed")),
            ("end", _) => {
                let Some(footprint) = footprint(session.pid(), ram_bytes) else {
                    return Step::Failed("its memory in /proc cannot be read".to_owned());
                };
                let peak_bytes = (self.run.outcomes.iter())
                    .filter_map(|outcome| outcome.peak_bytes)
                    .fold(footprint.peak_bytes.max(self.peak_bytes), u64::max);
                self.run.footprint = Footprint {
                    peak_bytes,
                    ..footprint
                };
                return Step::End;
            }
            _ => {}
        }
        Step::Nothing
    }
}

/// The process and its output; it does not outlive this value.
struct Session {
    child: Child,
    name: String,
    started: Instant,
    lines: Receiver<Line>,
    tail: Vec<String>,
}

impl Session {
    fn start(command: &mut Command, name: &str) -> Result<Self, Error> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().map_err(|source| Error::Machine {
            machine: name.to_owned(),
            why: format!(
                "cannot start `{}`: {source}",
                command.get_program().to_string_lossy()
            ),
            output: String::new(),
        })?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("invariant: asked for a pipe");
        let stderr = child.stderr.take().expect("invariant: asked for a pipe");
        follow(stdout, true, sender.clone());
        follow(stderr, false, sender);
        Ok(Self {
            child,
            name: name.to_owned(),
            started,
            lines,
            tail: Vec::new(),
        })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn next_line(&mut self) -> Result<Line, Error> {
        match self.lines.recv_timeout(SILENCE_LIMIT) {
            Ok(line) => {
                self.remember(&line);
                Ok(line)
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(self.failure(format!("said nothing for {} s", SILENCE_LIMIT.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait()?;
                Err(self.failure(format!("ended early with {status}")))
            }
        }
    }

    fn remember(&mut self, line: &Line) {
        self.tail.push(line.text.clone());
        if self.tail.len() > TAIL_LINES {
            self.tail.remove(0);
        }
    }

    /// Waits for the end of the process, which the guest has been told to bring about.
    fn wait(&mut self) -> Result<ExitStatus, Error> {
        let until = Instant::now() + POWER_OFF_LIMIT;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                while let Ok(line) = self.lines.try_recv() {
                    self.remember(&line);
                }
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(self.failure("did not power off".to_owned()))
    }

    fn failure(&self, why: String) -> Error {
        Error::Machine {
            machine: self.name.clone(),
            why,
            output: self.tail.join("\n"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Both fail when the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stream: impl Read + Send + 'static, is_console: bool, sender: Sender<Line>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = Line {
                at: Instant::now(),
                text: String::from_utf8_lossy(&bytes).trim().to_owned(),
                is_console,
            };
            if sender.send(line).is_err() {
                break;
            }
            bytes.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Run, Error> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, "a shell", 1 << 50, &|_| {})
    }

    #[test]
    fn run_whole_console_is_understood() {
        let run = shell(
            "echo '[ 1.0] x bench: userspace'; echo 'bench: isa rv64'; echo 'bench: mmu sv39'; \
             echo 'start crc32 3'; echo 'crc32 0.000100 000000009ec68636'; \
             echo 'bench: idle'; sleep 0.2; echo 'bench: idle over'; echo 'bench: end'; sleep 0.2",
        )
        .unwrap();
        assert!(run.boot_seconds > 0.0);
        assert_eq!((run.isa.as_str(), run.mmu.as_str()), ("rv64", "sv39"));
        assert_eq!(run.outcome("crc32").unwrap().checksum, "000000009ec68636");
        assert!(run.idle_share.unwrap() < 0.5);
        assert!(run.footprint.peak_bytes > 0);
        assert!(run.clock_errors.is_empty(), "{:?}", run.clock_errors);
    }

    #[test]
    fn run_wrong_guest_clock_is_noted() {
        let run = shell(
            "echo 'start sort 1'; echo 'sort 9.5 000000009ec68636'; echo 'bench: end'; sleep 0.2",
        )
        .unwrap();
        assert_eq!(run.clock_errors.len(), 1);
    }

    #[test]
    fn run_machine_that_ends_early_shows_its_last_words() {
        let error = shell("echo 'Kernel panic'; exit 4")
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 4"), "{error}");
        assert!(error.contains("Kernel panic"), "{error}");
    }

    #[test]
    fn until_text_ends_the_machine_there() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo a; echo 'login: here'; sleep 600"]);
        let (seconds, peak_bytes) = until(command, "a shell", "login:").unwrap();
        assert!(seconds < 60.0 && peak_bytes > 0, "{seconds} {peak_bytes}");
    }

    #[test]
    fn run_failed_order_is_an_error() {
        let error = shell("echo 'bench: failed /bench/bench sort 1'; sleep 5").unwrap_err();
        assert!(error.to_string().contains("sort 1"), "{error}");
    }
}
