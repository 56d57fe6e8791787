//! Register map of the core-local interruptor (SiFive Interrupt Cookbook 1.2, 2.1; the same as RISC-V ACLINT
//! 1.0-rc4, 2 and 3, with MSWI at 0 and MTIMER at 0x4000).

/// Bytes of address space.
pub const RANGE_BYTES: u64 = 0x1_0000;
/// Most harts: the register after the last `mtimecmp` is `mtime` (ACLINT 1.0-rc4, 2.1).
pub const MAX_HARTS: usize = 4095;

/// Software interrupt pending of hart 0, a word a hart; only bit 0 exists (ACLINT 1.0-rc4, 3.2).
pub const MSIP: u64 = 0;
/// Timer compare of hart 0, eight bytes a hart (ACLINT 1.0-rc4, 2.3).
pub const MTIMECMP: u64 = 0x4000;
/// The time (ACLINT 1.0-rc4, 2.2).
pub const MTIME: u64 = 0xbff8;
