//! The machine under a debugger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vm_boot::sbi::HartState;
use vm_core::{
    DebugTarget, GuestArch, GuestPhysAddr, GuestVirtAddr, NoRam, NoRegister, Resume, Statistic,
    StopCause, Unmapped, VcpuId, Watchpoint,
};
use vm_engine::Vcpu;
use vm_frontend::Guest as _;
use vm_frontend::riscv::sys::{Riscv, csr};

use super::config::Outcome;
use super::control::{Event, Order, Shared};

/// Everything a debugger may do to a machine.
pub(super) struct Debugger {
    shared: Arc<Shared>,
    vcpus: Vec<Arc<Mutex<Vcpu<Riscv>>>>,
    stops: Mutex<(Vec<GuestVirtAddr>, Vec<Watchpoint>)>,
}

/// Where a register lives.
enum Register {
    Pc,
    Privilege,
    X(usize),
    F(usize),
    Csr(u16),
}

impl Debugger {
    pub(super) fn new(shared: Arc<Shared>, vcpus: Vec<Arc<Mutex<Vcpu<Riscv>>>>) -> Self {
        Self {
            shared,
            vcpus,
            stops: Mutex::default(),
        }
    }

    fn vcpu(&self, vcpu: VcpuId) -> MutexGuard<'_, Vcpu<Riscv>> {
        self.vcpus[vcpu.0 as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, name: &str) -> Option<Register> {
        let numbered = |prefix: char| {
            let number: usize = name.strip_prefix(prefix)?.parse().ok()?;
            (number < 32).then_some(number)
        };
        match name {
            "pc" => return Some(Register::Pc),
            "priv" => return Some(Register::Privilege),
            _ => {}
        }
        if let Some(number) = numbered('x') {
            return Some(Register::X(number));
        }
        if let Some(number) = numbered('f') {
            return Some(Register::F(number));
        }
        csr::registers(self.shared.engine.config())
            .find(|(_, known)| known == name)
            .map(|(number, _)| Register::Csr(number))
    }

    fn apply_stops(&self, stops: &(Vec<GuestVirtAddr>, Vec<Watchpoint>)) {
        self.shared.engine.set_stops(&stops.0, &stops.1);
    }
}

/// Whether the machine will not go on after this event.
fn is_end(event: Event) -> bool {
    matches!(event, Event::End(_))
}

impl DebugTarget for Debugger {
    fn arch(&self) -> GuestArch {
        GuestArch::Riscv64
    }

    fn vcpus(&self) -> u32 {
        self.vcpus.len() as u32
    }

    fn pause(&self) {
        self.shared.stop_for_debugger(StopCause::Paused);
    }

    fn resume(&self, how: &[Resume]) {
        let how = &how[..how.len().min(self.vcpus.len())];
        // Others that are at a breakpoint have yet to stop there: only one stop is reported at a time.
        let reported = self.shared.lock().stop;
        if let Some(StopCause::Breakpoint(vcpu)) = reported
            && how.get(vcpu.0 as usize) == Some(&Resume::Continue)
        {
            self.vcpu(vcpu).start_past_breakpoint();
        }
        let mut control = self.shared.lock();
        if control.event.is_some_and(is_end) || control.order == Order::Quit {
            return;
        }
        control.stop = None;
        control.resume[..how.len()].copy_from_slice(how);
        // While the machine resets, it goes on by itself when it has.
        if control.event.is_none() {
            control.parked = 0;
            for (number, how) in how.iter().enumerate() {
                if *how == Resume::Stay {
                    control.parked |= 1 << number;
                }
            }
            control.order = Order::Run;
        }
        drop(control);
        self.shared.notify();
    }

    fn wait(&self, timeout_ms: u64) -> Option<StopCause> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        let mut control = self.shared.lock();
        loop {
            if self.shared.all_parked(&control) && control.order != Order::Run {
                if let Some(Event::End(outcome)) = control.event {
                    return Some(StopCause::Ended(outcome.status()));
                }
                if let Some(cause) = control.stop {
                    return Some(cause);
                }
            }
            if control.order == Order::Quit {
                let outcome = match control.event {
                    Some(Event::End(outcome)) => outcome,
                    _ => Outcome::Stopped,
                };
                return Some(StopCause::Ended(outcome.status()));
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            control = self.shared.wait_timeout(control, left);
        }
    }

    fn read_register(&self, vcpu: VcpuId, name: &str) -> Result<u64, NoRegister> {
        let register = self
            .register(name)
            .ok_or_else(|| NoRegister(name.to_owned()))?;
        let vcpu = self.vcpu(vcpu);
        Ok(match register {
            Register::Pc => vcpu.state().common.pc,
            Register::Privilege => vcpu.state().privilege,
            Register::X(number) => vcpu.state().x[number],
            Register::F(number) => vcpu.state().f[number],
            Register::Csr(number) => {
                let inputs = csr::CsrSnapshot {
                    time: self.shared.engine.time(),
                    lines: vcpu.shared().lines(),
                    retired: vcpu.state().common.retired,
                };
                csr::peek(vcpu.state(), self.shared.engine.config(), &inputs, number)
                    .ok_or_else(|| NoRegister(name.to_owned()))?
            }
        })
    }

    fn write_register(&self, vcpu: VcpuId, name: &str, value: u64) -> Result<(), NoRegister> {
        let refused = || NoRegister(name.to_owned());
        let register = self.register(name).ok_or_else(refused)?;
        let mut vcpu = self.vcpu(vcpu);
        match register {
            Register::Pc => vcpu.state_mut().common.pc = value & !1,
            Register::X(0) | Register::Privilege => return Err(refused()),
            Register::X(number) => vcpu.state_mut().x[number] = value,
            Register::F(number) => vcpu.state_mut().f[number] = value,
            Register::Csr(number) => {
                let done = vcpu
                    .with_env(|state, config, env| csr::poke(state, config, env, number, value));
                return if done { Ok(()) } else { Err(refused()) };
            }
        }
        Ok(())
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
        let before = self.shared.lock().generation;
        self.shared.raise(Event::Reset);
        let mut control = self.shared.lock();
        // An end stands for the reset where the machine was told not to reboot.
        while control.generation == before
            && control.event == Some(Event::Reset)
            && control.order != Order::Quit
        {
            control = self.shared.wait(control);
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
        let peers = self.shared.engine.peers();
        let idle = |state| matches!(state, HartState::Stopped | HartState::Suspended);
        let sbi = self.shared.sbi.as_ref();
        sbi.is_some_and(|sbi| idle(sbi.harts().state(vcpu)))
            || peers
                .get(vcpu.0 as usize)
                .is_some_and(|peer| peer.was_waiting())
    }

    fn statistics(&self, vcpu: VcpuId) -> Vec<Statistic> {
        let engine = &self.shared.engine;
        let stats = self.vcpu(vcpu).stats();
        let names = Riscv::layout().helpers.iter().map(|helper| helper.name);
        let helpers = names.zip(stats.helper_calls.iter().copied());
        super::statistics::of_vcpu(&stats, engine.translates(), helpers)
            .chain(super::statistics::of_engine(engine))
            .collect()
    }
}
