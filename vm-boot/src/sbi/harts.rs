//! Sets of harts, and the states of the HSM extension.
//!
//! Each hart's state is one atomic word. A hart changes its own state except for the start, where the starter
//! first claims the stopped hart, then leaves the entry, then publishes; of two starters one wins.

#![allow(
    unexpected_cfgs,
    reason = "cfg(loom) is given by hand to model-check this module"
)]

use vm_core::{GuestPhysAddr, VcpuId};

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// Most harts of one machine.
pub const MAX_HARTS: u32 = 64;

/// A set of harts; bit `n` stands for hart `n`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HartSet(pub u64);

impl HartSet {
    /// Whether the hart is in the set.
    pub const fn contains(self, hart: VcpuId) -> bool {
        hart.0 < MAX_HARTS && self.0 >> hart.0 & 1 != 0
    }

    /// Whether there is none in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The harts of the set, in order.
    pub fn iter(self) -> impl Iterator<Item = VcpuId> {
        (0..MAX_HARTS)
            .map(VcpuId)
            .filter(move |&hart| self.contains(hart))
    }
}

/// State of a hart (SBI, "HSM Hart States").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum HsmState {
    /// It executes.
    Started = 0,
    /// It waits to be started.
    Stopped = 1,
    /// It was told to start.
    StartPending = 2,
    /// It asked to be stopped.
    StopPending = 3,
    /// It sleeps until an interrupt comes.
    Suspended = 4,
}

/// Where a hart starts, in S-mode with translation and interrupts off, a0 = its id, a1 = `opaque`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HartEntry {
    /// First instruction.
    pub pc: GuestPhysAddr,
    /// Value for a1.
    pub opaque: u64,
}

const STARTED: u64 = HsmState::Started as u64;
const STOPPED: u64 = HsmState::Stopped as u64;
const START_PENDING: u64 = HsmState::StartPending as u64;
const STOP_PENDING: u64 = HsmState::StopPending as u64;
const SUSPENDED: u64 = HsmState::Suspended as u64;
/// A starter has the hart and is writing the entry; shown as start-pending.
const CLAIMED: u64 = 0x10;

#[derive(Debug)]
struct Slot {
    state: AtomicU64,
    entry_pc: AtomicU64,
    entry_opaque: AtomicU64,
}

impl Slot {
    fn change(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// The states of a machine's harts.
#[derive(Debug)]
pub struct HartStates {
    slots: Box<[Slot]>,
    boot: VcpuId,
}

impl HartStates {
    /// `harts` harts, of which `boot` is started and the others are stopped.
    ///
    /// # Panics
    /// When `harts` is zero or above [`MAX_HARTS`], or `boot` is not one of them.
    pub fn new(harts: u32, boot: VcpuId) -> Self {
        assert!(
            (1..=MAX_HARTS).contains(&harts) && boot.0 < harts,
            "invariant: 1 to 64 harts"
        );
        let slot = |hart| Slot {
            state: AtomicU64::new(if hart == boot.0 { STARTED } else { STOPPED }),
            entry_pc: AtomicU64::new(0),
            entry_opaque: AtomicU64::new(0),
        };
        Self {
            slots: (0..harts).map(slot).collect(),
            boot,
        }
    }

    /// Puts all states back to those of [`new`](Self::new). No hart may be running.
    pub fn reset(&self) {
        for (hart, slot) in self.slots.iter().enumerate() {
            let state = if hart == self.boot.0 as usize {
                STARTED
            } else {
                STOPPED
            };
            slot.state.store(state, Ordering::Release);
        }
    }

    /// The state of a hart of this machine.
    pub fn state(&self, hart: VcpuId) -> HsmState {
        match self.slot(hart).state.load(Ordering::Acquire) {
            STARTED => HsmState::Started,
            STOPPED => HsmState::Stopped,
            STOP_PENDING => HsmState::StopPending,
            SUSPENDED => HsmState::Suspended,
            _ => HsmState::StartPending,
        }
    }

    /// To be called by a waiting hart: the entry, once it was told to start. The hart is started then.
    pub fn take_start(&self, hart: VcpuId) -> Option<HartEntry> {
        let slot = self.slot(hart);
        if slot.state.load(Ordering::Acquire) != START_PENDING {
            return None;
        }
        let entry = HartEntry {
            pc: GuestPhysAddr(slot.entry_pc.load(Ordering::Relaxed)),
            opaque: slot.entry_opaque.load(Ordering::Relaxed),
        };
        // Only a reset could get in between, and no hart runs then.
        slot.change(START_PENDING, STARTED).then_some(entry)
    }

    /// To be called by a hart that got [`SbiOutcome::Stop`](super::SbiOutcome::Stop) and no longer executes.
    pub fn stopped(&self, hart: VcpuId) {
        self.slot(hart).change(STOP_PENDING, STOPPED);
    }

    /// To be called by a hart that got [`SbiOutcome::Suspend`](super::SbiOutcome::Suspend) when it wakes.
    pub fn resumed(&self, hart: VcpuId) {
        self.slot(hart).change(SUSPENDED, STARTED);
    }

    /// Tells a stopped hart to start, or says in which other state it is.
    pub(super) fn start(&self, hart: VcpuId, entry: HartEntry) -> Result<(), HsmState> {
        let slot = self.slot(hart);
        if !slot.change(STOPPED, CLAIMED) {
            return Err(self.state(hart));
        }
        slot.entry_pc.store(entry.pc.raw(), Ordering::Relaxed);
        slot.entry_opaque.store(entry.opaque, Ordering::Relaxed);
        slot.state.store(START_PENDING, Ordering::Release);
        Ok(())
    }

    /// Begins to stop a started hart; false if it is not started.
    pub(super) fn stop(&self, hart: VcpuId) -> bool {
        self.slot(hart).change(STARTED, STOP_PENDING)
    }

    /// Suspends a started hart; false if it is not started.
    pub(super) fn suspend(&self, hart: VcpuId) -> bool {
        self.slot(hart).change(STARTED, SUSPENDED)
    }

    /// The hart of an id, when there is one.
    pub(super) fn find(&self, id: u64) -> Option<VcpuId> {
        (id < self.slots.len() as u64).then_some(VcpuId(id as u32))
    }

    /// All harts.
    pub(super) fn all(&self) -> HartSet {
        HartSet(u64::MAX >> (u64::from(MAX_HARTS) - self.slots.len() as u64))
    }

    /// Those of the set that exist.
    pub(super) fn existing(&self, harts: HartSet) -> HartSet {
        HartSet(harts.0 & self.all().0)
    }

    /// Those of the set that execute or sleep; only they can take interrupts and need fences.
    pub(super) fn running(&self, harts: HartSet) -> HartSet {
        let runs =
            |hart: &VcpuId| matches!(self.state(*hart), HsmState::Started | HsmState::Suspended);
        let bits = self
            .existing(harts)
            .iter()
            .filter(runs)
            .fold(0, |set, hart| set | 1 << hart.0);
        HartSet(bits)
    }

    /// The harts that a (mask, base) pair names (SBI, "Hart list parameter"); `None` if one does not exist.
    pub(super) fn named_by(&self, mask: u64, base: u64) -> Option<HartSet> {
        if base == u64::MAX {
            return Some(self.all());
        }
        let first = self.find(base)?;
        let shifted = mask << first.0;
        let fits = shifted >> first.0 == mask;
        (fits && self.existing(HartSet(shifted)) == HartSet(shifted)).then_some(HartSet(shifted))
    }

    fn slot(&self, hart: VcpuId) -> &Slot {
        &self.slots[hart.0 as usize]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn entry(n: u64) -> HartEntry {
        HartEntry {
            pc: GuestPhysAddr(0x1000 * n),
            opaque: !n,
        }
    }

    #[test]
    fn transitions_outside_the_state_machine_are_refused() {
        let harts = HartStates::new(2, VcpuId(0));
        let (running, waiting) = (VcpuId(0), VcpuId(1));
        assert!(!harts.stop(waiting));
        assert!(!harts.suspend(waiting));
        harts.resumed(waiting);
        harts.stopped(running);
        assert_eq!(harts.take_start(waiting), None);
        assert_eq!(harts.state(running), HsmState::Started);
        assert_eq!(harts.state(waiting), HsmState::Stopped);
        assert_eq!(harts.start(running, entry(1)), Err(HsmState::Started));
        assert!(harts.suspend(running));
        assert!(!harts.stop(running));
        assert_eq!(harts.start(running, entry(1)), Err(HsmState::Suspended));
    }

    #[test]
    fn reset_leaves_the_boot_hart_alone_running() {
        let harts = HartStates::new(3, VcpuId(2));
        harts.start(VcpuId(0), entry(1)).unwrap();
        harts.suspend(VcpuId(2));
        harts.reset();
        assert_eq!(harts.take_start(VcpuId(0)), None);
        let states = [0, 1, 2].map(|hart| harts.state(VcpuId(hart)));
        assert_eq!(
            states,
            [HsmState::Stopped, HsmState::Stopped, HsmState::Started]
        );
    }

    #[test]
    fn named_by_covers_64_harts() {
        let harts = HartStates::new(64, VcpuId(0));
        assert_eq!(harts.all(), HartSet(u64::MAX));
        assert_eq!(harts.named_by(u64::MAX, 0), Some(HartSet(u64::MAX)));
        assert_eq!(harts.named_by(1, 63), Some(HartSet(1 << 63)));
        assert_eq!(harts.named_by(2, 63), None);
        assert_eq!(harts.named_by(0, 64), None);
    }

    #[test]
    fn start_race_has_one_winner_whose_entry_arrives_whole() {
        for _ in 0..2000 {
            let harts = HartStates::new(2, VcpuId(0));
            let (wins, taken) = std::thread::scope(|scope| {
                let starters = [1, 2].map(|n| {
                    let harts = &harts;
                    scope.spawn(move || harts.start(VcpuId(1), entry(n)).is_ok())
                });
                let taker = scope.spawn(|| {
                    loop {
                        if let Some(entry) = harts.take_start(VcpuId(1)) {
                            return entry;
                        }
                        std::hint::spin_loop();
                    }
                });
                (starters.map(|s| s.join().unwrap()), taker.join().unwrap())
            });
            let winner = match wins {
                [true, false] => 1,
                [false, true] => 2,
                both => panic!("{both:?}"),
            };
            assert_eq!(taken, entry(winner));
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn entry(n: u64) -> HartEntry {
        HartEntry {
            pc: GuestPhysAddr(n),
            opaque: n,
        }
    }

    #[test]
    fn start_race_has_one_winner_whose_entry_arrives_whole() {
        loom::model(|| {
            let harts = Arc::new(HartStates::new(2, VcpuId(0)));
            let other = harts.clone();
            let rival = thread::spawn(move || other.start(VcpuId(1), entry(2)).is_ok());
            let other = harts.clone();
            let target = thread::spawn(move || other.take_start(VcpuId(1)));
            let mine = harts.start(VcpuId(1), entry(1)).is_ok();
            let theirs = rival.join().unwrap();
            let taken = target
                .join()
                .unwrap()
                .or_else(|| harts.take_start(VcpuId(1)));
            // A start after the other's start was taken finds the hart started, so one wins always.
            assert!(mine != theirs);
            assert_eq!(taken, Some(entry(if mine { 1 } else { 2 })));
        });
    }

    #[test]
    fn stop_then_start_is_never_lost() {
        loom::model(|| {
            let harts = Arc::new(HartStates::new(1, VcpuId(0)));
            let other = harts.clone();
            let starter = thread::spawn(move || other.start(VcpuId(0), entry(1)));
            assert!(harts.stop(VcpuId(0)));
            harts.stopped(VcpuId(0));
            let result = starter.join().unwrap();
            match result {
                Ok(()) => assert_eq!(harts.take_start(VcpuId(0)), Some(entry(1))),
                Err(_) => assert_eq!(harts.state(VcpuId(0)), HsmState::Stopped),
            }
        });
    }
}
