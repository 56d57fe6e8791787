//! What all machines have in common, whatever their board and their guest's instruction set: how a machine is put
//! together, run, debugged, reset and ended.
//!
//! A board adds memory map, devices and firmware by implementing [`board::Board`]; `docs/add-a-machine.md` walks through
//! one.

mod assembly;
pub(crate) mod board;
mod config;
pub(crate) mod control;
mod debug;
pub(crate) mod offered;
mod panic_watch;
pub(crate) mod shared;
mod slots;
mod statistics;
mod vcpu_thread;
pub(crate) mod virtio;

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use vm_core::DebugTarget;
use vm_device::chardev::CharInput;
use vm_device::display::Display;
use vm_device::input::i8042::I8042;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_engine::VcpuShared;
use vm_engine_jit::{Template, TemplateError};
use vm_frontend::Guest;
use vm_mem::GuestMemory;
use vm_osal::TimerThread;

use self::board::{Board, Poll, Ports};
use self::control::{Control, Event, Order};
use self::debug::Debugger;
use self::shared::Shared;

pub use self::offered::OfferedKernel;

pub use self::config::{
    Disk, FlashBank, MOST_CPUS, MachineConfig, MachineError, Nic, Outcome, TranslateOptions,
};

/// A whole machine, of whatever board. Dropping it stops and joins its threads.
pub struct Machine {
    core: Arc<dyn Core>,
    control: Arc<Control>,
    ports: Ports,
    threads: Vec<JoinHandle<()>>,
    _timers: Arc<TimerThread>,
}

/// The part of a machine that depends on its board.
trait Core: Send + Sync {
    fn memory(&self) -> &GuestMemory;
    fn debugger(self: Arc<Self>) -> Arc<dyn DebugTarget>;
    fn translate(&self, options: TranslateOptions) -> Result<(), TemplateError>;
    fn reset(&self) -> Result<(), MachineError>;
    fn end_trace(&self);
    fn device_tree(&self) -> &[u8];
    fn poll(self: Arc<Self>) -> Option<Poll>;
}

impl<B: Board> Core for Shared<B> {
    fn memory(&self) -> &GuestMemory {
        self.engine.memory()
    }

    fn debugger(self: Arc<Self>) -> Arc<dyn DebugTarget> {
        Arc::new(Debugger::new(self))
    }

    fn translate(&self, options: TranslateOptions) -> Result<(), TemplateError> {
        let mut template = Template::new(B::Guest::layout(), self.code_budget_bytes)?;
        template.show(options.listing, options.shown.clone());
        if options.count_accesses {
            template.count_accesses();
        }
        if options.perf_map {
            template.write_perf_map()?;
        }
        self.engine.set_translator(Arc::new(template));
        if options.verify {
            let tell = move |text: &str| options.shown.say(&format!("{text}\n"));
            self.engine.compare_with_interpreter(Box::new(tell));
        }
        Ok(())
    }

    fn reset(&self) -> Result<(), MachineError> {
        Self::reset(self)
    }

    fn end_trace(&self) {
        if let Some(trace) = &self.trace {
            trace.end();
        }
    }

    fn device_tree(&self) -> &[u8] {
        self.board.device_tree()
    }

    fn poll(self: Arc<Self>) -> Option<Poll> {
        self.board.poll(&self)
    }
}

impl Machine {
    /// Where typed characters go.
    pub fn serial_input(&self) -> Arc<dyn CharInput> {
        self.ports.serial.clone()
    }

    /// Where characters typed at the virtio console go, if there is one.
    pub fn console_input(&self) -> Option<Arc<dyn CharInput>> {
        let device = self.ports.console.clone();
        let device = device.filter(|device| device.has_console());
        device.map(|device| device as Arc<dyn CharInput>)
    }

    /// Where input of the named ports goes, in their order.
    pub fn port_inputs(&self) -> Vec<Arc<dyn CharInput>> {
        let device = self.ports.console.as_ref();
        device.map_or_else(Vec::new, |device| device.port_inputs())
    }

    /// The memory balloon, if there is one.
    pub fn balloon(&self) -> Option<&Arc<VirtioBalloon>> {
        self.ports.balloon.as_ref()
    }

    /// What has a picture, if anything has.
    pub fn display(&self) -> Option<&Arc<dyn Display>> {
        self.ports.display.as_ref()
    }

    /// The keyboard controller, if there is one.
    pub fn keyboard(&self) -> Option<&Arc<I8042>> {
        self.ports.keyboard.as_ref()
    }

    /// Tells the guest the columns and rows of the virtio console's terminal, from another thread; does nothing without
    /// one.
    pub fn resizer(&self) -> impl Fn(u16, u16) + Send + Sync + 'static {
        let port = self.ports.console.as_ref().map(Arc::downgrade);
        move |columns, rows| {
            if let Some(port) = port.as_ref().and_then(Weak::upgrade) {
                port.resize(columns, rows);
            }
        }
    }

    /// What a debugger or monitor uses.
    pub fn debugger(&self) -> Arc<dyn DebugTarget> {
        self.core.clone().debugger()
    }

    /// Guest RAM.
    pub fn memory(&self) -> &GuestMemory {
        self.core.memory()
    }

    /// The virtual CPUs in order, for inspection.
    pub fn vcpus(&self) -> Vec<Arc<VcpuShared>> {
        self.control.vcpus().to_vec()
    }

    /// The device tree that the guest got; empty when its board has none.
    pub fn device_tree(&self) -> &[u8] {
        self.core.device_tree()
    }

    /// Has guest code translated to host code instead of interpreted. Call it before the first `run`.
    ///
    /// # Errors
    /// When the host's processor or its rules for executable memory do not allow it; the machine interprets then.
    pub fn translate(&self, options: TranslateOptions) -> Result<(), TemplateError> {
        self.core.translate(options)
    }

    /// Ends the machine from another thread; `run` returns [`Outcome::Stopped`].
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        self.raiser(Event::End(Outcome::Stopped))
    }

    /// Resets the machine from another thread, as its reset button would.
    pub fn resetter(&self) -> impl Fn() + Send + Sync + 'static {
        self.raiser(Event::Reset)
    }

    fn raiser(&self, event: Event) -> impl Fn() + Send + Sync + 'static {
        let control = Arc::downgrade(&self.control);
        move || {
            if let Some(control) = control.upgrade() {
                control.raise(event);
            }
        }
    }

    /// Runs the guest to its end, through any number of resets.
    ///
    /// # Errors
    /// When programs cannot be loaded again at a reset.
    pub fn run(&mut self) -> Result<Outcome, MachineError> {
        loop {
            {
                let mut orders = self.control.lock();
                // A debugger may have resumed a machine that starts paused already.
                while !orders.all_parked() && orders.order != Order::Run {
                    orders = self.control.wait(orders);
                }
                if orders.event.is_none() && orders.stop.is_none() {
                    orders.parked = 0;
                    orders.order = Order::Run;
                }
            }
            self.control.notify();
            match self.wait_for_event() {
                Event::End(outcome) => {
                    self.core.end_trace();
                    return Ok(outcome);
                }
                Event::Reset => self.reset()?,
            }
        }
    }

    /// Waits until every virtual CPU has halted for an event.
    fn wait_for_event(&self) -> Event {
        let mut poll = self.core.clone().poll();
        let mut orders = self.control.lock();
        loop {
            if let Some(event) = orders.event
                && orders.all_parked()
            {
                return event;
            }
            orders = match &mut poll {
                Some(poll) => {
                    drop(orders);
                    (poll.look)();
                    self.control.wait_timeout(self.control.lock(), poll.every)
                }
                None => self.control.wait(orders),
            };
        }
    }

    fn reset(&self) -> Result<(), MachineError> {
        self.core.reset()?;
        let mut orders = self.control.lock();
        orders.generation += 1;
        if orders.event == Some(Event::Reset) {
            orders.event = None;
        }
        drop(orders);
        // A debugger waits for the reset that it asked for.
        self.control.notify();
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.control.quit();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
