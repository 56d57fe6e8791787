//! Vectors, as the host's own instructions compute them.
//!
//! Slots of vectors that are pinned are in host registers while floating point is live (`float`). Temporaries are in
//! [`TEMPS`] from when they are written until their last use; memory has them only where they had to make room, or
//! something else may run that reads them or changes vector registers. Other slots are in memory.
//!
//! | operations | file |
//! |---|---|
//! | the guest's own ([`vm_ir::VectorDecl::encoding`]) | `row` |
//! | moves, insertion and extraction | `moves` |
//! | loads and stores | `access`, those of 32 bytes `pair` |
//! | arithmetic and conversion of the lowest lane, of guests whose floating point is the host's | `scalar` |
//! | several of these as one | `together` |

mod access;
mod moves;
mod pair;
mod row;
mod scalar;
mod together;

pub(crate) use access::Away;
pub(crate) use pair::PairAway;

use vm_engine::tier::Step;
use vm_ir::family::{Access, Move, VecMove};
use vm_ir::{Attr, Endian, Ext, Family, Inst, Op, Operand, Slot, Type, VectorDecl};

use super::block::Emitter;
use crate::asm::{Rm, Xmm};

/// For single operations.
const ACC: Xmm = Xmm(0);
const SECOND: Xmm = Xmm(1);
/// Registers for temporaries.
const TEMPS: [Xmm; 2] = [Xmm(2), Xmm(3)];

/// The first register that a vector of the guest's state is pinned to, and the one behind the last.
pub(super) const FIRST_PINNED: u8 = 4;
pub(super) const END_PINNED: u8 = 16;

/// Temporaries in registers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    temps: [Option<Slot>; TEMPS.len()],
    /// Whether memory lacks them.
    dirty: [bool; TEMPS.len()],
    /// The register that was taken last.
    last: usize,
}

impl Held {
    /// The register of a temporary.
    pub(crate) fn find(&self, temp: Slot) -> Option<Xmm> {
        let at = self.temps.iter().position(|&held| held == Some(temp))?;
        Some(TEMPS[at])
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.temps.iter().all(Option::is_none)
    }

    fn forget(&mut self, temp: Slot) {
        for held in &mut self.temps {
            *held = held.filter(|&held| held != temp);
        }
    }
}

/// Whether the host has what vectors need at all.
pub(crate) fn has_vectors() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

/// Whether an operation on vectors needs no step, for a guest that has these operations of its own.
pub(crate) fn is_native(inst: &Inst, vectors: &[VectorDecl]) -> bool {
    let native = match inst.op.family() {
        Family::Move(Move::Mov) => {
            let simple = match inst.args[0] {
                Operand::Imm(value) => matches!(value, 0 | -1),
                _ => true,
            };
            inst.ty == Type::V128 && simple
        }
        Family::Access(Access::Load) => inst.ty == Type::V128 && access::is_plain(inst),
        Family::Access(Access::Store) => {
            inst.ty == Type::V128 && access::is_plain(inst) && inst.args[3].slot().is_some()
        }
        Family::VecMove(VecMove::VecExtract) => inst.ext == Ext::Zero,
        Family::VecMove(VecMove::VecInsert) => true,
        Family::VecRow(_) => row::Row::of(inst, vectors).is_some_and(|row| !row.accrues),
        _ => false,
    };
    native && has_vectors()
}

impl Emitter<'_> {
    /// Whether an operation reads or writes a vector.
    pub(crate) fn is_on_vectors(&self, inst: &Inst) -> bool {
        let vector = |slot: Slot| self.type_of(slot) == Type::V128;
        self.has_vectors
            && (inst.dst.is_some_and(vector)
                || inst.args.iter().any(|arg| arg.slot().is_some_and(vector)))
    }

    /// An operation that reads or writes a vector.
    pub(crate) fn on_vectors(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        self.host_flags = None;
        let slots = inst.args.iter().filter_map(|arg| arg.slot());
        if slots
            .chain(inst.dst)
            .any(|slot| self.vector(slot).is_some())
        {
            self.enter_float();
        }
        let done = match inst.op.family() {
            Family::Move(Move::Mov) => self.vector_mov(inst),
            Family::Access(Access::Load) if access::is_plain(inst) => self.vector_load(inst, step),
            Family::Access(Access::Store) if access::is_plain(inst) => {
                self.vector_store(inst, step)
            }
            Family::VecMove(VecMove::VecExtract) if inst.ext == Ext::Zero => {
                self.vector_extract(inst)
            }
            Family::VecMove(VecMove::VecInsert) => self.vector_insert(inst),
            Family::VecRow(_) => self.row(inst),
            Family::FpArith(_)
            | Family::FpExtremum(_)
            | Family::FpConvert(_)
            | Family::FpOther(_)
                if self.host_is_guest =>
            {
                self.enter_float();
                self.scalar(inst)
            }
            _ => None,
        };
        match done {
            Some(()) => Some(()),
            None => self.step(step),
        }
    }

    /// Where a vector is.
    fn vector_place(&self, slot: Slot) -> Rm {
        match self.vector(slot) {
            Some(reg) => reg.into(),
            None => self.home(slot).into(),
        }
    }

    /// The vector in a register: its own, or `scratch`.
    fn in_xmm(&mut self, slot: Slot, scratch: Xmm) -> Xmm {
        match self.vector_place(slot) {
            Rm::Reg(reg) => Xmm(reg),
            Rm::Mem(home) => {
                self.asm.vmov(scratch, home);
                scratch
            }
        }
    }

    /// The register to compute a vector in. It may be one that an operand was found in. [`Emitter::has_result`] comes
    /// behind it.
    fn result(&mut self, dst: Slot) -> Xmm {
        if dst.is_temp() {
            return self.take(dst);
        }
        self.vector(dst).unwrap_or(ACC)
    }

    /// The same of a vector that keeps part of what it was, which is in the register.
    fn result_keeping(&mut self, dst: Slot) -> Xmm {
        let before = self.vector_place(dst);
        let to = self.result(dst);
        self.asm.vmov(to, before);
        to
    }

    /// The vector is in the register that [`Emitter::result`] gave.
    fn has_result(&mut self, dst: Slot, reg: Xmm) {
        if !dst.is_temp() && self.vector(dst).is_none() {
            let home = self.home(dst);
            self.asm.vstore(home, reg);
        }
    }

    /// A register for a temporary that is about to be written.
    fn take(&mut self, temp: Slot) -> Xmm {
        let held = self.held.temps;
        let place = |wanted: Option<Slot>| held.iter().position(|&held| held == wanted);
        let oldest = self.held.last ^ 1;
        let at = place(Some(temp)).or_else(|| place(None)).unwrap_or(oldest);
        self.held.last = at;
        if self.held.temps[at] != Some(temp) {
            self.store_held(at);
        }
        self.held.temps[at] = Some(temp);
        self.held.dirty[at] = true;
        TEMPS[at]
    }

    /// Gives memory a temporary that it lacks.
    fn store_held(&mut self, at: usize) {
        if let (Some(temp), true) = (self.held.temps[at], self.held.dirty[at]) {
            let home = self.home(temp);
            self.asm.vstore(home, TEMPS[at]);
            self.held.dirty[at] = false;
        }
    }

    /// Gives memory all temporaries that it lacks.
    pub(crate) fn store_all_held(&mut self) {
        for at in 0..TEMPS.len() {
            self.store_held(at);
        }
    }

    /// Gives memory all temporaries that it lacks, and holds none any more.
    pub(crate) fn release_held(&mut self) {
        self.store_all_held();
        self.held = Held::default();
    }

    /// Takes temporaries back to their registers, which have been changed.
    pub(crate) fn load_held(&mut self, held: Held) {
        for (reg, temp) in TEMPS.into_iter().zip(held.temps) {
            if let Some(temp) = temp {
                let home = self.home(temp);
                self.asm.vmov(reg, home);
            }
        }
    }

    /// Notes that an operation has read its operands: temporaries that none reads any more need no register.
    pub(crate) fn has_read(&mut self, inst: &Inst) {
        if !self.has_vectors {
            return;
        }
        for slot in inst.args.iter().filter_map(|arg| arg.slot()) {
            if !slot.is_temp() || self.type_of(slot) != Type::V128 {
                continue;
            }
            if let Some(count) = self.reads.get_mut(slot.index())
                && *count != u8::MAX
            {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.held.forget(slot);
                }
            }
        }
    }
}

/// Whether an operation needs nothing of vectors in registers and changes none but [`ACC`] and [`SECOND`].
pub(crate) fn leaves_alone(inst: &Inst) -> bool {
    match inst.op.family() {
        Family::Access(Access::Load | Access::Store)
        | Family::Move(_)
        | Family::Choose(_)
        | Family::Unary(_)
        | Family::Binary(_)
        | Family::Ternary(_)
        | Family::Field(_)
        | Family::Wide(_)
        | Family::Flags(_) => true,
        _ => inst.op == Op::Insn || inst.op == Op::Fence,
    }
}

/// The lane of an operation.
fn lane(inst: &Inst) -> Option<(Type, u8)> {
    match inst.attr {
        Attr::Lane { ty, index } => Some((ty, index)),
        _ => None,
    }
}
