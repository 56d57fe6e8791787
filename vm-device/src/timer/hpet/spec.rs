//! Registers of the high precision event timers (IA-PC HPET Specification 1.0a, 2.3).

/// Bytes of address space.
pub const RANGE_BYTES: u64 = 0x400;
/// Where a PC has it; the HPET table of ACPI says so.
pub const DEFAULT_BASE: u64 = 0xfed0_0000;
/// Timers.
pub const TIMERS: usize = 3;
/// Ticks of the main counter in a second.
pub const HZ: u64 = 100_000_000;
/// Inputs of the I/O APIC that timers can be routed to.
pub const ROUTES: u32 = 24;

/// Capabilities and id, 64 bits, read-only (2.3.4).
pub const CAPABILITIES: u64 = 0x000;
/// Configuration, 64 bits (2.3.5).
pub const CONFIGURATION: u64 = 0x010;
/// Interrupt status, 64 bits; ones that are written clear (2.3.6).
pub const STATUS: u64 = 0x020;
/// Main counter, 64 bits (2.3.7).
pub const COUNTER: u64 = 0x0f0;
/// First timer's registers (2.3.8).
pub const TIMER: u64 = 0x100;
/// Bytes of a timer's registers.
pub const TIMER_BYTES: u64 = 0x20;
/// Of a timer: configuration and capabilities, 64 bits (2.3.8).
pub const TIMER_CONFIGURATION: u64 = 0x00;
/// Of a timer: comparator, 64 bits (2.3.9).
pub const TIMER_COMPARATOR: u64 = 0x08;
/// Of a timer: message, value in the low and address in the high half (2.3.10).
pub const TIMER_MESSAGE: u64 = 0x10;

/// The capabilities: ticks of 10 ns (10^7 fs), vendor Intel, legacy replacement, a counter of 64 bits, the number of the
/// last timer, revision 1.
pub const CAPABILITIES_VALUE: u64 =
    10_000_000 << 32 | 0x8086 << 16 | 1 << 15 | 1 << 13 | (TIMERS as u64 - 1) << 8 | 1;

/// Bits of the configuration.
pub mod configuration {
    /// The main counter runs.
    pub const ENABLE: u64 = 1 << 0;
    /// Timers 0 and 1 replace the 8254's and the real-time clock's interrupts.
    pub const LEGACY: u64 = 1 << 1;
}
/// Bits of a timer's configuration.
pub mod timer {
    /// Interrupts are levels.
    pub const LEVEL: u64 = 1 << 1;
    /// Interrupts are made.
    pub const ENABLE: u64 = 1 << 2;
    /// Periodic.
    pub const PERIODIC: u64 = 1 << 3;
    /// Can be periodic.
    pub const CAN_PERIODIC: u64 = 1 << 4;
    /// Has 64 bits.
    pub const WIDE: u64 = 1 << 5;
    /// The next write to the comparator is its value, not the period.
    pub const SET_VALUE: u64 = 1 << 6;
    /// Works as if it had 32 bits.
    pub const NARROW: u64 = 1 << 8;
    /// Where the route is, five bits.
    pub const ROUTE_SHIFT: u32 = 9;
    /// Interrupts are messages.
    pub const MESSAGE: u64 = 1 << 14;
    /// Interrupts can be messages.
    pub const CAN_MESSAGE: u64 = 1 << 15;
    /// Bits that can be written.
    pub const WRITABLE: u64 =
        LEVEL | ENABLE | PERIODIC | SET_VALUE | NARROW | 0x1f << ROUTE_SHIFT | MESSAGE;
    /// What it can.
    pub const CAPABILITIES: u64 =
        CAN_PERIODIC | WIDE | CAN_MESSAGE | ((1 << super::ROUTES) - 1) << 32;
}
