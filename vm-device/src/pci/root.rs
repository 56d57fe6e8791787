//! The root complex: configuration accesses, and windows through which base addresses are reached.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

use super::config::{ConfigSpace, Identity, Mapping, Space};
use super::intx::{LINES, SharedLine, swizzle};
use super::spec::{
    BUS_BYTES, CLASS_HOST_BRIDGE, FUNCTION_BYTES, FUNCTIONS, HOST_BRIDGE, SLOTS, reg,
};
use crate::BusDevice;

/// One function of a PCI device.
pub trait PciFunction: Send + Sync {
    /// Reads `width` bytes (at most 4, aligned) of configuration space.
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32;
    /// Writes `width` bytes (at most 4, aligned) of configuration space.
    fn write_config(&self, offset: u16, width: AccessWidth, value: u32);
    /// What the base address registers map now: nothing, where there are none.
    fn mappings(&self) -> Vec<Mapping> {
        Vec::new()
    }
    /// Reads from the range of a base address register; all ones, where there is none.
    fn read_bar(&self, _bar: u8, _offset: u64, width: AccessWidth) -> u64 {
        width.mask()
    }
    /// Writes to the range of a base address register.
    fn write_bar(&self, _bar: u8, _offset: u64, _width: AccessWidth, _value: u64) {}
    /// Puts the function into its state after power-on.
    fn reset(&self);
}

/// The host bridge at slot 0, without any behaviour.
struct HostBridge(Mutex<ConfigSpace>);

impl PciFunction for HostBridge {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.0.lock().read(offset, width)
    }
    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        self.0.lock().write(offset, width, value);
    }
    fn reset(&self) {
        self.0.lock().reset();
    }
}

#[derive(Clone)]
struct Route {
    mapping: Mapping,
    function: Arc<dyn PciFunction>,
}

/// Ranges of one space, sorted, without overlaps.
type Routes = Vec<Route>;

/// A slot was asked for that is taken or does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("PCI slot {0} is taken or does not exist: use a free one of 1 to 31")]
pub struct SlotTaken(pub u8);

/// A PCI Express root complex with one bus.
pub struct PciRoot {
    /// By slot and number, eight a slot.
    functions: Mutex<Vec<Option<Arc<dyn PciFunction>>>>,
    lines: [Arc<SharedLine>; LINES],
    memory: ArcSwap<Routes>,
    io: ArcSwap<Routes>,
}

impl PciRoot {
    /// A root complex with its host bridge at slot 0. `lines` are the machine's inputs for INTx.
    pub fn new(lines: [Arc<dyn IrqLine>; LINES]) -> Arc<Self> {
        let identity = Identity {
            vendor: HOST_BRIDGE.0,
            device: HOST_BRIDGE.1,
            revision: 0,
            class: CLASS_HOST_BRIDGE,
            subsystem: (0x1af4, 0x1100),
        };
        let bridge = HostBridge(Mutex::new(ConfigSpace::new(identity)));
        Self::with_host_bridge(lines, Arc::new(bridge))
    }

    /// The same with a host bridge of the machine's own.
    pub fn with_host_bridge(
        lines: [Arc<dyn IrqLine>; LINES],
        bridge: Arc<dyn PciFunction>,
    ) -> Arc<Self> {
        let mut functions = vec![None; SLOTS * FUNCTIONS];
        functions[0] = Some(bridge);
        Arc::new(Self {
            functions: Mutex::new(functions),
            lines: lines.map(SharedLine::new),
            memory: ArcSwap::default(),
            io: ArcSwap::default(),
        })
    }

    /// The line for INTA of the device in `slot`, to be given to it when it is made.
    pub fn intx(&self, slot: u8) -> Arc<dyn IrqLine> {
        self.lines[swizzle(slot, 0)].input(slot)
    }

    /// Puts a device of one function into a slot.
    ///
    /// # Errors
    /// When the slot is taken or does not exist.
    pub fn insert(&self, slot: u8, function: Arc<dyn PciFunction>) -> Result<(), SlotTaken> {
        self.insert_function(slot, 0, function)
    }

    /// Puts function `number` (0 to 7) of a device into a slot. Guests look for others than 0 only where 0 says that there
    /// are more ([`ConfigSpace::with_more_functions`]).
    ///
    /// # Errors
    /// When the place is taken or does not exist.
    pub fn insert_function(
        &self,
        slot: u8,
        number: u8,
        function: Arc<dyn PciFunction>,
    ) -> Result<(), SlotTaken> {
        let at = usize::from(slot) * FUNCTIONS + usize::from(number);
        match self.functions.lock().get_mut(at) {
            Some(free @ None) if usize::from(number) < FUNCTIONS => *free = Some(function),
            _ => return Err(SlotTaken(slot)),
        }
        self.reroute();
        Ok(())
    }

    /// Looks up again what the base address registers map; to be called after a device's state was restored.
    pub fn reroute(&self) {
        // Held throughout, so that of two concurrent changes the later look is stored last.
        let functions = self.functions.lock();
        let mut routes: Routes = Vec::new();
        for function in functions.iter().flatten() {
            let function = function.clone();
            let mapped = function.mappings().into_iter();
            routes.extend(mapped.map(|mapping| Route {
                mapping,
                function: function.clone(),
            }));
        }
        routes.sort_by_key(|route| (route.mapping.space, route.mapping.base));
        // Where a guest maps two over each other, the lower one answers alone.
        routes.dedup_by(|later, earlier| {
            later.mapping.space == earlier.mapping.space
                && later.mapping.base <= earlier.mapping.last
        });
        let (memory, io) = routes
            .into_iter()
            .partition(|route| route.mapping.space == Space::Memory);
        self.memory.store(Arc::new(memory));
        self.io.store(Arc::new(io));
    }

    /// The configuration space of all functions, memory-mapped (PCI Express Base 6.0, 7.2.2). Place it over as many
    /// MiB as it is to have buses; only the first has devices.
    pub fn ecam(self: &Arc<Self>) -> Arc<dyn BusDevice> {
        Arc::new(Ecam(self.clone()))
    }

    /// A window of the machine's address space onto the PCI addresses of a space from `pci_base` on.
    pub fn window(self: &Arc<Self>, space: Space, pci_base: u64) -> Arc<dyn BusDevice> {
        Arc::new(Window {
            root: self.clone(),
            space,
            pci_base,
        })
    }

    fn function(&self, offset: u64) -> Option<Arc<dyn PciFunction>> {
        let number = (offset / FUNCTION_BYTES) as usize;
        let first_bus = offset < BUS_BYTES;
        self.functions
            .lock()
            .get(number)
            .filter(|_| first_bus)?
            .clone()
    }

    /// Reads configuration space at an ECAM offset; all ones where nobody is.
    pub fn read_config(&self, offset: u64, width: AccessWidth) -> u64 {
        let Some(function) = self.function(offset) else {
            return width.mask();
        };
        pieces(offset, width)
            .iter()
            .fold(0, |value, &(at, width, shift)| {
                let register = ((offset + at) % FUNCTION_BYTES) as u16;
                value | u64::from(function.read_config(register, width)) << shift
            })
    }

    /// Writes configuration space at an ECAM offset.
    pub fn write_config(&self, offset: u64, width: AccessWidth, value: u64) {
        let Some(function) = self.function(offset) else {
            return;
        };
        for &(at, width, shift) in pieces(offset, width) {
            let register = ((offset + at) % FUNCTION_BYTES) as u16;
            let part = (value >> shift & width.mask()) as u32;
            function.write_config(register, width, part);
            let moves_bars = (reg::BAR0..reg::BARS_END).contains(&register)
                || register <= reg::COMMAND && reg::COMMAND < register + width.bytes() as u16;
            if moves_bars {
                self.reroute();
            }
        }
    }

    /// Resets all functions.
    pub fn reset(&self) {
        let functions: Vec<_> = self.functions.lock().iter().flatten().cloned().collect();
        functions.iter().for_each(|function| function.reset());
        self.reroute();
    }
}

struct Ecam(Arc<PciRoot>);

/// Splits an access into the aligned ones of at most four bytes that functions take: (offset, width, shift).
fn pieces(offset: u64, width: AccessWidth) -> &'static [(u64, AccessWidth, u32)] {
    match width {
        _ if !offset.is_multiple_of(width.bytes()) => &[],
        AccessWidth::Byte => &[(0, AccessWidth::Byte, 0)],
        AccessWidth::Half => &[(0, AccessWidth::Half, 0)],
        AccessWidth::Word => &[(0, AccessWidth::Word, 0)],
        AccessWidth::Double => &[(0, AccessWidth::Word, 0), (4, AccessWidth::Word, 32)],
    }
}

impl BusDevice for Ecam {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        self.0.read_config(offset, width)
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        self.0.write_config(offset, width, value);
    }

    fn reset(&self) {
        self.0.reset();
    }
}

struct Window {
    root: Arc<PciRoot>,
    space: Space,
    pci_base: u64,
}

impl Window {
    fn route<R>(
        &self,
        offset: u64,
        width: AccessWidth,
        access: impl FnOnce(&dyn PciFunction, u8, u64) -> R,
    ) -> Option<R> {
        let routes = match self.space {
            Space::Memory => self.root.memory.load(),
            Space::Io => self.root.io.load(),
        };
        let addr = self.pci_base.checked_add(offset)?;
        let at = routes.partition_point(|route| route.mapping.last < addr);
        let Route { mapping, function } = routes.get(at)?;
        let inside = mapping.base <= addr && width.bytes() - 1 <= mapping.last - addr;
        inside.then(|| access(&**function, mapping.bar, addr - mapping.base))
    }
}

impl BusDevice for Window {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        // Nobody answers: all ones, as on real hardware.
        self.route(offset, width, |function, bar, at| {
            function.read_bar(bar, at, width)
        })
        .unwrap_or(width.mask())
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        self.route(offset, width, |function, bar, at| {
            function.write_bar(bar, at, width, value)
        });
    }

    /// The functions are reset through configuration space.
    fn reset(&self) {}
}
