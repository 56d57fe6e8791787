//! Lockstep: every block is interpreted first, then run as host code, and both must come to the same.
//!
//! The interpreter's run is a rehearsal. Its stores go to a buffer, its accesses to devices and clocks are real and
//! are logged; then the state is put back, and the host code runs for real with the log's answers. Compared are the
//! way out of the block, the whole state, the bytes stored and the accesses to devices. One virtual CPU does this at a
//! time. Devices that write to memory meanwhile are noticed: what they may have made differ is not held against the
//! host code, but counted.

#![allow(unsafe_code)]

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use vm_core::{AccessWidth, GuestPhysAddr, GuestVirtAddr, LocalIrq, PAGE_BYTES};
use vm_frontend::Guest;
use vm_ir::BlockKey;
use vm_mem::{TlbSet, access};

use super::Vcpu;
use super::rehearsal::{Asked, Phase, Rehearsal};
use crate::jump::Entry;
use crate::microop::Leave;

/// Who is told of a difference, in several lines.
pub type Report = Box<dyn Fn(&str) + Send + Sync>;

/// Lockstep of one machine.
pub(crate) struct Lockstep {
    /// Who compares now.
    turn: Mutex<()>,
    report: Report,
    compared: AtomicU64,
    disturbed: AtomicU64,
}

impl Lockstep {
    pub(crate) fn new(report: Report) -> Self {
        Self {
            turn: Mutex::new(()),
            report,
            compared: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
        }
    }

    /// Blocks compared, and blocks not compared because a device wrote what they read.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.compared), count(&self.disturbed))
    }
}

impl<G: Guest> Vcpu<G> {
    fn rehearsing(&mut self) -> Option<&mut Rehearsal> {
        let rehearsal = self.rehearsal.as_deref_mut();
        rehearsal.filter(|rehearsal| rehearsal.phase == Phase::Recording)
    }

    /// The table that no access finds anything in, during a rehearsal.
    pub(crate) fn rehearsal_table(&self) -> Option<*const TlbSet> {
        let rehearsal = self.rehearsal.as_deref()?;
        (rehearsal.phase == Phase::Recording).then_some(&raw const *rehearsal.nowhere)
    }

    /// In a rehearsal, what a load from RAM gives.
    pub(crate) fn rehearse_load(&mut self, phys: u64, host: u64, bytes: u64) -> Option<u64> {
        Some(self.rehearsing()?.load(phys, host, bytes))
    }

    /// In a rehearsal, keeps a store to RAM back. Says whether it did.
    pub(crate) fn rehearse_store(&mut self, phys: u64, bytes: u64, value: u64) -> bool {
        self.rehearsing()
            .map(|rehearsal| rehearsal.store(phys, bytes, value))
            .is_some()
    }

    /// In a rehearsal, where an atomic operation works in place of RAM.
    pub(crate) fn rehearse_atomic(&mut self, phys: u64, host: u64, bytes: u64) -> Option<u64> {
        let rehearsal = self.rehearsing()?;
        for (n, at) in (0..bytes).step_by(8).enumerate() {
            rehearsal.scratch[n] = rehearsal.load(phys + at, host + at, (bytes - at).min(8));
        }
        Some((&raw mut *rehearsal.scratch).expose_provenance() as u64)
    }

    /// In a rehearsal, keeps back what an atomic operation has written. Says whether it did.
    pub(crate) fn rehearse_written(&mut self, phys: u64, bytes: u64) -> bool {
        let Some(rehearsal) = self.rehearsing() else {
            return false;
        };
        // SAFETY: the box is alive; host atomics have written it by its address.
        let value = unsafe { (&raw const *rehearsal.scratch).read_volatile() };
        for (n, at) in (0..bytes).step_by(8).enumerate() {
            rehearsal.store(phys + at, (bytes - at).min(8), value[n]);
        }
        true
    }

    /// Asks the outside, or in a real run behind a rehearsal the log.
    fn ask(&self, asked: Asked, outside: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let Some(rehearsal) = self.rehearsal.as_deref() else {
            return outside();
        };
        match rehearsal.phase {
            Phase::Idle => outside(),
            Phase::Recording => {
                let answer = outside();
                rehearsal.log.borrow_mut().push((asked, answer));
                answer
            }
            Phase::Following => {
                let at = rehearsal.followed.get();
                rehearsal.followed.set(at + 1);
                match rehearsal.log.borrow().get(at) {
                    Some(&(expected, answer)) if expected == asked => answer,
                    _ => {
                        let strayed = rehearsal.strayed.get().or(Some(asked));
                        rehearsal.strayed.set(strayed);
                        outside()
                    }
                }
            }
        }
    }

    /// Reads from a device.
    pub(crate) fn bus_read(&self, phys: u64, width: AccessWidth) -> Option<u64> {
        let read = || match self.own_window(phys) {
            Some((controller, offset)) => Some(controller.read(offset, width)),
            None => self.engine.bus.read(phys, width),
        };
        self.ask(Asked::Read(phys, width), read)
    }

    /// Writes to a device; false when there is none.
    pub(crate) fn bus_write(&self, phys: u64, width: AccessWidth, value: u64) -> bool {
        let write = || {
            if let Some((controller, offset)) = self.own_window(phys) {
                controller.write(offset, width, value);
                return Some(0);
            }
            let written = self.engine.bus.write(phys, width, value);
            self.engine.rom_written(GuestPhysAddr(phys));
            written.then_some(0)
        };
        self.ask(Asked::Write(phys, width, value), write).is_some()
    }

    /// The virtual CPU's own interrupt controller, if an address is in its window, and where there.
    fn own_window(&self, phys: u64) -> Option<(&dyn LocalIrq, u64)> {
        let controller = self.local_irq.as_deref()?;
        let (base, bytes) = controller.window()?;
        let offset = phys.wrapping_sub(base);
        (offset < bytes).then_some((controller, offset))
    }

    /// Reads an I/O port.
    pub(crate) fn port_read(&self, port: u16, width: AccessWidth) -> u64 {
        let read = || self.engine.ports.read(port.into(), width);
        let answer = self.ask(Asked::PortRead(port, width), read);
        answer.unwrap_or(width.mask())
    }

    /// Writes an I/O port.
    pub(crate) fn port_write(&self, port: u16, width: AccessWidth, value: u64) {
        let write = || Some(self.engine.ports.write(port.into(), width, value).into());
        self.ask(Asked::PortWrite(port, width, value), write);
    }

    /// Reads a register of the virtual CPU's own interrupt controller.
    pub(crate) fn local_irq_read(&self, register: u32) -> Option<u64> {
        let read = || self.local_irq.as_ref()?.register_read(register);
        self.ask(Asked::LocalRead(register), read)
    }

    /// Writes a register of the virtual CPU's own interrupt controller.
    pub(crate) fn local_irq_write(&self, register: u32, value: u64) -> bool {
        let write = || {
            let controller = self.local_irq.as_ref()?;
            controller.register_write(register, value).then_some(0)
        };
        self.ask(Asked::LocalWrite(register, value), write)
            .is_some()
    }

    /// What the virtual CPU's own interrupt controller has for it now.
    pub(crate) fn acknowledge_interrupt(&self) -> Option<u32> {
        let take = || Some(self.local_irq.as_ref()?.acknowledge()?.into());
        self.ask(Asked::Acknowledge, take)
            .map(|number| number as u32)
    }

    /// Where the virtual CPU has been told to start.
    pub(crate) fn take_startup(&self) -> Option<u32> {
        let take = || Some(self.local_irq.as_ref()?.take_startup()?.into());
        self.ask(Asked::Startup, take).map(|place| place as u32)
    }

    /// A number of the host's generator.
    pub(crate) fn random(&self) -> u64 {
        let make = || {
            let mut bytes = [0; 8];
            vm_osal::random_bytes(&mut bytes);
            Some(u64::from_le_bytes(bytes))
        };
        self.ask(Asked::Random, make).unwrap_or_default()
    }

    /// Ticks of the guest's time counter.
    pub(crate) fn time(&self) -> u64 {
        let now = || Some(self.engine.time());
        self.ask(Asked::Time, now).unwrap_or_default()
    }

    /// Lines that are high, as a block sees them.
    pub(crate) fn lines_in_block(&self) -> u64 {
        let lines = || Some(self.lines());
        self.ask(Asked::Lines, lines).unwrap_or_default()
    }

    /// Runs the block at the program counter, which `entry` is of; gives `None` when both runs differ.
    pub(super) fn execute_compared(&mut self, entry: Entry) -> Option<Leave> {
        let engine = self.engine.clone();
        let Some(lockstep) = engine.lockstep.get() else {
            return Some(self.execute(entry));
        };
        // Until all is compared: another virtual CPU may store where this one just has.
        let _turn = lockstep.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let pc = self.common().pc;
        let block = self.fetch_page(GuestVirtAddr(pc)).ok().and_then(|page| {
            engine.cache.find(BlockKey {
                phys_pc: page + (pc & (PAGE_BYTES - 1)),
                mode: self.mode,
            })
        });
        let Some((block, plain)) = block.and_then(|block| Some((block, block.plain.as_ref()?)))
        else {
            return Some(self.execute(entry));
        };
        let before = *self.state();
        let requests = self.requests.len();
        let counters = self.head().counters;
        self.rehearsal
            .get_or_insert_with(|| Box::new(Rehearsal::new()))
            .start();
        self.enter_table();
        let expected = self.execute_with(Entry::Ops(plain.head()), 0);
        let expected = (reason(expected), self.head().fault);
        self.requests.truncate(requests);
        self.head().counters = counters;
        let rehearsed = *self.state();
        *self.state_mut() = before;
        self.set_phase(Phase::Following);
        self.enter_table();
        let leave = self.execute_with(block.entry(), 0);
        self.set_phase(Phase::Idle);
        lockstep.compared.fetch_add(1, Ordering::Relaxed);

        let mut differences = String::new();
        let found = (reason(leave), self.head().fault);
        if found.0 != expected.0 || found.0 == Leave::Exception && found.1 != expected.1 {
            let _ = writeln!(differences, "  way out: {expected:?}, host code {found:?}");
        }
        describe::<G>(&rehearsed, self.state(), &mut differences);
        let rehearsal = self.rehearsal.as_deref()?;
        for word in &rehearsal.stored.words {
            let found = self.word(word.phys).map(|found| found & word.mask);
            if found.is_some_and(|found| found != word.value) {
                let _ = writeln!(
                    differences,
                    "  bytes {:x} of the word at physical {:x}: {:x}, host code {found:x?}",
                    word.mask, word.phys, word.value
                );
            }
        }
        let log = rehearsal.log.borrow();
        let left = log.get(rehearsal.followed.get()).map(|&(asked, _)| asked);
        if let Some(asked) = rehearsal.strayed.get().or(left) {
            let _ = writeln!(differences, "  only one of both runs: {asked:x?}");
        }
        drop(log);
        if differences.is_empty() {
            return Some(leave);
        }
        let disturbed = rehearsal.loaded.iter().any(|word| {
            let mask = rehearsal.unstored(word);
            self.word(word.phys)
                .is_none_or(|found| (found ^ word.value) & mask != 0)
        });
        if disturbed {
            lockstep.disturbed.fetch_add(1, Ordering::Relaxed);
            return Some(leave);
        }
        (lockstep.report)(&format!(
            "host code differs from the interpreter in the block at {pc:x} (physical {:x}, mode {:x}):\n{differences}",
            block.key.phys_pc.raw(),
            block.key.mode.0
        ));
        None
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Some(rehearsal) = self.rehearsal.as_deref_mut() {
            rehearsal.phase = phase;
        }
    }

    /// An aligned word of memory.
    fn word(&self, phys: u64) -> Option<u64> {
        let host = self
            .engine
            .map
            .find(GuestPhysAddr(phys), false)?
            .host()
            .raw();
        // SAFETY: the address lies in mapped RAM, whose ranges are of whole pages.
        Some(unsafe { access::load(host, 3) })
    }
}

/// Reasons that differ only in how the next block is found are one.
fn reason(leave: Leave) -> Leave {
    match leave {
        Leave::Attention | Leave::Link | Leave::Lookup => Leave::Lookup,
        other => other,
    }
}

/// Lines for every part of the state that differs: slots by their names, what is no slot as it prints.
fn describe<G: Guest>(expected: &G::State, found: &G::State, into: &mut String) {
    if expected == found {
        return;
    }
    let slots = into.len();
    for slot in G::layout().slots {
        let word = |state: &G::State, n: usize| {
            // SAFETY: layouts give offsets of whole slots inside the state, which is plain old data there.
            unsafe {
                (&raw const *state)
                    .cast::<u8>()
                    .add(slot.offset as usize + 8 * n)
                    .cast::<u64>()
                    .read()
            }
        };
        for n in 0..slot.ty.slot_bytes() as usize / 8 {
            let (a, b) = (word(expected, n), word(found, n));
            if a != b {
                let _ = writeln!(into, "  {}: {a:x}, host code {b:x}", slot.name);
            }
        }
    }
    if into.len() == slots {
        let (a, b) = (format!("{expected:#x?}"), format!("{found:#x?}"));
        for (a, b) in a.lines().zip(b.lines()).filter(|(a, b)| a != b) {
            let _ = writeln!(into, "  {}: host code {}", a.trim(), b.trim());
        }
    }
}
