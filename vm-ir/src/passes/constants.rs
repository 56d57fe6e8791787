//! Constant propagation and folding, through the definitions in [`crate::eval`].

use std::collections::HashMap;

use super::{map_terminator, takes_constant, type_of};
use crate::attr::{Attr, Cond};
use crate::block::{Block, JumpKind, Terminator};
use crate::eval::{FpControl, Value, compare, constant, evaluate};
use crate::inst::{Ext, Inst, Operand};
use crate::op::{Effects, Op};
use crate::slot::{Slot, StateLayout, Type};
use crate::verify::effects;

/// Replaces operands whose value is known by constants, operations on constants by moves, operations that change nothing
/// by moves, and decided branches by jumps.
pub fn fold_constants(block: &mut Block, layout: &StateLayout) {
    let mut known = Known {
        values: HashMap::new(),
        temps: &block.temps,
        layout,
    };
    block.insts.retain_mut(|inst| {
        known.replace_operands(inst);
        known.fold(inst);
        simplify(inst);
        let kept = !never_happens(inst);
        known.follow(inst);
        kept
    });
    let values = &known;
    map_terminator(&mut block.terminator, |operand| {
        values.constant_for(operand)
    });
    if let Terminator::Branch {
        cond,
        ty,
        a,
        b,
        taken,
        fallthrough,
    } = block.terminator
        && let (Some(a), Some(b)) = (a.imm(), b.imm())
    {
        let holds = compare(cond, ty, a as u64, b as u64);
        let offset = if holds { taken } else { fallthrough };
        block.terminator = Terminator::Jump {
            offset,
            kind: JumpKind::Plain,
        };
    }
}

/// The slots whose contents are known.
struct Known<'a> {
    values: HashMap<Slot, Value>,
    temps: &'a [Type],
    layout: &'a StateLayout,
}

impl Known<'_> {
    fn value(&self, operand: Operand) -> Option<Value> {
        match operand {
            Operand::None => Some(Value::default()),
            Operand::Imm(value) => Some(constant(value)),
            Operand::Slot(slot) => self.values.get(&slot).copied(),
        }
    }

    /// The constant that an integer operand is known to be, or the operand.
    fn constant_for(&self, operand: Operand) -> Operand {
        match operand
            .slot()
            .and_then(|slot| Some((slot, self.values.get(&slot)?)))
        {
            Some((slot, value)) if type_of(slot, self.temps, self.layout).is_int() => {
                Operand::Imm(value[0] as i64)
            }
            _ => operand,
        }
    }

    fn replace_operands(&self, inst: &mut Inst) {
        for (operand, class) in inst.args.iter_mut().zip(inst.op.info().args) {
            if takes_constant(*class, inst.ty) {
                *operand = self.constant_for(*operand);
            }
        }
    }

    /// The destination after a pure operation on known values.
    fn result(&self, inst: &Inst) -> Option<Value> {
        let dst = inst.dst?;
        if inst.op.info().effects != Effects::NONE || inst.op == Op::PcRel {
            return None;
        }
        let mut args = [Value::default(); 4];
        for (value, operand) in args.iter_mut().zip(inst.args) {
            *value = self.value(operand)?;
        }
        let old = match inst.ext {
            Ext::Keep => *self.values.get(&dst)?,
            _ => Value::default(),
        };
        evaluate(inst, args, old, 0, &mut FpControl::default())
    }

    fn fold(&self, inst: &mut Inst) {
        let (Some(value), Some(dst)) = (self.result(inst), inst.dst) else {
            return;
        };
        let ty = type_of(dst, self.temps, self.layout);
        if ty.is_int() {
            *inst = mov(ty, Ext::Zero, dst, Operand::Imm(value[0] as i64));
        }
    }

    fn follow(&mut self, inst: &Inst) {
        let result = self.result(inst);
        if effects(inst, self.layout).has(Effects::WRITES_STATE) {
            self.values.retain(|slot, _| slot.is_temp());
        }
        if let Some(dst) = inst.dst {
            match result {
                Some(value) => self.values.insert(dst, value),
                None => self.values.remove(&dst),
            };
        }
    }
}

fn mov(ty: Type, ext: Ext, dst: Slot, from: Operand) -> Inst {
    let args = [from, Operand::None, Operand::None, Operand::None];
    Inst {
        op: Op::Mov,
        ty,
        ext,
        dst: Some(dst),
        args,
        attr: Attr::None,
    }
}

/// Operations that give their first operand when the second is this constant.
const NEUTRAL: [(Op, i64); 10] = [
    (Op::Add, 0),
    (Op::Sub, 0),
    (Op::Or, 0),
    (Op::Xor, 0),
    (Op::AndNot, 0),
    (Op::And, -1),
    (Op::Shl, 0),
    (Op::Shr, 0),
    (Op::Sar, 0),
    (Op::Mul, 1),
];

/// Makes moves of operations that only hand an operand on.
fn simplify(inst: &mut Inst) {
    let Some(dst) = inst.dst else { return };
    let [x, y, a, b] = inst.args;
    if let (Op::Select, Attr::Cond(cond)) = (inst.op, inst.attr) {
        if let Some(holds) = decided(cond, inst.ty, a, b) {
            *inst = mov(inst.ty, inst.ext, dst, if holds { x } else { y });
        }
        return;
    }
    if y.imm().is_some_and(|y| NEUTRAL.contains(&(inst.op, y))) {
        *inst = mov(inst.ty, inst.ext, dst, x);
    }
}

fn decided(cond: Cond, ty: Type, a: Operand, b: Operand) -> Option<bool> {
    Some(compare(cond, ty, a.imm()? as u64, b.imm()? as u64))
}

/// Whether it is an exit or exception whose condition is known not to hold.
fn never_happens(inst: &Inst) -> bool {
    match (inst.op, inst.attr) {
        (Op::ExitIf | Op::RaiseIf, Attr::Cond(cond)) => {
            decided(cond, inst.ty, inst.args[0], inst.args[1]) == Some(false)
        }
        _ => false,
    }
}
