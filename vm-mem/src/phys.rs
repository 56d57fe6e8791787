//! Guest-physical accesses of page walkers.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use vm_core::GuestPhysAddr;

use crate::ram::GuestMemory;

/// Guest-physical memory as a page walker sees it.
pub trait PhysMemory {
    /// Reads the naturally aligned 64-bit word; `None` when it is not RAM.
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64>;
    /// Replaces the word if it still equals `old`; false when another agent changed it (walk again) or it is
    /// not RAM.
    fn compare_exchange_u64(&self, addr: GuestPhysAddr, old: u64, new: u64) -> bool;

    /// Reads the naturally aligned 32-bit word; `None` when it is not RAM.
    fn read_u32(&self, addr: GuestPhysAddr) -> Option<u32> {
        let (base, shift) = half_of(addr);
        Some((self.read_u64(base)? >> shift) as u32)
    }

    /// Replaces the 32-bit word as [`PhysMemory::compare_exchange_u64`] does the 64-bit one. The other half of the 64-bit
    /// word stays what it is, whoever changes it meanwhile.
    fn compare_exchange_u32(&self, addr: GuestPhysAddr, old: u32, new: u32) -> bool {
        let (base, shift) = half_of(addr);
        loop {
            let Some(word) = self.read_u64(base) else {
                return false;
            };
            if (word >> shift) as u32 != old {
                return false;
            }
            let replaced = word & !(0xffff_ffff << shift) | u64::from(new) << shift;
            if self.compare_exchange_u64(base, word, replaced) {
                return true;
            }
            if self.read_u64(base) == Some(word) {
                return false;
            }
        }
    }
}

/// The 64-bit word that a 32-bit one is part of, and where in it.
fn half_of(addr: GuestPhysAddr) -> (GuestPhysAddr, u32) {
    (GuestPhysAddr(addr.raw() & !7), 8 * (addr.raw() & 4) as u32)
}

impl GuestMemory {
    fn word(&self, addr: GuestPhysAddr) -> Option<&AtomicU64> {
        if !addr.raw().is_multiple_of(8) {
            return None;
        }
        let host = self.host_range(addr, 8)?;
        // SAFETY: the eight bytes lie in the mapping, which lives as long as `self`; they are aligned, because RAM
        // ranges and mappings start at pages. DEVIATION: guest stores of other sizes may race with this access;
        // on the hosts supported they are single machine accesses, which is what the walker needs.
        Some(unsafe { AtomicU64::from_ptr(host.raw() as *mut u64) })
    }
}

impl PhysMemory for GuestMemory {
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        Some(u64::from_le(self.word(addr)?.load(Ordering::SeqCst)))
    }

    fn compare_exchange_u64(&self, addr: GuestPhysAddr, old: u64, new: u64) -> bool {
        let Some(word) = self.word(addr) else {
            return false;
        };
        let done = word
            .compare_exchange(old.to_le(), new.to_le(), Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if done && let Some((_, code)) = self.find(addr) {
            code.written(addr, 8);
        }
        done
    }
}
