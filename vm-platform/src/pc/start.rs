//! The state in which a boot plan wants the boot processor.

use vm_boot::x86::{EntryState, SegmentState, TableRegister};
use vm_frontend::x86::state::{Segment, Table};
use vm_frontend::x86::sys::Entry;

/// A plan's entry in the front end's terms.
pub(super) fn entry(plan: &EntryState) -> Entry {
    let general = plan.general;
    Entry {
        gpr: [
            general.rax,
            general.rcx,
            general.rdx,
            general.rbx,
            general.rsp,
            general.rbp,
            general.rsi,
            general.rdi,
            general.r8,
            general.r9,
            general.r10,
            general.r11,
            general.r12,
            general.r13,
            general.r14,
            general.r15,
        ],
        rip: plan.rip,
        rflags: plan.rflags,
        cr0: plan.cr0,
        cr3: plan.cr3,
        cr4: plan.cr4,
        efer: plan.efer,
        gdtr: table(plan.gdt),
        idtr: table(plan.idt),
        code: segment(plan.cs),
        data: segment(plan.data),
        task: segment(plan.tr),
        local: segment(plan.ldtr),
    }
}

fn table(from: TableRegister) -> Table {
    Table {
        base: from.base,
        limit: from.limit.into(),
    }
}

/// The front end leaves the four bits of the limit between both halves of the attributes, as a descriptor does.
fn segment(from: SegmentState) -> Segment {
    let attributes = u64::from(from.attributes);
    Segment {
        base: from.base,
        limit: from.limit.into(),
        selector: from.selector.into(),
        attributes: attributes & 0xff | attributes << 4 & 0xf000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_attributes_are_where_a_descriptor_has_them() {
        // 64-bit code: present, readable, accessed, L and G.
        let code = segment(SegmentState {
            selector: 0x10,
            base: 0,
            limit: u32::MAX,
            attributes: 0xa9b,
        });
        assert_eq!((code.selector, code.limit), (0x10, 0xffff_ffff));
        assert_eq!(code.attributes, 0xa09b);
    }
}
