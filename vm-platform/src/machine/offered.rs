//! A kernel that firmware fetches by fw_cfg.

use vm_boot::BootFile;
use vm_device::firmware::fw_cfg::spec::{
    KEY_CMDLINE_DATA, KEY_CMDLINE_SIZE, KEY_INITRD_DATA, KEY_INITRD_SIZE, KEY_KERNEL_DATA,
    KEY_KERNEL_SIZE,
};

use super::MachineError;

/// A kernel that firmware can fetch from the machine by fw_cfg and start as it starts EFI programs.
pub struct OfferedKernel {
    /// The kernel's file as it is.
    pub kernel: BootFile,
    /// Its initial RAM disk.
    pub initrd: Option<BootFile>,
}

/// The fw_cfg items from which firmware takes a kernel.
pub(crate) fn kernel_items(
    offered: &OfferedKernel,
    bootargs: &str,
) -> Result<Vec<(u16, Vec<u8>)>, MachineError> {
    let mut command_line = bootargs.as_bytes().to_vec();
    command_line.push(0);
    let mut items = vec![
        (KEY_KERNEL_SIZE, KEY_KERNEL_DATA, offered.kernel.bytes()?),
        (KEY_CMDLINE_SIZE, KEY_CMDLINE_DATA, command_line),
    ];
    if let Some(initrd) = &offered.initrd {
        items.push((KEY_INITRD_SIZE, KEY_INITRD_DATA, initrd.bytes()?));
    }
    let of = |(size, data, bytes): (u16, u16, Vec<u8>)| {
        let length = (bytes.len() as u32).to_le_bytes().to_vec();
        [(size, length), (data, bytes)]
    };
    Ok(items.into_iter().flat_map(of).collect())
}
