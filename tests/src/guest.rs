//! A running machine with a person's view of it.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use xtask::guests::Cache;

use crate::console::Console;
use crate::launch::{Emulator, Launch};
use crate::{boot_limit, limit};

const EXIT_POLL: Duration = Duration::from_millis(10);

/// A machine as a child process; killed when dropped.
///
/// A wait that fails panics with the last lines of the console and of the emulator's messages: in a
/// test there is nothing else to do about it.
pub struct Guest {
    child: Child,
    keyboard: Option<ChildStdin>,
    console: Console,
    /// The emulator's own messages.
    messages: Console,
    marks: AtomicU32,
}

impl Guest {
    /// Starts the machine on the chosen emulator.
    pub fn start(launch: &Launch, cache: &Cache) -> Self {
        Self::start_on(Emulator::chosen(), launch, cache)
    }

    /// Starts the machine on `emulator`.
    pub fn start_on(emulator: Emulator, launch: &Launch, cache: &Cache) -> Self {
        Self::of(launch.command(emulator, cache))
    }

    /// Starts the machine of this command line.
    pub fn of(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let piped = "invariant: asked for a pipe";
        Self {
            keyboard: Some(child.stdin.take().expect(piped)),
            console: Console::of(child.stdout.take().expect(piped)),
            messages: Console::of(child.stderr.take().expect(piped)),
            child,
            marks: AtomicU32::new(0),
        }
    }

    /// Starts Debian's kernel with the standard initramfs and waits for the shell.
    pub fn boot_to_shell(launch: &Launch, cache: &Cache) -> Self {
        let mut guest = Self::start(launch, cache);
        guest.wait_for_shell();
        guest
    }

    /// Waits for the shell of the standard initramfs.
    pub fn wait_for_shell(&mut self) {
        self.wait_for("guest: shell", boot_limit());
        self.wait_for("guest# ", limit(30));
    }

    /// Waits for `wanted` on the console, after everything waited for before, and returns what came
    /// before it.
    pub fn wait_for(&mut self, wanted: &str, within: Duration) -> String {
        self.console
            .wait_for(wanted, within)
            .unwrap_or_else(|timeout| {
                panic!(
                    "{timeout}\nthe emulator's messages:\n{}",
                    self.messages.tail()
                )
            })
    }

    /// Types `text` as it is.
    pub fn type_text(&mut self, text: &str) {
        let keyboard = self
            .keyboard
            .as_mut()
            .expect("invariant: open while the machine runs");
        let typed = keyboard
            .write_all(text.as_bytes())
            .and_then(|()| keyboard.flush());
        if let Err(error) = typed {
            panic!(
                "cannot type {text:?}: {error}; last lines:\n{}",
                self.console.tail()
            );
        }
    }

    /// Types `line` and Enter.
    pub fn type_line(&mut self, line: &str) {
        self.type_text(&format!("{line}\n"));
    }

    /// Runs a shell command in the guest and returns its exit status and its output.
    pub fn run(&mut self, command: &str, within: Duration) -> (i32, String) {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        // The quotes keep the echo of the typed line from looking like the marks it prints.
        self.type_line(&format!(
            "echo be''gin-{number}; {command}; echo e''nd-{number}=$?."
        ));
        self.wait_for(&format!("begin-{number}\n"), within);
        let output = self.wait_for(&format!("end-{number}="), within);
        let status = self.wait_for(".", limit(10));
        let status = status
            .parse()
            .unwrap_or_else(|_| panic!("a status, not {status:?}"));
        (status, output)
    }

    /// Runs a shell command that has to succeed and returns its output.
    pub fn run_ok(&mut self, command: &str, within: Duration) -> String {
        let (status, output) = self.run(command, within);
        assert_eq!(status, 0, "`{command}` in the guest said:\n{output}");
        output
    }

    /// Waits for the process to end by itself and returns its exit code.
    pub fn exit_code(&mut self, within: Duration) -> i32 {
        let status = self.exit_status(within);
        status.code().unwrap_or_else(|| {
            panic!(
                "killed by signal {:?}:\n{}",
                status.signal(),
                self.messages.tail()
            )
        })
    }

    fn exit_status(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("invariant: our own child") {
                return status;
            }
            assert!(
                started.elapsed() < within,
                "still running after {:.1} s; last lines:\n{}",
                within.as_secs_f64(),
                self.console.tail()
            );
            std::thread::sleep(EXIT_POLL);
        }
    }

    /// Ends the process at once, as `kill -9` does: nothing of it gets to clean up.
    pub fn kill(mut self) {
        self.child
            .kill()
            .expect("invariant: our own child, not waited for");
        self.exit_status(limit(10));
    }

    /// The process, to measure it or to send it signals.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `wanted` in the emulator's own messages, after everything waited for there before, and returns what
    /// came before it.
    pub fn wait_for_message(&mut self, wanted: &str, within: Duration) -> String {
        let found = self.messages.wait_for(wanted, within);
        found.unwrap_or_else(|timeout| panic!("among the emulator's messages: {timeout}"))
    }

    /// Everything the console has shown.
    pub fn console_text(&self) -> String {
        self.console.text()
    }

    /// The emulator's own messages.
    pub fn messages(&self) -> String {
        self.messages.text()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
