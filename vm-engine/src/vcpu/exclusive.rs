//! What one virtual CPU does while all others stand still: atomic accesses that the host cannot do as one.
//!
//! Locked accesses that cross a cache line are not left to the host's own split locks: those stop every processor of the
//! host, and kernels slow down or end programs that do them. Accesses on two pages have no single host address at all.

#![allow(unsafe_code)]

use std::sync::{PoisonError, TryLockError};

use vm_core::{GuestVirtAddr, VmExit};
use vm_frontend::{Exception, Guest};

use super::Vcpu;
use crate::shared::{Remote, VcpuShared};

/// An atomic access in parts: its bytes are loaded, the operation works on a copy of them, and that is stored.
pub(super) struct Split {
    addr: u64,
    size_log2: u8,
    copy: u64,
}

impl<G: Guest> Vcpu<G> {
    /// Runs one instruction while all other virtual CPUs stand still.
    pub(super) fn step_exclusively(&mut self) -> Option<VmExit> {
        let engine = self.engine.clone();
        let _turn = loop {
            match engine.exclusive.try_lock() {
                Ok(turn) => break turn,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                // Another one waits for this one to stand still.
                Err(TryLockError::WouldBlock) => self.serve_remote(),
            }
            self.rest(VcpuShared::nap);
        };
        let id = self.id();
        let mut others = engine.peers();
        others.retain(|peer| peer.id() != id);
        self.exclusive = true;
        self.broadcast(&others, &[Remote::StandStill]);
        let exit = self.step_online(true);
        self.exclusive = false;
        exit
    }

    /// Waits until no virtual CPU runs exclusively. This one may have been asked by another before it came to do so itself.
    ///
    /// Meanwhile it counts as one at rest: the other may begin anew before this one has its turn, and must not wait for it
    /// then. What others post meanwhile, without waiting either, is to be served before it goes on.
    pub(super) fn stand_still(&self) {
        if self.exclusive {
            return;
        }
        let running = self.shared.swap_running(false);
        let exclusive = &self.engine.exclusive;
        let turn = exclusive.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody begins anew before this is seen.
        self.shared.set_running(running);
        drop(turn);
    }

    /// Begins an atomic access in parts, of up to eight bytes, for which [`Vcpu::write_split`] is called behind the
    /// operation: gives the address of a copy of what memory holds.
    pub(crate) fn start_split(&mut self, addr: u64, size_log2: u8) -> Result<u64, Exception> {
        if !self.exclusive {
            return Err(Exception::RUN_EXCLUSIVELY);
        }
        self.probe_store(GuestVirtAddr(addr), 1 << size_log2)?;
        let [copy, _] = self.load(addr, size_log2)?;
        let split = self.split.insert(Box::new(Split {
            addr,
            size_log2,
            copy,
        }));
        Ok((&raw mut split.copy).expose_provenance() as u64)
    }

    /// Stores what an atomic operation has made of the copy. Says whether there was one.
    pub(crate) fn write_split(&mut self) -> bool {
        let Some(split) = self.split.take() else {
            return false;
        };
        // SAFETY: the box is alive; the operation has written it by its address.
        let value = unsafe { (&raw const split.copy).read_volatile() };
        // The bytes have been found writable, and nobody has run since.
        let stored = self.store(split.addr, split.size_log2, [value, 0]);
        debug_assert!(stored.is_ok(), "invariant: the store was probed");
        true
    }
}
