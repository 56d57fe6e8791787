//! Registers, keys and structures of the firmware configuration device (QEMU `docs/specs/fw_cfg.rst`).

/// Bytes of address space of the memory-mapped form ("Register Locations").
pub const RANGE_BYTES: u64 = 0x18;
/// Data register: the selected item's next bytes, in string order; eight bytes wide.
pub const DATA: u64 = 0;
/// End of the data register.
pub const DATA_END: u64 = 8;
/// Selector register: two bytes, big-endian, write-only.
pub const SELECTOR: u64 = 8;
/// DMA address register: eight bytes, big-endian; its low half starts the transfer.
pub const DMA: u64 = 0x10;
/// Low half of the DMA address register.
pub const DMA_LOW: u64 = 0x14;

/// What the DMA register reads as, in memory order ("Guest-side DMA Interface").
pub const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// Item "QEMU".
pub const KEY_SIGNATURE: u16 = 0x00;
/// Item: feature bits, 32 bits little-endian.
pub const KEY_ID: u16 = 0x01;
/// Item: RAM in bytes, 64 bits.
pub const KEY_RAM_SIZE: u16 = 0x03;
/// Item: non-zero when there is no display, 16 bits.
pub const KEY_NOGRAPHIC: u16 = 0x04;
/// Item: CPUs at boot, 16 bits.
pub const KEY_NB_CPUS: u16 = 0x05;
/// Item: bytes of the kernel, 32 bits.
pub const KEY_KERNEL_SIZE: u16 = 0x08;
/// Item: bytes of the initial RAM disk, 32 bits.
pub const KEY_INITRD_SIZE: u16 = 0x0b;
/// Item: most CPUs that may be plugged, 16 bits.
pub const KEY_MAX_CPUS: u16 = 0x0f;
/// Item: the kernel.
pub const KEY_KERNEL_DATA: u16 = 0x11;
/// Item: the initial RAM disk.
pub const KEY_INITRD_DATA: u16 = 0x12;
/// Item: bytes of the kernel command line with its final zero, 32 bits.
pub const KEY_CMDLINE_SIZE: u16 = 0x14;
/// Item: the kernel command line with its final zero.
pub const KEY_CMDLINE_DATA: u16 = 0x15;
/// Item: the file directory.
pub const KEY_FILE_DIR: u16 = 0x19;
/// Key of the first file.
pub const KEY_FIRST_FILE: u16 = 0x20;
/// Files that the directory has room for here; keys up to 0x3fff would allow more.
pub const MAX_FILES: usize = 0x100;

/// KEY_ID: selector and data registers exist.
pub const ID_TRADITIONAL: u32 = 1 << 0;
/// KEY_ID: the DMA register exists.
pub const ID_DMA: u32 = 1 << 1;

/// Bytes of a directory entry's name, final zero included ("File Directory").
pub const NAME_BYTES: usize = 56;

/// Bytes of FWCfgDmaAccess: control, length and address, big-endian.
pub const ACCESS_BYTES: usize = 16;
/// FWCfgDmaAccess.control: the transfer failed.
pub const CONTROL_ERROR: u32 = 1 << 0;
/// FWCfgDmaAccess.control: copy the item to memory.
pub const CONTROL_READ: u32 = 1 << 1;
/// FWCfgDmaAccess.control: skip bytes of the item.
pub const CONTROL_SKIP: u32 = 1 << 2;
/// FWCfgDmaAccess.control: select the key in the upper 16 bits first.
pub const CONTROL_SELECT: u32 = 1 << 3;
/// FWCfgDmaAccess.control: copy memory to the item.
pub const CONTROL_WRITE: u32 = 1 << 4;
