//! Stacks that the processor itself pushes to and pops from.

use vm_core::AccessWidth;

use super::descriptor::{is_64, is_canonical, is_long, stack_fault, view_of};
use super::fields::attr;
use super::segment::within;
use crate::guest::{Exception, View};
use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, Segment, gpr, seg};

/// A stack and where its pointer stands. Nothing of it is in the state before [`Stack::commit`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    segment: Segment,
    /// The bits of the pointer that count: 16, 32 or 64.
    mask: u64,
    /// Addresses are those of 64-bit mode: without base and limit.
    flat: bool,
    pub(super) pointer: u64,
    view: View,
    /// The selector that its faults tell.
    told: u64,
}

/// The width of an operand of 2, 4 or 8 bytes.
pub(super) const fn width_of(bytes: u64) -> AccessWidth {
    match bytes {
        2 => AccessWidth::Half,
        8 => AccessWidth::Double,
        _ => AccessWidth::Word,
    }
}

impl Stack {
    /// The stack in use.
    pub(super) fn current(state: &CpuState) -> Self {
        let flat = is_64(state);
        let mut stack = Self::in_segment(state.segments[seg::SS], state.gpr[gpr::RSP], state.cpl);
        stack.told = 0;
        if flat {
            stack.flat = true;
            stack.mask = u64::MAX;
        }
        stack
    }

    /// A stack of protected mode that is switched to.
    pub(super) fn in_segment(segment: Segment, pointer: u64, cpl: u64) -> Self {
        let big = segment.attributes & attr::DB != 0;
        Self {
            segment,
            mask: if big { 0xffff_ffff } else { 0xffff },
            flat: false,
            pointer,
            view: view_of(cpl),
            told: segment.selector,
        }
    }

    /// A stack of 64-bit mode.
    pub(super) fn flat(segment: Segment, pointer: u64, cpl: u64) -> Self {
        Self {
            segment,
            mask: u64::MAX,
            flat: true,
            pointer,
            view: view_of(cpl),
            told: 0,
        }
    }

    /// Moves the pointer by `bytes` upwards.
    pub(super) fn skip(&mut self, bytes: u64) {
        let moved = self.pointer.wrapping_add(bytes);
        self.pointer = self.pointer & !self.mask | moved & self.mask;
    }

    /// Makes it the stack in use.
    pub(super) fn commit(self, state: &mut CpuState) {
        state.segments[seg::SS] = self.segment;
        self.commit_pointer(state);
    }

    /// Moves the pointer of the stack in use.
    pub(super) fn commit_pointer(self, state: &mut CpuState) {
        let old = state.gpr[gpr::RSP];
        state.gpr[gpr::RSP] = match self.mask {
            0xffff => old & !0xffff | self.pointer & 0xffff,
            mask => self.pointer & mask,
        };
    }

    fn addr(&self, state: &CpuState, bytes: u64) -> Result<u64, Exception> {
        let offset = self.pointer & self.mask;
        if self.flat {
            return if is_canonical(state, offset) {
                Ok(offset)
            } else {
                Err(stack_fault(0))
            };
        }
        if !within(&self.segment, offset, bytes) {
            return Err(stack_fault(self.told));
        }
        let addr = self.segment.base.wrapping_add(offset);
        Ok(if is_long(state) && self.flat {
            addr
        } else {
            addr & 0xffff_ffff
        })
    }
}

impl Cpu<'_> {
    /// Pushes `bytes` bytes.
    pub(super) fn push(
        &mut self,
        stack: &mut Stack,
        value: u64,
        bytes: u64,
    ) -> Result<(), Exception> {
        let mut below = *stack;
        below.skip(bytes.wrapping_neg());
        let addr = below.addr(self.state, bytes)?;
        self.env
            .store(self.state, addr, width_of(bytes), value, stack.view)?;
        *stack = below;
        Ok(())
    }

    /// Pops `bytes` bytes.
    pub(super) fn pop(&mut self, stack: &mut Stack, bytes: u64) -> Result<u64, Exception> {
        let addr = stack.addr(self.state, bytes)?;
        let value = self
            .env
            .load(self.state, addr, width_of(bytes), stack.view)?;
        stack.skip(bytes);
        Ok(value)
    }
}
