//! Loads and stores, integer and floating-point (RISC-V Unpriv 20240411, 2.6, 4.3 and chapters "F", "D", "Zfh").
//! Misaligned accesses are done, not trapped.

use vm_ir::{Ext, MemAttr, Type};

use super::Flow;
use super::context::Context;
use crate::riscv::decode::{Insn, Op};

/// How an instruction is lifted. Sizes are base-2 logarithms of bytes.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Zero-extending load.
    Load(u8),
    /// Sign-extending load.
    LoadSigned(u8),
    /// Store.
    Store(u8),
    /// Load of a floating-point format.
    LoadFp(Type),
    /// Store of a floating-point format.
    StoreFp(Type),
}

use Rule::*;

pub(super) const TABLE: &[(Op, Rule)] = &[
    (Op::Lb, LoadSigned(0)),
    (Op::Lh, LoadSigned(1)),
    (Op::Lw, LoadSigned(2)),
    (Op::Ld, Load(3)),
    (Op::Lbu, Load(0)),
    (Op::Lhu, Load(1)),
    (Op::Lwu, Load(2)),
    (Op::Sb, Store(0)),
    (Op::Sh, Store(1)),
    (Op::Sw, Store(2)),
    (Op::Sd, Store(3)),
    (Op::Flh, LoadFp(Type::F16)),
    (Op::Flw, LoadFp(Type::F32)),
    (Op::Fld, LoadFp(Type::F64)),
    (Op::Fsh, StoreFp(Type::F16)),
    (Op::Fsw, StoreFp(Type::F32)),
    (Op::Fsd, StoreFp(Type::F64)),
];

pub(super) fn lift(c: &mut Context, rule: Rule, insn: &Insn) -> Flow {
    let (base, offset) = (c.x(insn.rs1), i64::from(insn.imm));
    match rule {
        Load(size) => {
            let dst = c.x_dst(insn.rd);
            c.b.load(
                MemAttr::plain(size),
                Type::I64,
                Ext::Zero,
                dst,
                base,
                offset,
            );
        }
        LoadSigned(size) => {
            let dst = c.x_dst(insn.rd);
            c.b.load(
                MemAttr::plain(size).signed(),
                Type::I64,
                Ext::Zero,
                dst,
                base,
                offset,
            );
        }
        Store(size) => {
            let value = c.x(insn.rs2);
            c.b.store(MemAttr::plain(size), Type::I64, base, offset, value);
        }
        LoadFp(_) | StoreFp(_) if !c.fp_is_on() => return Flow::Illegal,
        LoadFp(ty) => {
            let (dst, ext) = c.f_dst(ty, insn.rd);
            c.b.load(
                MemAttr::plain(size_log2(ty)),
                ty,
                ext,
                Some(dst),
                base,
                offset,
            );
            c.fp_written();
        }
        StoreFp(ty) => {
            let value = c.f(insn.rs2);
            c.b.store(MemAttr::plain(size_log2(ty)), ty, base, offset, value);
        }
    }
    Flow::Next
}

const fn size_log2(ty: Type) -> u8 {
    (ty.bits() / 8).ilog2() as u8
}
