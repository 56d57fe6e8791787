//! What a debugger does to a virtual CPU.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, VmExit};
use vm_frontend::{Access, BusAbort, Exception, Guest, Request, View};
use vm_ir::{Attr, Block, BlockKey};

use super::Vcpu;
use crate::jump::Entry;
use crate::microop::Leave;

impl<G: Guest> Vcpu<G> {
    /// Executes one instruction, without taking interrupts, and stops.
    pub fn step(&mut self) -> VmExit {
        self.shared.set_running(true);
        self.participant.online();
        self.drop_pointers_if_retired();
        self.serve_remote();
        self.refresh_translation();
        // A step over a waiting instruction does not wait, and one that rests goes on resting.
        let exit = match G::rests(self.state()) {
            true => VmExit::Stepped,
            false => self.step_online(false).unwrap_or(VmExit::Stepped),
        };
        self.participant.offline();
        self.shared.set_running(false);
        self.stale = true;
        match self.watch_hit.take() {
            Some((addr, write)) => VmExit::Watchpoint { addr, write },
            None => exit,
        }
    }

    /// Executes one instruction as a run would, interrupts and waiting included, after telling `before` the state that
    /// it finds.
    pub fn step_traced(&mut self, before: &mut dyn FnMut(&G::State)) -> VmExit {
        self.shared.set_running(true);
        self.participant.online();
        self.drop_pointers_if_retired();
        self.shared.exit_flag.store(0, Ordering::SeqCst);
        self.serve_remote();
        let exit = if self.shared.take_stop() {
            VmExit::Interrupted
        } else {
            let exit = self.refresh().or_else(|| {
                if G::rests(self.state()) {
                    self.wait();
                    return None;
                }
                before(self.state());
                self.step_online(true)
            });
            exit.unwrap_or(VmExit::Stepped)
        };
        self.participant.offline();
        self.shared.set_running(false);
        self.stale = true;
        exit
    }

    pub(super) fn step_online(&mut self, waits: bool) -> Option<VmExit> {
        let pc = self.common().pc;
        let lifted = self.fetch_page_in(GuestVirtAddr(pc)).and_then(|fetched| {
            let key = BlockKey {
                phys_pc: fetched.page + (pc & (PAGE_BYTES - 1)),
                mode: self.mode,
            };
            let block = self.lift(key, pc, 1, &[])?;
            if !fetched.whole {
                self.check_last_half(&block, pc)?;
            }
            Ok(block)
        });
        let block = match lifted {
            Ok(block) => block,
            Err(exception) => return self.raise(exception),
        };
        let code = self
            .predecode(&block, false, false)
            .expect("invariant: one instruction's temporaries fit");
        self.spare = block;
        // A budget of no instruction at all makes the end of this one come back here.
        self.head().counters.interpreted += 1;
        self.runs_one = true;
        let leave = self.execute_with(Entry::Ops(code.head()), 0);
        self.runs_one = false;
        match leave {
            Leave::Link => None,
            other => {
                if !waits {
                    self.requests.retain(|request| *request != Request::Wait);
                }
                self.left(other)
            }
        }
    }

    /// Whether the last two bytes of a block of one instruction may be fetched, which may have other rights than its
    /// first ones.
    fn check_last_half(&self, block: &Block, pc: u64) -> Result<(), Exception> {
        let bytes = block.insts.iter().find_map(|inst| match inst.attr {
            Attr::Insn { len, .. } => Some(u64::from(len)),
            _ => None,
        });
        let before = bytes.unwrap_or_default().saturating_sub(G::PARCEL_BYTES);
        let last = GuestVirtAddr(pc).wrapping_add(before);
        G::translate(
            self.state(),
            &self.engine.memory,
            View::Current,
            last,
            G::PARCEL_BYTES,
            Access::Execute,
        )
        .map(|_| ())
    }

    /// Where the next run is to start; it does not stop at a breakpoint there.
    pub fn start_past_breakpoint(&mut self) {
        self.resume_at = Some(GuestVirtAddr(self.common().pc));
    }

    pub(crate) fn stops_at(&mut self, pc: GuestVirtAddr) -> bool {
        let resumed = self.resume_at.take() == Some(pc);
        !resumed && self.engine.stops.load().breakpoints.contains(&pc)
    }

    /// Whether the guest or a debugger wants to know of accesses to the page.
    pub(crate) fn watches_page(&self, state: &G::State, addr: GuestVirtAddr) -> bool {
        self.engine.stops.load().watches_page(addr) || G::watches_page(state, addr)
    }

    /// Has the run loop stop behind this instruction when it accesses something that a debugger watches, and the guest
    /// learn of its own breakpoints.
    pub(crate) fn note_watched(&mut self, addr: GuestVirtAddr, bytes: u64, write: bool) {
        if self.rehearsal_table().is_some() {
            return;
        }
        let hits = G::data_hits(self.state(), addr, bytes, write);
        if hits != 0 {
            self.data_hits |= hits;
            self.stale = true;
        }
        let hit = self.engine.stops.load().hit(addr, bytes, write);
        if let Some(addr) = hit {
            self.watch_hit = Some((addr, write));
            self.shared.attention();
        }
    }

    /// Reads guest memory as the debugger does: by the current translation, without side effects on devices.
    ///
    /// # Errors
    /// The exception that the guest would get.
    pub fn debug_read(&mut self, addr: GuestVirtAddr, into: &mut [u8]) -> Result<(), Exception> {
        for (n, byte) in into.iter_mut().enumerate() {
            let at = addr.wrapping_add(n as u64);
            let phys = self.debug_translate(at)?;
            let slot = std::slice::from_mut(byte);
            let found = self.engine.map.find(phys, false);
            if found.is_none_or(|found| found.read(slot).is_err()) {
                abort::<G>(at, Access::Read)?;
                *byte = 0xff;
            }
        }
        Ok(())
    }

    fn debug_translate(&self, at: GuestVirtAddr) -> Result<GuestPhysAddr, Exception> {
        let (memory, view) = (&self.engine.memory, View::Supervisor);
        let mapping = G::translate(self.state(), memory, view, at, 1, Access::Read)?;
        Ok(mapping.page + at.page_offset())
    }

    /// Writes guest memory as the debugger does: wherever a read is allowed, code included.
    ///
    /// # Errors
    /// The exception that the guest would get.
    pub fn debug_write(&mut self, addr: GuestVirtAddr, from: &[u8]) -> Result<(), Exception> {
        for (n, byte) in from.iter().enumerate() {
            let at = addr.wrapping_add(n as u64);
            let phys = self.debug_translate(at)?;
            if self.engine.memory.write(phys, &[*byte]).is_err() {
                abort::<G>(at, Access::Write)?;
            }
        }
        Ok(())
    }
}

/// The exception of an access that reaches nothing, if it has one.
fn abort<G: Guest>(at: GuestVirtAddr, access: Access) -> Result<(), Exception> {
    match G::bus_error(at, access) {
        BusAbort::Raise(exception) => Err(exception),
        BusAbort::Value(_) => Ok(()),
    }
}
