//! Floating point of guests whose rules are those of the host's own unit ([`vm_frontend::Guest::FLOAT_IS_X86`]): MXCSR as the
//! guest has it, NaNs and all exceptions included. What has no handler here runs by its definition.

#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_storeu_si128,
};
use std::sync::LazyLock;

use vm_ir::family::{FpArith, FpConvert, FpExtremum};
use vm_ir::{Attr, FpToIntRule, Inst, MinMaxRule, Rounding, Type};

use crate::frame::{FrameHead, common, word};
use crate::hostfp::{self, RUST_MXCSR};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// MXCSR's flag of subnormal operands, and where it accrues.
const DENORMAL: (u8, u8) = (1, 5);

/// Accrues what MXCSR says after an operation.
#[inline(always)]
unsafe fn accrue(f: *mut FrameHead, mxcsr: u32) {
    let (from, to) = DENORMAL;
    // SAFETY: `f` is a live frame (caller).
    unsafe { (*common(f)).fp_flags |= hostfp::flags(mxcsr) | (mxcsr >> from & 1) << to };
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

/// An instruction on up to three vector registers: the result, and MXCSR after it.
trait Instruction {
    /// Bytes of operands and result: 4, 8 or 16. What is above stays.
    const BYTES: usize;
    unsafe fn run(args: [__m128i; 3], mxcsr: u32) -> (__m128i, u32);
}

macro_rules! instructions {
    ($($name:ident $bytes:literal $result:ident $text:literal;)*) => {$(
        struct $name;
        impl Instruction for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            unsafe fn run(args: [__m128i; 3], mxcsr: u32) -> (__m128i, u32) {
                let mut word = mxcsr;
                let [mut a, b, mut c] = args;
                // SAFETY: the block restores MXCSR and touches only its operands; handlers are given to hosts that have
                // the instruction.
                unsafe {
                    asm!("ldmxcsr [{w}]", $text, "/* {a} {b} {c} */", "stmxcsr [{w}]", "ldmxcsr [{r}]",
                        w = in(reg) &raw mut word, r = in(reg) &RUST_MXCSR,
                        a = inout(xmm_reg) a, b = in(xmm_reg) b, c = inout(xmm_reg) c,
                        options(nostack));
                }
                let _ = (a, c);
                ($result!(a, c), word)
            }
        }
    )*};
}
macro_rules! first {
    ($a:ident, $c:ident) => {
        $a
    };
}
macro_rules! third {
    ($a:ident, $c:ident) => {
        $c
    };
}
instructions! {
    AddSs 4 first "addss {a}, {b}"; AddSd 8 first "addsd {a}, {b}";
    SubSs 4 first "subss {a}, {b}"; SubSd 8 first "subsd {a}, {b}";
    MulSs 4 first "mulss {a}, {b}"; MulSd 8 first "mulsd {a}, {b}";
    DivSs 4 first "divss {a}, {b}"; DivSd 8 first "divsd {a}, {b}";
    MinSs 4 first "minss {a}, {b}"; MinSd 8 first "minsd {a}, {b}";
    MaxSs 4 first "maxss {a}, {b}"; MaxSd 8 first "maxsd {a}, {b}";
    SqrtSs 4 first "sqrtss {a}, {a}"; SqrtSd 8 first "sqrtsd {a}, {a}";
    WidenSs 8 first "cvtss2sd {a}, {a}"; NarrowSd 4 first "cvtsd2ss {a}, {a}";
    AddPs 16 first "addps {a}, {b}"; AddPd 16 first "addpd {a}, {b}";
    SubPs 16 first "subps {a}, {b}"; SubPd 16 first "subpd {a}, {b}";
    MulPs 16 first "mulps {a}, {b}"; MulPd 16 first "mulpd {a}, {b}";
    DivPs 16 first "divps {a}, {b}"; DivPd 16 first "divpd {a}, {b}";
    MinPs 16 first "minps {a}, {b}"; MinPd 16 first "minpd {a}, {b}";
    MaxPs 16 first "maxps {a}, {b}"; MaxPd 16 first "maxpd {a}, {b}";
    SqrtPs 16 first "sqrtps {a}, {a}"; SqrtPd 16 first "sqrtpd {a}, {a}";
    IntToPs 16 first "cvtdq2ps {a}, {a}"; PsToInt 16 first "cvtps2dq {a}, {a}";
    PsToIntCut 16 first "cvttps2dq {a}, {a}";
    MaddSs 4 third "vfmadd231ss {c}, {a}, {b}"; MaddSd 8 third "vfmadd231sd {c}, {a}, {b}";
    MsubSs 4 third "vfmsub231ss {c}, {a}, {b}"; MsubSd 8 third "vfmsub231sd {c}, {a}, {b}";
    NmaddSs 4 third "vfnmsub231ss {c}, {a}, {b}"; NmaddSd 8 third "vfnmsub231sd {c}, {a}, {b}";
    NmsubSs 4 third "vfnmadd231ss {c}, {a}, {b}"; NmsubSd 8 third "vfnmadd231sd {c}, {a}, {b}";
    MaddPs 16 third "vfmadd231ps {c}, {a}, {b}"; MaddPd 16 third "vfmadd231pd {c}, {a}, {b}";
    MsubPs 16 third "vfmsub231ps {c}, {a}, {b}"; MsubPd 16 third "vfmsub231pd {c}, {a}, {b}";
    NmsubPs 16 third "vfnmadd231ps {c}, {a}, {b}"; NmsubPd 16 third "vfnmadd231pd {c}, {a}, {b}";
    NmaddPs 16 third "vfnmsub231ps {c}, {a}, {b}"; NmaddPd 16 third "vfnmsub231pd {c}, {a}, {b}";
}

/// The instruction on what is at `a`, `b` and `c`, to the low bytes of `d`.
unsafe fn run<I: Instruction>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets come from predecoding, of slots that are as large as the instruction's operands.
    unsafe {
        let mxcsr = ((*f).slow.float_control)(f);
        if mxcsr == 0 {
            return by_definition(f, op);
        }
        let args = [(*op).a, (*op).b, (*op).c].map(|at| match I::BYTES {
            16 => _mm_loadu_si128(word(f, at).cast()),
            _ => _mm_cvtsi64_si128(*word(f, at) as i64),
        });
        let (value, after) = I::run(args, mxcsr);
        accrue(f, after);
        let to = word(f, (*op).d);
        match I::BYTES {
            16 => _mm_storeu_si128(to.cast(), value),
            8 => *to = _mm_cvtsi128_si64(value) as u64,
            _ => *to.cast::<u32>() = _mm_cvtsi128_si64(value) as u32,
        }
        next!(f, op)
    }
}

macro_rules! to_int {
    ($($name:ident $text:literal;)*) => {$(
        /// The number at `a` to an integer at `d`, all 64 bits of it.
        unsafe fn $name(f: *mut FrameHead, op: *const MicroOp) -> Leave {
            // SAFETY: as above.
            unsafe {
                let mut mxcsr = ((*f).slow.float_control)(f);
                if mxcsr == 0 {
                    return by_definition(f, op);
                }
                let a = _mm_cvtsi64_si128(*word(f, (*op).a) as i64);
                let value: u64;
                asm!("ldmxcsr [{w}]", $text, "stmxcsr [{w}]", "ldmxcsr [{r}]",
                    w = in(reg) &raw mut mxcsr, r = in(reg) &RUST_MXCSR,
                    a = in(xmm_reg) a, v = out(reg) value, options(nostack));
                accrue(f, mxcsr);
                *word(f, (*op).d) = value;
                next!(f, op)
            }
        }
    )*};
}
to_int! {
    ss_to_32 "cvtss2si {v:e}, {a}"; ss_to_64 "cvtss2si {v}, {a}";
    sd_to_32 "cvtsd2si {v:e}, {a}"; sd_to_64 "cvtsd2si {v}, {a}";
    ss_cut_to_32 "cvttss2si {v:e}, {a}"; ss_cut_to_64 "cvttss2si {v}, {a}";
    sd_cut_to_32 "cvttsd2si {v:e}, {a}"; sd_cut_to_64 "cvttsd2si {v}, {a}";
}

macro_rules! from_int {
    ($($name:ident $number:ty, $text:literal;)*) => {$(
        /// The integer at `a` to the low bytes of `d`.
        unsafe fn $name(f: *mut FrameHead, op: *const MicroOp) -> Leave {
            // SAFETY: as above.
            unsafe {
                let mut mxcsr = ((*f).slow.float_control)(f);
                if mxcsr == 0 {
                    return by_definition(f, op);
                }
                let mut value = _mm_cvtsi64_si128(0);
                asm!("ldmxcsr [{w}]", $text, "stmxcsr [{w}]", "ldmxcsr [{r}]",
                    w = in(reg) &raw mut mxcsr, r = in(reg) &RUST_MXCSR,
                    a = in(reg) *word(f, (*op).a), v = inout(xmm_reg) value, options(nostack));
                accrue(f, mxcsr);
                *word(f, (*op).d).cast::<$number>() = _mm_cvtsi128_si64(value) as $number;
                next!(f, op)
            }
        }
    )*};
}
from_int! {
    ss_from_32 u32, "cvtsi2ss {v}, {a:e}"; ss_from_64 u32, "cvtsi2ss {v}, {a}";
    sd_from_32 u64, "cvtsi2sd {v}, {a:e}"; sd_from_64 u64, "cvtsi2sd {v}, {a}";
}

macro_rules! to_flags {
    ($($name:ident $text:literal $encode:expr;)*) => {$(
        /// Compares the numbers at `a` and `b`: Z, P and C.
        unsafe fn $name(f: *mut FrameHead, op: *const MicroOp) -> Leave {
            // SAFETY: as above.
            unsafe {
                let mut mxcsr = ((*f).slow.float_control)(f);
                if mxcsr == 0 {
                    return by_definition(f, op);
                }
                let [a, b] = [(*op).a, (*op).b].map(|at| _mm_cvtsi64_si128(*word(f, at) as i64));
                let flags: u64;
                asm!("ldmxcsr [{w}]", $text, "pushfq", "pop {v}", "stmxcsr [{w}]", "ldmxcsr [{r}]",
                    w = in(reg) &raw mut mxcsr, r = in(reg) &RUST_MXCSR,
                    a = in(xmm_reg) a, b = in(xmm_reg) b, v = out(reg) flags);
                accrue(f, mxcsr);
                *word(f, (*op).d) = $encode(flags & 0x45);
                next!(f, op)
            }
        }
    )*};
}
to_flags! {
    ss_to_flags "ucomiss {a}, {b}" vm_ir::eval::flags::word;
    sd_to_flags "ucomisd {a}, {b}" vm_ir::eval::flags::word;
    ss_to_bits "comiss {a}, {b}" std::convert::identity;
    sd_to_bits "comisd {a}, {b}" std::convert::identity;
}

static HAS_FMA: LazyLock<bool> = LazyLock::new(hostfp::has_fma);

fn of_format([single, double]: [Handler; 2], ty: Type) -> Option<Handler> {
    match ty {
        Type::F32 => Some(single),
        Type::F64 => Some(double),
        _ => None,
    }
}

/// Handler of arithmetic in the lowest lane.
pub(crate) fn arithmetic(op: FpArith, inst: &Inst) -> Option<Handler> {
    if inst.attr != Attr::Fp(Rounding::Dynamic) {
        return None;
    }
    let handlers: [Handler; 2] = match op {
        FpArith::FpAdd => [run::<AddSs>, run::<AddSd>],
        FpArith::FpSub => [run::<SubSs>, run::<SubSd>],
        FpArith::FpMul => [run::<MulSs>, run::<MulSd>],
        FpArith::FpDiv => [run::<DivSs>, run::<DivSd>],
        FpArith::FpSqrt => [run::<SqrtSs>, run::<SqrtSd>],
        _ if !*HAS_FMA => return None,
        FpArith::FpMulAdd => [run::<MaddSs>, run::<MaddSd>],
        FpArith::FpMulSub => [run::<MsubSs>, run::<MsubSd>],
        FpArith::FpNegMulAdd => [run::<NmaddSs>, run::<NmaddSd>],
        FpArith::FpNegMulSub => [run::<NmsubSs>, run::<NmsubSd>],
    };
    of_format(handlers, inst.ty)
}

/// Handler of minimum and maximum in the lowest lane.
pub(crate) fn extremum(op: FpExtremum, inst: &Inst) -> Option<Handler> {
    if inst.attr != Attr::MinMax(MinMaxRule::Second) {
        return None;
    }
    let handlers: [Handler; 2] = match op {
        FpExtremum::FpMin => [run::<MinSs>, run::<MinSd>],
        FpExtremum::FpMax => [run::<MaxSs>, run::<MaxSd>],
    };
    of_format(handlers, inst.ty)
}

/// Handler of a conversion: to the lowest lane, or to a whole integer slot.
pub(crate) fn convert(op: FpConvert, inst: &Inst) -> Option<Handler> {
    let Attr::Convert {
        from,
        rounding,
        signed,
        rule,
    } = inst.attr
    else {
        return None;
    };
    let dynamic = rounding == Rounding::Dynamic;
    Some(match (op, from, inst.ty) {
        (FpConvert::FpToFp, Type::F32, Type::F64) => run::<WidenSs>,
        (FpConvert::FpToFp, Type::F64, Type::F32) if dynamic => run::<NarrowSd>,
        (FpConvert::IntToFp, Type::I32, Type::F32) if dynamic && signed => ss_from_32,
        (FpConvert::IntToFp, Type::I64, Type::F32) if dynamic && signed => ss_from_64,
        (FpConvert::IntToFp, Type::I32, Type::F64) if dynamic && signed => sd_from_32,
        (FpConvert::IntToFp, Type::I64, Type::F64) if dynamic && signed => sd_from_64,
        (FpConvert::FpToInt, ..) if !signed || rule != FpToIntRule::Indefinite => return None,
        (FpConvert::FpToInt, Type::F32, Type::I32) if dynamic => ss_to_32,
        (FpConvert::FpToInt, Type::F32, Type::I64) if dynamic => ss_to_64,
        (FpConvert::FpToInt, Type::F64, Type::I32) if dynamic => sd_to_32,
        (FpConvert::FpToInt, Type::F64, Type::I64) if dynamic => sd_to_64,
        (FpConvert::FpToInt, ..) if rounding != Rounding::Zero => return None,
        (FpConvert::FpToInt, Type::F32, Type::I32) => ss_cut_to_32,
        (FpConvert::FpToInt, Type::F32, Type::I64) => ss_cut_to_64,
        (FpConvert::FpToInt, Type::F64, Type::I32) => sd_cut_to_32,
        (FpConvert::FpToInt, Type::F64, Type::I64) => sd_cut_to_64,
        _ => return None,
    })
}

/// Handler of a comparison to flags.
pub(crate) fn compare(inst: &Inst) -> Option<Handler> {
    of_format([ss_to_flags, sd_to_flags], inst.ty)
}

/// Prefix, map, opcode and feature of an encoding ([`vm_ir::VectorDecl::encoding`]) and the instruction's handler.
const ROWS: [(u32, Handler); 27] = [
    (0x0458, run::<AddPs>),
    (0x0558, run::<AddPd>),
    (0x045c, run::<SubPs>),
    (0x055c, run::<SubPd>),
    (0x0459, run::<MulPs>),
    (0x0559, run::<MulPd>),
    (0x045e, run::<DivPs>),
    (0x055e, run::<DivPd>),
    (0x045d, run::<MinPs>),
    (0x055d, run::<MinPd>),
    (0x045f, run::<MaxPs>),
    (0x055f, run::<MaxPd>),
    (0x0451, run::<SqrtPs>),
    (0x0551, run::<SqrtPd>),
    (0x045b, run::<IntToPs>),
    (0x055b, run::<PsToInt>),
    (0x065b, run::<PsToIntCut>),
    (0x042f, ss_to_bits),
    (0x052f, sd_to_bits),
    (0x1_09b8, run::<MaddPs>),
    (0x1_29b8, run::<MaddPd>),
    (0x1_09ba, run::<MsubPs>),
    (0x1_29ba, run::<MsubPd>),
    (0x1_09bc, run::<NmsubPs>),
    (0x1_29bc, run::<NmsubPd>),
    (0x1_09be, run::<NmaddPs>),
    (0x1_29be, run::<NmaddPd>),
];

/// Bits of an encoding that tell the instruction.
const TELLS: u32 = 0x000f_ffff;
/// The bit of those that need FMA.
const FMA: u32 = 1 << 16;

/// Handler of a row of the guest's table.
pub(crate) fn row(encoding: u32) -> Option<Handler> {
    if encoding & FMA != 0 && !*HAS_FMA {
        return None;
    }
    let told = encoding & TELLS;
    let (_, handler) = ROWS.iter().find(|(row, _)| *row == told)?;
    Some(*handler)
}
