//! Guest bytes and the IR that they lift to, in `golden/`. `BLESS=1 cargo test` writes the files anew; read the
//! difference before committing it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use vm_core::GuestVirtAddr;
use vm_ir::{text, verify};

use super::*;
use crate::guest::Guest;
use crate::riscv::decode::one_encoding_each;
use crate::riscv::disasm::{Style, disassemble};
use crate::riscv::isa::Extensions;
use crate::riscv::sys::Riscv;

fn check(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/riscv/lift/tests/golden")
        .join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, now).expect("the golden file can be written");
    }
    let then =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (number, (now, then)) in now.lines().zip(then.lines()).enumerate() {
        assert_eq!(now, then, "{name}, line {}", number + 1);
    }
    assert_eq!(now.lines().count(), then.lines().count(), "{name}");
}

/// The code with its disassembly as a comment, then the block.
fn section(words: &[u32], mode: Mode) -> String {
    let decoder = Decoder::new(Extensions::ALL);
    let mut out = String::new();
    let mut pc = 0;
    for &word in words {
        let len = length(word as u16);
        let digits = usize::from(len) * 2;
        let shown = word & (u32::MAX >> (32 - 8 * u32::from(len)));
        let assembly = disassemble(&decoder, word, GuestVirtAddr(pc), Style::Plain);
        let _ = writeln!(out, "; {pc:4x}: {shown:0digits$x}  {assembly}");
        pc += u64::from(len);
    }
    let block = lifted(words, mode);
    verify(&block, Riscv::layout()).unwrap_or_else(|error| panic!("{out}{error}"));
    let body = text::print(&block, Riscv::layout());
    // Names of helpers have dots, which the parser takes for the start of an attribute.
    if !body.contains("call @") {
        assert_eq!(
            text::parse(&body, Riscv::layout()).as_ref(),
            Ok(&block),
            "{body}"
        );
    }
    out + &body + "\n"
}

#[test]
fn lift_each_encoding_matches_the_golden_file() {
    let text: String = one_encoding_each()
        .map(|word| section(&[word], MACHINE))
        .collect();
    check("encodings.txt", &text);
}

/// Sequences as compilers make them, and the modes that change what code means.
#[test]
fn lift_sequences_match_the_golden_file() {
    const USER: Mode = Mode(2 << 2);
    const SUPERVISOR_CLEAN: Mode = Mode(1 | 1 << 2);
    let sections: &[(&str, Mode, &[u32])] = &[
        ("a far call", MACHINE, &[0x0000_1097, 0xff80_80e7]),
        ("a constant", MACHINE, &[0x1234_5537, 0x6785_051b, 0x0505]),
        (
            "a global variable",
            MACHINE,
            &[0x0000_2517, 0x0105_3503, 0x8082],
        ),
        (
            "function entry",
            MACHINE,
            &[0x1141, 0xe406, 0xe022, 0x0800, 0x842a, 0x4501],
        ),
        ("function exit", MACHINE, &[0x60a2, 0x6402, 0x0141, 0x8082]),
        (
            "a loop",
            MACHINE,
            &[
                0x0005_c703,
                0x0585,
                0x9e39,
                0x0505,
                0xfee5_0fa3,
                0xfec5_98e3,
            ],
        ),
        ("a spin lock", MACHINE, &[0x4705, 0x0ce5_272f, 0xff7d]),
        (
            "a compare and swap",
            MACHINE,
            &[0x1005_a72f, 0x00a7_1563, 0x1ac5_a72f, 0xfb65],
        ),
        (
            "single precision",
            MACHINE,
            &[0x4108, 0x0005_2507, 0x0045_2587, 0x10b5_7553, 0x00a5_a027],
        ),
        (
            "double precision, not dirty yet",
            SUPERVISOR_CLEAN,
            &[0x2108, 0x210c, 0x02b5_7553, 0xa108],
        ),
        ("a system call", USER, &[0x0400_0893, 0x0000_0073]),
        ("a breakpoint", USER, &[0x9002]),
        ("an illegal instruction", USER, &[0x0505, 0]),
        ("interrupts off", Mode(1), &[0x1001_7573, 0x0505]),
        (
            "scratch registers",
            Mode(1),
            &[0x1400_1073, 0x1410_2573, 0x0505],
        ),
        ("the clock", USER, &[0x0505, 0xc010_2573, 0x0505]),
        (
            "fences",
            MACHINE,
            &[
                0x0ff0_000f,
                0x0220_000f,
                0x0110_000f,
                0x8330_000f,
                0x0100_000f,
            ],
        ),
    ];
    let mut text = String::new();
    for (name, mode, words) in sections {
        let _ = write!(text, "; --- {name}\n{}", section(words, *mode));
    }
    check("sequences.txt", &text);
}
