//! What the RISC-V `virt` board is made from beside what all machines are.

use vm_boot::BootFile;
use vm_boot::riscv::BootRequest;
use vm_core::config::VirtioTransport;
use vm_device::firmware::flash::FlashAccess;
use vm_frontend::riscv::isa::IsaConfig;

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

/// What the board is made from.
pub struct VirtConfig {
    /// Instructions and features of the harts.
    pub isa: IsaConfig,
    /// What to boot; `reset_address` and `boot_hart` are set by the board.
    pub boot: BootRequest,
    /// A kernel that firmware in flash fetches and starts by itself.
    pub offered: Option<OfferedKernel>,
    /// Whether the machine answers SBI calls itself.
    pub builtin_sbi: bool,
    /// Kernel command line.
    pub bootargs: String,
    /// A device tree instead of the board's own.
    pub device_tree: Option<Vec<u8>>,
    /// What the two flash banks hold.
    pub flash: [FlashBank; 2],
    /// How disks, cards and the other virtio devices are attached: as PCI Express functions, each kind in slots of its
    /// own, or behind the machine's eight memory-mapped register slots.
    pub virtio: VirtioTransport,
}
