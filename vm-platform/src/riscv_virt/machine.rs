//! The machine: wiring, virtual CPU threads, reset and power-off.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vm_boot::riscv::{BootPlan, BootRequest, HartStart, Privilege, StartingHarts};
use vm_boot::sbi::Sbi;
use vm_boot::{BootError, Extent};
use vm_core::{Clock, DebugTarget, ExecTrace, GuestVirtAddr, Resume, StopCause, VcpuId};
use vm_device::block::BlockBackend;
use vm_device::chardev::{CharInput, CharSink};
use vm_device::firmware::flash::{Flash, FlashAccess, FlashError};
use vm_device::firmware::fw_cfg::{FwCfg, FwCfgError};
use vm_device::firmware::rom::{Rom, RomError};
use vm_device::intc::clint::{Clint, HartLines};
use vm_device::intc::plic::Plic;
use vm_device::net::NetBackend;
use vm_device::pci::{PciRoot, SlotTaken, Space};
use vm_device::power::sifive_test::{Finish, SifiveTest};
use vm_device::serial::ns16550::Ns16550;
use vm_device::timer::goldfish::GoldfishRtc;
use vm_device::virtio::block::VirtioBlock;
use vm_device::virtio::console::VirtioConsole;
use vm_device::virtio::entropy::{HostEntropy, VirtioEntropy};
use vm_device::virtio::net::VirtioNet;
use vm_device::virtio::{EmptySlot, VirtioDevice, VirtioMmio, VirtioPci};
use vm_device::{Bus, BusError};
use vm_engine::{Engine, EngineParts, Report, Vcpu, VcpuShared};
use vm_engine_jit::{Dump, Template, TemplateError};
use vm_frontend::riscv::isa::IsaConfig;
use vm_frontend::riscv::state::HartState;
use vm_frontend::riscv::sys::Riscv;
use vm_frontend::{Guest, InstanceSpec};
use vm_mem::{GuestMemory, MemoryError};
use vm_osal::{HostClock, TimerThread};

use super::debug::Debugger;
use super::fdt::{self, FdtConfig, FdtError, MmuType};
use super::hart_thread::{HartThread, power_on};
use super::layout::{self, Region};
use super::panic_watch::PanicWatch;

/// Interrupt lines of a hart, numbered as in `mip` (RISC-V Privileged, 3.1.9).
pub(super) mod line {
    pub(in crate::riscv_virt) const SUPERVISOR_SOFTWARE: u32 = 1;
    pub(in crate::riscv_virt) const MACHINE_SOFTWARE: u32 = 3;
    pub(in crate::riscv_virt) const SUPERVISOR_TIMER: u32 = 5;
    pub(in crate::riscv_virt) const MACHINE_TIMER: u32 = 7;
    pub(in crate::riscv_virt) const SUPERVISOR_EXTERNAL: u32 = 9;
    pub(in crate::riscv_virt) const MACHINE_EXTERNAL: u32 = 11;
}

/// A disk of the machine.
pub struct Disk {
    /// Where its bytes are.
    pub backend: Arc<dyn BlockBackend>,
    /// Serial number that the guest sees; up to 20 bytes.
    pub serial: String,
}

/// A network card of the machine.
pub struct Nic {
    /// What it is plugged into.
    pub backend: Arc<dyn NetBackend>,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// How virtio devices are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VirtioTransport {
    /// As PCI Express functions, from slot 1 on.
    #[default]
    Pci,
    /// Behind the machine's eight memory-mapped register slots.
    Mmio,
}

/// What a machine is made of.
pub struct MachineConfig {
    /// Harts, 1 to 8.
    pub cpus: u32,
    /// RAM in bytes; whole MiB.
    pub ram_bytes: u64,
    /// Instructions and features of the harts.
    pub isa: IsaConfig,
    /// What to boot; `reset_address` and `boot_hart` are set by the machine.
    pub boot: BootRequest,
    /// Whether the machine answers SBI calls itself.
    pub builtin_sbi: bool,
    /// Kernel command line.
    pub bootargs: String,
    /// Images of the two flash banks; empty for erased.
    pub flash: [Vec<u8>; 2],
    /// Where the serial port's output goes.
    pub serial: Arc<dyn CharSink>,
    /// Disks in the order of their slots.
    pub disks: Vec<Disk>,
    /// Network cards, behind the disks.
    pub nics: Vec<Nic>,
    /// Output of a virtio console, if there is to be one.
    pub console: Option<Arc<dyn CharSink>>,
    /// Whether there is an entropy device.
    pub rng: bool,
    /// How disks, cards and the other virtio devices are attached.
    pub virtio: VirtioTransport,
    /// Whether a guest's reset ends the machine.
    pub no_reboot: bool,
    /// Whether the machine waits for a debugger before its first instruction.
    pub start_paused: bool,
    /// Host bytes that translated code may take.
    pub code_budget_bytes: usize,
    /// Who is told of every instruction; the machine is slower by orders of magnitude then.
    pub trace: Option<Arc<dyn ExecTrace>>,
}

/// What there is to see of translated code.
#[derive(Default)]
pub struct TranslateOptions {
    /// Whether it is listed for Linux's `perf`.
    pub perf_map: bool,
    /// Count accesses to memory, for statistics.
    pub count_accesses: bool,
    /// What is shown as it is made.
    pub dump: Dump,
    /// When there is one, all code is interpreted too, and a difference is told to it and ends the machine.
    pub verify: Option<Report>,
}

/// How a machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The guest powered off.
    PoweredOff,
    /// The guest asked for a reset and the machine was told not to reboot.
    Reset,
    /// The guest's kernel panicked.
    Panicked,
    /// The guest reported failure with this code.
    Failed(u16),
    /// A hart could not go on.
    Wedged {
        /// Which.
        hart: VcpuId,
        /// Where.
        pc: GuestVirtAddr,
    },
    /// The machine was stopped from outside.
    Stopped,
}

/// Why a machine could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The number of harts is out of range.
    #[error("{0} CPUs: this machine has 1 to 8")]
    Cpus(u32),
    /// More virtio devices than slots.
    #[error("{count} virtio devices: there is room for {room}; leave some out")]
    TooManyDevices {
        /// Devices asked for.
        count: usize,
        /// Slots.
        room: usize,
    },
    /// PCI slots.
    #[error(transparent)]
    Pci(#[from] SlotTaken),
    /// RAM.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Programs and files.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Device tree.
    #[error(transparent)]
    Fdt(#[from] FdtError),
    /// Address map.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Boot ROM.
    #[error(transparent)]
    Rom(#[from] RomError),
    /// Flash.
    #[error(transparent)]
    Flash(#[from] FlashError),
    /// Firmware configuration.
    #[error(transparent)]
    FwCfg(#[from] FwCfgError),
}

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

/// Something that ends the run of all harts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Reset,
    End(Outcome),
}

/// What hart threads and devices share.
pub(super) struct Shared {
    pub(super) engine: Arc<Engine<Riscv>>,
    code_budget_bytes: usize,
    pub(super) sbi: Option<Sbi>,
    pub(super) plan: BootPlan,
    control: Mutex<Control>,
    changed: Condvar,
    panic_watch: Arc<PanicWatch>,
    pub(super) serial: Arc<dyn CharSink>,
    /// Where characters are typed, once it is placed.
    pub(super) serial_port: OnceLock<Arc<Ns16550>>,
    /// The virtual CPUs in order, once there are all; each is locked while its hart runs.
    pub(super) vcpus: OnceLock<Vec<Arc<Mutex<Vcpu<Riscv>>>>>,
    no_reboot: bool,
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

/// A whole RISC-V `virt` machine. Dropping it stops and joins its threads.
pub struct Machine {
    shared: Arc<Shared>,
    bus: Arc<Bus>,
    device_tree: Vec<u8>,
    serial_port: Arc<Ns16550>,
    console_port: Option<Arc<VirtioConsole>>,
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
        let device_tree = fdt::build(&FdtConfig {
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
        })?;

        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let timers = Arc::new(TimerThread::new(clock.clone()));
        let bus = Arc::new(Bus::new());
        let engine = Engine::new(EngineParts {
            config: config.isa,
            memory: memory.clone(),
            bus: bus.clone(),
            rom: [layout::MROM, layout::FLASH0, layout::FLASH1]
                .map(|r| (r.base, r.bytes))
                .into(),
            clock: clock.clone(),
            alarms: timers.clone(),
            ticks_per_second: u64::from(layout::TIMEBASE_HZ),
            code_budget_bytes: config.code_budget_bytes,
        });
        let panic_watch = Arc::new(PanicWatch::new(config.serial));
        let shared = Arc::new(Shared {
            engine: engine.clone(),
            code_budget_bytes: config.code_budget_bytes,
            sbi: config.builtin_sbi.then(|| Sbi::new(config.cpus, VcpuId(0))),
            plan,
            control: Mutex::new(Control {
                order: Order::Park,
                parked: 0,
                resume: vec![Resume::Continue; config.cpus as usize],
                stop: config.start_paused.then_some(StopCause::Paused),
                generation: 0,
                event: None,
                wakeups: 0,
            }),
            changed: Condvar::new(),
            panic_watch: panic_watch.clone(),
            serial: panic_watch.clone(),
            serial_port: OnceLock::new(),
            vcpus: OnceLock::new(),
            no_reboot: config.no_reboot,
            trace: config.trace,
        });

        let vcpus: Vec<Vcpu<Riscv>> = (0..config.cpus)
            .map(|hart| Vcpu::new(&engine, shared.spec(VcpuId(hart))))
            .collect();
        let lines: Vec<Arc<VcpuShared>> = vcpus.iter().map(|vcpu| vcpu.shared().clone()).collect();

        let place = |name: &str, region: Region, device| {
            bus.insert(name, region.base.raw(), region.bytes, device)
        };
        let rom = Rom::new(
            layout::MROM.base,
            layout::MROM.bytes,
            &shared.plan.reset_vector(),
        )?;
        place("mrom", layout::MROM, Arc::new(rom))?;
        let finisher = Arc::downgrade(&shared);
        let finish = move |finish: Finish| {
            if let Some(shared) = finisher.upgrade() {
                shared.raise(match finish {
                    Finish::PowerOff => Event::End(Outcome::PoweredOff),
                    Finish::Fail(code) => Event::End(Outcome::Failed(code)),
                    Finish::Reset => Event::Reset,
                });
            }
        };
        place(
            "test",
            layout::TEST,
            Arc::new(SifiveTest::new(Box::new(finish))),
        )?;
        let hart_lines = |vcpu: &Arc<VcpuShared>| HartLines {
            software: vcpu.line(line::MACHINE_SOFTWARE),
            timer: vcpu.line(line::MACHINE_TIMER),
        };
        let clint = Clint::new(
            lines.iter().map(hart_lines).collect(),
            clock.clone(),
            &*timers,
        );
        place("clint", layout::CLINT, Arc::new(clint))?;
        let contexts = lines.iter().flat_map(|vcpu| {
            [
                vcpu.line(line::MACHINE_EXTERNAL),
                vcpu.line(line::SUPERVISOR_EXTERNAL),
            ]
        });
        let plic = Arc::new(Plic::new(layout::PLIC_SOURCES, contexts.collect()));
        place("plic", layout::PLIC, plic.clone())?;
        let serial_port = Arc::new(Ns16550::new(
            plic.source(layout::IRQ_UART0),
            panic_watch.clone(),
        ));
        place("uart", layout::UART0, serial_port.clone())?;
        shared.serial_port.get_or_init(|| serial_port.clone());
        let epoch_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let rtc = GoldfishRtc::new(
            epoch_ns as u64,
            clock,
            &*timers,
            plic.source(layout::IRQ_RTC),
        );
        place("rtc", layout::RTC, Arc::new(rtc))?;
        for ((region, image), name) in [layout::FLASH0, layout::FLASH1]
            .into_iter()
            .zip(config.flash)
            .zip(["flash0", "flash1"])
        {
            let flash = Flash::virt(region.base, &image, FlashAccess::Volatile)?;
            place(name, region, Arc::new(flash))?;
        }
        let fw_cfg = FwCfg::new(memory.clone());
        fw_cfg.add_u16(FW_CFG_CPUS, config.cpus as u16);
        place("fw-cfg", layout::FW_CFG, Arc::new(fw_cfg))?;

        let console_port = config.console.map(VirtioConsole::new);
        let mut devices: Vec<(&str, Arc<dyn VirtioDevice>)> = Vec::new();
        for disk in config.disks {
            devices.push(("virtio-blk", VirtioBlock::new(disk.backend, &disk.serial)));
        }
        for nic in config.nics {
            devices.push(("virtio-net", VirtioNet::new(nic.backend, nic.mac)));
        }
        if let Some(port) = &console_port {
            devices.push(("virtio-console", port.clone()));
        }
        if config.rng {
            devices.push(("virtio-rng", VirtioEntropy::new(Arc::new(HostEntropy))));
        }
        let room = match config.virtio {
            VirtioTransport::Pci => PCI_SLOTS,
            VirtioTransport::Mmio => layout::VIRTIO_MMIO_COUNT as usize,
        };
        if devices.len() > room {
            return Err(MachineError::TooManyDevices {
                count: devices.len(),
                room,
            });
        }

        let root = PciRoot::new(PCI_PINS.map(|pin| plic.source(layout::IRQ_PCIE_INTA + pin)));
        let mmio64 = layout::pcie_mmio64(config.ram_bytes);
        place("pcie-ecam", layout::PCIE_ECAM, root.ecam())?;
        place("pcie-pio", layout::PCIE_PIO, root.window(Space::Io, 0))?;
        for (name, window) in [
            ("pcie-mmio32", layout::PCIE_MMIO32),
            ("pcie-mmio64", mmio64),
        ] {
            place(name, window, root.window(Space::Memory, window.base.raw()))?;
        }
        let mut mmio_devices = Vec::new();
        match config.virtio {
            VirtioTransport::Mmio => mmio_devices = devices,
            VirtioTransport::Pci => {
                for (slot, (kind, device)) in (1..).zip(devices) {
                    let function = VirtioPci::new(kind, device, memory.clone(), root.intx(slot));
                    root.insert(slot, function)?;
                }
            }
        }
        let mut mmio_devices = mmio_devices.into_iter();
        for slot in 0..layout::VIRTIO_MMIO_COUNT {
            let region = layout::virtio_mmio(slot);
            let name = format!("virtio-mmio{slot}");
            match mmio_devices.next() {
                Some((kind, device)) => {
                    let irq = plic.source(layout::virtio_mmio_irq(slot));
                    place(
                        &name,
                        region,
                        VirtioMmio::new(kind, device, memory.clone(), irq),
                    )?;
                }
                None => place(&name, region, Arc::new(EmptySlot))?,
            }
        }

        let vcpus: Vec<_> = vcpus
            .into_iter()
            .map(|vcpu| Arc::new(Mutex::new(vcpu)))
            .collect();
        shared.vcpus.get_or_init(|| vcpus.clone());
        let threads = vcpus
            .iter()
            .map(|vcpu| {
                let hart = HartThread::new(shared.clone(), vcpu.clone());
                std::thread::Builder::new()
                    .name(format!("hart{}", hart.id().0))
                    .stack_size(HART_STACK_BYTES)
                    .spawn(move || hart.run())
                    .expect("invariant: the host can start a thread")
            })
            .collect();
        let machine = Self {
            shared,
            bus,
            device_tree,
            serial_port,
            console_port,
            vcpus,
            threads,
            _timers: timers,
        };
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
        template.show(options.dump);
        if options.count_accesses {
            template.count_accesses();
        }
        if options.perf_map {
            template.write_perf_map()?;
        }
        self.shared.engine.set_translator(Arc::new(template));
        if let Some(report) = options.verify {
            self.shared.engine.compare_with_interpreter(report);
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
            sbi.harts().reset();
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

/// Slots of the root bus that are free for devices: the host bridge has slot 0.
const PCI_SLOTS: usize = 31;
/// INTA# to INTD#.
const PCI_PINS: [u32; 4] = [0, 1, 2, 3];

/// fw_cfg key of the number of CPUs (QEMU fw_cfg specification).
const FW_CFG_CPUS: u16 = 5;

fn mmu_type(isa: &IsaConfig) -> MmuType {
    use vm_frontend::riscv::isa::SatpMode;
    match isa.satp {
        SatpMode::Bare => MmuType::Bare,
        SatpMode::Sv39 => MmuType::Sv39,
        SatpMode::Sv48 => MmuType::Sv48,
        SatpMode::Sv57 => MmuType::Sv57,
    }
}
