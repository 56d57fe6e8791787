//! Where the console goes.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vm_tests::{
    Console, Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit, vm_cli,
};

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

#[test]
fn named_port_is_a_stream_between_programs_of_guest_and_host() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (socket, file) = (dir.path().join("agent"), dir.path().join("log"));
    let launch = Launch::riscv64_linux(&cache)
        .with_option(
            "--port",
            format!("name=org.example.agent.0,to=unix:{}", socket.display()),
        )
        .with_option("--port", format!("name=log,to=file:{}", file.display()));
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_shell();
    let ports = guest.run_ok(
        "cd /sys/class/virtio-ports; for p in *; do echo $p=$(cat $p/name); done",
        limit(60),
    );
    let device = |name: &str| {
        let port = ports.lines().find(|line| line.ends_with(name));
        let port = port.unwrap_or_else(|| panic!("no {name} in {ports:?}"));
        format!("/dev/{}", port.split('=').next().unwrap_or_default())
    };
    let agent = device("=org.example.agent.0");
    guest.run_ok(&format!("echo kept > {}", device("=log")), limit(60));
    let mut client = UnixStream::connect(&socket).expect("the socket is there");
    // Before anybody in the guest has opened the port.
    client.write_all(b"request\n").expect("the line is open");
    let answered = format!("exec 3<> {agent}; read line <&3; echo answer to $line >&3; exec 3>&-");
    guest.run_ok(&answered, limit(60));
    let mut answer = [0; 18];
    client
        .read_exact(&mut answer)
        .expect("the guest has answered");
    assert_eq!(&answer, b"answer to request\n");
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    let log = std::fs::read_to_string(file).expect("what the guest has written");
    assert_eq!(log, "kept\n");
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

/// Sends a signal to the machine's process.
fn signal(guest: &Guest, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &guest.process_id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}

#[test]
fn unix_client_that_never_reads_stops_neither_the_guest_nor_its_end() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("console");
    let launch = Launch::riscv64_linux(&cache)
        .with_option("--console", format!("unix:{}", socket.display()));
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for("Linux version", boot_limit());
    let _client = UnixStream::connect(&socket).expect("the socket is there");
    guest.wait_for_shell();
    guest.run_ok("head -c 3000000 /dev/zero > /dev/hvc0", limit(120));
    signal(&guest, "TERM");
    assert_eq!(guest.exit_code(limit(10)), 143, "{}", guest.messages());
}

#[test]
fn serial_pty_that_nobody_opens_does_not_keep_the_machine() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        serial: Some("pty".to_owned()),
        ..Launch::riscv64_linux(&cache).with_words("order=poweroff")
    };
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    let code = guest.exit_code(boot_limit());
    assert_eq!(code, exit_code::POWER_OFF, "{}", guest.messages());
}

#[test]
fn standard_output_that_nobody_reads_does_not_keep_the_machine() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch =
        Launch::riscv64_linux(&cache).with_words("order=poweroff initcall_debug ignore_loglevel");
    let mut command = launch.command(Emulator::VmCli, &cache);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vm-cli starts");
    let started = Instant::now();
    while child.try_wait().expect("our own child").is_none() {
        assert!(started.elapsed() < boot_limit(), "still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("our own child");
    assert_eq!(output.status.code(), Some(exit_code::POWER_OFF));
    assert!(
        output.stdout.len() >= 4096,
        "what fitted into the pipe is there"
    );
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        messages.contains("bytes of the guest's output were dropped"),
        "{messages}"
    );
}

/// Pipes more than any buffer in the guest holds into it from its very start, for a shell on its console.
fn piped_at_the_start(launch: &Launch, cache: &vm_tests::Cache) {
    const LINES: usize = 700;
    let line =
        "n: as long as a line that somebody pastes into a terminal while the machine boots\n";
    let text = line.repeat(LINES);
    assert!(text.len() > 56_000);
    // The shell may have taken a few bytes more than its own line.
    let spaces = " ".repeat(64);
    let typed = format!(
        "stty -echo; cat > /tmp/typed; stty echo\n{spaces}\n{text}\x04echo to''tal=$(grep -c ^n: /tmp/typed).\n"
    );
    let mut guest = Guest::start_on(Emulator::VmCli, launch, cache);
    guest.type_text(&typed);
    guest.wait_for("total=", boot_limit());
    assert_eq!(guest.wait_for(".", limit(10)), LINES.to_string());
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}

#[test]
fn virtio_console_input_from_before_the_driver_arrives() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        serial: Some("null".to_owned()),
        append: "console=hvc0 panic=-1".to_owned(),
        ..Launch::riscv64_linux(&cache)
    };
    piped_at_the_start(&launch.with_option("--console", "stdio"), &cache);
}

#[test]
fn serial_port_input_from_before_the_driver_arrives() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    piped_at_the_start(&Launch::riscv64_linux(&cache), &cache);
}

#[test]
fn serial_file_that_may_not_grow_is_told_and_kills_nobody() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("console.txt");
    let launch = Launch {
        serial: Some(format!("file:{}", file.display())),
        ..Launch::riscv64_linux(&cache).with_words("order=poweroff")
    };
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    // The guest's RAM is a file, too, and is there now.
    guest.wait_for_message("translator", limit(60));
    let pid = guest.process_id().to_string();
    let limited = Command::new("prlimit")
        .args(["--fsize=4096", "--pid", &pid])
        .status();
    assert!(limited.expect("prlimit of util-linux").success());
    guest.wait_for_message("cannot write to", boot_limit());
    assert_eq!(guest.exit_code(boot_limit()), exit_code::POWER_OFF);
    assert_eq!(guest.messages().matches("cannot write to").count(), 1);
}

#[test]
fn file_size_limit_below_the_ram_is_told_and_kills_nobody() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("program");
    std::fs::write(&program, [0; 4096]).expect("a temporary directory");
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 8; exec \"$0\" run --bios none --kernel \"$1\"",
        ])
        .arg(vm_cli().get_program())
        .arg(&program)
        .output()
        .expect("a shell");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(exit_code::HOST_ERROR),
        "{messages}"
    );
    assert!(messages.contains("guest RAM"), "{messages}");
    assert!(messages.contains("ulimit -f"), "{messages}");
    assert_eq!(messages.lines().count(), 1, "{messages}");
}
