//! The sixteen interrupts of the ISA bus, which a PC wires to both kinds of controller.

use std::sync::Arc;

use vm_core::IrqLine;

use super::OrGate;
use super::i8259::I8259;
use super::ioapic::IoApic;

/// Interrupts of the ISA bus.
pub const ISA_IRQS: u8 = 16;
/// Where interrupt 0 arrives at the I/O APIC: input 0 belongs to the 8259s (ACPI 6.5, 5.2.12.5, "interrupt source
/// override", which the MADT has to say).
pub const IRQ0_GSI: u8 = 2;

/// Every interrupt of the ISA bus, wired to the 8259 pair and to the I/O APIC's input of the same number, but for 0,
/// which goes to [`IRQ0_GSI`], and 2, which is the 8259s' cascade and nobody's.
pub struct IsaIrqs {
    gates: Vec<Arc<OrGate>>,
}

impl IsaIrqs {
    /// Wires `pic` and `ioapic`.
    pub fn new(pic: &I8259, ioapic: &IoApic) -> Self {
        let gate = |irq| {
            let gsi = if irq == 0 { IRQ0_GSI } else { irq };
            let outputs: Vec<Arc<dyn IrqLine>> = match irq {
                2 => Vec::new(),
                _ => vec![pic.input(irq), ioapic.input(gsi)],
            };
            OrGate::new(outputs)
        };
        Self {
            gates: (0..ISA_IRQS).map(gate).collect(),
        }
    }

    /// A line onto interrupt `irq` (modulo 16) for one more device; the interrupt is high while any of its lines is.
    pub fn line(&self, irq: u8) -> Arc<dyn IrqLine> {
        self.gates[usize::from(irq % ISA_IRQS)].input()
    }
}
