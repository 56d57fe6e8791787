//! `enter` with nested frames (Intel SDM 1, 6.6.1).

use vm_core::AccessWidth;

use super::string::{width, with_low};
use crate::guest::{Exception, View};
use crate::x86::helpers::Cpu;
use crate::x86::lift::SEGMENT;
use crate::x86::state::gpr::{RBP, RSP};
use crate::x86::state::seg::SS;

/// Argument: bytes of locals, the nesting level (1 to 31) from bit 16 on, bytes of an entry from bit 24 on, bytes of stack
/// addresses from bit 32 on.
pub(super) fn enter(cpu: &mut Cpu<'_>, [what, ..]: [u64; 3]) -> Result<u64, Exception> {
    let field = |at: u32| what >> at & 0xff;
    let (locals, level) = (what & 0xffff, field(16));
    let (bytes, stack) = (field(24), field(32));
    let frame = Frame {
        bytes,
        mask: u64::MAX >> (64 - 8 * stack.clamp(1, 8)),
        width: width(bytes),
    };
    let (top, base) = (cpu.state.gpr[RSP], cpu.state.gpr[RBP]);
    let pointer = top.wrapping_sub(bytes);
    // What is pushed, in order: the old base, the enclosing frames' pointers, this frame's.
    let mut pushed = vec![base];
    for n in 1..level {
        let from = base.wrapping_sub(n * bytes);
        pushed.push(frame.load(cpu, from)?);
    }
    pushed.push(pointer);
    let mut places = Vec::with_capacity(pushed.len());
    for n in 1..=pushed.len() as u64 {
        places.push(frame.writable(cpu, top.wrapping_sub(n * bytes))?);
    }
    let used = (level + 1) * bytes + locals;
    // The new top of the stack must be writable, although nothing goes there yet (Intel SDM 2A, "ENTER").
    frame.writable(cpu, top.wrapping_sub(used))?;
    for (&place, value) in places.iter().zip(pushed) {
        let (state, view) = (&*cpu.state, View::Current);
        cpu.env.store(state, place, frame.width, value, view)?;
    }
    cpu.state.gpr[RSP] = with_low(top, top.wrapping_sub(used), stack);
    cpu.state.gpr[RBP] = with_low(base, pointer, bytes);
    Ok(0)
}

struct Frame {
    bytes: u64,
    mask: u64,
    width: AccessWidth,
}

impl Frame {
    fn linear(&self, cpu: &mut Cpu<'_>, offset: u64, write: u64) -> Result<u64, Exception> {
        if self.mask == u64::MAX {
            return Ok(offset);
        }
        let what = SS as u64 | self.bytes << 8 | write << 16;
        cpu.call(SEGMENT, [offset & self.mask, what, 0])
    }

    fn load(&self, cpu: &mut Cpu<'_>, offset: u64) -> Result<u64, Exception> {
        let place = self.linear(cpu, offset, 0)?;
        cpu.env.load(cpu.state, place, self.width, View::Current)
    }

    /// The linear address, which a store can go to.
    fn writable(&self, cpu: &mut Cpu<'_>, offset: u64) -> Result<u64, Exception> {
        let place = self.linear(cpu, offset, 1)?;
        super::string::probe_write(cpu, place, self.bytes)?;
        Ok(place)
    }
}
