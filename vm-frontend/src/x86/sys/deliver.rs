//! Delivery of interrupts and exceptions (Intel SDM 3A, 7.11 to 7.14, 22.1.4 and 22.3).

use iced_x86::{Decoder, DecoderOptions, OpKind, Register};
use vm_core::{AccessWidth, GuestVirtAddr, Shutdown, Undelivered};

use super::descriptor::{
    Descriptor, has_descriptors, invalid_task, is_canonical, is_long, is_null, not_present,
    stack_fault, system, view_of,
};
use super::exception::{self, Class, exception as make, protection};
use super::fields::{activity, attr, cr0, flag, shadow, vector};
use super::rflags;
use super::segment::{null_segment, real_segment, rip_of};
use super::stack::{Stack, width_of};
use super::task::Reason;
use crate::guest::{Exception, Raised};
use crate::x86::helpers::Cpu;
use crate::x86::state::{Segment, gpr, seg};

/// Bytes of an instruction at most.
const LONGEST_INSN: usize = 15;

/// Where an event came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// An exception, or INT1.
    Exception,
    /// An interrupt from outside, or NMI.
    External,
    /// INT n.
    Int,
    /// INT3 or INTO.
    Trap,
}

/// Something that is delivered through the interrupt table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) vector: u8,
    pub(super) error: Option<u64>,
    pub(super) source: Source,
    /// The linear address to come back to.
    pub(super) pc: u64,
    /// RF in the flags that are pushed.
    pub(super) resume: bool,
}

impl Event {
    fn is_software(&self) -> bool {
        matches!(self.source, Source::Int | Source::Trap)
    }

    /// The EXT bit of error codes that come of its delivery (Intel SDM 3A, 7.13).
    fn ext(&self) -> u64 {
        u64::from(!self.is_software())
    }
}

/// Delivers an exception of the instruction at the program counter, and what comes of that.
pub(super) fn raise(cpu: &mut Cpu<'_>, exception: Exception) -> Raised {
    if exception == exception::WRAPPED {
        cpu.state.common.pc &= 0xffff_ffff;
        cpu.env.state_changed();
        return Raised::Taken;
    }
    let exception = if exception == exception::NOT_CANONICAL && cpu.means_stack() {
        stack_fault(0)
    } else {
        exception
    };
    // What the instruction had hit is hit again when it is run again; what waits behind MOV SS goes on waiting.
    if cpu.state.shadow & shadow::DEBUG == 0 {
        cpu.state.pending_debug = 0;
    }
    let event = event_of(cpu, exception);
    settle(cpu, event, Some(exception))
}

/// The event that an exception is.
fn event_of(cpu: &mut Cpu<'_>, exception: Exception) -> Event {
    let vector = exception::vector_of(exception);
    match vector {
        vector::PF => cpu.state.cr2 = exception.value,
        vector::DB => super::debug::note(cpu.state, exception.value),
        _ => {}
    }
    Event {
        vector,
        error: exception::error_code(exception),
        source: Source::Exception,
        pc: cpu.state.common.pc,
        // Instruction breakpoints are the one fault that does not set it (Intel SDM 3A, 19.3.1.1).
        resume: vector != vector::DB,
    }
}

/// Delivers an event, then what comes of that, up to the shutdown (Intel SDM 3A, table 7-5). `first` is the exception that
/// it is, if it is one.
pub(super) fn settle(cpu: &mut Cpu<'_>, event: Event, first: Option<Exception>) -> Raised {
    let begun = undelivered(&event);
    let mut event = event;
    let mut class = first.map_or(Class::Benign, exception::class);
    loop {
        let second = match cpu.deliver(&event) {
            Ok(()) => return Raised::Taken,
            Err(second) => second,
        };
        let next = match (class, exception::class(second)) {
            (Class::Double, Class::Benign) => second,
            (Class::Double, _) => {
                return Raised::Shutdown(Shutdown {
                    pc: GuestVirtAddr(event.pc),
                    first: begun,
                    last: undelivered(&event_of(cpu, second)),
                    is_reset: cpu.state.idtr.limit == 0,
                });
            }
            (Class::Contributory, Class::Contributory)
            | (Class::PageFault, Class::Contributory | Class::PageFault) => make(vector::DF, 0),
            _ => second,
        };
        class = exception::class(next);
        let pc = event.pc;
        event = Event {
            pc,
            ..event_of(cpu, next)
        };
    }
}

fn undelivered(event: &Event) -> Undelivered {
    Undelivered {
        vector: event.vector,
        error: event.error.map(|error| error as u32),
    }
}

/// `interrupt`: INT n, INT3, INTO, INT1.
pub(super) fn interrupt(
    cpu: &mut Cpu<'_>,
    [number, shape, kind]: [u64; 3],
) -> Result<u64, Exception> {
    let source = match kind {
        0 => Source::Int,
        INT1 => Source::Exception,
        _ => Source::Trap,
    };
    if kind == 0 && rflags::is_v86(cpu.state) && rflags::iopl(cpu.state) < 3 {
        return Err(protection(0));
    }
    let event = Event {
        vector: number as u8,
        error: None,
        source,
        pc: cpu.next_pc(shape),
        resume: false,
    };
    cpu.deliver(&event)?;
    if kind == INT1 {
        // What waits behind MOV SS is told with it.
        let why = std::mem::take(&mut cpu.state.pending_debug);
        if why != 0 {
            super::debug::note(cpu.state, why);
        }
    }
    Ok(0)
}

/// The kind of event that INT1 is.
const INT1: u64 = 3;

/// SS after a change to an inner privilege level in long mode.
const fn inner_null(cpl: u64) -> Segment {
    Segment {
        attributes: cpl << attr::DPL_SHIFT,
        ..null_segment(cpl)
    }
}

impl Cpu<'_> {
    /// Whether the instruction at the program counter, which has accessed an address that is not canonical, means the
    /// stack by it.
    fn means_stack(&mut self) -> bool {
        let pc = self.state.common.pc;
        let mut bytes = Vec::with_capacity(LONGEST_INSN);
        while bytes.len() < LONGEST_INSN {
            let at = pc.wrapping_add(bytes.len() as u64);
            let width = AccessWidth::Byte;
            match self
                .env
                .load(self.state, at, width, view_of(self.state.cpl))
            {
                Ok(byte) => bytes.push(byte as u8),
                Err(_) => break,
            }
        }
        let insn = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
        let below = self.state.gpr[gpr::RSP].wrapping_sub(8);
        let stack_is_bad =
            !is_canonical(self.state, self.state.gpr[gpr::RSP]) || !is_canonical(self.state, below);
        let by_operand = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory)
            && insn.memory_segment() == Register::SS;
        by_operand || insn.is_stack_instruction() && stack_is_bad
    }

    /// The linear address behind the running instruction.
    pub(super) fn next_pc(&self, shape: u64) -> u64 {
        self.linear(self.state.common.pc.wrapping_add(shape >> 8 & 0xff))
    }

    /// Delivers an event. When it fails nothing has changed but memory below the stack.
    fn deliver(&mut self, event: &Event) -> Result<(), Exception> {
        let delivered = if self.state.cr0 & cr0::PE == 0 {
            self.deliver_real(event)
        } else {
            self.deliver_protected(event)
        };
        delivered.map_err(|fault| match exception::vector_of(fault) {
            vector::TS | vector::NP | vector::SS | vector::GP => Exception {
                value: fault.value | event.ext(),
                ..fault
            },
            _ => fault,
        })?;
        self.state.shadow = 0;
        self.state.activity &= !activity::HALTED;
        self.env.state_changed();
        Ok(())
    }

    /// The flags that delivering pushes.
    fn pushed_flags(&self, event: &Event) -> u64 {
        let kept = rflags::get(self.state) & !flag::RF;
        let resume = event.resume || super::debug::keeps_resume(self.state);
        kept | if resume { flag::RF } else { 0 }
    }

    fn deliver_real(&mut self, event: &Event) -> Result<(), Exception> {
        let at = 4 * u64::from(event.vector);
        if at + 3 > self.state.idtr.limit {
            return Err(protection(2 * at + 2));
        }
        let target = self.read_system(self.state.idtr.base.wrapping_add(at), AccessWidth::Word)?;
        let mut stack = Stack::current(self.state);
        let flags = rflags::get(self.state);
        let selector = self.state.segments[seg::CS].selector;
        self.push(&mut stack, flags, 2)?;
        self.push(&mut stack, selector, 2)?;
        self.push(&mut stack, rip_of(self.state, event.pc), 2)?;
        stack.commit_pointer(self.state);
        let cs = real_segment(&self.state.segments[seg::CS], target >> 16);
        self.state.segments[seg::CS] = cs;
        self.state.common.pc = cs.base.wrapping_add(target & 0xffff);
        self.state.system_flags &= !(flag::IF | flag::TF | flag::AC | flag::RF);
        Ok(())
    }

    fn deliver_protected(&mut self, event: &Event) -> Result<(), Exception> {
        let long = is_long(self.state);
        let bytes = if long { 16 } else { 8 };
        let at = bytes * u64::from(event.vector);
        let told = 8 * u64::from(event.vector) + 2;
        if at + bytes - 1 > self.state.idtr.limit {
            return Err(protection(told));
        }
        let addr = self.state.idtr.base.wrapping_add(at);
        let gate = Descriptor(self.read_system(addr, AccessWidth::Double)?);
        let upper = if long {
            self.read_system(addr.wrapping_add(8), AccessWidth::Double)?
        } else {
            0
        };
        let kind = gate.kind();
        let known = match kind {
            system::INTERRUPT_GATE | system::TRAP_GATE => true,
            system::TASK_GATE | system::INTERRUPT_GATE16 | system::TRAP_GATE16 => !long,
            _ => false,
        };
        if !known || gate.is_segment() || event.is_software() && gate.dpl() < self.state.cpl {
            return Err(protection(told));
        }
        if !gate.is_present() {
            return Err(make(vector::NP, told));
        }
        let selector = gate.0 >> 16 & 0xffff;
        if kind == system::TASK_GATE {
            return self.deliver_task(event, selector);
        }
        let target = self.descriptor_not_null(selector, protection)?;
        let wrong_size = long && target.attributes() & (attr::L | attr::DB) != attr::L;
        if !target.is_code() || target.dpl() > self.state.cpl || wrong_size {
            return Err(protection(super::descriptor::error_of(selector)));
        }
        if !target.is_present() {
            return Err(not_present(selector));
        }
        let target = self.note_accessed(selector, target)?;
        let cpl = if target.is_conforming() {
            self.state.cpl
        } else {
            target.dpl()
        };
        let wide = kind & 8 != 0;
        let mut offset = gate.0 & 0xffff | upper << 32;
        if wide {
            offset |= gate.0 >> 32 & 0xffff_0000;
        }
        if long {
            self.frame64(event, cpl, gate.0 >> 32 & 7)?;
        } else {
            if offset > target.limit() {
                return Err(protection(0));
            }
            self.frame32(event, cpl, selector, if wide { 4 } else { 2 })?;
        }
        let cs = target.segment(selector & !3 | cpl);
        self.state.segments[seg::CS] = cs;
        self.state.cpl = cpl;
        self.state.common.pc = super::segment::pc_of(self.state, offset);
        let masked = if kind & 1 == 0 { flag::IF } else { 0 };
        self.state.system_flags &= !(masked | flag::TF | flag::NT | flag::RF | flag::VM);
        Ok(())
    }

    /// Pushes the frame of long mode.
    fn frame64(&mut self, event: &Event, cpl: u64, ist: u64) -> Result<(), Exception> {
        let outer = cpl < self.state.cpl;
        let pointer = if ist != 0 {
            self.task_word64(0x24 + 8 * (ist - 1))?
        } else if outer {
            self.task_word64(4 + 8 * cpl)?
        } else {
            self.state.gpr[gpr::RSP]
        };
        let old = self.state.segments[seg::SS];
        let ss = if outer { inner_null(cpl) } else { old };
        let mut stack = Stack::flat(ss, pointer & !0xf, cpl);
        let rip = rip_of(self.state, event.pc);
        let words = [
            old.selector,
            self.state.gpr[gpr::RSP],
            self.pushed_flags(event),
            self.state.segments[seg::CS].selector,
            rip,
        ];
        for word in words.into_iter().chain(event.error) {
            self.push(&mut stack, word, 8)?;
        }
        stack.commit(self.state);
        Ok(())
    }

    /// Pushes the frame of protected mode, `size` bytes a word.
    fn frame32(
        &mut self,
        event: &Event,
        cpl: u64,
        selector: u64,
        size: u64,
    ) -> Result<(), Exception> {
        let v86 = rflags::is_v86(self.state);
        if v86 && cpl != 0 {
            return Err(protection(super::descriptor::error_of(selector)));
        }
        let outer = cpl < self.state.cpl;
        let mut stack = if outer {
            self.inner_stack(cpl)?
        } else {
            Stack::current(self.state)
        };
        let rip = rip_of(self.state, event.pc);
        if outer {
            if v86 {
                for n in [seg::GS, seg::FS, seg::DS, seg::ES] {
                    self.push(&mut stack, self.state.segments[n].selector, size)?;
                }
            }
            self.push(&mut stack, self.state.segments[seg::SS].selector, size)?;
            self.push(&mut stack, self.state.gpr[gpr::RSP], size)?;
        }
        let words = [
            self.pushed_flags(event),
            self.state.segments[seg::CS].selector,
            rip,
        ];
        for word in words.into_iter().chain(event.error) {
            self.push(&mut stack, word, size)?;
        }
        if outer {
            stack.commit(self.state);
        } else {
            stack.commit_pointer(self.state);
        }
        if v86 {
            for n in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.state.segments[n] = null_segment(0);
            }
        }
        Ok(())
    }

    /// A word of the 64-bit task-state segment.
    fn task_word64(&mut self, offset: u64) -> Result<u64, Exception> {
        let tr = self.state.tr;
        if offset + 7 > tr.limit {
            return Err(invalid_task(tr.selector));
        }
        let pointer = self.read_system(tr.base.wrapping_add(offset), AccessWidth::Double)?;
        if !is_canonical(self.state, pointer) {
            return Err(stack_fault(0));
        }
        Ok(pointer)
    }

    /// The stack of an inner privilege level, from the task-state segment (Intel SDM 3A, 6.8.5).
    pub(super) fn inner_stack(&mut self, cpl: u64) -> Result<Stack, Exception> {
        let tr = self.state.tr;
        let wide = tr.attributes & attr::TYPE & 8 != 0;
        let size = if wide { 4 } else { 2 };
        let offset = size + 2 * size * cpl;
        if offset + size + 1 > tr.limit {
            return Err(invalid_task(tr.selector));
        }
        let at = tr.base.wrapping_add(offset);
        let pointer = self.read_system(at, width_of(size))?;
        let selector = self.read_system(at.wrapping_add(size), AccessWidth::Half)?;
        if is_null(selector) {
            return Err(invalid_task(0));
        }
        let segment = self.stack_segment(selector, cpl, invalid_task, invalid_task)?;
        Ok(Stack::in_segment(segment, pointer, cpl))
    }

    /// The same in long mode.
    pub(super) fn inner_stack64(&mut self, cpl: u64) -> Result<Stack, Exception> {
        let pointer = self.task_word64(4 + 8 * cpl)?;
        Ok(Stack::flat(inner_null(cpl), pointer, cpl))
    }

    /// Delivers through a task gate.
    fn deliver_task(&mut self, event: &Event, selector: u64) -> Result<(), Exception> {
        self.state.common.pc = event.pc;
        self.switch_task(selector, Reason::Interrupt)?;
        if let Some(error) = event.error {
            let size = if self.state.tr.attributes & attr::TYPE & 8 != 0 {
                4
            } else {
                2
            };
            let mut stack = Stack::current(self.state);
            self.push(&mut stack, error, size)?;
            stack.commit_pointer(self.state);
        }
        debug_assert!(has_descriptors(self.state) || rflags::is_v86(self.state));
        Ok(())
    }
}
