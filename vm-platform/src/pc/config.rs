//! What the PC board is made from beside what all machines are.

use vm_boot::BootFile;
use vm_boot::image::Program;
use vm_boot::x86::LinuxEntry;
use vm_frontend::x86::cpu::CpuConfig;

use crate::machine::{FlashBank, OfferedKernel};

/// What the board is made from.
pub struct PcConfig {
    /// Features of the processors; how many there are is set by the board.
    pub cpu: CpuConfig,
    /// What runs first.
    pub boot: PcBoot,
    /// The display, if there is one.
    pub display: Option<PcDisplay>,
    /// Whether there is a watchdog.
    pub watchdog: bool,
    /// Whether there is a port by which programs for tests end the machine with a status.
    pub debug_exit: bool,
    /// Whether there is the device that kvm-unit-tests talk to.
    pub test_device: bool,
}

/// A display.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PcDisplay {
    /// A VGA on the PCI bus.
    Vga,
    /// A frame buffer in RAM, whose place is told through a file of fw_cfg.
    Ramfb,
}

/// What runs first.
pub enum PcBoot {
    /// A kernel, by its own boot protocol.
    Kernel(PcKernel),
    /// Firmware, which looks for something to boot on the disks.
    Firmware(PcFirmware),
}

/// A kernel that is started without firmware.
pub struct PcKernel {
    /// The kernel.
    pub kernel: Program,
    /// The initial RAM disk.
    pub initrd: Option<BootFile>,
    /// Kernel command line.
    pub bootargs: String,
    /// By which entry a bzImage is started.
    pub entry: LinuxEntry,
}

/// Firmware: SeaBIOS, OVMF.
pub struct PcFirmware {
    /// Image that ends at 4 GiB, whole pages of it. Its last 128 KiB are below 1 MiB as well. It cannot be written.
    pub image: Vec<u8>,
    /// A bank of flash right below it, as long as its image: OVMF's variables.
    pub variables: Option<FlashBank>,
    /// Option ROM for the display, for firmware that has no driver of its own.
    pub vga_rom: Option<Vec<u8>>,
    /// A kernel that firmware fetches and starts by itself, as OVMF does, and its command line.
    pub offered: Option<(OfferedKernel, String)>,
    /// Whether firmware has the first serial port as a console, too.
    pub serial_console: bool,
}
