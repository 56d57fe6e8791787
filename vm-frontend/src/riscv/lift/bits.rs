//! Bit manipulation and conditional operations: Zba, Zbb, Zbc, Zbkb, Zbkc, Zbkx, Zbs, Zicond (RISC-V Unpriv 20240411,
//! chapters "B" and "Zicond", and chapter "Scalar cryptography" for Zbk*).

use vm_ir::{Attr, Cond, Ext, Op as Ir, Operand, Slot, Type};

use super::Flow;
use super::context::Context;
use super::integer::{binary, extension};
use crate::riscv::decode::{Insn, Op};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `rd = rs1 op rs2`.
    Register(Ir, Type),
    /// `rd = rs1 op immediate`.
    Immediate(Ir, Type),
    /// `rd = op rs1`.
    Unary(Ir, Type),
    /// `rd = (rs1 << shift) + rs2`, of the low half of rs1 if so said.
    ShiftAdd { shift: u8, low_half: bool },
    /// `slli.uw`.
    ShiftLowHalf,
    /// `rd` = the low bits of rs1, extended.
    Extend { bits: u8, signed: bool },
    /// `rd = rs2 COND 0 ? 0 : rs1`.
    ZeroIf(Cond),
    /// `rd` = the low `bits` bits of rs1, and above them those of rs2; the result of 32 bits is sign-extended.
    Pack { bits: u8, ty: Type },
}

use Rule::*;
use Type::{I32, I64};

pub(super) const TABLE: &[(Op, Rule)] = &[
    // Zba
    (
        Op::AddUw,
        ShiftAdd {
            shift: 0,
            low_half: true,
        },
    ),
    (
        Op::Sh1add,
        ShiftAdd {
            shift: 1,
            low_half: false,
        },
    ),
    (
        Op::Sh2add,
        ShiftAdd {
            shift: 2,
            low_half: false,
        },
    ),
    (
        Op::Sh3add,
        ShiftAdd {
            shift: 3,
            low_half: false,
        },
    ),
    (
        Op::Sh1addUw,
        ShiftAdd {
            shift: 1,
            low_half: true,
        },
    ),
    (
        Op::Sh2addUw,
        ShiftAdd {
            shift: 2,
            low_half: true,
        },
    ),
    (
        Op::Sh3addUw,
        ShiftAdd {
            shift: 3,
            low_half: true,
        },
    ),
    (Op::SlliUw, ShiftLowHalf),
    // Zbb
    (Op::Andn, Register(Ir::AndNot, I64)),
    (Op::Orn, Register(Ir::OrNot, I64)),
    (Op::Xnor, Register(Ir::Xnor, I64)),
    (Op::Clz, Unary(Ir::Clz, I64)),
    (Op::Ctz, Unary(Ir::Ctz, I64)),
    (Op::Cpop, Unary(Ir::Popcnt, I64)),
    (Op::Clzw, Unary(Ir::Clz, I32)),
    (Op::Ctzw, Unary(Ir::Ctz, I32)),
    (Op::Cpopw, Unary(Ir::Popcnt, I32)),
    (Op::Max, Register(Ir::MaxS, I64)),
    (Op::Maxu, Register(Ir::MaxU, I64)),
    (Op::Min, Register(Ir::MinS, I64)),
    (Op::Minu, Register(Ir::MinU, I64)),
    (
        Op::SextB,
        Extend {
            bits: 8,
            signed: true,
        },
    ),
    (
        Op::SextH,
        Extend {
            bits: 16,
            signed: true,
        },
    ),
    (
        Op::ZextH,
        Extend {
            bits: 16,
            signed: false,
        },
    ),
    (Op::Rol, Register(Ir::Rol, I64)),
    (Op::Ror, Register(Ir::Ror, I64)),
    (Op::Rori, Immediate(Ir::Ror, I64)),
    (Op::Rolw, Register(Ir::Rol, I32)),
    (Op::Rorw, Register(Ir::Ror, I32)),
    (Op::Roriw, Immediate(Ir::Ror, I32)),
    (Op::OrcB, Unary(Ir::OrCombine, I64)),
    (Op::Rev8, Unary(Ir::ByteSwap, I64)),
    // Zbc
    (Op::Clmul, Register(Ir::ClMul, I64)),
    (Op::Clmulh, Register(Ir::ClMulH, I64)),
    (Op::Clmulr, Register(Ir::ClMulR, I64)),
    // Zbkb
    (Op::Pack, Pack { bits: 32, ty: I64 }),
    (Op::Packh, Pack { bits: 8, ty: I64 }),
    (Op::Packw, Pack { bits: 16, ty: I32 }),
    (Op::Brev8, Unary(Ir::ReverseBits, I64)),
    // Zbkx
    (Op::Xperm4, Register(Ir::PermuteNibbles, I64)),
    (Op::Xperm8, Register(Ir::PermuteBytes, I64)),
    // Zbs
    (Op::Bclr, Register(Ir::BitClear, I64)),
    (Op::Bext, Register(Ir::BitExtract, I64)),
    (Op::Binv, Register(Ir::BitInvert, I64)),
    (Op::Bset, Register(Ir::BitSet, I64)),
    (Op::Bclri, Immediate(Ir::BitClear, I64)),
    (Op::Bexti, Immediate(Ir::BitExtract, I64)),
    (Op::Binvi, Immediate(Ir::BitInvert, I64)),
    (Op::Bseti, Immediate(Ir::BitSet, I64)),
    // Zicond
    (Op::CzeroEqz, ZeroIf(Cond::Eq)),
    (Op::CzeroNez, ZeroIf(Cond::Ne)),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    let (a, b) = (c.x(insn.rs1), c.x(insn.rs2));
    let imm = Operand::Imm(insn.imm.into());
    match rule {
        Register(op, ty) => binary(c, op, ty, insn.rd, a, b),
        Immediate(op, ty) => binary(c, op, ty, insn.rd, a, imm),
        _ => {
            if let Some(dst) = c.x_dst(insn.rd) {
                to_slot(c, rule, insn, dst, [a, b]);
            }
        }
    }
    Flow::Next
}

fn to_slot(c: &mut Context, rule: Rule, insn: &Insn, dst: Slot, [a, b]: [Operand; 2]) {
    match rule {
        Unary(op, ty) => c.b.op(op, ty, extension(ty), dst, [a]),
        ShiftAdd {
            shift: 0,
            low_half: true,
        } if b == Operand::Imm(0) => field(c, dst, a, 32, false),
        ShiftAdd { shift, low_half } => {
            let op = if low_half { Ir::AddShlU32 } else { Ir::AddShl };
            c.b.op(
                op,
                Type::I64,
                Ext::Zero,
                dst,
                [a, b, Operand::Imm(shift.into())],
            );
        }
        ShiftLowHalf => {
            let shift = Operand::Imm(insn.imm.into());
            if insn.imm < 32 {
                let low = c.b.temp64();
                field(c, low, a, 32, false);
                c.b.op64(Ir::Shl, dst, low, shift);
            } else {
                c.b.op64(Ir::Shl, dst, a, shift);
            }
        }
        Extend { bits, signed } => field(c, dst, a, bits, signed),
        ZeroIf(cond) => {
            c.b.select(cond, dst, [Operand::Imm(0), a], [b, Operand::Imm(0)])
        }
        Pack { bits, ty } => {
            let [low, high] = [a, b].map(|from| {
                let part = c.b.temp64();
                field(c, part, from, bits, false);
                part
            });
            c.b.op64(Ir::Shl, high, high, Operand::Imm(bits.into()));
            c.b.op(Ir::Or, ty, extension(ty), dst, [low.into(), high.into()]);
        }
        Register(..) | Immediate(..) => {}
    }
}

/// The low `bits` bits of an operand, extended.
pub(super) fn field(c: &mut Context, dst: Slot, from: Operand, bits: u8, signed: bool) {
    let attr = Attr::Field {
        pos: 0,
        len: bits,
        signed,
    };
    c.b.op_with(Ir::Extract, Type::I64, Ext::Zero, Some(dst), [from], attr);
}
