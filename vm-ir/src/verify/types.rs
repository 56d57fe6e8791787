//! Operand classes, types, widths and attributes.

use super::{Checker, Violation, is_none, keeps};
use crate::attr::{Attr, FpToIntRule, MemAttr};
use crate::inst::{Ext, Inst, Operand};
use crate::op::{AttrClass, Class, Op};
use crate::slot::Type;

const OPERANDS: [&str; 4] = ["operand 1", "operand 2", "operand 3", "operand 4"];

impl Checker<'_> {
    pub(super) fn attribute(&self, inst: &Inst) -> Result<(), Violation> {
        let wanted = inst.op.info().attr;
        if class_of(&inst.attr) != wanted {
            return Err(Violation::AttributeClass);
        }
        let problem = match inst.attr {
            Attr::Mem(mem) => memory(inst, mem),
            Attr::Convert { from, rule, .. } => conversion(inst, from, rule),
            Attr::Field { pos, len, signed } => {
                let bits = inst.ty.bits();
                if len == 0 || u32::from(pos) + u32::from(len) > bits {
                    Some("field is not inside the type")
                } else if signed && inst.op != Op::Extract {
                    Some("only extraction extends a sign")
                } else {
                    None
                }
            }
            Attr::Lane { ty, index } => lane(inst, ty, index),
            Attr::FlagKind(kind) if kind.reads_old() == is_none(inst.args[3]) => {
                Some("old flag group missing or superfluous")
            }
            Attr::Helper(helper) if usize::from(helper.0) >= self.layout.helpers.len() => {
                return Err(Violation::NoSuchHelper);
            }
            Attr::Vector { row, .. } if usize::from(row.0) >= self.layout.vectors.len() => {
                return Err(Violation::NoSuchVector);
            }
            _ => None,
        };
        problem.map_or(Ok(()), |what| Err(Violation::Attribute(what)))
    }

    pub(super) fn operation_type(&self, inst: &Inst) -> Result<(), Violation> {
        let ty = inst.ty;
        let fits = match inst.op {
            Op::Insn | Op::Fence | Op::Call | Op::PcRel | Op::Low | Op::High => ty == Type::I64,
            Op::Pair => ty == Type::I128,
            Op::Mov => true,
            Op::Load
            | Op::Store
            | Op::ProbeWrite
            | Op::LoadReserved
            | Op::StoreConditional
            | Op::Cas => ty != Type::Flags,
            Op::FpToInt | Op::VecExtract => ty.is_int(),
            op => match op.info().args.first().or(Some(&op.info().result)) {
                Some(Class::Fp) => ty.is_fp(),
                Some(Class::Vec | Class::OptVec) => ty == Type::V128,
                _ if op == Op::IntToFp => ty.is_fp(),
                _ if op == Op::VecSplat => ty == Type::V128,
                _ => ty.is_int(),
            },
        };
        if fits {
            Ok(())
        } else {
            Err(Violation::OperationType)
        }
    }

    pub(super) fn operands(&self, inst: &Inst) -> Result<(), Violation> {
        let classes = inst.op.info().args;
        for (number, &operand) in inst.args.iter().enumerate() {
            let name = OPERANDS[number];
            match classes.get(number) {
                Some(&class) => {
                    self.operand(class, operand_type(inst, number), operand, name)?;
                }
                None if is_none(operand) => {}
                None => return Err(Violation::Class(name)),
            }
        }
        Ok(())
    }

    /// Whether one operand is of its class and at least as wide as `ty`.
    pub(super) fn operand(
        &self,
        class: Class,
        ty: Type,
        operand: Operand,
        name: &'static str,
    ) -> Result<(), Violation> {
        let wrong = Err(Violation::Class(name));
        match operand {
            Operand::None => match class {
                Class::OptInt | Class::OptFlags | Class::OptVec => Ok(()),
                _ => wrong,
            },
            Operand::Imm(_) => match class {
                Class::Int | Class::OptInt | Class::Imm => Ok(()),
                Class::Any if ty != Type::Flags => Ok(()),
                _ => wrong,
            },
            Operand::Slot(slot) => {
                let slot = self.slot_type(slot)?;
                if !is_of_class(class, ty, slot) {
                    return wrong;
                }
                if slot.bits() < ty.bits() {
                    return Err(Violation::Width(name));
                }
                Ok(())
            }
        }
    }

    pub(super) fn result(&self, inst: &Inst) -> Result<(), Violation> {
        let class = inst.op.info().result;
        let Some(dst) = inst.dst else {
            return if keeps(inst) {
                Err(Violation::Extension)
            } else {
                Ok(())
            };
        };
        let slot = self.slot_type(dst)?;
        let ty = result_type(inst);
        if class == Class::None || !is_of_class(class, ty, slot) {
            return Err(Violation::Class("result"));
        }
        if slot.bits() < ty.bits() {
            return Err(Violation::Width("result"));
        }
        if inst.ext != Ext::Zero && slot.bits() == ty.bits() {
            return Err(Violation::Extension);
        }
        Ok(())
    }
}

/// Whether a slot can hold values of a class. `ty` matters for operations on any type only.
fn is_of_class(class: Class, ty: Type, slot: Type) -> bool {
    match class {
        Class::None | Class::Imm => false,
        Class::Int | Class::OptInt => slot.is_int(),
        Class::Fp => matches!(slot, Type::F32 | Type::F64 | Type::V128),
        Class::Vec | Class::OptVec => slot == Type::V128,
        Class::Wide => slot == Type::I128,
        Class::Flags | Class::OptFlags => slot == Type::Flags,
        Class::Any => (slot == Type::Flags) == (ty == Type::Flags),
    }
}

/// The type that an operand is read in.
fn operand_type(inst: &Inst, number: usize) -> Type {
    let class = inst.op.info().args[number];
    match (inst.op, inst.attr, number) {
        (Op::Load | Op::Store | Op::ProbeWrite, _, 0..=1) => Type::I64,
        (Op::RaiseIf, _, 3) | (Op::Pair, _, _) => Type::I64,
        (op, Attr::Mem(_), 0) if op.info().args[0] == Class::Int => Type::I64,
        (_, Attr::Convert { from, .. }, _) => from,
        (_, Attr::Lane { ty, .. }, _) if class == Class::Int => ty,
        // Boxes are 64 bits wide whatever is in them.
        (Op::FpUnbox, ..) => Type::F64,
        _ => match class {
            Class::Vec | Class::OptVec => Type::V128,
            Class::Wide => Type::I128,
            Class::Flags | Class::OptFlags => Type::Flags,
            _ => inst.ty,
        },
    }
}

/// The type that the result has before it fills the destination.
fn result_type(inst: &Inst) -> Type {
    match inst.op {
        Op::SetFlags | Op::FpCmpFlags => Type::Flags,
        // Zero or one, and ten bits.
        Op::StoreConditional => Type::I8,
        Op::FpEq | Op::FpLt | Op::FpLe | Op::FpLtQuiet | Op::FpLeQuiet | Op::FpClass => Type::I64,
        _ => inst.ty,
    }
}

fn class_of(attr: &Attr) -> AttrClass {
    match attr {
        Attr::None => AttrClass::None,
        Attr::Mem(_) => AttrClass::Mem,
        Attr::Fp(_) => AttrClass::Fp,
        Attr::Convert { .. } => AttrClass::Convert,
        Attr::Integral { .. } => AttrClass::Integral,
        Attr::MinMax(_) => AttrClass::MinMax,
        Attr::Cond(_) => AttrClass::Cond,
        Attr::FlagCond(_) => AttrClass::FlagCond,
        Attr::FlagKind(_) => AttrClass::FlagKind,
        Attr::Helper(_) => AttrClass::Helper,
        Attr::Vector { .. } => AttrClass::Vector,
        Attr::Lane { .. } => AttrClass::Lane,
        Attr::Field { .. } => AttrClass::Field,
        Attr::Fence(_) => AttrClass::Fence,
        Attr::Insn { .. } => AttrClass::Insn,
    }
}

fn memory(inst: &Inst, mem: MemAttr) -> Option<&'static str> {
    let addressed = matches!(inst.op, Op::Load | Op::Store | Op::ProbeWrite);
    let indexed = addressed && !is_none(inst.args[1]);
    let bits = 8 << mem.size_log2.min(4);
    match mem.size_log2 {
        5.. => Some("more than sixteen bytes"),
        _ if mem.index_shift > 3 => Some("index shift beyond three"),
        _ if mem.index_shift != 0 && !indexed => Some("index shift without index"),
        _ if inst.op == Op::ProbeWrite => None,
        _ if bits > inst.ty.bits() => Some("access is wider than the type"),
        _ if inst.ty.is_fp() && bits != inst.ty.bits() => {
            Some("access is not of the format's size")
        }
        _ => None,
    }
}

fn conversion(inst: &Inst, from: Type, rule: FpToIntRule) -> Option<&'static str> {
    let integer = |ty| matches!(ty, Type::I16 | Type::I32 | Type::I64);
    let fits = match inst.op {
        Op::IntToFp => integer(from),
        Op::FpToInt => integer(inst.ty) && from.is_fp(),
        _ => from.is_fp(),
    };
    if !fits {
        return Some("no conversion between these types");
    }
    let modulo = rule == FpToIntRule::Modulo;
    (modulo && (inst.op != Op::FpToInt || inst.ty != Type::I32)).then_some("modulo is to i32 only")
}

fn lane(inst: &Inst, ty: Type, index: u8) -> Option<&'static str> {
    let fp = matches!(inst.op, Op::VecFpAdd | Op::VecFpSub | Op::VecFpMul);
    if fp != ty.is_fp() || !fp && !ty.is_int() {
        return Some("no lanes of this type");
    }
    let lanes = 128 / ty.bits();
    match inst.op {
        Op::VecShl | Op::VecShr | Op::VecSar => None,
        Op::VecExtract | Op::VecInsert if u32::from(index) >= lanes => Some("no such lane"),
        Op::VecExtract if ty.bits() > inst.ty.bits() => Some("lane is wider than the type"),
        Op::VecExtract | Op::VecInsert => None,
        _ => (index != 0).then_some("index without meaning"),
    }
}
