//! x86 kernels in the bzImage format (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").
//!
//! A file is a boot sector and setup code for real mode, which holds the setup header, and behind it the
//! protected-mode kernel, which unpacks the kernel proper. Only the latter is loaded; the header goes to the kernel
//! with what the loader adds.

use super::{Fields as _, compressed};
use crate::{BootError, BootFile, Content};

/// Number of 512-byte setup sectors behind the boot sector (u8).
const SETUP_SECTORS: usize = 0x1f1;
/// Length of the protected-mode kernel in 16-byte units (u32).
const SYSTEM_SIZE: usize = 0x1f4;
/// The boot sector's signature 0xaa55.
const BOOT_FLAG: usize = 0x1fe;
/// Operand of the jump over the header (u8), which tells where the header ends.
const JUMP: usize = 0x201;
/// The setup header's "HdrS".
const HEADER_MAGIC: usize = 0x202;
/// Protocol version (u16), major number in the high byte.
const VERSION: usize = 0x206;
/// Load flags (u8).
const LOAD_FLAGS: usize = 0x211;
/// Highest address of the RAM disk's last byte (u32; protocol 2.03).
const INITRD_MAX: usize = 0x22c;
/// More load flags (u16; protocol 2.12).
const EXTRA_LOAD_FLAGS: usize = 0x236;
/// Longest command line without its NUL (u32; protocol 2.06).
const COMMAND_LINE_MAX: usize = 0x238;
/// Where the compressed kernel proper begins in the protected-mode kernel (u32; protocol 2.08), and behind it its length.
const PAYLOAD_OFFSET: usize = 0x248;
/// Address that the kernel prefers (u64; protocol 2.10).
const PREFERRED_ADDRESS: usize = 0x258;
/// Memory that the kernel needs from its load address on (u32; protocol 2.10).
const INIT_SIZE: usize = 0x260;

/// `LOADED_HIGH`: the protected-mode kernel goes to 1 MiB or above.
const LOADED_HIGH: u8 = 1 << 0;
/// `XLF_KERNEL_64`: it has a 64-bit entry at 0x200.
const XLF_KERNEL_64: u16 = 1 << 0;
/// `XLF_CAN_BE_LOADED_ABOVE_4G`: kernel, RAM disk and command line may lie above 4 GiB.
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;

/// First offset of the header that is handed to the kernel.
const HEADER_START: usize = SETUP_SECTORS;
/// First offset behind the header's place in the zero page.
const HEADER_ROOM_END: usize = 0x290;
const SECTOR_BYTES: u64 = 512;
/// Setup sectors of a header that says 0.
const DEFAULT_SETUP_SECTORS: u64 = 4;
/// The first protocol that tells the longest command line (Linux 2.6.20).
const OLDEST_VERSION: u16 = 0x206;
/// The first protocol that tells where the kernel prefers to be and how much memory it needs.
const VERSION_WITH_INIT_SIZE: u16 = 0x20a;
/// The first protocol that tells of a 64-bit entry.
const VERSION_WITH_EXTRA_FLAGS: u16 = 0x20c;
/// Where a kernel that tells no address is loaded.
const DEFAULT_ADDRESS: u64 = 1 << 20;

/// A Linux kernel for PCs.
#[derive(Clone, Debug)]
pub struct BzImage {
    /// Protocol version, major number in the high byte: 0x20f is 2.15.
    pub protocol: u16,
    /// The setup header, from offset 0x1f1 of the file to its end.
    pub header: Vec<u8>,
    /// The protected-mode kernel.
    pub kernel: Content,
    /// Bytes of memory that it needs from its load address on, at least its length.
    pub memory_bytes: u64,
    /// The address that it prefers.
    pub preferred_address: u64,
    /// Whether it has a 64-bit entry, 0x200 bytes into the protected-mode kernel.
    pub has_64_bit_entry: bool,
    /// Whether RAM disk and command line may lie above 4 GiB.
    pub reaches_above_4_gib: bool,
    /// Highest address that a byte of the RAM disk may have.
    pub initrd_max: u64,
    /// Longest command line in bytes, without its NUL.
    pub command_line_max: u64,
}

impl BzImage {
    /// The kernel proper, which the loaded one unpacks: an ELF file of at most `max` bytes. `file` is where this came from.
    ///
    /// # Errors
    /// When it is compressed by none of gzip, xz and Zstandard, or damaged.
    pub fn unpacked(&self, file: &BootFile, max: u64) -> Result<Vec<u8>, BootError> {
        let field = |at: usize| self.header.u32_at(at - HEADER_START);
        let place = || {
            let offset = u64::from(field(PAYLOAD_OFFSET)?);
            let length = u64::from(field(PAYLOAD_OFFSET + 4)?);
            self.kernel.slice(offset..offset + length)
        };
        let payload = place().ok_or_else(|| file.damaged("its payload is not in it"))?;
        // The magic numbers are shorter than that, and a payload that is shorter has none.
        let head = payload.head(compressed::XZ_MAGIC.len());
        let head = head.map_err(|error| file.unreadable(&error))?;
        let is = |magic: &[u8]| head.starts_with(magic);
        if is(&compressed::GZIP_MAGIC) {
            compressed::gunzip(file, &payload, max)
        } else if is(&compressed::ZSTD_MAGIC) {
            compressed::unzstd(file, &payload, max)
        } else if is(&compressed::XZ_MAGIC) {
            compressed::unxz(file, &payload, max)
        } else {
            Err(file.unsupported(
                "is packed in a way that is none of gzip, xz and zstd; give the kernel's ELF file",
            ))
        }
    }
}

/// Whether the bytes begin like an x86 kernel.
pub(super) fn is_bzimage(bytes: &[u8]) -> bool {
    bytes.u16_at(BOOT_FLAG) == Some(0xaa55) && bytes.has_at(HEADER_MAGIC, b"HdrS")
}

/// Reads the header of an x86 kernel that was recognised.
pub(super) fn parse(file: &BootFile, head: &[u8], content: &Content) -> Result<BzImage, BootError> {
    let cut_off = || file.damaged("its setup header is cut off");
    let byte = |at: usize| head.get(at).copied().ok_or_else(cut_off);
    let word = |at: usize| head.u32_at(at).ok_or_else(cut_off);
    let protocol = head.u16_at(VERSION).ok_or_else(cut_off)?;
    if protocol < OLDEST_VERSION {
        return Err(file.unsupported(format!(
            "speaks the Linux boot protocol {}.{:02}, which is older than 2.06; give a kernel of Linux 2.6.22 or later",
            protocol >> 8,
            protocol & 0xff
        )));
    }
    if byte(LOAD_FLAGS)? & LOADED_HIGH == 0 {
        return Err(file.unsupported(
            "is a zImage, which is loaded below 640 KiB; give the bzImage of a kernel instead",
        ));
    }
    let header_end = (HEADER_MAGIC + usize::from(byte(JUMP)?)).min(HEADER_ROOM_END);
    let header = head.get(HEADER_START..header_end).ok_or_else(cut_off)?;

    let setup_sectors = match u64::from(byte(SETUP_SECTORS)?) {
        0 => DEFAULT_SETUP_SECTORS,
        sectors => sectors,
    };
    let start = (setup_sectors + 1) * SECTOR_BYTES;
    let length = u64::from(word(SYSTEM_SIZE)?) * 16;
    let Some(kernel) = content
        .slice(start..start + length)
        .filter(|k| !k.is_empty())
    else {
        return Err(file.damaged("it is truncated: its kernel reaches past the end of the file"));
    };

    // A kernel below its preferred address unpacks itself to that address all the same (Linux 6.12,
    // `arch/x86/boot/compressed/head_64.S`), so there is nothing to gain by putting it elsewhere.
    let (preferred_address, memory_bytes) = match protocol >= VERSION_WITH_INIT_SIZE {
        true => (
            head.u64_at(PREFERRED_ADDRESS).ok_or_else(cut_off)?,
            u64::from(word(INIT_SIZE)?),
        ),
        false => (DEFAULT_ADDRESS, 0),
    };
    let extra = match protocol >= VERSION_WITH_EXTRA_FLAGS {
        true => head.u16_at(EXTRA_LOAD_FLAGS).ok_or_else(cut_off)?,
        false => 0,
    };
    Ok(BzImage {
        protocol,
        header: header.to_vec(),
        memory_bytes: memory_bytes.max(kernel.len()),
        kernel,
        preferred_address,
        has_64_bit_entry: extra & XLF_KERNEL_64 != 0,
        reaches_above_4_gib: extra & XLF_CAN_BE_LOADED_ABOVE_4G != 0,
        initrd_max: u64::from(word(INITRD_MAX)?),
        command_line_max: u64::from(word(COMMAND_LINE_MAX)?),
    })
}
