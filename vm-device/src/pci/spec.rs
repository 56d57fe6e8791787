//! Configuration space, type 0 (PCI Express Base 6.0, 7.5.1; PCI Local Bus 3.0, 6.1).

/// Register offsets (7.5.1.1 and 7.5.1.2).
pub mod reg {
    /// Vendor ID, 16 bits (7.5.1.1.1).
    pub const VENDOR_ID: u16 = 0x00;
    /// Device ID, 16 bits (7.5.1.1.2).
    pub const DEVICE_ID: u16 = 0x02;
    /// Command, 16 bits (7.5.1.1.3).
    pub const COMMAND: u16 = 0x04;
    /// Status, 16 bits (7.5.1.1.4).
    pub const STATUS: u16 = 0x06;
    /// Revision, 8 bits, then the class code, 24 bits (7.5.1.1.5, 7.5.1.1.6).
    pub const REVISION_CLASS: u16 = 0x08;
    /// Cache line size, 8 bits, kept for software (7.5.1.1.7).
    pub const CACHE_LINE_SIZE: u16 = 0x0c;
    /// Header type, 8 bits (7.5.1.1.9).
    pub const HEADER_TYPE: u16 = 0x0e;
    /// First of six base address registers (7.5.1.2.1).
    pub const BAR0: u16 = 0x10;
    /// After the last base address register.
    pub const BARS_END: u16 = 0x28;
    /// Subsystem vendor, then subsystem, 16 bits each (7.5.1.2.3).
    pub const SUBSYSTEM: u16 = 0x2c;
    /// First capability (7.5.1.1.11).
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt line, kept for software (7.5.1.1.12).
    pub const INTERRUPT_LINE: u16 = 0x3c;
    /// Interrupt pin: 1 for INTA (7.5.1.1.13).
    pub const INTERRUPT_PIN: u16 = 0x3d;
    /// Capabilities lie behind the header.
    pub const HEADER_END: u16 = 0x40;
}

/// Bits of the command register (7.5.1.1.3).
pub mod command {
    /// Answers I/O accesses.
    pub const IO: u16 = 1 << 0;
    /// Answers memory accesses.
    pub const MEMORY: u16 = 1 << 1;
    /// May access memory itself.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// Parity error response; no parity errors happen here.
    pub const PARITY: u16 = 1 << 6;
    /// SERR# enable; none happens here.
    pub const SERR: u16 = 1 << 8;
    /// INTx is not asserted.
    pub const INTX_DISABLE: u16 = 1 << 10;
    /// The bits that can be written.
    pub const WRITABLE: u16 = IO | MEMORY | BUS_MASTER | PARITY | SERR | INTX_DISABLE;
}

/// Bits of the status register (7.5.1.1.4).
pub mod status {
    /// An INTx interrupt is pending.
    pub const INTX: u16 = 1 << 3;
    /// There are capabilities.
    pub const CAPABILITIES: u16 = 1 << 4;
}

/// Low bits of a base address register (7.5.1.2.1).
pub mod bar {
    /// I/O, not memory.
    pub const IO: u32 = 1 << 0;
    /// 64 bits wide.
    pub const MEMORY_64: u32 = 0b10 << 1;
    /// Reads have no side effects.
    pub const PREFETCHABLE: u32 = 1 << 3;
}

/// Vendor-specific capability (PCI Code and ID Assignment 1.11, 2).
pub const CAP_VENDOR: u8 = 0x09;

/// Header type: the device has more functions than this one (7.5.1.1.9).
pub const MORE_FUNCTIONS: u8 = 1 << 7;

/// Message-signalled interrupts with a table (7.7.2).
pub mod msix {
    /// Capability id.
    pub const CAPABILITY: u8 = 0x11;
    /// Message control: messages, not INTx.
    pub const CONTROL_ENABLE: u16 = 1 << 15;
    /// Message control: all vectors are masked.
    pub const CONTROL_MASK: u16 = 1 << 14;
    /// Bytes of an entry of the table.
    pub const ENTRY_BYTES: u64 = 16;
    /// Vector control: the vector is masked.
    pub const ENTRY_MASKED: u32 = 1 << 0;
    /// Most vectors that a table can have.
    pub const MAX_VECTORS: u16 = 2048;
}

/// QEMU's host bridge of generic ECAM machines, which guests know.
pub const HOST_BRIDGE: (u16, u16) = (0x1b36, 0x0008);
/// Class code of a host bridge (PCI Code and ID Assignment 1.11, 1.7).
pub const CLASS_HOST_BRIDGE: u32 = 0x06_0000;

/// Devices on a bus.
pub const SLOTS: usize = 32;
/// Functions of a device.
pub const FUNCTIONS: usize = 8;
/// Bytes of configuration space of one function.
pub const FUNCTION_BYTES: u64 = 0x1000;
/// Bytes of the part of it that conventional functions have.
pub const CONVENTIONAL_BYTES: usize = 0x100;
/// Bytes of configuration space of one bus (7.2.2).
pub const BUS_BYTES: u64 = 1 << 20;
