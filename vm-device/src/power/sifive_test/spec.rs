//! The SiFive test finisher (SiFive freedom-tools `sifive_test0`; device tree `sifive,test1`): one register.

/// Bytes of address space.
pub const RANGE_BYTES: u64 = 0x1000;
/// The finisher register: bits 15:0 what to do, bits 31:16 a code.
pub const FINISHER: u64 = 0;

/// End with failure and the code.
pub const FINISHER_FAIL: u16 = 0x3333;
/// End with success (power off).
pub const FINISHER_PASS: u16 = 0x5555;
/// Restart the machine.
pub const FINISHER_RESET: u16 = 0x7777;
