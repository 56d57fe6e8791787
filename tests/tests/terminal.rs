//! `vm-cli` on a real terminal: a pseudo-terminal that is its controlling one.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use vm_osal::terminal::Pty;
use vm_tests::{Console, Emulator, Launch, boot_limit, exit_code, guests_or_skip, limit, vm_cli};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
/// No controlling terminal for the test (Linux, x86).
const O_NOCTTY: i32 = 0o400;

/// A program on a terminal of its own, and who sits there.
struct Terminal {
    program: Child,
    screen: Console,
    messages: Console,
    keys: std::sync::Arc<Pty>,
    place: PathBuf,
}

/// Reads the terminal's end for the [`Console`].
struct Screen(std::sync::Arc<Pty>);

impl std::io::Read for Screen {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

/// Sets or shows a terminal's modes and size.
fn stty(place: &Path, words: &[&str]) -> String {
    let output = Command::new("stty")
        .arg("-F")
        .arg(place)
        .args(words)
        .output();
    let output = output.expect("stty of the coreutils");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Terminal {
    /// Runs `command` in a session whose terminal is new, cooked, and of this size.
    fn run(command: &Command, columns: &str, rows: &str) -> Self {
        let keys = std::sync::Arc::new(Pty::open().expect("a pseudo-terminal"));
        let place = keys.path().to_owned();
        stty(&place, &["sane", "cols", columns, "rows", rows]);
        let open = || -> File {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(O_NOCTTY);
            options.open(&place).expect("the terminal")
        };
        let mut program = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(open())
            .stdout(open())
            .stderr(Stdio::piped())
            .spawn()
            .expect("setsid of util-linux");
        let messages = program.stderr.take().expect("invariant: asked for a pipe");
        Self {
            screen: Console::of(Screen(keys.clone())),
            messages: Console::of(messages),
            program,
            keys,
            place,
        }
    }

    fn sees(&mut self, wanted: &str) -> String {
        let seen = self.screen.wait_for(wanted, boot_limit());
        seen.unwrap_or_else(|timeout| panic!("{timeout}\n{}", self.messages.text()))
    }

    fn is_told(&mut self, wanted: &str) -> String {
        let seen = self.messages.wait_for(wanted, limit(60));
        seen.unwrap_or_else(|timeout| panic!("{timeout}"))
    }

    fn types(&self, bytes: &[u8]) {
        let mut rest = bytes;
        let started = Instant::now();
        while !rest.is_empty() {
            match self.keys.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => assert!(started.elapsed() < limit(60), "{error}"),
            }
        }
    }

    /// Asks the guest's shell again and again until it answers this.
    fn shell_says(&mut self, command: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            self.types(format!("echo [$({command})]\r").as_bytes());
            self.sees("\n[");
            let said = self.sees("]");
            if said == wanted {
                return;
            }
            assert!(
                started.elapsed() < limit(30),
                "{command}: {said}, not {wanted}"
            );
        }
    }

    fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.program.try_wait().expect("our own child") {
                return status;
            }
            assert!(started.elapsed() < limit(30), "{}", self.messages.text());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Whether the terminal echoes, edits lines and has signal keys, as before.
    fn is_cooked(&self) -> bool {
        let modes = stty(&self.place, &["-a"]);
        let words: Vec<&str> = modes.split([' ', '\n', ';']).collect();
        ["echo", "icanon", "isig"]
            .iter()
            .all(|mode| words.contains(mode))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Either fails only when the program is gone already; what runs below setsid ends with its terminal.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn terminal_paste_resize_and_escape_key_reach_whom_they_are_for() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        serial: Some("null".to_owned()),
        append: "console=hvc0 panic=-1".to_owned(),
        ..Launch::riscv64_linux(&cache)
    }
    .with_option("--console", "stdio")
    .with_option("--escape", "ctrl-b");
    let command = launch.command(Emulator::VmCli, &cache);
    let mut terminal = Terminal::run(&command, "132", "43");
    terminal.is_told("Ctrl-B h for help");
    terminal.sees("guest# ");
    terminal.shell_says("stty size", "43 132");
    stty(&terminal.place, &["cols", "100", "rows", "30"]);
    terminal.shell_says("stty size", "30 100");

    // More than 64 KiB, with the escape key's other users in it.
    let paste: Vec<u8> = (0..99_937_u32)
        .map(|at| b"\x01x0123456789abc"[at as usize % 15])
        .collect();
    terminal.types(
        b"stty raw -echo; echo re''ady; head -c 99937 > /tmp/paste; stty sane; echo do''ne\r",
    );
    terminal.sees("ready");
    terminal.types(&paste);
    terminal.sees("done");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &paste).expect("a temporary file");
    let sum = Command::new("md5sum")
        .arg(file.path())
        .output()
        .expect("md5sum");
    let sum = String::from_utf8_lossy(&sum.stdout)[..32].to_owned();
    terminal.shell_says("md5sum < /tmp/paste | head -c 32", &sum);

    // A guest that reads nothing: the key is seen behind a paste that does not fit anywhere.
    terminal.types(b"stty raw -echo; echo de''af; sleep 1000\r");
    terminal.sees("deaf");
    terminal.types(&[b'z'; 300_000]);
    terminal.types(b"\x02x");
    assert_eq!(terminal.end().code(), Some(exit_code::POWER_OFF));
    assert!(terminal.is_cooked());
}

#[test]
fn monitor_shows_the_registers_of_a_pc_and_quits() {
    let Some(cache) = guests_or_skip(&["x86_64/bzImage", "x86_64/initramfs.cpio.gz"]) else {
        return;
    };
    let command = Launch::x86_64_linux(&cache).command(Emulator::VmCli, &cache);
    let mut terminal = Terminal::run(&command, "80", "25");
    terminal.sees("guest# ");
    terminal.types(b"\x01c");
    terminal.sees("(vm) ");
    terminal.types(b"registers\r");
    for name in ["efer", "rax", "rsp", "cs", "cr3"] {
        terminal.sees(name);
    }
    terminal.types(b"quit\r");
    assert_eq!(terminal.end().code(), Some(exit_code::POWER_OFF));
}

/// A program that does nothing, for ever.
fn idle_program(dir: &tempfile::TempDir) -> Command {
    /// `j .` (RISC-V Unpriv, 2.5.1)
    const JUMP_TO_ITSELF: u32 = 0x0000_006f;
    let program = dir.path().join("program");
    let mut file = File::create(&program).expect("a temporary directory");
    file.write_all(&JUMP_TO_ITSELF.to_le_bytes())
        .expect("a temporary directory");
    let mut command = vm_cli();
    command.args(["run", "--bios", "none", "--memory", "16M", "--kernel"]);
    command.arg(program);
    command
}

#[test]
fn terminal_is_restored_whatever_signal_ends_the_program() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let command = idle_program(&dir);
    // Ended in order, or by the signal.
    for (name, code, signal) in [
        ("QUIT", Some(131), None),
        ("TERM", Some(143), None),
        ("XCPU", Some(152), None),
        ("ABRT", None, Some(6)),
        ("SEGV", None, Some(11)),
        ("USR1", None, Some(10)),
    ] {
        let mut terminal = Terminal::run(&command, "80", "25");
        terminal.is_told("Ctrl-A x to quit\n");
        let started = Instant::now();
        while terminal.is_cooked() {
            assert!(started.elapsed() < limit(30), "{name}: never raw");
        }
        // With --wait and a controlling terminal, setsid's child is the session's only process.
        let ours = terminal.program.id().to_string();
        let child = Command::new("pgrep")
            .args(["-P", &ours])
            .output()
            .expect("pgrep of procps");
        let child = String::from_utf8_lossy(&child.stdout).trim().to_owned();
        let target = if child.is_empty() { ours } else { child };
        let killed = Command::new("kill").args(["-s", name, &target]).status();
        assert!(killed.expect("kill").success());
        terminal.is_told(&format!("ended by SIG{name}\n"));
        let status = terminal.end();
        // setsid passes a code on, and makes one of a signal.
        let by_signal = status.signal().or(status
            .code()
            .filter(|code| *code > 128)
            .map(|code| code - 128));
        match code {
            Some(_) => assert_eq!(status.code(), code, "{name}"),
            None => assert_eq!(by_signal, signal, "{name}"),
        }
        assert!(terminal.is_cooked(), "{name}");
    }
}
