//! The state of the boot processor when the first guest instruction runs, as plain data.

use vm_core::GuestPhysAddr;

/// Width of the code at the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryMode {
    /// 32-bit protected mode without paging.
    Protected32,
    /// 64-bit mode, with an identity map in force.
    Long64,
}

/// General registers by name.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[expect(missing_docs, reason = "the names are the registers' own")]
pub struct GeneralRegisters {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

/// A segment register: its visible selector and the cached descriptor (Intel SDM 3A, 3.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentState {
    /// Selector.
    pub selector: u16,
    /// Linear base address.
    pub base: u64,
    /// Offset of the last byte, granularity applied.
    pub limit: u32,
    /// Attributes as in a descriptor (Intel SDM 3A, 3.4.5): bits 0 to 3 type, 4 S, 5 and 6 DPL, 7 P, 8 AVL, 9 L,
    /// 10 D/B, 11 G.
    pub attributes: u16,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Offset of the last byte.
    pub limit: u16,
}

/// Registers at the entry. Interrupts are off; whatever has no field here is as after a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryState {
    /// Width of the code.
    pub mode: EntryMode,
    /// First instruction.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// General registers.
    pub general: GeneralRegisters,
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3: the page tables, in 64-bit mode.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// Global descriptor table; its content is part of the plan.
    pub gdt: TableRegister,
    /// Interrupt descriptor table: none.
    pub idt: TableRegister,
    /// Code segment.
    pub cs: SegmentState,
    /// Data segments: DS, ES, FS, GS and SS alike.
    pub data: SegmentState,
    /// Task register.
    pub tr: SegmentState,
    /// Local descriptor table: not usable.
    pub ldtr: SegmentState,
}

/// `CR0.PE`, `ET` (fixed to 1) and `PG` (Intel SDM 3A, 2.5).
const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
/// `CR4.PAE`.
const CR4_PAE: u64 = 1 << 5;
/// `IA32_EFER.LME` and `LMA` (Intel SDM 3A, 2.2.1).
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// The bit of RFLAGS that is always 1.
const RFLAGS_FIXED: u64 = 1 << 1;

/// Selector of the code segment, `__BOOT_CS` (Linux `Documentation/arch/x86/boot.rst`, "32-bit Boot Protocol").
const CODE_SELECTOR: u16 = 0x10;
/// Selector of the data segment, `__BOOT_DS`.
const DATA_SELECTOR: u16 = 0x18;
/// Selector of the task state segment.
const TASK_SELECTOR: u16 = 0x20;

/// Present, code, readable, accessed; 4 KiB granularity, 32-bit.
const CODE32: u16 = 0xc9b;
/// The same with L instead of D.
const CODE64: u16 = 0xa9b;
/// Present, data, writable, accessed; 4 KiB granularity, 32-bit.
const DATA: u16 = 0xc93;
/// Present, busy 32-bit (or 64-bit) task state segment.
const BUSY_TASK: u16 = 0x08b;
/// Present local descriptor table.
const LOCAL_TABLE: u16 = 0x082;
/// Limit of a flat segment.
const FLAT: u32 = u32::MAX;
/// Limit of the smallest 32-bit task state segment.
const TASK_LIMIT: u32 = 0x67;

/// Length of the table that [`descriptors`] makes.
pub(super) const GDT_BYTES: usize = 6 * 8;

/// A descriptor (Intel SDM 3A, 3.4.5) with base 0.
const fn descriptor(limit: u32, attributes: u16) -> u64 {
    let units = match attributes & 0x800 {
        0 => limit,
        _ => limit >> 12,
    } as u64;
    (units & 0xffff)
        | (attributes as u64 & 0xff) << 40
        | (units >> 16 & 0xf) << 48
        | (attributes as u64 >> 8 & 0xf) << 52
}

/// The global descriptor table for an entry in `mode`; the task's descriptor takes two places, as in 64-bit mode.
pub(super) fn descriptors(mode: EntryMode) -> [u8; GDT_BYTES] {
    let mut bytes = [0; GDT_BYTES];
    let rows = [
        0,
        0,
        descriptor(FLAT, code_attributes(mode)),
        descriptor(FLAT, DATA),
        descriptor(TASK_LIMIT, BUSY_TASK),
        0,
    ];
    for (place, row) in bytes.chunks_exact_mut(8).zip(rows) {
        place.copy_from_slice(&row.to_le_bytes());
    }
    bytes
}

const fn code_attributes(mode: EntryMode) -> u16 {
    match mode {
        EntryMode::Protected32 => CODE32,
        EntryMode::Long64 => CODE64,
    }
}

const fn segment(selector: u16, limit: u32, attributes: u16) -> SegmentState {
    SegmentState {
        selector,
        base: 0,
        limit,
        attributes,
    }
}

impl EntryState {
    /// A processor in 32-bit protected mode with flat segments and without paging.
    pub(super) fn protected32(
        rip: GuestPhysAddr,
        gdt: GuestPhysAddr,
        general: GeneralRegisters,
    ) -> Self {
        Self::flat(EntryMode::Protected32, rip, gdt, general)
    }

    /// A processor in 64-bit mode with the page tables at `page_tables` in force.
    pub(super) fn long64(
        rip: GuestPhysAddr,
        gdt: GuestPhysAddr,
        page_tables: GuestPhysAddr,
        general: GeneralRegisters,
    ) -> Self {
        Self {
            cr0: CR0_PE | CR0_ET | CR0_PG,
            cr3: page_tables.raw(),
            cr4: CR4_PAE,
            efer: EFER_LME | EFER_LMA,
            ..Self::flat(EntryMode::Long64, rip, gdt, general)
        }
    }

    fn flat(
        mode: EntryMode,
        rip: GuestPhysAddr,
        gdt: GuestPhysAddr,
        general: GeneralRegisters,
    ) -> Self {
        Self {
            mode,
            rip: rip.raw(),
            rflags: RFLAGS_FIXED,
            general,
            cr0: CR0_PE | CR0_ET,
            cr3: 0,
            cr4: 0,
            efer: 0,
            gdt: TableRegister {
                base: gdt.raw(),
                limit: GDT_BYTES as u16 - 1,
            },
            idt: TableRegister::default(),
            cs: segment(CODE_SELECTOR, FLAT, code_attributes(mode)),
            data: segment(DATA_SELECTOR, FLAT, DATA),
            tr: segment(TASK_SELECTOR, TASK_LIMIT, BUSY_TASK),
            ldtr: segment(0, 0, LOCAL_TABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_those_of_the_linux_boot_protocol() {
        let rows = |mode| -> Vec<u64> {
            descriptors(mode)
                .chunks(8)
                .map(|row| u64::from_le_bytes(row.try_into().unwrap()))
                .collect()
        };
        assert_eq!(
            rows(EntryMode::Protected32)[2..5],
            [
                0x00cf_9b00_0000_ffff,
                0x00cf_9300_0000_ffff,
                0x0000_8b00_0000_0067
            ]
        );
        assert_eq!(rows(EntryMode::Long64)[2], 0x00af_9b00_0000_ffff);
    }

    #[test]
    fn long64_has_paging_and_the_mode_active() {
        let state = EntryState::long64(
            GuestPhysAddr(0x100_0200),
            GuestPhysAddr(0x500),
            GuestPhysAddr(0x9000),
            GeneralRegisters::default(),
        );
        assert_eq!(
            (state.cr0, state.cr4, state.efer),
            (0x8000_0011, 0x20, 0x500)
        );
        assert_eq!((state.rip, state.cr3), (0x100_0200, 0x9000));
        assert_eq!((state.cs.selector, state.data.selector), (0x10, 0x18));
    }
}
