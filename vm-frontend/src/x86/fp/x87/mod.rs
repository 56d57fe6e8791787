//! The x87 unit (Intel SDM 1, 8): its stack, control and status, and how exceptions are answered.
//!
//! | helpers | file |
//! |---|---|
//! | arithmetic, comparison | `arith` |
//! | loads, stores, moves on the stack | `moves` |
//! | functions of the top of the stack, remainders | `special` |
//! | transcendental functions | `transcendental` |
//! | packed decimal | `bcd` |
//! | control, environment | `environment` |

pub(super) mod arith;
mod bcd;
pub(super) mod environment;
pub(super) mod moves;
pub(super) mod special;
pub(super) mod transcendental;
mod wide;

use vm_softfloat::{Env, Flags, RoundingDirection, X87Precision};

use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, seg};

/// Bits of the status word (Intel SDM 1, 8.1.3).
pub(super) mod status {
    /// Invalid operation.
    pub(crate) const INVALID: u64 = 1;
    /// Denormal operand.
    pub(crate) const DENORMAL: u64 = 1 << 1;
    /// Division by zero.
    pub(crate) const DIVZERO: u64 = 1 << 2;
    /// Overflow.
    pub(crate) const OVERFLOW: u64 = 1 << 3;
    /// Underflow.
    pub(crate) const UNDERFLOW: u64 = 1 << 4;
    /// Stack fault.
    pub(crate) const STACK: u64 = 1 << 6;
    /// An exception that is not masked is pending.
    pub(crate) const SUMMARY: u64 = 1 << 7;
    /// Condition codes.
    pub(crate) const C0: u64 = 1 << 8;
    pub(crate) const C1: u64 = 1 << 9;
    pub(crate) const C2: u64 = 1 << 10;
    pub(crate) const C3: u64 = 1 << 14;
    /// All of them.
    pub(crate) const CONDITIONS: u64 = C0 | C1 | C2 | C3;
    /// Busy: as [`SUMMARY`].
    pub(crate) const BUSY: u64 = 1 << 15;
    /// Where the top of the stack is.
    pub(crate) const TOP_SHIFT: u32 = 11;
    /// The exceptions.
    pub(crate) const EXCEPTIONS: u64 = 0x3f;
}

/// The control word after FNINIT (Intel SDM 1, 8.1.5).
pub(super) const CONTROL_INIT: u64 = 0x37f;

/// The real indefinite (Intel SDM 1, 4.8.3.7).
pub(super) const INDEFINITE: u128 = 0xffff << 64 | 0xc000_0000_0000_0000;
const SIGN: u128 = 1 << 79;
/// One.
const ONE: u128 = 0x3fff << 64 | 1 << 63;

/// The unit of a processor.
pub(super) struct Unit<'a> {
    pub(super) state: &'a mut CpuState,
}

/// Whether a result goes to its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It does, and the stack moves.
    Store,
    /// Nothing changes: an exception that is not masked was found before.
    Keep,
}

impl<'a> Unit<'a> {
    /// The unit, for an instruction that leaves its address in the environment.
    ///
    /// DEVIATION: the opcode there stays zero; processors note it of instructions that raise an exception which is not
    /// masked (Intel SDM 1, 8.1.9.1).
    pub(super) fn of(cpu: &'a mut Cpu<'_>) -> Self {
        let state = &mut *cpu.state;
        let cs = &state.segments[seg::CS];
        let offset = state.common.pc.wrapping_sub(cs.base);
        state.x87_last[1] = pack_pointer(offset, cs.selector);
        Self { state }
    }

    /// The same, with an operand in memory at an offset in a segment.
    pub(super) fn with_operand(cpu: &'a mut Cpu<'_>, offset: u64, segment: u64) -> Self {
        let unit = Self::of(cpu);
        let selector = unit
            .state
            .segments
            .get(segment as usize)
            .map_or(0, |segment| segment.selector);
        unit.state.x87_last[2] = pack_pointer(offset, selector);
        unit
    }

    fn top(&self) -> usize {
        (self.state.x87_status >> status::TOP_SHIFT & 7) as usize
    }

    /// Moves the top of the stack.
    pub(super) fn rotate(&mut self, by: usize) {
        let top = ((self.top() + by) & 7) as u64;
        self.state.x87_status &= !(7 << status::TOP_SHIFT);
        self.state.x87_status |= top << status::TOP_SHIFT;
    }

    fn physical(&self, n: usize) -> usize {
        (self.top() + n) & 7
    }

    /// What ST(n) holds; `None` when it is empty.
    pub(super) fn get(&self, n: usize) -> Option<u128> {
        let full = self.state.x87_tags >> self.physical(n) & 1 != 0;
        full.then(|| self.contents(n))
    }

    /// What is in ST(n), be it empty.
    pub(super) fn contents(&self, n: usize) -> u128 {
        let [significand, high] = self.state.x87[self.physical(n)];
        u128::from(high & 0xffff) << 64 | u128::from(significand)
    }

    /// Sets ST(n).
    pub(super) fn set(&mut self, n: usize, value: u128) {
        let n = self.physical(n);
        self.state.x87[n] = [value as u64, (value >> 64) as u64 & 0xffff];
        self.state.x87_tags |= 1 << n;
    }

    /// Empties ST(n).
    pub(super) fn free(&mut self, n: usize) {
        let n = self.physical(n);
        self.state.x87_tags &= !(1 << n);
    }

    /// Empties the top of the stack and moves it.
    pub(super) fn pop(&mut self, count: usize) {
        for _ in 0..count {
            self.free(0);
            self.rotate(1);
        }
    }

    /// The rules in force.
    pub(super) fn env(&self) -> Env {
        let control = self.state.x87_control;
        let precision = match control >> 8 & 3 {
            0 => X87Precision::Single,
            2 => X87Precision::Double,
            _ => X87Precision::Extended,
        };
        Env {
            underflow_when_exact: control & status::UNDERFLOW == 0,
            ..Env::x87(
                RoundingDirection::from_x86((control >> 10) as u8),
                precision,
            )
        }
    }

    fn set_conditions(&mut self, bits: u64) {
        self.state.x87_status = self.state.x87_status & !status::CONDITIONS | bits;
    }

    fn set_c1(&mut self, set: bool) {
        self.state.x87_status &= !status::C1;
        self.state.x87_status |= if set { status::C1 } else { 0 };
    }

    /// Notes exceptions in the status word; gives those that are not masked.
    fn note(&mut self, raised: u64) -> u64 {
        let unmasked = raised & !self.state.x87_control & status::EXCEPTIONS;
        self.state.x87_status |= raised;
        if unmasked != 0 {
            self.state.x87_status |= status::SUMMARY | status::BUSY;
        }
        unmasked
    }

    /// Notes what an operation raised, and whether its rounding went up.
    ///
    /// DEVIATION: a result that overflows or is tiny while that is not masked is delivered as if it were masked, not with
    /// its exponent adjusted by 24,576 (Intel SDM 1, 8.5.4 and 8.5.5). The exception itself is raised.
    pub(super) fn finish(&mut self, flags: Flags) -> Answer {
        let raised = u64::from(flags.x86());
        let unmasked = self.note(raised);
        self.set_c1(flags.contains(Flags::ROUNDED_UP) && flags.contains(Flags::INEXACT));
        if unmasked & (status::INVALID | status::DENORMAL | status::DIVZERO) != 0 {
            Answer::Keep
        } else {
            Answer::Store
        }
    }

    /// The same for an operation whose result goes to memory, which overflow and underflow keep from it too.
    pub(super) fn finish_store(&mut self, flags: Flags) -> Answer {
        let unmasked = u64::from(flags.x86()) & !self.state.x87_control;
        match self.finish(flags) {
            Answer::Store if unmasked & (status::OVERFLOW | status::UNDERFLOW) != 0 => Answer::Keep,
            answer => answer,
        }
    }

    /// A stack fault: an operand is missing, or (`overflow`) its place is taken (Intel SDM 1, 8.5.1.1).
    pub(super) fn stack_fault(&mut self, overflow: bool) -> Answer {
        let unmasked = self.note(status::INVALID | status::STACK);
        self.set_c1(overflow);
        match unmasked {
            0 => Answer::Store,
            _ => Answer::Keep,
        }
    }

    /// Pushes a value, when the answer to what came before is to store.
    pub(super) fn push(&mut self, value: u128, answer: Answer) {
        if answer == Answer::Keep {
            return;
        }
        let full = self.get(7).is_some();
        let value = match full {
            true if self.stack_fault(true) == Answer::Keep => return,
            true => INDEFINITE,
            false => value,
        };
        self.rotate(7);
        self.set(0, value);
    }

    /// Whether a push finds no place.
    pub(super) fn is_full(&self) -> bool {
        self.get(7).is_some()
    }

    /// Sets the summary as flags and masks are now.
    pub(super) fn renew_summary(&mut self) {
        let state = &mut *self.state;
        let pending = state.x87_status & !state.x87_control & status::EXCEPTIONS != 0;
        state.x87_status &= !(status::SUMMARY | status::BUSY);
        if pending {
            state.x87_status |= status::SUMMARY | status::BUSY;
        }
    }
}

/// An address of 48 bits and a selector.
const fn pack_pointer(offset: u64, selector: u64) -> u64 {
    offset & 0xffff_ffff_ffff | selector << 48
}
