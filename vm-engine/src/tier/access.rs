//! Loads and stores of host code that find no translation: what is told of them, and what does them.

use std::sync::atomic::Ordering;

use vm_mem::access;

use super::STEP_DONE;
use crate::frame::{FrameHead, word};
use crate::interp::memory::{self, leave_faulted_at};

/// A plain load or store of host code, in a word: what its slow path ([`load_address`], [`store_address`]) must know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessSite {
    /// The line of recent translations that it tries. The low byte of the word.
    pub line: u8,
    /// Logarithm of its bytes, at most 4.
    pub size_log2: u8,
    /// See [`Step::pc_offset`](super::Step::pc_offset); below 4096.
    pub pc_offset: u16,
    /// See [`Step::left`](super::Step::left); below 128.
    pub left: u16,
    /// Whether it faults where it is not aligned. Bit [`AccessSite::MUST_ALIGN`] of the word.
    pub must_align: bool,
}

impl AccessSite {
    /// The bit of the word that says [`AccessSite::must_align`].
    pub const MUST_ALIGN: u32 = 30;

    /// The word; `None` when a part is too large.
    pub fn pack(self) -> Option<u32> {
        let fits = self.size_log2 <= 4 && self.pc_offset < 1 << 12 && self.left < 1 << 7;
        fits.then_some(
            u32::from(self.line)
                | u32::from(self.size_log2 & 3) << 8
                | u32::from(self.pc_offset) << 10
                | u32::from(self.left) << 22
                | u32::from(self.size_log2 >> 2) << 29
                | u32::from(self.must_align) << Self::MUST_ALIGN,
        )
    }

    /// The parts of a word.
    pub fn unpack(word: u32) -> Self {
        Self {
            line: word as u8,
            size_log2: (word >> 8 & 3 | word >> 27 & 4) as u8,
            pc_offset: (word >> 10 & 0xfff) as u16,
            left: (word >> 22 & 0x7f) as u16,
            must_align: word >> Self::MUST_ALIGN & 1 != 0,
        }
    }
}

/// Accesses in a group at most.
pub const MAX_GROUP: usize = 8;

/// Several loads, or stores, of host code in a row, in a word: what their slow path ([`load_group_address`],
/// [`store_group_address`]) must know of them all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupSite {
    /// The line of recent translations that they try. The low byte of the word.
    pub line: u8,
    /// How many, from 1 to [`MAX_GROUP`].
    pub count: u8,
    /// See [`Step::pc_offset`](super::Step::pc_offset): of the first. Below 4096.
    pub pc_offset: u16,
    /// See [`Step::left`](super::Step::left): of the first. Below 128.
    pub left: u16,
    /// They may lie on two pages. The highest bit of the word.
    pub split: bool,
}

impl GroupSite {
    /// The word; `None` when a part is too large.
    pub fn pack(self) -> Option<u32> {
        let count = (1..=MAX_GROUP).contains(&usize::from(self.count));
        let fits = count && self.pc_offset < 1 << 12 && self.left < 1 << 7;
        fits.then_some(
            u32::from(self.line)
                | u32::from(self.count - 1) << 8
                | u32::from(self.pc_offset) << 11
                | u32::from(self.left) << 23
                | u32::from(self.split) << 31,
        )
    }

    /// The parts of a word.
    pub fn unpack(word: u32) -> Self {
        Self {
            line: word as u8,
            count: 1 + (word >> 8 & 7) as u8,
            pc_offset: (word >> 11 & 0xfff) as u16,
            left: (word >> 23 & 0x7f) as u16,
            split: word >> 31 != 0,
        }
    }
}

/// One access of a group, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupMember {
    /// Bytes from the frame to the word that is loaded or stored: a multiple of eight.
    pub offset: u16,
    /// Bytes from the group's lowest address.
    pub delta: u8,
    /// Logarithm of its bytes, at most 3.
    pub size_log2: u8,
    /// A load fills the word with the sign.
    pub signed: bool,
    /// Bytes from its guest instruction to the next one's; below 16.
    pub insn_bytes: u16,
}

impl GroupMember {
    /// The word; `None` when a part is too large.
    pub fn pack(self) -> Option<u32> {
        let fits = self.offset.is_multiple_of(8) && self.size_log2 <= 3 && self.insn_bytes < 16;
        fits.then_some(
            u32::from(self.offset / 8)
                | u32::from(self.delta) << 13
                | u32::from(self.size_log2) << 21
                | u32::from(self.signed) << 23
                | u32::from(self.insn_bytes) << 24,
        )
    }

    /// The parts of a word.
    pub fn unpack(word: u32) -> Self {
        Self {
            offset: (word & 0x1fff) as u16 * 8,
            delta: (word >> 13) as u8,
            size_log2: (word >> 21 & 3) as u8,
            signed: word >> 23 & 1 != 0,
            insn_bytes: (word >> 24 & 15) as u16,
        }
    }
}

/// Address of `extern "sysv64" fn(frame, addr: u64, site: u32) -> u64`, which loads what an [`AccessSite`] says to
/// [`FrameOffsets::VALUE`](super::FrameOffsets::VALUE), however it lies unless it must be aligned. Gives
/// [`super::STEP_DONE`], or why to leave.
pub fn load_address() -> u64 {
    load as *const () as u64
}

/// Address of the same for a store, with the value as fourth argument.
pub fn store_address() -> u64 {
    store as *const () as u64
}

/// Address of the same for a store of 16 bytes, which stand at [`FrameOffsets::VALUE`](super::FrameOffsets::VALUE).
pub fn store_vector_address() -> u64 {
    store_vector as *const () as u64
}

/// Address of the same for the check that a store there would be allowed.
pub fn probe_address() -> u64 {
    probe as *const () as u64
}

unsafe extern "sysv64" fn probe(f: *mut FrameHead, addr: u64, site: u32) -> u64 {
    let site = AccessSite::unpack(site);
    // SAFETY: as below.
    unsafe {
        let done = ((*f).slow.probe)(f, addr, site.size_log2);
        accessed(f, site, done)
    }
}

unsafe extern "sysv64" fn load(f: *mut FrameHead, addr: u64, site: u32) -> u64 {
    let site = AccessSite::unpack(site);
    // SAFETY: host code passes the frame that it was entered with.
    unsafe {
        let done = is_aligned(f, addr, site, false) && ((*f).slow.load)(f, addr, site.size_log2);
        accessed(f, site, done)
    }
}

/// Whether an access lies as it must; if not, its exception is in the frame.
unsafe fn is_aligned(f: *mut FrameHead, addr: u64, site: AccessSite, write: bool) -> bool {
    let size = site.size_log2;
    let lies = !site.must_align || addr.is_multiple_of(1 << size);
    // SAFETY: the frame is host code's; the slow path checks everything.
    lies || unsafe { ((*f).slow.resolve)(f, addr, size, write) }
}

unsafe extern "sysv64" fn store_vector(f: *mut FrameHead, addr: u64, site: u32) -> u64 {
    let site = AccessSite::unpack(site);
    // SAFETY: as above.
    unsafe {
        let value = (*f).value;
        let lies = is_aligned(f, addr, site, true);
        (*f).value = value;
        let done = lies && ((*f).slow.store)(f, addr, site.size_log2);
        accessed(f, site, done)
    }
}

unsafe extern "sysv64" fn store(f: *mut FrameHead, addr: u64, site: u32, value: u64) -> u64 {
    let site = AccessSite::unpack(site);
    // SAFETY: as above.
    unsafe {
        (*f).value[0] = value;
        let done = ((*f).slow.store)(f, addr, site.size_log2);
        accessed(f, site, done)
    }
}

/// Address of `extern "sysv64" fn(frame, lowest_addr: u64, site: u32, members: *const u32) -> u64`, which does the loads of a
/// [`GroupSite`], one after the other. `members` leads to a [`GroupMember`] for each. Gives as [`load_address`].
pub fn load_group_address() -> u64 {
    load_group as *const () as u64
}

/// Address of the same for stores.
pub fn store_group_address() -> u64 {
    store_group as *const () as u64
}

unsafe extern "sysv64" fn load_group(
    f: *mut FrameHead,
    addr: u64,
    site: u32,
    members: *const u32,
) -> u64 {
    let load = |addr: u64, member: GroupMember| {
        // SAFETY: host code passes the frame that it was entered with; members hold offsets of words that the layout or
        // the block's temporaries gave, and a matching tag leads to mapped guest RAM.
        unsafe {
            let bytes = 1 << member.size_log2;
            let value = match memory::entry(f, addr, bytes, false) {
                Some(entry) => {
                    let host = addr.wrapping_add(entry.addend.load(Ordering::Relaxed));
                    access::load(host, member.size_log2)
                }
                None if ((*f).slow.load)(f, addr, member.size_log2) => (*f).value[0],
                None => return false,
            };
            let above = 64 - 8 * bytes as u32;
            *word(f, member.offset) = match member.signed {
                true => ((value << above) as i64 >> above) as u64,
                false => value,
            };
            true
        }
    };
    // SAFETY: host code passes where its members are.
    unsafe { each_of_group(f, addr, site, members, load) }
}

unsafe extern "sysv64" fn store_group(
    f: *mut FrameHead,
    addr: u64,
    site: u32,
    members: *const u32,
) -> u64 {
    let store = |addr: u64, member: GroupMember| {
        // SAFETY: as for loads.
        unsafe {
            let value = *word(f, member.offset);
            match memory::entry(f, addr, 1 << member.size_log2, true) {
                Some(entry) => {
                    let host = addr.wrapping_add(entry.addend.load(Ordering::Relaxed));
                    access::store(host, member.size_log2, value);
                    true
                }
                None => {
                    (*f).value[0] = value;
                    ((*f).slow.store)(f, addr, member.size_log2)
                }
            }
        }
    };
    // SAFETY: as for loads.
    unsafe { each_of_group(f, addr, site, members, store) }
}

/// Does the accesses of a group; `access` says false when one has an exception.
unsafe fn each_of_group(
    f: *mut FrameHead,
    addr: u64,
    site: u32,
    members: *const u32,
    access: impl Fn(u64, GroupMember) -> bool,
) -> u64 {
    let GroupSite {
        count,
        mut pc_offset,
        left,
        ..
    } = GroupSite::unpack(site);
    for n in 0..u16::from(count) {
        // SAFETY: there are `count` members; the frame is host code's.
        unsafe {
            let member = GroupMember::unpack(members.add(n.into()).read_unaligned());
            (*f).counters.steps += 1;
            if !access(addr.wrapping_add(member.delta.into()), member) {
                return leave_faulted_at(f, pc_offset, left.saturating_sub(n)) as u64;
            }
            pc_offset += member.insn_bytes;
        }
    }
    STEP_DONE
}

/// Counts an access, and tells what comes behind it: the block, unless it has an exception.
unsafe fn accessed(f: *mut FrameHead, site: AccessSite, done: bool) -> u64 {
    // SAFETY: as the callers'.
    unsafe {
        (*f).counters.steps += 1;
        if done {
            return STEP_DONE;
        }
        leave_faulted_at(f, site.pc_offset, site.left) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_access_fit_in_its_word() {
        let most = AccessSite {
            line: 255,
            size_log2: 3,
            pc_offset: 4095,
            left: 127,
            must_align: true,
        };
        for site in [
            most,
            AccessSite {
                size_log2: 4,
                must_align: false,
                ..most
            },
            AccessSite { line: 0, ..most },
            AccessSite {
                size_log2: 1,
                ..most
            },
            AccessSite {
                pc_offset: 6,
                ..most
            },
            AccessSite { left: 0, ..most },
        ] {
            assert_eq!(site.pack().map(AccessSite::unpack), Some(site));
        }
        assert_eq!(AccessSite { left: 128, ..most }.pack(), None);
    }

    #[test]
    fn parts_of_a_group_fit_in_their_words() {
        let most = GroupSite {
            line: 255,
            count: 8,
            pc_offset: 4095,
            left: 127,
            split: true,
        };
        for site in [
            most,
            GroupSite { line: 0, ..most },
            GroupSite { count: 1, ..most },
            GroupSite {
                pc_offset: 6,
                ..most
            },
            GroupSite { left: 0, ..most },
            GroupSite {
                split: false,
                ..most
            },
        ] {
            assert_eq!(site.pack().map(GroupSite::unpack), Some(site));
        }
        assert_eq!(GroupSite { count: 9, ..most }.pack(), None);
        let most = GroupMember {
            offset: 0xfff8,
            delta: 255,
            size_log2: 3,
            signed: true,
            insn_bytes: 15,
        };
        for member in [
            most,
            GroupMember { offset: 8, ..most },
            GroupMember { delta: 1, ..most },
            GroupMember {
                size_log2: 0,
                ..most
            },
            GroupMember {
                signed: false,
                ..most
            },
            GroupMember {
                insn_bytes: 2,
                ..most
            },
        ] {
            assert_eq!(member.pack().map(GroupMember::unpack), Some(member));
        }
        assert_eq!(GroupMember { offset: 4, ..most }.pack(), None);
    }
}
