//! Tests of the decoder and the disassembler. `golden/` holds what the GNU disassembler says; `BLESS=1 cargo test`
//! writes it anew from the installed binutils.

mod golden;
mod objdump;
mod words;

use super::*;
use crate::riscv::isa::Extension;
use words::Random;

/// Some encodings with random operands of every row of both tables.
pub(in crate::riscv) fn random_encodings(each: usize) -> impl Iterator<Item = u32> {
    let mut random = Random::new(7);
    table::ROWS
        .iter()
        .chain(&compressed::ROWS)
        .flat_map(move |row| {
            (0..each)
                .map(|_| words::of_row(row, &mut random))
                .collect::<Vec<_>>()
        })
}

/// One encoding of every row of both tables, with its variable bits from fixed patterns.
pub(in crate::riscv) fn one_encoding_each() -> impl Iterator<Item = u32> {
    // rd, rs1, rs2, rs3 are a0, a1, a2, a3 and rm is dynamic; the others are for rows that this does not fit.
    const FILLS: [u32; 4] = [0x68c5_f500, 0x5554, 0x0228, 0];
    table::ROWS.iter().chain(&compressed::ROWS).map(|row| {
        let fits = |word: &u32| row.pattern.matches(*word) && op(*word) == Some(row.op);
        FILLS
            .into_iter()
            .map(|fill| row.pattern.bits | fill & words::free_bits(row))
            .find(fits)
            .unwrap_or_else(|| panic!("{} needs another fill", row.name))
    })
}

const ALL: Decoder = Decoder::new(Extensions::ALL);

fn op(word: u32) -> Option<Op> {
    ALL.decode(word).map(|insn| insn.op)
}

#[test]
fn insn_stays_small() {
    assert!(size_of::<Insn>() <= 12 && size_of::<Option<Insn>>() <= 12);
}

#[test]
fn table_every_row_is_reachable() {
    let mut random = Random::new(1);
    for row in &table::ROWS {
        let decoded = (0..64).any(|_| op(words::of_row(row, &mut random)) == Some(row.op));
        assert!(decoded, "{} never decodes", row.name);
    }
    for (number, row) in compressed::ROWS.iter().enumerate() {
        let reached = (0..=0xffff).filter(|&word| length(word) == 2).any(|word| {
            ALL.row(u32::from(word), 2)
                .is_some_and(|found| std::ptr::eq(found, &compressed::ROWS[number]))
        });
        assert!(reached, "{} never decodes", row.name);
    }
}

#[test]
fn table_overlaps_are_only_hints() {
    for (number, row) in table::ROWS.iter().enumerate() {
        for later in &table::ROWS[number + 1..] {
            let fixed = row.pattern.mask & later.pattern.mask;
            if (row.pattern.bits ^ later.pattern.bits) & fixed == 0 {
                let pair = (row.op, later.op);
                let hint = matches!(
                    pair,
                    (Op::PrefetchI | Op::PrefetchR | Op::PrefetchW, Op::Ori)
                        | (Op::NtlP1 | Op::NtlPall | Op::NtlS1 | Op::NtlAll, Op::Add)
                        | (Op::Pause | Op::FenceTso, Op::Fence)
                        | (Op::ZextH, Op::Packw)
                );
                assert!(hint, "{pair:?} overlap");
            }
        }
    }
}

#[test]
fn decode_hints_without_their_extension_are_the_plain_instructions() {
    let plain = Decoder::new(
        Extensions::ALL
            .without(Extension::Zicbop)
            .without(Extension::Zihintntl)
            .without(Extension::Zihintpause),
    );
    for (word, hint, base) in [
        (0x0205_e013, Op::PrefetchI, Op::Ori),
        (0x0050_0033, Op::NtlAll, Op::Add),
        (0x9016, Op::NtlAll, Op::Add),
        (0x0100_000f, Op::Pause, Op::Fence),
    ] {
        assert_eq!(op(word), Some(hint), "{word:#x}");
        assert_eq!(
            plain.decode(word).map(|insn| insn.op),
            Some(base),
            "{word:#x}"
        );
    }
}

#[test]
fn decode_without_an_extension_is_illegal() {
    let mut random = Random::new(2);
    for row in &table::ROWS {
        for &ext in Extension::ALL {
            let extensions = Extensions::ALL.without(ext);
            let word = words::of_row(row, &mut random);
            if ext != Extension::I && !row.needs.met_by(extensions) {
                let found = Decoder::new(extensions).decode(word).map(|insn| insn.op);
                assert_ne!(found, Some(row.op), "{} without {ext}", row.name);
            }
        }
    }
    let no_c = Decoder::new(Extensions::ALL.without(Extension::Zca));
    assert!(
        (0..=0xffff)
            .filter(|&word| length(word) == 2)
            .all(|word| no_c.decode(word.into()).is_none())
    );
    let no_d = Decoder::new(Extensions::ALL.without(Extension::D));
    assert_eq!(no_d.decode(0x2000), None, "c.fld");
}

#[test]
fn decode_compressed_equals_what_it_abbreviates() {
    for (short, full) in [
        (0x1141, 0xff01_0113), // c.addi sp,-16
        (0x0808, 0x0101_0513), // c.addi4spn a0,sp,16
        (0x7139, 0xfc01_0113), // c.addi16sp sp,-64
        (0x757d, 0xffff_f537), // c.lui a0,0xfffff
        (0x8082, 0x0000_8067), // c.jr ra
        (0x9502, 0x0005_00e7), // c.jalr a0
        (0xe406, 0x0011_3423), // c.sdsp ra,8(sp)
        (0x60a2, 0x0081_3083), // c.ldsp ra,8(sp)
        (0x4188, 0x0005_a503), // c.lw a0,0(a1)
        (0xbfdd, 0xff7f_f06f), // c.j -10
        (0xd97d, 0xfe05_0be3), // c.beqz a0,-10
        (0x852e, 0x00b0_0533), // c.mv a0,a1
        (0x952e, 0x00b5_0533), // c.add a0,a1
        (0x9002, 0x0010_0073), // c.ebreak
        (0x1502, 0x0205_1513), // c.slli a0,32
        (0x8d0d, 0x40b5_0533), // c.sub a0,a1
        (0x81e8, 0x0035_c503), // c.lbu a0,3(a1)
        (0x85a8, 0x0025_d503), // c.lhu a0,2(a1)
        (0x85e8, 0x0025_9503), // c.lh a0,2(a1)
        (0x89c8, 0x00a5_80a3), // c.sb a0,1(a1)
        (0x8da8, 0x00a5_9123), // c.sh a0,2(a1)
        (0x9d4d, 0x02b5_0533), // c.mul a0,a1
        (0x9d61, 0x0ff5_7513), // c.zext.b a0
        (0x9d65, 0x6045_1513), // c.sext.b a0
        (0x9d69, 0x0805_453b), // c.zext.h a0
        (0x9d6d, 0x6055_1513), // c.sext.h a0
        (0x9d71, 0x0805_053b), // c.zext.w a0
        (0x9d75, 0xfff5_4513), // c.not a0
        (0x6281, 0x0000_0013), // c.mop.5
    ] {
        let short = ALL.decode(short).expect("legal");
        let full = ALL.decode(full).expect("legal");
        assert_eq!(short, Insn { len: 2, ..full });
        assert_eq!(full.len, 4);
    }
}

#[test]
fn decode_reserved_is_illegal() {
    for word in [
        0x0000_0000, // c.addi4spn with a zero immediate
        0x6101,      // c.addi16sp with a zero immediate
        0x6501,      // c.lui with a zero immediate
        0x2001,      // c.addiw x0
        0x4002,      // c.lwsp x0
        0x6002,      // c.ldsp x0
        0x8002,      // c.jr x0
        0x9c79,      // quadrant 1, funct3 100, reserved
        0x9000,      // quadrant 0, funct3 100, reserved
        0xffff_ffff,
        0x0000_001f, // more than 32 bits long
        0x02b5_5553, // fadd.d with rounding mode 5
        0x02b5_6553, // and 6
        0x1010_a52f, // lr.w with rs2 = 1
        0x0015_0073, // ecall with fields set
    ] {
        assert_eq!(ALL.decode(word), None, "{word:#x}");
    }
}

#[test]
fn decode_reads_every_field() {
    let insn = ALL
        .decode(0x6ad6_8543)
        .expect("fmadd.d fa0,fa3,fa3,fa3,rne is legal");
    assert_eq!(
        (insn.op, insn.rd, insn.rs1, insn.rs2, insn.rs3, insn.rm),
        (Op::FmaddD, 10, 13, 13, 13, 0)
    );
    let insn = ALL.decode(0x06b6_a52f).expect("amoadd.w.aqrl a0,a1,(a3)");
    assert_eq!((insn.op, insn.aq(), insn.rl()), (Op::AmoaddW, true, true));
    let insn = ALL.decode(0x3002_d573).expect("csrrwi a0,mstatus,5");
    assert_eq!(
        (insn.op, insn.csr(), insn.rs1, insn.rd),
        (Op::Csrrwi, 0x300, 5, 10)
    );
    let insn = ALL.decode(0x8330_000f).expect("fence.tso");
    assert_eq!(insn.op, Op::FenceTso);
    let insn = ALL.decode(0x0120_000f).expect("fence w,r");
    assert_eq!((insn.op, insn.imm), (Op::Fence, 0x012));
}

#[test]
fn decode_any_word_agrees_with_a_search_of_the_whole_table() {
    let mut random = Random::new(3);
    for _ in 0..200_000 {
        let word = random.next() as u32 | 3;
        let slow = table::ROWS
            .iter()
            .find(|row| row.pattern.matches(word))
            .map(|row| row.op);
        assert_eq!(op(word), slow, "{word:#010x}");
    }
}
