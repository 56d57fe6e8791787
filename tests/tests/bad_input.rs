//! Wrong input: one line that says what, an exit code that is not zero, nothing written.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use vm_tests::{Cache, Guest, Launch, exit_code, guests_or_skip, limit, vm_cli};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

/// Runs `vm-cli run` with options that are wrong and returns its one line.
fn refusal(options: &[&str], code: i32) -> String {
    let mut child = vm_cli()
        .arg("run")
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vm-cli starts");
    let started = Instant::now();
    while child
        .try_wait()
        .expect("invariant: our own child")
        .is_none()
    {
        if started.elapsed() > limit(60) {
            child.kill().expect("invariant: our own child");
            panic!("{options:?} started a machine");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("invariant: our own child");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{options:?}: {said}");
    assert_eq!(output.stdout, b"", "{options:?}");
    assert_eq!(said.trim_end().lines().count(), 1, "{options:?}: {said}");
    assert!(!said.contains("panicked"), "{options:?}: {said}");
    said
}

fn word(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

struct Files {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl Files {
    fn or_skip() -> Option<Self> {
        let cache = guests_or_skip(LINUX)?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        Some(Self { dir, cache })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("a writable temporary directory");
        path
    }

    fn kernel(&self) -> PathBuf {
        self.cache.file("riscv64/Image")
    }
}

#[test]
fn kernel_missing_empty_truncated_or_foreign_is_refused() {
    let Some(files) = Files::or_skip() else {
        return;
    };
    let missing = files.path("no-such-kernel");
    let said = refusal(&["--kernel", word(&missing)], exit_code::HOST_ERROR);
    assert!(said.contains("no-such-kernel"), "{said}");

    let empty = files.file("empty", b"");
    let said = refusal(&["--kernel", word(&empty)], exit_code::HOST_ERROR);
    assert!(said.contains("empty"), "{said}");

    let whole = fs::read(files.kernel()).expect("the kernel");
    let truncated = files.file("truncated", &whole[..whole.len() / 2]);
    let said = refusal(&["--kernel", word(&truncated)], exit_code::HOST_ERROR);
    assert!(said.contains("truncated"), "{said}");

    // A program of the host's: an ELF file, of an architecture that has a machine, but no kernel.
    let host = std::env::current_exe().expect("invariant: a running test has a path");
    let said = refusal(&["--kernel", word(&host)], exit_code::HOST_ERROR);
    assert!(said.contains("bzImage"), "what to give: {said}");
    let options = ["--arch", "riscv64", "--kernel", word(&host)];
    let said = refusal(&options, exit_code::HOST_ERROR);
    assert!(said.contains("riscv64"), "{said}");
}

#[test]
fn initrd_and_memory_of_impossible_sizes_are_refused() {
    let Some(files) = Files::or_skip() else {
        return;
    };
    let kernel = files.kernel();
    let big = files.path("big-initrd");
    let file = File::create(&big).expect("a writable temporary directory");
    file.set_len(600 << 20).expect("sparse files");
    let options = ["--kernel", word(&kernel), "--initrd", word(&big)];
    let said = refusal(&options, exit_code::HOST_ERROR);
    assert!(said.contains("--memory"), "what to do: {said}");

    let options = ["--kernel", word(&kernel), "--memory", "8M"];
    let said = refusal(&options, exit_code::HOST_ERROR);
    assert!(said.contains("--memory"), "what to do: {said}");
}

#[test]
fn disk_missing_or_in_use_is_refused() {
    let Some(files) = Files::or_skip() else {
        return;
    };
    let kernel = files.kernel();
    let missing = format!("file={}", files.path("no-disk.img").display());
    let options = ["--kernel", word(&kernel), "--disk", &missing];
    let said = refusal(&options, exit_code::HOST_ERROR);
    assert!(said.contains("disk create"), "what to do: {said}");
    assert!(!files.path("no-disk.img").exists(), "nothing is written");

    let disk = files.file("disk.img", &[0; 1 << 20]);
    let launch = Launch {
        disks: vec![vm_tests::Disk::raw(&disk)],
        ..Launch::riscv64_linux(&files.cache)
    };
    let mut first = Guest::start(&launch, &files.cache);
    first.wait_for("Linux version", limit(60));
    let again = format!("file={}", disk.display());
    let options = ["--kernel", word(&kernel), "--disk", &again];
    let said = refusal(&options, exit_code::HOST_ERROR);
    assert!(said.contains("disk.img"), "{said}");
}

#[test]
fn host_port_in_use_is_refused() {
    let Some(files) = Files::or_skip() else {
        return;
    };
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("invariant: bound").port();
    let net = format!("user,hostfwd=tcp:127.0.0.1:{port}-:22");
    let kernel = files.kernel();
    let options = ["--kernel", word(&kernel), "--net", &net];
    let said = refusal(&options, exit_code::HOST_ERROR);
    assert!(said.contains(&port.to_string()), "{said}");
}

#[test]
fn configuration_file_error_has_line_and_column() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("machine.toml");
    fs::write(&file, "cpus = 2\nmemory = = \"1G\"\n").expect("a writable temporary directory");
    let said = refusal(&["--config", word(&file)], exit_code::USAGE);
    assert!(
        said.contains("machine.toml") && said.contains("2:10"),
        "{said}"
    );
}

#[test]
fn unknown_names_get_the_nearest_one() {
    for (option, value, nearest) in [
        ("--net", "usr", "user"),
        ("--net", "user,hostfw=tcp::1-:2", "hostfwd"),
        ("--disk", "flie=x.img", "file"),
        ("--serial", "stdoi", "stdio"),
        ("--accel", "intrep", "interp"),
        ("--cpu", "debain", "debian"),
        ("--cpu", "rv64,+zbbb", "zbb"),
    ] {
        let said = refusal(&["--kernel", "x", option, value], exit_code::USAGE);
        assert!(
            said.contains(&format!("'{nearest}'")),
            "{option} {value}: {said}"
        );
    }
}
