//! Lockstep: every block is interpreted first, then run as host code, and both must come to the same.
//!
//! The interpreter's run is a rehearsal. Its stores go to a buffer, its accesses to devices and clocks are real and
//! are logged; then the state is put back, and the host code runs for real with the log's answers. Compared are the
//! way out of the block, the whole state, the bytes stored and the accesses to devices. One virtual CPU does this at a
//! time. Devices that write to memory meanwhile are noticed: what they may have made differ is not held against the
//! host code, but counted.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use vm_core::{AccessWidth, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES};
use vm_frontend::Guest;
use vm_ir::BlockKey;
use vm_mem::{TlbSet, access};

use super::Vcpu;
use crate::microop::{Leave, MicroOp};

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

/// Something that a block asked the outside for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Read(u64, AccessWidth),
    Write(u64, AccessWidth, u64),
    Time,
    Lines,
}

/// What a rehearsal did, and how far the real run has followed.
pub(crate) struct Rehearsal {
    /// Whether it is still going on.
    recording: bool,
    /// Matches no address, so that every access takes the slow path.
    nowhere: Box<TlbSet>,
    stored: BTreeMap<u64, u8>,
    loaded: BTreeMap<u64, u8>,
    log: RefCell<VecDeque<(Asked, Option<u64>)>>,
    /// What an atomic operation works on.
    scratch: Box<[u64; 2]>,
    /// The first thing that the real run asked for and the rehearsal had not.
    strayed: Cell<Option<Asked>>,
}

impl Rehearsal {
    fn new() -> Self {
        Self {
            recording: true,
            nowhere: Box::new(TlbSet::empty()),
            stored: BTreeMap::new(),
            loaded: BTreeMap::new(),
            log: RefCell::default(),
            scratch: Box::new([0; 2]),
            strayed: Cell::new(None),
        }
    }

    /// What the rehearsal sees at `bytes` bytes of RAM, which the host has at `host`.
    fn load(&mut self, phys: u64, host: u64, bytes: u64) -> [u64; 2] {
        let mut value = [0_u8; 16];
        for n in 0..bytes {
            let byte = self.stored.get(&(phys + n)).copied().unwrap_or_else(|| {
                // SAFETY: the caller's bytes lie in one page of mapped RAM.
                let byte = unsafe { access::load(host + n, 0) } as u8;
                self.loaded.entry(phys + n).or_insert(byte);
                byte
            });
            value[n as usize] = byte;
        }
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| value[at + n]));
        [word(0), word(8)]
    }

    fn store(&mut self, phys: u64, bytes: u64, value: [u64; 2]) {
        for n in 0..bytes {
            let byte = value[n as usize / 8] >> (8 * (n % 8));
            self.stored.insert(phys + n, byte as u8);
        }
    }
}

impl<G: Guest> Vcpu<G> {
    fn rehearsing(&mut self) -> Option<&mut Rehearsal> {
        self.rehearsal.as_deref_mut().filter(|r| r.recording)
    }

    /// The table that no access finds anything in, during a rehearsal.
    pub(crate) fn rehearsal_table(&self) -> Option<*const TlbSet> {
        let rehearsal = self.rehearsal.as_deref().filter(|r| r.recording)?;
        Some(&raw const *rehearsal.nowhere)
    }

    /// In a rehearsal, what a load from RAM gives.
    pub(crate) fn rehearse_load(&mut self, phys: u64, host: u64, bytes: u64) -> Option<u64> {
        Some(self.rehearsing()?.load(phys, host, bytes)[0])
    }

    /// In a rehearsal, keeps a store to RAM back. Says whether it did.
    pub(crate) fn rehearse_store(&mut self, phys: u64, bytes: u64, value: u64) -> bool {
        self.rehearsing()
            .map(|rehearsal| rehearsal.store(phys, bytes, [value, 0]))
            .is_some()
    }

    /// In a rehearsal, where an atomic operation works in place of RAM.
    pub(crate) fn rehearse_atomic(&mut self, phys: u64, host: u64, bytes: u64) -> Option<u64> {
        let rehearsal = self.rehearsing()?;
        *rehearsal.scratch = rehearsal.load(phys, host, bytes);
        Some((&raw mut *rehearsal.scratch).expose_provenance() as u64)
    }

    /// In a rehearsal, keeps back what an atomic operation has written. Says whether it did.
    pub(crate) fn rehearse_written(&mut self, phys: u64, bytes: u64) -> bool {
        let Some(rehearsal) = self.rehearsing() else {
            return false;
        };
        // SAFETY: the box is alive; host atomics have written it by its address.
        let value = unsafe { (&raw const *rehearsal.scratch).read_volatile() };
        rehearsal.store(phys, bytes, value);
        true
    }

    /// Asks the outside, or in a real run behind a rehearsal the log.
    fn ask(&self, asked: Asked, outside: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let Some(rehearsal) = self.rehearsal.as_deref() else {
            return outside();
        };
        let mut log = rehearsal.log.borrow_mut();
        if rehearsal.recording {
            let answer = outside();
            log.push_back((asked, answer));
            return answer;
        }
        match log.pop_front() {
            Some((expected, answer)) if expected == asked => answer,
            _ => {
                rehearsal
                    .strayed
                    .set(rehearsal.strayed.get().or(Some(asked)));
                outside()
            }
        }
    }

    /// Reads from a device.
    pub(crate) fn bus_read(&self, phys: u64, width: AccessWidth) -> Option<u64> {
        let read = || self.engine.bus.read(phys, width);
        self.ask(Asked::Read(phys, width), read)
    }

    /// Writes to a device; false when there is none.
    pub(crate) fn bus_write(&self, phys: u64, width: AccessWidth, value: u64) -> bool {
        let write = || self.engine.bus.write(phys, width, value).then_some(0);
        self.ask(Asked::Write(phys, width, value), write).is_some()
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

    /// Runs the block at the program counter, which `head` is of; gives `None` when both runs differ.
    pub(super) fn execute_compared(&mut self, head: *const MicroOp) -> Option<Leave> {
        let engine = self.engine.clone();
        let Some(lockstep) = engine.lockstep.get() else {
            return Some(self.execute(head));
        };
        let pc = self.common().pc;
        let block = self.fetch_page(GuestVirtAddr(pc)).ok().and_then(|page| {
            engine.cache.find(BlockKey {
                phys_pc: page + (pc & (PAGE_BYTES - 1)),
                mode: self.mode,
            })
        });
        let Some((block, plain)) = block.and_then(|block| Some((block, block.plain.as_ref()?)))
        else {
            return Some(self.execute(head));
        };
        let turn = lockstep.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state().clone();
        let requests = self.requests.len();
        self.rehearsal = Some(Box::new(Rehearsal::new()));
        self.enter_table();
        let expected = self.execute_with(plain.head(), 0);
        let expected = (reason(expected), self.head().fault);
        self.requests.truncate(requests);
        let after = std::mem::replace(self.state_mut(), before.clone());
        if let Some(rehearsal) = self.rehearsal.as_deref_mut() {
            rehearsal.recording = false;
        }
        self.enter_table();
        let leave = self.execute_with(block.head(), 0);
        let rehearsal = self.rehearsal.take()?;
        drop(turn);
        lockstep.compared.fetch_add(1, Ordering::Relaxed);

        let mut differences = String::new();
        let found = (reason(leave), self.head().fault);
        if found.0 != expected.0 || found.0 == Leave::Exception && found.1 != expected.1 {
            let _ = writeln!(differences, "  way out: {expected:?}, host code {found:?}");
        }
        describe::<G>(&after, self.state(), &mut differences);
        for (&phys, &byte) in &rehearsal.stored {
            let found = self.byte(phys);
            if found.is_some_and(|found| found != byte) {
                let _ = writeln!(
                    differences,
                    "  byte at physical {phys:x}: {byte:02x}, host code {found:02x?}"
                );
            }
        }
        let left = rehearsal.log.borrow().front().map(|&(asked, _)| asked);
        if let Some(asked) = rehearsal.strayed.get().or(left) {
            let _ = writeln!(differences, "  only one of both runs: {asked:x?}");
        }
        if differences.is_empty() {
            return Some(leave);
        }
        let disturbed = rehearsal.loaded.iter().any(|(phys, &byte)| {
            !rehearsal.stored.contains_key(phys) && self.byte(*phys) != Some(byte)
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

    /// A byte of RAM.
    fn byte(&self, phys: u64) -> Option<u8> {
        let (range, _) = self.engine.memory.find(GuestPhysAddr(phys))?;
        let host = (range.host + (GuestPhysAddr(phys) - range.base)).raw();
        // SAFETY: the address lies in mapped RAM.
        Some(unsafe { access::load(host, 0) } as u8)
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
