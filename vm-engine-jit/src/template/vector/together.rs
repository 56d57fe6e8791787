//! Operations that stand side by side as one.

use super::*;
use crate::asm::Reg;
use row::Form;
use vm_ir::FlagKind;

impl Emitter<'_> {
    /// Translates operations from `at` on as one, where that can be; tells how many they were.
    pub(crate) fn vectors_together(&mut self, at: usize) -> Option<usize> {
        if !self.has_vectors {
            return None;
        }
        let insts = &self.of.block.insts[at..];
        let count = match insts {
            [first, second, ..] => match (first.op, second.op) {
                (Op::Load, Op::Load) | (Op::ProbeWrite, Op::Store) => self.pair(at)?,
                (Op::VecCall, Op::Mov) => self.row_and_word(insts)?,
                (Op::FpCmpFlags, Op::Mov) => self.compare_and_move(first, second)?,
                (Op::Mov, _) if first.ty == Type::V128 => {
                    let pinned =
                        |slot: Option<Slot>| slot.is_some_and(|slot| self.vector(slot).is_some());
                    let live = pinned(first.dst) || pinned(first.args[0].slot());
                    self.host_flags = None;
                    if live {
                        self.enter_float();
                    }
                    self.copy_and_lowest(first, second)?;
                    2
                }
                _ => return None,
            },
            _ => return None,
        };
        for inst in self.of.block.insts[at..at + count].iter() {
            self.has_read(inst);
        }
        Some(count)
    }

    /// Flags or a mask by way of a vector's low word.
    fn row_and_word(&mut self, insts: &[Inst]) -> Option<usize> {
        let [call, word, rest @ ..] = insts else {
            return None;
        };
        let (vector, to) = (call.dst?, word.dst?);
        let taken = self.is_read_once(vector)
            && word.args[0] == Operand::Slot(vector)
            && word.ty == Type::I64
            && word.ext == Ext::Zero
            && self.type_of(to) == Type::I64;
        if !taken {
            return None;
        }
        let row = self.row_of(call)?;
        let a = call.args[0].slot()?;
        match row.form {
            Form::Mask => {
                self.begin_vectors(call);
                self.mask(row.vex, a);
                self.put(to, Reg::Rax);
                Some(2)
            }
            Form::Flags => {
                let [set, ..] = rest else {
                    return None;
                };
                let bits = set.attr == Attr::FlagKind(FlagKind::Bits)
                    && set.args[0] == Operand::Slot(to)
                    && self.is_read_once(to);
                let group = set.dst.filter(|_| bits && set.op == Op::SetFlags)?;
                self.begin_vectors(call);
                if row.accrues {
                    self.enter_float();
                }
                self.compare_vectors(row.vex, a, call.args[1].slot()?);
                // The others are clear.
                self.store_flags(group, false);
                Some(3)
            }
            _ => None,
        }
    }

    fn begin_vectors(&mut self, inst: &Inst) {
        self.host_flags = None;
        let operands = inst.args.iter().filter_map(|arg| arg.slot());
        if operands.into_iter().any(|slot| self.vector(slot).is_some()) {
            self.enter_float();
        }
    }

    /// A comparison to a group that is moved to where it stays.
    fn compare_and_move(&mut self, compare: &Inst, mov: &Inst) -> Option<usize> {
        let (temp, group) = (compare.dst?, mov.dst?);
        let moved = mov.ty == Type::Flags && mov.args[0] == Operand::Slot(temp);
        if !moved || !self.is_read_once(temp) || !self.host_is_guest {
            return None;
        }
        let vex = scalar::flags_of(compare)?;
        let [x, y, ..] = compare.args.map(|arg| arg.slot());
        let (x, y) = (x?, y?);
        if self.type_of(x) != Type::V128 || self.type_of(y) != Type::V128 {
            return None;
        }
        self.host_flags = None;
        self.enter_float();
        self.compare_vectors(vex, x, y);
        self.store_flags(group, false);
        Some(2)
    }
}
