//! Address newtypes: an address of one space never passes for another's.

use std::fmt;
use std::ops::{Add, Sub};

/// Base-2 logarithm of the smallest guest page, 4 KiB on all three guest architectures.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in the smallest guest page.
pub const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The address as a number.
            pub const fn raw(self) -> u64 {
                self.0
            }
            /// The address rounded down to its 4 KiB page.
            pub const fn page_base(self) -> Self {
                Self(self.0 & !(PAGE_BYTES - 1))
            }
            /// Bytes from the start of the 4 KiB page.
            pub const fn page_offset(self) -> u64 {
                self.0 & (PAGE_BYTES - 1)
            }
            /// Number of the 4 KiB page.
            pub const fn page_number(self) -> u64 {
                self.0 >> PAGE_SHIFT
            }
            /// The sum, or `None` when it passes the end of the space.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
            /// The sum modulo 2^64.
            pub const fn wrapping_add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
        }
        impl Add<u64> for $name {
            type Output = Self;
            fn add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
        }
        impl Sub for $name {
            type Output = u64;
            fn sub(self, other: Self) -> u64 {
                self.0.wrapping_sub(other.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// An address of the guest's physical space, after the guest's own translation.
    GuestPhysAddr
}
address! {
    /// An address as guest instructions use it, before the guest's translation.
    GuestVirtAddr
}
address! {
    /// An address in this process.
    HostVirtAddr
}
address! {
    /// An address that a device uses for DMA, before an IOMMU.
    Iova
}

/// Number of a virtual CPU within its machine, counted from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct VcpuId(pub u32);

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu{}", self.0)
    }
}

/// Address-space identifier of a guest (RISC-V ASID, Arm ASID, x86 PCID).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Asid(pub u16);
