//! Registers of the memory controller hub (Intel 3 Series Express Chipset Family data sheet, order 316966, which has the
//! same as the Q35) and of the I/O controller hub (Intel ICH9 data sheet, order 316972).

/// Configuration space of the memory controller hub, 00:00.0 (3 Series, 5.1).
pub mod mch {
    /// Vendor and device.
    pub const ID: (u16, u16) = (0x8086, 0x29c0);
    /// Revision.
    pub const REVISION: u8 = 0;
    /// Base of the memory-mapped configuration space, 64 bits (5.1.16): bit 0 enables, bits 2:1 its size.
    pub const PCIEXBAR: u16 = 0x60;
    /// Address bits of it.
    pub const PCIEXBAR_ADDRESS: u64 = 0xf_f000_0000;
    /// First of seven programmable attribute maps (5.1.18).
    pub const PAM: u16 = 0x90;
    /// After the last.
    pub const PAM_END: u16 = 0x97;
    /// System management memory, which there is not (5.1.27).
    pub const SMRAM: u16 = 0x9d;
    /// It after power-on.
    pub const SMRAM_RESET: u8 = 0x02;
}

/// Configuration space of the LPC bridge, 00:1f.0 (ICH9, 13.1).
pub mod lpc {
    /// Vendor and device.
    pub const ID: (u16, u16) = (0x8086, 0x2918);
    /// Revision.
    pub const REVISION: u8 = 2;
    /// Class of an ISA bridge.
    pub const CLASS: u32 = 0x06_0100;
    /// Base of the power management ports, 32 bits (13.1.13).
    pub const PMBASE: u16 = 0x40;
    /// Address bits of it.
    pub const PMBASE_ADDRESS: u32 = 0xff80;
    /// ACPI control (13.1.14).
    pub const ACPI_CONTROL: u16 = 0x44;
    /// ACPI control: the ports answer.
    pub const ACPI_ENABLE: u8 = 1 << 7;
    /// Routes of PIRQA to PIRQH (13.1.17, 13.1.19).
    pub const PIRQ: [u16; 8] = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b];
    /// Route: not to an interrupt of the 8259s.
    pub const PIRQ_OFF: u8 = 1 << 7;
    /// Interrupts that a PIRQ can be routed to.
    pub const PIRQ_ROUTES: u16 = 0xdef8;
    /// Base of the chipset configuration, 32 bits (13.1.35).
    pub const RCBA: u16 = 0xf0;
    /// Address bits of it.
    pub const RCBA_ADDRESS: u32 = 0xffff_c000;
    /// Registers that firmware writes and that have no effect here: (offset, bytes). Serial interrupts, decoding of LPC
    /// ports, general power management, BIOS control.
    pub const KEPT: [(u16, usize); 6] = [
        (0x48, 8),
        (0x64, 1),
        (0x80, 8),
        (0x8c, 16),
        (0xa0, 16),
        (0xdc, 1),
    ];
}
/// Where firmware puts the chipset configuration.
pub const RCBA_BASE: u64 = 0xfed1_c000;
/// Bytes of the chipset configuration (ICH9, 10.1).
pub const RCBA_BYTES: u64 = 0x4000;
/// Chipset configuration: routes of the pins of devices 31 to 25, 16 bits each (ICH9, 10.1.40 to 10.1.46).
pub const RCBA_ROUTES: [u64; 7] = [0x3140, 0x3142, 0x3144, 0x3146, 0x3148, 0x314c, 0x3150];
/// A route after power-on: INTA to PIRQA and so on.
pub const RCBA_ROUTE_RESET: u16 = 0x3210;

/// The first input of the I/O APIC that a PIRQ drives (ICH9, 5.10.1).
pub const PIRQ_GSI: u8 = 16;

/// The SMBus controller, 00:1f.3 (ICH9, 19).
pub mod smbus {
    /// Vendor and device.
    pub const ID: (u16, u16) = (0x8086, 0x2930);
    /// Revision.
    pub const REVISION: u8 = 2;
    /// Class of an SMBus controller.
    pub const CLASS: u32 = 0x0c_0500;
    /// Base address register of the ports (19.1.10).
    pub const BAR: u8 = 4;
    /// Ports.
    pub const BAR_BYTES: u64 = 0x20;
    /// Host configuration (19.1.15).
    pub const HOST_CONFIGURATION: u16 = 0x40;
    /// Port: host status (19.2.1).
    pub const STATUS: u64 = 0x00;
    /// Port: host control (19.2.2).
    pub const CONTROL: u64 = 0x02;
    /// Status: nobody answered.
    pub const DEVICE_ERROR: u8 = 1 << 2;
    /// Status: the bits that a one clears.
    pub const CLEARABLE: u8 = 0xfe;
    /// Control: interrupts at the end.
    pub const INTERRUPT: u8 = 1 << 0;
    /// Control: begin.
    pub const START: u8 = 1 << 6;
}
