//! The machine under a debugger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vm_core::{
    DebugTarget, GuestArch, GuestPhysAddr, GuestVirtAddr, NoRam, NoRegister, Resume, Statistic,
    StopCause, Unmapped, VcpuId, Watchpoint,
};
use vm_engine::Vcpu;
use vm_frontend::Guest as _;

use super::board::{Board, Firmware as _, Inspect as _};
use super::config::Outcome;
use super::control::{Event, Order};
use super::shared::{Shared, locked};

/// Everything a debugger may do to a machine.
pub(super) struct Debugger<B: Board> {
    shared: Arc<Shared<B>>,
    stops: Mutex<(Vec<GuestVirtAddr>, Vec<Watchpoint>)>,
}

impl<B: Board> Debugger<B> {
    pub(super) fn new(shared: Arc<Shared<B>>) -> Self {
        Self {
            shared,
            stops: Mutex::default(),
        }
    }

    fn vcpu(&self, vcpu: VcpuId) -> MutexGuard<'_, Vcpu<B::Guest>> {
        locked(&self.shared.vcpus[vcpu.0 as usize])
    }

    fn apply_stops(&self, stops: &(Vec<GuestVirtAddr>, Vec<Watchpoint>)) {
        self.shared.engine.set_stops(&stops.0, &stops.1);
    }
}

/// Whether the machine will not go on after this event.
fn is_end(event: Event) -> bool {
    matches!(event, Event::End(_))
}

impl<B: Board> DebugTarget for Debugger<B> {
    fn arch(&self) -> GuestArch {
        B::Guest::ARCH
    }

    fn vcpus(&self) -> u32 {
        self.shared.vcpus.len() as u32
    }

    fn pause(&self) {
        self.shared.control.stop_for_debugger(StopCause::Paused);
    }

    fn resume(&self, how: &[Resume]) {
        let how = &how[..how.len().min(self.shared.vcpus.len())];
        // Others that are at a breakpoint have yet to stop there: only one stop is reported at a time.
        let reported = self.shared.control.lock().stop;
        if let Some(StopCause::Breakpoint(vcpu)) = reported
            && how.get(vcpu.0 as usize) == Some(&Resume::Continue)
        {
            self.vcpu(vcpu).start_past_breakpoint();
        }
        let mut orders = self.shared.control.lock();
        if orders.event.is_some_and(is_end) || orders.order == Order::Quit {
            return;
        }
        orders.stop = None;
        orders.resume[..how.len()].copy_from_slice(how);
        // While the machine resets, it goes on by itself when it has.
        if orders.event.is_none() {
            orders.parked = 0;
            for (number, how) in how.iter().enumerate() {
                if *how == Resume::Stay {
                    orders.parked |= 1 << number;
                }
            }
            orders.order = Order::Run;
        }
        drop(orders);
        self.shared.control.notify();
    }

    fn wait(&self, timeout_ms: u64) -> Option<StopCause> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let mut orders = self.shared.control.lock();
        loop {
            if orders.all_parked() && orders.order != Order::Run {
                if let Some(Event::End(outcome)) = orders.event {
                    return Some(StopCause::Ended(outcome.status()));
                }
                if let Some(cause) = orders.stop {
                    return Some(cause);
                }
            }
            if orders.order == Order::Quit {
                let outcome = match orders.event {
                    Some(Event::End(outcome)) => outcome,
                    _ => Outcome::Stopped,
                };
                return Some(StopCause::Ended(outcome.status()));
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            orders = self.shared.control.wait_timeout(orders, left);
        }
    }

    fn read_register(&self, vcpu: VcpuId, name: &str) -> Result<u64, NoRegister> {
        B::Guest::read_register(&self.shared.engine, &self.vcpu(vcpu), name)
            .ok_or_else(|| NoRegister(name.to_owned()))
    }

    fn write_register(&self, vcpu: VcpuId, name: &str, value: u64) -> Result<(), NoRegister> {
        match B::Guest::write_register(&self.shared.engine, &mut self.vcpu(vcpu), name, value) {
            true => Ok(()),
            false => Err(NoRegister(name.to_owned())),
        }
    }

    fn read_memory(
        &self,
        vcpu: VcpuId,
        addr: GuestVirtAddr,
        into: &mut [u8],
    ) -> Result<(), Unmapped> {
        self.vcpu(vcpu)
            .debug_read(addr, into)
            .map_err(|_| Unmapped(addr))
    }

    fn write_memory(&self, vcpu: VcpuId, addr: GuestVirtAddr, from: &[u8]) -> Result<(), Unmapped> {
        self.vcpu(vcpu)
            .debug_write(addr, from)
            .map_err(|_| Unmapped(addr))
    }

    fn read_physical(&self, addr: GuestPhysAddr, into: &mut [u8]) -> Result<(), NoRam> {
        let memory = self.shared.engine.memory();
        memory.read(addr, into).map_err(|_| NoRam(addr))
    }

    fn write_physical(&self, addr: GuestPhysAddr, from: &[u8]) -> Result<(), NoRam> {
        let memory = self.shared.engine.memory();
        memory.write(addr, from).map_err(|_| NoRam(addr))
    }

    fn reset(&self) {
        let before = self.shared.control.lock().generation;
        self.shared.control.raise(Event::Reset);
        let mut orders = self.shared.control.lock();
        // An end stands for the reset where the machine was told not to reboot.
        while orders.generation == before
            && orders.event == Some(Event::Reset)
            && orders.order != Order::Quit
        {
            orders = self.shared.control.wait(orders);
        }
    }

    fn set_breakpoints(&self, at: &[GuestVirtAddr]) {
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.0 = at.to_vec();
        self.apply_stops(&stops);
    }

    fn set_watchpoints(&self, watch: &[Watchpoint]) {
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        stops.1 = watch.to_vec();
        self.apply_stops(&stops);
    }

    fn is_idle(&self, vcpu: VcpuId) -> bool {
        let vcpus = self.shared.control.vcpus().get(vcpu.0 as usize);
        let firmware = self.shared.board.firmware();
        firmware.is_some_and(|firmware| firmware.is_idle(vcpu))
            || vcpus.is_some_and(|vcpu| vcpu.was_waiting())
    }

    fn statistics(&self, vcpu: VcpuId) -> Vec<Statistic> {
        let engine = &self.shared.engine;
        let stats = self.vcpu(vcpu).stats();
        let names = B::Guest::layout().helpers.iter().map(|helper| helper.name);
        let helpers = names.zip(stats.helper_calls.iter().copied());
        super::statistics::of_vcpu(&stats, engine.translates(), helpers)
            .chain(super::statistics::of_engine(engine))
            .collect()
    }
}
