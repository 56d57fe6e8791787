//! What a board adds to the machinery that all machines share.

use std::sync::Arc;
use std::time::Duration;

use vm_core::{Clock, GuestArch, GuestVirtAddr, LocalIrq, TimeBase, VcpuId};
use vm_device::Bus;
use vm_device::chardev::{CharInput, CharSink};
use vm_device::display::Display;
use vm_device::input::i8042::I8042;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::console::VirtioConsole;
use vm_engine::{Engine, Vcpu, VcpuShared};
use vm_frontend::{Guest, InstanceSpec};
use vm_mem::{GuestMemory, PhysMap};
use vm_osal::TimerThread;

use super::config::{Disk, MachineConfig, MachineError};
use super::control::{Control, Event};
use super::shared::Shared;
use super::virtio::VirtioParts;
use crate::Region;

/// A board: where memory and devices are, how interrupts are wired, what virtual CPUs start with.
///
/// The order of its life: [`Board::new`] plans from the configuration alone; the machine makes memory, clocks, engine
/// and virtual CPUs as the plan says; [`Board::place`] puts the devices on the bus; [`Board::load`] and
/// [`Board::power_on`] run then and at every reset, between which no virtual CPU runs.
pub(crate) trait Board: Sized + Send + Sync + 'static {
    /// The instruction set of its virtual CPUs.
    type Guest: Inspect;
    /// What it is made from beside the [`MachineConfig`].
    type Config;
    /// Firmware that the machine itself is; [`NoFirmware`] where the guest brings its own.
    type Firmware: Firmware<Self>;

    /// Plans the board.
    ///
    /// # Errors
    /// When the configuration does not make one.
    fn new(machine: &MachineConfig, config: Self::Config) -> Result<Self, MachineError>;

    /// Where RAM is.
    fn ram(&self) -> Vec<Region>;

    /// Parts of the bus that code runs from: boot ROM, flash.
    fn rom(&self) -> Vec<Region>;

    /// What virtual CPUs find in RAM's place and beside it. Asked once, before [`Board::place`].
    ///
    /// # Errors
    /// When the host refuses the memory.
    fn map(&mut self, ram: &GuestMemory) -> Result<PhysMap, MachineError> {
        Ok(ram.clone().into())
    }

    /// Instructions and features of the virtual CPUs.
    fn cpu(&self) -> <Self::Guest as Guest>::Config;

    /// Rate of the guest's time counter in Hz.
    fn time_hz(&self) -> u64;

    /// How a virtual CPU starts.
    fn spec(&self, vcpu: VcpuId) -> InstanceSpec;

    /// Makes the devices and puts them on the bus.
    ///
    /// # Errors
    /// When there are more than the board has room for, or an image does not fit its device.
    fn place(&mut self, parts: Parts<'_>) -> Result<Ports, MachineError>;

    /// Writes programs and descriptions into RAM, which is zero, and sets up what firmware would that is not there. The
    /// devices are as after power-on.
    ///
    /// # Errors
    /// When a program's file can no longer be read.
    fn load(&self, memory: &GuestMemory) -> Result<(), MachineError>;

    /// Puts a virtual CPU that stands still into its state after power-on.
    fn power_on(&self, vcpu: &mut Vcpu<Self::Guest>);

    /// The interrupt controller of a virtual CPU's own, where it has one. Asked once, after [`Board::place`].
    fn local_irq(&self, vcpu: VcpuId) -> Option<Arc<dyn LocalIrq>> {
        let _ = vcpu;
        None
    }

    /// Whether a virtual CPU runs right after power-on, rather than when firmware is told to start it.
    fn starts(&self, vcpu: VcpuId) -> bool {
        let _ = vcpu;
        true
    }

    /// The firmware that answers [`vm_core::VmExit::FirmwareCall`].
    fn firmware(&self) -> Option<&Self::Firmware> {
        None
    }

    /// The device tree that the guest gets; empty on boards that have none.
    fn device_tree(&self) -> &[u8] {
        &[]
    }

    /// Something that has to be looked at again and again while the machine runs.
    fn poll(&self, machine: &Arc<Shared<Self>>) -> Option<Poll> {
        let _ = machine;
        None
    }
}

/// What is looked at while a machine runs.
pub(crate) struct Poll {
    /// The time between two looks.
    pub(crate) every: Duration,
    /// Looks, and does what there is to do. The machine's lock is free.
    pub(crate) look: Box<dyn FnMut()>,
}

/// What a board's devices are connected to.
pub(crate) struct Parts<'a> {
    pub(crate) bus: &'a Arc<Bus>,
    /// I/O ports, for an instruction set that has them.
    pub(crate) ports: &'a Arc<Bus>,
    pub(crate) memory: &'a GuestMemory,
    /// The virtual CPUs, whose interrupt lines devices drive.
    pub(crate) vcpus: &'a [Arc<VcpuShared>],
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) time: Arc<TimeBase>,
    pub(crate) timers: Arc<TimerThread>,
    /// Where devices end or reset the machine.
    pub(crate) control: &'a Arc<Control>,
    pub(crate) serial: Arc<dyn CharSink>,
    /// What the real-time clock shows now, since 1970-01-01 00:00:00 on the clock.
    pub(crate) rtc_start: Duration,
    pub(crate) virtio: VirtioParts,
    /// Disks that are no virtio devices, with their numbers among all disks.
    pub(crate) drives: Vec<(usize, Disk)>,
    /// What firmware says on its debug port, if there is to be one.
    pub(crate) debugcon: Option<Arc<dyn CharSink>>,
}

/// The devices that are used from outside, too.
pub(crate) struct Ports {
    pub(crate) serial: Arc<dyn CharInput>,
    pub(crate) console: Option<Arc<VirtioConsole>>,
    pub(crate) balloon: Option<Arc<VirtioBalloon>>,
    pub(crate) display: Option<Arc<dyn Display>>,
    pub(crate) keyboard: Option<Arc<I8042>>,
}

/// A guest whose registers people can read by name.
pub(crate) trait Inspect: Guest {
    /// Its architecture.
    const ARCH: GuestArch;

    /// Names of the registers that are told of a virtual CPU that has shut down.
    const SHUTDOWN_REGISTERS: &[&str] = &[];

    /// The program counter and the general registers by number, for traces.
    fn general_registers(state: &Self::State) -> (GuestVirtAddr, &[u64]);

    /// The value of a register; `None` when there is none of that name.
    fn read_register(engine: &Engine<Self>, vcpu: &Vcpu<Self>, name: &str) -> Option<u64>;

    /// Sets a register; false when there is none of that name or it cannot be written.
    fn write_register(engine: &Engine<Self>, vcpu: &mut Vcpu<Self>, name: &str, value: u64)
    -> bool;
}

/// Firmware that the machine itself is: it answers calls, and starts and stops virtual CPUs when it is asked to.
pub(crate) trait Firmware<B: Board>: Send + Sync {
    /// How a virtual CPU goes on that was off or suspended.
    type Entry: Copy + Send;

    /// Answers the call for which the virtual CPU has left its loop.
    fn call(&self, machine: &Shared<B>, vcpu: &mut Vcpu<B::Guest>) -> Answer<Self::Entry>;

    /// Where a virtual CPU that is off was told to start, if it was. It counts as started then.
    fn take_start(&self, vcpu: VcpuId) -> Option<Self::Entry>;

    /// Lets a virtual CPU go on that was off or suspended.
    fn enter(&self, machine: &Shared<B>, vcpu: &mut Vcpu<B::Guest>, entry: Self::Entry);

    /// Whether a virtual CPU is off or suspended.
    fn is_idle(&self, vcpu: VcpuId) -> bool;

    /// Puts it back into its state after power-on. No virtual CPU runs.
    fn reset(&self);
}

/// What a virtual CPU does after a call of its firmware.
pub(crate) enum Answer<E> {
    /// It goes on behind the call.
    Return,
    /// It is off until it is told to start.
    Off,
    /// It sleeps until an interrupt wakes it, and then goes on so.
    Suspend(E),
    /// The machine resets or ends.
    Raise(Event),
}

/// For boards whose guests bring their own firmware, if they need any.
pub(crate) enum NoFirmware {}

impl<B: Board> Firmware<B> for NoFirmware {
    type Entry = ();

    fn call(&self, _: &Shared<B>, _: &mut Vcpu<B::Guest>) -> Answer<()> {
        match *self {}
    }

    fn take_start(&self, _: VcpuId) -> Option<()> {
        match *self {}
    }

    fn enter(&self, _: &Shared<B>, _: &mut Vcpu<B::Guest>, (): ()) {
        match *self {}
    }

    fn is_idle(&self, _: VcpuId) -> bool {
        match *self {}
    }

    fn reset(&self) {
        match *self {}
    }
}
