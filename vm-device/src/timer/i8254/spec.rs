//! Registers of the 8254 (Intel 8254 data sheet, order 231164) and of port 61h (Intel ICH9 data sheet, 13.7.1).

/// Ports of the chip: three counters and the control word.
pub const RANGE_BYTES: u64 = 4;
/// First port.
pub const PORT: u64 = 0x40;
/// Port of the NMI status and control register; it has one byte.
pub const SPEAKER_PORT: u64 = 0x61;
/// Counts in a second.
pub const HZ: u64 = 1_193_182;
/// Counters.
pub const COUNTERS: usize = 3;

/// Control word: the counter it is for, in bits 7:6; this value is the read-back command.
pub const READ_BACK: u8 = 3;
/// Read-back command: do not latch the count.
pub const NO_COUNT: u8 = 1 << 5;
/// Read-back command: do not latch the status.
pub const NO_STATUS: u8 = 1 << 4;
/// Status: the output is high.
pub const STATUS_OUT: u8 = 1 << 7;
/// Status: the count that was written is not in the counter yet.
pub const STATUS_NULL: u8 = 1 << 6;

/// Bits of port 61h.
pub mod speaker {
    /// The gate of counter 2.
    pub const GATE: u8 = 1 << 0;
    /// Bits that can be written: gate, speaker, two enables of NMI sources that do not exist here.
    pub const WRITABLE: u8 = 0x0f;
    /// Changes with every refresh of memory.
    pub const REFRESH: u8 = 1 << 4;
    /// The output of counter 2.
    pub const OUT: u8 = 1 << 5;
}
/// Time between two refreshes of memory.
pub const REFRESH_NS: u64 = 15_085;
