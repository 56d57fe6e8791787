//! Leaving blocks: jumps, branches, exceptions, helper calls.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use vm_core::GuestVirtAddr;
use vm_ir::{Cond, ExceptionCode, Type};

use crate::frame::{FrameHead, common, word};
use crate::interp::memory::leave_faulted;
use crate::interp::next;
use crate::jump::Entry;
use crate::microop::{BlockHead, Handler, Leave, LinkCell, MicroOp};

/// Runs the block whose head this is.
#[inline(always)]
unsafe fn enter(f: *mut FrameHead, head: *const BlockHead) -> Leave {
    // SAFETY: heads that can be reached are of blocks that have not been dropped (epochs).
    unsafe {
        let common = common(f);
        (*common).retired = (*common).retired.wrapping_add(u64::from((*head).insns));
        let first = BlockHead::first(head);
        ((*first).handler)(f, first)
    }
}

/// Whether the run loop must get a turn.
#[inline(always)]
unsafe fn wanted(f: *mut FrameHead) -> bool {
    // SAFETY: the flag lives as long as the frame's owner.
    unsafe { (*common(f)).retired > (*f).limit || (*(*f).exit_flag).load(Ordering::Relaxed) != 0 }
}

/// Goes to the block that a cell links.
#[inline(always)]
unsafe fn follow(f: *mut FrameHead, site: *const LinkCell) -> Leave {
    // SAFETY: a linked block is of the same physical page and mode, so it is retired together with this one.
    unsafe {
        let head = (*site).head();
        if head.is_null() && (*site).is_apart() {
            return go(f, target(f, site));
        }
        if head.is_null() || wanted(f) {
            return leave_at_link(f, site);
        }
        enter(f, head)
    }
}

/// The virtual address that a link cell leads to.
#[inline(always)]
unsafe fn target(f: *mut FrameHead, site: *const LinkCell) -> u64 {
    // SAFETY: the frame has its common state behind the head.
    let base = unsafe { (*common(f)).page_base };
    // SAFETY: whoever is at a cell is in its block.
    base.wrapping_add(unsafe { (*site).offset } as i64 as u64)
}

#[cold]
#[inline(never)]
unsafe fn leave_at_link(f: *mut FrameHead, site: *const LinkCell) -> Leave {
    // SAFETY: as in `follow`.
    unsafe {
        (*common(f)).pc = target(f, site);
        if (*site).head().is_null() {
            (*f).link_site = site.expose_provenance() as u64;
            Leave::Link
        } else {
            Leave::Attention
        }
    }
}

/// Goes to a virtual address by way of the jump cache.
#[inline(always)]
unsafe fn go(f: *mut FrameHead, pc: u64) -> Leave {
    // SAFETY: a line whose context is current points to code that has not been dropped: the owner clears its cache
    // before it passes an epoch.
    unsafe {
        match (*f).known(pc) {
            Some(Entry::Ops(head)) if !wanted(f) => {
                (*common(f)).page_base = GuestVirtAddr(pc).page_base().raw();
                enter(f, head)
            }
            _ => leave_for(f, pc),
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn leave_for(f: *mut FrameHead, pc: u64) -> Leave {
    // SAFETY: the frame has its common state behind the head.
    unsafe {
        (*common(f)).pc = pc;
        Leave::Lookup
    }
}

/// Goes where a link cell says: by its link within the page, else by the jump cache.
#[inline(always)]
unsafe fn take<const FAR: bool>(f: *mut FrameHead, site: *const LinkCell) -> Leave {
    // SAFETY: as the functions called.
    unsafe {
        if FAR {
            go(f, target(f, site))
        } else {
            follow(f, site)
        }
    }
}

/// Jumps where its link cell leads.
unsafe fn jump<const FAR: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as the functions called.
    unsafe { take::<FAR>(f, MicroOp::links(op)) }
}

/// Handler of a jump.
pub(crate) fn jump_handler(far: bool) -> Handler {
    if far { jump::<true> } else { jump::<false> }
}

/// A comparison of two 64-bit words of which a width counts.
trait Test {
    fn holds<const BITS: u32>(a: u64, b: u64) -> bool;
}

#[inline(always)]
fn sext<const BITS: u32>(value: u64) -> i64 {
    let shift = 64 - BITS;
    ((value << shift) as i64) >> shift
}

macro_rules! tests {
    ($($name:ident |$a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Test for $name {
            #[inline(always)]
            fn holds<const BITS: u32>($a: u64, $b: u64) -> bool {
                let ($a, $b) = (sext::<BITS>($a), sext::<BITS>($b));
                $body
            }
        }
    )*};
}
// Sign extension keeps the unsigned order of equal widths.
tests! {
    Eq |a, b| a == b;
    Ne |a, b| a != b;
    LtS |a, b| a < b;
    GeS |a, b| a >= b;
    LtU |a, b| (a as u64) < b as u64;
    GeU |a, b| (a as u64) >= b as u64;
}

/// Branch on slots `a` and `b`. The first link cell is the taken side, the second the other.
unsafe fn branch<T: Test, const BITS: u32, const FAR_TAKEN: bool, const FAR_NOT: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
) -> Leave {
    // SAFETY: predecoding puts both cells behind the operation.
    unsafe {
        let holds = T::holds::<BITS>(*word(f, (*op).a), *word(f, (*op).b));
        sides::<FAR_TAKEN, FAR_NOT>(f, op, holds)
    }
}

/// Goes by the first link cell behind the operation where the condition holds, else by the second.
#[inline(always)]
pub(crate) unsafe fn sides<const FAR_TAKEN: bool, const FAR_NOT: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
    holds: bool,
) -> Leave {
    // SAFETY: the caller's operation has both cells.
    unsafe {
        let taken = MicroOp::links(op);
        if holds {
            take::<FAR_TAKEN>(f, taken)
        } else {
            take::<FAR_NOT>(f, taken.add(1))
        }
    }
}

fn branch_of<T: Test, const BITS: u32>(far_taken: bool, far_not: bool) -> Handler {
    match (far_taken, far_not) {
        (false, false) => branch::<T, BITS, false, false>,
        (false, true) => branch::<T, BITS, false, true>,
        (true, false) => branch::<T, BITS, true, false>,
        (true, true) => branch::<T, BITS, true, true>,
    }
}

fn branch_width<T: Test>(ty: Type, far_taken: bool, far_not: bool) -> Handler {
    match ty {
        Type::I8 => branch_of::<T, 8>(far_taken, far_not),
        Type::I16 => branch_of::<T, 16>(far_taken, far_not),
        Type::I32 => branch_of::<T, 32>(far_taken, far_not),
        _ => branch_of::<T, 64>(far_taken, far_not),
    }
}

/// Handler of a branch.
pub(crate) fn branch_handler(cond: Cond, ty: Type, far_taken: bool, far_not: bool) -> Handler {
    match cond {
        Cond::Eq => branch_width::<Eq>(ty, far_taken, far_not),
        Cond::Ne => branch_width::<Ne>(ty, far_taken, far_not),
        Cond::LtS => branch_width::<LtS>(ty, far_taken, far_not),
        Cond::GeS => branch_width::<GeS>(ty, far_taken, far_not),
        Cond::LtU => branch_width::<LtU>(ty, far_taken, far_not),
        Cond::GeU => branch_width::<GeU>(ty, far_taken, far_not),
    }
}

/// Leaves in mid-block when the comparison holds; `left` counts the instructions behind this one.
unsafe fn exit_if<T: Test, const BITS: u32, const FAR: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
) -> Leave {
    // SAFETY: predecoding puts link cells behind the operation.
    unsafe {
        let holds = T::holds::<BITS>(*word(f, (*op).a), *word(f, (*op).b));
        exits::<FAR>(f, op, holds)
    }
}

/// Leaves by the link cell behind the operation when the condition holds, with `left` instructions of the block not run.
#[inline(always)]
pub(crate) unsafe fn exits<const FAR: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
    holds: bool,
) -> Leave {
    // SAFETY: the caller's operation has link cells behind it.
    unsafe {
        if holds {
            let common = common(f);
            (*common).retired = (*common).retired.wrapping_sub(u64::from((*op).left));
            return take::<FAR>(f, MicroOp::links(op));
        }
        // Past the link cells.
        let op = op.add(1);
        next!(f, op)
    }
}

fn exit_if_width<T: Test>(ty: Type, far: bool) -> Handler {
    match (ty, far) {
        (Type::I8, false) => exit_if::<T, 8, false>,
        (Type::I16, false) => exit_if::<T, 16, false>,
        (Type::I32, false) => exit_if::<T, 32, false>,
        (_, false) => exit_if::<T, 64, false>,
        (Type::I8, true) => exit_if::<T, 8, true>,
        (Type::I16, true) => exit_if::<T, 16, true>,
        (Type::I32, true) => exit_if::<T, 32, true>,
        (_, true) => exit_if::<T, 64, true>,
    }
}

/// Handler of `exit_if`.
pub(crate) fn exit_if_handler(cond: Cond, ty: Type, far: bool) -> Handler {
    match cond {
        Cond::Eq => exit_if_width::<Eq>(ty, far),
        Cond::Ne => exit_if_width::<Ne>(ty, far),
        Cond::LtS => exit_if_width::<LtS>(ty, far),
        Cond::GeS => exit_if_width::<GeS>(ty, far),
        Cond::LtU => exit_if_width::<LtU>(ty, far),
        Cond::GeU => exit_if_width::<GeU>(ty, far),
    }
}

/// Raises exception `aux` with the value of slot `c` when the comparison of `a` and `b` holds.
unsafe fn raise_if<T: Test, const BITS: u32>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding.
    unsafe {
        if T::holds::<BITS>(*word(f, (*op).a), *word(f, (*op).b)) {
            return exception(f, op);
        }
        next!(f, op)
    }
}

fn raise_if_width<T: Test>(ty: Type) -> Handler {
    match ty {
        Type::I8 => raise_if::<T, 8>,
        Type::I16 => raise_if::<T, 16>,
        Type::I32 => raise_if::<T, 32>,
        _ => raise_if::<T, 64>,
    }
}

/// Handler of `raise_if`.
pub(crate) fn raise_if_handler(cond: Cond, ty: Type) -> Handler {
    match cond {
        Cond::Eq => raise_if_width::<Eq>(ty),
        Cond::Ne => raise_if_width::<Ne>(ty),
        Cond::LtS => raise_if_width::<LtS>(ty),
        Cond::GeS => raise_if_width::<GeS>(ty),
        Cond::LtU => raise_if_width::<LtU>(ty),
        Cond::GeU => raise_if_width::<GeU>(ty),
    }
}

/// Jumps to the address in slot `a`.
pub(crate) unsafe fn indirect(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `go`.
    unsafe { go(f, *word(f, (*op).a)) }
}

/// Raises exception `aux` with the value of slot `c`.
pub(crate) unsafe fn exception(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding.
    unsafe {
        (*f).fault.code = ExceptionCode((*op).aux as u32);
        (*f).fault.value = *word(f, (*op).c);
        leave_faulted(f, op)
    }
}

/// Goes on at offset `aux`, by way of the run loop.
pub(crate) unsafe fn exit(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: the frame has its common state behind the head.
    unsafe {
        let common = common(f);
        (*common).pc = (*common).page_base.wrapping_add((*op).aux as i64 as u64);
        Leave::Exit
    }
}

/// Goes on at the state's program counter, by way of the run loop.
pub(crate) unsafe fn dispatch(_: *mut FrameHead, _: *const MicroOp) -> Leave {
    Leave::Exit
}

/// Calls helper `aux` with slots `a`, `b`, `c`; the result goes to slot `d`.
pub(crate) unsafe fn call(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding; the slow path is of the frame's guest.
    unsafe {
        let (a, b, c) = (*word(f, (*op).a), *word(f, (*op).b), *word(f, (*op).c));
        let common = common(f);
        (*common).pc = (*common).page_base.wrapping_add(u64::from((*op).pc_offset));
        if !((*f).slow.call)(f, op, a, b, c) {
            return leave_faulted(f, op);
        }
        *word(f, (*op).d) = (*f).value[0];
        next!(f, op)
    }
}

/// Counts `imm` instructions as interpreted.
pub(crate) unsafe fn count_interpreted(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: the frame is alive, and the next micro-op is of the same block.
    unsafe {
        (*f).counters.interpreted += (*op).imm;
        next!(f, op)
    }
}

/// Leaves when a debugger wants a stop at this instruction.
pub(crate) unsafe fn breakpoint(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: the slow path is of the frame's guest.
    unsafe {
        let common = common(f);
        let pc = (*common).page_base.wrapping_add(u64::from((*op).pc_offset));
        if !((*f).slow.stops_at)(f, pc) {
            return next!(f, op);
        }
        let _ = leave_faulted(f, op);
        Leave::Breakpoint
    }
}

/// Runs an operation by its definition in `vm_ir`; see [`crate::predecode`].
pub(crate) unsafe fn define(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: the slow path is of the frame's guest.
    unsafe {
        ((*f).slow.define)(f, op);
        next!(f, op)
    }
}
