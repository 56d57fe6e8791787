//! Loads, stores, probes and fences.

#![allow(unsafe_code)]

use std::sync::atomic::{Ordering, fence};

use vm_core::PAGE_SHIFT;
use vm_mem::{TlbEntry, TlbSet, access, aligned_tag_of, tag_of};

use crate::frame::{FrameHead, common, word};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// The TLB entry that lets `bytes` bytes at an address be read, or written.
#[inline(always)]
pub(crate) unsafe fn entry<'a>(
    f: *mut FrameHead,
    addr: u64,
    bytes: u64,
    write: bool,
) -> Option<&'a TlbEntry> {
    // SAFETY: the frame's table is the current one.
    unsafe { find((*f).tlb, (*f).tlb_mask, addr, bytes, write) }
}

/// The same where the access must be aligned.
#[inline(always)]
pub(crate) unsafe fn aligned_entry<'a>(
    f: *mut FrameHead,
    addr: u64,
    bytes: u64,
    write: bool,
) -> Option<&'a TlbEntry> {
    let tag = aligned_tag_of(addr, bytes);
    // SAFETY: the frame's table is the current one.
    unsafe { find_tag((*f).tlb, (*f).tlb_mask, addr, tag, write) }
}

/// The entry in any table that lets `bytes` bytes at an address be read, or written.
///
/// Safety: `sets` and `mask` are of one table, which lives until its owner's next flush.
#[inline(always)]
pub(crate) unsafe fn find<'a>(
    sets: *const TlbSet,
    mask: u64,
    addr: u64,
    bytes: u64,
    write: bool,
) -> Option<&'a TlbEntry> {
    // SAFETY: as the caller's.
    unsafe { find_tag(sets, mask, addr, tag_of(addr, bytes), write) }
}

/// The entry for the page of an address whose tag for reading, or writing, is `tag`.
///
/// Safety: as for [`find`].
#[inline(always)]
pub(crate) unsafe fn find_tag<'a>(
    sets: *const TlbSet,
    mask: u64,
    addr: u64,
    tag: u64,
    write: bool,
) -> Option<&'a TlbEntry> {
    // SAFETY: the mask keeps the index inside the table.
    let set = unsafe { &*sets.add(((addr >> PAGE_SHIFT) & mask) as usize) };
    let hit = |entry: &&TlbEntry| {
        let held = if write { &entry.write } else { &entry.read };
        held.load(Ordering::Relaxed) == tag
    };
    set.ways.iter().find(hit)
}

/// Ends the block before the instruction of `op`, with the exception in the frame.
#[cold]
#[inline(never)]
pub(crate) unsafe fn leave_faulted(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: the operation is there.
    unsafe { leave_faulted_at(f, (*op).pc_offset, (*op).left) }
}

/// Ends the block before the instruction at an offset in its page, with the exception in the frame; so many instructions
/// are left of the block, that one included.
pub(crate) unsafe fn leave_faulted_at(f: *mut FrameHead, pc_offset: u16, left: u16) -> Leave {
    // SAFETY: the frame has its common state behind the head.
    unsafe {
        let common = common(f);
        (*common).pc = (*common).page_base.wrapping_add(u64::from(pc_offset));
        (*common).retired = (*common).retired.wrapping_sub(u64::from(left));
        Leave::Exception
    }
}

/// Address of an operation without index: slot `a` plus the constant.
#[inline(always)]
unsafe fn base_disp(f: *mut FrameHead, op: *const MicroOp) -> u64 {
    // SAFETY: offsets come from predecoding.
    unsafe { (*word(f, (*op).a)).wrapping_add((*op).imm) }
}

/// Address of an operation with index: slot `a` plus slot `c` shifted by `aux & 3`, plus the constant.
#[inline(always)]
unsafe fn base_index(f: *mut FrameHead, op: *const MicroOp) -> u64 {
    // SAFETY: offsets come from predecoding.
    unsafe { base_disp(f, op).wrapping_add(*word(f, (*op).c) << ((*op).aux & 3)) }
}

#[inline(always)]
fn extend<const SIZE: u8, const SIGNED: bool>(value: u64) -> u64 {
    if !SIGNED {
        return value;
    }
    let shift = 64 - (8 << SIZE);
    (((value << shift) as i64) >> shift) as u64
}

#[cold]
#[inline(never)]
unsafe fn load_slow<const SIZE: u8, const SIGNED: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
    addr: u64,
) -> Leave {
    // SAFETY: as the callers'.
    unsafe {
        if !((*f).slow.load)(f, addr, SIZE) {
            return leave_faulted(f, op);
        }
        *word(f, (*op).d) = extend::<SIZE, SIGNED>((*f).value[0]);
        next!(f, op)
    }
}

unsafe fn load<const SIZE: u8, const SIGNED: bool, const INDEX: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
) -> Leave {
    // SAFETY: a matching tag promises that the entry's addend leads to mapped guest RAM.
    unsafe {
        let addr = if INDEX {
            base_index(f, op)
        } else {
            base_disp(f, op)
        };
        let Some(entry) = entry(f, addr, 1 << SIZE, false) else {
            return load_slow::<SIZE, SIGNED>(f, op, addr);
        };
        let host = addr.wrapping_add(entry.addend.load(Ordering::Relaxed));
        let value = match SIZE {
            0 => access::load_u8(host),
            1 => access::load_u16(host),
            2 => access::load_u32(host),
            _ => access::load_u64(host),
        };
        *word(f, (*op).d) = extend::<SIZE, SIGNED>(value);
        next!(f, op)
    }
}

#[cold]
#[inline(never)]
unsafe fn store_slow<const SIZE: u8>(f: *mut FrameHead, op: *const MicroOp, addr: u64) -> Leave {
    // SAFETY: as the callers'.
    unsafe {
        (*f).value[0] = *word(f, (*op).b);
        if !((*f).slow.store)(f, addr, SIZE) {
            return leave_faulted(f, op);
        }
        next!(f, op)
    }
}

unsafe fn store<const SIZE: u8, const INDEX: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `load`, for the write tag.
    unsafe {
        let addr = if INDEX {
            base_index(f, op)
        } else {
            base_disp(f, op)
        };
        let Some(entry) = entry(f, addr, 1 << SIZE, true) else {
            return store_slow::<SIZE>(f, op, addr);
        };
        let host = addr.wrapping_add(entry.addend.load(Ordering::Relaxed));
        let value = *word(f, (*op).b);
        match SIZE {
            0 => access::store_u8(host, value),
            1 => access::store_u16(host, value),
            2 => access::store_u32(host, value),
            _ => access::store_u64(host, value),
        }
        next!(f, op)
    }
}

/// Loads 16 bytes as two halves.
unsafe fn load_16<const INDEX: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `load`; the slow path checks every byte.
    unsafe {
        let addr = if INDEX {
            base_index(f, op)
        } else {
            base_disp(f, op)
        };
        if !((*f).slow.load)(f, addr, 4) {
            return leave_faulted(f, op);
        }
        let to = word(f, (*op).d);
        *to = (*f).value[0];
        *to.add(1) = (*f).value[1];
        next!(f, op)
    }
}

/// Stores 16 bytes as two halves; both are checked before either is written.
unsafe fn store_16<const INDEX: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `load_16`.
    unsafe {
        let addr = if INDEX {
            base_index(f, op)
        } else {
            base_disp(f, op)
        };
        let from = word(f, (*op).b);
        (*f).value = [*from, *from.add(1)];
        if !((*f).slow.store)(f, addr, 4) {
            return leave_faulted(f, op);
        }
        next!(f, op)
    }
}

/// Checks that `1 << d` bytes at slot `a` plus slot `c` shifted plus constant can be written.
unsafe fn probe_write<const ALIGNED: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: the slow path checks everything.
    unsafe {
        let addr = base_index(f, op);
        let size = (*op).d as u8;
        let reached = if ALIGNED {
            ((*f).slow.resolve)(f, addr, size, true)
        } else {
            ((*f).slow.probe)(f, addr, size)
        };
        if !reached {
            return leave_faulted(f, op);
        }
        next!(f, op)
    }
}

/// Raises the exception of an access that is not aligned to its `1 << d` bytes.
unsafe fn aligned<const WRITE: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding; the slow path checks everything.
    unsafe {
        let addr = base_index(f, op);
        let size = (*op).d as u8;
        if !addr.is_multiple_of(1 << size) && !((*f).slow.resolve)(f, addr, size, WRITE) {
            return leave_faulted(f, op);
        }
        next!(f, op)
    }
}

/// Handler of a check of alignment.
pub(crate) fn aligned_handler(write: bool) -> Handler {
    if write {
        aligned::<true>
    } else {
        aligned::<false>
    }
}

/// Copies slot `a` to slot `d` with its bytes in the other order, extended to a word when it is narrower.
unsafe fn swap<const SIZE: u8, const SIGNED: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding; both have two words where SIZE is 4.
    unsafe {
        let (from, to) = (word(f, (*op).a), word(f, (*op).d));
        if SIZE == 4 {
            let (low, high) = (*from, *from.add(1));
            (*to, *to.add(1)) = (high.swap_bytes(), low.swap_bytes());
        } else {
            *to = extend::<SIZE, SIGNED>((*from).swap_bytes() >> (64 - (8 << SIZE)));
        }
        next!(f, op)
    }
}

/// Handler of a change of the order of `1 << size_log2` bytes.
pub(crate) fn swap_handler(size_log2: u8, signed: bool) -> Handler {
    match (size_log2, signed) {
        (0 | 1, false) => swap::<1, false>,
        (0 | 1, true) => swap::<1, true>,
        (2, false) => swap::<2, false>,
        (2, true) => swap::<2, true>,
        (3, _) => swap::<3, false>,
        _ => swap::<4, false>,
    }
}

/// Handler of a check for writing.
pub(crate) fn probe_handler(must_align: bool) -> Handler {
    if must_align {
        probe_write::<true>
    } else {
        probe_write::<false>
    }
}

/// Orders earlier stores before later loads, the one order that x86-64 hosts do not keep by themselves.
pub(crate) unsafe fn fence_full(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    fence(Ordering::SeqCst);
    // SAFETY: every block ends in a terminator, so there is a next operation.
    unsafe { next!(f, op) }
}

/// Handler of a load of `1 << size_log2` bytes.
pub(crate) fn load_handler(size_log2: u8, signed: bool, index: bool) -> Handler {
    match (size_log2, signed, index) {
        (0, false, false) => load::<0, false, false>,
        (0, true, false) => load::<0, true, false>,
        (1, false, false) => load::<1, false, false>,
        (1, true, false) => load::<1, true, false>,
        (2, false, false) => load::<2, false, false>,
        (2, true, false) => load::<2, true, false>,
        (3, _, false) => load::<3, false, false>,
        (0, false, true) => load::<0, false, true>,
        (0, true, true) => load::<0, true, true>,
        (1, false, true) => load::<1, false, true>,
        (1, true, true) => load::<1, true, true>,
        (2, false, true) => load::<2, false, true>,
        (2, true, true) => load::<2, true, true>,
        (3, _, true) => load::<3, false, true>,
        (_, _, false) => load_16::<false>,
        (_, _, true) => load_16::<true>,
    }
}

/// Handler of a store of `1 << size_log2` bytes.
pub(crate) fn store_handler(size_log2: u8, index: bool) -> Handler {
    match (size_log2, index) {
        (0, false) => store::<0, false>,
        (1, false) => store::<1, false>,
        (2, false) => store::<2, false>,
        (3, false) => store::<3, false>,
        (0, true) => store::<0, true>,
        (1, true) => store::<1, true>,
        (2, true) => store::<2, true>,
        (3, true) => store::<3, true>,
        (_, false) => store_16::<false>,
        (_, true) => store_16::<true>,
    }
}
