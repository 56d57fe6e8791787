//! Bits of control registers, flags and descriptors, and the numbers of exceptions.

/// CR0 (Intel SDM 3A, 2.5).
pub mod cr0 {
    /// Protected mode.
    pub const PE: u64 = 1 << 0;
    /// WAIT obeys TS.
    pub const MP: u64 = 1 << 1;
    /// No floating-point unit.
    pub const EM: u64 = 1 << 2;
    /// The task has been switched.
    pub const TS: u64 = 1 << 3;
    /// The floating-point unit is an 80387; always one.
    pub const ET: u64 = 1 << 4;
    /// Floating-point errors are exceptions.
    pub const NE: u64 = 1 << 5;
    /// Supervisor-mode writes obey read-only pages.
    pub const WP: u64 = 1 << 16;
    /// RFLAGS.AC checks alignment.
    pub const AM: u64 = 1 << 18;
    /// No write-through.
    pub const NW: u64 = 1 << 29;
    /// Caches are off.
    pub const CD: u64 = 1 << 30;
    /// Paging.
    pub const PG: u64 = 1 << 31;
    /// Every bit there is.
    pub const ALL: u64 = PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG;
}

/// CR4 (Intel SDM 3A, 2.5).
pub mod cr4 {
    /// RDTSC outside of CPL 0 raises #GP.
    pub const TSD: u64 = 1 << 2;
    /// DR4 and DR5 raise #UD.
    pub const DE: u64 = 1 << 3;
    /// 4 MiB pages in 32-bit paging.
    pub const PSE: u64 = 1 << 4;
    /// Eight-byte entries.
    pub const PAE: u64 = 1 << 5;
    /// Machine checks.
    pub const MCE: u64 = 1 << 6;
    /// Global pages.
    pub const PGE: u64 = 1 << 7;
    /// RDPMC outside of CPL 0.
    pub const PCE: u64 = 1 << 8;
    /// The system saves SSE state.
    pub const OSFXSR: u64 = 1 << 9;
    /// The system handles #XM.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// SGDT, SIDT, SLDT, SMSW, STR outside of CPL 0 raise #GP.
    pub const UMIP: u64 = 1 << 11;
    /// 5-level paging.
    pub const LA57: u64 = 1 << 12;
    /// RDFSBASE and its like.
    pub const FSGSBASE: u64 = 1 << 16;
    /// Process-context identifiers.
    pub const PCIDE: u64 = 1 << 17;
    /// XSAVE, XGETBV and extended states.
    pub const OSXSAVE: u64 = 1 << 18;
    /// Supervisor-mode execution prevention.
    pub const SMEP: u64 = 1 << 20;
    /// Supervisor-mode access prevention.
    pub const SMAP: u64 = 1 << 21;
    /// Bits whose change makes translations invalid (Intel SDM 3A, 5.10.4.1).
    pub const TRANSLATION: u64 = PSE | PAE | PGE | LA57 | PCIDE | SMEP | SMAP;
}

/// IA32_EFER (Intel SDM 4, table 2-2).
pub mod efer {
    /// SYSCALL.
    pub const SCE: u64 = 1 << 0;
    /// Long mode is wanted.
    pub const LME: u64 = 1 << 8;
    /// Long mode is on.
    pub const LMA: u64 = 1 << 10;
    /// No-execute pages.
    pub const NXE: u64 = 1 << 11;
}

/// RFLAGS (Intel SDM 1, 3.4.3).
pub mod flag {
    /// Trap after the instruction.
    pub const TF: u64 = 1 << 8;
    /// Interrupts are on.
    pub const IF: u64 = 1 << 9;
    /// Strings go down.
    pub const DF: u64 = 1 << 10;
    /// Least privilege for ports.
    pub const IOPL: u64 = 3 << 12;
    /// The task was called by another.
    pub const NT: u64 = 1 << 14;
    /// Instruction breakpoints wait for one instruction.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u64 = 1 << 17;
    /// Alignment checks, or access to user-mode pages.
    pub const AC: u64 = 1 << 18;
    /// CPUID can be told by this bit's changing.
    pub const ID: u64 = 1 << 21;
    /// Those that [`crate::x86::state::CpuState::system_flags`] keeps.
    pub const SYSTEM: u64 = TF | IF | IOPL | NT | RF | VM | AC | 3 << 19 | ID;
}

/// Attributes of a segment ([`crate::x86::state::Segment::attributes`]).
pub mod attr {
    /// The type of the descriptor (Intel SDM 3A, 3.4.5.1 and 3.5).
    pub const TYPE: u64 = 0xf;
    /// Code or data, else a system descriptor.
    pub const S: u64 = 1 << 4;
    /// Where the privilege level stands.
    pub const DPL_SHIFT: u32 = 5;
    /// Present. Clear in a segment register with a null selector.
    pub const P: u64 = 1 << 7;
    /// 64-bit code.
    pub const L: u64 = 1 << 13;
    /// 32-bit code, stack pointer or upper bound.
    pub const DB: u64 = 1 << 14;
    /// The limit counts pages.
    pub const G: u64 = 1 << 15;
    /// Types of code and data: accessed.
    pub const ACCESSED: u64 = 1;
    /// Data that can be written, or code that can be read.
    pub const WRITE_OR_READ: u64 = 2;
    /// Data that expands down, or conforming code.
    pub const DOWN_OR_CONFORMING: u64 = 4;
    /// Code, else data.
    pub const CODE: u64 = 8;
}

/// Vectors (Intel SDM 3A, table 7-1).
pub mod vector {
    /// #DE, division.
    pub const DE: u8 = 0;
    /// #DB, debug.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// #BP, breakpoint.
    pub const BP: u8 = 3;
    /// #OF, overflow.
    pub const OF: u8 = 4;
    /// #UD, undefined instruction.
    pub const UD: u8 = 6;
    /// #NM, no floating-point unit.
    pub const NM: u8 = 7;
    /// #DF, double fault.
    pub const DF: u8 = 8;
    /// #TS, task-state segment.
    pub const TS: u8 = 10;
    /// #NP, segment not present.
    pub const NP: u8 = 11;
    /// #SS, stack.
    pub const SS: u8 = 12;
    /// #GP, general protection.
    pub const GP: u8 = 13;
    /// #PF, page fault.
    pub const PF: u8 = 14;
    /// #MF, x87 error.
    pub const MF: u8 = 16;
    /// #AC, alignment.
    pub const AC: u8 = 17;
    /// #XM, SIMD error.
    pub const XM: u8 = 19;
}

/// [`crate::x86::state::CpuState::activity`].
pub mod activity {
    /// NMIs wait for IRET.
    pub const NMI_BLOCKED: u64 = 1 << 0;
    /// A start-up interrupt is awaited.
    pub const WAIT_FOR_STARTUP: u64 = 1 << 1;
    /// Halted.
    pub const HALTED: u64 = 1 << 2;
}

/// [`crate::x86::state::CpuState::shadow`].
pub mod shadow {
    /// Interrupts wait.
    pub const INTERRUPTS: u64 = 1 << 0;
    /// Debug exceptions wait, too.
    pub const DEBUG: u64 = 1 << 1;
}
