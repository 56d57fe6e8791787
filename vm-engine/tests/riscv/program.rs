//! Programs: an ELF file that loads registers from a table, runs a sequence, stores the registers back, again and
//! again, and writes the table and the scratch area to its standard output.

use super::asm::{ECALL, addi, bytes, i_type, jal, ld, load_address, s_type, sd, span};
use super::generate::{Case, FCSR, RECORD_BASE, RECORD_WORDS, Random, SCRATCH_BASE, Values as _};

/// Where the file is loaded.
pub(crate) const BASE: u64 = 0x10000;
/// Where execution begins.
pub(crate) const ENTRY: u64 = BASE + 0x1000;
const RECORD: u64 = 8 * RECORD_WORDS as u64;
/// Bytes that loads and stores fall into; the register that they are based on points to the middle.
const SCRATCH: u64 = 0x2000;

/// A program as a memory image from [`BASE`] on.
pub(crate) struct Program {
    pub(crate) image: Vec<u8>,
    data: u64,
    cases: usize,
}

impl Program {
    /// Puts cases together.
    pub(crate) fn new(cases: &[Case], seed: u64) -> Self {
        // The code's length does not depend on where the data is.
        let code_bytes = span(&code(cases, 0x7000_0000)) as u64;
        let data = (ENTRY + code_bytes + 0xfff) & !0xfff;
        let mut image = elf_header(data + data_bytes(cases.len()) - BASE);
        image.resize((ENTRY - BASE) as usize, 0);
        image.extend(bytes(&code(cases, data)));
        image.resize((data - BASE) as usize, 0);
        for word in cases.iter().flat_map(|case| &case.record) {
            image.extend(word.to_le_bytes());
        }
        let mut random = Random(seed);
        // The scratch area begins on a page of its own.
        image.resize((data + records_bytes(cases.len()) - BASE) as usize, 0);
        for _ in 0..SCRATCH / 8 {
            image.extend(random.integer().to_le_bytes());
        }
        Self {
            image,
            data,
            cases: cases.len(),
        }
    }

    /// Address and length of what the program writes.
    pub(crate) fn output(&self) -> (u64, u64) {
        (self.data, data_bytes(self.cases))
    }

    /// The case that a byte of the output belongs to and the word of its record; nothing for the scratch area.
    pub(crate) fn case_of(&self, byte: usize) -> Option<(usize, usize)> {
        let record = RECORD as usize;
        (byte / record < self.cases).then_some((byte / record, byte % record / 8))
    }
}

fn records_bytes(cases: usize) -> u64 {
    (cases as u64 * RECORD + 0xfff) & !0xfff
}

fn data_bytes(cases: usize) -> u64 {
    records_bytes(cases) + SCRATCH
}

/// An executable for Linux with one segment, readable, writable and executable.
fn elf_header(bytes: u64) -> Vec<u8> {
    const EM_RISCV: u16 = 243;
    const DOUBLE_FLOAT_COMPRESSED: u32 = 5;
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, EM_RISCV] {
        header.extend(half.to_le_bytes());
    }
    header.extend(1_u32.to_le_bytes());
    for word in [ENTRY, 64, 0] {
        header.extend(word.to_le_bytes());
    }
    header.extend(DOUBLE_FLOAT_COMPRESSED.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        header.extend(half.to_le_bytes());
    }
    for half in [1_u32, 7] {
        header.extend(half.to_le_bytes());
    }
    for word in [0, BASE, BASE, bytes, bytes, 0x1000] {
        header.extend(word.to_le_bytes());
    }
    header
}

/// `fscsr x1` and `frcsr x1`.
const SET_FCSR: u32 = 0x0030_9073;
const GET_FCSR: u32 = 0x0030_20f3;
/// `jr x30`.
const BACK: u32 = 0x67 | SCRATCH_BASE << 15;

/// All registers from the record.
fn load_all() -> Vec<u32> {
    let mut words = vec![ld(1, RECORD_BASE, 8 * FCSR as i64), SET_FCSR];
    words.extend((0..32).map(|n| i_type(0x3007, n, RECORD_BASE, 256 + 8 * i64::from(n))));
    words.extend((1..30).map(|n| ld(n, RECORD_BASE, 8 * i64::from(n))));
    words.push(BACK);
    words
}

/// All registers to the record.
fn store_all() -> Vec<u32> {
    let mut words: Vec<_> = (1..30)
        .map(|n| sd(n, RECORD_BASE, 8 * i64::from(n)))
        .collect();
    words.extend((0..32).map(|n| s_type(0x3027, RECORD_BASE, n, 256 + 8 * i64::from(n))));
    words.extend([GET_FCSR, sd(1, RECORD_BASE, 8 * FCSR as i64), BACK]);
    words
}

fn code(cases: &[Case], data: u64) -> Vec<u32> {
    let (load, store) = (load_all(), store_all());
    let load_at = 4;
    let store_at = load_at + span(&load);
    let mut words = vec![jal(0, store_at + span(&store))];
    words.extend(load);
    words.extend(store);
    let mut at = span(&words);
    let mut emit = |words: &mut Vec<u32>, more: &[u32]| {
        words.extend(more);
        at += span(more);
        at
    };
    let scratch = data + records_bytes(cases.len()) + SCRATCH / 2;
    for (number, case) in cases.iter().enumerate() {
        let record = load_address(RECORD_BASE, data + number as u64 * RECORD);
        let here = emit(&mut words, &record);
        emit(&mut words, &[jal(SCRATCH_BASE, load_at - here)]);
        emit(&mut words, &load_address(SCRATCH_BASE, scratch));
        let here = emit(&mut words, &case.units.concat());
        emit(&mut words, &[jal(SCRATCH_BASE, store_at - here)]);
    }
    words.extend([addi(17, 0, 64), addi(10, 0, 1)]);
    words.extend(load_address(11, data));
    words.extend(load_address(12, data_bytes(cases.len())));
    words.extend([ECALL, addi(17, 0, 93), addi(10, 0, 0), ECALL]);
    words
}
