//! One virtual CPU and its run loop.

#![allow(unsafe_code)]

mod bytes;
mod context;
mod debug;
mod env;
mod exclusive;
mod fetch;
mod fetched;
mod rehearsal;
pub(crate) mod verify;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use context::RecentOf;
use exclusive::Split;
use fetched::FetchedPages;
use rehearsal::Rehearsal;
use vm_core::{GuestVirtAddr, LocalIrq, VcpuId, VmExit};
use vm_frontend::{
    AddressSpace, Exception, FlushScope, Guest, InstanceSpec, Raised, Request, View,
};
use vm_gc::Participant;
use vm_ir::{Block, Mode};
use vm_mem::{MAX_MODES, SpaceRef, TlbStats};

use crate::engine::Engine;
use crate::frame::{Counters, Frame};
use crate::jump::{Context, Entry, JumpCache};
use crate::microop::{BlockHead, Leave};
use crate::predecode::Storage;
use crate::shared::{NAP, Remote, VcpuShared};
use crate::slow::{DevicePage, For};
use crate::tier;

/// Guest instructions in a block at most.
const MAX_INSNS: u32 = 64;
/// Instructions between two turns of the run loop, about.
const BUDGET: u64 = 32 << 10;
/// So many instructions nearer comes the next turn whenever code goes on without one.
const GOING_ON: u64 = 64;
/// Lines of the instruction TLB.
const FETCH_LINES: usize = 256;
/// Retired things dropped in one turn of the run loop.
const COLLECTED: usize = 64;
/// Entries to the jump cache that are remembered between two epochs.
const ENTERED: usize = 64;
/// Instructions between two turns of a waiting loop at most.
const PAUSE_INSNS: u64 = 1000;
/// Turns of a waiting loop of the guest after which a virtual CPU gives up the host's processor: some 20 us.
const PAUSES: u32 = 64;
/// Turns that one waits awake for what it has posted to others: some 10 us.
const BROADCAST_TURNS: u32 = 200;
/// Code contexts remembered at once.
const CONTEXTS: usize = 16;

/// One translation for fetching.
#[derive(Clone, Copy)]
struct FetchLine {
    page: u64,
    context: Context,
    phys: u64,
}

impl FetchLine {
    /// Holds nowhere.
    const EMPTY: Self = Self {
        page: 0,
        context: Context::MAX,
        phys: 0,
    };
}

/// What code addresses mean while none of its parts change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    generation: u64,
    mode: Mode,
    id: Context,
}

/// Counters of one virtual CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VcpuStats {
    /// Guest instructions retired.
    pub retired: u64,
    /// Slow paths.
    pub counters: Counters,
    /// Calls of each helper, by the numbers of the ISA's layout.
    pub helper_calls: Vec<u64>,
    /// The software TLB.
    pub tlb: TlbStats,
}

/// Tables of one address space that have been looked up, by data mode.
#[derive(Clone, Copy, Default)]
struct Entered {
    version: u64,
    asid: u32,
    tables: [Option<SpaceRef>; MAX_MODES],
}

/// One virtual CPU. Not shared: its thread owns it; others use its [`VcpuShared`].
pub struct Vcpu<G: Guest> {
    pub(crate) engine: Arc<Engine<G>>,
    pub(crate) shared: Arc<VcpuShared>,
    pub(crate) frame: NonNull<Frame<G::State>>,
    /// Where the TLB tables of the frame came from.
    pub(crate) space: AddressSpace,
    entered: Entered,
    /// What the frame's recent translations are copies of.
    recent_of: RecentOf,
    /// The page without RAM that was last accessed.
    pub(crate) device_page: Option<DevicePage>,
    /// Addresses put into the jump cache since the last epoch; when there are [`ENTERED`] of them, perhaps not all.
    entered_pcs: Vec<u64>,
    /// How far the log of retired code has been read.
    retired_seen: u64,
    /// What was read there.
    retired_pcs: Vec<u64>,
    participant: Participant,
    jumps: JumpCache,
    fetch: Box<[FetchLine]>,
    /// Of single address spaces and of all, which change far less often.
    contexts: [Vec<Known>; 2],
    next_context: Context,
    mode: Mode,
    fetched: FetchedPages,
    /// What the interpreter did in the block that host code is compared in; there once blocks are compared.
    rehearsal: Option<Box<Rehearsal>>,
    /// The state may have changed in ways that the frame's copies do not show.
    stale: bool,
    requests: Vec<Request>,
    helper_calls: Box<[u64]>,
    /// The breakpoint that the next run starts from, and does not stop at again.
    resume_at: Option<GuestVirtAddr>,
    /// Why the run loop is to end, when host code has left for that.
    left_for: Option<VmExit>,
    /// Retired code may be left to be dropped.
    collecting: bool,
    /// What was accessed under a watchpoint.
    watch_hit: Option<(GuestVirtAddr, bool)>,
    /// The guest's own breakpoints on data that this instruction has hit.
    data_hits: u64,
    /// Instructions retired at the last turn of a waiting loop.
    paused_at: u64,
    /// Turns of that loop.
    pauses: u32,
    /// The interrupt controller of its own, if it has one.
    local_irq: Option<Arc<dyn LocalIrq>>,
    /// Whose rights accesses have.
    pub(crate) view: View,
    /// Whether the code that runs is one instruction that nothing keeps: it may store to code.
    pub(crate) runs_one: bool,
    /// Whether all others stand still.
    exclusive: bool,
    /// The atomic access that is being done in parts.
    split: Option<Box<Split>>,
    /// Storage for blocks in the making.
    spare: Block,
    predecoded: Storage,
}

// SAFETY: the frame belongs to this virtual CPU alone, and states are `Send`; everything else is.
unsafe impl<G: Guest> Send for Vcpu<G> {}

impl<G: Guest> Drop for Vcpu<G> {
    fn drop(&mut self) {
        // SAFETY: the frame came from `Box::into_raw` in `new` and is dropped once.
        drop(unsafe { Box::from_raw(self.frame.as_ptr()) });
    }
}

impl<G: Guest> Vcpu<G> {
    /// Makes a virtual CPU in its state after power-on.
    pub fn new(engine: &Arc<Engine<G>>, spec: InstanceSpec) -> Self {
        let shared = VcpuShared::new(spec.vcpu);
        let jumps = JumpCache::new();
        let flag: *const AtomicU32 = &raw const shared.exit_flag;
        let state = G::new_state(&engine.config, spec);
        let frame = Frame::new(flag, For::<G>::PATHS, jumps.lines(), state);
        let frame = NonNull::from(Box::leak(frame));
        engine
            .peers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(shared.clone());
        Self {
            engine: engine.clone(),
            shared,
            frame,
            space: AddressSpace::default(),
            entered: Entered::default(),
            recent_of: RecentOf::default(),
            device_page: None,
            entered_pcs: Vec::with_capacity(ENTERED),
            retired_seen: 0,
            retired_pcs: Vec::new(),
            participant: engine.collector.register(),
            jumps,
            fetch: vec![FetchLine::EMPTY; FETCH_LINES].into(),
            contexts: [Vec::with_capacity(CONTEXTS), Vec::with_capacity(CONTEXTS)],
            next_context: 0,
            mode: Mode::default(),
            fetched: FetchedPages::new(),
            rehearsal: None,
            stale: true,
            requests: Vec::new(),
            helper_calls: vec![0; G::layout().helpers.len()].into(),
            resume_at: None,
            left_for: None,
            collecting: false,
            watch_hit: None,
            data_hits: 0,
            paused_at: 0,
            pauses: 0,
            local_irq: None,
            view: View::Current,
            runs_one: false,
            exclusive: false,
            split: None,
            spare: Block::default(),
            predecoded: Storage::default(),
        }
    }

    /// Gives it an interrupt controller of its own. Call it before the first run.
    pub fn set_local_irq(&mut self, controller: Arc<dyn LocalIrq>) {
        self.local_irq = Some(controller);
    }

    /// Its number.
    pub fn id(&self) -> VcpuId {
        self.shared.id()
    }

    /// What other threads use.
    pub fn shared(&self) -> &Arc<VcpuShared> {
        &self.shared
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Arc<Engine<G>> {
        &self.engine
    }

    /// The guest state.
    pub fn state(&self) -> &G::State {
        // SAFETY: the frame is this virtual CPU's own, and block code does not run while `self` is borrowed, but for
        // slow paths, which handlers call without holding references.
        unsafe { &(*self.frame.as_ptr()).state }
    }

    /// The guest state, to be changed from outside between runs.
    pub fn state_mut(&mut self) -> &mut G::State {
        self.stale = true;
        // SAFETY: as for `state`.
        unsafe { &mut (*self.frame.as_ptr()).state }
    }

    /// Puts the virtual CPU into its state after power-on. Interrupt lines that others drive stay as they are.
    pub fn reset(&mut self, spec: InstanceSpec) {
        let state = G::new_state(&self.engine.config, spec);
        *self.state_mut() = state;
        self.shared.disarm_timers();
        self.requests.clear();
        self.watch_hit = None;
        self.data_hits = 0;
        self.resume_at = None;
        self.flush(FlushScope {
            page: None,
            asid: None,
        });
        self.drop_pointers();
    }

    /// Counters.
    pub fn stats(&mut self) -> VcpuStats {
        let counters = self.head().counters;
        let tlb = self.shared.tlb.stats();
        VcpuStats {
            retired: self.common().retired,
            counters,
            helper_calls: self.helper_calls.to_vec(),
            tlb,
        }
    }

    fn common(&mut self) -> &mut vm_frontend::CommonState {
        // SAFETY: as for `state`.
        G::common(unsafe { &mut (*self.frame.as_ptr()).state })
    }

    fn head(&mut self) -> &mut crate::frame::FrameHead {
        // SAFETY: as for `state`.
        unsafe { &mut (*self.frame.as_ptr()).head }
    }

    /// Runs guest code until something needs the machine.
    pub fn run(&mut self) -> VmExit {
        self.shared.set_waiting(false);
        self.shared.set_running(true);
        self.participant.online();
        self.drop_pointers_if_retired();
        let exit = self.run_loop();
        self.participant.offline();
        self.shared.set_running(false);
        exit
    }

    fn run_loop(&mut self) -> VmExit {
        loop {
            // After `set_running`: a broadcast that found this virtual CPU at rest has set the flag before.
            if self.shared.exit_flag.load(Ordering::SeqCst) != 0 {
                self.shared.exit_flag.store(0, Ordering::SeqCst);
                self.serve_remote();
                self.stale = true;
                if let Some((addr, write)) = self.watch_hit.take() {
                    return VmExit::Watchpoint { addr, write };
                }
                if self.shared.take_stop() {
                    return VmExit::Interrupted;
                }
            }
            self.drop_pointers_if_retired();
            if self.stale
                && let Some(exit) = self.refresh()
            {
                return exit;
            }
            if G::rests(self.state()) {
                self.wait();
                continue;
            }
            let pc = self.common().pc;
            let entry = match self.find(pc) {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    if let Some(exit) = self.run_one(pc) {
                        return exit;
                    }
                    continue;
                }
                Err(exception) => {
                    if let Some(exit) = self.raise(exception) {
                        return exit;
                    }
                    continue;
                }
            };
            let Some(leave) = self.execute_compared(entry) else {
                return VmExit::Differs {
                    pc: GuestVirtAddr(pc),
                };
            };
            if let Some(exit) = self.left(leave) {
                return exit;
            }
        }
    }

    /// Where host code goes on that has left a block for this reason, if nothing asks for a turn of the run loop: system
    /// instructions and exceptions mostly change what the frame says of the state, and no more.
    pub(crate) fn go_on(&mut self, leave: Leave) -> Option<u64> {
        // Where blocks are compared, each comes back by itself.
        if self.engine.lockstep.get().is_some() || self.shared.exit_flag.load(Ordering::SeqCst) != 0
        {
            return None;
        }
        match leave {
            Leave::Exit if self.requests.is_empty() => {}
            Leave::Exception => {
                let exception = self.head().fault;
                if [Exception::RUN_ALONE, Exception::RUN_EXCLUSIVELY].contains(&exception) {
                    return None;
                }
                self.left_for = self.raise(exception);
                if self.left_for.is_some() {
                    return Some(Leave::Attention as u64);
                }
            }
            _ => return None,
        }
        // Exceptions that retire nothing must not keep the run loop from its turn for ever.
        self.head().limit = self.head().limit.saturating_sub(GOING_ON);
        // From here on nothing is left of the exception but its delivery.
        let otherwise = match leave {
            Leave::Exception => Some(Leave::Attention as u64),
            _ => None,
        };
        if self.common().retired > self.head().limit {
            return otherwise;
        }
        if self.stale {
            if self.data_hits != 0 || G::interrupt_is_due(self.state(), self.lines()) {
                return otherwise;
            }
            self.refresh_translation();
        }
        let pc = self.common().pc;
        match self.head().known(pc) {
            Some(Entry::Host(code)) if !G::rests(self.state()) => {
                self.common().page_base = GuestVirtAddr(pc).page_base().raw();
                self.enter_recent();
                Some(code)
            }
            _ => otherwise,
        }
    }

    /// Runs one instruction, and keeps no code of it.
    fn run_one(&mut self, pc: u64) -> Option<VmExit> {
        if self.stops_at(GuestVirtAddr(pc)) {
            return Some(VmExit::Breakpoint(GuestVirtAddr(pc)));
        }
        self.step_online(true)
    }

    /// Runs code from a block's entry on until it comes back.
    fn execute(&mut self, entry: Entry) -> Leave {
        self.execute_with(entry, BUDGET)
    }

    fn execute_with(&mut self, entry: Entry, budget: u64) -> Leave {
        let this: *mut Self = self;
        // SAFETY: from here until the handlers return, this virtual CPU is used only through `this` (slow paths get
        // at it by the frame's owner pointer). The entry is of a block that is not dropped before this virtual CPU's
        // next quiescent point.
        unsafe {
            let frame = (*this).frame.as_ptr();
            (*frame).head.owner = this.cast();
            (*this).enter_recent();
            let common = G::common(&mut (*frame).state);
            (*frame).head.limit = common.retired.wrapping_add(budget);
            common.page_base = GuestVirtAddr(common.pc).page_base().raw();
            match entry {
                Entry::Ops(head) => {
                    common.retired = common.retired.wrapping_add(u64::from((*head).insns));
                    let first = BlockHead::first(head);
                    ((*first).handler)(frame.cast(), first)
                }
                Entry::Host(chained) => {
                    let enter = (*frame).head.enter_host;
                    tier::run_host(frame.cast(), enter, chained)
                }
            }
        }
    }

    /// Does what the reason for leaving asks for.
    fn left(&mut self, leave: Leave) -> Option<VmExit> {
        match leave {
            Leave::Attention => return self.left_for.take(),
            Leave::Lookup => {}
            Leave::Link => self.link(),
            Leave::Exception => {
                let exception = self.head().fault;
                if G::CODE_IS_COHERENT && exception == Exception::RUN_ALONE {
                    return self.step_online(true);
                }
                if G::ATOMICS_MAY_SPLIT && exception == Exception::RUN_EXCLUSIVELY {
                    return self.step_exclusively();
                }
                return self.raise(exception);
            }
            Leave::Breakpoint => {
                return Some(VmExit::Breakpoint(GuestVirtAddr(self.common().pc)));
            }
            Leave::Resume => unreachable!("invariant: host code keeps this to itself"),
            Leave::Exit => {
                while let Some(request) = self.requests.pop() {
                    self.serve(request);
                }
            }
        }
        None
    }

    /// Links the code behind the program counter to the cell that was left through.
    fn link(&mut self) {
        let site = self.head().link_site;
        let pc = self.common().pc;
        // Where blocks are compared, each comes back by itself.
        if !self.stale
            && self.engine.lockstep.get().is_none()
            && let Ok(Some(block)) = self.look_up(pc)
        {
            // What was just left or found may have been retired meanwhile, and a guest that changes its page tables
            // without telling may have got here from another page: the cache looks.
            if let Ok(page) = self.fetch_page(GuestVirtAddr(pc)) {
                self.engine.cache.link(page, site, block);
            }
        }
    }

    fn raise(&mut self, exception: Exception) -> Option<VmExit> {
        self.head().counters.exceptions += 1;
        self.stale = true;
        self.data_hits = 0;
        let raised = self.in_env(|state, config, env| G::raise(state, config, env, exception));
        self.raised(raised)
    }

    fn raised(&mut self, raised: Raised) -> Option<VmExit> {
        match raised {
            Raised::Taken => None,
            Raised::Firmware => Some(VmExit::FirmwareCall),
            Raised::Wedged => Some(VmExit::Wedged {
                pc: GuestVirtAddr(self.common().pc),
            }),
            Raised::Shutdown(why) => Some(VmExit::Shutdown(why)),
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Wait => self.wait(),
            Request::Yield => self.pause(),
            // What it throws away is unreachable from the next turn of the run loop on, which comes now.
            Request::SyncCode => self.engine.cache.sync(),
        }
    }

    /// One turn of a loop in which the guest waits for another virtual CPU, which may be without a host processor.
    fn pause(&mut self) {
        let retired = self.common().retired;
        let waits = retired.wrapping_sub(self.paused_at) < PAUSE_INSNS;
        self.paused_at = retired;
        self.pauses = if waits { self.pauses + 1 } else { 0 };
        if self.pauses >= PAUSES {
            self.pauses = 0;
            self.rest(VcpuShared::nap);
        }
    }

    /// Sleeps; what is retired meanwhile need not wait for this virtual CPU.
    fn rest(&mut self, sleep: fn(&VcpuShared)) {
        self.participant.offline();
        sleep(&self.shared);
        self.participant.online();
        self.drop_pointers_if_retired();
    }

    /// Sleeps until an interrupt is pending, as the guest's own waiting instruction does.
    pub fn wait_for_interrupt(&mut self) {
        self.shared.set_running(true);
        self.participant.online();
        self.wait();
        self.participant.offline();
        self.shared.set_running(false);
    }

    /// Sleeps until an interrupt is pending.
    fn wait(&mut self) {
        loop {
            let lines = self.lines();
            if G::wakes(self.state(), lines) {
                self.stale = true;
                return;
            }
            self.rest(VcpuShared::sleep);
            if G::wakes(self.state(), self.lines()) {
                self.stale = true;
                return;
            }
            // Not an interrupt: serve it, and go on waiting unless somebody wants this virtual CPU to stop. Guests
            // wait in loops, so that coming back early is allowed.
            self.shared.exit_flag.store(0, Ordering::SeqCst);
            self.serve_remote();
            if self.shared.stop_wanted() {
                self.shared.set_waiting(true);
                self.shared.attention();
                return;
            }
        }
    }

    /// Serves what other threads have posted.
    pub fn serve_remote(&mut self) {
        let mut stood_still = true;
        while std::mem::take(&mut stood_still) {
            for (request, pending) in self.shared.take_remote() {
                match request {
                    Remote::Flush(scope) => self.flush(scope),
                    Remote::SyncCode => self.engine.cache.sync(),
                    Remote::StandStill => {
                        pending.fetch_sub(1, Ordering::SeqCst);
                        self.stand_still();
                        stood_still = true;
                        continue;
                    }
                }
                pending.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Has virtual CPUs do something, and waits until they have (or sleep, and will before they run on). Serves what
    /// they want of this one meanwhile.
    pub fn broadcast(&mut self, targets: &[Arc<VcpuShared>], requests: &[Remote]) {
        let pending = Vec::from_iter(targets.iter().map(|target| {
            let left = Arc::new(AtomicU32::new(0));
            for request in requests {
                target.post(*request, &left);
            }
            (target, left)
        }));
        for (target, left) in pending {
            let mut turns = 0;
            while left.load(Ordering::SeqCst) != 0 && !target.serves_before_running() {
                self.serve_remote();
                turns += 1;
                if turns < BROADCAST_TURNS {
                    std::hint::spin_loop();
                } else {
                    std::thread::sleep(NAP);
                }
            }
        }
        self.serve_remote();
    }

    /// Brings the frame's copies up to date with the state and delivers a pending interrupt.
    fn refresh(&mut self) -> Option<VmExit> {
        if self.data_hits != 0 {
            let hits = std::mem::take(&mut self.data_hits);
            G::note_data_hits(self.state_mut(), hits);
        }
        let lines = self.lines();
        if G::interrupt_is_due(self.state(), lines) {
            let taken =
                self.in_env(|state, config, env| G::take_interrupt(state, config, env, lines));
            if let Some(raised) = taken {
                self.head().counters.interrupts += 1;
                if let Some(exit) = self.raised(raised) {
                    return Some(exit);
                }
            }
        }
        self.refresh_translation();
        None
    }
}
