//! Programs without an operating system: on the built-in SBI, and in machine mode.

use std::path::{Path, PathBuf};

use vm_tests::{Cache, Emulator, Guest, Launch, compiled_bare, exit_code, guests_or_skip, limit};

/// Where QEMU starts bare programs, whatever entry they name.
const RAM_START: u64 = 0x8000_0000;

/// The program, where the host can compile it.
fn program(source: &str, dir: &tempfile::TempDir) -> Option<PathBuf> {
    let file = dir.path().join("program");
    compiled_bare(source, RAM_START, &file).then_some(file)
}

#[test]
fn debug_console_and_legacy_console_give_what_is_typed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(program) = program("console.S", &dir) else {
        return;
    };
    let launch = Launch::riscv64_kernel(program);
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &Cache::locate());
    assert_eq!(guest.wait_for("I", limit(60)), "");
    guest.type_text("more than eight bytes at once\n");
    assert_eq!(
        guest.wait_for("D", limit(60)),
        "more than eight bytes at once\n"
    );
    guest.type_text("one by one\n");
    assert_eq!(guest.wait_for("L", limit(60)), "one by one\n");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}

#[test]
fn dump_signature_writes_the_words_between_the_symbols() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(program) = program("signature.S", &dir) else {
        return;
    };
    let file = dir.path().join("signature");
    let launch =
        Launch::riscv64_bare(program).with_option("--dump-signature", file.display().to_string());
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &Cache::locate());
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    let text = std::fs::read_to_string(file).expect("a signature");
    assert_eq!(text, "01234567\nfffffffe\nffffffff\n0000cafe\n");
    assert_eq!(guest.wait_for("S", limit(10)), "");
}

#[test]
fn serial_null_shows_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(program) = program("signature.S", &dir) else {
        return;
    };
    let launch = Launch {
        serial: Some("null".to_owned()),
        ..Launch::riscv64_bare(program)
    };
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &Cache::locate());
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    assert_eq!(guest.console_text(), "");
}

/// A row of the program counter and eight of registers an instruction.
const ROWS: usize = 9;

/// The registers before each instruction from the program counter `from` on, in the rows that both emulators write, up
/// to the jump to itself in which the program waits for its end.
fn rows(trace: &Path, from: u64) -> Vec<String> {
    let text = std::fs::read_to_string(trace).expect("a trace");
    let begin = format!(" pc       {from:016x}");
    let rows: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with(" pc") || line.starts_with(" x"))
        .skip_while(|line| *line != begin)
        .map(|line| line.trim_end().to_owned())
        .collect();
    let instructions: Vec<&[String]> = rows.chunks(ROWS).collect();
    let waits = instructions.windows(2).position(|pair| pair[0] == pair[1]);
    let end = waits.map_or(rows.len(), |at| (at + 1) * ROWS);
    rows[..end].to_vec()
}

/// Where the program's symbol `traced` is: behind 31 compressed instructions.
const TRACED: u64 = RAM_START + 31 * 2;

#[test]
fn trace_has_the_registers_that_qemu_has_before_every_instruction() {
    let Some(cache) = guests_or_skip(&[]) else {
        return;
    };
    let mut qemu = match cache.qemu_system_riscv64() {
        Ok(qemu) => qemu,
        Err(why) => {
            let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
            assert!(!required, "guests are required: {why}");
            println!("skipped: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(program) = program("trace.S", &dir) else {
        return;
    };
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let launch =
        Launch::riscv64_bare(&program).with_option("--trace", format!("exec={}", ours.display()));
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);

    qemu.args(["-M", "virt", "-nodefaults", "-display", "none"])
        .args(["-bios", "none", "-kernel"])
        .arg(&program)
        .args([
            "-accel",
            "tcg,one-insn-per-tb=on",
            "-d",
            "cpu,nochain",
            "-D",
        ])
        .arg(&theirs)
        .stdin(std::process::Stdio::null());
    let output = qemu.output().expect("QEMU starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let (ours, theirs) = (rows(&ours, TRACED), rows(&theirs, TRACED));
    assert!(ours.len() > ROWS * 4000, "{} rows", ours.len());
    for (row, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let (row, instruction) = (row % ROWS, row / ROWS);
        assert_eq!(ours, theirs, "row {row} of instruction {instruction}");
    }
    // One of them may have ended before it waited.
    assert!(ours.len().abs_diff(theirs.len()) <= ROWS);
}
