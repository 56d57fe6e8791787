//! One function's configuration space: registers that remember, base addresses, capabilities.

use vm_core::AccessWidth;

use super::spec::{CONVENTIONAL_BYTES, MORE_FUNCTIONS, bar, command, reg, status};

/// Address spaces of PCI besides configuration space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
}

/// What a base address register maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32 {
        /// Reads have no side effects.
        prefetchable: bool,
    },
    /// Memory anywhere; takes this register and the next.
    Memory64 {
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

/// Who a function says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code: base class, subclass, programming interface.
    pub class: u32,
    /// Subsystem vendor and subsystem ID.
    pub subsystem: (u16, u16),
}

/// Where a base address register currently maps its function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// In which space.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Last address.
    pub last: u64,
    /// The register, 0 to 5.
    pub bar: u8,
}

#[derive(Clone, Copy, Debug)]
struct Bar {
    kind: BarKind,
    bytes: u64,
}

/// Configuration space of one conventional function. Bits that the guest may write are remembered, all others keep
/// the value they were made with; so sizing a base address register needs no special case.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; CONVENTIONAL_BYTES],
    writable: [u8; CONVENTIONAL_BYTES],
    after_reset: [u8; CONVENTIONAL_BYTES],
    bars: [Option<Bar>; 6],
    /// Where the next capability goes, and the pointer that will lead to it.
    free: u16,
    link: u16,
}

impl ConfigSpace {
    /// The header of a function.
    pub fn new(identity: Identity) -> Self {
        let mut space = Self {
            bytes: [0; CONVENTIONAL_BYTES],
            writable: [0; CONVENTIONAL_BYTES],
            after_reset: [0; CONVENTIONAL_BYTES],
            bars: [None; 6],
            free: reg::HEADER_END,
            link: reg::CAPABILITIES,
        };
        let Identity {
            vendor,
            device,
            revision,
            class,
            subsystem,
        } = identity;
        space.fix(reg::VENDOR_ID, &vendor.to_le_bytes());
        space.fix(reg::DEVICE_ID, &device.to_le_bytes());
        space.fix(
            reg::REVISION_CLASS,
            &(class << 8 | u32::from(revision)).to_le_bytes(),
        );
        space.fix(reg::SUBSYSTEM, &subsystem.0.to_le_bytes());
        space.fix(reg::SUBSYSTEM + 2, &subsystem.1.to_le_bytes());
        space.allow(reg::COMMAND, &command::WRITABLE.to_le_bytes());
        space.allow(reg::CACHE_LINE_SIZE, &[0xff]);
        space.allow(reg::INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Gives the function an interrupt pin: 0 for INTA to 3 for INTD.
    #[must_use]
    pub fn with_interrupt_pin(mut self, pin: u8) -> Self {
        self.fix(reg::INTERRUPT_PIN, &[(pin & 3) + 1]);
        self
    }

    /// Gives base address register `index` a range of `bytes` bytes: a power of two, at least 16; the
    /// register (for 64-bit memory also the next) must be free.
    #[must_use]
    pub fn with_bar(mut self, index: u8, kind: BarKind, bytes: u64) -> Self {
        assert!(
            bytes.is_power_of_two() && bytes >= 16,
            "invariant: BAR sizes are powers of two"
        );
        let address_bits = !(bytes - 1);
        let prefetch = |yes: bool| if yes { bar::PREFETCHABLE } else { 0 };
        let (flags, wide) = match kind {
            BarKind::Io => (bar::IO, false),
            BarKind::Memory32 { prefetchable } => (prefetch(prefetchable), false),
            BarKind::Memory64 { prefetchable } => (bar::MEMORY_64 | prefetch(prefetchable), true),
        };
        let at = reg::BAR0 + 4 * u16::from(index);
        self.fix(at, &flags.to_le_bytes());
        self.allow(at, &(address_bits as u32).to_le_bytes());
        if wide {
            self.allow(at + 4, &((address_bits >> 32) as u32).to_le_bytes());
        }
        self.bars[usize::from(index)] = Some(Bar { kind, bytes });
        self
    }

    /// Appends a capability: its id, a link, then `body`, of which the bits of `writable` can be written. Returns
    /// its offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> u16 {
        let at = self.free;
        self.free = (at + 2 + body.len() as u16).next_multiple_of(4);
        assert!(
            usize::from(self.free) <= CONVENTIONAL_BYTES,
            "invariant: capabilities fit"
        );
        self.fix(self.link, &[at as u8]);
        self.fix(at, &[id, 0]);
        self.fix(at + 2, body);
        self.allow(at + 2, writable);
        self.link = at + 1;
        let bits = self.read_u16(reg::STATUS) | status::CAPABILITIES;
        self.fix(reg::STATUS, &bits.to_le_bytes());
        at
    }

    /// Says that the device has more functions; for function 0 of one that has.
    #[must_use]
    pub fn with_more_functions(mut self) -> Self {
        self.fix(reg::HEADER_TYPE, &[MORE_FUNCTIONS]);
        self
    }

    /// Adds a register of the function's own at `at`: its value after power-on, and which bits can be written.
    pub fn add_register(&mut self, at: u16, value: &[u8], writable: &[u8]) {
        self.fix(at, value);
        self.allow(at, writable);
    }

    fn fix(&mut self, at: u16, value: &[u8]) {
        let at = usize::from(at);
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self.after_reset[at..at + value.len()].copy_from_slice(value);
    }

    fn allow(&mut self, at: u16, mask: &[u8]) {
        let at = usize::from(at);
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Reads `width` bytes (at most 4) at `offset`; zero past the end.
    pub fn read(&self, offset: u16, width: AccessWidth) -> u32 {
        let mut value = [0; 4];
        for (at, byte) in value.iter_mut().enumerate().take(width.bytes() as usize) {
            *byte = self
                .bytes
                .get(usize::from(offset) + at)
                .copied()
                .unwrap_or(0);
        }
        u32::from_le_bytes(value)
    }

    /// The 16 bits at `offset`.
    pub fn read_u16(&self, offset: u16) -> u16 {
        self.read(offset, AccessWidth::Half) as u16
    }

    /// Writes the bits that can be written of `width` bytes (at most 4) at `offset`.
    pub fn write(&mut self, offset: u16, width: AccessWidth, value: u32) {
        let bytes = value.to_le_bytes();
        for (at, new) in bytes.into_iter().enumerate().take(width.bytes() as usize) {
            let at = usize::from(offset) + at;
            if let (Some(old), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *old = *old & !mask | new & mask;
            }
        }
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.read_u16(reg::COMMAND)
    }

    /// What the base address registers map now. A register that was never set, or is being sized past the end of
    /// its space, maps nothing.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> + '_ {
        self.bars.iter().zip(0..).filter_map(|(bar, index)| {
            let bar = bar.as_ref()?;
            let at = reg::BAR0 + 4 * u16::from(index);
            let low = u64::from(self.read(at, AccessWidth::Word));
            let (space, enable, base, end) = match bar.kind {
                BarKind::Io => (Space::Io, command::IO, low, 1 << 32),
                BarKind::Memory32 { .. } => (Space::Memory, command::MEMORY, low, 1 << 32),
                BarKind::Memory64 { .. } => {
                    let high = u64::from(self.read(at + 4, AccessWidth::Word));
                    (Space::Memory, command::MEMORY, low | high << 32, u64::MAX)
                }
            };
            let base = base & !(bar.bytes - 1);
            let last = base.checked_add(bar.bytes - 1)?;
            let decoded = self.command() & enable != 0 && base != 0 && last < end - 1;
            decoded.then_some(Mapping {
                space,
                base,
                last,
                bar: index,
            })
        })
    }

    /// Puts every register into its state after power-on.
    pub fn reset(&mut self) {
        self.bytes = self.after_reset;
    }

    /// The registers, to be saved.
    pub fn save(&self) -> Vec<u8> {
        let Self {
            bytes,
            writable: _,
            after_reset: _,
            bars: _,
            free: _,
            link: _,
        } = self;
        bytes.to_vec()
    }

    /// Whether saved registers are of this function: the bits that cannot be written agree.
    pub fn fits(&self, saved: &[u8]) -> bool {
        let fixed = |bytes: &[u8]| -> Vec<u8> {
            bytes
                .iter()
                .zip(&self.writable)
                .map(|(byte, mask)| byte & !mask)
                .collect()
        };
        saved.len() == self.bytes.len() && fixed(saved) == fixed(&self.bytes)
    }

    /// Puts registers back that [fit](ConfigSpace::fits).
    pub fn restore(&mut self, saved: &[u8]) {
        if self.fits(saved) {
            self.bytes.copy_from_slice(saved);
        }
    }
}
