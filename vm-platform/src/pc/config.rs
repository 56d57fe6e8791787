//! What the PC board is made from beside what all machines are.

use vm_boot::BootFile;
use vm_boot::image::Program;
use vm_boot::x86::LinuxEntry;
use vm_frontend::x86::cpu::CpuConfig;

/// What the board is made from.
pub struct PcConfig {
    /// Features of the processors; how many there are is set by the board.
    pub cpu: CpuConfig,
    /// The kernel.
    pub kernel: Program,
    /// The initial RAM disk.
    pub initrd: Option<BootFile>,
    /// Kernel command line.
    pub bootargs: String,
    /// By which entry a bzImage is started.
    pub entry: LinuxEntry,
}
