//! Options about what runs the guest's instructions: each assertion fails when its option is ignored.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Counts down from 1,000,000, with a store a round, and powers off (RISC-V, as assembled; the SiFive test device at
/// 0x10_0000 takes 0x5555 for success).
const PROGRAM: [u32; 11] = [
    0x000f_42b7, // lui   t0, 0xf4
    0x2402_8293, // addi  t0, t0, 0x240
    0x8010_0313, // addi  t1, zero, -2047 (any odd number)
    0x0000_1397, // auipc t2, 1
    0x0053_b023, // sd    t0, 0(t2)
    0xfff2_8293, // addi  t0, t0, -1
    0xfe02_9ce3, // bnez  t0, -8
    0x0010_0337, // lui   t1, 0x100
    0x0000_53b7, // lui   t2, 5
    0x5553_8393, // addi  t2, t2, 0x555
    0x0073_2023, // sw    t2, 0(t1)
];

fn firmware(dir: &Path) -> PathBuf {
    let file = dir.join("count.bin");
    let bytes: Vec<u8> = PROGRAM.iter().flat_map(|word| word.to_le_bytes()).collect();
    std::fs::write(&file, bytes).expect("a writable temporary directory");
    file
}

fn run(dir: &Path, options: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vm-cli"))
        .args(["run", "--serial", "null", "--bios"])
        .arg(firmware(dir))
        .args(options)
        .env("TMPDIR", dir)
        .envs(variables.iter().copied())
        .output()
        .expect("vm-cli starts")
}

/// What it says, when it ends well.
fn said(options: &[&str]) -> String {
    said_with(options, &[])
}

/// The same with variables in the environment.
fn said_with(options: &[&str], variables: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = run(dir.path(), options, variables);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{options:?}: {text}");
    text
}

/// The count of this name in what `--stats` says.
fn count(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.contains(name));
    let number = line.and_then(|line| line.rsplit(": ").next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn accel_chooses_and_says_what_runs_the_guest() {
    assert!(said(&["--accel", "interp"]).starts_with("vm-cli: interpreter\n"));
    assert!(said(&["--accel", "jit"]).starts_with("vm-cli: translator\n"));
    assert!(said(&[]).starts_with("vm-cli: translator ("));
}

#[test]
fn stats_are_printed_when_asked_for() {
    assert!(!said(&[]).contains("retired"));
    let text = said(&["--stats"]);
    // Three instructions a round.
    let retired = count(&text, "guest instructions retired");
    assert!((3_000_000..3_000_100).contains(&retired), "{text}");
}

#[test]
fn verify_compares_every_block() {
    let compared = "blocks compared with the interpreter";
    assert_eq!(count(&said(&["--stats"]), compared), 0);
    let text = said(&["--stats", "--verify"]);
    assert!(count(&text, compared) >= 999_999, "{text}");
    assert!(!text.contains("differs"), "{text}");
    let text = said_with(&["--stats"], &[("VM_CLI_VERIFY", "1")]);
    assert!(count(&text, compared) >= 999_999, "{text}");
}

#[test]
fn dump_shows_what_is_asked_for_of_the_code_that_is_asked_for() {
    let both = said(&["--dump", "ir,asm"]);
    assert!(
        both.contains("branch.i64.ne") && both.contains("  jmp "),
        "{both}"
    );
    let ir = said(&["--dump", "ir"]);
    assert!(
        ir.contains("branch.i64.ne") && !ir.contains("  jmp "),
        "{ir}"
    );
    let blocks = |text: &str| text.lines().filter(|line| line.starts_with("--- ")).count();
    let one = said(&["--dump", "ir", "--filter", "80000010"]);
    assert!(blocks(&ir) > 1, "{ir}");
    assert_eq!(blocks(&one), 1, "{one}");
    assert!(one.contains("--- 80000010 "), "{one}");
}

#[test]
fn perf_map_lists_translated_code() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let maps = || {
        let files = std::fs::read_dir(dir.path()).expect("a readable directory");
        let names = files.map(|file| file.expect("a readable directory").path());
        names
            .filter(|name| name.extension().is_some_and(|extension| extension == "map"))
            .collect::<Vec<_>>()
    };
    run(dir.path(), &[], &[]);
    assert!(maps().is_empty());
    run(dir.path(), &["--perf-map"], &[]);
    let text = std::fs::read_to_string(&maps()[0]).expect("a readable file");
    assert!(
        text.lines().any(|line| line.contains(" guest_80000010_")),
        "{text}"
    );
}

#[test]
fn code_cache_that_cannot_be_had_is_announced() {
    let text = said(&["--code-cache", "4000000G"]);
    assert!(
        text.starts_with("vm-cli: interpreter (cannot translate"),
        "{text}"
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = run(dir.path(), &["--code-cache", "512K"], &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("give it 1M or more"),
        "{text}"
    );
}
