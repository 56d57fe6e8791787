//! Vectors of 128 bits: integers, bits, and moves of lanes.

#![allow(unsafe_code)]

use vm_ir::Type;
use vm_ir::family::{VecBits, VecLanes, VecMove, VecShift};

use crate::frame::{FrameHead, word};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// The words of a slot of two, as numbers of 16 bytes in all.
#[inline(always)]
unsafe fn read<T: Copy>(f: *mut FrameHead, offset: u16) -> T {
    const { assert!(size_of::<T>() == 16 && align_of::<T>() <= 8) };
    // SAFETY: predecoding gives offsets of slots of two words, and all bits make numbers.
    unsafe { *word(f, offset).cast::<T>() }
}

#[inline(always)]
unsafe fn write<T: Copy>(f: *mut FrameHead, offset: u16, value: T) {
    const { assert!(size_of::<T>() == 16 && align_of::<T>() <= 8) };
    // SAFETY: as above.
    unsafe { *word(f, offset).cast::<T>() = value }
}

/// A handler that computes each lane of `d` from those of `a` and `b` and the constant. `U` and `S` are the lane's types.
macro_rules! lane_handler {
    ($name:ident $u:ident $s:ident $n:literal |$a:ident, $b:ident, $imm:ident| $body:expr) => {
        pub(super) unsafe fn $name(f: *mut FrameHead, op: *const MicroOp) -> Leave {
            #[allow(dead_code)]
            type U = $u;
            #[allow(dead_code)]
            type S = $s;
            // SAFETY: offsets come from predecoding, and all bits make numbers.
            unsafe {
                let x: [$u; $n] = read(f, (*op).a);
                let y: [$u; $n] = read(f, (*op).b);
                let $imm = (*op).imm as u32;
                let _ = $imm;
                let z: [$u; $n] = std::array::from_fn(|n| {
                    let ($a, $b) = (x[n], y[n]);
                    let _ = $b;
                    $body
                });
                write(f, (*op).d, z);
                next!(f, op)
            }
        }
    };
}

/// Handlers for each width of lanes.
macro_rules! lanes {
    ($($name:ident |$a:ident, $b:ident, $imm:ident| $body:expr;)*) => {$(
        mod $name {
            use super::*;
            lane_handler!(of_8 u8 i8 16 |$a, $b, $imm| $body);
            lane_handler!(of_16 u16 i16 8 |$a, $b, $imm| $body);
            lane_handler!(of_32 u32 i32 4 |$a, $b, $imm| $body);
            lane_handler!(of_64 u64 i64 2 |$a, $b, $imm| $body);
            pub(super) fn handler(lane: Type) -> Option<Handler> {
                match lane {
                    Type::I8 => Some(of_8),
                    Type::I16 => Some(of_16),
                    Type::I32 => Some(of_32),
                    Type::I64 => Some(of_64),
                    _ => None,
                }
            }
        }
    )*};
}
lanes! {
    add |a, b, _imm| a.wrapping_add(b);
    sub |a, b, _imm| a.wrapping_sub(b);
    mul |a, b, _imm| a.wrapping_mul(b);
    cmp_eq |a, b, _imm| if a == b { U::MAX } else { 0 };
    cmp_gt_s |a, b, _imm| if a as S > b as S { U::MAX } else { 0 };
    min_s |a, b, _imm| (a as S).min(b as S) as U;
    min_u |a, b, _imm| a.min(b);
    max_s |a, b, _imm| (a as S).max(b as S) as U;
    max_u |a, b, _imm| a.max(b);
    shl |a, _b, imm| a.unbounded_shl(imm);
    shr |a, _b, imm| a.unbounded_shr(imm);
    sar |a, _b, imm| (a as S).unbounded_shr(imm) as U;
}

/// Handler of an operation on pairs of integer lanes. Here and below, what has none runs by its definition.
pub(crate) fn lanes_handler(op: VecLanes, lane: Type) -> Option<Handler> {
    match op {
        VecLanes::VecAdd => add::handler(lane),
        VecLanes::VecSub => sub::handler(lane),
        VecLanes::VecMul => mul::handler(lane),
        VecLanes::VecCmpEq => cmp_eq::handler(lane),
        VecLanes::VecCmpGtS => cmp_gt_s::handler(lane),
        VecLanes::VecMinS => min_s::handler(lane),
        VecLanes::VecMinU => min_u::handler(lane),
        VecLanes::VecMaxS => max_s::handler(lane),
        VecLanes::VecMaxU => max_u::handler(lane),
    }
}

/// Handler of a shift by the constant.
pub(crate) fn shift_handler(op: VecShift, lane: Type) -> Option<Handler> {
    match op {
        VecShift::VecShl => shl::handler(lane),
        VecShift::VecShr => shr::handler(lane),
        VecShift::VecSar => sar::handler(lane),
    }
}

macro_rules! bits {
    ($($name:ident |$a:ident, $b:ident| $body:expr;)*) => {$(
        unsafe fn $name(f: *mut FrameHead, op: *const MicroOp) -> Leave {
            // SAFETY: offsets come from predecoding.
            unsafe {
                let ($a, $b): ([u64; 2], [u64; 2]) = (read(f, (*op).a), read(f, (*op).b));
                write(f, (*op).d, $body);
                next!(f, op)
            }
        }
    )*};
}
bits! {
    and |a, b| [a[0] & b[0], a[1] & b[1]];
    or |a, b| [a[0] | b[0], a[1] | b[1]];
    xor |a, b| [a[0] ^ b[0], a[1] ^ b[1]];
    and_not |a, b| [a[0] & !b[0], a[1] & !b[1]];
}

/// Each byte of `d` chosen from those of `a` by one of `b`.
unsafe fn choose<const WRAPS: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as above.
    unsafe {
        let (table, indices): ([u8; 16], [u8; 16]) = (read(f, (*op).a), read(f, (*op).b));
        let chosen = indices.map(|index| match index {
            _ if WRAPS && index & 0x80 == 0 => table[usize::from(index & 15)],
            0..16 if !WRAPS => table[usize::from(index)],
            _ => 0,
        });
        write(f, (*op).d, chosen);
        next!(f, op)
    }
}

/// Handler of an operation on all bits, or bytes.
pub(crate) fn bits_handler(op: VecBits) -> Handler {
    match op {
        VecBits::VecAnd => and,
        VecBits::VecOr => or,
        VecBits::VecXor => xor,
        VecBits::VecAndNot => and_not,
        VecBits::VecShuffle => choose::<true>,
        VecBits::VecTable => choose::<false>,
    }
}

/// Handlers for each width of lanes, with the lanes' type and number.
macro_rules! moves {
    ($($name:ident <$u:ident, $n:ident> |$f:ident, $op:ident| $body:block)*) => {$(
        mod $name {
            use super::*;
            moves!(@of_8 u8 16 $u $n |$f, $op| $body);
            moves!(@of_16 u16 8 $u $n |$f, $op| $body);
            moves!(@of_32 u32 4 $u $n |$f, $op| $body);
            moves!(@of_64 u64 2 $u $n |$f, $op| $body);
            pub(super) fn handler(lane: Type) -> Option<Handler> {
                match lane {
                    Type::I8 => Some(of_8),
                    Type::I16 => Some(of_16),
                    Type::I32 => Some(of_32),
                    Type::I64 => Some(of_64),
                    _ => None,
                }
            }
        }
    )*};
    (@$name:ident $lane:ident $count:literal $u:ident $n:ident |$f:ident, $op:ident| $body:block) => {
        unsafe fn $name($f: *mut FrameHead, $op: *const MicroOp) -> Leave {
            type $u = $lane;
            const $n: usize = $count;
            // SAFETY: offsets and lane numbers come from predecoding; all bits make numbers.
            unsafe {
                $body
                next!($f, $op)
            }
        }
    };
}
moves! {
    splat <U, N> |f, op| {
        let lanes = [*word(f, (*op).a) as U; N];
        write(f, (*op).d, lanes);
    }
    extract <U, N> |f, op| {
        let lanes: [U; N] = read(f, (*op).a);
        #[allow(clippy::useless_conversion)]
        let lane = u64::from(lanes[(*op).aux as usize % N]);
        *word(f, (*op).d) = lane;
    }
    insert <U, N> |f, op| {
        let mut lanes: [U; N] = read(f, (*op).a);
        lanes[(*op).aux as usize % N] = *word(f, (*op).b) as U;
        write(f, (*op).d, lanes);
    }
    zip_low <U, N> |f, op| {
        let (a, b): ([U; N], [U; N]) = (read(f, (*op).a), read(f, (*op).b));
        let zipped: [U; N] = std::array::from_fn(|n| if n % 2 == 0 { a[n / 2] } else { b[n / 2] });
        write(f, (*op).d, zipped);
    }
    zip_high <U, N> |f, op| {
        let (a, b): ([U; N], [U; N]) = (read(f, (*op).a), read(f, (*op).b));
        let zipped: [U; N] = std::array::from_fn(|n| {
            if n % 2 == 0 { a[N / 2 + n / 2] } else { b[N / 2 + n / 2] }
        });
        write(f, (*op).d, zipped);
    }
}

/// Handler of a move of lanes.
pub(crate) fn moves_handler(op: VecMove, lane: Type) -> Option<Handler> {
    match op {
        VecMove::VecSplat => splat::handler(lane),
        VecMove::VecExtract => extract::handler(lane),
        VecMove::VecInsert => insert::handler(lane),
        VecMove::VecZipLow => zip_low::handler(lane),
        VecMove::VecZipHigh => zip_high::handler(lane),
    }
}
