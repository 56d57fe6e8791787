//! The machine: how it is put together, reset and ended.

use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use vm_boot::Extent;
use vm_boot::riscv::{BootPlan, BootRequest};
use vm_boot::sbi::Sbi;
use vm_core::{Clock, DebugTarget, TimeBase, VcpuId};
use vm_device::Bus;
use vm_device::chardev::CharInput;
use vm_device::serial::ns16550::Ns16550;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::console::VirtioConsole;
use vm_engine::{Engine, EngineParts, Vcpu, VcpuShared};
use vm_engine_jit::{Template, TemplateError};
use vm_frontend::Guest;
use vm_frontend::riscv::isa::IsaConfig;
use vm_frontend::riscv::sys::Riscv;
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

pub use super::config::{
    Disk, FlashBank, MachineConfig, MachineError, Nic, OfferedKernel, Outcome, TranslateOptions,
    VirtioTransport,
};
use super::control::{Control, Event, Order, Shared};
use super::debug::Debugger;
use super::devices;
use super::fdt::{self, FdtConfig, MmuType};
use super::hart_thread::{HartThread, power_on};
use super::layout::{self, Region};
use super::panic_watch::PanicWatch;
use super::wiring::{self, Parts};

/// A whole RISC-V `virt` machine. Dropping it stops and joins its threads.
pub struct Machine {
    shared: Arc<Shared>,
    bus: Arc<Bus>,
    device_tree: Vec<u8>,
    serial_port: Arc<Ns16550>,
    console_port: Option<Arc<VirtioConsole>>,
    balloon: Option<Arc<VirtioBalloon>>,
    vcpus: Vec<Arc<Mutex<Vcpu<Riscv>>>>,
    threads: Vec<JoinHandle<()>>,
    _timers: Arc<TimerThread>,
}

/// Stack of a hart thread: see the block budget of the interpreter.
const HART_STACK_BYTES: usize = 16 << 20;
/// How often test programs' `tohost` word is looked at.
const HTIF_POLL: Duration = Duration::from_micros(500);

impl Machine {
    /// Builds the machine and loads its programs. Nothing runs yet.
    ///
    /// # Errors
    /// When the configuration does not make a machine.
    pub fn new(config: MachineConfig) -> Result<Self, MachineError> {
        if !(1..=8).contains(&config.cpus) {
            return Err(MachineError::Cpus(config.cpus));
        }
        let ram = layout::ram(config.ram_bytes);
        let memory = GuestMemory::new(&[(ram.base, ram.bytes)])?;
        let request = BootRequest {
            reset_address: layout::MROM.base,
            boot_hart: 0,
            ..config.boot
        };
        let plan = BootPlan::new(
            request,
            Extent {
                base: ram.base,
                bytes: ram.bytes,
            },
        )?;
        let initrd = plan.initrd().map(|at| Region {
            base: at.base,
            bytes: at.bytes,
        });
        let mut seed = [0; 32];
        vm_osal::random_bytes(&mut seed);
        let offered = config
            .offered
            .map(|kernel| devices::kernel_items(&kernel, &config.bootargs))
            .transpose()?;
        let description = FdtConfig {
            cpus: config.cpus,
            ram_bytes: config.ram_bytes,
            extensions: config
                .isa
                .isa_extensions()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            mmu: mmu_type(&config.isa),
            bootargs: config.bootargs,
            initrd,
            rng_seed: Some(seed),
            kaslr_seed: None,
        };
        let device_tree = match &config.device_tree {
            Some(given) => fdt::completed(given, &description)?,
            None => fdt::build(&description)?,
        };

        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let timers = Arc::new(TimerThread::new(clock.clone())?);
        let time = Arc::new(TimeBase::new(clock.clone(), u64::from(layout::TIMEBASE_HZ)));
        let bus = Arc::new(Bus::new());
        let engine = Engine::new(EngineParts {
            config: config.isa,
            memory: memory.clone(),
            bus: bus.clone(),
            ports: Arc::new(Bus::new()),
            rom: [layout::MROM, layout::FLASH0, layout::FLASH1]
                .map(|r| (r.base, r.bytes))
                .into(),
            time: time.clone(),
            alarms: timers.clone(),
            code_budget_bytes: config.code_budget_bytes,
        });
        let panic_watch = PanicWatch::new();
        let serial = panic_watch.over(config.serial);
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            code_budget_bytes: config.code_budget_bytes,
            sbi: config.builtin_sbi.then(|| Sbi::new(config.cpus, VcpuId(0))),
            plan,
            control: Mutex::new(Control::new(config.cpus, config.start_paused)),
            changed: Condvar::new(),
            panic_watch: panic_watch.clone(),
            serial: serial.clone(),
            serial_port: OnceLock::new(),
            vcpus: OnceLock::new(),
            no_reboot: config.no_reboot,
            trace: config.trace,
        });

        let (machine, notices) = (Arc::downgrade(&shared), config.notices);
        panic_watch.on_standing_still(move || match machine.upgrade() {
            Some(machine) if config.stop_on_panic => machine.raise(Event::End(Outcome::Panicked)),
            _ => notices.say(
                "the guest's kernel has panicked and stands still (--on-panic stop would end the machine)",
            ),
        });

        let vcpus: Vec<Vcpu<Riscv>> = (0..config.cpus)
            .map(|hart| Vcpu::new(&engine, shared.spec(VcpuId(hart))))
            .collect();
        let lines: Vec<Arc<VcpuShared>> = vcpus.iter().map(|vcpu| vcpu.shared().clone()).collect();
        let ports = wiring::place_devices(Parts {
            bus: &bus,
            memory: &memory,
            ram_bytes: config.ram_bytes,
            lines: &lines,
            clock,
            time,
            timers: &timers,
            shared: Arc::downgrade(&shared),
            reset_vector: shared.plan.reset_vector().into(),
            flash: config.flash,
            offered: offered.unwrap_or_default(),
            serial,
            console: config.console.map(|sink| panic_watch.over(sink)),
            disks: config.disks,
            nics: config.nics,
            rng: config.rng,
            balloon: config.balloon,
            rtc_start: config.rtc_start,
            virtio: config.virtio,
        })?;
        shared.serial_port.get_or_init(|| ports.serial.clone());

        let vcpus: Vec<_> = vcpus
            .into_iter()
            .map(|vcpu| Arc::new(Mutex::new(vcpu)))
            .collect();
        shared.vcpus.get_or_init(|| vcpus.clone());
        let mut machine = Self {
            shared,
            bus,
            device_tree,
            serial_port: ports.serial,
            console_port: ports.console,
            balloon: ports.balloon,
            vcpus,
            threads: Vec::new(),
            _timers: timers,
        };
        let harts = machine.vcpus.iter();
        let harts: Vec<_> = harts
            .map(|vcpu| HartThread::new(machine.shared.clone(), vcpu.clone()))
            .collect();
        for hart in harts {
            let name = format!("hart{}", hart.id().0);
            let thread = vm_osal::spawn_with_stack(&name, HART_STACK_BYTES, move || hart.run());
            // When it cannot be had, dropping the machine ends those before it.
            machine.threads.push(thread?);
        }
        machine.load()?;
        Ok(machine)
    }

    /// Programs and device tree into RAM.
    fn load(&self) -> Result<(), MachineError> {
        Ok(self
            .shared
            .plan
            .load(self.shared.engine.memory(), &self.device_tree)?)
    }

    /// Where typed characters go.
    pub fn serial_input(&self) -> Arc<dyn CharInput> {
        self.serial_port.clone()
    }

    /// Where characters typed at the virtio console go, if there is one.
    pub fn console_input(&self) -> Option<Arc<dyn CharInput>> {
        self.console_port
            .clone()
            .map(|port| port as Arc<dyn CharInput>)
    }

    /// The memory balloon, if there is one.
    pub fn balloon(&self) -> Option<&Arc<VirtioBalloon>> {
        self.balloon.as_ref()
    }

    /// Tells the guest the columns and rows of the virtio console's terminal, from another thread; does nothing without
    /// one.
    pub fn resizer(&self) -> impl Fn(u16, u16) + Send + Sync + 'static {
        let port = self.console_port.as_ref().map(Arc::downgrade);
        move |columns, rows| {
            if let Some(port) = port.as_ref().and_then(Weak::upgrade) {
                port.resize(columns, rows);
            }
        }
    }

    /// What a debugger or monitor uses.
    pub fn debugger(&self) -> Arc<dyn DebugTarget> {
        Arc::new(Debugger::new(self.shared.clone(), self.vcpus.clone()))
    }

    /// The engine, for inspection.
    pub fn engine(&self) -> &Arc<Engine<Riscv>> {
        &self.shared.engine
    }

    /// The device tree that the guest got.
    pub fn device_tree(&self) -> &[u8] {
        &self.device_tree
    }

    /// Has guest code translated to host code instead of interpreted. Call it before the first `run`.
    ///
    /// # Errors
    /// When the host's processor or its rules for executable memory do not allow it; the machine interprets then.
    pub fn translate(&self, options: TranslateOptions) -> Result<(), TemplateError> {
        let bytes = self.shared.code_budget_bytes;
        let mut template = Template::new(Riscv::layout(), bytes)?;
        template.show(options.dump, options.shown.clone());
        if options.count_accesses {
            template.count_accesses();
        }
        if options.perf_map {
            template.write_perf_map()?;
        }
        self.shared.engine.set_translator(Arc::new(template));
        if options.verify {
            let tell = move |text: &str| options.shown.say(&format!("{text}\n"));
            self.shared.engine.compare_with_interpreter(Box::new(tell));
        }
        Ok(())
    }

    /// Ends the machine from another thread; `run` returns [`Outcome::Stopped`].
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || {
            if let Some(shared) = shared.upgrade() {
                shared.raise(Event::End(Outcome::Stopped));
            }
        }
    }

    /// Resets the machine from another thread, as its reset button would.
    pub fn resetter(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || {
            if let Some(shared) = shared.upgrade() {
                shared.raise(Event::Reset);
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
                let mut control = self.shared.lock();
                // A debugger may have resumed a machine that starts paused already.
                while !self.shared.all_parked(&control) && control.order != Order::Run {
                    control = self.shared.wait(control);
                }
                if control.event.is_none() && control.stop.is_none() {
                    control.parked = 0;
                    control.order = Order::Run;
                }
            }
            self.shared.notify();
            let event = self.wait_for_event();
            match event {
                Event::End(outcome) => {
                    if let Some(trace) = &self.shared.trace {
                        trace.end();
                    }
                    return Ok(outcome);
                }
                Event::Reset => self.reset()?,
            }
        }
    }

    /// Waits until every hart has halted for an event.
    fn wait_for_event(&self) -> Event {
        let symbols = self.shared.plan.htif_symbols();
        let mut htif = super::htif::Htif::new(symbols, self.shared.clone());
        let mut control = self.shared.lock();
        loop {
            if let Some(event) = control.event
                && self.shared.all_parked(&control)
            {
                return event;
            }
            if let Some(htif) = &mut htif {
                drop(control);
                htif.poll();
                control = self.shared.lock();
                control = self.shared.wait_timeout(control, HTIF_POLL);
            } else {
                control = self.shared.wait(control);
            }
        }
    }

    fn reset(&self) -> Result<(), MachineError> {
        self.bus.reset();
        if let Some(sbi) = &self.shared.sbi {
            sbi.reset();
        }
        self.shared.engine.memory().clear()?;
        self.load()?;
        self.shared.panic_watch.reset();
        // All before any runs: one that is late must not lose what the first ones send it.
        for vcpu in &self.vcpus {
            power_on(&self.shared, vcpu);
        }
        let mut control = self.shared.lock();
        control.generation += 1;
        if control.event == Some(Event::Reset) {
            control.event = None;
        }
        drop(control);
        // A debugger waits for the reset that it asked for.
        self.shared.notify();
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.lock().order = Order::Quit;
        self.shared.notify();
        for vcpu in self.shared.engine.peers() {
            vcpu.stop();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn mmu_type(isa: &IsaConfig) -> MmuType {
    use vm_frontend::riscv::isa::SatpMode;
    match isa.satp {
        SatpMode::Bare => MmuType::Bare,
        SatpMode::Sv39 => MmuType::Sv39,
        SatpMode::Sv48 => MmuType::Sv48,
        SatpMode::Sv57 => MmuType::Sv57,
    }
}
