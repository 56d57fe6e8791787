//! Moves between vectors, general registers and memory; lanes inserted and extracted.

use super::*;
use crate::asm::{Mem, Reg, Shift, Vex, Width};
use crate::template::flags::any_width;

/// `vmovd` and `vmovq` from a general register or memory.
pub(super) const FROM_32: Vex = Vex::new(1, 1, 0x6e);
const FROM_64: Vex = FROM_32.wide();
/// `vmovd` and `vmovq` to a general register.
const TO_32: Vex = Vex::new(1, 1, 0x7e);
const TO_64: Vex = TO_32.wide();
/// `vmovq` between vectors.
const LOW_64: Vex = Vex::new(2, 1, 0x7e);
/// `vmovss` and `vmovsd` of registers: the low lane of the last operand, the rest of the second.
const MERGE_32: Vex = Vex::new(2, 1, 0x10);
const MERGE_64: Vex = Vex::new(3, 1, 0x10);
/// `vmovlps` from memory.
const LOW_FROM_MEMORY: Vex = Vex::new(0, 1, 0x12);
/// `vmovhps` from memory.
const HIGH_FROM_MEMORY: Vex = Vex::new(0, 1, 0x16);

/// `vpinsrb` and its kin.
fn insert(ty: Type) -> Option<Vex> {
    Some(match ty {
        Type::I8 => Vex::new(1, 3, 0x20),
        Type::I16 => Vex::new(1, 1, 0xc4),
        Type::I32 => Vex::new(1, 3, 0x22),
        Type::I64 => Vex::new(1, 3, 0x22).wide(),
        _ => return None,
    })
}

/// `vpextrb` and its kin, to a general register.
fn extract(ty: Type) -> Option<Vex> {
    Some(match ty {
        Type::I8 => Vex::new(1, 3, 0x14),
        Type::I16 => Vex::new(1, 3, 0x15),
        Type::I32 => Vex::new(1, 3, 0x16),
        Type::I64 => Vex::new(1, 3, 0x16).wide(),
        _ => return None,
    })
}

/// The integer type of as many bits.
fn integer(ty: Type) -> Type {
    match ty {
        Type::F32 => Type::I32,
        Type::F64 => Type::I64,
        ty => ty,
    }
}

impl Emitter<'_> {
    pub(super) fn vector_mov(&mut self, inst: &Inst) -> Option<()> {
        let dst = inst.dst?;
        if self.type_of(dst) != Type::V128 {
            // The low bits of a vector.
            return match inst.ext {
                Ext::Ones => None,
                _ => self.mov(inst, dst),
            };
        }
        match (inst.ty, inst.args[0]) {
            (Type::V128, Operand::Slot(from)) => {
                self.copy_vector(dst, from);
                Some(())
            }
            (Type::V128, Operand::Imm(value @ (0 | -1))) => {
                let to = self.result(dst);
                match value {
                    0 => self.asm.vzero(to),
                    _ => self.asm.vones(to),
                }
                self.has_result(dst, to);
                Some(())
            }
            (Type::V128 | Type::I128 | Type::F16, _) => None,
            (ty, from) if inst.ext == Ext::Keep => self.write_low(dst, integer(ty), from),
            (ty, from) => self.fill_from(inst, dst, integer(ty), from),
        }
    }

    pub(super) fn copy_vector(&mut self, dst: Slot, from: Slot) {
        match self.vector_place(from) {
            Rm::Mem(home) => {
                let to = self.result(dst);
                self.asm.vmov(to, home);
                self.has_result(dst, to);
            }
            Rm::Reg(from) if dst.is_temp() || self.vector(dst).is_some() => {
                let to = self.result(dst);
                self.asm.vmov(to, Xmm(from));
            }
            Rm::Reg(from) => {
                let home = self.home(dst);
                self.asm.vstore(home, Xmm(from));
            }
        }
    }

    /// Replaces the low lane by the low bits of an operand.
    fn write_low(&mut self, dst: Slot, ty: Type, from: Operand) -> Option<()> {
        let is_vector = from.slot().and_then(|slot| self.vector(slot));
        match (is_vector, ty) {
            (Some(from), Type::I32 | Type::I64) => {
                let merge = if ty == Type::I32 { MERGE_32 } else { MERGE_64 };
                // A temporary that makes room is still there.
                let to = self.result_keeping_from(dst, from);
                let (to, from) = to;
                self.asm.vex(merge, to.0, to.0, from);
                self.has_result(dst, to);
            }
            _ => {
                let insert = insert(ty)?;
                let from = self.in_reg(from, Reg::Rax);
                let to = self.result_keeping(dst);
                self.asm.vex_imm(insert, to.0, to.0, from, 0);
                self.has_result(dst, to);
            }
        }
        Some(())
    }

    /// As [`Emitter::result_keeping`], with a source that must outlive it: where it is now.
    fn result_keeping_from(&mut self, dst: Slot, from: Xmm) -> (Xmm, Xmm) {
        let before = self.vector_place(dst);
        let to = self.result(dst);
        let from = if to == from && before != Rm::from(to) {
            self.asm.vmov(SECOND, from);
            SECOND
        } else {
            from
        };
        self.asm.vmov(to, before);
        (to, from)
    }

    /// Fills a vector with an operand's low bits and zeros, or its sign.
    fn fill_from(&mut self, inst: &Inst, dst: Slot, ty: Type, from: Operand) -> Option<()> {
        let width = any_width(ty)?;
        if inst.ext == Ext::Zero
            && ty == Type::I64
            && let Operand::Slot(slot) = from
        {
            match (self.vector(slot), self.place(slot)) {
                (Some(from), _) => {
                    let to = self.result(dst);
                    self.asm.vex(LOW_64, to.0, 0, from);
                    self.has_result(dst, to);
                }
                (None, Rm::Mem(home)) => {
                    let to = self.result(dst);
                    self.asm.vex(LOW_64, to.0, 0, home);
                    self.has_result(dst, to);
                }
                (None, reg) => {
                    let to = self.result(dst);
                    self.asm.vex(FROM_64, to.0, 0, reg);
                    self.has_result(dst, to);
                }
            }
            return Some(());
        }
        let reg = self.in_reg(from, Reg::Rax);
        match inst.ext {
            Ext::Zero => {
                let reg = match width {
                    Width::B | Width::W => {
                        self.asm.movzx(width, Reg::Rax, reg);
                        Reg::Rax
                    }
                    _ => reg,
                };
                let to = self.result(dst);
                let from = if width == Width::Q { FROM_64 } else { FROM_32 };
                self.asm.vex(from, to.0, 0, reg);
                self.has_result(dst, to);
            }
            Ext::Sign => {
                if width == Width::Q {
                    self.asm.mov(Width::Q, Reg::Rax, reg);
                } else {
                    self.asm.movsx(Width::Q, width, Reg::Rax, reg);
                }
                let to = self.result(dst);
                self.asm.vex(FROM_64, to.0, 0, Reg::Rax);
                self.asm.shift_imm(Shift::Sar, Width::Q, Reg::Rax, 63);
                self.asm
                    .vex_imm(insert(Type::I64)?, to.0, to.0, Reg::Rax, 1);
                self.has_result(dst, to);
            }
            Ext::Ones | Ext::Keep => return None,
        }
        Some(())
    }

    pub(super) fn vector_extract(&mut self, inst: &Inst) -> Option<()> {
        let (Some(dst), Operand::Slot(from)) = (inst.dst, inst.args[0]) else {
            return None;
        };
        let (ty, index) = super::lane(inst)?;
        let to = self.target(dst, &[]);
        match self.vector_place(from) {
            Rm::Reg(from) => match (ty, index) {
                (Type::I64, 0) => self.asm.vex(TO_64, from, 0, to),
                (Type::I32, 0) => self.asm.vex(TO_32, from, 0, to),
                _ => self.asm.vex_imm(extract(ty)?, from, 0, to, index),
            },
            Rm::Mem(home) => {
                let disp = home.disp + i32::from(index) * (ty.bits() / 8) as i32;
                let from = Mem { disp, ..home };
                self.asm.movzx(any_width(ty)?, to, from);
            }
        }
        self.put(dst, to);
        Some(())
    }

    pub(super) fn vector_insert(&mut self, inst: &Inst) -> Option<()> {
        let (Some(dst), Operand::Slot(rest)) = (inst.dst, inst.args[0]) else {
            return None;
        };
        let (ty, index) = super::lane(inst)?;
        let insert = insert(ty)?;
        let rest = self.in_xmm(rest, ACC);
        let in_memory = match inst.args[1] {
            Operand::Slot(slot) if ty == Type::I64 && self.vector(slot).is_none() => {
                match self.place(slot) {
                    Rm::Mem(home) => Some(home),
                    Rm::Reg(_) => None,
                }
            }
            _ => None,
        };
        if let Some(home) = in_memory {
            let to = self.result(dst);
            let half = match index {
                0 => LOW_FROM_MEMORY,
                _ => HIGH_FROM_MEMORY,
            };
            self.asm.vex(half, to.0, rest.0, home);
            self.has_result(dst, to);
            return Some(());
        }
        let value = self.in_reg(inst.args[1], Reg::Rax);
        let to = self.result(dst);
        self.asm.vex_imm(insert, to.0, rest.0, value, index);
        self.has_result(dst, to);
        Some(())
    }
}
