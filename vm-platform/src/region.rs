//! Ranges of guest-physical addresses.

use vm_core::GuestPhysAddr;

/// A range of guest-physical addresses that one device or memory occupies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// First address.
    pub base: GuestPhysAddr,
    /// Length in bytes.
    pub bytes: u64,
}

impl Region {
    pub(crate) const fn new(base: u64, bytes: u64) -> Self {
        Self {
            base: GuestPhysAddr(base),
            bytes,
        }
    }

    /// First address behind the region.
    pub const fn end(self) -> GuestPhysAddr {
        GuestPhysAddr(self.base.raw() + self.bytes)
    }

    /// Whether the two regions share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.base.raw() < other.end().raw() && other.base.raw() < self.end().raw()
    }
}
