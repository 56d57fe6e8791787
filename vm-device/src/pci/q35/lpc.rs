//! The LPC bridge: places of power management and chipset configuration, and the routes of PIRQA to PIRQH.

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

use super::spec::lpc::*;
use super::spec::{PIRQ_GSI, RCBA_BYTES, RCBA_ROUTE_RESET, RCBA_ROUTES};
use crate::Bus;
use crate::BusDevice;
use crate::intc::OrGate;
use crate::intc::ioapic::IoApic;
use crate::intc::isa::{ISA_IRQS, IsaIrqs};
use crate::movable::Movable;
use crate::pci::{ConfigSpace, Identity, PciFunction};
use crate::power::acpi_pm::{self, AcpiPm};

/// One PIRQ: devices share it, it drives an input of the I/O APIC, and the interrupt that its route names.
struct Pirq {
    apic: Arc<dyn IrqLine>,
    isa: Vec<Arc<dyn IrqLine>>,
    /// (level, route)
    state: Mutex<(bool, u8)>,
}

impl Pirq {
    fn routed(&self, route: u8) -> Option<&Arc<dyn IrqLine>> {
        let allowed = route & PIRQ_OFF == 0 && PIRQ_ROUTES >> (route & 15) & 1 != 0;
        self.isa.get(usize::from(route & 15)).filter(|_| allowed)
    }

    fn set_route(&self, route: u8) {
        let mut state = self.state.lock();
        let (high, old) = *state;
        if route != old {
            state.1 = route;
            for (route, high) in [(old, false), (route, high)] {
                if let Some(line) = self.routed(route) {
                    line.set(high);
                }
            }
        }
    }
}

impl IrqLine for Pirq {
    fn set(&self, high: bool) {
        let mut state = self.state.lock();
        state.0 = high;
        self.apic.set(high);
        if let Some(line) = self.routed(state.1) {
            line.set(high);
        }
    }
}

/// The ranges that the bridge moves.
pub struct LpcRanges {
    /// Of the power management block.
    pm: Arc<Movable>,
    /// Of the chipset configuration.
    chipset: Arc<Movable>,
}

impl LpcRanges {
    /// `pm` on the bus of ports, the chipset configuration on the bus of memory.
    pub fn new(ports: &Arc<Bus>, memory: &Arc<Bus>, pm: &Arc<AcpiPm>) -> Self {
        let chipset = Arc::new(ChipsetConfiguration::new());
        Self {
            pm: Movable::new(ports, "acpi-pm", pm.clone()),
            chipset: Movable::new(memory, "rcba", chipset),
        }
    }
}

/// The LPC bridge, function 0 of slot 31.
pub struct Lpc {
    config: Mutex<ConfigSpace>,
    ranges: LpcRanges,
    pm: Arc<AcpiPm>,
    pirqs: Vec<Arc<Pirq>>,
    gates: Vec<Arc<OrGate>>,
}

impl Lpc {
    /// A bridge that moves `ranges` (of `pm`) and routes PIRQs to `isa` and `ioapic`.
    pub fn new(ranges: LpcRanges, pm: Arc<AcpiPm>, isa: &IsaIrqs, ioapic: &IoApic) -> Arc<Self> {
        let mut config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: REVISION,
            class: CLASS,
            subsystem: (0x1af4, 0x1100),
        })
        .with_more_functions();
        config.add_register(PMBASE, &1u32.to_le_bytes(), &PMBASE_ADDRESS.to_le_bytes());
        config.add_register(ACPI_CONTROL, &[0], &[ACPI_ENABLE | 7]);
        for register in PIRQ {
            config.add_register(register, &[PIRQ_OFF], &[PIRQ_OFF | 0xf]);
        }
        config.add_register(RCBA, &[0; 4], &(RCBA_ADDRESS | 1).to_le_bytes());
        for (register, bytes) in KEPT {
            config.add_register(register, &vec![0; bytes], &vec![0xff; bytes]);
        }
        let pirq = |number| {
            Arc::new(Pirq {
                apic: ioapic.input(PIRQ_GSI + number),
                isa: (0..ISA_IRQS).map(|irq| isa.line(irq)).collect(),
                state: Mutex::new((false, PIRQ_OFF)),
            })
        };
        let pirqs: Vec<_> = (0..PIRQ.len() as u8).map(pirq).collect();
        let gates = pirqs
            .iter()
            .map(|pirq| OrGate::new(vec![pirq.clone() as Arc<dyn IrqLine>]))
            .collect();
        Arc::new(Self {
            config: Mutex::new(config),
            ranges,
            pm,
            pirqs,
            gates,
        })
    }

    /// A line onto PIRQA (0) to PIRQH (7) for one more device. Pin `p` of the devices at slots 25 to 31 is on PIRQ `p`;
    /// the pins of lower slots are on PIRQE to PIRQH, swizzled, so lines 4 to 7 are the root complex's.
    pub fn pirq(&self, number: u8) -> Arc<dyn IrqLine> {
        self.gates[usize::from(number) % self.gates.len()].input()
    }

    fn apply(&self, config: &ConfigSpace) {
        let enabled = config.read(ACPI_CONTROL, AccessWidth::Byte) as u8 & ACPI_ENABLE != 0;
        let base = config.read(PMBASE, AccessWidth::Word) & PMBASE_ADDRESS;
        let pm = (enabled && base != 0).then_some((base.into(), acpi_pm::spec::RANGE_BYTES));
        self.ranges.pm.place(pm);
        let rcba = config.read(RCBA, AccessWidth::Word);
        let chipset = (rcba & 1 != 0).then_some((u64::from(rcba & RCBA_ADDRESS), RCBA_BYTES));
        self.ranges.chipset.place(chipset);
        for (pirq, register) in self.pirqs.iter().zip(PIRQ) {
            pirq.set_route(config.read(register, AccessWidth::Byte) as u8);
        }
    }

    fn change(&self, change: impl FnOnce(&mut ConfigSpace)) {
        let mut config = self.config.lock();
        change(&mut config);
        self.apply(&config);
    }

    /// The registers, to be saved.
    pub fn save(&self) -> Vec<u8> {
        self.config.lock().save()
    }

    /// Puts saved registers back, and what follows from them; what is not of this function is ignored.
    pub fn restore(&self, saved: &[u8]) {
        self.change(|config| config.restore(saved));
    }
}

impl PciFunction for Lpc {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.config.lock().read(offset, width)
    }
    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        self.change(|config| config.write(offset, width, value));
    }
    fn reset(&self) {
        // Wherever it is now, or nowhere.
        self.pm.reset();
        self.change(ConfigSpace::reset);
    }
}

/// The chipset configuration: registers that remember, of which those of the interrupt routes have a value.
struct ChipsetConfiguration(Mutex<Vec<u8>>);

impl ChipsetConfiguration {
    fn new() -> Self {
        let mut bytes = vec![0; RCBA_BYTES as usize];
        for route in RCBA_ROUTES {
            bytes[route as usize..][..2].copy_from_slice(&RCBA_ROUTE_RESET.to_le_bytes());
        }
        Self(Mutex::new(bytes))
    }
}

impl BusDevice for ChipsetConfiguration {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let bytes = self.0.lock();
        (0..width.bytes()).fold(0, |value, at| {
            let byte = bytes.get((offset + at) as usize).copied().unwrap_or(0);
            value | u64::from(byte) << (8 * at)
        })
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let mut bytes = self.0.lock();
        let new = value.to_le_bytes();
        for (at, &byte) in (offset as usize..).zip(&new[..width.bytes() as usize]) {
            if let Some(cell) = bytes.get_mut(at) {
                *cell = byte;
            }
        }
    }

    fn reset(&self) {
        let fresh = Self::new();
        *self.0.lock() = fresh.0.into_inner();
    }
}
