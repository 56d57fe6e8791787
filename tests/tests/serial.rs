//! Where the console goes.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use vm_tests::{Console, Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

#[test]
fn serial_file_has_the_whole_console() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("console.txt");
    let launch = Launch {
        serial: Some(format!("file:{}", file.display())),
        ..Launch::riscv64_linux(&cache).with_words("order=poweroff")
    };
    let mut guest = Guest::start(&launch, &cache);
    let code = guest.exit_code(boot_limit() + limit(30));
    if Emulator::chosen() == Emulator::VmCli {
        assert_eq!(code, exit_code::POWER_OFF, "{}", guest.messages());
    }
    assert_eq!(guest.console_text(), "");
    let text = std::fs::read_to_string(file).expect("the console as text");
    let first = text.find("Linux version").expect("the kernel's first line");
    let last = text
        .find("reboot: Power down")
        .expect("the kernel's last line");
    assert!(first < last);
}

#[test]
fn virtio_console_is_a_terminal_of_the_guest() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("hvc.txt");
    let launch =
        Launch::riscv64_linux(&cache).with_option("--console", format!("file:{}", file.display()));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("echo through virtio > /dev/hvc0", limit(60));
    guest.type_line("exit");
    guest.exit_code(limit(60));
    let text = std::fs::read_to_string(file).expect("the console as text");
    assert!(text.contains("through virtio"), "{text:?}");
}

/// Uses the guest's shell through a serial line.
fn talk(from: impl Read + Send + 'static, mut to: impl Write, wanted: &[&str], line: &str) {
    let mut console = Console::of(from);
    for wanted in wanted {
        let seen = console.wait_for(wanted, boot_limit());
        seen.unwrap_or_else(|timeout| panic!("{timeout}"));
    }
    to.write_all(line.as_bytes()).expect("the line is open");
    if line.contains("$((") {
        let seen = console.wait_for("=42.", limit(60));
        seen.unwrap_or_else(|timeout| panic!("{timeout}"));
    }
}

#[test]
fn serial_unix_socket_serves_one_client_after_the_other() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("console");
    let launch = Launch {
        serial: Some(format!("unix:{}", socket.display())),
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::start(&launch, &cache);
    let started = Instant::now();
    let connect = || {
        loop {
            match UnixStream::connect(&socket) {
                Ok(line) => return line,
                Err(error) => assert!(started.elapsed() < limit(60), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let first = connect();
    let reader = first.try_clone().expect("a second descriptor");
    let words = ["Linux version", "guest: shell", "guest# "];
    talk(reader, &first, &words, "echo =$((6*7)).\n");
    first
        .shutdown(std::net::Shutdown::Both)
        .expect("the line is open");
    drop(first);
    let second = connect();
    let reader = second.try_clone().expect("a second descriptor");
    talk(reader, &second, &[], "echo =$((6*7)).\n");
    talk(
        second.try_clone().expect("a descriptor"),
        &second,
        &[],
        "exit\n",
    );
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    assert_eq!(guest.console_text(), "");
    assert!(!socket.exists(), "the socket is taken away");
}

#[test]
fn serial_pty_is_a_terminal_for_another_program() {
    /// No controlling terminal for the test (Linux, x86).
    const O_NOCTTY: i32 = 0o400;
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        serial: Some("pty".to_owned()),
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::start(&launch, &cache);
    guest.wait_for_message("serial port at ", limit(60));
    let place = guest.wait_for_message("\n", limit(10));
    let open = |place: &Path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(O_NOCTTY);
        options.open(place).expect("a pseudo-terminal")
    };
    let line = open(Path::new(&place));
    let reader = line.try_clone().expect("a second descriptor");
    let words = ["Linux version", "guest: shell", "guest# "];
    talk(reader, &line, &words, "echo =$((6*7)).\n");
    talk(open(Path::new(&place)), &line, &[], "exit\n");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    assert_eq!(guest.console_text(), "");
}
