//! A host that has not enough of something: one line that says of what, and exit code 1; never a panic or a signal.

use std::path::Path;
use std::process::{Command, Output};

/// Powers off (RISC-V, as assembled; the SiFive test device at 0x10_0000 takes 0x5555 for success).
const POWER_OFF: [u32; 4] = [
    0x0010_0337, // lui  t1, 0x100
    0x0000_53b7, // lui  t2, 5
    0x5553_8393, // addi t2, t2, 0x555
    0x0073_2023, // sw   t2, 0(t1)
];

/// Runs the program behind a shell that has set limits.
fn run(dir: &Path, limits: &str, options: &[&str]) -> Output {
    let program = dir.join("off");
    std::fs::write(&program, POWER_OFF.map(u32::to_le_bytes).concat()).unwrap();
    Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_vm-cli"))
        .args(["run", "--bios", "none", "--kernel"])
        .arg(program)
        .args(options)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

/// The error line of a run that could not begin; `None` of one that ran to its end.
fn shortage(output: &Output, what: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(0) {
        return None;
    }
    assert_eq!(
        output.status.code(),
        Some(1),
        "{what}: {:?}: {text}",
        output.status
    );
    let errors = text.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{what}: {text}");
    let said = text
        .lines()
        .all(|line| line.starts_with("error: ") || line.starts_with("vm-cli: "));
    assert!(said, "{what}: {text}");
    Some(text)
}

#[test]
fn memory_that_no_host_has_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "ulimit -v 67108864";
    for memory in ["16T", "8192T"] {
        let output = run(dir.path(), limits, &["--memory", memory]);
        let line = shortage(&output, memory).expect("no host has that much");
        assert!(line.contains("--memory"), "{line}");
    }
}

#[test]
fn few_file_descriptors_are_one_line_or_enough() {
    let dir = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for count in [4, 5, 6, 8, 12, 64] {
        let output = run(
            dir.path(),
            &format!("ulimit -n {count}"),
            &["--net", "user"],
        );
        if let Some(line) = shortage(&output, &format!("ulimit -n {count}")) {
            refused += 1;
            assert!(!line.contains("check the path"), "{line}");
        }
    }
    assert!(refused > 0, "four descriptors cannot be enough");
}

#[test]
fn threads_that_cannot_be_had_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut threads = 0;
    // Where the limit lies at which a thread's stack is the first thing that cannot be had is not for a test to know.
    for mib in (200..1000).step_by(50) {
        let limits = format!("ulimit -v {}", mib << 10);
        let output = run(
            dir.path(),
            &limits,
            &["--memory", "16M", "--cpus", "8", "--code-cache", "16M"],
        );
        let line = shortage(&output, &format!("{mib} MiB"));
        threads += usize::from(line.is_some_and(|line| line.contains("thread")));
    }
    assert!(threads > 0, "eight stacks of 16 MiB do not fit everywhere");
}
