//! Lifted code against an independent emulator: random programs run here and under user-mode QEMU.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use vm_core::GuestVirtAddr;

use super::machine::Machine;
use super::program::{BASE, ENTRY, Program};
use crate::riscv::decode::{Decoder, Op};
use crate::riscv::disasm::{Style, disassemble};
use crate::riscv::isa::{Extension, Extensions};

/// Runs a program under an emulator and gives what it wrote.
///
/// # Errors
/// Why it did not run to its end.
fn emulated(command: &[&str], program: &Program) -> Result<Vec<u8>, String> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("vm-lift-{}-{run}", std::process::id()));
    fs::write(&path, &program.image).map_err(|error| error.to_string())?;
    let result = fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).and_then(|()| {
        Command::new(command[0])
            .args(&command[1..])
            .arg(&path)
            .output()
    });
    let _ = fs::remove_file(&path);
    let output = result.map_err(|error| format!("{}: {error}", command[0]))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{command:?}: {}", output.status)),
    }
}

/// Runs a program here, its blocks as they are lifted or after the passes.
fn ours(program: &Program, optimized: bool) -> Vec<u8> {
    let mut machine = Machine::new(BASE, &program.image, ENTRY, optimized);
    machine.run();
    let (data, bytes) = program.output();
    let call = (machine.x(17), machine.x(11), machine.x(12));
    assert_eq!(call, (64, data, bytes), "write, at {:#x}", machine.pc);
    machine.bytes(data, bytes)
}

/// The emulators to try: the one that `RISCV_EMULATOR` names with its arguments, the one that `cargo xtask guests`
/// has fetched, the host's. QEMU before 8.1 has no such CPU model and is no use: its `ctzw` is wrong.
fn emulators() -> Vec<Vec<String>> {
    let named = std::env::var("RISCV_EMULATOR").ok();
    let fetched = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.cache/guests/unpacked/qemu/usr/bin/qemu-riscv64"
    );
    let qemus = [fetched, "qemu-riscv64", "qemu-riscv64-static"];
    let named = named
        .iter()
        .map(|command| command.split_whitespace().map(str::to_owned).collect());
    named
        .chain(qemus.map(|name| [name, "-cpu", "max"].map(str::to_owned).to_vec()))
        .collect()
}

/// What every emulator knows.
const BASICS: Extensions = Extensions::of(&[
    Extension::I,
    Extension::M,
    Extension::A,
    Extension::F,
    Extension::D,
    Extension::C,
]);

/// The first emulator that works, and the extensions that it knows.
fn emulator() -> Result<(Vec<String>, Extensions), String> {
    let mut why = String::new();
    for command in emulators() {
        let args: Vec<&str> = command.iter().map(String::as_str).collect();
        match emulated(&args, &Program::new(1, 1, 4, |op| op == Op::Add)) {
            Err(error) => why = error,
            Ok(_) => {
                let known = Extensions::ALL.iter().filter(|&ext| {
                    let enough = BASICS.with(ext);
                    let of_it = |op: Op| {
                        op.needs().names(ext) && op.needs().met_by(enough) || op == Op::Add
                    };
                    emulated(&args, &Program::new(2, 200, 8, of_it)).is_ok()
                });
                let known = Extensions::of(&known.collect::<Vec<_>>());
                return Ok((command, known));
            }
        }
    }
    Err(why)
}

/// What differs first, for people to read.
fn difference(program: &Program, ours: &[u8], theirs: &[u8]) -> Option<String> {
    let byte = ours.iter().zip(theirs).position(|(a, b)| a != b)?;
    let Some((case, at)) = program.case_of(byte) else {
        return Some(format!("memory differs at byte {byte:#x}"));
    };
    let decoder = Decoder::new(Extensions::ALL);
    let listing: Vec<_> = program.cases[case]
        .iter()
        .map(|&word| disassemble(&decoder, word, GuestVirtAddr(0), Style::Plain))
        .collect();
    let word = |bytes: &[u8]| {
        let from = byte & !7;
        u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"))
    };
    let place = match at / 8 {
        n @ 0..32 => format!("x{n}"),
        n @ 32..64 => format!("f{}", n - 32),
        _ => "fcsr".to_owned(),
    };
    Some(format!(
        "{place}: here {:#018x}, there {:#018x}\n{}",
        word(ours),
        word(theirs),
        listing.join("\n")
    ))
}

/// Runs a program on both sides.
fn check(command: &[&str], program: &Program, what: &str) {
    let theirs = emulated(command, program).expect("the emulator ran before");
    for optimized in [false, true] {
        let ours = ours(program, optimized);
        assert_eq!(theirs.len(), ours.len());
        if let Some(text) = difference(program, &ours, &theirs) {
            panic!("{what}, passes: {optimized}: {text}");
        }
    }
}

/// Every instruction among jumps and memory accesses, then all of them mixed. `PROGRAMS` says how many mixed programs.
#[test]
fn lift_random_programs_run_as_under_an_independent_emulator() {
    let (command, known) = match emulator() {
        Ok(found) => found,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let missing: Vec<_> = Extensions::ALL
        .iter()
        .filter(|&ext| !known.has(ext))
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?}, which {command:?} does not know");
    }
    let is_known = |op: Op| op.needs().met_by(known);
    for op in Op::all().filter(|&op| is_known(op) && Program::has(op)) {
        let program = Program::new(op as u64, 40, 3, |other| other == op);
        check(&command, &program, op.name());
    }
    let programs = std::env::var("PROGRAMS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(16);
    // QEMU 10.0 forgets the flags of `froundnx` when its result is overwritten, so it is left out of the mix.
    let mixed = |op: Op| is_known(op) && !op.name().starts_with("froundnx");
    for seed in 0..programs {
        let program = Program::new(seed << 32, 150, 12, mixed);
        check(&command, &program, &format!("program {seed}"));
    }
}
