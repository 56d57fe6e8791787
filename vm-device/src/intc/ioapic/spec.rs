//! Registers of the I/O APIC (Intel 82093AA data sheet, 3; Intel ICH9 data sheet, 13.5, which has the EOI register).

/// Bytes of address space that registers occupy (ICH9, 13.5.1).
pub const RANGE_BYTES: u64 = 0x1000;
/// Where a PC has it (82093AA, 3.0).
pub const DEFAULT_BASE: u64 = 0xfec0_0000;
/// Interrupt inputs.
pub const INPUTS: u8 = 24;

/// Selects a register, 8 bits (82093AA, 3.1.1).
pub const SELECT: u64 = 0x00;
/// The selected register, 32 bits (82093AA, 3.1.2).
pub const DATA: u64 = 0x10;
/// Ends the interrupts of a vector, 8 bits, write-only (ICH9, 13.5.5).
pub const EOI: u64 = 0x40;

/// Selector: identification, in bits 27:24 (82093AA, 3.2.1).
pub const ID: u8 = 0x00;
/// Selector: version (82093AA, 3.2.2).
pub const VERSION: u8 = 0x01;
/// Selector: arbitration id, in bits 27:24 (82093AA, 3.2.3).
pub const ARBITRATION: u8 = 0x02;
/// Selector: low half of the first redirection entry; the halves alternate (82093AA, 3.2.4).
pub const REDIRECTION: u8 = 0x10;
/// What the version register reads: with an EOI register, and the number of the last entry.
pub const VERSION_VALUE: u32 = 0x20 | (INPUTS as u32 - 1) << 16;

/// Bits of a redirection entry (82093AA, 3.2.4).
pub mod entry {
    /// The destination is a logical one.
    pub const LOGICAL: u64 = 1 << 11;
    /// A level was accepted by its destination and not ended yet; read-only.
    pub const REMOTE_IRR: u64 = 1 << 14;
    /// Level-triggered.
    pub const LEVEL: u64 = 1 << 15;
    /// Masked.
    pub const MASKED: u64 = 1 << 16;
    /// Where the destination is.
    pub const DESTINATION_SHIFT: u32 = 56;
    /// Bits that can be written: vector, delivery mode, destination mode, polarity, trigger mode, mask, destination.
    pub const WRITABLE: u64 = 0xff00_0000_0001_afff;
}
