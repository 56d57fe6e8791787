//! Random user-mode programs: an ELF file that loads registers from a table, runs a few random instructions, stores
//! the registers back, again and again, and writes the table to its standard output.

use vm_testing::Random;

use crate::riscv::decode::{Decoder, Insn, Op, random_encodings};
use crate::riscv::isa::Extensions;

/// Where the file is loaded.
pub(super) const BASE: u64 = 0x10000;
/// Where execution begins.
pub(super) const ENTRY: u64 = BASE + 0x1000;
/// Bytes of registers that a case loads and stores: x1 to x29, f0 to f31, fcsr.
const RECORD: u64 = 0x220;
const FCSR: u64 = 0x210;
/// Bytes that loads and stores fall into; the register that they are based on points to the middle.
const SCRATCH: u64 = 0x2000;
/// Points to the case's record; random code leaves it alone.
const RECORD_BASE: u32 = 31;
/// Points into the scratch area; random code leaves it alone.
const SCRATCH_BASE: u32 = 30;

/// A program as a memory image from [`BASE`] on.
pub(super) struct Program {
    pub(super) image: Vec<u8>,
    /// Random instructions of each case.
    pub(super) cases: Vec<Vec<u32>>,
    data: u64,
}

/// What programs are made from.
trait Values {
    fn integer(&mut self) -> u64;
    fn float(&mut self) -> u64;
}

impl Values for Random {
    fn integer(&mut self) -> u64 {
        const EDGES: [u64; 9] = [
            0,
            1,
            u64::MAX,
            i64::MIN as u64,
            i64::MAX as u64,
            0x8000_0000,
            0x7fff_ffff,
            0xffff_ffff,
            63,
        ];
        let value = self.next();
        match value % 4 {
            0 => self.pick(&EDGES),
            1 => value >> (value >> 8 & 63),
            2 => i64::from(value as i32 >> 8) as u64,
            _ => value,
        }
    }

    fn float(&mut self) -> u64 {
        const DOUBLES: [u64; 10] = [
            0,
            1 << 63,
            0x3ff0 << 48,
            0xbff8 << 48,
            0x7ff0 << 48,
            0xfff0 << 48,
            0x7ff8 << 48,
            0x7ff4 << 48,
            1,
            0x43e0 << 48,
        ];
        const SINGLES: [u64; 10] = [
            0,
            0x8000_0000,
            0x3f80_0000,
            0xbfc0_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0x7fa0_0000,
            1,
            0x4f00_0000,
        ];
        const BOX: u64 = 0xffff_ffff << 32;
        const HALF_BOX: u64 = u64::MAX << 16;
        let value = self.next();
        match value % 8 {
            0 => self.pick(&DOUBLES),
            1 => BOX | self.pick(&SINGLES),
            // Near one, so that sums and products mean something
            2 => ((0x3f_f000 + (value >> 8 & 0xfff)) << 40) ^ value >> 24,
            3 => BOX | 0x3f00_0000 | value >> 8 & 0x80ff_ffff,
            4 => BOX | value >> 8 & 0xffff_ffff,
            5 => HALF_BOX | value >> 8 & 0xffff,
            6 => HALF_BOX | 0x3800 | value >> 8 & 0x87ff,
            _ => value,
        }
    }
}

fn i_type(base: u32, rd: u32, rs1: u32, imm: u64) -> u32 {
    base | rd << 7 | rs1 << 15 | (imm as u32 & 0xfff) << 20
}

fn s_type(base: u32, rs1: u32, rs2: u32, imm: u64) -> u32 {
    let imm = imm as u32;
    base | rs1 << 15 | rs2 << 20 | (imm & 31) << 7 | (imm >> 5 & 127) << 25
}

fn addi(rd: u32, rs1: u32, imm: u64) -> u32 {
    i_type(0x13, rd, rs1, imm)
}

/// `lui` and `addi` that put a small positive number into a register.
fn load_address(rd: u32, value: u64) -> [u32; 2] {
    [
        0x37 | rd << 7 | (value as u32).wrapping_add(0x800) & 0xffff_f000,
        addi(rd, rd, value),
    ]
}

const ECALL: u32 = 0x73;

impl Program {
    /// Makes `cases` cases of up to `length` instructions, of those that `allowed` lets through.
    pub(super) fn new(
        seed: u64,
        cases: usize,
        length: usize,
        allowed: impl Fn(Op) -> bool,
    ) -> Self {
        let mut random = Random(seed);
        let pool: Vec<(u32, Insn)> = {
            let decoder = Decoder::new(Extensions::ALL);
            let decoded =
                random_encodings(24).filter_map(|word| Some((word, decoder.decode(word)?)));
            decoded
                .filter(|(_, insn)| {
                    // QEMU 10.0 has what stands behind an `amocas` to x0 in its block find another value in x0.
                    let misjudged = insn.rd == 0 && insn.op.name().starts_with("amocas");
                    allowed(insn.op) && usable(insn.op) && !misjudged && !matches!(insn.rd, 30 | 31)
                })
                .collect()
        };
        let snippets: Vec<Vec<u32>> = (0..cases)
            .map(|_| snippet(&mut random, &pool, length))
            .collect();
        Self::assemble(&mut random, snippets)
    }

    /// Whether `op` can stand in a program.
    pub(super) fn has(op: Op) -> bool {
        usable(op)
    }

    fn assemble(random: &mut Random, cases: Vec<Vec<u32>>) -> Self {
        // The code's length does not depend on where the data is.
        let code_bytes = code(&cases, 0x7000_0000).len() as u64;
        let data = (ENTRY + code_bytes + 0xfff) & !0xfff;
        let mut image = elf_header(data + data_bytes(cases.len()) - BASE);
        image.resize((ENTRY - BASE) as usize, 0);
        image.extend(code(&cases, data));
        image.resize((data - BASE) as usize, 0);
        for _ in &cases {
            let at = image.len();
            for _ in 0..32 {
                image.extend(random.integer().to_le_bytes());
            }
            for _ in 0..32 {
                image.extend(random.float().to_le_bytes());
            }
            image.resize(at + FCSR as usize, 0);
            image.extend(((random.next() % 5) << 5).to_le_bytes());
            image.resize(at + RECORD as usize, 0);
        }
        for _ in 0..SCRATCH / 8 {
            image.extend(random.integer().to_le_bytes());
        }
        Self { image, cases, data }
    }

    /// Address and length of what the program writes.
    pub(super) fn output(&self) -> (u64, u64) {
        (self.data, data_bytes(self.cases.len()))
    }

    /// What a byte of the output belongs to: the case and the place in its record, or nothing for the scratch area.
    pub(super) fn case_of(&self, byte: usize) -> Option<(usize, usize)> {
        let record = RECORD as usize;
        (byte / record < self.cases.len()).then_some((byte / record, byte % record))
    }
}

fn data_bytes(cases: usize) -> u64 {
    cases as u64 * RECORD + SCRATCH
}

/// An executable for Linux with one segment, readable, writable and executable.
fn elf_header(bytes: u64) -> Vec<u8> {
    const EM_RISCV: u16 = 243;
    const DOUBLE_FLOAT_COMPRESSED: u32 = 5;
    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2u16, EM_RISCV] {
        header.extend(half.to_le_bytes());
    }
    header.extend(1u32.to_le_bytes());
    for word in [ENTRY, 64, 0] {
        header.extend(word.to_le_bytes());
    }
    header.extend(DOUBLE_FLOAT_COMPRESSED.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        header.extend(half.to_le_bytes());
    }
    for half in [1u32, 7] {
        header.extend(half.to_le_bytes());
    }
    for word in [0, BASE, BASE, bytes, bytes, 0x1000] {
        header.extend(word.to_le_bytes());
    }
    header
}

fn code(cases: &[Vec<u32>], data: u64) -> Vec<u8> {
    let mut words = Vec::new();
    let scratch = data + cases.len() as u64 * RECORD + SCRATCH / 2;
    for (number, snippet) in cases.iter().enumerate() {
        words.extend(load_address(RECORD_BASE, data + number as u64 * RECORD));
        words.extend(load_address(SCRATCH_BASE, scratch));
        words.push(i_type(0x3003, 1, RECORD_BASE, FCSR)); // ld x1
        words.push(0x0030_9073); // fscsr x1
        words.extend((0..32).map(|n| i_type(0x3007, n, RECORD_BASE, 256 + 8 * u64::from(n)))); // fld
        words.extend((1..30).map(|n| i_type(0x3003, n, RECORD_BASE, 8 * u64::from(n)))); // ld
        words.extend(snippet);
        words.extend((1..30).map(|n| s_type(0x3023, RECORD_BASE, n, 8 * u64::from(n)))); // sd
        words.extend((0..32).map(|n| s_type(0x3027, RECORD_BASE, n, 256 + 8 * u64::from(n)))); // fsd
        words.push(0x0030_20f3); // frcsr x1
        words.push(s_type(0x3023, RECORD_BASE, 1, FCSR));
    }
    words.extend([addi(17, 0, 64), addi(10, 0, 1)]);
    words.extend(load_address(11, data));
    words.extend(load_address(12, data_bytes(cases.len())));
    words.extend([ECALL, addi(17, 0, 93), addi(10, 0, 0), ECALL]);
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes()[..if word & 3 == 3 { 4 } else { 2 }]);
    }
    bytes
}

/// Whether an instruction may stand in a snippet: what it depends on besides registers is the same everywhere.
fn usable(op: Op) -> bool {
    use Op::*;
    let system = matches!(
        op,
        Ecall
            | Ebreak
            | Csrrw
            | Csrrs
            | Csrrc
            | Csrrwi
            | Csrrsi
            | Csrrci
            | Sret
            | Mret
            | Wfi
            | SfenceVma
            | SinvalVma
            | SfenceWInval
            | SfenceInvalIr
            | CboInval
            | CboClean
            | CboFlush
            | CboZero
            | FenceI
            | Pause
            | WrsNto
            | WrsSto
            | Auipc
    );
    // Templates stand for jumps; a store-conditional alone is theirs too.
    let jump = matches!(op, Jal | Jalr | Beq | Bne | Blt | Bge | Bltu | Bgeu);
    let paired = matches!(op, LrW | LrD | ScW | ScD);
    !(system || jump || paired)
}

fn memory(op: Op) -> bool {
    use Op::*;
    let name = op.name();
    name.starts_with("amo")
        || matches!(
            op,
            Lb | Lh
                | Lw
                | Ld
                | Lbu
                | Lhu
                | Lwu
                | Sb
                | Sh
                | Sw
                | Sd
                | Flh
                | Flw
                | Fld
                | Fsh
                | Fsw
                | Fsd
        )
}

fn snippet(random: &mut Random, pool: &[(u32, Insn)], length: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for _ in 0..1 + random.below(length) {
        match random.below(16) {
            0 => template(random, &mut words),
            _ => {
                let (word, insn) = pool[random.below(pool.len())];
                if memory(insn.op) {
                    // A register that the access is based on is made to point into the scratch area first.
                    if matches!(insn.rs1, 0 | 30 | 31) {
                        continue;
                    }
                    let unit = if insn.op == Op::AmocasQ { 16 } else { 8 };
                    let near = random.next() % (512 / unit) * unit;
                    words.push(addi(insn.rs1.into(), SCRATCH_BASE, near));
                }
                words.push(word);
            }
        }
    }
    words
}

/// Jumps over an instruction, and pairs of load-reserved and store-conditional.
fn template(random: &mut Random, words: &mut Vec<u32>) {
    let register = |random: &mut Random| 1 + random.below(29) as u32;
    let (a, b, c) = (register(random), register(random), register(random));
    let skipped = addi(c, c, 1 + random.next() % 100);
    let auipc = 0x17 | a << 7;
    match random.below(8) {
        0 => words.extend([0x0080_006f | b << 7, skipped]), // jal b,8
        1 => words.extend([auipc, i_type(0x67, b, a, 12), skipped]), // jalr b,12(a)
        // The same through a copy, so that the target is not known: mv b,a; jalr c,16(b)
        2 => words.extend([
            auipc,
            0x33 | b << 7 | a << 15,
            i_type(0x67, c, b, 17),
            addi(a, a, 1),
        ]),
        3 => {
            let double = (random.next() & 1) as u32;
            let (load, store) = (0x1000_202f | double << 12, 0x1800_202f | double << 12);
            let order = ((random.next() & 3) as u32) << 25;
            words.extend([
                addi(a, SCRATCH_BASE, 8 * (random.next() % 64)),
                load | order | b << 7 | a << 15,
            ]);
            // Sometimes the loaded value overwrites the address; then there is nothing to store to.
            if a != b {
                words.push(store | order | c << 7 | a << 15 | b << 20);
            }
        }
        4 => words.extend([auipc, addi(b, a, random.next() & 0x7ff)]),
        _ => {
            let funct3 = [0, 1, 4, 5, 6, 7][random.below(6)] << 12;
            words.extend([0x0000_0463 | funct3 | a << 15 | b << 20, skipped]); // beq a,b,8
        }
    }
}
