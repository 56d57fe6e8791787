//! Stock firmware, timed from the start of the emulator to a text on the serial console: a machine of its own for each row.

use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::Error;
use super::machine::{Emulator, Machine};
use super::process_memory::peak_bytes;
use super::program::{Class, Kernel, Outcome};
use super::target::Target;
use crate::guests::Cache;

/// Longer than firmware is silent on a loaded host.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// Bytes of output that an error repeats.
const TAIL_BYTES: usize = 2000;

/// Firmware and what is waited for. `@` before a word of the command lines stands for the folder of the target's files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Firmware {
    pub(super) name: &'static str,
    /// Files of the cache that have to be there.
    pub(super) files: &'static [&'static str],
    /// What `vm-cli run` takes besides.
    pub(super) ours: &'static [&'static str],
    /// What QEMU takes besides.
    pub(super) qemu: &'static [&'static str],
    /// What is typed once another text is there.
    pub(super) typed: Option<(&'static str, &'static str)>,
    /// The text at which the clock stops.
    pub(super) until: &'static str,
}

impl Firmware {
    fn words(&self, emulator: Emulator, target: &Target, cache: &Cache) -> Vec<String> {
        let words = match emulator {
            Emulator::Ours => self.ours,
            Emulator::Qemu => self.qemu,
        };
        let folder = cache.file(target.arch);
        let folder = format!("{}/", folder.display());
        words
            .iter()
            .map(|word| word.replace('@', &folder))
            .collect()
    }
}

/// The rows of a target.
pub(super) fn rows(target: &Target) -> Vec<Kernel> {
    let row = |firmware: &Firmware| Kernel {
        name: firmware.name.to_owned(),
        class: Class::Firmware,
        repeats: 1,
    };
    target.firmware.iter().map(row).collect()
}

/// Times the chosen rows on one emulator.
pub(super) fn run(
    machine: &Machine,
    emulator: Emulator,
    cache: &Cache,
    chosen: &[Kernel],
    progress: &dyn Fn(&str),
) -> Result<Vec<Outcome>, Error> {
    let target = machine.target;
    let is_chosen = |firmware: &&Firmware| chosen.iter().any(|row| row.name == firmware.name);
    let time = |firmware: &Firmware| {
        for file in firmware.files {
            cache.require(file)?;
        }
        let words = firmware.words(emulator, target, cache);
        let command = machine.bare_command(emulator, cache, &words)?;
        let (seconds, peak) = until(command, emulator.name(), firmware)?;
        progress(&format!("{} {seconds:.3} s", firmware.name));
        Ok(Outcome {
            name: firmware.name.to_owned(),
            seconds,
            checksum: String::new(),
            instructions: None,
            peak_bytes: Some(peak),
        })
    };
    target.firmware.iter().filter(is_chosen).map(time).collect()
}

/// A process that ends with this value.
struct Running {
    child: Child,
    output: Receiver<Vec<u8>>,
    said: Vec<u8>,
    /// Up to where texts were found.
    seen: usize,
}

impl Running {
    fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn()?;
        let mut stdout = child.stdout.take().expect("invariant: asked for a pipe");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            output,
            said: Vec::new(),
            seen: 0,
        })
    }

    /// Waits for a text behind those that came before; false when none comes.
    fn wait_for(&mut self, text: &str) -> bool {
        loop {
            let rest = &self.said[self.seen..];
            let mut places = rest.windows(text.len());
            if let Some(at) = places.position(|part| part == text.as_bytes()) {
                self.seen += at + text.len();
                return true;
            }
            match self.output.recv_timeout(SILENCE_LIMIT) {
                Ok(more) => self.said.extend(more),
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a machine until its text, and ends it there: the time since its start and the largest resident set.
fn until(command: Command, name: &str, firmware: &Firmware) -> Result<(f64, u64), Error> {
    let failure = |why: String, output: &[u8]| Error::Machine {
        machine: name.to_owned(),
        why,
        output: String::from_utf8_lossy(&output[output.len().saturating_sub(TAIL_BYTES)..]).into(),
    };
    let started = Instant::now();
    let mut running = Running::start(command)
        .map_err(|error| failure(format!("cannot be started: {error}"), &[]))?;
    if let Some((text, keys)) = firmware.typed {
        if !running.wait_for(text) {
            return Err(failure(format!("does not come to {text:?}"), &running.said));
        }
        // A process that has ended says so by what does not come next.
        if let Some(stdin) = &mut running.child.stdin {
            let _ = stdin.write_all(keys.as_bytes());
        }
    }
    match running.wait_for(firmware.until) {
        true => {
            let seconds = started.elapsed().as_secs_f64();
            Ok((seconds, peak_bytes(running.child.id()).unwrap_or(0)))
        }
        false => {
            let why = format!("does not come to {:?}", firmware.until);
            Err(failure(why, &running.said))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Firmware = Firmware {
        name: "row",
        files: &[],
        ours: &["--bios", "@bios.bin"],
        qemu: &["-drive", "file=@code.fd"],
        typed: Some(("menu", "c\n")),
        until: "prompt>",
    };

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn until_types_when_its_text_is_there_and_stops_without_a_line_s_end() {
        let script = "printf 'prompt> menu'; read key; printf \"$key prompt>\"; sleep 600";
        let (seconds, peak) = until(shell(script), "a shell", &ROW).unwrap();
        assert!(seconds < 60.0 && peak > 0, "{seconds} {peak}");
    }

    #[test]
    fn until_machine_that_ends_shows_its_last_words() {
        for (script, words) in [
            ("echo dead", "does not come to \"menu\""),
            ("echo menu", "prompt>"),
        ] {
            let error = until(shell(script), "a shell", &ROW)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn words_name_the_target_s_files() {
        let target = Target::named("x86_64").unwrap();
        let cache = Cache::at("/cache");
        let words = |emulator| ROW.words(emulator, target, &cache).join(" ");
        assert_eq!(words(Emulator::Ours), "--bios /cache/x86_64/bios.bin");
        assert_eq!(words(Emulator::Qemu), "-drive file=/cache/x86_64/code.fd");
    }
}
