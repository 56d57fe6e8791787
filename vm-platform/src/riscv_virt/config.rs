//! What the RISC-V `virt` board is made from beside what all machines are.

use vm_boot::riscv::BootRequest;
use vm_core::config::VirtioTransport;
use vm_frontend::riscv::isa::IsaConfig;

use crate::machine::{FlashBank, OfferedKernel};

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
