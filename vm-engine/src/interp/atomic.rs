//! Atomic read-modify-write, compare-and-swap, load-reserved and store-conditional.
//!
//! Guest atomics are host atomics on the same bytes. A reservation is an address and the value that memory held; the
//! conditional store is a compare-and-swap.
//!
//! DEVIATION: a conditional store succeeds when others have stored to the place since, but the value is the reserved one
//! again (RISC-V Unpriv 20240411, chapter "A": it must fail if another hart's store comes in between). What a monitor
//! that notices such stores would cost is in `docs/performance.md`, "Reservations".

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use vm_core::GuestVirtAddr;
use vm_ir::family::{Modify, Reserve};
use vm_mem::access;

use crate::frame::{FrameHead, common, word};
use crate::interp::memory::{aligned_entry, leave_faulted};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// No reservation.
pub(crate) const NO_RESERVATION: u64 = u64::MAX;

/// Where an atomic access goes.
struct Place {
    host: u64,
    phys: u64,
    /// Whether translated code must be told of a write.
    watched: bool,
}

/// Resolves the aligned address of an access; `None` with the exception in the frame.
#[inline(always)]
unsafe fn place<const SIZE: u8>(f: *mut FrameHead, addr: u64, write: bool) -> Option<Place> {
    // SAFETY: as in `memory::load`.
    unsafe {
        if let Some(entry) = aligned_entry(f, addr, 1 << SIZE, write) {
            return Some(Place {
                host: addr.wrapping_add(entry.addend.load(Ordering::Relaxed)),
                phys: entry.phys.load(Ordering::Relaxed) | GuestVirtAddr(addr).page_offset(),
                watched: false,
            });
        }
        if !((*f).slow.resolve)(f, addr, SIZE, write) {
            return None;
        }
        Some(Place {
            host: (*f).value[0],
            phys: (*f).value[1],
            watched: write,
        })
    }
}

#[inline(always)]
unsafe fn wrote<const SIZE: u8>(f: *mut FrameHead, place: &Place) {
    if place.watched {
        // SAFETY: the slow path is of the frame's guest.
        unsafe { ((*f).slow.wrote)(f, place.phys, 1 << SIZE) }
    }
}

/// Values as wide as the access, sign-extended, as RISC-V wants them; `fill` undoes it where asked.
#[inline(always)]
fn signed<const SIZE: u8>(value: u64) -> i64 {
    let shift = 64 - (8 << SIZE);
    ((value << shift) as i64) >> shift
}

#[inline(always)]
fn unsigned<const SIZE: u8>(value: u64) -> u64 {
    value & (u64::MAX >> (64 - (8 << SIZE)))
}

/// `aux` bit 0: results are sign-extended.
#[inline(always)]
unsafe fn fill<const SIZE: u8>(op: *const MicroOp, value: u64) -> u64 {
    // SAFETY: `op` is a live micro-op.
    if unsafe { (*op).aux } & 1 != 0 {
        signed::<SIZE>(value) as u64
    } else {
        unsigned::<SIZE>(value)
    }
}

trait Change {
    unsafe fn run<const SIZE: u8>(host: u64, value: u64) -> u64;
}

macro_rules! changes {
    ($($name:ident |$s:ident, $host:ident, $value:ident| $body:expr;)*) => {$(
        struct $name;
        impl Change for $name {
            #[inline(always)]
            unsafe fn run<const $s: u8>($host: u64, $value: u64) -> u64 {
                // SAFETY: the host address was resolved for an access of this size.
                unsafe { $body }
            }
        }
    )*};
}
changes! {
    Swap |S, host, value| access::swap(host, S, value);
    Add |S, host, value| access::fetch_add(host, S, value);
    And |S, host, value| access::update(host, S, |held| held & value);
    Or |S, host, value| access::update(host, S, |held| held | value);
    Xor |S, host, value| access::update(host, S, |held| held ^ value);
    MinS |S, host, value| access::update(host, S, |held| signed::<S>(held).min(signed::<S>(value)) as u64);
    MaxS |S, host, value| access::update(host, S, |held| signed::<S>(held).max(signed::<S>(value)) as u64);
    MinU |S, host, value| access::update(host, S, |held| unsigned::<S>(held).min(unsigned::<S>(value)));
    MaxU |S, host, value| access::update(host, S, |held| unsigned::<S>(held).max(unsigned::<S>(value)));
}

/// Read-modify-write of slot `b` at the address in slot `a`; what memory held goes to slot `d`.
unsafe fn modify<C: Change, const SIZE: u8>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding; the place was resolved.
    unsafe {
        let Some(place) = place::<SIZE>(f, *word(f, (*op).a), true) else {
            return leave_faulted(f, op);
        };
        let held = C::run::<SIZE>(place.host, *word(f, (*op).b));
        wrote::<SIZE>(f, &place);
        *word(f, (*op).d) = fill::<SIZE>(op, held);
        next!(f, op)
    }
}

/// Compare-and-swap: address `a`, expected `b`, new `c`; what memory held goes to slot `d`.
unsafe fn compare_swap<const SIZE: u8>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let Some(place) = place::<SIZE>(f, *word(f, (*op).a), true) else {
            return leave_faulted(f, op);
        };
        let (old, new) = (unsigned::<SIZE>(*word(f, (*op).b)), *word(f, (*op).c));
        let held = access::compare_exchange(place.host, SIZE, old, new);
        wrote::<SIZE>(f, &place);
        *word(f, (*op).d) = fill::<SIZE>(op, held);
        next!(f, op)
    }
}

unsafe fn compare_swap_16(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let Some(place) = place::<4>(f, *word(f, (*op).a), true) else {
            return leave_faulted(f, op);
        };
        let (old, new, to) = (word(f, (*op).b), word(f, (*op).c), word(f, (*op).d));
        let held =
            access::compare_exchange_16(place.host, [*old, *old.add(1)], [*new, *new.add(1)]);
        wrote::<4>(f, &place);
        *to = held[0];
        *to.add(1) = held[1];
        next!(f, op)
    }
}

/// Loads from the address in slot `a` and reserves it.
unsafe fn load_reserved<const SIZE: u8>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let Some(place) = place::<SIZE>(f, *word(f, (*op).a), false) else {
            return leave_faulted(f, op);
        };
        let value = access::load(place.host, SIZE);
        let common = common(f);
        (*common).reservation_addr = place.phys;
        (*common).reservation_value = [value, 0];
        *word(f, (*op).d) = fill::<SIZE>(op, value);
        next!(f, op)
    }
}

/// Stores slot `b` at the address in slot `a` under the reservation; 0 or 1 goes to slot `d`.
unsafe fn store_conditional<const SIZE: u8>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let Some(place) = place::<SIZE>(f, *word(f, (*op).a), true) else {
            return leave_faulted(f, op);
        };
        let common = common(f);
        let reserved = std::mem::replace(&mut (*common).reservation_addr, NO_RESERVATION);
        let mut failed = 1;
        let old = (*common).reservation_value[0];
        // What was reserved in another size does not match, unless it happens to.
        if reserved == place.phys && old == unsigned::<SIZE>(old) {
            let held = access::compare_exchange(place.host, SIZE, old, *word(f, (*op).b));
            failed = u64::from(held != old);
            wrote::<SIZE>(f, &place);
        }
        *word(f, (*op).d) = failed;
        next!(f, op)
    }
}

/// Loads 16 bytes from the address in slot `a` and reserves them.
unsafe fn load_reserved_16(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let Some(place) = place::<4>(f, *word(f, (*op).a), false) else {
            return leave_faulted(f, op);
        };
        // Halves of different stores are as good as lost: the conditional store compares both.
        let value = [access::load(place.host, 3), access::load(place.host + 8, 3)];
        let common = common(f);
        (*common).reservation_addr = place.phys;
        (*common).reservation_value = value;
        let to = word(f, (*op).d);
        *to = value[0];
        *to.add(1) = value[1];
        next!(f, op)
    }
}

/// [`store_conditional`] of 16 bytes.
unsafe fn store_conditional_16(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let Some(place) = place::<4>(f, *word(f, (*op).a), true) else {
            return leave_faulted(f, op);
        };
        let common = common(f);
        let reserved = std::mem::replace(&mut (*common).reservation_addr, NO_RESERVATION);
        let mut failed = 1;
        if reserved == place.phys {
            let (old, new) = ((*common).reservation_value, word(f, (*op).b));
            let held = access::compare_exchange_16(place.host, old, [*new, *new.add(1)]);
            failed = u64::from(held != old);
            wrote::<4>(f, &place);
        }
        *word(f, (*op).d) = failed;
        next!(f, op)
    }
}

fn modify_sized<C: Change>(size_log2: u8) -> Handler {
    match size_log2 {
        0 => modify::<C, 0>,
        1 => modify::<C, 1>,
        2 => modify::<C, 2>,
        _ => modify::<C, 3>,
    }
}

/// Handler of a read-modify-write operation of `1 << size_log2` bytes; of sixteen there is compare-and-swap only.
pub(crate) fn modify_handler(op: Modify, size_log2: u8) -> Handler {
    match op {
        Modify::AtomicSwap => modify_sized::<Swap>(size_log2),
        Modify::AtomicAdd => modify_sized::<Add>(size_log2),
        Modify::AtomicAnd => modify_sized::<And>(size_log2),
        Modify::AtomicOr => modify_sized::<Or>(size_log2),
        Modify::AtomicXor => modify_sized::<Xor>(size_log2),
        Modify::AtomicMinS => modify_sized::<MinS>(size_log2),
        Modify::AtomicMaxS => modify_sized::<MaxS>(size_log2),
        Modify::AtomicMinU => modify_sized::<MinU>(size_log2),
        Modify::AtomicMaxU => modify_sized::<MaxU>(size_log2),
        Modify::Cas => match size_log2 {
            0 => compare_swap::<0>,
            1 => compare_swap::<1>,
            2 => compare_swap::<2>,
            3 => compare_swap::<3>,
            _ => compare_swap_16,
        },
    }
}

/// Handler of an operation under a reservation of `1 << size_log2` bytes.
pub(crate) fn reserve_handler(op: Reserve, size_log2: u8) -> Handler {
    match (op, size_log2) {
        (Reserve::LoadReserved, 0) => load_reserved::<0>,
        (Reserve::LoadReserved, 1) => load_reserved::<1>,
        (Reserve::LoadReserved, 2) => load_reserved::<2>,
        (Reserve::LoadReserved, 3) => load_reserved::<3>,
        (Reserve::LoadReserved, _) => load_reserved_16,
        (Reserve::StoreConditional, 0) => store_conditional::<0>,
        (Reserve::StoreConditional, 1) => store_conditional::<1>,
        (Reserve::StoreConditional, 2) => store_conditional::<2>,
        (Reserve::StoreConditional, 3) => store_conditional::<3>,
        (Reserve::StoreConditional, _) => store_conditional_16,
    }
}
