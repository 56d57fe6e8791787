//! The memory controller hub: ROM shadowing and the place of configuration space.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use vm_core::AccessWidth;

use super::spec::mch::*;
use crate::movable::Movable;
use crate::pci::spec::CLASS_HOST_BRIDGE;
use crate::pci::{ConfigSpace, Identity, PciFunction};

/// One range of the first MiB that is RAM or what lies there otherwise: firmware, option ROMs (3 Series, 5.1.18).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShadowRange {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub bytes: u64,
    /// Reads find RAM.
    pub reads_ram: bool,
    /// Writes reach RAM.
    pub writes_ram: bool,
}

/// Ranges in the order of the registers' nibbles from the second on: the first has none.
const RANGES: [(u64, u64); 13] = {
    let mut ranges = [(0xf_0000, 0x1_0000); 13];
    let mut at = 1;
    while at < ranges.len() {
        ranges[at] = (0xc_0000 + 0x4000 * (at as u64 - 1), 0x4000);
        at += 1;
    }
    ranges
};

/// All ranges that can be shadowed: first address and bytes.
pub fn shadow_ranges() -> impl Iterator<Item = (u64, u64)> {
    RANGES.into_iter()
}

/// The ranges as seven registers have them.
fn ranges(registers: [u8; 7]) -> [ShadowRange; 13] {
    std::array::from_fn(|at| {
        let place = at + 1;
        let nibble = registers[place / 2] >> (4 * (place % 2));
        let (base, bytes) = RANGES[at];
        ShadowRange {
            base,
            bytes,
            reads_ram: nibble & 1 != 0,
            writes_ram: nibble & 2 != 0,
        }
    })
}

/// The memory controller hub, function 0 of slot 0.
pub struct Mch {
    config: Mutex<ConfigSpace>,
    shadow: Box<dyn Fn(ShadowRange) + Send + Sync>,
    ecam: OnceLock<Arc<Movable>>,
}

impl Mch {
    /// A hub that tells `shadow` of each range whose kind changes; after power-on none is RAM. It becomes the root
    /// complex's host bridge ([`crate::pci::PciRoot::with_host_bridge`]).
    pub fn new(shadow: Box<dyn Fn(ShadowRange) + Send + Sync>) -> Arc<Self> {
        let mut config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: REVISION,
            class: CLASS_HOST_BRIDGE,
            subsystem: (0x1af4, 0x1100),
        });
        config.add_register(PCIEXBAR, &[0; 8], &(PCIEXBAR_ADDRESS | 7).to_le_bytes());
        config.add_register(PAM, &[0; 7], &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]);
        config.add_register(SMRAM, &[SMRAM_RESET], &[0]);
        Arc::new(Self {
            config: Mutex::new(config),
            shadow,
            ecam: OnceLock::new(),
        })
    }

    /// Names the range that PCIEXBAR moves: [`Movable::made`] with the root complex's
    /// [`ecam`](crate::pci::PciRoot::ecam). The first that is named stays.
    pub fn set_ecam(&self, range: Arc<Movable>) {
        // A second call is a machine that is wired twice; what was first goes on.
        let _ = self.ecam.set(range);
    }

    fn shadows(config: &ConfigSpace) -> [ShadowRange; 13] {
        ranges(std::array::from_fn(|at| {
            config.read(PAM + at as u16, AccessWidth::Byte) as u8
        }))
    }

    fn place_ecam(&self, config: &ConfigSpace) {
        let [low, high] = [0, 4].map(|at| config.read(PCIEXBAR + at, AccessWidth::Word));
        let value = u64::from(high) << 32 | u64::from(low);
        let bytes = match low >> 1 & 3 {
            0 => 256 << 20,
            1 => 128 << 20,
            2 => 64 << 20,
            _ => 0,
        };
        let to = (value & 1 != 0 && bytes != 0).then_some((value & PCIEXBAR_ADDRESS, bytes));
        if let Some(range) = self.ecam.get() {
            range.place(to);
        }
    }

    fn change(&self, change: impl FnOnce(&mut ConfigSpace)) {
        let mut config = self.config.lock();
        let before = Self::shadows(&config);
        change(&mut config);
        self.place_ecam(&config);
        for (range, _) in Self::shadows(&config)
            .into_iter()
            .zip(before)
            .filter(|(after, before)| after != before)
        {
            (self.shadow)(range);
        }
    }

    /// The registers, to be saved.
    pub fn save(&self) -> Vec<u8> {
        self.config.lock().save()
    }

    /// Puts saved registers back, and memory as they say; what is not of this function is ignored.
    pub fn restore(&self, saved: &[u8]) {
        self.change(|config| config.restore(saved));
    }
}

impl PciFunction for Mch {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.config.lock().read(offset, width)
    }
    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        self.change(|config| config.write(offset, width, value));
    }
    fn reset(&self) {
        self.change(ConfigSpace::reset);
    }
}
