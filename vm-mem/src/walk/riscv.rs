//! Sv39, Sv48 and Sv57 (RISC-V Priv 1.13, 12.3 to 12.6), with Svnapot, Svpbmt, Svade and Svadu (chapter 13).

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_SHIFT};

use super::{Access, Leaf, WalkFault};
use crate::PhysMemory;

/// Depth of the page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Levels {
    /// Sv39.
    Three = 3,
    /// Sv48.
    Four = 4,
    /// Sv57.
    Five = 5,
}

/// Everything that decides a translation besides memory.
#[derive(Clone, Copy)]
pub struct SvWalk<'a> {
    /// The root table.
    pub root: GuestPhysAddr,
    /// Depth of the tables.
    pub levels: Levels,
    /// The access is made as U-mode, else as S-mode.
    pub user: bool,
    /// `mstatus.SUM`: S-mode may load from and store to pages of U-mode.
    pub sum: bool,
    /// `mstatus.MXR`: executable pages can be read.
    pub mxr: bool,
    /// `menvcfg.ADUE`: A and D bits are set here; otherwise a clear bit that must be set is a page fault.
    pub update_ad: bool,
    /// `menvcfg.PBMTE`: the PBMT field is in use; otherwise it is reserved.
    pub pbmt: bool,
    /// The hart has Svnapot; otherwise the N bit is reserved.
    pub napot: bool,
    /// Whether the eight bytes of an entry may be read (`false`) or written (`true`) by the walker.
    pub allowed: &'a dyn Fn(GuestPhysAddr, bool) -> bool,
}

mod pte {
    //! Bits of a page-table entry (RISC-V Priv 1.13, figure 12.21).
    pub(super) const V: u64 = 1 << 0;
    pub(super) const R: u64 = 1 << 1;
    pub(super) const W: u64 = 1 << 2;
    pub(super) const X: u64 = 1 << 3;
    pub(super) const U: u64 = 1 << 4;
    pub(super) const G: u64 = 1 << 5;
    pub(super) const A: u64 = 1 << 6;
    pub(super) const D: u64 = 1 << 7;
    pub(super) const PPN_SHIFT: u32 = 10;
    pub(super) const PPN_BITS: u64 = (1 << 44) - 1;
    pub(super) const RESERVED: u64 = 0x7f << 54;
    pub(super) const PBMT: u64 = 3 << 61;
    pub(super) const N: u64 = 1 << 63;

    pub(super) const fn ppn(entry: u64) -> u64 {
        entry >> PPN_SHIFT & PPN_BITS
    }
}

const ENTRY_BYTES: u64 = 8;
const INDEX_BITS: u32 = 9;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// The 64 KiB of the one size that Svnapot defines: its low page-number bits, and what they must be in an entry
/// (RISC-V Priv 1.13, table 13.1).
const NAPOT_PPN_MASK: u64 = 0xf;
const NAPOT_PPN_CODE: u64 = 0x8;

/// Failed compare-and-swaps of an entry that nobody changes after which it counts as not writable.
const SWAP_ATTEMPTS: u32 = 16;

struct Entry {
    addr: GuestPhysAddr,
    bits: u64,
    level: u32,
    global: bool,
}

/// Translates `addr` for `access` (RISC-V Priv 1.13, 12.3.2). With [`SvWalk::update_ad`], sets the leaf entry's A bit
/// and, for a write, its D bit by compare-and-swap; nothing is written when the access faults.
///
/// # Errors
/// The fault; its exception number also depends on `access`.
pub fn translate(
    walk: &SvWalk<'_>,
    memory: &dyn PhysMemory,
    addr: GuestVirtAddr,
    access: Access,
) -> Result<Leaf, WalkFault> {
    if !is_canonical(addr, walk.levels) {
        return Err(WalkFault::Page);
    }
    let needed = match access {
        Access::Write => pte::A | pte::D,
        Access::Read | Access::Execute => pte::A,
    };
    let mut attempts = 0;
    loop {
        let entry = find_leaf(walk, memory, addr)?;
        let mut leaf = leaf_of(walk, &entry, addr)?;
        let permitted = match access {
            Access::Read => leaf.read,
            Access::Write => leaf.write,
            Access::Execute => leaf.execute,
        };
        if !permitted {
            return Err(WalkFault::Page);
        }
        if entry.bits & needed == needed {
            return Ok(leaf);
        }
        if !walk.update_ad {
            return Err(WalkFault::Page);
        }
        if !(walk.allowed)(entry.addr, true) {
            return Err(WalkFault::Access);
        }
        let updated = entry.bits | needed;
        if memory.compare_exchange_u64(entry.addr, entry.bits, updated) {
            leaf.dirty = updated & pte::D != 0;
            return Ok(leaf);
        }
        // Another agent changed the entry, so everything is looked at anew; or it is not writable at all.
        attempts += 1;
        let unchanged = memory.read_u64(entry.addr) == Some(entry.bits);
        if attempts >= SWAP_ATTEMPTS && unchanged {
            return Err(WalkFault::Access);
        }
    }
}

/// The level's lowest virtual-address bit.
const fn level_shift(level: u32) -> u32 {
    PAGE_SHIFT + INDEX_BITS * level
}

fn is_canonical(addr: GuestVirtAddr, levels: Levels) -> bool {
    let spare = 64 - level_shift(levels as u32);
    let raw = addr.raw() as i64;
    raw << spare >> spare == raw
}

fn find_leaf(
    walk: &SvWalk<'_>,
    memory: &dyn PhysMemory,
    addr: GuestVirtAddr,
) -> Result<Entry, WalkFault> {
    let mut table = walk.root;
    let mut global = false;
    for level in (0..walk.levels as u32).rev() {
        let index = addr.raw() >> level_shift(level) & INDEX_MASK;
        let at = table + index * ENTRY_BYTES;
        if !(walk.allowed)(at, false) {
            return Err(WalkFault::Access);
        }
        let bits = memory.read_u64(at).ok_or(WalkFault::Access)?;
        if bits & pte::V == 0 || bits & pte::RESERVED != 0 {
            return Err(WalkFault::Page);
        }
        global |= bits & pte::G != 0;
        if bits & (pte::R | pte::W | pte::X) != 0 {
            return Ok(Entry {
                addr: at,
                bits,
                level,
                global,
            });
        }
        if bits & (pte::U | pte::A | pte::D | pte::PBMT | pte::N) != 0 {
            return Err(WalkFault::Page);
        }
        table = GuestPhysAddr(pte::ppn(bits) << PAGE_SHIFT);
    }
    Err(WalkFault::Page)
}

fn leaf_of(walk: &SvWalk<'_>, entry: &Entry, addr: GuestVirtAddr) -> Result<Leaf, WalkFault> {
    let bits = entry.bits;
    let has = |bit: u64| bits & bit != 0;
    let memory_type_reserved = if walk.pbmt {
        bits & pte::PBMT == pte::PBMT
    } else {
        has(pte::PBMT)
    };
    if has(pte::W) && !has(pte::R) || memory_type_reserved {
        return Err(WalkFault::Page);
    }
    // Page-number bits that come from the virtual address.
    let mut low = (1u64 << (INDEX_BITS * entry.level)) - 1;
    let ppn = pte::ppn(bits);
    if has(pte::N) {
        if !walk.napot || entry.level != 0 || ppn & NAPOT_PPN_MASK != NAPOT_PPN_CODE {
            return Err(WalkFault::Page);
        }
        low = NAPOT_PPN_MASK;
    } else if ppn & low != 0 {
        return Err(WalkFault::Page);
    }
    let (data, fetch) = match (walk.user, has(pte::U)) {
        (true, owned_by_user) => (owned_by_user, owned_by_user),
        (false, true) => (walk.sum, false),
        (false, false) => (true, true),
    };
    let page = ppn & !low | addr.page_number() & low;
    Ok(Leaf {
        page: GuestPhysAddr(page << PAGE_SHIFT),
        read: data && (has(pte::R) || walk.mxr && has(pte::X)),
        write: data && has(pte::W),
        execute: fetch && has(pte::X),
        dirty: has(pte::D),
        global: entry.global,
        span_bytes: (low + 1) << PAGE_SHIFT,
    })
}

#[cfg(test)]
mod tests;
