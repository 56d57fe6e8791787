//! One virtual CPU and its run loop.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vm_core::{AccessWidth, Alarm, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, VcpuId, VmExit};
use vm_frontend::{
    Access, AddressSpace, CodePage, Exception, FlushScope, Guest, InstanceSpec, LiftLimits, Raised,
    Request, SysEnv,
};
use vm_gc::Participant;
use vm_ir::{Block, BlockKey, HelperId, Mode};
use vm_mem::{TlbStats, access};

use crate::cache::CachedBlock;
use crate::engine::Engine;
use crate::frame::{Counters, Frame, JUMP_LINES, JumpEntry, jump_line};
use crate::microop::{Leave, MicroOp};
use crate::predecode::predecode;
use crate::shared::{Remote, VcpuShared};
use crate::slow::For;

/// Guest instructions in a block at most.
const MAX_INSNS: u32 = 64;
/// Blocks between two turns of the run loop.
const BUDGET: i64 = 1024;
/// Lines of the instruction TLB.
const FETCH_LINES: usize = 256;
/// Code contexts remembered at once.
const CONTEXTS: usize = 16;

/// One translation for fetching.
#[derive(Clone, Copy)]
struct FetchLine {
    page: u64,
    context: u64,
    phys: u64,
}

/// What code addresses mean while none of its parts change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Context {
    generation: u64,
    mode: Mode,
    id: u64,
}

/// Counters of one virtual CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuStats {
    /// Guest instructions retired.
    pub retired: u64,
    /// Slow paths.
    pub counters: Counters,
    /// The software TLB.
    pub tlb: TlbStats,
}

/// One virtual CPU. Not shared: its thread owns it; others use its [`VcpuShared`].
pub struct Vcpu<G: Guest> {
    pub(crate) engine: Arc<Engine<G>>,
    pub(crate) shared: Arc<VcpuShared>,
    pub(crate) frame: NonNull<Frame<G::State>>,
    /// Where the TLB tables of the frame came from.
    pub(crate) space: AddressSpace,
    participant: Participant,
    jump_cache: Box<[JumpEntry]>,
    fetch: Box<[FetchLine]>,
    contexts: Vec<Context>,
    next_context: u64,
    mode: Mode,
    /// Hashed page numbers that code was fetched from since the last whole flush.
    fetched_pages: [u64; 64],
    /// The state may have changed in ways that the frame's copies do not show.
    stale: bool,
    requests: Vec<Request>,
    deferred: Option<Deferred>,
    alarms: Vec<(u32, Arc<dyn Alarm>)>,
    /// The breakpoint that the next run starts from, and does not stop at again.
    resume_at: Option<GuestVirtAddr>,
    /// What was accessed under a watchpoint.
    watch_hit: Option<(GuestVirtAddr, bool)>,
}

/// An access that a helper asked for, done when the helper has returned.
#[derive(Clone, Copy)]
enum Deferred {
    Zero(GuestVirtAddr, u64),
    Probe(GuestVirtAddr, u64, Access),
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
        let mut jump_cache = vec![JumpEntry::EMPTY; JUMP_LINES].into_boxed_slice();
        let flag: *const AtomicU32 = &raw const shared.exit_flag;
        let state = G::new_state(&engine.config, spec);
        let frame = Frame::new(flag, For::<G>::PATHS, jump_cache.as_mut_ptr(), state);
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
            participant: engine.collector.register(),
            jump_cache,
            fetch: vec![
                FetchLine {
                    page: 1,
                    context: 0,
                    phys: 0
                };
                FETCH_LINES
            ]
            .into(),
            contexts: Vec::with_capacity(CONTEXTS),
            next_context: 1,
            mode: Mode::default(),
            fetched_pages: [0; 64],
            stale: true,
            requests: Vec::new(),
            deferred: None,
            alarms: Vec::new(),
            resume_at: None,
            watch_hit: None,
        }
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

    /// Puts the virtual CPU into its state after power-on.
    pub fn reset(&mut self, spec: InstanceSpec) {
        let state = G::new_state(&self.engine.config, spec);
        *self.state_mut() = state;
        for (line, alarm) in &self.alarms {
            alarm.arm(None);
            self.shared.deadlines[*line as usize].store(u64::MAX, Ordering::SeqCst);
        }
        self.shared.set_lines(0, u64::MAX);
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
            if self.shared.exit_flag.load(Ordering::Relaxed) != 0 {
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
            if self.stale {
                self.refresh();
            }
            let pc = self.common().pc;
            let head = match self.find(pc) {
                Ok(head) => head,
                Err(exception) => {
                    if let Some(exit) = self.raise(exception) {
                        return exit;
                    }
                    continue;
                }
            };
            let leave = self.execute(head);
            if let Some(exit) = self.left(leave) {
                return exit;
            }
        }
    }

    /// Executes one instruction, without taking interrupts, and stops.
    pub fn step(&mut self) -> VmExit {
        self.shared.set_running(true);
        self.participant.online();
        self.drop_pointers_if_retired();
        self.serve_remote();
        self.refresh_translation();
        let exit = self.step_online().unwrap_or(VmExit::Stepped);
        self.participant.offline();
        self.shared.set_running(false);
        self.stale = true;
        match self.watch_hit.take() {
            Some((addr, write)) => VmExit::Watchpoint { addr, write },
            None => exit,
        }
    }

    fn step_online(&mut self) -> Option<VmExit> {
        let pc = self.common().pc;
        let lifted = self.fetch_page(GuestVirtAddr(pc)).and_then(|page| {
            let key = BlockKey {
                phys_pc: page + (pc & (PAGE_BYTES - 1)),
                mode: self.mode,
            };
            self.lift(key, pc, 1, &[])
        });
        let block = match lifted {
            Ok(block) => block,
            Err(exception) => return self.raise(exception),
        };
        let code = predecode(&block, G::layout(), Frame::<G::State>::TEMPS_OFFSET, false)
            .expect("invariant: one instruction's temporaries fit");
        // The budget of no block at all makes the end of this one come back here.
        let leave = self.execute_with(code.head(), 0);
        match leave {
            Leave::Link => None,
            other => {
                // A step over a waiting instruction does not wait.
                self.requests.retain(|request| *request != Request::Wait);
                self.left(other)
            }
        }
    }

    /// Where the next run is to start; it does not stop at a breakpoint there.
    pub fn start_past_breakpoint(&mut self) {
        self.resume_at = Some(GuestVirtAddr(self.common().pc));
    }

    pub(crate) fn stops_at(&mut self, pc: GuestVirtAddr) -> bool {
        let resumed = self.resume_at.take() == Some(pc);
        !resumed && self.engine.stops.load().breakpoints.contains(&pc)
    }

    pub(crate) fn watches_page(&self, addr: GuestVirtAddr) -> bool {
        self.engine.stops.load().watches_page(addr)
    }

    /// Has the run loop stop behind this instruction when it accesses something watched.
    pub(crate) fn note_watched(&mut self, addr: GuestVirtAddr, bytes: u64, write: bool) {
        let hit = self.engine.stops.load().hit(addr, bytes, write);
        if let Some(addr) = hit {
            self.watch_hit = Some((addr, write));
            self.shared.attention();
        }
    }

    /// Runs code from a block's head on until it comes back.
    fn execute(&mut self, head: *const MicroOp) -> Leave {
        self.execute_with(head, BUDGET)
    }

    fn execute_with(&mut self, head: *const MicroOp, budget: i64) -> Leave {
        let this: *mut Self = self;
        // SAFETY: from here until the handlers return, this virtual CPU is used only through `this` (slow paths get
        // at it by the frame's owner pointer). The head is of a block that is not dropped before this virtual CPU's
        // next quiescent point.
        unsafe {
            let frame = (*this).frame.as_ptr();
            (*frame).head.owner = this.cast();
            (*frame).head.budget = budget;
            let common = G::common(&mut (*frame).state);
            common.page_base = common.pc & !(PAGE_BYTES - 1);
            common.retired = common.retired.wrapping_add((*head).imm());
            let first = head.add(1);
            ((*first).handler)(frame.cast(), first)
        }
    }

    /// Does what the reason for leaving asks for.
    fn left(&mut self, leave: Leave) -> Option<VmExit> {
        match leave {
            Leave::Attention | Leave::Lookup => {}
            Leave::Link => self.link(),
            Leave::Exception => {
                let exception = self.head().fault;
                return self.raise(exception);
            }
            Leave::Breakpoint => {
                let at = GuestVirtAddr(self.common().pc);
                self.resume_at = Some(at);
                return Some(VmExit::Breakpoint(at));
            }
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
        if let Ok(head) = self.find(pc)
            && !self.straddles(pc)
        {
            // SAFETY: the site is in a block that this virtual CPU has just left without a quiescent point since; both
            // blocks are of one page and mode, so they are retired together.
            unsafe { (*site).set_link(head) };
        }
    }

    /// Whether the code at `pc` may be an instruction on two pages, which must not be linked: its second page is
    /// checked only on the way through the jump cache.
    fn straddles(&self, pc: u64) -> bool {
        pc & (PAGE_BYTES - 1) == PAGE_BYTES - 2
    }

    fn raise(&mut self, exception: Exception) -> Option<VmExit> {
        self.head().counters.exceptions += 1;
        self.stale = true;
        // SAFETY: as for `state`.
        let state = unsafe { &mut (*self.frame.as_ptr()).state };
        match G::raise(state, &self.engine.config, exception) {
            Raised::Taken => None,
            Raised::Firmware => Some(VmExit::FirmwareCall),
            Raised::Wedged => Some(VmExit::Wedged {
                pc: GuestVirtAddr(self.common().pc),
            }),
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Wait => self.wait(),
            Request::Yield => std::thread::yield_now(),
            Request::SyncCode => {
                self.engine.cache.sync();
                self.drop_pointers();
            }
        }
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
            self.participant.offline();
            self.shared.sleep();
            self.participant.online();
            self.drop_pointers_if_retired();
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
        for (request, pending) in self.shared.take_remote() {
            match request {
                Remote::Flush(scope) => self.flush(scope),
                Remote::SyncCode => {
                    self.engine.cache.sync();
                    self.drop_pointers();
                }
            }
            pending.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Has other virtual CPUs do something, and waits until they have (or sleep, and will before they run on).
    /// Serves what they want of this one meanwhile.
    pub fn broadcast(&mut self, targets: &[Arc<VcpuShared>], request: Remote) {
        let pending: Vec<_> = targets
            .iter()
            .map(|target| {
                let left = Arc::new(AtomicU32::new(0));
                target.post(request, &left);
                (target, left)
            })
            .collect();
        for (target, left) in pending {
            while left.load(Ordering::SeqCst) != 0 && !target.serves_before_running() {
                self.serve_remote();
                std::thread::yield_now();
            }
        }
    }

    /// Brings the frame's copies up to date with the state and delivers a pending interrupt.
    fn refresh(&mut self) {
        let lines = self.lines();
        // SAFETY: as for `state`.
        let state = unsafe { &mut (*self.frame.as_ptr()).state };
        if G::take_interrupt(state, lines) {
            self.head().counters.interrupts += 1;
        }
        self.refresh_translation();
    }

    /// Brings the frame's copies up to date with the state.
    fn refresh_translation(&mut self) {
        self.stale = false;
        self.mode = G::mode(self.state());
        self.space = G::address_space(self.state());
        let space = self.shared.tlb.enter(self.space.asid, self.space.data_mode);
        let context = self.context(space.generation);
        let head = self.head();
        head.tlb = space.table.entries;
        head.tlb_mask = space.table.mask;
        head.context = context;
    }

    /// The number that stands for the current generation and mode.
    fn context(&mut self, generation: u64) -> u64 {
        let mode = self.mode;
        let known = |c: &&Context| c.generation == generation && c.mode == mode;
        if let Some(context) = self.contexts.iter().find(known) {
            return context.id;
        }
        let id = self.next_context;
        self.next_context += 1;
        if self.contexts.len() == CONTEXTS {
            self.contexts.remove(0);
        }
        self.contexts.push(Context {
            generation,
            mode,
            id,
        });
        id
    }

    /// Makes every pointer into translated code unreachable for this virtual CPU: no context number comes back.
    fn drop_pointers(&mut self) {
        self.contexts.clear();
        self.stale = true;
        self.head().context = 0;
    }

    fn drop_pointers_if_retired(&mut self) {
        let mut retired = false;
        self.participant.quiescent(|| retired = true);
        if retired {
            self.drop_pointers();
            self.engine.collector.collect(64);
        }
    }

    /// The code at a virtual address, from the caches or newly translated.
    fn find(&mut self, pc: u64) -> Result<*const MicroOp, Exception> {
        let context = self.head().context;
        let line = jump_line(pc);
        let entry = self.jump_cache[line];
        if entry.pc == pc && entry.context == context {
            return Ok(entry.code);
        }
        self.head().counters.lookups += 1;
        let phys = self.fetch_page(GuestVirtAddr(pc))? + (pc & (PAGE_BYTES - 1));
        let key = BlockKey {
            phys_pc: phys,
            mode: self.mode,
        };
        let block = match self.engine.cache.find(key) {
            Some(block) if self.second_page_matches(block, pc)? => block,
            Some(block) => {
                // Another page follows here than where the block was made: make it anew each time.
                self.engine.cache.forget(block.key);
                self.translate_block(key, pc)?
            }
            None => self.translate_block(key, pc)?,
        };
        self.jump_cache[line] = JumpEntry {
            pc,
            context,
            code: block.head(),
        };
        Ok(block.head())
    }

    fn second_page_matches(&mut self, block: &CachedBlock, pc: u64) -> Result<bool, Exception> {
        match block.second_page {
            None => Ok(true),
            Some(second) => {
                let next = GuestVirtAddr(pc).page_base() + PAGE_BYTES;
                Ok(self.fetch_page(next)? == second.page_base())
            }
        }
    }

    /// Physical page of a virtual page that code is fetched from.
    fn fetch_page(&mut self, addr: GuestVirtAddr) -> Result<GuestPhysAddr, Exception> {
        let page = addr.page_base().raw();
        let context = self.head().context;
        let line = addr.page_number() as usize & (FETCH_LINES - 1);
        let known = self.fetch[line];
        if known.page == page && known.context == context {
            return Ok(GuestPhysAddr(known.phys));
        }
        let mapping = G::translate(self.state(), &self.engine.memory, addr, Access::Execute)?;
        let fetchable = self.engine.memory.find(mapping.page).is_some()
            || self.engine.rom.iter().any(|&(base, bytes)| {
                (base.raw()..base.raw() + bytes).contains(&mapping.page.page_base().raw())
            });
        if !fetchable {
            return Err(G::bus_error(addr, Access::Execute));
        }
        let number = addr.page_number();
        self.fetched_pages[(number >> 6) as usize & 63] |= 1 << (number & 63);
        if mapping.cacheable {
            self.fetch[line] = FetchLine {
                page,
                context,
                phys: mapping.page.raw(),
            };
        }
        Ok(mapping.page)
    }

    #[cold]
    fn translate_block(
        &mut self,
        key: BlockKey,
        pc: u64,
    ) -> Result<&'static CachedBlock, Exception> {
        self.head().counters.translated += 1;
        let stops = self.engine.stops.load_full();
        // A watchpoint stops behind the instruction that hits it, so each gets a block of its own.
        let mut max_insns = if stops.watchpoints.is_empty() {
            MAX_INSNS
        } else {
            1
        };
        let breakpoint = stops
            .page_offsets
            .contains(&(key.phys_pc.page_offset() as u16));
        loop {
            let block = self.lift(key, pc, max_insns, &stops.page_offsets)?;
            match predecode(
                &block,
                G::layout(),
                Frame::<G::State>::TEMPS_OFFSET,
                breakpoint,
            ) {
                Ok(code) => {
                    let cached = CachedBlock::new(key, code, block.second_page);
                    return Ok(self.engine.cache.insert(cached));
                }
                Err(_) => max_insns = (max_insns / 2).max(1),
            }
        }
    }

    fn lift(
        &mut self,
        key: BlockKey,
        pc: u64,
        max_insns: u32,
        stop_before: &[u16],
    ) -> Result<Block, Exception> {
        let engine = self.engine.clone();
        let mut code = FetchedPage {
            vcpu: self,
            page: key.phys_pc.page_base(),
            pc,
            marked: 0,
        };
        G::lift(
            &engine.config,
            key,
            &mut code,
            LiftLimits {
                max_insns,
                stop_before,
            },
        )
    }

    fn flush(&mut self, scope: FlushScope) {
        let tlb = &self.shared.tlb;
        match scope.page {
            None => {
                tlb.flush_all(scope.asid);
                self.fetched_pages = [0; 64];
            }
            Some(page) => {
                let number = page.page_number();
                let fetched = self.fetched_pages[(number >> 6) as usize & 63] & 1 << (number & 63);
                tlb.flush_page(page, scope.asid, fetched != 0);
            }
        }
        self.stale = true;
        // The table in use may have been replaced: no access may use it before `refresh`, and none does, because
        // flushing instructions end their block; accesses of the same helper go through the full path.
    }

    pub(crate) fn call_helper(
        &mut self,
        helper: u16,
        args: [u64; 3],
        left: u64,
    ) -> Result<u64, Exception> {
        self.head().counters.helper_calls += 1;
        let engine = self.engine.clone();
        let retired = self.common().retired.wrapping_sub(left);
        let state = self.frame.as_ptr();
        let mut env = Env {
            vcpu: self,
            retired,
        };
        // SAFETY: `Env` does not touch the state: what needs it is deferred until the helper has returned.
        let state = unsafe { &mut (*state).state };
        let value = G::call(state, &engine.config, &mut env, HelperId(helper), args)?;
        match self.deferred.take() {
            None => {}
            Some(Deferred::Zero(addr, bytes)) => self.zero(addr, bytes)?,
            Some(Deferred::Probe(addr, bytes, kind)) => self.probe(addr, bytes, kind)?,
        }
        Ok(value)
    }

    /// Gives what helpers get to code that inspects or changes control registers between runs.
    pub fn with_env<R>(
        &mut self,
        f: impl FnOnce(&mut G::State, &G::Config, &mut dyn SysEnv) -> R,
    ) -> R {
        let engine = self.engine.clone();
        let retired = self.common().retired;
        let state = self.frame.as_ptr();
        self.stale = true;
        let mut env = Env {
            vcpu: self,
            retired,
        };
        // SAFETY: as in `call_helper`.
        let result = f(unsafe { &mut (*state).state }, &engine.config, &mut env);
        self.requests.clear();
        self.deferred = None;
        result
    }

    /// Reads guest memory as the debugger does: by the current translation, without side effects on devices.
    ///
    /// # Errors
    /// The exception that the guest would get.
    pub fn debug_read(&mut self, addr: GuestVirtAddr, into: &mut [u8]) -> Result<(), Exception> {
        for (n, byte) in into.iter_mut().enumerate() {
            let at = addr.wrapping_add(n as u64);
            let mapping = G::translate(self.state(), &self.engine.memory, at, Access::Read)?;
            let phys = mapping.page + at.page_offset();
            let slot = std::slice::from_mut(byte);
            if self.engine.memory.read(phys, slot).is_err() {
                return Err(G::bus_error(at, Access::Read));
            }
        }
        Ok(())
    }

    /// Writes guest memory as the debugger does: wherever a read is allowed, code included.
    ///
    /// # Errors
    /// The exception that the guest would get.
    pub fn debug_write(&mut self, addr: GuestVirtAddr, from: &[u8]) -> Result<(), Exception> {
        for (n, byte) in from.iter().enumerate() {
            let at = addr.wrapping_add(n as u64);
            let mapping = G::translate(self.state(), &self.engine.memory, at, Access::Read)?;
            let phys = mapping.page + at.page_offset();
            if self.engine.memory.write(phys, &[*byte]).is_err() {
                return Err(G::bus_error(at, Access::Write));
            }
        }
        Ok(())
    }
}

/// One page of code as the lifter reads it.
struct FetchedPage<'a, G: Guest> {
    vcpu: &'a mut Vcpu<G>,
    page: GuestPhysAddr,
    pc: u64,
    /// Granules marked as code so far.
    marked: u64,
}

impl<G: Guest> FetchedPage<'_, G> {
    /// Marks before reading, so that a store after the reading is noticed.
    fn read(&mut self, page: GuestPhysAddr, offset: u16, first: bool) -> u16 {
        let engine = &self.vcpu.engine;
        let addr = page + u64::from(offset);
        let Some((range, code)) = engine.memory.find(addr) else {
            return engine.bus.read(addr.raw(), AccessWidth::Half).unwrap_or(0) as u16;
        };
        let granule = 1 << (offset / 64);
        if !first || self.marked & granule == 0 {
            let fresh = !code.has_code(addr);
            code.mark(addr, 2);
            if first {
                self.marked |= granule;
            }
            if fresh {
                for peer in engine.peers() {
                    peer.tlb.protect(page);
                }
                engine.cache.note_fresh(page);
            }
        }
        let host = range.host + (addr - range.base);
        // SAFETY: the two bytes lie in one page of mapped RAM.
        unsafe { access::load(host.raw(), 1) as u16 }
    }
}

impl<G: Guest> CodePage for FetchedPage<'_, G> {
    fn half(&mut self, offset: u16) -> u16 {
        self.read(self.page, offset & 0xffe, true)
    }

    fn next_page(&mut self) -> Result<(GuestPhysAddr, u16), Exception> {
        let next = GuestVirtAddr(self.pc).page_base() + PAGE_BYTES;
        let page = self.vcpu.fetch_page(next)?;
        Ok((page, self.read(page, 0, false)))
    }
}

/// What helpers get.
struct Env<'a, G: Guest> {
    vcpu: &'a mut Vcpu<G>,
    retired: u64,
}

impl<G: Guest> SysEnv for Env<'_, G> {
    fn vcpu(&self) -> VcpuId {
        self.vcpu.id()
    }

    fn time(&self) -> u64 {
        self.vcpu.engine.time()
    }

    fn lines(&self) -> u64 {
        self.vcpu.lines()
    }

    fn set_lines(&mut self, set: u64, clear: u64) {
        self.vcpu.shared.set_lines(set, clear);
    }

    fn set_timer(&mut self, line: u32, deadline: Option<u64>) {
        self.vcpu.set_timer(line, deadline);
    }

    fn flush(&mut self, scope: FlushScope) {
        self.vcpu.flush(scope);
    }

    fn state_changed(&mut self) {
        self.vcpu.stale = true;
    }

    fn request(&mut self, request: Request) {
        self.vcpu.requests.push(request);
    }

    fn zero(&mut self, addr: GuestVirtAddr, bytes: u64) -> Result<(), Exception> {
        self.vcpu.deferred = Some(Deferred::Zero(addr, bytes));
        Ok(())
    }

    fn probe(&mut self, addr: GuestVirtAddr, bytes: u64, access: Access) -> Result<(), Exception> {
        self.vcpu.deferred = Some(Deferred::Probe(addr, bytes, access));
        Ok(())
    }

    fn retired(&self) -> u64 {
        self.retired
    }
}

impl<G: Guest> Vcpu<G> {
    /// Raises interrupt line `line` from `deadline` ticks on; until then, and when disarmed, it is low.
    pub fn set_timer(&mut self, line: u32, deadline: Option<u64>) {
        let ticks = deadline.unwrap_or(u64::MAX);
        let bit = 1_u64 << (line & 63);
        let cell = &self.shared.deadlines[line as usize & 63];
        cell.store(ticks, Ordering::SeqCst);
        if ticks <= self.engine.time() {
            self.shared.set_lines(bit, 0);
            return;
        }
        self.shared.set_lines(0, bit);
        let ns = ticks.checked_mul(self.engine.ns_per_tick);
        self.alarm(line).arm(ns);
    }

    fn alarm(&mut self, line: u32) -> Arc<dyn Alarm> {
        if let Some((_, alarm)) = self.alarms.iter().find(|(of, _)| *of == line) {
            return alarm.clone();
        }
        let (shared, clock) = (self.shared.clone(), self.engine.clock.clone());
        let ns_per_tick = self.engine.ns_per_tick;
        let fire = move || {
            // The deadline may have moved on while this alarm was on its way.
            let deadline = shared.deadlines[line as usize & 63].load(Ordering::SeqCst);
            if deadline <= clock.now_ns() / ns_per_tick {
                shared.set_lines(1 << (line & 63), 0);
            }
        };
        let alarm = self.engine.alarms.alarm(Box::new(fire));
        self.alarms.push((line, alarm.clone()));
        alarm
    }
}
