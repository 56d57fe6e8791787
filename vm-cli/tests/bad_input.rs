//! What goes wrong before a guest runs: one line that says what and what to do, an exit code, nothing written.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const HOST_ERROR: i32 = 1;
const USAGE: i32 = 2;

/// A folder with what the tests name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A RISC-V Image of one instruction, a jump to itself (Linux `Documentation/arch/riscv/boot-image-header.rst`).
    fn kernel(&self) -> PathBuf {
        let mut image = vec![0; 4096];
        image[0..4].copy_from_slice(&0x0000_006f_u32.to_le_bytes());
        image[8..16].copy_from_slice(&0x20_0000_u64.to_le_bytes());
        image[16..24].copy_from_slice(&4096_u64.to_le_bytes());
        image[32..36].copy_from_slice(&2_u32.to_le_bytes());
        image[48..56].copy_from_slice(b"RISCV\0\0\0");
        image[56..60].copy_from_slice(b"RSC\x05");
        self.file("Image", &image)
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vm-cli"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VM_CLI")) {
            command.env_remove(name);
        }
        command
            .args(words)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs, and checks the code, that there is one line, and that it contains `words`.
    fn refuses(&self, line: &[&str], code: i32, words: &[&str]) {
        let before = self.listing();
        let output = self.run(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line:?}: {text}");
        assert!(text.starts_with("error: "), "{line:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{line:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{line:?}: {text:?} lacks {word:?}");
        }
        assert!(output.stdout.is_empty(), "{line:?}");
        assert_eq!(self.listing(), before, "{line:?} wrote something");
    }

    fn listing(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
            .collect();
        files.sort();
        files
    }
}

/// Names files that would be written, to see that they are not.
const WRITES: [&str; 4] = ["--serial", "file:serial.log", "--net", "user,pcap=net.pcap"];

fn with_writes<'a>(line: &[&'a str]) -> Vec<&'a str> {
    [line, &WRITES].concat()
}

#[test]
fn kernel_missing_empty_truncated_or_foreign_is_refused() {
    let folder = Folder::new();
    let run = |kernel| with_writes(&["run", "--kernel", kernel]);
    folder.refuses(
        &run("nowhere"),
        HOST_ERROR,
        &["nowhere", "check the path after --kernel"],
    );
    folder.file("empty", b"");
    folder.refuses(
        &run("empty"),
        HOST_ERROR,
        &["empty", "fetch or build it again"],
    );
    folder.file("text", b"just some text, no kernel at all");
    folder.refuses(&run("text"), HOST_ERROR, &["not a kernel"]);
    let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0xff; 20]].concat();
    folder.file("cut.gz", &gzip);
    folder.refuses(&run("cut.gz"), HOST_ERROR, &["cut.gz", "damaged"]);
    // The host's own program is an ELF file of the host's architecture.
    if cfg!(target_arch = "x86_64") {
        let own = env!("CARGO_BIN_EXE_vm-cli");
        folder.refuses(
            &with_writes(&[
                "run", "--arch", "riscv64", "--kernel", own, "--memory", "4G",
            ]),
            HOST_ERROR,
            &["x86_64", "riscv64"],
        );
    }
    folder.refuses(
        &with_writes(&["run"]),
        USAGE,
        &["nothing to boot", "--kernel"],
    );
}

#[test]
fn ram_too_small_for_kernel_or_initrd_is_refused() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    folder.file("initrd", &vec![1; 9 << 20]);
    let small = [
        "run", "--kernel", kernel, "--initrd", "initrd", "--memory", "8M",
    ];
    folder.refuses(&with_writes(&small), HOST_ERROR, &["initrd", "--memory"]);
    let tiny = ["run", "--kernel", kernel, "--memory", "1M"];
    folder.refuses(&with_writes(&tiny), HOST_ERROR, &["--memory"]);
    folder.refuses(
        &["run", "--kernel", kernel, "--memory", "512X"],
        USAGE,
        &["--memory: size '512X'", "512M"],
    );
    let missing = ["run", "--kernel", kernel, "--initrd", "nowhere"];
    folder.refuses(&with_writes(&missing), HOST_ERROR, &["nowhere", "--initrd"]);
}

#[test]
fn kernel_without_its_option_is_one() {
    let folder = Folder::new();
    let words = ["nowhere", "check the path after --kernel"];
    folder.refuses(&["run", "nowhere", "-smp", "2"], HOST_ERROR, &words);
    folder.kernel();
    let both = ["run", "Image", "--kernel", "Image"];
    folder.refuses(&both, USAGE, &["--kernel"]);
}

#[test]
fn causes_are_told_once() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    for (option, value, cause) in [
        ("--disk", "file=.", "neither a file nor a block device"),
        ("--disk", "file=nowhere", "(os error"),
        ("--net", "user,pcap=nowhere/p", "(os error"),
        ("--serial", "file:nowhere/s", "(os error"),
        ("--trace", "exec=nowhere/t", "(os error"),
    ] {
        let output = folder.run(&["run", "--kernel", kernel, option, value]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(HOST_ERROR), "{text}");
        assert_eq!(text.matches(cause).count(), 1, "{text}");
    }
}

#[test]
#[cfg(unix)]
fn paths_that_are_not_utf8_are_paths() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = Folder::new();
    folder.kernel();
    for (option, value) in [
        ("--disk", &b"file=\xff.img"[..]),
        ("--serial", b"file:nowhere/\xff"),
        ("--net", b"user,pcap=nowhere/\xff"),
        ("--bios", b"\xff.bin"),
        ("--trace", b"exec=nowhere/\xff"),
    ] {
        let mut command = folder.command(&["run", "--kernel", "Image", option]);
        let output = command.arg(std::ffi::OsStr::from_bytes(value)).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        // It is looked for, not refused.
        assert_eq!(output.status.code(), Some(HOST_ERROR), "{option}: {text}");
        assert!(text.contains("No such file"), "{option}: {text}");
    }
}

#[test]
fn disk_missing_or_locked_is_refused() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let run = |disk| with_writes(&["run", "--kernel", kernel.to_str().unwrap(), "--disk", disk]);
    folder.refuses(
        &run("file=nowhere.img"),
        HOST_ERROR,
        &["nowhere.img", "disk create"],
    );
    let image = folder.file("d.img", &[0; 4096]);
    let other = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .unwrap();
    other.try_lock().unwrap();
    folder.refuses(
        &run("file=d.img"),
        HOST_ERROR,
        &["d.img", "in use by another"],
    );
    folder.refuses(
        &run("file=d.img,snapshto=on"),
        USAGE,
        &["did you mean 'snapshot'"],
    );
}

#[test]
fn disk_of_another_format_is_refused_until_raw_is_written() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    for (name, head, advice) in [
        ("d.qcow2", &b"QFI\xfb\0\0\0\x03"[..], "qemu-img convert"),
        ("d.xz", b"\xfd7zXZ\0", "unxz"),
    ] {
        folder.file(name, &[head, &[0; 4096]].concat());
        let run = with_writes(&["run", "--kernel", kernel, "--disk", name]);
        folder.refuses(&run, HOST_ERROR, &[name, advice, "format=raw"]);
        // Said to be raw it is taken: what goes wrong now is another disk.
        let raw = format!("{name},format=raw");
        let run = [
            "run", "--kernel", kernel, "--disk", &raw, "--disk", "nowhere",
        ];
        folder.refuses(&with_writes(&run), HOST_ERROR, &["nowhere"]);
    }
}

/// Starts with an end of a pipe as a file, and sees that a signal ends the program while it waits for the other.
fn is_ended_while_it_waits(folder: &Folder, line: &[&str]) {
    let mut program = folder.command(line).stderr(Stdio::null()).spawn().unwrap();
    // Long enough to have come to the pipe; a program that has not yet is ended all the same.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(program.try_wait().unwrap(), None, "{line:?} does not wait");
    let id = program.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let started = std::time::Instant::now();
    while program.try_wait().unwrap().is_none() {
        if started.elapsed() > std::time::Duration::from_secs(20) {
            program.kill().unwrap();
            program.wait().unwrap();
            panic!("{line:?} does not mind SIGTERM");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(program.wait().unwrap().code(), Some(143), "{line:?}");
}

#[test]
fn pipes_that_nobody_has_at_the_other_end_can_be_interrupted() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    // Below a folder, where the test that nothing is written does not try to read it.
    fs::create_dir(folder.path().join("p")).unwrap();
    let made = Command::new("mkfifo")
        .arg(folder.path().join("p/pipe"))
        .status();
    assert!(made.unwrap().success());
    is_ended_while_it_waits(&folder, &["run", "--kernel", "p/pipe"]);
    is_ended_while_it_waits(&folder, &["run", "--kernel", kernel, "--initrd", "p/pipe"]);
    is_ended_while_it_waits(
        &folder,
        &["run", "--kernel", kernel, "--serial", "file:p/pipe"],
    );
    let disk = ["run", "--kernel", kernel, "--disk", "p/pipe,readonly"];
    folder.refuses(
        &disk,
        HOST_ERROR,
        &["pipe", "neither a file nor a block device"],
    );
}

#[test]
fn port_in_use_is_refused() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let net = format!("user,hostfwd=tcp::{port}-:22");
    folder.refuses(
        &["run", "--kernel", kernel, "--net", &net],
        HOST_ERROR,
        &[&port, "in use", "choose another"],
    );
    let gdb = format!("127.0.0.1:{port}");
    folder.refuses(
        &["run", "--kernel", kernel, "--gdb", &gdb],
        HOST_ERROR,
        &[&port],
    );
}

#[test]
fn configuration_file_mistakes_have_line_and_column() {
    let folder = Folder::new();
    folder.file("vm.toml", b"cpus = 2\nmemory = \"1G\nkernel = 3\n");
    folder.refuses(&["run", "--config", "vm.toml"], USAGE, &["vm.toml:2:"]);
    folder.file("vm.toml", b"cpus = 2\nmemroy = \"1G\"\n");
    folder.refuses(
        &["run", "--config", "vm.toml"],
        USAGE,
        &["vm.toml:2:1:", "memory"],
    );
    folder.file("vm.toml", b"cpus = 2\n\xff = 1\n");
    let words = ["vm.toml:2:1:", "UTF-8"];
    folder.refuses(&["run", "--config", "vm.toml"], USAGE, &words);
    folder.refuses(
        &["run", "--config", "no.toml"],
        HOST_ERROR,
        &["no.toml", "--config"],
    );
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    for (option, value, words) in [
        ("--cpu", "debain", "did you mean 'debian'"),
        ("--cpu", "rv64,+zbaa", "did you mean 'zba'"),
        ("--net", "usr", "did you mean 'user'"),
        ("--serial", "stdoi", "did you mean 'stdio'"),
        ("--virtio", "pcie", "did you mean 'pci'"),
        ("--accel", "kvm", "use auto, jit or interp"),
        ("--arch", "riscv", "use riscv64 or x86_64"),
        ("--arch", "aarch64", "--arch riscv64 or x86_64"),
        ("--cpus", "9", "1 to 8"),
        ("--cpus", "many", "--cpus"),
        ("--gdb", "a:b:c", "no address for gdb"),
    ] {
        folder.refuses(&["run", "--kernel", kernel, option, value], USAGE, &[words]);
    }
    folder.refuses(&["run", "--kernal", kernel], USAGE, &["--kernel"]);
    folder.refuses(&["run", "-drive", "file=d"], USAGE, &["--disk file=FILE"]);
    folder.refuses(&["run", "debain"], USAGE, &["vm-cli run debian"]);
    folder.refuses(&["runn"], USAGE, &["run"]);
}

#[test]
fn displays_and_pcs_devices_go_together() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let kernel = kernel.to_str().unwrap();
    let pc = ["run", "--arch", "x86_64", "--kernel", kernel];
    let board = ["run", "--arch", "riscv64", "--kernel", kernel];
    let picture = ["--screenshot", "s.png"];
    let from_firmware = ["run", "--arch", "x86_64", "--bios", kernel, "--test-device"];
    for (line, words) in [
        (
            [&pc[..], &["--display", "vag"]].concat(),
            "did you mean 'vga'",
        ),
        ([&pc[..], &picture].concat(), "--display vga"),
        (
            [&pc[..], &picture, &["--display", "auto"]].concat(),
            "--display vga",
        ),
        (
            [&pc[..], &picture, &["--display", "none"]].concat(),
            "--display vga",
        ),
        (from_firmware.to_vec(), "leave out --test-device"),
        ([&board[..], &["--display", "vga"]].concat(), "no display"),
        (
            [&board[..], &["--watchdog", "on"]].concat(),
            "the watchdog is a PC's",
        ),
        (
            [&board[..], &["--debug-exit"]].concat(),
            "leave out --debug-exit",
        ),
    ] {
        folder.refuses(&line, USAGE, &[words]);
    }
    // What is off is nothing to refuse: there is something else wrong here.
    let off = [&board[..], &["--watchdog", "off", "--memory", "1M"]].concat();
    folder.refuses(&off, HOST_ERROR, &["--memory"]);
}

#[test]
fn signature_of_a_program_without_one_is_refused() {
    let folder = Folder::new();
    folder.file("raw", &0x0000_006f_u32.to_le_bytes());
    folder.refuses(
        &[
            "run",
            "--bios",
            "none",
            "--kernel",
            "raw",
            "--dump-signature",
            "s",
        ],
        HOST_ERROR,
        &["begin_signature"],
    );
}

#[test]
fn debian_mistakes_are_refused() {
    let folder = Folder::new();
    for (line, code, word) in [
        (
            &["run", "debian", "--suite", "../x"][..],
            HOST_ERROR,
            "no suite",
        ),
        (
            &["run", "debian", "--arch", "aarch64"],
            USAGE,
            "use --arch riscv64 or x86_64",
        ),
        (
            &["run", "debian", "--kernel", "k"],
            USAGE,
            "leave out --kernel",
        ),
        (
            &["run", "debian", "--suite", "x-none", "--mirror", "ftp://a"],
            HOST_ERROR,
            "http://",
        ),
    ] {
        folder.refuses(line, code, &[word]);
    }
}

#[test]
fn disk_create_makes_an_empty_image_and_touches_no_other() {
    let folder = Folder::new();
    let output = folder.run(&["disk", "create", "d.img", "3M"]);
    assert_eq!(output.status.code(), Some(0));
    let image = folder.path().join("d.img");
    assert_eq!(fs::metadata(&image).unwrap().len(), 3 << 20);
    fs::write(&image, "precious").unwrap();
    folder.refuses(
        &["disk", "create", "d.img", "3M"],
        HOST_ERROR,
        &["exists already"],
    );
    folder.refuses(
        &["disk", "create", "no/d.img", "3M"],
        HOST_ERROR,
        &["no/d.img"],
    );
    folder.refuses(&["disk", "create", "e.img", "100.1K"], HOST_ERROR, &["512"]);
    folder.refuses(&["disk", "create", "e.img", "lots"], USAGE, &["512M"]);
}

#[test]
fn disk_create_under_another_format_s_name_is_refused() {
    let folder = Folder::new();
    let create = ["disk", "create", "d.qcow2", "3M"];
    folder.refuses(&create, HOST_ERROR, &["raw", "d.img", "--format raw"]);
    folder.refuses(&["disk", "create", "D.VMDK", "3M"], HOST_ERROR, &["vmdk"]);
    let output = folder.run(&[&create[..], &["--format", "raw"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let image = folder.path().join("d.qcow2");
    assert_eq!(fs::metadata(image).unwrap().len(), 3 << 20);
    let qcow2 = [&create[..], &["--format", "qcow2"]].concat();
    folder.refuses(&qcow2, USAGE, &["raw"]);
}

#[test]
fn device_tree_is_dumped_and_taken_back() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let run = ["run", "--kernel", kernel.to_str().unwrap()];
    let dumped = |more: &[&str]| {
        let output = folder.run(&[&run[..], more, &["--dump-dtb", "out.dtb"]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        fs::read(folder.path().join("out.dtb")).unwrap()
    };
    let has =
        |tree: &[u8], text: &str| tree.windows(text.len()).any(|part| part == text.as_bytes());
    let own = dumped(&["--append", "hello"]);
    assert!(own.starts_with(&[0xd0, 0x0d, 0xfe, 0xed]));
    assert!(has(&own, "hello") && has(&own, "riscv-virtio"));
    let changed = String::from_utf8_lossy(b"riscv-virtio").replace("riscv", "other");
    let at = own
        .windows(12)
        .position(|part| part == b"riscv-virtio")
        .unwrap();
    let mut tree = own;
    tree[at..at + 12].copy_from_slice(changed.as_bytes());
    folder.file("in.dtb", &tree);
    let again = dumped(&["--dtb", "in.dtb", "--append", "world"]);
    assert!(has(&again, "other-virtio") && has(&again, "world") && !has(&again, "hello"));

    let bad = |file| [&run[..], &["--dtb", file]].concat();
    folder.refuses(&bad("no.dtb"), HOST_ERROR, &["no.dtb", "path after --dtb"]);
    folder.file("text", b"just text");
    folder.refuses(&bad("text"), HOST_ERROR, &["no device tree", "dtc"]);
}

#[test]
fn completions_and_help_are_printed() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = folder.run(&["completions", shell]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("no-reboot"), "{shell}");
    }
    let output = folder.run(&["run", "--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("Examples:") && text.contains("Ctrl-A x"));
}

#[test]
fn variables_of_the_environment_stand_for_options() {
    let folder = Folder::new();
    let kernel = folder.kernel();
    let run = ["run", "--kernel", kernel.to_str().unwrap()];
    let debian = ["run", "debian", "--suite", "x-none"];
    for (line, name, value, word) in [
        (&run[..], "VM_CLI_CONFIG", "no.toml", "no.toml"),
        (&run, "VM_CLI_CPUS", "9", "1 to 8"),
        (&run, "VM_CLI_CPU", "debain", "did you mean 'debian'"),
        (&run, "VM_CLI_MEMORY", "1M", "--memory"),
        (&run, "VM_CLI_ACCEL", "kvm", "use auto, jit or interp"),
        (&run, "VM_CLI_CODE_CACHE", "512K", "give it 1M or more"),
        (&debian, "VM_CLI_MIRROR", "ftp://a", "http://"),
    ] {
        let output = folder.command(line).env(name, value).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name}: {text}");
        assert!(text.contains(word), "{name}: {text}");
    }
}

#[test]
fn debian_options_choose_mirror_suite_and_keyring() {
    let folder = Folder::new();
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/archive", mirror.local_addr().unwrap());
    // It has an unsigned list of files and nothing else.
    let asked = std::thread::spawn(move || {
        let (mut client, _) = mirror.accept().unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nSuite\n";
        client.write_all(answer.as_bytes()).unwrap();
        first
    });
    let line = [
        "run",
        "debian",
        "--suite",
        "some-suite",
        "--mirror",
        &url,
        "--keyring",
        "my-keys.gpg",
    ];
    let mut command = folder.command(&line);
    let output = command
        .env("XDG_CACHE_HOME", folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(HOST_ERROR), "{text}");
    assert!(text.contains("my-keys.gpg"), "{text}");
    let asked = asked.join().unwrap();
    assert!(
        asked.starts_with("GET /archive/dists/some-suite/"),
        "{asked}"
    );
}
