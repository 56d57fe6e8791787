//! Integer arithmetic, logic, shifts, bit manipulation.

#![allow(unsafe_code)]

use std::arch::asm;
use std::sync::LazyLock;

use vm_ir::{Cond, Ext, Type, family};

use crate::frame::{FrameHead, common, word};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// A width that operations work in, and how their results fill 64 bits.
pub(crate) trait Width {
    const BITS: u32;
    /// Bits above the width cleared.
    fn zext(value: u64) -> u64 {
        if Self::BITS == 64 {
            value
        } else {
            value & ((1 << (Self::BITS % 64)) - 1)
        }
    }
    /// Bits above the width copies of the sign.
    fn sext(value: u64) -> u64 {
        let shift = 64 - Self::BITS;
        (((value << shift) as i64) >> shift) as u64
    }
    /// A result to the 64-bit slot, which held `old`.
    fn fill(value: u64, old: u64) -> u64;
}

macro_rules! widths {
    ($($name:ident $bits:literal |$value:ident, $old:ident| $fill:expr;)*) => {$(
        pub(crate) struct $name;
        impl Width for $name {
            const BITS: u32 = $bits;
            #[inline(always)]
            fn fill($value: u64, $old: u64) -> u64 { $fill }
        }
    )*};
}
// Filled with zeros, with the sign, or not at all.
widths! {
    W8 8 |value, _old| Self::zext(value);
    W8S 8 |value, _old| Self::sext(value);
    W8K 8 |value, old| Self::zext(value) | old & !0xff;
    W16 16 |value, _old| Self::zext(value);
    W16S 16 |value, _old| Self::sext(value);
    W16K 16 |value, old| Self::zext(value) | old & !0xffff;
    W32 32 |value, _old| Self::zext(value);
    W32S 32 |value, _old| Self::sext(value);
    W32K 32 |value, old| Self::zext(value) | old & !0xffff_ffff;
    W64 64 |value, _old| value;
}

/// An operation of two operands; both come with garbage above the width.
pub(crate) trait Binary {
    fn apply<W: Width>(a: u64, b: u64) -> u64;
}

/// An operation of one operand, which comes with garbage above the width.
pub(crate) trait Unary {
    fn apply<W: Width>(a: u64) -> u64;
}

macro_rules! binary {
    ($($name:ident |$w:ident, $a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn apply<$w: Width>($a: u64, $b: u64) -> u64 { $body }
        }
    )*};
}
macro_rules! unary {
    ($($name:ident |$w:ident, $a:ident| $body:expr;)*) => {$(
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<$w: Width>($a: u64) -> u64 { $body }
        }
    )*};
}

binary! {
    Add |_W, a, b| a.wrapping_add(b);
    Sub |_W, a, b| a.wrapping_sub(b);
    And |_W, a, b| a & b;
    Or |_W, a, b| a | b;
    Xor |_W, a, b| a ^ b;
    AndNot |_W, a, b| a & !b;
    OrNot |_W, a, b| a | !b;
    Xnor |_W, a, b| !(a ^ b);
    Shl |W, a, b| a << (b as u32 & (W::BITS - 1));
    Shr |W, a, b| W::zext(a) >> (b as u32 & (W::BITS - 1));
    Sar |W, a, b| ((W::sext(a) as i64) >> (b as u32 & (W::BITS - 1))) as u64;
    Rol |W, a, b| rotate_left::<W>(a, b as u32 & (W::BITS - 1));
    Ror |W, a, b| rotate_left::<W>(a, W::BITS.wrapping_sub(b as u32) & (W::BITS - 1));
    Mul |_W, a, b| a.wrapping_mul(b);
    MulHS |W, a, b| {
        ((i128::from(W::sext(a) as i64) * i128::from(W::sext(b) as i64)) >> W::BITS) as u64
    };
    MulHU |W, a, b| ((u128::from(W::zext(a)) * u128::from(W::zext(b))) >> W::BITS) as u64;
    MulHSU |W, a, b| {
        (i128::from(W::sext(a) as i64).wrapping_mul(u128::from(W::zext(b)) as i128) >> W::BITS) as u64
    };
    DivS |W, a, b| match W::sext(b) as i64 {
        0 => u64::MAX,
        b => (W::sext(a) as i64).wrapping_div(b) as u64,
    };
    DivU |W, a, b| W::zext(a).checked_div(W::zext(b)).unwrap_or(u64::MAX);
    RemS |W, a, b| match W::sext(b) as i64 {
        0 => a,
        b => (W::sext(a) as i64).wrapping_rem(b) as u64,
    };
    RemU |W, a, b| W::zext(a).checked_rem(W::zext(b)).unwrap_or(a);
    MinS |W, a, b| (W::sext(a) as i64).min(W::sext(b) as i64) as u64;
    MinU |W, a, b| W::zext(a).min(W::zext(b));
    MaxS |W, a, b| (W::sext(a) as i64).max(W::sext(b) as i64) as u64;
    MaxU |W, a, b| W::zext(a).max(W::zext(b));
    ClMul |W, a, b| carryless(W::zext(a), W::zext(b)) as u64;
    ClMulH |W, a, b| (carryless(W::zext(a), W::zext(b)) >> W::BITS) as u64;
    ClMulR |W, a, b| (carryless(W::zext(a), W::zext(b)) >> (W::BITS - 1)) as u64;
    BitSet |W, a, b| a | 1 << (b as u32 & (W::BITS - 1));
    BitClear |W, a, b| a & !(1 << (b as u32 & (W::BITS - 1)));
    BitInvert |W, a, b| a ^ 1 << (b as u32 & (W::BITS - 1));
    BitExtract |W, a, b| (a >> (b as u32 & (W::BITS - 1))) & 1;
    PermuteBytes |W, a, b| permute::<8>(W::zext(a), b);
    PermuteNibbles |W, a, b| permute::<4>(W::zext(a), b);
    Scatter |W, a, b| scatter(a, W::zext(b));
    HostScatter |W, a, b| {
        let places = W::zext(b);
        let to: u64;
        // SAFETY: `binary_handlers` gives this to hosts with BMI2 only.
        unsafe {
            asm!("pdep {to}, {a}, {places}", to = lateout(reg) to, a = in(reg) a,
                places = in(reg) places, options(pure, nomem, nostack, preserves_flags));
        }
        to
    };
    Gather |W, a, b| gather(a, W::zext(b));
    HostGather |W, a, b| {
        let places = W::zext(b);
        let to: u64;
        // SAFETY: as above.
        unsafe {
            asm!("pext {to}, {a}, {places}", to = lateout(reg) to, a = in(reg) a,
                places = in(reg) places, options(pure, nomem, nostack, preserves_flags));
        }
        to
    };
    CmpEq |W, a, b| u64::from(W::zext(a) == W::zext(b));
    CmpNe |W, a, b| u64::from(W::zext(a) != W::zext(b));
    CmpLtS |W, a, b| u64::from((W::sext(a) as i64) < W::sext(b) as i64);
    CmpGeS |W, a, b| u64::from((W::sext(a) as i64) >= W::sext(b) as i64);
    CmpLtU |W, a, b| u64::from(W::zext(a) < W::zext(b));
    CmpGeU |W, a, b| u64::from(W::zext(a) >= W::zext(b));
}

unary! {
    Copy |_W, a| a;
    Not |_W, a| !a;
    Neg |_W, a| a.wrapping_neg();
    Clz |W, a| u64::from(W::zext(a).leading_zeros() - (64 - W::BITS));
    Ctz |W, a| u64::from(W::zext(a).trailing_zeros().min(W::BITS));
    Popcnt |W, a| u64::from(W::zext(a).count_ones());
    ByteSwap |W, a| a.swap_bytes() >> (64 - W::BITS);
    OrCombine |_W, a| or_combine(a);
    ReverseBits |_W, a| a.reverse_bits().swap_bytes();
}

#[inline(always)]
fn rotate_left<W: Width>(a: u64, count: u32) -> u64 {
    let a = W::zext(a);
    if count == 0 {
        a
    } else {
        a << count | a >> (W::BITS - count)
    }
}

fn carryless(a: u64, b: u64) -> u128 {
    let mut product = 0;
    let mut left = b;
    while left != 0 {
        product ^= u128::from(a) << left.trailing_zeros();
        left &= left - 1;
    }
    product
}

/// Pieces of `BITS` bits of `from`, numbered by those of `numbers`.
fn permute<const BITS: u32>(from: u64, numbers: u64) -> u64 {
    let mask = (1 << BITS) - 1;
    (0..64 / BITS).fold(0, |result, n| {
        let number = numbers >> (n * BITS) & mask;
        result | (from.unbounded_shr(number as u32 * BITS) & mask) << (n * BITS)
    })
}

/// The low bits of `from` where `places` has ones.
fn scatter(from: u64, mut places: u64) -> u64 {
    let (mut result, mut left) = (0, from);
    while places != 0 {
        result |= (places & places.wrapping_neg()) & (left & 1).wrapping_neg();
        left >>= 1;
        places &= places - 1;
    }
    result
}

/// The bits of `from` where `places` has ones.
fn gather(from: u64, mut places: u64) -> u64 {
    let (mut result, mut n) = (0, 0);
    while places != 0 {
        result |= (from >> places.trailing_zeros() & 1) << n;
        n += 1;
        places &= places - 1;
    }
    result
}

fn or_combine(a: u64) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut any = a | a >> 4;
    any |= any >> 2;
    any |= any >> 1;
    (any & LOW) * 0xff
}

/// Fills slot `d`.
#[inline(always)]
pub(crate) unsafe fn put<W: Width>(f: *mut FrameHead, op: *const MicroOp, value: u64) {
    // SAFETY: offsets come from predecoding (module comment).
    unsafe {
        let to = word(f, (*op).d);
        *to = W::fill(value, *to);
    }
}

unsafe fn binary_rr<W: Width, O: Binary>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding (module comment).
    unsafe {
        let value = O::apply::<W>(*word(f, (*op).a), *word(f, (*op).b));
        put::<W>(f, op, value);
        next!(f, op)
    }
}

unsafe fn binary_ri<W: Width, O: Binary>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let value = O::apply::<W>(*word(f, (*op).a), (*op).imm);
        put::<W>(f, op, value);
        next!(f, op)
    }
}

unsafe fn unary_r<W: Width, O: Unary>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        put::<W>(f, op, O::apply::<W>(*word(f, (*op).a)));
        next!(f, op)
    }
}

/// Stores the constant.
pub(crate) unsafe fn constant(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        *word(f, (*op).d) = (*op).imm;
        next!(f, op)
    }
}

/// Stores the block's virtual page plus the constant.
pub(crate) unsafe fn pc_rel(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        *word(f, (*op).d) = (*common(f)).page_base.wrapping_add((*op).imm);
        next!(f, op)
    }
}

/// `(a << aux) + b`.
pub(crate) unsafe fn add_shl_rr(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        *word(f, (*op).d) = (*word(f, (*op).a) << (*op).aux).wrapping_add(*word(f, (*op).b));
        next!(f, op)
    }
}

/// `(a as u32 << aux) + b`.
pub(crate) unsafe fn add_shl_u32_rr(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let a = *word(f, (*op).a) & 0xffff_ffff;
        *word(f, (*op).d) = (a << (*op).aux).wrapping_add(*word(f, (*op).b));
        next!(f, op)
    }
}

/// Field of `len` bits from `pos` of `a`; `imm` is the left shift, `aux` the right shift that follows.
pub(crate) unsafe fn extract_unsigned(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        *word(f, (*op).d) = (*word(f, (*op).a) << (*op).imm) >> (*op).aux;
        next!(f, op)
    }
}

/// As [`extract_unsigned`], sign-extended.
pub(crate) unsafe fn extract_signed(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        *word(f, (*op).d) = (((*word(f, (*op).a) << (*op).imm) as i64) >> (*op).aux) as u64;
        next!(f, op)
    }
}

/// `a` with the bits of `imm` replaced by `b << aux`.
pub(crate) unsafe fn deposit(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let (a, b) = (*word(f, (*op).a), *word(f, (*op).b));
        *word(f, (*op).d) = a & !(*op).imm | (b << (*op).aux) & (*op).imm;
        next!(f, op)
    }
}

/// `a` and `b` to the words of `d`.
pub(crate) unsafe fn pair_of(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: predecoding gives this to slots of two words.
    unsafe {
        let (low, high) = (*word(f, (*op).a), *word(f, (*op).b));
        let to = word(f, (*op).d);
        (*to, *to.add(1)) = (low, high);
        next!(f, op)
    }
}

/// `if compare(a, b) { c } else { aux as offset }`.
unsafe fn select_rr<W: Width, O: Binary>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let holds = O::apply::<W>(*word(f, (*op).a), *word(f, (*op).b)) != 0;
        let (x, y) = (*word(f, (*op).c), *word(f, (*op).aux as u16));
        put::<W>(f, op, if holds { x } else { y });
        next!(f, op)
    }
}

/// The instance of a function for a width and further generic arguments.
macro_rules! by_width {
    ($function:ident, $operation:ident, $ty:expr, $ext:expr) => {
        by_width!($function, [$operation], $ty, $ext)
    };
    ($function:ident, [$($argument:tt),*], $ty:expr, $ext:expr) => {
        match ($ty, $ext) {
            (Type::I8, Ext::Sign) => $function::<W8S, $($argument),*>,
            (Type::I8, Ext::Keep) => $function::<W8K, $($argument),*>,
            (Type::I8, _) => $function::<W8, $($argument),*>,
            (Type::I16, Ext::Sign) => $function::<W16S, $($argument),*>,
            (Type::I16, Ext::Keep) => $function::<W16K, $($argument),*>,
            (Type::I16, _) => $function::<W16, $($argument),*>,
            (Type::I32, Ext::Sign) => $function::<W32S, $($argument),*>,
            (Type::I32, Ext::Keep) => $function::<W32K, $($argument),*>,
            (Type::I32, _) => $function::<W32, $($argument),*>,
            _ => $function::<W64, $($argument),*>,
        }
    };
}
pub(crate) use by_width;

/// Handlers of one binary operation: (both in slots, second constant).
fn pair<O: Binary>(ty: Type, ext: Ext) -> (Handler, Handler) {
    (
        by_width!(binary_rr, O, ty, ext),
        by_width!(binary_ri, O, ty, ext),
    )
}

/// Handlers of a binary operation.
pub(crate) fn binary_handlers(op: family::Binary, ty: Type, ext: Ext) -> (Handler, Handler) {
    static BMI2: LazyLock<bool> = LazyLock::new(|| std::arch::is_x86_feature_detected!("bmi2"));
    match op {
        family::Binary::Add => pair::<Add>(ty, ext),
        family::Binary::Sub => pair::<Sub>(ty, ext),
        family::Binary::And => pair::<And>(ty, ext),
        family::Binary::Or => pair::<Or>(ty, ext),
        family::Binary::Xor => pair::<Xor>(ty, ext),
        family::Binary::AndNot => pair::<AndNot>(ty, ext),
        family::Binary::OrNot => pair::<OrNot>(ty, ext),
        family::Binary::Xnor => pair::<Xnor>(ty, ext),
        family::Binary::Shl => pair::<Shl>(ty, ext),
        family::Binary::Shr => pair::<Shr>(ty, ext),
        family::Binary::Sar => pair::<Sar>(ty, ext),
        family::Binary::Rol => pair::<Rol>(ty, ext),
        family::Binary::Ror => pair::<Ror>(ty, ext),
        family::Binary::Mul => pair::<Mul>(ty, ext),
        family::Binary::MulHS => pair::<MulHS>(ty, ext),
        family::Binary::MulHU => pair::<MulHU>(ty, ext),
        family::Binary::MulHSU => pair::<MulHSU>(ty, ext),
        family::Binary::DivS => pair::<DivS>(ty, ext),
        family::Binary::DivU => pair::<DivU>(ty, ext),
        family::Binary::RemS => pair::<RemS>(ty, ext),
        family::Binary::RemU => pair::<RemU>(ty, ext),
        family::Binary::MinS => pair::<MinS>(ty, ext),
        family::Binary::MinU => pair::<MinU>(ty, ext),
        family::Binary::MaxS => pair::<MaxS>(ty, ext),
        family::Binary::MaxU => pair::<MaxU>(ty, ext),
        family::Binary::ClMul => pair::<ClMul>(ty, ext),
        family::Binary::ClMulH => pair::<ClMulH>(ty, ext),
        family::Binary::ClMulR => pair::<ClMulR>(ty, ext),
        family::Binary::BitSet => pair::<BitSet>(ty, ext),
        family::Binary::BitClear => pair::<BitClear>(ty, ext),
        family::Binary::BitInvert => pair::<BitInvert>(ty, ext),
        family::Binary::BitExtract => pair::<BitExtract>(ty, ext),
        family::Binary::PermuteBytes => pair::<PermuteBytes>(ty, ext),
        family::Binary::PermuteNibbles => pair::<PermuteNibbles>(ty, ext),
        family::Binary::ScatterBits if *BMI2 => pair::<HostScatter>(ty, ext),
        family::Binary::ScatterBits => pair::<Scatter>(ty, ext),
        family::Binary::GatherBits if *BMI2 => pair::<HostGather>(ty, ext),
        family::Binary::GatherBits => pair::<Gather>(ty, ext),
    }
}

/// Handlers of `cmp`.
pub(crate) fn compare_handlers(cond: Cond, ty: Type, ext: Ext) -> (Handler, Handler) {
    match cond {
        Cond::Eq => pair::<CmpEq>(ty, ext),
        Cond::Ne => pair::<CmpNe>(ty, ext),
        Cond::LtS => pair::<CmpLtS>(ty, ext),
        Cond::GeS => pair::<CmpGeS>(ty, ext),
        Cond::LtU => pair::<CmpLtU>(ty, ext),
        Cond::GeU => pair::<CmpGeU>(ty, ext),
    }
}

/// Handler of `select`.
pub(crate) fn select_handler(cond: Cond, ty: Type, ext: Ext) -> Handler {
    match cond {
        Cond::Eq => by_width!(select_rr, CmpEq, ty, ext),
        Cond::Ne => by_width!(select_rr, CmpNe, ty, ext),
        Cond::LtS => by_width!(select_rr, CmpLtS, ty, ext),
        Cond::GeS => by_width!(select_rr, CmpGeS, ty, ext),
        Cond::LtU => by_width!(select_rr, CmpLtU, ty, ext),
        Cond::GeU => by_width!(select_rr, CmpGeU, ty, ext),
    }
}

/// Handler of a move.
pub(crate) fn mov_handler(ty: Type, ext: Ext) -> Handler {
    by_width!(unary_r, Copy, ty, ext)
}

/// Handler of an operation of one operand.
pub(crate) fn unary_handler(op: family::Unary, ty: Type, ext: Ext) -> Handler {
    match op {
        family::Unary::Not => by_width!(unary_r, Not, ty, ext),
        family::Unary::Neg => by_width!(unary_r, Neg, ty, ext),
        family::Unary::Clz => by_width!(unary_r, Clz, ty, ext),
        family::Unary::Ctz => by_width!(unary_r, Ctz, ty, ext),
        family::Unary::Popcnt => by_width!(unary_r, Popcnt, ty, ext),
        family::Unary::ByteSwap => by_width!(unary_r, ByteSwap, ty, ext),
        family::Unary::OrCombine => by_width!(unary_r, OrCombine, ty, ext),
        family::Unary::ReverseBits => by_width!(unary_r, ReverseBits, ty, ext),
    }
}
