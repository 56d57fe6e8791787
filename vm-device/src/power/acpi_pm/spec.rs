//! Registers of the ACPI power management block (ACPI 6.5, 4.8; offsets of Intel's ICH9 data sheet, 13.8.3).

/// Ports that the block occupies (ICH9, 13.1.13).
pub const RANGE_BYTES: u64 = 0x80;
/// Where firmware for this machine puts it.
pub const DEFAULT_BASE: u64 = 0x600;

/// PM1 status, 16 bits (ACPI 6.5, 4.8.3.1.1).
pub const PM1_STATUS: u64 = 0x00;
/// PM1 enable, 16 bits (4.8.3.1.2).
pub const PM1_ENABLE: u64 = 0x02;
/// PM1 control, 32 bits of which 16 exist (4.8.3.2.1).
pub const PM1_CONTROL: u64 = 0x04;
/// Timer, 32 bits, read-only (4.8.3.3).
pub const TIMER: u64 = 0x08;
/// General-purpose event status (4.8.4.1.1).
pub const GPE0_STATUS: u64 = 0x20;
/// General-purpose event enable (4.8.4.1.2).
pub const GPE0_ENABLE: u64 = 0x28;
/// Bytes of each of the two.
pub const GPE0_BYTES: u64 = 8;
/// System management interrupts, 32 bits (ICH9, 13.8.3.8).
pub const SMI_ENABLE: u64 = 0x30;

/// Bits of PM1 status and enable.
pub mod pm1 {
    /// The timer's most significant bit changed.
    pub const TIMER: u16 = 1 << 0;
    /// Global lock release; the firmware side does not exist here.
    pub const GLOBAL: u16 = 1 << 5;
    /// The power button was pressed.
    pub const POWER_BUTTON: u16 = 1 << 8;
    /// The real-time clock's alarm.
    pub const RTC: u16 = 1 << 10;
    /// All that can be enabled.
    pub const ENABLES: u16 = TIMER | GLOBAL | POWER_BUTTON | RTC;
    /// Woke from sleep, status only.
    pub const WAKE: u16 = 1 << 15;
}
/// Bits of PM1 control.
pub mod control {
    /// Power management events make the system control interrupt.
    pub const SCI_ENABLE: u16 = 1 << 0;
    /// Where the type of sleep is, three bits.
    pub const SLEEP_TYPE_SHIFT: u32 = 10;
    /// Goes to sleep; write-only.
    pub const SLEEP_ENABLE: u16 = 1 << 13;
    /// Bits that are kept.
    pub const KEPT: u16 = 0x1c07;
    /// Types of sleep that turn the machine off: what OVMF and QEMU's tables write, and the chip's own.
    pub const SOFT_OFF: [u16; 2] = [0, 7];
}
/// SMI_EN after power-on: writes to the command port are taken (ICH9, 13.8.3.8, bit 5), which tells firmware that there is
/// nothing to install.
pub const SMI_ENABLE_RESET: u32 = 1 << 5;

/// Ticks of the timer in a second (ACPI 6.5, 4.8.3.3).
pub const TIMER_HZ: u64 = 3_579_545;
/// Bits of the timer.
pub const TIMER_BITS: u32 = 24;

/// The command port that the FADT names as SMI_CMD, and the status port after it (ICH9, 13.7.1).
pub const COMMAND_PORT: u64 = 0xb2;
/// Ports of both.
pub const COMMAND_RANGE_BYTES: u64 = 2;
/// Command: hand power management over to the operating system; the FADT's ACPI_ENABLE.
pub const ACPI_ENABLE: u8 = 2;
/// Command: take it back; the FADT's ACPI_DISABLE.
pub const ACPI_DISABLE: u8 = 3;
