//! A machine that records what the SBI asks of it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use vm_core::{GuestPhysAddr, GuestVirtAddr, VcpuId};
use vm_mem::GuestMemory;

use super::{
    HardwareCounter, HartEntry, HartSet, MachineIds, RemoteFence, Sbi, SbiCall, SbiHost, SbiOutcome,
};

pub(crate) const RAM_BASE: u64 = 0x8000_0000;
pub(crate) const RAM_BYTES: u64 = 1 << 20;

pub(crate) const FAILED: i64 = -1;
pub(crate) const NOT_SUPPORTED: i64 = -2;
pub(crate) const INVALID_PARAM: i64 = -3;
pub(crate) const DENIED: i64 = -4;
pub(crate) const INVALID_ADDRESS: i64 = -5;
pub(crate) const ALREADY_AVAILABLE: i64 = -6;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Event {
    Timer(u32, u64),
    Counter(HardwareCounter, Option<u64>, bool),
    Ipi(u64),
    Fence(u32, RemoteFence, u64),
    Wake(u32),
}

struct Machine {
    memory: GuestMemory,
    events: Mutex<Vec<Event>>,
    output: Mutex<Vec<u8>>,
    output_room: AtomicUsize,
    typed: Mutex<VecDeque<u8>>,
    pending_ipis: AtomicU64,
}

impl Machine {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl SbiHost for Machine {
    fn memory(&self) -> &GuestMemory {
        &self.memory
    }
    fn machine_ids(&self) -> MachineIds {
        MachineIds {
            mvendorid: 0xaaa,
            marchid: 0xbbb,
            mimpid: 0xccc,
        }
    }
    fn set_timer(&self, hart: VcpuId, deadline_ticks: u64) {
        self.note(Event::Timer(hart.0, deadline_ticks));
    }
    fn set_counter(&self, counter: HardwareCounter, value: Option<u64>, runs: bool) {
        self.note(Event::Counter(counter, value, runs));
    }
    fn send_ipi(&self, harts: HartSet) {
        self.pending_ipis.fetch_or(harts.0, Ordering::Relaxed);
        self.note(Event::Ipi(harts.0));
    }
    fn clear_ipi(&self, hart: VcpuId) -> bool {
        let bit = 1 << hart.0;
        self.pending_ipis.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }
    fn remote_fence(&self, caller: VcpuId, fence: RemoteFence, harts: HartSet) {
        self.note(Event::Fence(caller.0, fence, harts.0));
    }
    fn wake_stopped(&self, hart: VcpuId) {
        self.note(Event::Wake(hart.0));
    }
    /// Virtual addresses are physical here.
    fn read_virtual(&self, _hart: VcpuId, addr: GuestVirtAddr) -> Option<u64> {
        let mut word = [0; 8];
        self.memory
            .read(GuestPhysAddr(addr.raw()), &mut word)
            .ok()?;
        Some(u64::from_le_bytes(word))
    }
    fn console_write(&self, bytes: &[u8]) -> usize {
        let room = self.output_room.load(Ordering::Relaxed);
        let taken = bytes.len().min(room);
        self.output_room.store(room - taken, Ordering::Relaxed);
        self.output.lock().unwrap().extend(&bytes[..taken]);
        taken
    }
    fn console_read(&self, into: &mut [u8]) -> usize {
        let mut typed = self.typed.lock().unwrap();
        let count = into.len().min(typed.len());
        for (place, byte) in into.iter_mut().zip(typed.drain(..count)) {
            *place = byte;
        }
        count
    }
}

/// An SBI with its recording machine.
pub(crate) struct Rig {
    sbi: Sbi,
    machine: Machine,
}

impl Rig {
    /// With hart 0 started.
    pub(crate) fn new(harts: u32) -> Self {
        let machine = Machine {
            memory: GuestMemory::new(&[(GuestPhysAddr(RAM_BASE), RAM_BYTES)]).unwrap(),
            events: Mutex::default(),
            output: Mutex::default(),
            output_room: AtomicUsize::new(usize::MAX),
            typed: Mutex::default(),
            pending_ipis: AtomicU64::new(0),
        };
        Self {
            sbi: Sbi::new(harts, VcpuId(0)),
            machine,
        }
    }

    pub(crate) fn all_started(harts: u32) -> Self {
        let rig = Self::new(harts);
        for hart in (1..harts).map(VcpuId) {
            let entry = HartEntry {
                pc: GuestPhysAddr(RAM_BASE),
                opaque: 0,
            };
            rig.sbi.harts().start(hart, entry).unwrap();
            rig.sbi.harts().take_start(hart).unwrap();
        }
        rig
    }

    pub(crate) fn sbi(&self) -> &Sbi {
        &self.sbi
    }

    pub(crate) fn memory(&self) -> &GuestMemory {
        &self.machine.memory
    }

    pub(crate) fn outcome(&self, hart: u32, eid: u64, function: u64, args: &[u64]) -> SbiOutcome {
        // What is not given holds garbage.
        let mut padded = [0xdead_beef_dead_beef; 6];
        padded[..args.len()].copy_from_slice(args);
        let call = SbiCall {
            args: padded,
            function,
            extension: eid,
        };
        self.sbi.handle(&self.machine, VcpuId(hart), call)
    }

    /// (error, value) of a call that returns.
    pub(crate) fn call(&self, hart: u32, eid: u64, function: u64, args: &[u64]) -> (i64, u64) {
        match self.outcome(hart, eid, function, args) {
            SbiOutcome::Return { a0, a1: Some(a1) } => (a0 as i64, a1),
            other => panic!("{other:?}"),
        }
    }

    /// What happened since the last look.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.machine.events.lock().unwrap())
    }

    pub(crate) fn console_output(&self) -> Vec<u8> {
        self.machine.output.lock().unwrap().clone()
    }

    pub(crate) fn limit_console(&self, bytes: usize) {
        self.machine.output_room.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn type_in(&self, bytes: &[u8]) {
        self.machine.typed.lock().unwrap().extend(bytes);
    }
}
