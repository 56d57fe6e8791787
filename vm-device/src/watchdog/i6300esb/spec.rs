//! Registers of the watchdog of Intel's 6300ESB (data sheet, order 300641, chapter 16).

/// Vendor and device (16.4.1, 16.4.2).
pub const ID: (u16, u16) = (0x8086, 0x25ab);
/// Class: another system peripheral (16.4.6).
pub const CLASS: u32 = 0x08_8000;
/// Base address register of the memory-mapped registers (16.4.10).
pub const BAR: u8 = 0;
/// Bytes behind it.
pub const BAR_BYTES: u64 = 16;

/// Configuration, 16 bits, in configuration space (16.4.15).
pub const CONFIGURATION: u16 = 0x60;
/// Lock, 8 bits, in configuration space (16.4.16).
pub const LOCK: u16 = 0x68;

/// Configuration: what the first stage does; 0 interrupts.
pub const INTERRUPT_TYPE: u16 = 3;
/// Configuration: the clock is one of 1 MHz, not of 1 kHz.
pub const FAST: u16 = 1 << 2;
/// Configuration: the second stage does not restart.
pub const NO_RESET: u16 = 1 << 5;
/// Lock: no more writes.
pub const LOCKED: u8 = 1 << 0;
/// Lock: enabled.
pub const ENABLED: u8 = 1 << 1;
/// Lock: the first stage is left out, and the second goes round.
pub const FREE_RUNNING: u8 = 1 << 2;

/// Memory: first stage's count, 20 bits (16.5.1).
pub const PRELOAD_1: u64 = 0x00;
/// Memory: second stage's count, 20 bits (16.5.2).
pub const PRELOAD_2: u64 = 0x04;
/// Memory: interrupt status (16.5.3).
pub const INTERRUPT_STATUS: u64 = 0x08;
/// Memory: reload and unlock (16.5.4).
pub const RELOAD: u64 = 0x0c;
/// Bits of a count.
pub const PRELOAD_MASK: u32 = 0xf_ffff;
/// Reload: begin again.
pub const RELOAD_NOW: u16 = 1 << 8;
/// Reload: the second stage has run out once; a one clears it.
pub const TIMED_OUT: u16 = 1 << 9;
/// The two values that unlock one write, in this order (16.5.4).
pub const UNLOCK: [u8; 2] = [0x80, 0x86];

/// Time of one PCI clock (33 MHz), by which counts are scaled.
pub const CLOCK_NS: u64 = 30;
/// By how many bits a count is scaled with the slow clock.
pub const SLOW_SHIFT: u32 = 15;
/// The same with the fast clock.
pub const FAST_SHIFT: u32 = 5;
