//! Registers of the MC146818 (Motorola data sheet, ADI-1003) and what a PC keeps in its memory (Intel ICH9 data sheet, 13.6;
//! SeaBIOS `src/hw/rtc.h` for the memory's cells).

/// First of the two ports: index, then data.
pub const PORT: u64 = 0x70;
/// Ports.
pub const RANGE_BYTES: u64 = 2;
/// Cells, registers included.
pub const CELLS: usize = 128;
/// Index port: non-maskable interrupts are masked; kept, as no source of them is behind it here.
pub const NMI_MASK: u8 = 1 << 7;

/// Registers of time, calendar and alarm.
pub mod reg {
    /// Seconds.
    pub const SECONDS: u8 = 0x00;
    /// Seconds of the alarm.
    pub const SECONDS_ALARM: u8 = 0x01;
    /// Minutes.
    pub const MINUTES: u8 = 0x02;
    /// Minutes of the alarm.
    pub const MINUTES_ALARM: u8 = 0x03;
    /// Hours; bit 7 is PM when there are twelve.
    pub const HOURS: u8 = 0x04;
    /// Hours of the alarm.
    pub const HOURS_ALARM: u8 = 0x05;
    /// Day of the week, 1 for Sunday.
    pub const WEEKDAY: u8 = 0x06;
    /// Day of the month.
    pub const DAY: u8 = 0x07;
    /// Month.
    pub const MONTH: u8 = 0x08;
    /// Year of the century.
    pub const YEAR: u8 = 0x09;
    /// Register A.
    pub const A: u8 = 0x0a;
    /// Register B.
    pub const B: u8 = 0x0b;
    /// Register C, whose flags a read clears.
    pub const C: u8 = 0x0c;
    /// Register D.
    pub const D: u8 = 0x0d;
    /// Century (the FADT names it).
    pub const CENTURY: u8 = 0x32;
}
/// Bits of register A.
pub mod a {
    /// An update is about to come.
    pub const UPDATE_IN_PROGRESS: u8 = 1 << 7;
    /// After power-on: the crystal of a PC, and 1024 periodic interrupts a second.
    pub const RESET: u8 = 0x26;
    /// The rate of periodic interrupts.
    pub const RATE: u8 = 0x0f;
}
/// Bits of register B.
pub mod b {
    /// Time stands still to be set.
    pub const SET: u8 = 1 << 7;
    /// Periodic interrupts.
    pub const PERIODIC: u8 = 1 << 6;
    /// Alarm interrupts.
    pub const ALARM: u8 = 1 << 5;
    /// Update-ended interrupts.
    pub const UPDATE: u8 = 1 << 4;
    /// Binary, not decimal digits.
    pub const BINARY: u8 = 1 << 2;
    /// Twenty-four hours, not twelve.
    pub const HOURS_24: u8 = 1 << 1;
}
/// Bits of register C; the three sources sit where register B enables them.
pub mod c {
    /// Any enabled source.
    pub const INTERRUPT: u8 = 1 << 7;
    /// The three sources.
    pub const SOURCES: u8 = super::b::PERIODIC | super::b::ALARM | super::b::UPDATE;
}
/// Register D: memory and time are valid.
pub const D_VALID: u8 = 1 << 7;
/// An alarm register with both bits set matches everything.
pub const ANY: u8 = 0xc0;
/// How long before an update register A tells of it.
pub const UPDATE_WARNING_NS: u64 = 244_000;
/// Ticks of the crystal in a second.
pub const CRYSTAL_HZ: u64 = 32_768;

/// Cells by which firmware learns what there is.
pub mod cell {
    /// Equipment byte.
    pub const EQUIPMENT: u8 = 0x14;
    /// Base memory in KiB, 16 bits.
    pub const BASE_MEMORY: u8 = 0x15;
    /// Memory above 1 MiB in KiB, 16 bits, at most 65,535.
    pub const EXTENDED_MEMORY: [u8; 2] = [0x17, 0x30];
    /// Memory above 16 MiB and below 4 GiB in units of 64 KiB, 16 bits.
    pub const MEMORY_ABOVE_16M: u8 = 0x34;
    /// Memory above 4 GiB in units of 64 KiB, 24 bits.
    pub const MEMORY_ABOVE_4G: u8 = 0x5b;
    /// Virtual CPUs less one.
    pub const CPUS: u8 = 0x5f;
}
