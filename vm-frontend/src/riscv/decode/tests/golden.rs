//! Comparison with the GNU disassembler, live where it is installed and against its recorded answers everywhere.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use vm_core::GuestVirtAddr;

use super::super::{Decoder, Op, Row, compressed, length, table};
use super::words::{self, Random};
use super::{ALL, objdump};
use crate::riscv::disasm::{Style, disassemble};
use crate::riscv::isa::Extension;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/riscv/decode/tests/golden")
        .join(name)
}

fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Reads a golden file, or writes it first when asked to.
fn read_or_bless(name: &str, make: impl FnOnce() -> Result<String, String>) -> String {
    let path = golden(name);
    if blessing() {
        let text = make().expect("BLESS=1 needs the RISC-V binutils");
        fs::write(&path, text).expect("the golden file can be written");
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Extensions that the recorded tools do not know.
fn unknown_to_binutils(row: &Row) -> bool {
    [
        Extension::Zfa,
        Extension::Zicond,
        Extension::Zihintntl,
        Extension::Zimop,
        Extension::Zabha,
        Extension::Zacas,
        Extension::Zcb,
        Extension::Zcmop,
    ]
    .iter()
    .any(|&ext| row.needs.names(ext))
}

fn compressed_words() -> impl Iterator<Item = u32> {
    (0..3).flat_map(|quadrant| (0..1 << 14).map(move |high| high << 2 | quadrant))
}

/// Runs of 16-bit words with one mnemonic, in the order of `compressed_words`: `first-last name`.
fn runs(names: impl Iterator<Item = (u32, String)>) -> String {
    let mut runs: Vec<(u32, u32, String)> = Vec::new();
    for (word, name) in names {
        match runs.last_mut() {
            Some((_, last, current)) if *current == name && *last + 4 == word => *last = word,
            _ => runs.push((word, word, name)),
        }
    }
    runs.iter()
        .fold(String::new(), |mut text, (first, last, name)| {
            let _ = writeln!(text, "{first:04x}-{last:04x} {name}");
            text
        })
}

/// The name under which both disassemblers are compared: objdump has old names for
/// shifts by zero and none for the hints.
fn compressed_name(text: Option<&str>) -> String {
    match text.and_then(|text| text.split(' ').next()) {
        None => "illegal".to_owned(),
        // Reserved by the manual, shown all the same
        Some(_) if text == Some("c.addi16sp sp,0") => "illegal".to_owned(),
        Some("c.slli64") => "c.slli".to_owned(),
        Some("c.srli64") => "c.srli".to_owned(),
        Some("c.srai64") => "c.srai".to_owned(),
        Some("c.nop") => "c.addi".to_owned(),
        Some(ntl) if ntl.starts_with("c.ntl") => "c.add".to_owned(),
        // Zcb and Zcmop, newer than this disassembler
        Some(
            "c.lbu" | "c.lhu" | "c.lh" | "c.sb" | "c.sh" | "c.mul" | "c.not" | "c.zext.b"
            | "c.sext.b" | "c.zext.h" | "c.sext.h" | "c.zext.w",
        ) => "illegal".to_owned(),
        Some(mop) if mop.starts_with("c.mop") => "illegal".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[test]
fn decode_every_compressed_word_agrees_with_binutils() {
    let expected = read_or_bless("compressed.txt", || {
        let words: Vec<u32> = compressed_words().collect();
        let texts = objdump::disassemble(&words, "no-aliases")?;
        Ok(runs(words.into_iter().zip(
            texts.iter().map(|text| compressed_name(text.as_deref())),
        )))
    });
    let ours = runs(compressed_words().map(|word| {
        let text = ALL
            .decode(word)
            .map(|_| disassemble(&ALL, word, GuestVirtAddr(0), Style::Plain));
        (word, compressed_name(text.as_deref()))
    }));
    assert_eq!(ours, expected);
}

/// Some encodings of every row.
fn samples() -> Vec<u32> {
    let mut random = Random::new(4);
    let known = table::ROWS.iter().filter(|row| !unknown_to_binutils(row));
    let full = known.flat_map(|row| {
        (0..4)
            .map(|_| plain_word(row, &mut random))
            .collect::<Vec<_>>()
    });
    let mut words: Vec<u32> = full.collect();
    words.extend(ALIASED);
    words.extend(
        compressed_words()
            .filter(|word| word & 0x107c != 0)
            .step_by(97)
            .filter(|&word| {
                let row = ALL.row_and_insn(word).map(|(row, _)| row);
                row.is_some_and(|row| !unknown_to_binutils(row))
            }),
    );
    words
}

/// An encoding of a row with zero in the fields that implementations ignore.
fn plain_word(row: &Row, random: &mut Random) -> u32 {
    let word = words::of_row(row, random);
    match row.op {
        Op::Fence => word & 0x0ff0_707f,
        Op::FenceTso | Op::FenceI => {
            word & 0xfff0_707f & !(if row.op == Op::FenceI { 0xfff0_0000 } else { 0 })
        }
        // Some of the registers that this disassembler has a name for
        _ if row.operands.contains("csr") => {
            let known = [
                0x001,
                0xc01,
                0xc1f,
                0x180,
                0x3a2,
                0x3ef,
                0x33f,
                0xb03,
                0x744 + 3,
            ];
            word & 0x000f_ffff | known[word as usize / 0x80 % known.len()] << 20
        }
        _ if row.operands.ends_with("exact") => word & !0x7000,
        _ => word,
    }
}

/// Special cases with names of their own.
const ALIASED: [u32; 45] = [
    0x0000_0013,
    0x0050_0513,
    0x0005_8513,
    0x0005_851b,
    0xfff5_c513,
    0x0ff5_f513,
    0x0015_b513,
    0x00b0_3533,
    0x0005_a533,
    0x00b0_2533,
    0x40b0_0533,
    0x40b0_053b,
    0x0805_853b,
    0x0005_0463,
    0x0005_1463,
    0x00a0_5463,
    0x0005_5463,
    0x0005_4463,
    0x00a0_4463,
    0x0080_006f,
    0x0080_00ef,
    0x0000_8067,
    0x0005_0067,
    0x0085_0067,
    0x0005_00e7,
    0x0085_00e7,
    0x0ff0_000f,
    0xc000_2573,
    0xc010_2573,
    0xc020_2573,
    0x0010_2573,
    0x0020_2573,
    0x0030_2573,
    0x0015_1073,
    0x0015_9573,
    0x0025_1073,
    0x0035_1073,
    0x3000_2573,
    0x3005_1073,
    0x3005_2073,
    0x3005_3073,
    0x1200_0073,
    0x1205_0073,
    0x22b5_8553,
    0x22b5_9553,
];

/// `word|text as it is|text with aliases`, for words laid out one after the other from address 0.
fn listing(words: &[u32], plain: &[Option<String>], alias: &[Option<String>]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "illegal".to_owned());
    let mut out = String::new();
    for (word, (plain, alias)) in words.iter().zip(plain.iter().zip(alias)) {
        // Binutils write an immediate instruction by the name of its register form, which helps nobody.
        let alias = if ALIASED.contains(word) {
            text(alias)
        } else {
            String::new()
        };
        let _ = writeln!(out, "{word:08x}|{}|{alias}", text(plain));
    }
    out
}

fn ours(words: &[u32], style: Style) -> Vec<Option<String>> {
    let mut pc = 0;
    words
        .iter()
        .map(|&word| {
            let at = GuestVirtAddr(pc);
            pc += u64::from(length(word as u16));
            ALL.decode(word).map(|_| disassemble(&ALL, word, at, style))
        })
        .collect()
}

#[test]
fn disassemble_every_row_agrees_with_binutils() {
    let words = samples();
    let expected = read_or_bless("text.txt", || {
        let plain = objdump::disassemble(&words, "no-aliases")?;
        let alias = objdump::disassemble(&words, "")?;
        Ok(listing(&words, &plain, &alias))
    });
    let ours = listing(
        &words,
        &ours(&words, Style::Plain),
        &ours(&words, Style::Aliases),
    );
    let differing: Vec<_> = ours
        .lines()
        .zip(expected.lines())
        .filter(|(a, b)| a != b)
        .collect();
    assert!(differing.is_empty(), "ours, binutils: {differing:#?}");
    assert_eq!(ours.lines().count(), expected.lines().count());
}

#[test]
fn decode_random_words_agree_with_the_installed_binutils() {
    let mut random = Random::new(5);
    let mut words: Vec<u32> = Vec::new();
    while words.len() < 60_000 {
        // Random operands and functions under a real major opcode: fully random words are mostly illegal.
        let row = &table::ROWS[random.next() as usize % table::ROWS.len()];
        let word = random.next() as u32 & !0x7f | row.pattern.bits & 0x7f;
        words.push(if random.next() & 1 == 0 {
            word
        } else {
            words::of_row(row, &mut random)
        });
    }
    let texts = match objdump::disassemble(&words, "no-aliases") {
        Ok(texts) => texts,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let name = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let mut differing = Vec::new();
    for ((&word, theirs), ours) in words.iter().zip(&texts).zip(ours(&words, Style::Plain)) {
        if theirs.as_deref().map(name) != ours.as_deref().map(name) && !deviates(word, &ALL) {
            differing.push(format!("{word:08x}: {ours:?}, binutils {theirs:?}"));
        }
    }
    assert!(
        differing.is_empty(),
        "{}: {:#?}",
        differing.len(),
        &differing[..differing.len().min(20)]
    );
}

/// Where the recorded tools are known to be stricter than the manual, or older than an extension.
fn deviates(word: u32, decoder: &Decoder) -> bool {
    let Some((row, insn)) = decoder.row_and_insn(word) else {
        return false;
    };
    match insn.op {
        // Ignored fields
        Op::Fence | Op::FenceI | Op::FenceTso => true,
        // Exact conversions: any rounding mode is accepted by the manual, only 0 by the assembler.
        _ if row.operands.ends_with("exact") => insn.rm != 0,
        _ => unknown_to_binutils(row),
    }
}

/// `llvm.txt` is what LLVM 19's assembler makes of the extensions that binutils 2.40 does not know.
#[test]
fn disassemble_newer_extensions_agrees_with_llvm() {
    let text = fs::read_to_string(golden("llvm.txt")).expect("the golden file is there");
    let mut seen = std::collections::HashSet::new();
    for line in text.lines() {
        let (word, expected) = line.split_once('|').expect("word|text");
        let word = u32::from_str_radix(word, 16).expect("hexadecimal");
        let ours = disassemble(&ALL, word, GuestVirtAddr(0), Style::Plain);
        assert_eq!(ours, expected, "{word:08x}");
        seen.extend(ALL.row_and_insn(word).map(|(row, _)| row.name));
    }
    let rows = table::ROWS.iter().chain(&compressed::ROWS);
    for row in rows.filter(|row| unknown_to_binutils(row)) {
        assert!(seen.contains(row.name), "{} is in llvm.txt", row.name);
    }
}
