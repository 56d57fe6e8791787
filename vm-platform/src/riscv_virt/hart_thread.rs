//! One hart's thread: runs the virtual CPU, answers its SBI calls, halts and restarts it on the machine's order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_boot::sbi::{
    FenceRange, HardwareCounter, HartEntry, HartSet, MachineIds, RemoteFence, ResetAction, SbiCall,
    SbiHost, SbiOutcome, Wake,
};
use vm_core::{GuestVirtAddr, PAGE_BYTES, Resume, StopCause, VcpuId, VmExit};
use vm_engine::{Remote, Vcpu, VcpuShared};
use vm_frontend::riscv::state::HartState;
use vm_frontend::riscv::sys::{Riscv, csr};
use vm_frontend::{FlushScope, Guest as _};
use vm_mem::GuestMemory;

use super::config::Outcome;
use super::control::{Event, Order, Shared};
use super::wiring::line;

/// Numbers of the counters' registers (RISC-V Privileged, 2.2).
const MCYCLE: u16 = 0xb00;
const MINSTRET: u16 = 0xb02;
const MCOUNTINHIBIT: u16 = 0x320;
/// Pages beyond which a fence of a range becomes a fence of everything.
const MOST_PAGES_FENCED: u64 = 64;

/// The thread of one hart.
pub(super) struct HartThread {
    shared: Arc<Shared>,
    hart: VcpuId,
    /// Locked while the hart runs; a debugger takes it while the thread is parked.
    vcpu: Arc<Mutex<Vcpu<Riscv>>>,
    /// Resets seen.
    generation: u64,
    /// Whether the hart executes (as opposed to: stopped by HSM).
    started: bool,
    /// How it goes on when an interrupt ends its suspension, while HSM has it suspended.
    suspended: Option<Wake>,
}

impl HartThread {
    pub(super) fn new(shared: Arc<Shared>, vcpu: Arc<Mutex<Vcpu<Riscv>>>) -> Self {
        let hart = locked(&vcpu).id();
        power_on(&shared, &vcpu);
        let started = shared.starts(hart);
        Self {
            shared,
            hart,
            vcpu,
            generation: 0,
            started,
            suspended: None,
        }
    }

    pub(super) fn id(&self) -> VcpuId {
        self.hart
    }

    /// Runs until the machine is taken apart.
    pub(super) fn run(mut self) {
        while let Some(how) = self.obey() {
            if !self.started && !self.wait_for_start(how) {
                continue;
            }
            if let Some(wake) = self.suspended
                && !self.wait_for_wake(wake, how)
            {
                continue;
            }
            let exit = match how {
                Resume::Step => locked(&self.vcpu).step(),
                _ => self.run_or_trace(),
            };
            self.left(exit);
            if how == Resume::Step {
                self.shared.stop_for_debugger(StopCause::Stepped(self.hart));
            }
        }
    }

    fn run_or_trace(&self) -> VmExit {
        let mut vcpu = locked(&self.vcpu);
        let Some(trace) = &self.shared.trace else {
            return vcpu.run();
        };
        let mut tell = |state: &HartState| {
            trace.instruction(self.hart, GuestVirtAddr(state.common.pc), &state.x);
        };
        loop {
            match vcpu.step_traced(&mut tell) {
                VmExit::Stepped => {}
                exit => return exit,
            }
        }
    }

    fn left(&mut self, exit: VmExit) {
        match exit {
            VmExit::FirmwareCall => self.firmware_call(),
            VmExit::Wedged { pc } => {
                self.shared.raise(Event::End(Outcome::Wedged {
                    hart: self.hart,
                    pc,
                }));
            }
            VmExit::Breakpoint(_) => {
                self.shared
                    .stop_for_debugger(StopCause::Breakpoint(self.hart));
            }
            VmExit::Watchpoint { addr, write } => {
                let vcpu = self.hart;
                self.shared
                    .stop_for_debugger(StopCause::Watchpoint { vcpu, addr, write });
            }
            VmExit::Interrupted | VmExit::Stepped => {}
        }
    }

    /// Halts while told to; `None` when the thread is to end.
    fn obey(&mut self) -> Option<Resume> {
        let at = self.hart.0 as usize;
        let bit = 1 << self.hart.0;
        let mut control = self.shared.lock();
        loop {
            let stays = control.resume[at] == Resume::Stay;
            match control.order {
                Order::Quit => return None,
                Order::Run if !stays => break,
                Order::Run | Order::Park => {}
            }
            if control.parked & bit == 0 {
                control.parked |= bit;
                self.shared.notify();
            }
            control = self.shared.wait(control);
        }
        let (how, generation) = (control.resume[at], control.generation);
        drop(control);
        if generation != self.generation {
            self.generation = generation;
            self.started = self.shared.starts(self.hart);
            self.suspended = None;
        }
        Some(how)
    }

    /// Waits for SBI to start this hart; false when the machine wants something else. There is no instruction to step
    /// to before, so a step ends at once.
    fn wait_for_start(&mut self, how: Resume) -> bool {
        let shared = self.shared.clone();
        let Some(sbi) = &shared.sbi else { return true };
        let mut control = shared.lock();
        loop {
            if control.order != Order::Run || control.resume[self.hart.0 as usize] == Resume::Stay {
                return false;
            }
            if let Some(entry) = sbi.harts().take_start(self.hart) {
                drop(control);
                let vcpu = self.vcpu.clone();
                self.enter(&mut locked(&vcpu), entry);
                return true;
            }
            if how == Resume::Step {
                drop(control);
                shared.stop_for_debugger(StopCause::Stepped(self.hart));
                return false;
            }
            control = shared.wait(control);
        }
    }

    /// Sleeps until an interrupt ends the suspension; false when the machine wants something else, which does not end
    /// it. There is no instruction to step to before, so a step ends at once.
    fn wait_for_wake(&mut self, wake: Wake, how: Resume) -> bool {
        let shared = self.shared.clone();
        let Some(sbi) = &shared.sbi else { return true };
        let vcpu = self.vcpu.clone();
        let mut vcpu = locked(&vcpu);
        if how != Resume::Step {
            vcpu.wait_for_interrupt();
        }
        if !Riscv::wakes(vcpu.state(), vcpu.shared().lines()) {
            if how != Resume::Step {
                // It came back for an order to stop. This takes the order and executes nothing.
                vcpu.run();
                return false;
            }
            drop(vcpu);
            shared.stop_for_debugger(StopCause::Stepped(self.hart));
            return false;
        }
        self.suspended = None;
        sbi.harts().resumed(self.hart);
        match wake {
            Wake::Return => {
                let state = vcpu.state_mut();
                state.x[10] = 0;
                state.x[11] = 0;
            }
            Wake::Enter(entry) => self.enter(&mut vcpu, entry),
        }
        true
    }

    /// Puts the hart at an HSM entry (SBI HSM, "Function: Hart start").
    fn enter(&mut self, vcpu: &mut Vcpu<Riscv>, entry: HartEntry) {
        let mut spec = self.shared.spec(self.hart);
        spec.entry = GuestVirtAddr(entry.pc.raw());
        vcpu.reset(spec);
        vcpu.shared().set_lines(0, 1 << line::SUPERVISOR_SOFTWARE);
        let state = vcpu.state_mut();
        state.x[10] = u64::from(self.hart.0);
        state.x[11] = entry.opaque;
        self.started = true;
    }

    fn firmware_call(&mut self) {
        let shared = self.shared.clone();
        let Some(sbi) = &shared.sbi else { return };
        let vcpu = self.vcpu.clone();
        let mut vcpu = locked(&vcpu);
        let registers: [u64; 8] = vcpu.state().x[10..18]
            .try_into()
            .expect("invariant: eight registers");
        let host = Host {
            shared: &shared,
            vcpu: Mutex::new(&mut vcpu),
        };
        let outcome = sbi.handle(&host, self.hart, SbiCall::from_registers(registers));
        match outcome {
            SbiOutcome::Return { a0, a1 } => {
                let state = vcpu.state_mut();
                state.x[10] = a0;
                if let Some(a1) = a1 {
                    state.x[11] = a1;
                }
            }
            SbiOutcome::Stop => {
                sbi.harts().stopped(self.hart);
                self.started = false;
            }
            SbiOutcome::Suspend(wake) => self.suspended = Some(wake),
            SbiOutcome::Reset(reset) => shared.raise(match reset.action {
                ResetAction::PowerOff => Event::End(Outcome::PoweredOff),
                ResetAction::Reboot(_) => Event::Reset,
            }),
        }
    }
}

/// Puts a hart that is halted into its state after power-on.
pub(super) fn power_on(shared: &Shared, vcpu: &Mutex<Vcpu<Riscv>>) {
    let mut vcpu = locked(vcpu);
    let hart = vcpu.id();
    vcpu.reset(shared.spec(hart));
    vcpu.shared().set_lines(0, 1 << line::SUPERVISOR_SOFTWARE);
    shared.set_start(vcpu.state_mut(), hart);
}

fn locked(vcpu: &Mutex<Vcpu<Riscv>>) -> MutexGuard<'_, Vcpu<Riscv>> {
    vcpu.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machine as the built-in SBI sees it during one call.
struct Host<'a> {
    shared: &'a Shared,
    /// Never contended: the trait wants a value that threads could share.
    vcpu: Mutex<&'a mut Vcpu<Riscv>>,
}

impl<'a> Host<'a> {
    fn vcpu(&self) -> MutexGuard<'_, &'a mut Vcpu<Riscv>> {
        self.vcpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, hart: VcpuId) -> Option<Arc<VcpuShared>> {
        self.shared.engine.peers().get(hart.0 as usize).cloned()
    }

    /// Serves requests for harts that a debugger keeps halted while others run: what they would serve before they run
    /// on must not pile up until then.
    fn serve_for_halted(&self, caller: VcpuId, harts: HartSet) {
        for hart in harts.iter().filter(|hart| *hart != caller) {
            // One that runs has it locked, and serves by itself.
            let halted = self.shared.vcpus.get().and_then(|all| {
                let vcpu = all.get(hart.0 as usize)?;
                vcpu.try_lock().ok()
            });
            if let Some(mut vcpu) = halted {
                vcpu.serve_remote();
            }
        }
    }

    /// Fences of the pages of a range, or one of everything.
    fn scopes(range: FenceRange, asid: Option<u32>) -> Vec<FlushScope> {
        match range {
            FenceRange::Bytes { start, bytes } if bytes <= MOST_PAGES_FENCED * PAGE_BYTES => {
                let first = start.page_base();
                let pages = (start.page_offset() + bytes).div_ceil(PAGE_BYTES);
                let page = |n| FlushScope {
                    page: Some(first.wrapping_add(n * PAGE_BYTES)),
                    asid,
                };
                (0..pages).map(page).collect()
            }
            _ => vec![FlushScope { page: None, asid }],
        }
    }
}

impl SbiHost for Host<'_> {
    fn memory(&self) -> &GuestMemory {
        self.shared.engine.memory()
    }

    fn machine_ids(&self) -> MachineIds {
        MachineIds::default()
    }

    fn set_timer(&self, _hart: VcpuId, deadline_ticks: u64) {
        self.vcpu()
            .set_timer(line::SUPERVISOR_TIMER, Some(deadline_ticks));
    }

    fn set_counter(&self, counter: HardwareCounter, value: Option<u64>, runs: bool) {
        let (register, inhibit) = match counter {
            HardwareCounter::Cycle => (MCYCLE, 1 << 0),
            HardwareCounter::Instret => (MINSTRET, 1 << 2),
        };
        self.vcpu().with_env(|state, config, env| {
            let inhibited = state.mcountinhibit;
            let inhibited = match runs {
                true => inhibited & !inhibit,
                false => inhibited | inhibit,
            };
            csr::poke(state, config, env, MCOUNTINHIBIT, inhibited);
            if let Some(value) = value {
                csr::poke(state, config, env, register, value);
            }
        });
    }

    fn send_ipi(&self, harts: HartSet) {
        for peer in harts.iter().filter_map(|hart| self.peer(hart)) {
            peer.set_lines(1 << line::SUPERVISOR_SOFTWARE, 0);
        }
    }

    fn clear_ipi(&self, hart: VcpuId) -> bool {
        let bit = 1 << line::SUPERVISOR_SOFTWARE;
        let Some(peer) = self.peer(hart) else {
            return false;
        };
        let pending = peer.lines() & bit != 0;
        peer.set_lines(0, bit);
        pending
    }

    fn remote_fence(&self, caller: VcpuId, fence: RemoteFence, harts: HartSet) {
        let targets: Vec<_> = harts.iter().filter_map(|hart| self.peer(hart)).collect();
        let mut vcpu = self.vcpu();
        match fence {
            RemoteFence::Instructions => vcpu.broadcast(&targets, &[Remote::SyncCode]),
            RemoteFence::Translation { range, asid } => {
                // The engine numbers spaces from 1, 0 being "no translation".
                let asid = asid.map(|asid| 1 + u32::from(asid.0));
                let scopes = Self::scopes(range, asid).into_iter().map(Remote::Flush);
                vcpu.broadcast(&targets, &Vec::from_iter(scopes));
            }
        }
        drop(vcpu);
        self.serve_for_halted(caller, harts);
    }

    fn wake_stopped(&self, _hart: VcpuId) {
        self.shared.lock().wakeups += 1;
        self.shared.notify();
    }

    fn read_virtual(&self, _hart: VcpuId, addr: GuestVirtAddr) -> Option<u64> {
        let mut bytes = [0; 8];
        self.vcpu().debug_read(addr, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn console_write(&self, bytes: &[u8]) -> usize {
        self.shared.serial.write(bytes);
        bytes.len()
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let port = self.shared.serial_port.get();
        port.map_or(0, |port| port.take_received(into))
    }
}
