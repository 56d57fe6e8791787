//! Registers of the Goldfish real-time clock (Android `docs/GOLDFISH-VIRTUAL-HARDWARE.TXT`, "Goldfish timer").

/// Bytes of address space.
pub const RANGE_BYTES: u64 = 0x1000;

/// Low half of the time in ns since 1970-01-01 UTC; reading it latches the high half.
pub const TIME_LOW: u64 = 0x00;
/// High half of the time; writing either half sets the clock.
pub const TIME_HIGH: u64 = 0x04;
/// Low half of the alarm time; writing it arms the alarm.
pub const ALARM_LOW: u64 = 0x08;
/// High half of the alarm time, to be written first.
pub const ALARM_HIGH: u64 = 0x0c;
/// Bit 0: an alarm that has come interrupts.
pub const IRQ_ENABLED: u64 = 0x10;
/// Any write disarms the alarm.
pub const CLEAR_ALARM: u64 = 0x14;
/// 1 while the alarm is armed.
pub const ALARM_STATUS: u64 = 0x18;
/// Any write takes the interrupt back.
pub const CLEAR_INTERRUPT: u64 = 0x1c;
