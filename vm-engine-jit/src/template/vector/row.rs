//! Operations of the guest's own table, where that is the host's, too.

use std::sync::LazyLock;

use super::*;
use crate::asm::{Alu, Reg, Vex, Width};
use vm_engine::tier::encoding;
use vm_ir::VectorFunction;

/// `vpsrldq`: register 3 of its opcode.
const BYTES_RIGHT: Vex = Vex::new(1, 1, 0x73);
/// `vpunpcklqdq`.
const LOW_HALVES: Vex = Vex::new(1, 1, 0x6c);
/// `vinsertf128`.
const INSERT_HALF: Vex = Vex::new(1, 3, 0x18).long();
/// `vmovaps` between registers.
const COPY: Vex = Vex::new(0, 1, 0x28);
/// What orders 132 and 213 of fused operations have less in their opcodes than 231.
const ORDER_132: u8 = 0x20;
const ORDER_213: u8 = 0x10;
/// Z, P and C, as rows have flags.
const FLAGS: i32 = 0x45;

/// How an encoding's operands are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Binary,
    Unary,
    BinaryImm,
    RegistersImm,
    UnaryImm,
    Fused,
    Select,
    Flags,
    Mask,
    /// With this in ModRM.reg.
    Shift(u8),
    /// Of so many bytes.
    Widen(u8),
    Narrow,
    Quadwords,
    Permute,
}

/// An operation of the guest's own as an instruction of the host's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) vex: Vex,
    pub(super) form: Form,
    pub(super) imm: u8,
    /// Whether it accrues floating-point exceptions, and does as MXCSR says.
    pub(super) accrues: bool,
}

/// Whether the host has the instructions of each feature.
static FEATURES: LazyLock<u16> = LazyLock::new(|| {
    let has = |feature: u32, has: bool| u16::from(has) << feature;
    has(encoding::AVX, super::has_vectors())
        | has(encoding::FMA, std::arch::is_x86_feature_detected!("fma"))
        | has(encoding::AES, std::arch::is_x86_feature_detected!("aes"))
        | has(
            encoding::PCLMUL,
            std::arch::is_x86_feature_detected!("pclmulqdq"),
        )
        | has(encoding::F16C, std::arch::is_x86_feature_detected!("f16c"))
        | has(encoding::AVX2, std::arch::is_x86_feature_detected!("avx2"))
});

impl Row {
    /// The instruction of an operation, if the host has one and there are all operands.
    pub(super) fn of(inst: &Inst, vectors: &[VectorDecl]) -> Option<Self> {
        let Attr::Vector { row, imm } = inst.attr else {
            return None;
        };
        let declared = vectors.get(usize::from(row.0))?;
        let bits = declared.encoding;
        if bits == 0 || *FEATURES >> (bits >> 16 & 15) & 1 == 0 {
            return None;
        }
        let number = (bits >> 24 & 15) as u8;
        let (form, operands) = match bits >> 20 & 15 {
            encoding::BINARY => (Form::Binary, 2),
            encoding::UNARY => (Form::Unary, 1),
            encoding::BINARY_IMM => (Form::BinaryImm, 2),
            encoding::REGISTERS_IMM => (Form::RegistersImm, 2),
            encoding::UNARY_IMM => (Form::UnaryImm, 1),
            encoding::FUSED => (Form::Fused, 3),
            encoding::SELECT => (Form::Select, 3),
            encoding::FLAGS => (Form::Flags, 2),
            encoding::MASK => (Form::Mask, 1),
            encoding::SHIFT => (Form::Shift(number), 1),
            encoding::WIDEN => (Form::Widen(number), 1),
            encoding::NARROW => (Form::Narrow, 1),
            encoding::QUADWORDS => (Form::Quadwords, 2),
            encoding::PERMUTE => (Form::Permute, 3),
            _ => return None,
        };
        let given = |arg: &Operand| arg.slot().is_some();
        let vex = Vex {
            pp: (bits >> 8 & 3) as u8,
            map: (bits >> 10 & 7) as u8,
            opcode: bits as u8,
            wide: bits >> 13 & 1 != 0,
            long: false,
        };
        let known = inst.args[..operands].iter().all(given) && inst.dst.is_some();
        known.then_some(Self {
            vex,
            form,
            imm,
            accrues: matches!(declared.function, VectorFunction::Float(_)),
        })
    }
}

impl Emitter<'_> {
    /// The instruction of an operation that can run here.
    pub(super) fn row_of(&self, inst: &Inst) -> Option<Row> {
        Row::of(inst, self.of.layout.vectors).filter(|row| !row.accrues || self.host_is_guest)
    }

    pub(super) fn row(&mut self, inst: &Inst) -> Option<()> {
        let row = self.row_of(inst)?;
        if row.accrues {
            self.enter_float();
        }
        let dst = inst.dst?;
        let [a, b, c, _] = inst.args.map(|arg| arg.slot());
        let a = a?;
        let Row { vex, imm, .. } = row;
        match row.form {
            Form::Binary | Form::BinaryImm => {
                let first = self.in_xmm(a, ACC);
                let second = self.vector_place(b?);
                let to = self.result(dst);
                match row.form {
                    Form::Binary => self.asm.vex(vex, to.0, first.0, second),
                    _ => self.asm.vex_imm(vex, to.0, first.0, second, imm),
                }
                self.has_result(dst, to);
            }
            Form::RegistersImm => {
                let first = self.in_xmm(a, ACC);
                let second = self.in_xmm(b?, SECOND);
                let to = self.result(dst);
                self.asm.vex_imm(vex, to.0, first.0, second, imm);
                self.has_result(dst, to);
            }
            Form::Unary | Form::UnaryImm => {
                let from = self.vector_place(a);
                let to = self.result(dst);
                match row.form {
                    Form::Unary => self.asm.vex(vex, to.0, 0, from),
                    _ => self.asm.vex_imm(vex, to.0, 0, from, imm),
                }
                self.has_result(dst, to);
            }
            Form::Fused => self.fused(vex, dst, [a, b?, c?]),
            Form::Select => {
                let first = self.in_xmm(a, ACC);
                let second = self.vector_place(b?);
                let mask = self.in_xmm(c?, SECOND);
                let to = self.result(dst);
                self.asm.vex_imm(vex, to.0, first.0, second, mask.0 << 4);
                self.has_result(dst, to);
            }
            Form::Flags => {
                self.compare_vectors(vex, a, b?);
                self.asm.lahf();
                self.asm
                    .shift_imm(crate::asm::Shift::Shr, Width::D, Reg::Rax, 8);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, FLAGS);
                self.low_word(dst);
            }
            Form::Mask => {
                self.mask(vex, a);
                self.low_word(dst);
            }
            Form::Shift(extension) => {
                let from = self.in_xmm(a, ACC);
                let to = self.result(dst);
                self.asm.vex_imm(vex, extension, to.0, from, imm);
                self.has_result(dst, to);
            }
            Form::Widen(bytes) => {
                let from = match imm & 1 {
                    0 => self.vector_place(a),
                    _ => {
                        let from = self.in_xmm(a, ACC);
                        self.asm.vex_imm(BYTES_RIGHT, 3, ACC.0, from, bytes);
                        ACC.into()
                    }
                };
                let to = self.result(dst);
                self.asm.vex(vex, to.0, 0, from);
                self.has_result(dst, to);
            }
            Form::Quadwords => {
                let from = [a, b?];
                let of = |n: u8| from[usize::from(imm >> (2 * n + 1) & 1)];
                let first = self.in_xmm(of(0), ACC);
                let second = self.vector_place(of(1));
                let to = self.result(dst);
                let chosen = imm & 1 | imm >> 1 & 2;
                self.asm.vex_imm(vex, to.0, first.0, second, chosen);
                self.has_result(dst, to);
            }
            Form::Permute => {
                let low = self.in_xmm(a, ACC);
                let high = self.vector_place(b?);
                self.asm.vex_imm(INSERT_HALF, ACC.0, low.0, high, 1);
                let index = self.in_xmm(c?, SECOND);
                self.asm.vex(vex.long(), ACC.0, index.0, ACC);
                let to = self.result(dst);
                self.asm.vex(COPY, to.0, 0, ACC);
                // Nothing is kept above.
                self.asm.vzeroupper();
                self.has_result(dst, to);
            }
            Form::Narrow => {
                let low = self.vector_place(a);
                let Some(b) = b else {
                    let to = self.result(dst);
                    self.asm.vex(vex, to.0, 0, low);
                    self.has_result(dst, to);
                    return Some(());
                };
                self.asm.vex(vex, ACC.0, 0, low);
                let high = self.vector_place(b);
                self.asm.vex(vex, SECOND.0, 0, high);
                let to = self.result(dst);
                self.asm.vex(LOW_HALVES, to.0, ACC.0, SECOND);
                self.has_result(dst, to);
            }
        }
        Some(())
    }

    /// Compares or tests for the host's flags.
    pub(super) fn compare_vectors(&mut self, vex: Vex, a: Slot, b: Slot) {
        let first = self.in_xmm(a, ACC);
        let second = self.vector_place(b);
        self.asm.vex(vex, first.0, 0, second);
    }

    /// Top bits of lanes to RAX.
    pub(super) fn mask(&mut self, vex: Vex, a: Slot) {
        let from = self.in_xmm(a, ACC);
        self.asm.vex(vex, Reg::Rax as u8, 0, from);
    }

    /// RAX to the low word of a vector.
    fn low_word(&mut self, dst: Slot) {
        let to = self.result(dst);
        self.asm.vex(moves::FROM_32, to.0, 0, Reg::Rax);
        self.has_result(dst, to);
    }

    /// `dst = a * b + c` and its kin by the opcode of the order 231. Lanes that the instruction leaves alone stay those of
    /// `dst` where that is an operand.
    pub(super) fn fused(&mut self, vex: Vex, dst: Slot, [a, b, c]: [Slot; 3]) {
        let order = |less: u8| Vex {
            opcode: vex.opcode - less,
            ..vex
        };
        // The destination is one of the factors or the addend, and products of NaNs tell which is which.
        let pinned = self.vector(dst).is_some() && !dst.is_temp();
        let to = if pinned { self.result(dst) } else { ACC };
        let (vex, kept, second, third) = match dst {
            _ if dst == c => (vex, c, a, b),
            _ if dst == a => (order(ORDER_132), a, c, b),
            _ if dst == b => (order(ORDER_213), b, a, c),
            _ => {
                self.move_to(ACC, c);
                let second = self.in_xmm(a, SECOND);
                let third = self.vector_place(b);
                self.asm.vex(vex, ACC.0, second.0, third);
                let to = self.result(dst);
                self.asm.vmov(to, ACC);
                self.has_result(dst, to);
                return;
            }
        };
        self.move_to(to, kept);
        let second = self.in_xmm(second, SECOND);
        let third = self.vector_place(third);
        self.asm.vex(vex, to.0, second.0, third);
        if to == ACC {
            let to = self.result(dst);
            self.asm.vmov(to, ACC);
            self.has_result(dst, to);
        }
    }

    fn move_to(&mut self, to: Xmm, from: Slot) {
        let from = self.vector_place(from);
        self.asm.vmov(to, from);
    }
}
