//! What a machine is made of, how it can end, and why it may not be built.

use std::sync::Arc;
use std::time::Duration;

use vm_boot::riscv::BootRequest;
use vm_boot::{BootError, BootFile};
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
use vm_engine_jit::Dump;
use vm_frontend::riscv::isa::IsaConfig;
use vm_mem::MemoryError;
use vm_osal::NoThread;

use super::fdt::FdtError;

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

/// A kernel that firmware can fetch from the machine by fw_cfg and start as it starts EFI programs.
pub struct OfferedKernel {
    /// The kernel's file as it is.
    pub kernel: BootFile,
    /// Its initial RAM disk.
    pub initrd: Option<BootFile>,
}

/// How virtio devices are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum VirtioTransport {
    /// As PCI Express functions; each kind has slots of its own.
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
    /// A kernel that firmware in flash fetches and starts by itself.
    pub offered: Option<OfferedKernel>,
    /// Whether the machine answers SBI calls itself.
    pub builtin_sbi: bool,
    /// Kernel command line.
    pub bootargs: String,
    /// A device tree instead of the machine's own.
    pub device_tree: Option<Vec<u8>>,
    /// What the real-time clock shows now, since 1970-01-01 00:00:00 on the clock.
    pub rtc_start: Duration,
    /// What the two flash banks hold.
    pub flash: [FlashBank; 2],
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
    /// Whether there is a memory balloon; `None` for one when a slot is free.
    pub balloon: Option<bool>,
    /// How disks, cards and the other virtio devices are attached.
    pub virtio: VirtioTransport,
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
    pub dump: Dump,
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

impl Outcome {
    /// The exit status that stands for it, to be given to whoever started the machine (`docs/exit-codes.md`).
    pub fn status(self) -> u8 {
        const FAILED: u8 = 32;
        match self {
            Self::PoweredOff | Self::Stopped => 0,
            Self::Reset => 3,
            Self::Panicked => 4,
            Self::Wedged { .. } => 5,
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
