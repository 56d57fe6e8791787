//! Ranges of guest-physical memory.

use vm_core::GuestPhysAddr;

/// A range of guest-physical RAM that does not pass the end of the address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First address.
    pub base: GuestPhysAddr,
    /// Length in bytes.
    pub bytes: u64,
}

impl Extent {
    /// First address behind the range.
    pub const fn end(self) -> GuestPhysAddr {
        GuestPhysAddr(self.base.raw().saturating_add(self.bytes))
    }

    /// Whether all of `bytes` bytes at `addr` lie in the range.
    pub fn contains(self, addr: GuestPhysAddr, bytes: u64) -> bool {
        addr.raw()
            .checked_sub(self.base.raw())
            .and_then(|offset| offset.checked_add(bytes))
            .is_some_and(|end| end <= self.bytes)
    }
}
