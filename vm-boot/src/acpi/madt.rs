//! Multiple APIC description table (ACPI 6.5, 5.2.12): processors and interrupt controllers.

use super::PcLayout;
use super::blob::Blob;
use super::sdt::Sdt;

const REVISION: u8 = 3;
/// The machine has the two 8259, too.
const PCAT_COMPAT: u32 = 1;

/// Structures (table 5.21).
const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
const INTERRUPT_OVERRIDE: u8 = 2;
const LOCAL_APIC_NMI: u8 = 4;
const LOCAL_X2APIC: u8 = 9;
const LOCAL_X2APIC_NMI: u8 = 10;

/// The processor is there and may be used.
const ENABLED: u32 = 1;
/// First number that needs an x2APIC: 255 is all processors.
const FIRST_X2APIC: u32 = 255;
/// All processors.
const ALL_UIDS: u8 = 0xff;
const ALL_X2APIC_UIDS: u32 = u32::MAX;
/// Inputs as the bus has them (MPS INTI flags, table 5.26), and active high with level.
const AS_THE_BUS: u16 = 0;
const HIGH_LEVEL: u16 = 0b1101;
/// Local interrupt input of non-maskable interrupts.
const NMI_LINT: u8 = 1;
/// I/O APIC input of the interval timer, IRQ 0.
const TIMER_GSI: u32 = 2;

/// The table.
pub(super) fn table(layout: &PcLayout) -> Blob {
    let mut table = Sdt::new(b"APIC", REVISION);
    table.u32(layout.local_apic.raw() as u32).u32(PCAT_COMPAT);
    for cpu in 0..layout.cpus {
        if cpu < FIRST_X2APIC {
            table
                .bytes(&[LOCAL_APIC, 8, cpu as u8, cpu as u8])
                .u32(ENABLED);
        } else {
            table.bytes(&[LOCAL_X2APIC, 16, 0, 0]);
            table.u32(cpu).u32(ENABLED).u32(cpu);
        }
    }
    table.bytes(&[IO_APIC, 12, 0, 0]);
    table.u32(layout.io_apic.raw() as u32).u32(0);
    interrupt_override(&mut table, 0, TIMER_GSI, AS_THE_BUS);
    interrupt_override(
        &mut table,
        layout.sci_irq,
        layout.sci_irq.into(),
        HIGH_LEVEL,
    );
    table
        .bytes(&[LOCAL_APIC_NMI, 6, ALL_UIDS])
        .u16(AS_THE_BUS)
        .u8(NMI_LINT);
    if layout.cpus > FIRST_X2APIC {
        table.bytes(&[LOCAL_X2APIC_NMI, 12]).u16(AS_THE_BUS);
        table.u32(ALL_X2APIC_UIDS).bytes(&[NMI_LINT, 0, 0, 0]);
    }
    table.finish()
}

fn interrupt_override(table: &mut Sdt, irq: u8, gsi: u32, flags: u16) {
    const ISA_BUS: u8 = 0;
    table.bytes(&[INTERRUPT_OVERRIDE, 10, ISA_BUS, irq]);
    table.u32(gsi).u16(flags);
}
