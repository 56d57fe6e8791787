//! Registers and structures of AHCI (Serial ATA AHCI 1.3.1) and of the ICH9 that has them (Intel ICH9 data sheet, 15).

/// Vendor and device: the SATA controller of an ICH9 in AHCI mode.
pub const ID: (u16, u16) = (0x8086, 0x2922);
/// Revision.
pub const REVISION: u8 = 2;
/// Class of an AHCI controller.
pub const CLASS: u32 = 0x01_0601;
/// Base address register of all registers (2.1.11).
pub const BAR: u8 = 5;
/// Bytes behind it.
pub const BAR_BYTES: u64 = 0x1000;
/// Ports.
pub const PORTS: usize = 6;
/// Command slots of a port.
pub const SLOTS: u32 = 32;
/// ICH9: the address map register, whose bits 7:6 say AHCI mode (15.1.28), and the port control that follows.
pub const MAP: (u16, [u8; 4], [u8; 4]) = (0x90, [0x40, 0, 0, 0], [0, 0, 0x3f, 0x80]);

/// Registers of the controller (3.1).
pub mod host {
    /// Capabilities.
    pub const CAPABILITIES: u64 = 0x00;
    /// Global control.
    pub const CONTROL: u64 = 0x04;
    /// Ports that interrupt.
    pub const INTERRUPTS: u64 = 0x08;
    /// Ports that there are.
    pub const PORTS: u64 = 0x0c;
    /// Version.
    pub const VERSION: u64 = 0x10;
    /// The version: 1.3.
    pub const VERSION_VALUE: u32 = 0x0001_0300;
    /// 64-bit addresses, AHCI only, 6 Gbit/s, slots, ports.
    pub const CAPABILITIES_VALUE: u32 =
        1 << 31 | 3 << 20 | 1 << 18 | (super::SLOTS - 1) << 8 | (super::PORTS as u32 - 1);
    /// Control: reset.
    pub const RESET: u32 = 1 << 0;
    /// Control: interrupts are made.
    pub const INTERRUPT_ENABLE: u32 = 1 << 1;
    /// Control: AHCI mode, always.
    pub const AHCI: u32 = 1 << 31;
}
/// Where the ports' registers begin, and bytes of each.
pub const PORT_BASE: u64 = 0x100;
/// Bytes of a port's registers.
pub const PORT_BYTES: u64 = 0x80;
/// Registers of a port (3.3).
pub mod port {
    /// Command list, 64 bits.
    pub const COMMAND_LIST: u64 = 0x00;
    /// Received FISes, 64 bits.
    pub const FIS_BASE: u64 = 0x08;
    /// Interrupt status.
    pub const INTERRUPTS: u64 = 0x10;
    /// Interrupt enable.
    pub const INTERRUPT_ENABLE: u64 = 0x14;
    /// Command and status.
    pub const COMMAND: u64 = 0x18;
    /// Task file.
    pub const TASK_FILE: u64 = 0x20;
    /// Signature.
    pub const SIGNATURE: u64 = 0x24;
    /// SATA status.
    pub const SATA_STATUS: u64 = 0x28;
    /// SATA control.
    pub const SATA_CONTROL: u64 = 0x2c;
    /// SATA errors.
    pub const SATA_ERROR: u64 = 0x30;
    /// Active native-queued commands.
    pub const ACTIVE: u64 = 0x34;
    /// Issued commands.
    pub const ISSUED: u64 = 0x38;
}
/// Bits of a port's interrupts (3.3.5).
pub mod interrupt {
    /// A register FIS came.
    pub const REGISTER_FIS: u32 = 1 << 0;
    /// A PIO setup FIS came.
    pub const PIO_FIS: u32 = 1 << 1;
    /// The connection changed; follows the error register.
    pub const CONNECT: u32 = 1 << 6;
    /// Memory could not be accessed.
    pub const HOST_BUS: u32 = 1 << 29;
    /// The task file has an error.
    pub const TASK_FILE: u32 = 1 << 30;
    /// Bits that a one clears.
    pub const CLEARABLE: u32 = 0xfd80_00af;
}
/// Bits of a port's command and status (3.3.7).
pub mod command {
    /// Start.
    pub const START: u32 = 1 << 0;
    /// Spin up.
    pub const SPIN_UP: u32 = 1 << 1;
    /// Power on.
    pub const POWER: u32 = 1 << 2;
    /// Forget a busy device.
    pub const OVERRIDE: u32 = 1 << 3;
    /// Receive FISes.
    pub const FIS_ENABLE: u32 = 1 << 4;
    /// Where the slot in work is.
    pub const SLOT_SHIFT: u32 = 8;
    /// FISes are received.
    pub const FIS_RUNS: u32 = 1 << 14;
    /// The list is worked on.
    pub const RUNS: u32 = 1 << 15;
    /// The device is an ATAPI one.
    pub const ATAPI: u32 = 1 << 24;
    /// Bits that are kept.
    pub const KEPT: u32 = START | SPIN_UP | POWER | FIS_ENABLE | ATAPI | 7 << 25;
}
/// SATA status with a device: active, 6 Gbit/s, present (3.3.10).
pub const LINK_UP: u32 = 0x133;
/// SATA control: the field that resets the link (3.3.11).
pub const DETECTION: u32 = 0xf;
/// SATA error: the device was changed (3.3.12).
pub const EXCHANGED: u32 = 1 << 26;

/// The command list and tables (4.2).
pub mod list {
    /// Bytes of a header.
    pub const HEADER_BYTES: u64 = 32;
    /// Header: the command is a packet.
    pub const PACKET: u32 = 1 << 5;
    /// Header: where the number of regions is.
    pub const REGIONS_SHIFT: u32 = 16;
    /// Offset in a header of the number of bytes that were moved.
    pub const MOVED: u64 = 4;
    /// Offset in a table of the packet.
    pub const PACKET_OFFSET: u64 = 0x40;
    /// Offset in a table of the regions.
    pub const REGIONS: u64 = 0x80;
    /// Bytes of a region's description.
    pub const REGION_BYTES: u64 = 16;
    /// Bits of a region's length less one.
    pub const REGION_LENGTH: u32 = 0x3f_ffff;
}
/// Received FISes: offset in their memory, and type (4.2.1; Serial ATA 3.3, 10.5).
pub mod fis {
    /// PIO setup.
    pub const PIO_OFFSET: u64 = 0x20;
    /// PIO setup's type.
    pub const PIO: u8 = 0x5f;
    /// Register, device to host.
    pub const REGISTER_OFFSET: u64 = 0x40;
    /// Register's type.
    pub const REGISTER: u8 = 0x34;
    /// Register, host to device: its type.
    pub const FROM_HOST: u8 = 0x27;
    /// It interrupts.
    pub const INTERRUPTS: u8 = 1 << 6;
    /// Host to device: it is a command.
    pub const IS_COMMAND: u8 = 1 << 7;
}

/// ATA (ACS-4, 6, and 7 for the commands).
pub mod ata {
    /// Status: ready, seek complete.
    pub const READY: u8 = 0x50;
    /// Status: data are to be moved.
    pub const DATA: u8 = 0x08;
    /// Status: error.
    pub const ERROR: u8 = 0x01;
    /// Status: busy.
    pub const BUSY: u8 = 0x80;
    /// Status without a device.
    pub const NO_DEVICE: u8 = 0x7f;
    /// Error: aborted.
    pub const ABORTED: u8 = 0x04;
    /// Error: no such address.
    pub const NOT_FOUND: u8 = 0x10;
    /// Error: data cannot be read.
    pub const UNCORRECTABLE: u8 = 0x40;
    /// Error after a reset: diagnostics passed.
    pub const DIAGNOSTICS_PASSED: u8 = 0x01;
    /// Device control: software reset.
    pub const SOFT_RESET: u8 = 0x04;
    /// Signature of a disk: LBA high, mid, low, and count.
    pub const DISK_SIGNATURE: u32 = 0x0000_0101;
    /// Signature of a packet device.
    pub const PACKET_SIGNATURE: u32 = 0xeb14_0101;
    /// Bytes of an identification.
    pub const IDENTIFY_BYTES: usize = 512;
    /// Bytes of a block of ranges to be trimmed.
    pub const TRIM_BLOCK_BYTES: usize = 512;
    /// PACKET.
    pub const PACKET: u8 = 0xa0;
    /// IDENTIFY PACKET DEVICE.
    pub const IDENTIFY_PACKET: u8 = 0xa1;
    /// IDENTIFY DEVICE.
    pub const IDENTIFY: u8 = 0xec;
    /// DEVICE RESET.
    pub const DEVICE_RESET: u8 = 0x08;
}
