//! The engine against an independent emulator: every instruction on its own, then all of them mixed.

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_BYTES};
use vm_frontend::riscv::decode::{Decoder, Op};
use vm_frontend::riscv::disasm::{Style, disassemble};
use vm_frontend::riscv::isa::Extensions;

use super::asm::{ECALL, bytes};
use super::emulator::Emulator;
use super::generate::{Case, FCSR, Generator, Random};
use super::machine;
use super::program::{BASE, ENTRY, Program};

/// Cases of one run of the emulator.
const BATCH: usize = 500;

/// Runs a program here and gives what it wants to write.
///
/// # Errors
/// The exception that it ran into.
fn ours(program: &Program) -> Result<Vec<u8>, String> {
    let end = BASE + program.image.len().next_multiple_of(PAGE_BYTES as usize) as u64;
    let mut image = program.image.clone();
    image.resize((end - BASE) as usize, 0);
    image.extend(bytes(&[ECALL]));
    let engine = machine::engine(BASE, &image, end + PAGE_BYTES - BASE);
    let mut vcpu = machine::vcpu(&engine, 0, ENTRY, end);
    let exit = vcpu.run();
    let state = vcpu.state();
    let (data, len) = program.output();
    if (state.x[17], state.x[11], state.x[12]) != (64, data, len) || state.scause != 0 {
        return Err(format!(
            "{exit:?}: exception {} at {:#x}, value {:#x}",
            state.scause, state.sepc, state.stval
        ));
    }
    let mut output = vec![0; len as usize];
    engine
        .memory()
        .read(GuestPhysAddr(data), &mut output)
        .expect("the program's memory");
    Ok(output)
}

/// Where two runs differ first.
struct Difference {
    case: Option<usize>,
    text: String,
}

fn difference(emulator: &Emulator, cases: &[Case], seed: u64) -> Option<Difference> {
    let program = Program::new(cases, seed);
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| emulator.run(&program));
        let ours = ours(&program);
        (theirs.join().expect("the thread does not panic"), ours)
    });
    let (theirs, ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (theirs, ours) => {
            let text = format!("here {:?}, there {:?}", ours.err(), theirs.err());
            return Some(Difference { case: None, text });
        }
    };
    assert_eq!(theirs.len(), ours.len());
    let byte = ours.iter().zip(&theirs).position(|(a, b)| a != b)?;
    let word = |bytes: &[u8]| {
        let from = byte & !7;
        u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"))
    };
    let place = program.case_of(byte);
    let name = match place {
        None => format!("byte {byte:#x} of the output, in memory"),
        Some((_, n @ 0..32)) => format!("x{n}"),
        Some((_, n @ 32..64)) => format!("f{}", n - 32),
        Some(_) => "fcsr".to_owned(),
    };
    Some(Difference {
        case: place.map(|(case, _)| case),
        text: format!(
            "{name}: here {:#018x}, there {:#018x}",
            word(&ours),
            word(&theirs)
        ),
    })
}

/// Fails with the smallest case that still shows a difference.
fn report(emulator: &Emulator, cases: &[Case], seed: u64, found: Difference, what: &str) -> ! {
    let alone = |case: &Case| difference(emulator, std::slice::from_ref(case), seed);
    let suspects = match found.case {
        Some(case) => &cases[case..=case],
        None => cases,
    };
    let culprit = suspects.iter().find(|case| alone(case).is_some());
    let Some(culprit) = culprit else {
        panic!("{what}: {}, but in no case alone", found.text);
    };
    let mut case = culprit.clone();
    let mut n = 0;
    while n < case.units.len() {
        let mut smaller = case.clone();
        smaller.units.remove(n);
        if alone(&smaller).is_some() {
            case = smaller;
        } else {
            n += 1;
        }
    }
    let decoder = Decoder::new(Extensions::ALL);
    let listing: Vec<_> = case
        .units
        .concat()
        .iter()
        .map(|&word| {
            let text = disassemble(&decoder, word, GuestVirtAddr(0), Style::Plain);
            format!("{word:08x}  {text}")
        })
        .collect();
    let before: Vec<_> = (0..FCSR + 1)
        .map(|n| format!("{n}={:#x}", case.record[n]))
        .collect();
    let text = alone(&case).map_or(found.text, |last| last.text);
    panic!(
        "{what}: {text}\n{}\nbefore: {}",
        listing.join("\n"),
        before.join(" ")
    );
}

fn check(emulator: &Emulator, cases: &[Case], seed: u64, what: &str) {
    if let Some(found) = difference(emulator, cases, seed) {
        report(emulator, cases, seed, found, what);
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number"))
    })
}

/// QEMU 10.0 forgets the flags of these when their result is overwritten before it is used.
fn misjudged(op: Op) -> bool {
    op.name().starts_with("fround")
}

#[test]
fn engine_runs_every_instruction_as_an_independent_emulator() {
    let Some(emulator) = Emulator::find() else {
        return;
    };
    let known = emulator.known;
    for ext in Extensions::ALL.iter().filter(|&ext| !known.has(ext)) {
        println!("skipped: {ext}, which the emulator does not know");
    }
    let mut random = Random(0x5eed);
    let mut cases = Vec::new();
    let mut of_batch = Vec::new();
    for op in Op::all().filter(|op| op.needs().met_by(known)) {
        let Some(generator) = Generator::new(move |other| other == op) else {
            continue;
        };
        cases.extend((0..24).map(|_| generator.case(&mut random, 3)));
        of_batch.push(op.name());
        if cases.len() >= BATCH {
            check(&emulator, &cases, 7, &of_batch.join(" "));
            cases.clear();
            of_batch.clear();
        }
    }
    check(&emulator, &cases, 7, &of_batch.join(" "));
}

/// `DIFF_SEQUENCES` says how many (20,000), `DIFF_SEED` where to begin.
#[test]
fn engine_runs_random_sequences_as_an_independent_emulator() {
    let Some(emulator) = Emulator::find() else {
        return;
    };
    let known = emulator.known;
    let generator = Generator::new(move |op| op.needs().met_by(known) && !misjudged(op))
        .expect("the emulator knows something");
    let batches = number("DIFF_SEQUENCES", 20_000).div_ceil(BATCH as u64);
    let first = number("DIFF_SEED", 0);
    for seed in first..first + batches {
        let mut random = Random(seed << 32);
        let cases: Vec<_> = (0..BATCH)
            .map(|_| generator.case(&mut random, 10))
            .collect();
        check(&emulator, &cases, seed, &format!("DIFF_SEED={seed}"));
    }
}
