//! Descriptors and the tables that they are in (Intel SDM 3A, 3.4.5, 3.5 and 6.14.1 to 8.2).

use vm_core::AccessWidth;

use super::exception::{exception, protection};
use super::fields::{attr, cr0, efer, flag, vector};
use crate::guest::{Exception, View};
use crate::x86::cpu::{CpuConfig, Feature};
use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, Segment, seg};

/// An eight-byte descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptor(pub(super) u64);

/// Types of system descriptors (Intel SDM 3A, table 3-2).
pub(super) mod system {
    pub(in super::super) const TSS16: u64 = 1;
    pub(in super::super) const LDT: u64 = 2;
    pub(in super::super) const TSS16_BUSY: u64 = 3;
    pub(in super::super) const CALL_GATE16: u64 = 4;
    pub(in super::super) const TASK_GATE: u64 = 5;
    pub(in super::super) const INTERRUPT_GATE16: u64 = 6;
    pub(in super::super) const TRAP_GATE16: u64 = 7;
    /// In long mode the only available TSS.
    pub(in super::super) const TSS: u64 = 9;
    pub(in super::super) const TSS_BUSY: u64 = 11;
    /// In long mode the only call gate.
    pub(in super::super) const CALL_GATE: u64 = 12;
    pub(in super::super) const INTERRUPT_GATE: u64 = 14;
    pub(in super::super) const TRAP_GATE: u64 = 15;
}

impl Descriptor {
    pub(super) const fn base(self) -> u64 {
        self.0 >> 16 & 0xff_ffff | self.0 >> 32 & 0xff00_0000
    }

    /// In bytes.
    pub(super) const fn limit(self) -> u64 {
        let raw = self.0 & 0xffff | self.0 >> 32 & 0xf_0000;
        if self.attributes() & attr::G != 0 {
            raw << 12 | 0xfff
        } else {
            raw
        }
    }

    /// As [`Segment::attributes`].
    pub(super) const fn attributes(self) -> u64 {
        self.0 >> 40 & 0xf0ff
    }

    pub(super) const fn kind(self) -> u64 {
        self.attributes() & attr::TYPE
    }

    pub(super) const fn dpl(self) -> u64 {
        self.attributes() >> attr::DPL_SHIFT & 3
    }

    pub(super) const fn is_present(self) -> bool {
        self.attributes() & attr::P != 0
    }

    /// Code or data.
    pub(super) const fn is_segment(self) -> bool {
        self.attributes() & attr::S != 0
    }

    pub(super) const fn is_code(self) -> bool {
        self.is_segment() && self.kind() & attr::CODE != 0
    }

    pub(super) const fn is_conforming(self) -> bool {
        self.is_code() && self.kind() & attr::DOWN_OR_CONFORMING != 0
    }

    /// Data that can be written.
    pub(super) const fn is_writable(self) -> bool {
        self.is_segment() && self.kind() & (attr::CODE | attr::WRITE_OR_READ) == attr::WRITE_OR_READ
    }

    /// Data, or code that can be read.
    pub(super) const fn is_readable(self) -> bool {
        self.is_segment()
            && (self.kind() & attr::CODE == 0 || self.kind() & attr::WRITE_OR_READ != 0)
    }

    /// The register that holds it.
    pub(super) const fn segment(self, selector: u64) -> Segment {
        Segment {
            base: self.base(),
            limit: self.limit(),
            selector,
            attributes: self.attributes(),
        }
    }
}

/// Whether a selector means no descriptor.
pub(super) const fn is_null(selector: u64) -> bool {
    selector & 0xfffc == 0
}

/// What an error code says of a selector.
pub(super) const fn error_of(selector: u64) -> u64 {
    selector & 0xfffc
}

/// #NP of a selector.
pub(super) const fn not_present(selector: u64) -> Exception {
    exception(vector::NP, error_of(selector))
}

/// #SS of a selector, or of none (0).
pub(super) const fn stack_fault(selector: u64) -> Exception {
    exception(vector::SS, error_of(selector))
}

/// #TS of a selector.
pub(super) const fn invalid_task(selector: u64) -> Exception {
    exception(vector::TS, error_of(selector))
}

/// Whether segments have descriptors: protected mode, and not virtual-8086 mode.
pub(super) fn has_descriptors(state: &CpuState) -> bool {
    state.cr0 & cr0::PE != 0 && state.system_flags & flag::VM == 0
}

/// Whether long mode is on, 64-bit mode or compatibility mode.
pub(super) fn is_long(state: &CpuState) -> bool {
    state.efer & efer::LMA != 0
}

/// Whether 64-bit code runs.
pub(super) fn is_64(state: &CpuState) -> bool {
    is_long(state) && state.segments[seg::CS].attributes & attr::L != 0
}

/// The rights of accesses at a privilege level.
pub(super) const fn view_of(cpl: u64) -> View {
    if cpl == 3 {
        View::User
    } else {
        View::Supervisor
    }
}

/// Whether an address can be one in long mode (Intel SDM 1, 3.3.7.1).
pub(super) fn is_canonical(state: &CpuState, addr: u64) -> bool {
    fits(addr, state.cr4 & super::fields::cr4::LA57 != 0)
}

/// Whether a register that holds an address takes it: by the widest addresses that the processor can have, whatever CR4.LA57
/// says (Intel, "5-Level Paging and 5-Level EPT", 2.2).
pub(super) fn is_held(config: &CpuConfig, addr: u64) -> bool {
    fits(addr, config.has(Feature::La57))
}

fn fits(addr: u64, five_levels: bool) -> bool {
    let unused = if five_levels { 7 } else { 16 };
    (addr as i64) << unused >> unused == addr as i64
}

impl Cpu<'_> {
    /// A linear address as the mode has them.
    pub(super) fn linear(&self, addr: u64) -> u64 {
        if is_long(self.state) {
            addr
        } else {
            addr & 0xffff_ffff
        }
    }

    /// Reads what the processor itself reads of its tables.
    pub(super) fn read_system(&mut self, addr: u64, width: AccessWidth) -> Result<u64, Exception> {
        let addr = self.linear(addr);
        self.env.load(self.state, addr, width, View::Supervisor)
    }

    /// Writes to the processor's tables.
    pub(super) fn write_system(
        &mut self,
        addr: u64,
        width: AccessWidth,
        value: u64,
    ) -> Result<(), Exception> {
        let addr = self.linear(addr);
        self.env
            .store(self.state, addr, width, value, View::Supervisor)
    }

    /// Where the descriptor of a selector is, if its `bytes` bytes lie within the table.
    pub(super) fn descriptor_addr(&self, selector: u64, bytes: u64) -> Option<u64> {
        let (base, limit) = if selector & 4 == 0 {
            (self.state.gdtr.base, self.state.gdtr.limit)
        } else {
            let ldtr = &self.state.ldtr;
            if ldtr.attributes & attr::P == 0 {
                return None;
            }
            (ldtr.base, ldtr.limit)
        };
        let offset = selector & 0xfff8;
        (offset + bytes - 1 <= limit).then(|| base.wrapping_add(offset))
    }

    /// The descriptor of a selector that is not null; `fault` with the selector when it is outside of its table.
    pub(super) fn descriptor(
        &mut self,
        selector: u64,
        fault: fn(u64) -> Exception,
    ) -> Result<Descriptor, Exception> {
        let addr = self
            .descriptor_addr(selector, 8)
            .ok_or(fault(error_of(selector)))?;
        self.read_system(addr, AccessWidth::Double).map(Descriptor)
    }

    /// The descriptor of a selector, null ones being `fault(0)`.
    pub(super) fn descriptor_not_null(
        &mut self,
        selector: u64,
        fault: fn(u64) -> Exception,
    ) -> Result<Descriptor, Exception> {
        if is_null(selector) {
            return Err(fault(0));
        }
        self.descriptor(selector, fault)
    }

    /// The upper half of a 16-byte system descriptor in long mode: address bits 32 to 63. Its type must be zero.
    pub(super) fn descriptor_upper(&mut self, selector: u64) -> Result<u64, Exception> {
        let fault = protection(error_of(selector));
        let addr = self.descriptor_addr(selector, 16).ok_or(fault)?;
        let upper = self.read_system(addr.wrapping_add(8), AccessWidth::Double)?;
        if upper >> 40 & 0x1f != 0 {
            return Err(fault);
        }
        Ok(upper << 32)
    }

    /// Sets the accessed bit of a descriptor of code or data; gives the descriptor with it.
    pub(super) fn note_accessed(
        &mut self,
        selector: u64,
        descriptor: Descriptor,
    ) -> Result<Descriptor, Exception> {
        let accessed = attr::ACCESSED << 40;
        if descriptor.0 & accessed != 0 {
            return Ok(descriptor);
        }
        let descriptor = Descriptor(descriptor.0 | accessed);
        self.write_type(selector, descriptor)?;
        Ok(descriptor)
    }

    /// Writes a descriptor's byte with its type back.
    pub(super) fn write_type(
        &mut self,
        selector: u64,
        descriptor: Descriptor,
    ) -> Result<(), Exception> {
        match self.descriptor_addr(selector, 8) {
            Some(addr) => {
                let byte = descriptor.attributes() & 0xff;
                self.write_system(addr.wrapping_add(5), AccessWidth::Byte, byte)
            }
            None => Ok(()),
        }
    }
}
