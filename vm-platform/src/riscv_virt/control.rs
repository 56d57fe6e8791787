//! What hart threads, devices and whoever stops the machine share: orders, events and the state of the harts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use vm_boot::riscv::{BootPlan, HartStart, Privilege, StartingHarts};
use vm_boot::sbi::Sbi;
use vm_core::{ExecTrace, GuestVirtAddr, Resume, StopCause, VcpuId};
use vm_device::chardev::CharSink;
use vm_device::serial::ns16550::Ns16550;
use vm_engine::{Engine, Vcpu};
use vm_frontend::InstanceSpec;
use vm_frontend::riscv::state::HartState;
use vm_frontend::riscv::sys::Riscv;

use super::config::Outcome;
use super::panic_watch::PanicWatch;

/// What the machine wants its hart threads to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Run.
    Run,
    /// Come to a halt; what happens then is decided when all have.
    Park,
    /// End.
    Quit,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) order: Order,
    /// Hart threads that have come to a halt, a bit each.
    pub(super) parked: u32,
    /// How each hart goes on while the order is to run.
    pub(super) resume: Vec<Resume>,
    /// Why a debugger stopped the machine, while it has.
    pub(super) stop: Option<StopCause>,
    /// Counts resets; a hart thread that sees it change knows that its hart is as after power-on.
    pub(super) generation: u64,
    /// Why the machine is to be reset or ended.
    pub(super) event: Option<Event>,
    /// Counts changes that idle threads wait for (SBI hart start).
    pub(super) wakeups: u64,
}

impl Control {
    /// Before the first run; `paused` has it wait for a debugger.
    pub(super) fn new(harts: u32, paused: bool) -> Self {
        Self {
            order: Order::Park,
            parked: 0,
            resume: vec![Resume::Continue; harts as usize],
            stop: paused.then_some(StopCause::Paused),
            generation: 0,
            event: None,
            wakeups: 0,
        }
    }
}

/// Something that ends the run of all harts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Reset,
    End(Outcome),
}

/// What hart threads and devices share.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine<Riscv>>,
    pub(super) code_budget_bytes: usize,
    pub(super) sbi: Option<Sbi>,
    pub(super) plan: BootPlan,
    pub(super) control: Mutex<Control>,
    pub(super) changed: Condvar,
    pub(super) panic_watch: Arc<PanicWatch>,
    pub(super) serial: Arc<dyn CharSink>,
    /// Where characters are typed, once it is placed.
    pub(super) serial_port: OnceLock<Arc<Ns16550>>,
    /// The virtual CPUs in order, once there are all; each is locked while its hart runs.
    pub(super) vcpus: OnceLock<Vec<Arc<Mutex<Vcpu<Riscv>>>>>,
    pub(super) no_reboot: bool,
    pub(super) trace: Option<Arc<dyn ExecTrace>>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(&self, control: MutexGuard<'a, Control>) -> MutexGuard<'a, Control> {
        self.changed
            .wait(control)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_timeout<'a>(
        &self,
        control: MutexGuard<'a, Control>,
        most: Duration,
    ) -> MutexGuard<'a, Control> {
        self.changed
            .wait_timeout(control, most)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Whether every hart has come to a halt.
    pub(super) fn all_parked(&self, control: &Control) -> bool {
        control.parked.count_ones() as usize == control.resume.len()
    }

    /// Records the first event and halts every hart.
    pub(super) fn raise(&self, event: Event) {
        let event = self.judged(event);
        let mut control = self.lock();
        // An end that comes while the machine resets is not lost.
        let replaces = matches!((control.event, event), (Some(Event::Reset), Event::End(_)));
        if control.event.is_none() || replaces {
            control.event = Some(event);
        }
        self.halt(control);
    }

    /// Records why a debugger stops the machine, and halts every hart.
    pub(super) fn stop_for_debugger(&self, cause: StopCause) {
        let mut control = self.lock();
        if control.stop.is_none() {
            control.stop = Some(cause);
        }
        self.halt(control);
    }

    fn halt(&self, mut control: MutexGuard<'_, Control>) {
        if control.order == Order::Run {
            control.order = Order::Park;
        }
        drop(control);
        self.changed.notify_all();
        for vcpu in self.engine.peers() {
            vcpu.stop();
        }
    }

    /// What a reset means: after a kernel's panic message it is the panic's.
    fn judged(&self, event: Event) -> Event {
        match event {
            Event::Reset if self.panic_watch.seen() => Event::End(Outcome::Panicked),
            Event::Reset if self.no_reboot => Event::End(Outcome::Reset),
            other => other,
        }
    }

    pub(super) fn spec(&self, hart: VcpuId) -> InstanceSpec {
        let start = self.plan.hart_start(u64::from(hart.0));
        InstanceSpec {
            vcpu: hart,
            entry: GuestVirtAddr(start.pc.raw()),
            builtin_firmware: start.privilege == Privilege::Supervisor && self.sbi.is_some(),
        }
    }

    /// Loads the argument registers of a starting hart.
    pub(super) fn set_start(&self, state: &mut HartState, hart: VcpuId) {
        let HartStart { a0, a1, a2, .. } = self.plan.hart_start(u64::from(hart.0));
        state.x[10..13].copy_from_slice(&[a0, a1, a2]);
    }

    /// Whether this hart runs right after a reset.
    pub(super) fn starts(&self, hart: VcpuId) -> bool {
        hart.0 == 0 || self.plan.starting_harts() == StartingHarts::All
    }
}
