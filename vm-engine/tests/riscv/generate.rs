//! Random instruction sequences from the decoder's own tables.

use vm_frontend::riscv::decode::{Decoder, ENCODINGS, Insn, Op, encoding};
use vm_frontend::riscv::isa::Extensions;
pub(crate) use vm_testing::Random;

use super::asm::{BNE, addi, branch, i_type, jal, jalr, r_type, span};

/// Points to the case's record; random code leaves it alone.
pub(crate) const RECORD_BASE: u32 = 31;
/// Points into the scratch area; random code leaves it alone.
pub(crate) const SCRATCH_BASE: u32 = 30;
/// Counts loops; random code reads it only.
const COUNTER: u32 = 29;
/// Bytes that a scratch address is from [`SCRATCH_BASE`] at most, before the instruction's own offset.
const NEAR: u64 = 512;

/// Words of a case's record: x0 to x31, f0 to f31, fcsr, and padding.
pub(crate) const RECORD_WORDS: usize = 68;
/// Which of them is fcsr.
pub(crate) const FCSR: usize = 66;

/// What programs are made from.
pub(crate) trait Values {
    /// An integer with many edges.
    fn integer(&mut self) -> u64;
    /// The contents of a floating-point register: doubles, boxed singles and halves, wrongly boxed ones.
    fn float(&mut self) -> u64;
}

impl Values for Random {
    fn integer(&mut self) -> u64 {
        let value = self.next();
        match self.below(6) {
            0 => 1 << (value & 63),
            1 => (1_u64 << (value & 63)).wrapping_sub(1),
            2 => (1_u64 << (value & 63)).wrapping_neg(),
            3 => i64::from(value as i8) as u64,
            4 => i64::from(value as i32) as u64,
            _ => value,
        }
    }

    fn float(&mut self) -> u64 {
        // sign, exponent and fraction bits of each format; what a boxed value has above it
        const FORMATS: [(u32, u32, u64); 4] = [
            (11, 52, 0),
            (11, 52, 0),
            (8, 23, u64::MAX << 32),
            (5, 10, u64::MAX << 16),
        ];
        let (exponent_bits, fraction_bits, boxed) = self.pick(&FORMATS);
        let top = (1_u64 << exponent_bits) - 1;
        let bias = top >> 1;
        let exponent = match self.below(8) {
            0 => 0,
            1 => top,
            2 => 1,
            3 => top - 1,
            4 => bias + self.below(70),
            5 => bias.saturating_sub(self.below(70)),
            6 => bias + self.below(3),
            _ => self.next() & top,
        };
        let all = (1_u64 << fraction_bits) - 1;
        let fraction = match self.below(6) {
            0 => 0,
            1 => all,
            2 => 1,
            3 => 1 << (fraction_bits - 1),
            4 => (self.next() << (fraction_bits / 2)) & all,
            _ => self.next() & all,
        };
        let sign = (self.next() & 1) << (exponent_bits + fraction_bits);
        let value = boxed | sign | (exponent & top) << fraction_bits | fraction;
        match self.below(24) {
            0 => value ^ 1 << 63,
            1 => value & !boxed,
            _ => value,
        }
    }
}

/// One instruction sequence with the registers that it starts from.
#[derive(Clone)]
pub(crate) struct Case {
    /// Instructions that belong together.
    pub(crate) units: Vec<Vec<u32>>,
    pub(crate) record: Vec<u64>,
}

/// Makes cases of the instructions that a predicate lets through.
pub(crate) struct Generator {
    numbers: Vec<usize>,
    decoder: Decoder,
    allowed: Box<dyn Fn(Op) -> bool>,
}

impl Generator {
    /// `None` when no such instruction can stand in a random sequence.
    pub(crate) fn new(allowed: impl Fn(Op) -> bool + 'static) -> Option<Self> {
        let allowed = move |op| allowed(op) && usable(op);
        let decoder = Decoder::new(Extensions::ALL);
        let mut random = Random(1);
        let numbers: Vec<_> = (0..ENCODINGS)
            .filter(|&number| {
                (0..64)
                    .filter_map(|_| encoding(number, random.next() as u32))
                    .filter_map(|word| decoder.decode(word))
                    .any(|insn| allowed(insn.op))
            })
            .collect();
        (!numbers.is_empty()).then(|| Self {
            numbers,
            decoder,
            allowed: Box::new(allowed),
        })
    }

    /// A case of up to `length` units.
    pub(crate) fn case(&self, random: &mut Random, length: u64) -> Case {
        let mut record = Vec::with_capacity(RECORD_WORDS);
        record.extend((0..32).map(|_| random.integer()));
        record.extend((0..32).map(|_| random.float()));
        record.resize(RECORD_WORDS, 0);
        record[FCSR] = random.below(5) << 5;
        if random.below(4) == 0 {
            record[FCSR] |= random.below(32);
        }
        let count = 1 + random.below(length);
        let units = (0..count).map(|_| self.unit(random, 0)).collect();
        Case { units, record }
    }

    fn unit(&self, random: &mut Random, depth: u32) -> Vec<u32> {
        match random.below(12) {
            0 if depth < 2 => self.control(random, depth),
            1 => template(random),
            _ => self.instruction(random),
        }
    }

    fn instruction(&self, random: &mut Random) -> Vec<u32> {
        loop {
            let number = random.pick(&self.numbers);
            let Some(word) = encoding(number, random.next() as u32) else {
                continue;
            };
            let Some(insn) = self.decoder.decode(word) else {
                continue;
            };
            if !(self.allowed)(insn.op) || matches!(insn.rd, 29..32) && writes_integer(insn) {
                continue;
            }
            // QEMU 10.0 has what stands behind an `amocas` to x0 in its block find another value in x0. That of pairs
            // writes the register after it, too.
            let compares = insn.op.name().starts_with("amocas");
            if compares && (insn.rd == 0 || insn.op == Op::AmocasQ && insn.rd == 28) {
                continue;
            }
            let Some(align) = access_align(insn.op) else {
                return vec![word];
            };
            // The register that the access is based on is made to point into the scratch area first.
            if matches!(insn.rs1, 0 | 29..32) {
                continue;
            }
            let near = random.below(NEAR) & !(align - 1);
            let near = addi(insn.rs1.into(), SCRATCH_BASE, near as i64);
            return vec![near, word];
        }
    }

    /// Other units jumped over or gone through more than once.
    fn control(&self, random: &mut Random, depth: u32) -> Vec<u32> {
        let inner: Vec<u32> = (0..=random.below(3))
            .flat_map(|_| self.unit(random, depth + 1))
            .collect();
        let bytes = span(&inner);
        let (a, b) = (random.below(32) as u32, random.below(32) as u32);
        let mut words = Vec::new();
        match random.below(4) {
            0 if depth == 0 => {
                words.push(addi(COUNTER, 0, 1 + random.below(5) as i64));
                words.extend(inner);
                words.push(addi(COUNTER, COUNTER, -1));
                words.push(branch(BNE, COUNTER, 0, -(bytes + 4)));
            }
            1 => {
                words.push(jal(random.below(29) as u32, bytes + 4));
                words.extend(inner);
            }
            _ => {
                let funct3 = random.pick(&[0, 1, 4, 5, 6, 7]);
                words.push(branch(funct3, a, b, bytes + 4));
                words.extend(inner);
            }
        }
        words
    }
}

/// Sequences that random instructions would not make: computed jumps, reservations, floating-point control.
fn template(random: &mut Random) -> Vec<u32> {
    let mut register = || 1 + random.below(28) as u32;
    let (a, b, c) = (register(), register(), register());
    let skipped = addi(c, c, 1 + random.below(100) as i64);
    let auipc = 0x17 | a << 7;
    match random.below(9) {
        0 => vec![auipc, jalr(b, a, 12), skipped],
        // The same through a copy, so that the target is not known when the block is made.
        1 => vec![auipc, addi(b, a, 0), jalr(c, b, 17), skipped],
        2 | 3 => {
            let double = random.below(2) as u32;
            let (load, store) = (0x1000_202f | double << 12, 0x1800_202f | double << 12);
            let order = (random.below(4) as u32) << 25;
            let near = 8 * random.below(64) as i64;
            let mut words = vec![addi(a, SCRATCH_BASE, near), r_type(load | order, b, a, 0)];
            if a == b {
                return words;
            }
            match random.below(5) {
                0 => words.push(addi(a, a, 8)),
                1 => words.push(r_type(0x3023, 0, a, c)),
                2 => words.push(r_type(store, c, a, b)),
                _ => {}
            }
            if c != a {
                words.push(r_type(store | order, c, a, b));
            }
            words
        }
        4 => vec![i_type(0x5073, a, random.below(5) as u32, 2)], // csrrwi a,frm
        5 => vec![i_type(0x1073, a, b, 1)],                      // csrrw a,fflags,b
        6 => vec![i_type(0x2073, a, 0, 3)],                      // csrrs a,fcsr,x0
        7 => vec![i_type(0x7073, a, random.below(32) as u32, 1)], // csrrci a,fflags
        _ => vec![i_type(0x6073, a, random.below(32) as u32, 1)], // csrrsi a,fflags
    }
}

/// Whether `rd` names an integer register (floating-point ones may be any).
fn writes_integer(insn: Insn) -> bool {
    let name = insn.op.name();
    let to_float = matches!(insn.op, Op::Flh | Op::Flw | Op::Fld)
        || name.starts_with('f')
            && ![
                "fcvt.w", "fcvt.l", "fmv.x", "fmvh.x", "feq", "flt", "fle", "fclass", "fence",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            && !name.starts_with("fcvtmod");
    !to_float
}

/// Whether what an instruction does, registers and scratch memory given, is the same everywhere.
fn usable(op: Op) -> bool {
    use Op::*;
    let jump = matches!(op, Jal | Jalr | Beq | Bne | Blt | Bge | Bltu | Bgeu);
    let paired = matches!(op, LrW | LrD | ScW | ScD);
    let csr = matches!(op, Csrrw | Csrrs | Csrrc | Csrrwi | Csrrsi | Csrrci);
    let system = matches!(
        op,
        Ecall
            | Ebreak
            | Sret
            | Mret
            | Wfi
            | WrsNto
            | WrsSto
            | SfenceVma
            | SinvalVma
            | SfenceWInval
            | SfenceInvalIr
            | CboInval
    );
    !(jump || paired || csr || system)
}

/// Alignment that the address of an access must have, or `None` if there is none.
fn access_align(op: Op) -> Option<u64> {
    use Op::*;
    let name = op.name();
    if op == AmocasQ {
        return Some(16);
    }
    if name.starts_with("amo") {
        return Some(8);
    }
    match op {
        Lb | Lh | Lw | Ld | Lbu | Lhu | Lwu | Sb | Sh | Sw | Sd => Some(1),
        Flh | Flw | Fld | Fsh | Fsw | Fsd => Some(1),
        CboClean | CboFlush | CboZero => Some(1),
        _ => None,
    }
}
