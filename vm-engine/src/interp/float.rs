//! Floating point on the host's unit; whatever is not plain there runs by its definition.
//!
//! Results that are NaNs go the slow way, because NaN choice and the Invalid flag of some special cases are the
//! guest's own.

#![allow(unsafe_code)]

use std::sync::LazyLock;

use vm_ir::family::{FpArith, FpCompare, FpSign};
use vm_ir::{Attr, Ext, Inst, Rounding, Type};

use crate::frame::{FrameHead, common, word};
use crate::hostfp;
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// Variant bit: the result is NaN-boxed. Below it the rounding.
const BOXED: i32 = 8;

/// A format of the host's unit.
trait Format {
    type Float: Copy;
    fn from_bits(bits: u64) -> Self::Float;
    fn to_bits(value: Self::Float) -> u64;
    fn is_nan(value: Self::Float) -> bool;
    /// Bits above the format when a value is NaN-boxed.
    const BOX: u64;
}

struct Single;
struct Double;

impl Format for Single {
    type Float = f32;
    const BOX: u64 = 0xffff_ffff << 32;
    #[inline(always)]
    fn from_bits(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    #[inline(always)]
    fn to_bits(value: f32) -> u64 {
        value.to_bits().into()
    }
    #[inline(always)]
    fn is_nan(value: f32) -> bool {
        value.is_nan()
    }
}

impl Format for Double {
    type Float = f64;
    const BOX: u64 = 0;
    #[inline(always)]
    fn from_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    #[inline(always)]
    fn to_bits(value: f64) -> u64 {
        value.to_bits()
    }
    #[inline(always)]
    fn is_nan(value: f64) -> bool {
        value.is_nan()
    }
}

/// An operation on the host's unit: operands and MXCSR to the result and MXCSR.
trait Arithmetic {
    type F: Format;
    fn run(args: [<Self::F as Format>::Float; 3], mxcsr: u32) -> (<Self::F as Format>::Float, u32);
}

macro_rules! arithmetic {
    ($($name:ident $format:ident |$a:ident, $b:ident, $c:ident, $w:ident| $body:expr;)*) => {$(
        struct $name;
        impl Arithmetic for $name {
            type F = $format;
            #[inline(always)]
            fn run(
                [$a, $b, $c]: [<$format as Format>::Float; 3],
                $w: u32,
            ) -> (<$format as Format>::Float, u32) {
                let _ = ($b, $c);
                $body
            }
        }
    )*};
}
arithmetic! {
    AddS Single |a, b, c, w| hostfp::add_f32(a, b, w);
    SubS Single |a, b, c, w| hostfp::sub_f32(a, b, w);
    MulS Single |a, b, c, w| hostfp::mul_f32(a, b, w);
    DivS Single |a, b, c, w| hostfp::div_f32(a, b, w);
    SqrtS Single |a, b, c, w| hostfp::sqrt_f32(a, a, w);
    AddD Double |a, b, c, w| hostfp::add_f64(a, b, w);
    SubD Double |a, b, c, w| hostfp::sub_f64(a, b, w);
    MulD Double |a, b, c, w| hostfp::mul_f64(a, b, w);
    DivD Double |a, b, c, w| hostfp::div_f64(a, b, w);
    SqrtD Double |a, b, c, w| hostfp::sqrt_f64(a, a, w);
}

macro_rules! fused {
    ($($name:ident $format:ident $function:ident;)*) => {$(
        struct $name;
        impl Arithmetic for $name {
            type F = $format;
            #[inline(always)]
            fn run(
                [a, b, c]: [<$format as Format>::Float; 3],
                mxcsr: u32,
            ) -> (<$format as Format>::Float, u32) {
                // SAFETY: `handler` gives these only to hosts with FMA.
                unsafe { hostfp::$function(a, b, c, mxcsr) }
            }
        }
    )*};
}
fused! {
    MaddS Single madd_f32; MsubS Single msub_f32; NmaddS Single nmadd_f32; NmsubS Single nmsub_f32;
    MaddD Double madd_f64; MsubD Double msub_f64; NmaddD Double nmadd_f64; NmsubD Double nmsub_f64;
}

#[cold]
#[inline(never)]
unsafe fn by_definition(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: predecoding gave the micro-op its instruction; the slow path is of the frame's guest.
    unsafe {
        ((*f).slow.define)(f, op);
        next!(f, op)
    }
}

unsafe fn arithmetic<O: Arithmetic>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding.
    unsafe {
        let rounding = ((*op).aux & 7) as u32;
        let dynamic = rounding == Rounding::Dynamic as u32;
        let rounding = if dynamic {
            (*common(f)).fp_rounding
        } else {
            rounding
        };
        let Some(mxcsr) = hostfp::control(rounding) else {
            return by_definition(f, op);
        };
        let args = [(*op).a, (*op).b, (*op).c].map(|at| O::F::from_bits(*word(f, at)));
        let (value, after) = O::run(args, mxcsr);
        if O::F::is_nan(value) {
            return by_definition(f, op);
        }
        (*common(f)).fp_flags |= hostfp::flags(after);
        let fill = if (*op).aux & BOXED != 0 { O::F::BOX } else { 0 };
        *word(f, (*op).d) = O::F::to_bits(value) | fill;
        next!(f, op)
    }
}

/// Which comparison; NaNs go the slow way.
unsafe fn compare<F: Format, const LESS: bool, const EQUAL: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
) -> Leave
where
    F::Float: PartialOrd,
{
    // SAFETY: offsets come from predecoding.
    unsafe {
        let (a, b) = (
            F::from_bits(*word(f, (*op).a)),
            F::from_bits(*word(f, (*op).b)),
        );
        if F::is_nan(a) || F::is_nan(b) {
            return by_definition(f, op);
        }
        *word(f, (*op).d) = u64::from(LESS && a < b || EQUAL && a == b);
        next!(f, op)
    }
}

/// Sign of `b`, changed by the variant (0 as it is, 1 inverted, 2 exclusive or), on `a`.
unsafe fn sign<const SIGN: u32>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding.
    unsafe {
        let bit = 1_u64 << SIGN;
        let (a, b) = (*word(f, (*op).a), *word(f, (*op).b));
        let from = match (*op).aux & 3 {
            0 => b,
            1 => !b,
            _ => a ^ b,
        };
        let fill = if (*op).aux & BOXED != 0 {
            Single::BOX
        } else {
            0
        };
        let low = u64::MAX >> (63 - SIGN);
        *word(f, (*op).d) = ((a & !bit | from & bit) & low) | fill;
        next!(f, op)
    }
}

/// The single in `a` when it is NaN-boxed, else the canonical NaN.
unsafe fn unbox_single(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding.
    unsafe {
        let value = *word(f, (*op).a);
        let boxed = value & Single::BOX == Single::BOX;
        *word(f, (*op).d) = if boxed {
            value & !Single::BOX
        } else {
            0x7fc0_0000
        };
        next!(f, op)
    }
}

/// Whether the result is to be NaN-boxed; `None` when it fills the register in yet another way.
fn boxed(ext: Ext) -> Option<i32> {
    match ext {
        Ext::Zero => Some(0),
        Ext::Ones => Some(BOXED),
        Ext::Sign | Ext::Keep => None,
    }
}

/// Handler of rounded arithmetic with its variant, where the host's unit serves, as it does guests whose tininess is
/// detected after rounding. Here and below, what has none runs by its definition.
pub(crate) fn arithmetic_handler(op: FpArith, inst: &Inst) -> Option<(Handler, i32)> {
    static FMA: LazyLock<bool> = LazyLock::new(hostfp::has_fma);
    let Attr::Fp(rounding) = inst.attr else {
        return None;
    };
    let handlers: [Handler; 2] = match op {
        FpArith::FpAdd => [arithmetic::<AddS>, arithmetic::<AddD>],
        FpArith::FpSub => [arithmetic::<SubS>, arithmetic::<SubD>],
        FpArith::FpMul => [arithmetic::<MulS>, arithmetic::<MulD>],
        FpArith::FpDiv => [arithmetic::<DivS>, arithmetic::<DivD>],
        FpArith::FpSqrt => [arithmetic::<SqrtS>, arithmetic::<SqrtD>],
        FpArith::FpMulAdd if *FMA => [arithmetic::<MaddS>, arithmetic::<MaddD>],
        FpArith::FpMulSub if *FMA => [arithmetic::<MsubS>, arithmetic::<MsubD>],
        FpArith::FpNegMulAdd if *FMA => [arithmetic::<NmaddS>, arithmetic::<NmaddD>],
        FpArith::FpNegMulSub if *FMA => [arithmetic::<NmsubS>, arithmetic::<NmsubD>],
        FpArith::FpMulAdd | FpArith::FpMulSub | FpArith::FpNegMulAdd | FpArith::FpNegMulSub => {
            return None;
        }
    };
    Some((
        of_format(handlers, inst.ty)?,
        rounding as i32 | boxed(inst.ext)?,
    ))
}

/// Handler of a comparison.
pub(crate) fn compare_handler(op: FpCompare, inst: &Inst) -> Option<(Handler, i32)> {
    let handlers: [Handler; 2] = match op {
        FpCompare::FpEq => [
            compare::<Single, false, true>,
            compare::<Double, false, true>,
        ],
        FpCompare::FpLt | FpCompare::FpLtQuiet => [
            compare::<Single, true, false>,
            compare::<Double, true, false>,
        ],
        FpCompare::FpLe | FpCompare::FpLeQuiet => {
            [compare::<Single, true, true>, compare::<Double, true, true>]
        }
    };
    boxed(inst.ext)?;
    Some((of_format(handlers, inst.ty)?, 0))
}

/// Handler of an operation on signs, with its variant.
pub(crate) fn sign_handler(op: FpSign, inst: &Inst) -> Option<(Handler, i32)> {
    let variant = match op {
        FpSign::FpSign => 0,
        FpSign::FpSignNot => 1,
        FpSign::FpSignXor => 2,
    };
    let handler = of_format([sign::<31>, sign::<63>], inst.ty)?;
    Some((handler, variant | boxed(inst.ext)?))
}

/// Handler of taking a number out of its box.
pub(crate) fn unbox_handler(inst: &Inst) -> Option<(Handler, i32)> {
    (inst.ty == Type::F32 && inst.ext == Ext::Zero).then_some((unbox_single as Handler, 0))
}

/// That of singles or that of doubles.
fn of_format([single, double]: [Handler; 2], ty: Type) -> Option<Handler> {
    match ty {
        Type::F32 => Some(single),
        Type::F64 => Some(double),
        _ => None,
    }
}
