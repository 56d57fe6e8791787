//! The orders that virtual CPUs follow, and the events that devices, debuggers and the outside raise.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use vm_core::{Resume, StopCause};
use vm_device::power::{SystemEvent, SystemEvents};
use vm_engine::VcpuShared;

use super::config::Outcome;
use super::panic_watch::PanicWatch;

/// What the machine wants its virtual CPUs' threads to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Run.
    Run,
    /// Come to a halt; what happens then is decided when all have.
    Park,
    /// End.
    Quit,
}

/// Something that ends the run of all virtual CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Everything as after power-on.
    Reset,
    /// The machine's end.
    End(Outcome),
}

/// What the machine's threads agree on.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) order: Order,
    /// Threads that have come to a halt, a bit for each virtual CPU.
    pub(super) parked: u32,
    /// How each virtual CPU goes on while the order is to run.
    pub(super) resume: Vec<Resume>,
    /// Why a debugger stopped the machine, while it has.
    pub(super) stop: Option<StopCause>,
    /// Counts resets; a thread that sees it change knows that its virtual CPU is as after power-on.
    pub(super) generation: u64,
    /// Why the machine is to be reset or ended.
    pub(super) event: Option<Event>,
    /// Counts changes that idle threads wait for (a virtual CPU was told to start).
    wakeups: u64,
}

impl Orders {
    /// Whether every virtual CPU has come to a halt.
    pub(super) fn all_parked(&self) -> bool {
        self.parked.count_ones() as usize == self.resume.len()
    }
}

/// Where the machine's threads, its devices and whoever acts on it from outside meet.
pub(crate) struct Control {
    orders: Mutex<Orders>,
    changed: Condvar,
    /// The virtual CPUs, once there are all.
    vcpus: OnceLock<Vec<Arc<VcpuShared>>>,
    pub(super) panic_watch: Arc<PanicWatch>,
    no_reboot: bool,
}

impl Control {
    /// Before the first run; `paused` has it wait for a debugger.
    pub(super) fn new(cpus: u32, paused: bool, no_reboot: bool) -> Arc<Self> {
        Arc::new(Self {
            orders: Mutex::new(Orders {
                order: Order::Park,
                parked: 0,
                resume: vec![Resume::Continue; cpus as usize],
                stop: paused.then_some(StopCause::Paused),
                generation: 0,
                event: None,
                wakeups: 0,
            }),
            changed: Condvar::new(),
            vcpus: OnceLock::new(),
            panic_watch: PanicWatch::new(),
            no_reboot,
        })
    }

    /// Names the virtual CPUs. Called once.
    pub(super) fn set_vcpus(&self, vcpus: Vec<Arc<VcpuShared>>) {
        self.vcpus.get_or_init(|| vcpus);
    }

    /// All virtual CPUs in order.
    pub(crate) fn vcpus(&self) -> &[Arc<VcpuShared>] {
        self.vcpus.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(&self, orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
        self.changed
            .wait(orders)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_timeout<'a>(
        &self,
        orders: MutexGuard<'a, Orders>,
        most: Duration,
    ) -> MutexGuard<'a, Orders> {
        self.changed
            .wait_timeout(orders, most)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Has threads whose virtual CPUs are off look whether those were told to start.
    pub(crate) fn wake_idle(&self) {
        self.lock().wakeups += 1;
        self.notify();
    }

    /// Records the first event and halts every virtual CPU.
    pub(crate) fn raise(&self, event: Event) {
        let event = self.judged(event);
        let mut orders = self.lock();
        // An end that comes while the machine resets is not lost.
        let replaces = matches!((orders.event, event), (Some(Event::Reset), Event::End(_)));
        if orders.event.is_none() || replaces {
            orders.event = Some(event);
        }
        self.halt(orders);
    }

    /// What the machine does about the events of its devices.
    pub(crate) fn system_events(self: &Arc<Self>) -> SystemEvents {
        let control = self.clone();
        Arc::new(move |event| match event {
            SystemEvent::Reset => control.raise(Event::Reset),
            SystemEvent::PowerOff => control.raise(Event::End(Outcome::PoweredOff)),
            SystemEvent::Exit(status) => {
                let code = u16::try_from(status).unwrap_or(u16::MAX);
                control.raise(Event::End(Outcome::Failed(code)));
            }
            SystemEvent::Panicked => control.panic_watch.guest_tells(),
            // Its crash kernel goes on.
            SystemEvent::CrashLoaded => {}
        })
    }

    /// Records why a debugger stops the machine, and halts every virtual CPU.
    pub(super) fn stop_for_debugger(&self, cause: StopCause) {
        let mut orders = self.lock();
        if orders.stop.is_none() {
            orders.stop = Some(cause);
        }
        self.halt(orders);
    }

    fn halt(&self, mut orders: MutexGuard<'_, Orders>) {
        if orders.order == Order::Run {
            orders.order = Order::Park;
        }
        drop(orders);
        self.changed.notify_all();
        self.stop_vcpus();
    }

    /// Orders the end of all threads of virtual CPUs.
    pub(super) fn quit(&self) {
        self.lock().order = Order::Quit;
        self.notify();
        self.stop_vcpus();
    }

    fn stop_vcpus(&self) {
        for vcpu in self.vcpus() {
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
}
