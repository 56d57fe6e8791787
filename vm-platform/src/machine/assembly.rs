//! How a machine is put together around its board.

use std::sync::Arc;

use vm_core::config::DiskBus;
use vm_core::{Clock, GuestPhysAddr, Notices, TimeBase, VcpuId};
use vm_device::Bus;
use vm_engine::{Engine, EngineParts, Vcpu, VcpuShared};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

use super::Machine;
use super::board::{Board, Parts};
use super::config::{MOST_CPUS, MachineConfig, MachineError, Outcome};
use super::control::{Control, Event};
use super::panic_watch::Told;
use super::shared::Shared;
use super::vcpu_thread::VcpuThread;
use super::virtio::VirtioParts;
use crate::Region;

/// Stack of a virtual CPU's thread: see the block budget of the interpreter.
const VCPU_STACK_BYTES: usize = 16 << 20;

impl Machine {
    /// Builds the machine and loads its programs. Nothing runs yet.
    ///
    /// # Errors
    /// When the configuration does not make a machine.
    pub(crate) fn new<B: Board>(
        config: MachineConfig,
        own: B::Config,
    ) -> Result<Self, MachineError> {
        if !(1..=MOST_CPUS).contains(&config.cpus) {
            return Err(MachineError::Cpus(config.cpus));
        }
        let mut board = B::new(&config, own)?;
        let memory = GuestMemory::new(&ranges(board.ram()))?;
        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let timers = Arc::new(TimerThread::new(clock.clone())?);
        let time = Arc::new(TimeBase::new(clock.clone(), board.time_hz()));
        let bus = Arc::new(Bus::new());
        let io_ports = Arc::new(Bus::new());
        let map = board.map(&memory)?;
        let engine = Engine::new(EngineParts {
            config: board.cpu(),
            memory: map,
            bus: bus.clone(),
            ports: io_ports.clone(),
            rom: ranges(board.rom()),
            time: time.clone(),
            alarms: timers.clone(),
            code_budget_bytes: config.code_budget_bytes,
        });
        let control = Control::new(config.cpus, config.start_paused, config.no_reboot);
        tell_of_panics(&control, config.notices.clone(), config.stop_on_panic);

        let mut vcpus: Vec<Vcpu<B::Guest>> = (0..config.cpus)
            .map(|vcpu| Vcpu::new(&engine, board.spec(VcpuId(vcpu))))
            .collect();
        let handles: Vec<Arc<VcpuShared>> =
            vcpus.iter().map(|vcpu| vcpu.shared().clone()).collect();
        control.set_vcpus(handles.clone());
        let serial = control.panic_watch.over(config.serial);
        let console = config.console.map(|sink| control.panic_watch.over(sink));
        let (disks, drives): (Vec<_>, Vec<_>) = (0..)
            .zip(config.disks)
            .partition(|(_, disk)| disk.bus == DiskBus::Virtio);
        let ports = board.place(Parts {
            bus: &bus,
            ports: &io_ports,
            memory: &memory,
            vcpus: &handles,
            clock,
            time,
            timers: timers.clone(),
            control: &control,
            serial: serial.clone(),
            rtc_start: config.rtc_start,
            virtio: VirtioParts {
                disks,
                nics: config.nics,
                console,
                ports: config.ports,
                rng: config.rng,
                balloon: config.balloon,
            },
            drives,
            debugcon: config.debugcon,
        })?;

        for vcpu in &mut vcpus {
            if let Some(controller) = board.local_irq(vcpu.id()) {
                vcpu.set_local_irq(controller);
            }
        }
        let shared = Arc::new(Shared {
            board,
            engine,
            control: control.clone(),
            serial,
            buses: [bus, io_ports],
            vcpus: vcpus.into_iter().map(|it| Arc::new(it.into())).collect(),
            notices: config.notices,
            trace: config.trace,
            code_budget_bytes: config.code_budget_bytes,
        });
        let mut machine = Self {
            core: shared.clone(),
            control,
            ports,
            threads: Vec::new(),
            _timers: timers,
        };
        let threads: Vec<_> = shared
            .vcpus
            .iter()
            .map(|vcpu| VcpuThread::new(shared.clone(), vcpu.clone()))
            .collect();
        for thread in threads {
            let name = format!("vcpu{}", thread.id().0);
            let thread = vm_osal::spawn_with_stack(&name, VCPU_STACK_BYTES, move || thread.run());
            // When it cannot be had, dropping the machine ends those before it.
            machine.threads.push(thread?);
        }
        shared.board.load(&memory)?;
        Ok(machine)
    }
}

/// Says, or makes an end, when the kernel has panicked.
fn tell_of_panics(control: &Arc<Control>, notices: Notices, stops: bool) {
    let machine = Arc::downgrade(control);
    control
        .panic_watch
        .on_panic(move |told| match (machine.upgrade(), told) {
            (Some(machine), _) if stops => machine.raise(Event::End(Outcome::Panicked)),
            (_, Told::Device) => notices.say("the guest tells that its kernel has panicked"),
            (_, Told::LastLine) => notices.say(
                "the guest's kernel has panicked and stands still (--on-panic stop would end the machine)",
            ),
        });
}

fn ranges(regions: Vec<Region>) -> Vec<(GuestPhysAddr, u64)> {
    regions.into_iter().map(|r| (r.base, r.bytes)).collect()
}
