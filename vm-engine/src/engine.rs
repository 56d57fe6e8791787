//! What the virtual CPUs of one machine share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use vm_core::{Alarms, GuestPhysAddr, GuestVirtAddr, TimeBase, Watchpoint};
use vm_device::Bus;
use vm_frontend::{FlushScope, Guest};
use vm_gc::Collector;
use vm_mem::{CodePages, CodeWriteObserver, GuestMemory, PhysMap};

use crate::cache::{BlockCache, CacheStats};
use crate::shared::{Remote, VcpuShared};
use crate::tier::Translator;
use crate::vcpu::verify::{Lockstep, Report};

/// What an engine is made of.
pub struct EngineParts<G: Guest> {
    /// Instructions and features of the virtual CPUs.
    pub config: G::Config,
    /// RAM, and what virtual CPUs find in its place. An engine watches it for changes and writes to code, so it belongs to
    /// one engine.
    pub memory: PhysMap,
    /// Devices.
    pub bus: Arc<Bus>,
    /// I/O ports, for an ISA that has them.
    pub ports: Arc<Bus>,
    /// Address ranges (base, bytes) of the bus that hold code: boot ROM, flash. A virtual CPU's write to one throws
    /// away what was translated from it.
    pub rom: Vec<(GuestPhysAddr, u64)>,
    /// The guest's time counter. Others of the machine may show it too, and set it.
    pub time: Arc<TimeBase>,
    /// Timers of the clock that the counter follows.
    pub alarms: Arc<dyn Alarms>,
    /// Host bytes that translated blocks may take before they are thrown away.
    pub code_budget_bytes: usize,
}

/// The shared half of the software CPU.
pub struct Engine<G: Guest> {
    pub(crate) config: G::Config,
    pub(crate) memory: GuestMemory,
    pub(crate) map: PhysMap,
    pub(crate) bus: Arc<Bus>,
    pub(crate) ports: Arc<Bus>,
    rom: Vec<Rom>,
    pub(crate) time: Arc<TimeBase>,
    pub(crate) alarms: Arc<dyn Alarms>,
    pub(crate) collector: Arc<Collector>,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) peers: Mutex<Vec<Arc<VcpuShared>>>,
    pub(crate) stops: ArcSwap<Stops>,
    pub(crate) translator: OnceLock<Arc<dyn Translator>>,
    pub(crate) lockstep: OnceLock<Lockstep>,
    /// Held by a virtual CPU while all others stand still.
    pub(crate) exclusive: Mutex<()>,
}

/// A range of the bus that code may be fetched from.
pub(crate) struct Rom {
    base: GuestPhysAddr,
    bytes: u64,
    /// Whether it has been since it was last written.
    has_code: AtomicBool,
}

impl Rom {
    fn new((base, bytes): (GuestPhysAddr, u64)) -> Self {
        Self {
            base,
            bytes,
            has_code: AtomicBool::new(false),
        }
    }

    fn holds(&self, addr: GuestPhysAddr) -> bool {
        addr.raw().wrapping_sub(self.base.raw()) < self.bytes
    }

    /// Notes that code is going to be read. Devices take reads and writes in turn: so either the reader gets what a
    /// writer wrote, or the writer sees the note.
    pub(crate) fn note_code(&self) {
        self.has_code.store(true, Ordering::SeqCst);
    }
}

/// Where a debugger wants virtual CPUs to stop.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    pub(crate) breakpoints: Vec<GuestVirtAddr>,
    /// Their offsets within a page: blocks are shared by virtual addresses, so they end at all of these.
    pub(crate) page_offsets: Vec<u16>,
    pub(crate) watchpoints: Vec<Watchpoint>,
}

impl Stops {
    /// Whether a watchpoint touches the page.
    pub(crate) fn watches_page(&self, addr: GuestVirtAddr) -> bool {
        let page = addr.page_base().raw();
        self.watchpoints.iter().any(|watch| {
            let last = watch
                .addr
                .raw()
                .saturating_add(watch.bytes.saturating_sub(1));
            (watch.addr.page_base().raw()..=last).contains(&page)
        })
    }

    /// The watched address that an access hits first.
    pub(crate) fn hit(
        &self,
        addr: GuestVirtAddr,
        bytes: u64,
        write: bool,
    ) -> Option<GuestVirtAddr> {
        let overlaps = |watch: &&Watchpoint| {
            watch.kind.stops(write)
                && addr.raw() < watch.addr.raw().saturating_add(watch.bytes)
                && watch.addr.raw() < addr.raw().saturating_add(bytes)
        };
        self.watchpoints
            .iter()
            .find(overlaps)
            .map(|watch| watch.addr.max(addr))
    }
}

impl<G: Guest> Engine<G> {
    /// Makes an engine without virtual CPUs.
    pub fn new(parts: EngineParts<G>) -> Arc<Self> {
        let collector = Arc::new(Collector::new());
        let cache = Arc::new(BlockCache::new(collector.clone(), parts.code_budget_bytes));
        let observer: Arc<dyn CodeWriteObserver> = cache.clone();
        parts.memory.ram().set_code_observer(&observer);
        let engine = Arc::new(Self {
            config: parts.config,
            memory: parts.memory.ram().clone(),
            map: parts.memory,
            bus: parts.bus,
            ports: parts.ports,
            rom: parts.rom.into_iter().map(Rom::new).collect(),
            time: parts.time,
            alarms: parts.alarms,
            collector,
            cache,
            peers: Mutex::default(),
            stops: ArcSwap::default(),
            translator: OnceLock::new(),
            lockstep: OnceLock::new(),
            exclusive: Mutex::default(),
        });
        let weak = Arc::downgrade(&engine);
        engine.time.on_set(Box::new(move || {
            let Some(engine) = weak.upgrade() else { return };
            for peer in engine.peers() {
                peer.drive_timers(&engine.time);
            }
        }));
        let weak = Arc::downgrade(&engine);
        engine.map.on_remapped(Box::new(move |base, bytes| {
            if let Some(engine) = weak.upgrade() {
                engine.remapped(base, bytes);
            }
        }));
        engine
    }

    /// Instructions and features of the virtual CPUs.
    pub fn config(&self) -> &G::Config {
        &self.config
    }

    /// Guest RAM.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Which of the memory that writes of an address reach holds code.
    pub(crate) fn code_at(&self, addr: GuestPhysAddr) -> Option<&CodePages> {
        self.map.find(addr, true)?.code
    }

    /// The range of the bus around an address that code may be fetched from.
    pub(crate) fn rom_at(&self, addr: GuestPhysAddr) -> Option<&Rom> {
        self.rom.iter().find(|rom| rom.holds(addr))
    }

    /// Throws code away that was translated from where a virtual CPU has just written to the bus. A flash memory's
    /// commands change what all of it reads as.
    pub(crate) fn rom_written(&self, addr: GuestPhysAddr) {
        if let Some(rom) = self.rom_at(addr)
            && rom.has_code.swap(false, Ordering::SeqCst)
        {
            self.cache.forget_range(rom.base, rom.bytes);
        }
    }

    /// Throws code away that was made from addresses where something else is found now, and what virtual CPUs know of where
    /// addresses lead.
    fn remapped(&self, base: GuestPhysAddr, bytes: u64) {
        self.cache.forget_range(base, bytes);
        let everything = Remote::Flush(FlushScope {
            page: None,
            asid: None,
        });
        // Nobody waits for it: who changes the map runs on one of them.
        let pending = Arc::default();
        for peer in self.peers() {
            peer.post(everything, &pending);
        }
    }

    /// Has blocks made from now on translated to host code. Call it once, before any virtual CPU runs; later calls
    /// change nothing.
    pub fn set_translator(&self, translator: Arc<dyn Translator>) {
        let _ = self.translator.set(translator);
    }

    /// What host code is entered by, or zero without a translator.
    pub(crate) fn enter_host(&self) -> u64 {
        self.translator
            .get()
            .map_or(0, |translator| translator.enter())
    }

    /// Whether blocks are translated to host code.
    pub fn translates(&self) -> bool {
        self.translator.get().is_some()
    }

    /// Has every block that is translated to host code interpreted too, and both outcomes compared. At the first
    /// difference the report gets a description of several lines, and the virtual CPU ends as one that cannot go on.
    /// The guest is slower by orders of magnitude. Call it once, before any virtual CPU runs.
    pub fn compare_with_interpreter(&self, report: Report) {
        let _ = self.lockstep.set(Lockstep::new(report));
    }

    /// Blocks whose outcomes were compared, and blocks that were not because a device wrote what they read.
    pub fn lockstep_counts(&self) -> (u64, u64) {
        self.lockstep.get().map_or((0, 0), Lockstep::counts)
    }

    /// Ticks of the guest's time counter.
    pub fn time(&self) -> u64 {
        self.time.ticks()
    }

    /// The virtual CPUs made so far.
    pub fn peers(&self) -> Vec<Arc<VcpuShared>> {
        self.peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counters of the block cache.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Bytes of code that has been thrown away and waits until no virtual CPU can be in it.
    pub fn memory_of_retired_code(&self) -> usize {
        self.collector.stats().pending_bytes
    }

    /// Replaces breakpoints and watchpoints. Virtual CPUs must not be running.
    pub fn set_stops(&self, breakpoints: &[GuestVirtAddr], watchpoints: &[Watchpoint]) {
        self.stops.store(Arc::new(Stops {
            breakpoints: breakpoints.to_vec(),
            page_offsets: breakpoints
                .iter()
                .map(|at| at.page_offset() as u16)
                .collect(),
            watchpoints: watchpoints.to_vec(),
        }));
        self.cache.flush();
        for peer in self.peers() {
            peer.tlb.flush_all(None);
            peer.attention();
        }
    }

    /// Throws all translated code away, for a reset.
    pub fn flush_code(&self) {
        self.cache.flush();
    }
}
