//! The zero page, `boot_params`, through which a loader talks to a Linux kernel (Linux
//! `Documentation/arch/x86/zero-page.rst` and `boot.rst`).

use vm_core::GuestPhysAddr;

use super::memory_map::MapEntry;
use crate::Extent;
use crate::image::BzImage;

/// Length of the zero page.
pub(super) const ZERO_PAGE_BYTES: usize = 4096;

/// Address of ACPI's root pointer (u64; protocol 2.14).
const ACPI_RSDP_ADDR: usize = 0x070;
/// Upper halves of the RAM disk's address and length and of the command line's address (u32 each).
const EXT_RAMDISK_IMAGE: usize = 0x0c0;
const EXT_RAMDISK_SIZE: usize = 0x0c4;
const EXT_CMD_LINE_PTR: usize = 0x0c8;
/// Number of entries in the memory map (u8).
const E820_ENTRIES: usize = 0x1e8;
/// Where the setup header goes, as in the file.
const SETUP_HEADER: usize = 0x1f1;
/// Video mode (u16): 0xffff is as it is.
const VID_MODE: usize = 0x1fa;
const VID_MODE_NORMAL: u16 = 0xffff;
/// Who loads (u8): 0xff is a loader without a number.
const TYPE_OF_LOADER: usize = 0x210;
const UNDEFINED_LOADER: u8 = 0xff;
/// Address of the 32-bit entry (u32).
const CODE32_START: usize = 0x214;
/// Lower halves of the RAM disk's address and length and of the command line's address (u32 each).
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
/// The memory map: 128 entries of 20 bytes.
const E820_TABLE: usize = 0x2d0;
const E820_MAX_ENTRIES: usize = 128;

/// What the loader tells the kernel.
pub(super) struct LoaderFacts<'a> {
    /// Where the protected-mode kernel was put.
    pub(super) kernel: GuestPhysAddr,
    /// The command line, NUL-terminated in memory.
    pub(super) command_line: GuestPhysAddr,
    pub(super) initrd: Option<Extent>,
    pub(super) rsdp: Option<GuestPhysAddr>,
    pub(super) map: &'a [MapEntry],
}

/// The page for a kernel that was loaded as `facts` say.
pub(super) fn zero_page(image: &BzImage, facts: &LoaderFacts<'_>) -> Vec<u8> {
    let mut page = vec![0; ZERO_PAGE_BYTES];
    page[SETUP_HEADER..SETUP_HEADER + image.header.len()].copy_from_slice(&image.header);
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    let mut put_halves = |low: usize, high: usize, value: u64| {
        put(low, &(value as u32).to_le_bytes());
        put(high, &((value >> 32) as u32).to_le_bytes());
    };
    let initrd = facts.initrd.unwrap_or(Extent {
        base: GuestPhysAddr(0),
        bytes: 0,
    });
    put_halves(RAMDISK_IMAGE, EXT_RAMDISK_IMAGE, initrd.base.raw());
    put_halves(RAMDISK_SIZE, EXT_RAMDISK_SIZE, initrd.bytes);
    put_halves(CMD_LINE_PTR, EXT_CMD_LINE_PTR, facts.command_line.raw());
    put(
        ACPI_RSDP_ADDR,
        &facts.rsdp.map_or(0, GuestPhysAddr::raw).to_le_bytes(),
    );
    put(VID_MODE, &VID_MODE_NORMAL.to_le_bytes());
    put(TYPE_OF_LOADER, &[UNDEFINED_LOADER]);
    put(CODE32_START, &(facts.kernel.raw() as u32).to_le_bytes());
    let entries = facts.map.len().min(E820_MAX_ENTRIES);
    put(E820_ENTRIES, &[entries as u8]);
    for (index, entry) in facts.map[..entries].iter().enumerate() {
        put(E820_TABLE + index * 20, &entry.to_bytes());
    }
    page
}
