//! Precise faults: when an operation faults, its guest instruction has changed nothing yet.
//!
//! Within one guest instruction (from a restart point on, where there is one), no write stands before the last
//! operation that may fault. Writes are state slots, guest memory, accrued floating-point flags, and what helpers
//! declare. A store that a probe before it has checked does not count as an operation that may fault.

use super::{Checker, VerifyError, Violation, is_none};
use crate::attr::{Attr, MemAttr};
use crate::block::{Block, Terminator};
use crate::inst::{Inst, Operand};
use crate::op::{Effects, Op};
use crate::slot::StateLayout;

/// The effects of an operation, those of the helper or the vector operation that it calls included.
pub(crate) fn effects(inst: &Inst, layout: &StateLayout) -> Effects {
    let own = inst.op.info().effects;
    match inst.attr {
        Attr::Helper(helper) => match layout.helpers.get(usize::from(helper.0)) {
            Some(declared) => own.and(declared.effects),
            None => own,
        },
        Attr::Vector { row, .. } => match layout.vectors.get(usize::from(row.0)) {
            Some(declared) => own.and(declared.effects()),
            None => own,
        },
        _ => own,
    }
}

impl Checker<'_> {
    pub(super) fn faults(&self, block: &Block) -> Result<(), VerifyError> {
        let insts = &block.insts;
        let mut start = 0;
        for end in 1..=insts.len() {
            if end == insts.len() || insts[end].op == Op::Insn {
                self.segment(block, start, end)?;
                start = end;
            }
        }
        Ok(())
    }

    /// Checks operations `start..end`, which are one guest instruction or a part of one.
    fn segment(&self, block: &Block, start: usize, end: usize) -> Result<(), VerifyError> {
        let insts = &block.insts;
        let raises = matches!(block.terminator, Terminator::Exception { .. });
        let ends_in_exception = raises && end == insts.len();
        let mut probes = Probes::default();
        let mut last = None;
        for (number, inst) in insts.iter().enumerate().take(end).skip(start) {
            if effects(inst, self.layout).has(Effects::MAY_FAULT) && !probes.cover(inst) {
                last = Some(number);
            }
            probes.follow(inst);
        }
        let fault = if ends_in_exception {
            end
        } else {
            last.unwrap_or(start)
        };
        for (number, inst) in insts.iter().enumerate().take(fault).skip(start) {
            if self.writes(inst) {
                let fault = if ends_in_exception { 0 } else { fault };
                return Err(self.at(block, number, Violation::WriteBeforeFault { fault }));
            }
        }
        Ok(())
    }

    fn writes(&self, inst: &Inst) -> bool {
        let effects = effects(inst, self.layout);
        inst.dst.is_some_and(|slot| !slot.is_temp())
            || effects.has(Effects::WRITES_STATE)
            || effects.has(Effects::ACCRUES)
            || effects.has(Effects::WRITES_MEMORY) && inst.op != Op::Fence
    }
}

/// Probes whose address has not changed since.
#[derive(Default)]
struct Probes(Vec<([Operand; 3], MemAttr)>);

impl Probes {
    fn follow(&mut self, inst: &Inst) {
        if let (Op::ProbeWrite, Attr::Mem(mem), [base, index, displacement, _]) =
            (inst.op, inst.attr, inst.args)
        {
            self.0.push(([base, index, displacement], mem));
        }
        if let Some(dst) = inst.dst {
            self.0.retain(|([base, index, _], _)| {
                base.slot() != Some(dst) && index.slot() != Some(dst)
            });
        }
    }

    /// Whether a store writes only bytes that a probe checked.
    fn cover(&self, inst: &Inst) -> bool {
        let (Op::Store, Attr::Mem(mem)) = (inst.op, inst.attr) else {
            return false;
        };
        let [base, index, displacement, _] = inst.args;
        self.0.iter().any(|(probed, how)| {
            let same_place = probed[0] == base && probed[1] == index;
            let same_shift = is_none(index) || how.index_shift == mem.index_shift;
            let same_alignment =
                !mem.must_align || how.must_align && how.size_log2 >= mem.size_log2;
            let from = probed[2].imm().unwrap_or(0);
            let at = displacement.imm().unwrap_or(0);
            let inside = at >= from
                && at.saturating_add(mem.bytes() as i64) <= from.saturating_add(how.bytes() as i64);
            same_place && same_shift && same_alignment && inside
        })
    }
}
