//! Programs for multiboot loaders (Multiboot 0.6.96, 3.1; Multiboot2 2.0, 3.1): the header that they are known by.

use vm_core::GuestPhysAddr;

use super::Fields as _;
use super::elf::{ElfProgram, Segment};
use crate::{BootError, BootFile, Content};

/// Bytes of a file in which a multiboot 2 header must end; a multiboot 1 header ends in the first quarter.
const SEARCH_BYTES: usize = 32768;
const SEARCH_BYTES_ONE: usize = 8192;
/// Bytes of the header's fixed part that must be there.
const ONE_FIXED_BYTES: usize = 12;
const TWO_FIXED_BYTES: usize = 16;

const MAGIC_ONE: u32 = 0x1bad_b002;
const MAGIC_TWO: u32 = 0xe852_50d6;

/// Flag bit 16 of multiboot 1: the header says where the file is loaded.
const FLAG_ADDRESSES: u32 = 1 << 16;
/// Flags that a loader must understand or refuse; of them, module alignment, memory information and a wish for a
/// video mode are known.
const FLAGS_REQUIRED: u32 = 0xffff;
const FLAGS_KNOWN: u32 = 0b111;

/// Tags of multiboot 2 headers.
const TAG_END: u16 = 0;
const TAG_ADDRESSES: u16 = 2;
const TAG_ENTRY: u16 = 3;
/// Tags without consequence here: a list of wanted information, console and frame-buffer wishes, module alignment
/// (which all modules have), EFI entries, and where a relocatable program may go.
const TAGS_IGNORED: [u16; 8] = [1, 4, 5, 6, 7, 8, 9, 10];
const TAG_OPTIONAL: u16 = 1;

/// Which of the two protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MultibootVersion {
    /// Multiboot 0.6.96.
    One,
    /// Multiboot2 2.0.
    Two,
}

/// A program that a multiboot loader starts, in 32-bit protected mode without paging.
#[derive(Clone, Debug)]
pub struct MultibootProgram {
    /// The protocol.
    pub version: MultibootVersion,
    /// What is loaded.
    pub segments: Vec<Segment>,
    /// Where it is entered.
    pub entry: GuestPhysAddr,
}

/// Where the header says that the file goes, instead of program headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Addresses {
    /// File offset of the header, and where that byte goes.
    offset: u64,
    header: u64,
    load: u64,
    /// First address behind the content; 0 is the end of the file.
    load_end: u64,
    /// First address behind the zeros; 0 is none.
    bss_end: u64,
}

/// A header that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    version: MultibootVersion,
    addresses: Option<Addresses>,
    entry: Option<u64>,
}

/// The multiboot header of a file, version 2 before version 1.
///
/// # Errors
/// When it asks for what no loader here has.
pub(super) fn find(file: &BootFile, content: &Content) -> Result<Option<Header>, BootError> {
    let head = content
        .head(SEARCH_BYTES)
        .map_err(|error| file.unreadable(&error))?;
    if let Some(at) = (0..head.len()).step_by(8).find(|&at| is_two(&head, at)) {
        return two(file, &head, at).map(Some);
    }
    let one = (0..head.len().min(SEARCH_BYTES_ONE)).step_by(4);
    match one.into_iter().find(|&at| is_one(&head, at)) {
        Some(at) => self::one(file, &head, at).map(Some),
        None => Ok(None),
    }
}

fn is_one(head: &[u8], at: usize) -> bool {
    head.u32_at(at) == Some(MAGIC_ONE)
        && at + ONE_FIXED_BYTES <= SEARCH_BYTES_ONE
        && sum(head, at, 3) == Some(0)
}

fn is_two(head: &[u8], at: usize) -> bool {
    let length = head.u32_at(at + 8).unwrap_or(u32::MAX) as usize;
    head.u32_at(at) == Some(MAGIC_TWO)
        && (TWO_FIXED_BYTES..=SEARCH_BYTES - at).contains(&length)
        && sum(head, at, 4) == Some(0)
}

/// The sum of words, which the checksum among them makes zero.
fn sum(head: &[u8], at: usize, words: usize) -> Option<u32> {
    (0..words).try_fold(0_u32, |sum, i| {
        Some(sum.wrapping_add(head.u32_at(at + 4 * i)?))
    })
}

fn one(file: &BootFile, head: &[u8], at: usize) -> Result<Header, BootError> {
    let cut_off = || file.damaged("its multiboot header is cut off");
    let word = |offset: usize| head.u32_at(at + offset).map(u64::from).ok_or_else(cut_off);
    let flags = head.u32_at(at + 4).ok_or_else(cut_off)?;
    if flags & FLAGS_REQUIRED & !FLAGS_KNOWN != 0 {
        return Err(file.unsupported(format!(
            "requires multiboot features that are not there (flags {flags:#x}); build it without them"
        )));
    }
    let addresses = match flags & FLAG_ADDRESSES {
        0 => None,
        _ => Some(Addresses {
            offset: at as u64,
            header: word(12)?,
            load: word(16)?,
            load_end: word(20)?,
            bss_end: word(24)?,
        }),
    };
    let entry = match addresses {
        Some(_) => Some(word(28)?),
        None => None,
    };
    Ok(Header {
        version: MultibootVersion::One,
        addresses,
        entry,
    })
}

fn two(file: &BootFile, head: &[u8], at: usize) -> Result<Header, BootError> {
    let cut_off = || file.damaged("its multiboot 2 header is cut off");
    let word = |at: usize| head.u32_at(at).ok_or_else(cut_off);
    let wide = |at: usize| word(at).map(u64::from);
    if word(at + 4)? != 0 {
        return Err(file.unsupported(
            "has a multiboot 2 header for another architecture; give one built for x86",
        ));
    }
    let end = at + word(at + 8)? as usize;
    let mut header = Header {
        version: MultibootVersion::Two,
        addresses: None,
        entry: None,
    };
    let mut tag = at + TWO_FIXED_BYTES;
    while tag + 8 <= end {
        let kind = head.u16_at(tag).ok_or_else(cut_off)?;
        let flags = head.u16_at(tag + 2).ok_or_else(cut_off)?;
        let size = word(tag + 4)? as usize;
        match kind {
            TAG_END => break,
            TAG_ADDRESSES => {
                header.addresses = Some(Addresses {
                    offset: at as u64,
                    header: wide(tag + 8)?,
                    load: wide(tag + 12)?,
                    load_end: wide(tag + 16)?,
                    bss_end: wide(tag + 20)?,
                });
            }
            TAG_ENTRY => header.entry = Some(wide(tag + 8)?),
            _ if TAGS_IGNORED.contains(&kind) || flags & TAG_OPTIONAL != 0 => {}
            _ => {
                return Err(file.unsupported(format!(
                    "requires multiboot 2 header tag {kind}, which is not there; build it without it"
                )));
            }
        }
        tag = tag.saturating_add(size.max(8).next_multiple_of(8));
    }
    Ok(header)
}

impl Header {
    /// The program that this is the header of; `elf` is the file as an ELF program, if it is one.
    pub(super) fn program(
        self,
        file: &BootFile,
        content: &Content,
        elf: Option<ElfProgram>,
    ) -> Result<MultibootProgram, BootError> {
        let (segments, linked_entry) = match (self.addresses, elf) {
            (Some(addresses), _) => (vec![addresses.segment(file, content)?], None),
            (None, Some(elf)) => (elf.segments, Some(elf.entry)),
            (None, None) => {
                return Err(file.damaged(
                    "it is no ELF file, and its multiboot header does not say where it is loaded",
                ));
            }
        };
        let entry = self.entry.map(GuestPhysAddr).or(linked_entry);
        Ok(MultibootProgram {
            version: self.version,
            segments,
            entry: entry.ok_or_else(|| file.damaged("its multiboot header names no entry"))?,
        })
    }
}

impl Addresses {
    fn segment(self, file: &BootFile, content: &Content) -> Result<Segment, BootError> {
        let unsound = || file.damaged("its multiboot header's addresses contradict each other");
        let before_header = self.header.checked_sub(self.load).ok_or_else(unsound)?;
        let start = self.offset.checked_sub(before_header).ok_or_else(unsound)?;
        let length = match self.load_end {
            0 => content.len() - start,
            end => end.checked_sub(self.load).ok_or_else(unsound)?,
        };
        let part = content.slice(start..start + length).ok_or_else(|| {
            file.damaged("its multiboot header loads bytes past the end of the file")
        })?;
        let memory_bytes = match self.bss_end {
            0 => length,
            end => end
                .checked_sub(self.load)
                .filter(|&bytes| bytes >= length)
                .ok_or_else(unsound)?,
        };
        Ok(Segment {
            addr: GuestPhysAddr(self.load),
            content: part,
            memory_bytes,
        })
    }
}
