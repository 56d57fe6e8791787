//! Many bytes at once, for instructions that move them.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use vm_core::{GuestPhysAddr, GuestVirtAddr};
use vm_frontend::{Access, Guest};
use vm_mem::access;

use super::Vcpu;
use crate::interp::memory;

impl<G: Guest> Vcpu<G> {
    /// What [`vm_frontend::SysEnv::copy_bytes`] promises.
    pub(super) fn copy_bytes(&mut self, to: u64, from: u64, bytes: u64) -> u64 {
        let bytes = Self::in_page(to, Self::in_page(from, bytes));
        // Bytes that the copy itself has written are read again from there on.
        let at_once = |target: u64, source: u64| match target.wrapping_sub(source) {
            0 => bytes,
            ahead => bytes.min(ahead),
        };
        if let Some(source) = self.known(from, bytes, false)
            && let Some(target) = self.known(to, bytes, true)
        {
            let bytes = at_once(target, source);
            // SAFETY: both ranges are of mapped guest RAM, each within a page.
            unsafe { access::copy(target, source, bytes) };
            return bytes;
        }
        let Some((source, _)) = self.plain(from, bytes, Access::Read) else {
            return 0;
        };
        let Some((target, phys)) = self.plain(to, bytes, Access::Write) else {
            return 0;
        };
        let bytes = at_once(target, source);
        // SAFETY: as above.
        unsafe { access::copy(target, source, bytes) };
        self.note_stored(phys, bytes);
        bytes
    }

    /// What [`vm_frontend::SysEnv::fill_bytes`] promises.
    pub(super) fn fill_bytes(&mut self, addr: u64, pattern: u64, bytes: u64) -> u64 {
        let bytes = Self::in_page(addr, bytes);
        if let Some(target) = self.known(addr, bytes, true) {
            // SAFETY: the range is of mapped guest RAM, within a page.
            unsafe { access::fill(target, pattern, bytes) };
            return bytes;
        }
        let Some((target, phys)) = self.plain(addr, bytes, Access::Write) else {
            return 0;
        };
        // SAFETY: the range is of mapped guest RAM, within a page.
        unsafe { access::fill(target, pattern, bytes) };
        self.note_stored(phys, bytes);
        bytes
    }

    /// What [`vm_frontend::SysEnv::load_bytes`] promises.
    pub(super) fn load_bytes(&mut self, addr: u64, into: &mut [u8]) -> usize {
        let bytes = Self::in_page(addr, into.len() as u64);
        let known = self.known(addr, bytes, false);
        let source = known.or_else(|| Some(self.plain(addr, bytes, Access::Read)?.0));
        let Some(source) = source else {
            return 0;
        };
        let target = into.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the source is mapped guest RAM, within a page; the target is the slice.
        unsafe { access::copy(target, source, bytes) };
        bytes as usize
    }

    /// Host address of bytes of one page that the TLB lets be accessed. It has no page that is watched, and lets no write
    /// through to one that has code.
    fn known(&mut self, addr: u64, bytes: u64, write: bool) -> Option<u64> {
        // Where blocks are compared, both runs must take the same steps.
        if bytes == 0 || self.engine.lockstep.get().is_some() {
            return None;
        }
        // SAFETY: the frame's table is the one in use.
        let entry = unsafe { memory::entry(self.frame.as_ptr().cast(), addr, bytes, write)? };
        Some(addr.wrapping_add(entry.addend.load(Ordering::Relaxed)))
    }

    /// Host and guest-physical address of bytes of one page that may be accessed without further ado.
    fn plain(&mut self, addr: u64, bytes: u64, kind: Access) -> Option<(u64, GuestPhysAddr)> {
        // Where blocks are compared, both runs must take the same steps.
        if bytes == 0
            || self.engine.lockstep.get().is_some()
            || !self.engine.stops.load().watchpoints.is_empty()
        {
            return None;
        }
        if G::watches_page(self.state(), GuestVirtAddr(addr)) {
            return None;
        }
        let place = self.reach(GuestVirtAddr(addr), bytes, kind).ok()?;
        if kind == Access::Write {
            self.check_code(place, bytes).ok()?;
        }
        Some((place.host?, place.phys))
    }

    fn note_stored(&self, phys: GuestPhysAddr, bytes: u64) {
        if let Some(code) = self.engine.code_at(phys) {
            code.written(phys, bytes);
        }
    }
}
