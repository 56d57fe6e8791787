//! IRET in every mode (Intel SDM 2A, "IRET").

use super::descriptor::{error_of, is_64, is_canonical, is_long, not_present};
use super::exception::protection;
use super::fields::{activity, attr, cr0, flag};
use super::rflags;
use super::segment::{pc_of, real_segment, v86_segment};
use super::stack::Stack;
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::state::{Segment, gpr, seg};
use vm_ir::eval::flags;

/// `iret`.
pub(super) fn iret(cpu: &mut Cpu<'_>, [shape, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let size = shape & 0xff;
    let before = cpu.state.system_flags;
    if cpu.state.cr0 & cr0::PE == 0 {
        cpu.iret_real(size)?;
    } else if rflags::is_v86(cpu.state) {
        if rflags::iopl(cpu.state) < 3 {
            return Err(protection(0));
        }
        cpu.iret_real(size)?;
    } else if cpu.state.system_flags & flag::NT != 0 {
        if is_long(cpu.state) {
            return Err(protection(0));
        }
        cpu.return_from_task(shape)?;
    } else {
        cpu.iret_protected(size)?;
    }
    cpu.state.activity &= !activity::NMI_BLOCKED;
    cpu.state.shadow = 0;
    super::debug::trap_behind(cpu.state, before);
    if !super::debug::keeps_resume(cpu.state) {
        cpu.state.system_flags &= !flag::RF;
    }
    cpu.env.state_changed();
    Ok(0)
}

/// Flags that every IRET loads.
const ALWAYS: u64 = flags::ALL | flag::DF | flag::TF | flag::NT | flag::RF | flag::AC | flag::ID;

impl Cpu<'_> {
    fn iret_real(&mut self, size: u64) -> Result<(), Exception> {
        let v86 = rflags::is_v86(self.state);
        let mut stack = Stack::current(self.state);
        let rip = self.pop(&mut stack, size)?;
        let selector = self.pop(&mut stack, size)? & 0xffff;
        let image = self.pop(&mut stack, size)?;
        if rip > self.state.segments[seg::CS].limit {
            return Err(protection(0));
        }
        let cs = if v86 {
            v86_segment(selector)
        } else {
            real_segment(&self.state.segments[seg::CS], selector)
        };
        self.state.segments[seg::CS] = cs;
        self.state.common.pc = pc_of(self.state, rip);
        stack.commit_pointer(self.state);
        let mut mask = ALWAYS | flag::IF;
        if !v86 {
            mask |= flag::IOPL;
        }
        rflags::change(self.state, image, mask & Self::image_mask(size));
        Ok(())
    }

    /// The bits of RFLAGS that an image of `size` bytes has.
    const fn image_mask(size: u64) -> u64 {
        if size == 2 { 0xffff } else { u64::MAX }
    }

    fn iret_protected(&mut self, size: u64) -> Result<(), Exception> {
        let mut stack = Stack::current(self.state);
        let rip = self.pop(&mut stack, size)?;
        let selector = self.pop(&mut stack, size)? & 0xffff;
        let image = self.pop(&mut stack, size)?;
        let cpl = self.state.cpl;
        if image & flag::VM != 0 && size == 4 && cpl == 0 && !is_long(self.state) {
            return self.iret_to_v86(stack, [rip, selector, image]);
        }
        let cs = self.return_target(selector, rip)?;
        let outer = selector & 3;
        let mut mask = ALWAYS & Self::image_mask(size);
        if cpl <= rflags::iopl(self.state) {
            mask |= flag::IF;
        }
        if cpl == 0 {
            mask |= flag::IOPL;
        }
        if outer != cpl || is_64(self.state) {
            let pointer = self.pop(&mut stack, size)?;
            let ss = self.pop(&mut stack, size)? & 0xffff;
            let to64 = cs.attributes & attr::L != 0 && is_long(self.state);
            let segment = self.outer_stack(ss, outer, to64)?;
            self.state.segments[seg::SS] = segment;
            let old = self.state.gpr[gpr::RSP];
            self.state.gpr[gpr::RSP] = if to64 || segment.attributes & attr::DB != 0 {
                pointer
            } else {
                old & !0xffff | pointer & 0xffff
            };
        } else {
            stack.commit_pointer(self.state);
        }
        self.state.segments[seg::CS] = cs;
        self.state.common.pc = pc_of(self.state, rip);
        if outer != cpl {
            self.state.cpl = outer;
            self.drop_inner_segments(outer);
        }
        rflags::change(self.state, image, mask);
        Ok(())
    }

    /// The stack segment of the level returned to.
    pub(super) fn outer_stack(
        &mut self,
        selector: u64,
        cpl: u64,
        to64: bool,
    ) -> Result<Segment, Exception> {
        if super::descriptor::is_null(selector) && to64 && cpl < 3 && selector & 3 == cpl {
            return Ok(Segment {
                attributes: cpl << attr::DPL_SHIFT,
                ..super::segment::null_segment(selector)
            });
        }
        if super::descriptor::is_null(selector) {
            return Err(protection(0));
        }
        self.stack_segment(selector, cpl, protection, protection)
    }

    /// The code segment that a return goes to, with `rip` checked in it (Intel SDM 2B, "RET").
    pub(super) fn return_target(&mut self, selector: u64, rip: u64) -> Result<Segment, Exception> {
        let target = self.descriptor_not_null(selector, protection)?;
        let fault = protection(error_of(selector));
        let rpl = selector & 3;
        let level = if target.is_conforming() {
            target.dpl() <= rpl
        } else {
            target.dpl() == rpl
        };
        if !target.is_code() || rpl < self.state.cpl || !level {
            return Err(fault);
        }
        let long = is_long(self.state);
        let both = attr::L | attr::DB;
        if long && target.attributes() & both == both {
            return Err(fault);
        }
        if !target.is_present() {
            return Err(not_present(selector));
        }
        let inside = if long && target.attributes() & attr::L != 0 {
            is_canonical(self.state, rip)
        } else {
            rip <= target.limit()
        };
        if !inside {
            return Err(protection(0));
        }
        let target = self.note_accessed(selector, target)?;
        Ok(target.segment(selector))
    }

    fn iret_to_v86(&mut self, stack: Stack, [rip, cs, image]: [u64; 3]) -> Result<(), Exception> {
        let mut stack = stack;
        let mut words = [0; 6];
        for word in &mut words {
            *word = self.pop(&mut stack, 4)?;
        }
        let [esp, ss, es, ds, fs, gs] = words;
        if rip > 0xffff {
            return Err(protection(0));
        }
        rflags::set(self.state, image);
        self.state.cpl = 3;
        for (n, selector) in [
            (seg::CS, cs),
            (seg::SS, ss),
            (seg::ES, es),
            (seg::DS, ds),
            (seg::FS, fs),
            (seg::GS, gs),
        ] {
            self.state.segments[n] = v86_segment(selector);
        }
        self.state.gpr[gpr::RSP] = esp;
        self.state.common.pc = pc_of(self.state, rip);
        Ok(())
    }
}
