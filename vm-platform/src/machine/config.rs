//! What all machines are made of, how they can end, and why one may not be built.

use std::sync::Arc;
use std::time::Duration;

use vm_boot::BootError;
use vm_core::config::DiskBus;
use vm_core::{ExecTrace, GuestVirtAddr, Notices, VcpuId};
use vm_device::BusError;
use vm_device::block::BlockBackend;
use vm_device::chardev::CharSink;
use vm_device::firmware::flash::{FlashAccess, FlashError};
use vm_device::firmware::fw_cfg::FwCfgError;
use vm_device::firmware::rom::RomError;
use vm_device::host_room::HostRoom;
use vm_device::net::NetBackend;
use vm_device::pci::SlotTaken;
use vm_device::virtio::console::NamedPort;
use vm_engine_jit::Listing;
use vm_mem::MemoryError;
use vm_osal::NoThread;

use super::virtio::MOST_NAMED_PORTS;

/// Virtual CPUs that a machine has room for.
pub const MOST_CPUS: u32 = 8;

/// A disk of the machine.
pub struct Disk {
    /// Where its bytes are.
    pub backend: Arc<dyn BlockBackend>,
    /// Serial number that the guest sees; up to 20 bytes.
    pub serial: String,
    /// What becomes of writes when the host has no room for them.
    pub room: HostRoom,
    /// PCI slot, 1 to 31; `None`: one of those that disks have.
    pub slot: Option<u8>,
    /// What it is connected to.
    pub bus: DiskBus,
    /// Whether it is a disc in a CD/DVD drive, on a bus that has such.
    pub optical: bool,
}

/// What a flash bank holds after power-on.
pub struct FlashBank {
    /// Its first bytes; the rest is erased.
    pub image: Vec<u8>,
    /// What the guest may do to it.
    pub access: FlashAccess,
}

impl Default for FlashBank {
    /// Erased; the guest may program it until the machine ends.
    fn default() -> Self {
        Self {
            image: Vec::new(),
            access: FlashAccess::Volatile,
        }
    }
}

/// A network card of the machine.
pub struct Nic {
    /// What it is plugged into.
    pub backend: Arc<dyn NetBackend>,
    /// Hardware address.
    pub mac: [u8; 6],
    /// PCI slot, 1 to 31; `None`: one of those that cards have.
    pub slot: Option<u8>,
}

/// What a machine is made of, whatever its board.
pub struct MachineConfig {
    /// Virtual CPUs, 1 to [`MOST_CPUS`].
    pub cpus: u32,
    /// RAM in bytes; whole MiB.
    pub ram_bytes: u64,
    /// What the real-time clock shows now, since 1970-01-01 00:00:00 on the clock.
    pub rtc_start: Duration,
    /// Where the serial port's output goes.
    pub serial: Arc<dyn CharSink>,
    /// Disks in the order of their slots.
    pub disks: Vec<Disk>,
    /// Network cards, behind the disks.
    pub nics: Vec<Nic>,
    /// Output of a virtio console, if there is to be one.
    pub console: Option<Arc<dyn CharSink>>,
    /// Named ports, beside the console or without one.
    pub ports: Vec<NamedPort>,
    /// Output of the port that firmware writes its log to, if there is to be one.
    pub debugcon: Option<Arc<dyn CharSink>>,
    /// Whether there is an entropy device.
    pub rng: bool,
    /// Whether there is a memory balloon; `None` for one when a slot is free.
    pub balloon: Option<bool>,
    /// Whether a guest's reset ends the machine.
    pub no_reboot: bool,
    /// Whether the machine ends when the guest's kernel has panicked and stands still.
    pub stop_on_panic: bool,
    /// Who is told what the machine has to say.
    pub notices: Notices,
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
    /// Who gets what is shown, and differences, as text.
    pub shown: Notices,
    /// Whether it is listed for Linux's `perf`.
    pub perf_map: bool,
    /// Count accesses to memory, for statistics.
    pub count_accesses: bool,
    /// What is shown as it is made.
    pub listing: Listing,
    /// Whether all code is interpreted too; a difference is told and ends the machine.
    pub verify: bool,
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
    /// A virtual CPU could not go on.
    Wedged {
        /// Which.
        vcpu: VcpuId,
        /// Where.
        pc: GuestVirtAddr,
    },
    /// Host code and the interpreter differed ([`TranslateOptions::verify`]), which has been told.
    Differs {
        /// On which virtual CPU.
        vcpu: VcpuId,
        /// In the block that begins here.
        pc: GuestVirtAddr,
    },
    /// A virtual CPU has shut down, on a machine that could be reset only from outside then.
    TripleFault {
        /// Which.
        vcpu: VcpuId,
        /// Where.
        pc: GuestVirtAddr,
    },
    /// The machine was stopped from outside.
    Stopped,
}

impl MachineConfig {
    /// A machine of so many virtual CPUs and bytes of RAM with a serial port, and nothing else that could be left out.
    pub fn new(cpus: u32, ram_bytes: u64, serial: Arc<dyn CharSink>) -> Self {
        Self {
            cpus,
            ram_bytes,
            rtc_start: Duration::ZERO,
            serial,
            disks: Vec::new(),
            nics: Vec::new(),
            console: None,
            ports: Vec::new(),
            debugcon: None,
            rng: false,
            balloon: Some(false),
            no_reboot: false,
            stop_on_panic: false,
            notices: Notices::default(),
            start_paused: false,
            code_budget_bytes: 48 << 20,
            trace: None,
        }
    }
}

impl Outcome {
    /// The exit status that stands for it, to be given to whoever started the machine (`docs/exit-codes.md`).
    pub fn status(self) -> u8 {
        const FAILED: u8 = 32;
        match self {
            Self::PoweredOff | Self::Stopped => 0,
            Self::Reset => 3,
            Self::Panicked => 4,
            Self::Wedged { .. } => 5,
            Self::TripleFault { .. } => 6,
            Self::Differs { .. } => 7,
            Self::Failed(code) => match u8::try_from(code) {
                Ok(code @ 1..=95) => FAILED + code,
                _ => FAILED,
            },
        }
    }
}

/// Why a machine could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The number of virtual CPUs is out of range.
    #[error("{0} CPUs: this machine has 1 to {MOST_CPUS}")]
    Cpus(u32),
    /// More named ports than a console has room for.
    #[error("{0} named ports: {MOST_NAMED_PORTS} are the most; leave some out")]
    TooManyPorts(usize),
    /// More virtio devices than slots.
    #[error("{count} virtio devices: there is room for {room}; leave some out")]
    TooManyDevices {
        /// Devices asked for.
        count: usize,
        /// Slots.
        room: usize,
    },
    /// More drives than ports.
    #[error(
        "{count} drives with bus=ahci: the controller has {room} ports; put some on another bus"
    )]
    TooManySataDrives {
        /// Drives asked for.
        count: usize,
        /// Ports.
        room: usize,
    },
    /// A disk on a bus that the board has not.
    #[error("this machine has no {0} disks: leave out bus={0}")]
    NoSuchBus(DiskBus),
    /// A PCI slot for a device that is on no PCI bus.
    #[error(
        "slot= names a slot of the PCI bus, which --virtio mmio does not use: leave one of them out"
    )]
    PinnedMmio,
    /// PCI slots.
    #[error(transparent)]
    Pci(#[from] SlotTaken),
    /// RAM.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Threads of the host.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// Programs and files.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// What only one kind of board has.
    #[error(transparent)]
    Board(Box<dyn std::error::Error + Send + Sync>),
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
