//! Hardware task switches of protected mode (Intel SDM 3A, chapter 9).

use vm_core::AccessWidth;

use super::descriptor::{Descriptor, error_of, invalid_task, is_null, not_present, system};
use super::exception::protection;
use super::fields::{attr, cr0, cr4, flag};
use super::rflags;
use super::segment::{null_segment, pc_of, rip_of, v86_segment};
use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::state::{Segment, seg};

/// Why tasks are switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// JMP.
    Jump,
    /// CALL.
    Call,
    /// An interrupt or exception.
    Interrupt,
    /// IRET with NT set.
    Return,
}

/// Where a task-state segment of 32 or 16 bits has what (Intel SDM 3A, figures 9-2 and 9-10).
struct Format {
    word: u64,
    cr3: Option<u64>,
    ip: u64,
    flags: u64,
    registers: u64,
    segments: u64,
    segment_count: usize,
    ldt: u64,
    limit: u64,
}

const TSS32: Format = Format {
    word: 4,
    cr3: Some(0x1c),
    ip: 0x20,
    flags: 0x24,
    registers: 0x28,
    segments: 0x48,
    segment_count: 6,
    ldt: 0x60,
    limit: 0x67,
};

const TSS16: Format = Format {
    word: 2,
    cr3: None,
    ip: 0x0e,
    flags: 0x10,
    registers: 0x12,
    segments: 0x22,
    segment_count: 4,
    ldt: 0x2a,
    limit: 0x2b,
};

const fn format_of(kind: u64) -> &'static Format {
    if kind & 8 != 0 { &TSS32 } else { &TSS16 }
}

/// The order of segment registers in a task-state segment.
const SEGMENT_ORDER: [usize; 6] = [seg::ES, seg::CS, seg::SS, seg::DS, seg::FS, seg::GS];

/// What a task-state segment holds.
#[derive(Default)]
struct Image {
    cr3: Option<u64>,
    ip: u64,
    flags: u64,
    registers: [u64; 8],
    segments: [u64; 6],
    ldt: u64,
}

impl Format {
    const fn width(&self) -> AccessWidth {
        super::stack::width_of(self.word)
    }
}

impl Cpu<'_> {
    /// IRET from a nested task.
    pub(super) fn return_from_task(&mut self, shape: u64) -> Result<(), Exception> {
        let tr = self.state.tr;
        let link = self.read_system(tr.base, AccessWidth::Half)?;
        if link & 4 != 0 || is_null(link) {
            return Err(invalid_task(link));
        }
        let before = self.state.common.pc;
        self.state.common.pc = self.next_pc(shape);
        let switched = self.switch_task(link, Reason::Return);
        if switched.is_err() {
            self.state.common.pc = before;
        }
        switched
    }

    /// Switches to the task of a selector; the old task goes on at the program counter when it is switched to again.
    ///
    /// DEVIATION: faults of the new task's own segments are raised in the old one.
    pub(super) fn switch_task(&mut self, selector: u64, reason: Reason) -> Result<(), Exception> {
        let gone = if reason == Reason::Return {
            invalid_task
        } else {
            protection
        };
        if is_null(selector) || selector & 4 != 0 {
            return Err(gone(error_of(selector)));
        }
        let descriptor = self.descriptor(selector, gone)?;
        let wanted = if reason == Reason::Return {
            [system::TSS_BUSY, system::TSS16_BUSY]
        } else {
            [system::TSS, system::TSS16]
        };
        if descriptor.is_segment() || !wanted.contains(&descriptor.kind()) {
            return Err(gone(error_of(selector)));
        }
        if !descriptor.is_present() {
            return Err(not_present(selector));
        }
        let format = format_of(descriptor.kind());
        if descriptor.limit() < format.limit {
            return Err(invalid_task(selector));
        }
        let image = self.read_task(descriptor.base(), format)?;
        self.save_task(reason)?;
        if reason != Reason::Return {
            let busy = Descriptor(descriptor.0 | 2 << 40);
            self.write_type(selector, busy)?;
        }
        let old = self.state.tr.selector;
        let nested = matches!(reason, Reason::Call | Reason::Interrupt);
        if nested {
            self.write_system(descriptor.base(), AccessWidth::Half, old)?;
        }
        self.state.tr = Segment {
            attributes: descriptor.attributes() | 2,
            ..descriptor.segment(selector)
        };
        self.enter_task(&image, format, nested)
    }

    fn read_task(&mut self, base: u64, format: &Format) -> Result<Image, Exception> {
        let width = format.width();
        let mut image = Image {
            ip: self.read_system(base + format.ip, width)?,
            flags: self.read_system(base + format.flags, width)?,
            ldt: self.read_system(base + format.ldt, AccessWidth::Half)?,
            ..Image::default()
        };
        if let Some(offset) = format.cr3 {
            image.cr3 = Some(self.read_system(base + offset, width)?);
        }
        for (n, register) in image.registers.iter_mut().enumerate() {
            *register =
                self.read_system(base + format.registers + format.word * n as u64, width)?;
        }
        for n in 0..format.segment_count {
            let at = base + format.segments + format.word * n as u64;
            image.segments[n] = self.read_system(at, AccessWidth::Half)?;
        }
        Ok(image)
    }

    /// Writes the state of the running task to its segment, and takes its busy mark away where it ends.
    fn save_task(&mut self, reason: Reason) -> Result<(), Exception> {
        let tr = self.state.tr;
        let format = format_of(tr.attributes & attr::TYPE);
        let width = format.width();
        let mut flags = rflags::get(self.state);
        if reason == Reason::Return {
            flags &= !flag::NT;
        }
        let ip = rip_of(self.state, self.state.common.pc);
        self.write_system(tr.base.wrapping_add(format.ip), width, ip)?;
        self.write_system(tr.base.wrapping_add(format.flags), width, flags)?;
        for n in 0..8 {
            let at = tr
                .base
                .wrapping_add(format.registers + format.word * n as u64);
            self.write_system(at, width, self.state.gpr[n])?;
        }
        for (n, &segment) in SEGMENT_ORDER.iter().enumerate().take(format.segment_count) {
            let at = tr
                .base
                .wrapping_add(format.segments + format.word * n as u64);
            let selector = self.state.segments[segment].selector;
            self.write_system(at, AccessWidth::Half, selector)?;
        }
        if matches!(reason, Reason::Jump | Reason::Return)
            && let Some(addr) = self.descriptor_addr(tr.selector, 8)
        {
            let kind = self.read_system(addr.wrapping_add(5), AccessWidth::Byte)?;
            self.write_system(addr.wrapping_add(5), AccessWidth::Byte, kind & !2)?;
        }
        Ok(())
    }

    /// Loads the registers of a task.
    fn enter_task(
        &mut self,
        image: &Image,
        format: &Format,
        nested: bool,
    ) -> Result<(), Exception> {
        if let Some(cr3) = image.cr3
            && self.state.cr0 & cr0::PG != 0
        {
            self.load_cr3(cr3 & 0xffff_ffff)?;
        }
        let nested = if nested { flag::NT } else { 0 };
        rflags::set(self.state, image.flags | nested);
        for (n, &register) in image.registers.iter().enumerate() {
            self.state.gpr[n] = match format.word {
                2 => self.state.gpr[n] & !0xffff | register,
                _ => register,
            };
        }
        self.state.cr0 |= cr0::TS;
        self.state.dr[7] &= !0x155;
        self.load_task_segments(image)?;
        let cs = self.state.segments[seg::CS];
        self.state.common.pc = pc_of(self.state, image.ip);
        self.state.shadow = 0;
        self.env.state_changed();
        if image.ip > cs.limit {
            Err(protection(0))
        } else {
            Ok(())
        }
    }

    fn load_task_segments(&mut self, image: &Image) -> Result<(), Exception> {
        self.state.ldtr = null_segment(image.ldt);
        if !is_null(image.ldt) {
            let descriptor = self.descriptor(image.ldt, invalid_task)?;
            if descriptor.is_segment() || descriptor.kind() != system::LDT {
                return Err(invalid_task(image.ldt));
            }
            if !descriptor.is_present() {
                return Err(invalid_task(image.ldt));
            }
            self.state.ldtr = descriptor.segment(image.ldt);
        }
        if image.flags & flag::VM != 0 {
            self.state.cpl = 3;
            for (n, &segment) in SEGMENT_ORDER.iter().enumerate() {
                self.state.segments[segment] = v86_segment(image.segments[n]);
            }
            return Ok(());
        }
        let [_, cs, ss, ..] = image.segments;
        let cpl = cs & 3;
        let code = self.descriptor_not_null(cs, invalid_task)?;
        let level = if code.is_conforming() {
            code.dpl() <= cpl
        } else {
            code.dpl() == cpl
        };
        if !code.is_code() || !level {
            return Err(invalid_task(cs));
        }
        if !code.is_present() {
            return Err(not_present(cs));
        }
        let code = self.note_accessed(cs, code)?;
        self.state.segments[seg::CS] = code.segment(cs);
        self.state.cpl = cpl;
        let stack = self.stack_segment(ss, cpl, invalid_task, invalid_task)?;
        self.state.segments[seg::SS] = stack;
        for n in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let selector = image.segments[n];
            let loaded = self.data_segment(selector).map_err(|fault| match fault {
                fault if fault == protection(error_of(selector)) => invalid_task(selector),
                fault => fault,
            })?;
            self.state.segments[n] = loaded;
        }
        Ok(())
    }
}

/// `load_ldt`: LLDT.
pub(super) fn load_ldt(cpu: &mut Cpu<'_>, [selector, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let selector = selector & 0xffff;
    if is_null(selector) {
        cpu.state.ldtr = null_segment(selector);
        return Ok(0);
    }
    cpu.state.ldtr = cpu.system_segment(selector, &[system::LDT])?;
    Ok(0)
}

/// `load_task`: LTR.
pub(super) fn load_task(cpu: &mut Cpu<'_>, [selector, _, _]: [u64; 3]) -> Result<u64, Exception> {
    let selector = selector & 0xffff;
    if is_null(selector) {
        return Err(protection(0));
    }
    let long = super::descriptor::is_long(cpu.state);
    let kinds: &[u64] = if long {
        &[system::TSS]
    } else {
        &[system::TSS, system::TSS16]
    };
    let mut segment = cpu.system_segment(selector, kinds)?;
    segment.attributes |= 2;
    if let Some(addr) = cpu.descriptor_addr(selector, 8) {
        let byte = segment.attributes & 0xff;
        cpu.write_system(addr.wrapping_add(5), AccessWidth::Byte, byte)?;
    }
    cpu.state.tr = segment;
    Ok(0)
}

impl Cpu<'_> {
    /// The register of a system segment of one of the types, in the global table.
    fn system_segment(&mut self, selector: u64, kinds: &[u64]) -> Result<Segment, Exception> {
        let fault = protection(error_of(selector));
        if selector & 4 != 0 {
            return Err(fault);
        }
        let descriptor = self.descriptor(selector, protection)?;
        if descriptor.is_segment() || !kinds.contains(&descriptor.kind()) {
            return Err(fault);
        }
        let upper = if super::descriptor::is_long(self.state) {
            self.descriptor_upper(selector)?
        } else {
            0
        };
        if !descriptor.is_present() {
            return Err(not_present(selector));
        }
        let mut segment = descriptor.segment(selector);
        segment.base |= upper;
        if !super::descriptor::is_held(self.config, segment.base) {
            return Err(fault);
        }
        Ok(segment)
    }
}

/// Whether selectors of system registers are told (Intel SDM 2B, "SLDT"; 3A, 2.5, UMIP).
fn check_umip(cpu: &Cpu<'_>) -> Result<(), Exception> {
    if cpu.state.cr4 & cr4::UMIP != 0 && cpu.state.cpl != 0 {
        return Err(protection(0));
    }
    Ok(())
}

/// `store_ldt`: SLDT.
pub(super) fn store_ldt(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    check_umip(cpu)?;
    Ok(cpu.state.ldtr.selector)
}

/// `store_task`: STR.
pub(super) fn store_task(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    check_umip(cpu)?;
    Ok(cpu.state.tr.selector)
}

/// `smsw`.
pub(super) fn smsw(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    check_umip(cpu)?;
    Ok(cpu.state.cr0)
}

/// `load_table`: LGDT and LIDT. Which, base, limit.
pub(super) fn load_table(
    cpu: &mut Cpu<'_>,
    [which, base, limit]: [u64; 3],
) -> Result<u64, Exception> {
    if super::descriptor::is_64(cpu.state) && !super::descriptor::is_held(cpu.config, base) {
        return Err(protection(0));
    }
    let limit = limit & 0xffff;
    let table = if which == 0 {
        &mut cpu.state.gdtr
    } else {
        &mut cpu.state.idtr
    };
    (table.base, table.limit) = (base, limit);
    Ok(0)
}

/// `store_table`: SGDT and SIDT. Which, then 0 for the limit and 1 for the base.
pub(super) fn store_table(
    cpu: &mut Cpu<'_>,
    [which, field, _]: [u64; 3],
) -> Result<u64, Exception> {
    check_umip(cpu)?;
    let table = if which == 0 {
        &cpu.state.gdtr
    } else {
        &cpu.state.idtr
    };
    Ok(if field == 0 { table.limit } else { table.base })
}
