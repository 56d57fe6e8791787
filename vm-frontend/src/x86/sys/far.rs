//! Far jumps, calls and returns (Intel SDM 3A, 6.8.1 to 6.8.6).

use super::descriptor::{
    Descriptor, error_of, has_descriptors, is_64, is_canonical, is_long, not_present, system,
};
use super::exception::protection;
use super::fields::{attr, flag};
use super::segment::{pc_of, real_segment, rip_of, v86_segment};
use super::stack::Stack;
use super::task::Reason;
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::state::{Segment, gpr, seg};

/// Where a far transfer goes.
enum Target {
    /// To a code segment at the privilege level there is.
    Code(Segment, u64),
    /// Through a call gate.
    Gate(Gate),
    /// To a task.
    Task(u64),
}

struct Gate {
    selector: u64,
    offset: u64,
    /// Parameters to copy.
    count: u64,
    /// Bytes of a word on the stack.
    size: u64,
}

/// `far_jump`.
pub(super) fn far_jump(
    cpu: &mut Cpu<'_>,
    [selector, offset, shape]: [u64; 3],
) -> Result<u64, Exception> {
    let selector = selector & 0xffff;
    if !has_descriptors(cpu.state) {
        cpu.enter_real(selector, offset)?;
    } else {
        match cpu.far_target(selector, offset)? {
            Target::Code(cs, offset) => cpu.enter(cs, offset),
            Target::Gate(gate) => {
                let (code, descriptor) = cpu.gate_target(&gate)?;
                let inner = !descriptor.is_conforming() && descriptor.dpl() != cpu.state.cpl;
                if inner {
                    return Err(protection(error_of(gate.selector)));
                }
                cpu.enter(code, gate.offset);
            }
            Target::Task(selector) => {
                cpu.state.common.pc = cpu.next_pc(shape);
                cpu.switch_task(selector, Reason::Jump)?;
            }
        }
    }
    cpu.far_done();
    Ok(0)
}

/// `far_call`.
pub(super) fn far_call(
    cpu: &mut Cpu<'_>,
    [selector, offset, shape]: [u64; 3],
) -> Result<u64, Exception> {
    let (selector, size) = (selector & 0xffff, shape & 0xff);
    if !has_descriptors(cpu.state) {
        let stack = cpu.push_return(Stack::current(cpu.state), shape, size)?;
        cpu.enter_real(selector, offset)?;
        stack.commit_pointer(cpu.state);
    } else {
        match cpu.far_target(selector, offset)? {
            Target::Code(cs, offset) => {
                let stack = cpu.push_return(Stack::current(cpu.state), shape, size)?;
                stack.commit_pointer(cpu.state);
                cpu.enter(cs, offset);
            }
            Target::Gate(gate) => cpu.call_gate(&gate, shape)?,
            Target::Task(selector) => {
                let before = cpu.state.common.pc;
                cpu.state.common.pc = cpu.next_pc(shape);
                let switched = cpu.switch_task(selector, Reason::Call);
                if switched.is_err() {
                    cpu.state.common.pc = before;
                }
                switched?;
            }
        }
    }
    cpu.far_done();
    Ok(0)
}

/// `far_return`.
pub(super) fn far_return(cpu: &mut Cpu<'_>, [drop, shape, _]: [u64; 3]) -> Result<u64, Exception> {
    let size = shape & 0xff;
    let mut stack = Stack::current(cpu.state);
    let rip = cpu.pop(&mut stack, size)?;
    let selector = cpu.pop(&mut stack, size)? & 0xffff;
    if !has_descriptors(cpu.state) {
        stack.skip(drop);
        cpu.enter_real(selector, rip)?;
        stack.commit_pointer(cpu.state);
        cpu.far_done();
        return Ok(0);
    }
    let cs = cpu.return_target(selector, rip)?;
    stack.skip(drop);
    let outer = selector & 3;
    if outer == cpu.state.cpl {
        stack.commit_pointer(cpu.state);
    } else {
        let pointer = cpu.pop(&mut stack, size)?;
        let ss = cpu.pop(&mut stack, size)? & 0xffff;
        let to64 = cs.attributes & attr::L != 0 && is_long(cpu.state);
        let segment = cpu.outer_stack(ss, outer, to64)?;
        let pointer = pointer.wrapping_add(drop);
        cpu.state.segments[seg::SS] = segment;
        let old = cpu.state.gpr[gpr::RSP];
        cpu.state.gpr[gpr::RSP] = if to64 {
            pointer
        } else if segment.attributes & attr::DB != 0 {
            pointer & 0xffff_ffff
        } else {
            old & !0xffff | pointer & 0xffff
        };
        cpu.state.cpl = outer;
        cpu.drop_inner_segments(outer);
    }
    cpu.enter(cs, rip);
    cpu.far_done();
    Ok(0)
}

impl Cpu<'_> {
    fn far_done(&mut self) {
        self.state.shadow = 0;
        self.state.system_flags &= !flag::RF;
        super::debug::trap_behind(self.state, self.state.system_flags);
        self.env.state_changed();
    }

    /// Goes to code in real or virtual-8086 mode.
    fn enter_real(&mut self, selector: u64, offset: u64) -> Result<(), Exception> {
        let v86 = self.state.system_flags & flag::VM != 0;
        let cs = if v86 {
            v86_segment(selector)
        } else {
            real_segment(&self.state.segments[seg::CS], selector)
        };
        if offset > cs.limit {
            return Err(protection(0));
        }
        self.enter(cs, offset);
        Ok(())
    }

    fn enter(&mut self, cs: Segment, offset: u64) {
        self.state.segments[seg::CS] = cs;
        self.state.common.pc = pc_of(self.state, offset);
    }

    /// Pushes CS and the address behind the instruction.
    fn push_return(&mut self, stack: Stack, shape: u64, size: u64) -> Result<Stack, Exception> {
        let mut stack = stack;
        let rip = rip_of(self.state, self.next_pc(shape));
        let selector = self.state.segments[seg::CS].selector;
        self.push(&mut stack, selector, size)?;
        self.push(&mut stack, rip, size)?;
        Ok(stack)
    }

    /// What the selector of a far jump or call leads to.
    fn far_target(&mut self, selector: u64, offset: u64) -> Result<Target, Exception> {
        let descriptor = self.descriptor_not_null(selector, protection)?;
        let fault = protection(error_of(selector));
        if descriptor.is_code() {
            let cpl = self.state.cpl;
            let allowed = if descriptor.is_conforming() {
                descriptor.dpl() <= cpl
            } else {
                selector & 3 <= cpl && descriptor.dpl() == cpl
            };
            let cs = self.code_segment(selector, descriptor, allowed)?;
            self.check_offset(&cs, offset)?;
            return Ok(Target::Code(cs, offset));
        }
        let long = is_long(self.state);
        let least = self.state.cpl.max(selector & 3);
        let kind = descriptor.kind();
        let wide = kind == system::CALL_GATE;
        let is_gate = wide || kind == system::CALL_GATE16 && !long;
        let tasks = [system::TASK_GATE, system::TSS, system::TSS16];
        let is_task = !long && tasks.contains(&kind);
        if descriptor.is_segment() || !is_gate && !is_task || descriptor.dpl() < least {
            return Err(fault);
        }
        if !descriptor.is_present() {
            return Err(not_present(selector));
        }
        if kind == system::TASK_GATE {
            return Ok(Target::Task(descriptor.0 >> 16 & 0xffff));
        }
        if is_task {
            return Ok(Target::Task(selector));
        }
        let mut offset = descriptor.0 & 0xffff;
        if wide {
            offset |= descriptor.0 >> 32 & 0xffff_0000;
        }
        if long {
            offset |= self.descriptor_upper(selector)?;
        }
        Ok(Target::Gate(Gate {
            selector: descriptor.0 >> 16 & 0xffff,
            offset,
            count: descriptor.0 >> 32 & 0x1f,
            size: match (long, wide) {
                (true, _) => 8,
                (false, true) => 4,
                (false, false) => 2,
            },
        }))
    }

    /// The register that CS becomes when the privilege level stays.
    fn code_segment(
        &mut self,
        selector: u64,
        descriptor: Descriptor,
        allowed: bool,
    ) -> Result<Segment, Exception> {
        let both = attr::L | attr::DB;
        let impossible = is_long(self.state) && descriptor.attributes() & both == both;
        if !allowed || impossible {
            return Err(protection(error_of(selector)));
        }
        if !descriptor.is_present() {
            return Err(not_present(selector));
        }
        let descriptor = self.note_accessed(selector, descriptor)?;
        Ok(descriptor.segment(selector & !3 | self.state.cpl))
    }

    fn check_offset(&self, cs: &Segment, offset: u64) -> Result<(), Exception> {
        let inside = if is_long(self.state) && cs.attributes & attr::L != 0 {
            is_canonical(self.state, offset)
        } else {
            offset <= cs.limit
        };
        if inside { Ok(()) } else { Err(protection(0)) }
    }

    /// The code segment behind a call gate, as CS at the privilege level there is, and its descriptor.
    fn gate_target(&mut self, gate: &Gate) -> Result<(Segment, Descriptor), Exception> {
        let descriptor = self.descriptor_not_null(gate.selector, protection)?;
        let long = is_long(self.state);
        let sized = !long || descriptor.attributes() & (attr::L | attr::DB) == attr::L;
        let allowed = descriptor.is_code() && descriptor.dpl() <= self.state.cpl && sized;
        let cs = self.code_segment(gate.selector, descriptor, allowed)?;
        self.check_offset(&cs, gate.offset)?;
        Ok((cs, descriptor))
    }

    fn call_gate(&mut self, gate: &Gate, shape: u64) -> Result<(), Exception> {
        let (mut cs, descriptor) = self.gate_target(gate)?;
        if descriptor.is_conforming() || descriptor.dpl() == self.state.cpl {
            let mut stack = Stack::current(self.state);
            if gate.size == 8 && !is_64(self.state) {
                stack = Stack::flat(
                    self.state.segments[seg::SS],
                    self.state.gpr[gpr::RSP],
                    self.state.cpl,
                );
            }
            let stack = self.push_return(stack, shape, gate.size)?;
            stack.commit_pointer(self.state);
            self.enter(cs, gate.offset);
            return Ok(());
        }
        let cpl = descriptor.dpl();
        let old = (
            self.state.segments[seg::SS].selector,
            self.state.gpr[gpr::RSP],
        );
        let mut stack = if gate.size == 8 {
            self.inner_stack64(cpl)?
        } else {
            self.inner_stack(cpl)?
        };
        let parameters = self.parameters(gate)?;
        self.push(&mut stack, old.0, gate.size)?;
        self.push(&mut stack, old.1, gate.size)?;
        for &word in parameters.iter().rev() {
            self.push(&mut stack, word, gate.size)?;
        }
        let stack = self.push_return(stack, shape, gate.size)?;
        stack.commit(self.state);
        self.state.cpl = cpl;
        cs.selector = cs.selector & !3 | cpl;
        self.enter(cs, gate.offset);
        Ok(())
    }

    /// What a call gate copies from the caller's stack, the lowest first.
    fn parameters(&mut self, gate: &Gate) -> Result<Vec<u64>, Exception> {
        if gate.size == 8 {
            return Ok(Vec::new());
        }
        let mut caller = Stack::current(self.state);
        (0..gate.count)
            .map(|_| self.pop(&mut caller, gate.size))
            .collect()
    }
}
