//! Registers of the 8259A (Intel 8259A data sheet, order 231468) and the edge/level registers of PCI bridges (Intel ICH9
//! data sheet, 13.4).

/// Ports of each of the two controllers.
pub const RANGE_BYTES: u64 = 2;
/// First port of the master.
pub const MASTER_PORT: u64 = 0x20;
/// First port of the slave.
pub const SLAVE_PORT: u64 = 0xa0;
/// First of the two ports of edge/level registers, master's first (ICH9, 13.4.12, 13.4.13).
pub const ELCR_PORT: u64 = 0x4d0;
/// The input of the master that the slave's output drives.
pub const CASCADE: u8 = 2;
/// Inputs that can be made level-triggered, of the master and the slave (ICH9, 13.4.12, 13.4.13).
pub const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

/// ICW1, a write to the first port with this bit.
pub const ICW1: u8 = 1 << 4;
/// ICW1: ICW4 follows.
pub const ICW1_NEEDS_ICW4: u8 = 1 << 0;
/// ICW1: no slave, so ICW3 does not follow.
pub const ICW1_SINGLE: u8 = 1 << 1;
/// ICW1: all inputs are levels.
pub const ICW1_LEVEL: u8 = 1 << 3;
/// ICW4: interrupts end when they are acknowledged.
pub const ICW4_AUTO_EOI: u8 = 1 << 1;
/// ICW4: special fully nested mode.
pub const ICW4_SPECIAL_NESTED: u8 = 1 << 4;
/// OCW3, a write to the first port with this bit.
pub const OCW3: u8 = 1 << 3;
/// OCW3: the next read is a poll.
pub const OCW3_POLL: u8 = 1 << 2;
/// OCW3: bit 0 chooses what is read: requests, or what is in service.
pub const OCW3_READ: u8 = 1 << 1;
/// OCW3: bit 5 sets the special mask mode.
pub const OCW3_SPECIAL_MASK: u8 = 1 << 6;
/// A poll found an interrupt.
pub const POLL_FOUND: u8 = 1 << 7;
/// The input that stands for an interrupt that went away.
pub const SPURIOUS: u8 = 7;
