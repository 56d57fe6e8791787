//! Fixed ACPI description table (ACPI 6.5, 5.2.9), as of ACPI 2.0: where power management is.

use super::PcLayout;
use super::blob::Blob;
use super::sdt::{Sdt, port_address};

const REVISION: u8 = 3;
/// Desktop, the profile of machines without batteries.
const PROFILE_DESKTOP: u8 = 1;
/// The place of the century in CMOS memory.
const CMOS_CENTURY: u8 = 0x32;
/// Latencies of C2 and C3 that say there are none.
const NO_C2: u16 = 0xfff;
const NO_C3: u16 = 0xfff;

/// Offsets in the power-management block, and lengths (ICH9 datasheet, 13.8.3).
const PM1_EVENT: u16 = 0;
const PM1_CONTROL: u16 = 4;
const PM_TIMER: u16 = 8;
const GPE0: u16 = 0x20;
const PM1_EVENT_BYTES: u8 = 4;
const PM1_CONTROL_BYTES: u8 = 2;
const PM_TIMER_BYTES: u8 = 4;
const GPE0_BYTES: u8 = 16;

/// IAPC_BOOT_ARCH: devices on the LPC bus, a keyboard controller, no VGA (table 5.11).
const LEGACY_DEVICES: u16 = 1 << 0;
const I8042: u16 = 1 << 1;
const NO_VGA: u16 = 1 << 2;
/// Flags: WBINVD works, C1 everywhere, no sleep button of the fixed hardware, a reset register (table 5.10). The power
/// button is of the fixed hardware.
const WBINVD: u32 = 1 << 0;
const PROC_C1: u32 = 1 << 2;
const SLP_BUTTON: u32 = 1 << 5;
const RESET_REG_SUP: u32 = 1 << 10;

/// Reset control register of PCs, and the value that resets at once.
const RESET_PORT: u16 = 0xcf9;
const RESET_VALUE: u8 = 0x0f;

/// The table; `facs` and `dsdt` are offsets in the tables.
pub(super) fn table(layout: &PcLayout, facs: usize, dsdt: usize) -> Blob {
    let port = |offset| layout.pm_base + offset;
    let mut boot_architecture = LEGACY_DEVICES;
    if layout.has_i8042 {
        boot_architecture |= I8042;
    }
    if !layout.has_vga {
        boot_architecture |= NO_VGA;
    }
    let (smi_port, enable, disable) = layout
        .smi_command
        .map_or((0, 0, 0), |smi| (smi.port, smi.enable, smi.disable));
    let none = [0; 12];

    let mut table = Sdt::new(b"FACP", REVISION);
    table.pointer(4, facs).pointer(4, dsdt);
    // A reserved byte, the profile, and the interrupt.
    table.u8(0).u8(PROFILE_DESKTOP);
    table.u16(layout.sci_irq.into()).u32(smi_port.into());
    // ACPI on and off; no S4BIOS, no performance states.
    table.bytes(&[enable, disable, 0, 0]);
    table.u32(port(PM1_EVENT).into()).u32(0);
    table.u32(port(PM1_CONTROL).into()).u32(0);
    // No PM2 block, no second general-purpose block.
    table.u32(0).u32(port(PM_TIMER).into());
    table.u32(port(GPE0).into()).u32(0);
    table.bytes(&[PM1_EVENT_BYTES, PM1_CONTROL_BYTES, 0, PM_TIMER_BYTES]);
    table.bytes(&[GPE0_BYTES, 0, 0, 0]);
    table.u16(NO_C2).u16(NO_C3);
    // Flush size and stride, duty offset and width, alarm's day and month.
    table.u16(0).u16(0).bytes(&[0; 4]).u8(CMOS_CENTURY);
    table.u16(boot_architecture).u8(0);
    table.u32(WBINVD | PROC_C1 | SLP_BUTTON | RESET_REG_SUP);
    table.bytes(&port_address(RESET_PORT, 8)).u8(RESET_VALUE);
    // Arm's flags and the minor version.
    table.u16(0).u8(0);
    // The wide address of the FACS must be zero where the other is not.
    table.u64(0).pointer(8, dsdt);
    table.bytes(&port_address(port(PM1_EVENT), 32)).bytes(&none);
    table
        .bytes(&port_address(port(PM1_CONTROL), 16))
        .bytes(&none);
    table.bytes(&none).bytes(&port_address(port(PM_TIMER), 32));
    table.bytes(&port_address(port(GPE0), 128)).bytes(&none);
    table.finish()
}
