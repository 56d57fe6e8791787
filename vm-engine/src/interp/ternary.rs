//! Integer operations of three operands.

#![allow(unsafe_code)]

use std::arch::asm;

use vm_ir::{Ext, Type, family};

use super::int::{W8, W8K, W8S, W16, W16K, W16S, W32, W32K, W32S, W64, Width, by_width, put};
use crate::frame::{FrameHead, word};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// An operation of three operands; all come with garbage above the width.
trait Ternary {
    fn apply<W: Width>(a: u64, b: u64, c: u64) -> u64;
}

macro_rules! ternary {
    ($($name:ident |$w:ident, $a:ident, $b:ident, $c:ident| $body:expr;)*) => {$(
        struct $name;
        impl Ternary for $name {
            #[inline(always)]
            fn apply<$w: Width>($a: u64, $b: u64, $c: u64) -> u64 { $body }
        }
    )*};
}
ternary! {
    AddCarry |_W, a, b, c| a.wrapping_add(b).wrapping_add(c & 1);
    SubBorrow |_W, a, b, c| a.wrapping_sub(b).wrapping_sub(c & 1);
    FunnelShr |W, a, b, c| funnel::<W>(a, b, c as u32 & (W::BITS - 1));
    RolCarry |W, a, b, c| {
        let count = (W::zext(b) % u64::from(W::BITS + 1)) as u32;
        rotate_with_carry::<W>(a, count, c)
    };
    RorCarry |W, a, b, c| {
        let count = (W::zext(b) % u64::from(W::BITS + 1)) as u32;
        rotate_with_carry::<W>(a, if count == 0 { 0 } else { W::BITS + 1 - count }, c)
    };
    DivUWide |W, a, b, c| divide::<W>(a, b, c).0;
    RemUWide |W, a, b, c| divide::<W>(a, b, c).1;
    DivSWide |W, a, b, c| divide_signed::<W>(a, b, c).0;
    RemSWide |W, a, b, c| divide_signed::<W>(a, b, c).1;
    DivSOverflows |W, a, b, c| overflows::<W>(a, b, c).into();
}

#[inline(always)]
fn funnel<W: Width>(a: u64, b: u64, count: u32) -> u64 {
    if W::BITS == 64 {
        match count {
            0 => a,
            _ => a >> count | b << (64 - count),
        }
    } else {
        (W::zext(b) << W::BITS | W::zext(a)) >> count
    }
}

/// The value below its carry, rotated left by up to the width.
#[inline(always)]
fn rotate_with_carry<W: Width>(value: u64, count: u32, carry: u64) -> u64 {
    let value = W::zext(value);
    match count {
        0 => value,
        _ => {
            let left = value.unbounded_shl(count);
            left | (carry & 1) << (count - 1) | value.unbounded_shr(W::BITS + 1 - count)
        }
    }
}

/// Quotient and remainder of `b:a` by `c`.
#[inline(always)]
fn divide<W: Width>(a: u64, b: u64, c: u64) -> (u64, u64) {
    let (low, high, by) = (W::zext(a), W::zext(b), W::zext(c));
    if by == 0 {
        return (u64::MAX, a);
    }
    if W::BITS < 64 {
        let dividend = high << W::BITS | low;
        return (dividend / by, dividend % by);
    }
    if high < by {
        let (quotient, rest);
        // SAFETY: the quotient fits, so the host does not fault.
        unsafe {
            asm!("div {by}", by = in(reg) by, inlateout("rax") low => quotient,
                inlateout("rdx") high => rest, options(pure, nomem, nostack));
        }
        return (quotient, rest);
    }
    let dividend = u128::from(high) << 64 | u128::from(low);
    (
        (dividend / u128::from(by)) as u64,
        (dividend % u128::from(by)) as u64,
    )
}

/// The same of signed numbers.
#[inline(always)]
fn divide_signed<W: Width>(a: u64, b: u64, c: u64) -> (u64, u64) {
    let by = W::sext(c) as i64;
    if by == 0 {
        return (u64::MAX, a);
    }
    if W::BITS < 64 {
        let dividend = (W::sext(b) << W::BITS | W::zext(a)) as i64;
        return (
            dividend.wrapping_div(by) as u64,
            dividend.wrapping_rem(by) as u64,
        );
    }
    if !overflows::<W>(a, b, c) {
        let (quotient, rest);
        // SAFETY: the quotient fits, so the host does not fault.
        unsafe {
            asm!("idiv {by}", by = in(reg) by, inlateout("rax") a => quotient,
                inlateout("rdx") b => rest, options(pure, nomem, nostack));
        }
        return (quotient, rest);
    }
    let (dividend, by) = (signed_dividend::<W>(a, b), i128::from(by));
    (
        dividend.wrapping_div(by) as u64,
        dividend.wrapping_rem(by) as u64,
    )
}

#[inline(always)]
fn signed_dividend<W: Width>(a: u64, b: u64) -> i128 {
    i128::from(W::sext(b) as i64) << W::BITS | i128::from(W::zext(a))
}

/// Whether the signed quotient of `b:a` by `c` is no number of the width.
#[inline(always)]
fn overflows<W: Width>(a: u64, b: u64, c: u64) -> bool {
    let by = W::sext(c) as i64;
    if by == 0 {
        return true;
    }
    // Magnitudes: of the quotients that are 2^(BITS - 1) or more, the one that is just that fits if negative.
    let dividend = signed_dividend::<W>(a, b);
    let (magnitude, by_magnitude) = (dividend.unsigned_abs(), u128::from(by.unsigned_abs()));
    let half = 1_u128 << (W::BITS - 1);
    let negative = (dividend < 0) != (by < 0);
    let bound = if negative { half + 1 } else { half };
    // magnitude / by >= bound, without a division: the product has at most 128 bits.
    magnitude >= by_magnitude * bound
}

/// `d = op(a, b, c)`.
unsafe fn ternary_rrr<W: Width, O: Ternary>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding (module comment of `interp`).
    unsafe {
        let value = O::apply::<W>(*word(f, (*op).a), *word(f, (*op).b), *word(f, (*op).c));
        put::<W>(f, op, value);
        next!(f, op)
    }
}

/// CRC-32C of the low `BYTES` bytes of slot `b`, from slot `a` on.
unsafe fn crc32c<const BYTES: u32>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above; `crc_handler` gives this to hosts with SSE4.2 only.
    unsafe {
        let mut crc = *word(f, (*op).a) & 0xffff_ffff;
        let data = *word(f, (*op).b);
        match BYTES {
            1 => asm!("crc32 {0:r}, {1}", inout(reg) crc, in(reg_byte) data as u8,
                options(pure, nomem, nostack)),
            2 => asm!("crc32 {0:e}, {1:x}", inout(reg) crc, in(reg) data,
                options(pure, nomem, nostack)),
            4 => asm!("crc32 {0:e}, {1:e}", inout(reg) crc, in(reg) data,
                options(pure, nomem, nostack)),
            _ => asm!("crc32 {0:r}, {1:r}", inout(reg) crc, in(reg) data,
                options(pure, nomem, nostack)),
        }
        *word(f, (*op).d) = crc & 0xffff_ffff;
        next!(f, op)
    }
}

/// Handler of CRC-32C over so many bytes, where the result fills the slot with zeros. Here and below, what has none runs
/// by its definition.
pub(crate) fn crc_handler(bytes: i64, ty: Type, ext: Ext) -> Option<Handler> {
    if ext != Ext::Zero || !std::arch::is_x86_feature_detected!("sse4.2") {
        return None;
    }
    match (bytes, ty) {
        (1, Type::I32 | Type::I64) => Some(crc32c::<1>),
        (2, Type::I32 | Type::I64) => Some(crc32c::<2>),
        (4, Type::I32 | Type::I64) => Some(crc32c::<4>),
        (8, Type::I64) => Some(crc32c::<8>),
        _ => None,
    }
}

/// Handler of an operation whose operands are all in slots.
pub(crate) fn handler(op: family::Ternary, ty: Type, ext: Ext) -> Option<Handler> {
    Some(match op {
        family::Ternary::AddCarry => by_width!(ternary_rrr, AddCarry, ty, ext),
        family::Ternary::SubBorrow => by_width!(ternary_rrr, SubBorrow, ty, ext),
        family::Ternary::FunnelShr => by_width!(ternary_rrr, FunnelShr, ty, ext),
        family::Ternary::RolCarry => by_width!(ternary_rrr, RolCarry, ty, ext),
        family::Ternary::RorCarry => by_width!(ternary_rrr, RorCarry, ty, ext),
        family::Ternary::DivUWide => by_width!(ternary_rrr, DivUWide, ty, ext),
        family::Ternary::RemUWide => by_width!(ternary_rrr, RemUWide, ty, ext),
        family::Ternary::DivSWide => by_width!(ternary_rrr, DivSWide, ty, ext),
        family::Ternary::RemSWide => by_width!(ternary_rrr, RemSWide, ty, ext),
        family::Ternary::DivSOverflows => by_width!(ternary_rrr, DivSOverflows, ty, ext),
        family::Ternary::AddShl | family::Ternary::AddShlU32 | family::Ternary::Crc32c => {
            return None;
        }
    })
}
