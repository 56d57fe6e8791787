//! Floating-point arithmetic on all lanes (Intel SDM 1, 10.4.1 and 11.4.1).

use vm_ir::eval::FpControl;
use vm_ir::{Rounding, Vector};
use vm_softfloat::{Env, F32, F64, Flags, add, div, mul, sqrt, sub};

use super::encoding::{BINARY, BINARY_IMM, UNARY, word};
use super::{Lane, rows};

/// An operation on two numbers.
type Two<T> = fn(T, T, &Env, &mut Flags) -> T;

/// The operation on each pair of lanes, in the rounding in force.
#[inline(always)]
fn each<T: Lane>(fp: &mut FpControl, a: &Vector, b: &Vector, operation: Two<T>) -> Vector {
    fp.run(Rounding::Dynamic, |env, flags| {
        T::zip(a, b, |a, b| operation(a, b, env, flags))
    })
}

/// `even` on lanes with even numbers, `odd` on the others.
#[inline(always)]
fn alternating<T: Lane>(
    fp: &mut FpControl,
    [a, b]: [&Vector; 2],
    even: Two<T>,
    odd: Two<T>,
) -> Vector {
    let (a, b) = (T::split(a), T::split(b));
    fp.run(Rounding::Dynamic, |env, flags| {
        T::build(|n| {
            let operation = if n % 2 == 0 { even } else { odd };
            operation(a.as_ref()[n], b.as_ref()[n], env, flags)
        })
    })
}

/// The operation on neighbours: those of `a`, then those of `b`.
#[inline(always)]
fn pairs<T: Lane>(fp: &mut FpControl, a: &Vector, b: &Vector, operation: Two<T>) -> Vector {
    let (a, b) = (T::split(a), T::split(b));
    let half = a.as_ref().len() / 2;
    fp.run(Rounding::Dynamic, |env, flags| {
        T::build(|n| {
            let from = if n < half { a.as_ref() } else { b.as_ref() };
            let first = 2 * (n % half);
            operation(from[first], from[first + 1], env, flags)
        })
    })
}

/// The product of lanes that the constant's high half chooses, summed, in lanes that its low half chooses (Intel SDM 2A,
/// "DPPS").
fn dot_singles(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    let (a, b) = (u32::split(a), u32::split(b));
    let sum = fp.run(Rounding::Dynamic, |env, flags| {
        let products: [u32; 4] = std::array::from_fn(|n| match imm >> (4 + n) & 1 {
            0 => 0,
            _ => mul::<F32>(a[n], b[n], env, flags),
        });
        let low = add::<F32>(products[0], products[1], env, flags);
        let high = add::<F32>(products[2], products[3], env, flags);
        add::<F32>(low, high, env, flags)
    });
    u32::build(|n| if imm >> n & 1 != 0 { sum } else { 0 })
}

/// The same of doubles (Intel SDM 2A, "DPPD").
fn dot_doubles(fp: &mut FpControl, a: &Vector, b: &Vector, imm: u8) -> Vector {
    let sum = fp.run(Rounding::Dynamic, |env, flags| {
        let products: [u64; 2] = std::array::from_fn(|n| match imm >> (4 + n) & 1 {
            0 => 0,
            _ => mul::<F64>(a[n], b[n], env, flags),
        });
        add::<F64>(products[0], products[1], env, flags)
    });
    u64::build(|n| if imm >> n & 1 != 0 { sum } else { 0 })
}

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const DEFAULT_NAN: u32 = 0xffc0_0000;

/// A number cut to twelve bits, to nearest: an error of at most 2^-13, of the 1.5 * 2^-12 allowed.
const fn estimate(value: u32) -> u32 {
    (value + 0x400) & !0x7ff
}

/// An estimate of the reciprocal, without exceptions; subnormals count as zeros (Intel SDM 2B, "RCPPS").
fn reciprocal(a: u32) -> u32 {
    let sign = a & SIGN;
    match a & !SIGN {
        0..0x0080_0000 => sign | INFINITY,
        INFINITY => sign,
        magnitude if magnitude > INFINITY => a | 0x0040_0000,
        _ => {
            let env = Env::sse(vm_softfloat::RoundingDirection::NearestEven);
            let value = div::<F32>(0x3f80_0000, a, &env, &mut Flags::default());
            match value & INFINITY {
                0 => sign,
                _ => estimate(value),
            }
        }
    }
}

/// An estimate of the reciprocal of the square root (Intel SDM 2B, "RSQRTPS").
fn reciprocal_root(a: u32) -> u32 {
    let sign = a & SIGN;
    match a & !SIGN {
        0..0x0080_0000 => sign | INFINITY,
        magnitude if magnitude > INFINITY => a | 0x0040_0000,
        _ if sign != 0 => DEFAULT_NAN,
        INFINITY => 0,
        _ => {
            let env = Env::sse(vm_softfloat::RoundingDirection::NearestEven);
            let flags = &mut Flags::default();
            let wide = vm_softfloat::convert::<F32, F64>(a, &env, flags);
            let root = sqrt::<F64>(wide, &env, flags);
            let value = div::<F64>(0x3ff0 << 48, root, &env, flags);
            estimate(vm_softfloat::convert::<F64, F32>(value, &env, flags))
        }
    }
}

/// The first with the lowest lane replaced by what a function makes of the second's.
fn lowest(a: &Vector, b: &Vector, operation: fn(u32) -> u32) -> Vector {
    [a[0] >> 32 << 32 | u64::from(operation(b[0] as u32)), a[1]]
}

const fn ps(opcode: u8) -> u32 {
    word(0, 0x0f, opcode, BINARY)
}

const fn pd(opcode: u8) -> u32 {
    word(0x66, 0x0f, opcode, BINARY)
}

rows! {
    Addps Vaddps Binary, ps(0x58), fp |fp, a, b, _, _| each(fp, a, b, add::<F32>);
    Addpd Vaddpd Binary, pd(0x58), fp |fp, a, b, _, _| each(fp, a, b, add::<F64>);
    Subps Vsubps Binary, ps(0x5c), fp |fp, a, b, _, _| each(fp, a, b, sub::<F32>);
    Subpd Vsubpd Binary, pd(0x5c), fp |fp, a, b, _, _| each(fp, a, b, sub::<F64>);
    Mulps Vmulps Binary, ps(0x59), fp |fp, a, b, _, _| each(fp, a, b, mul::<F32>);
    Mulpd Vmulpd Binary, pd(0x59), fp |fp, a, b, _, _| each(fp, a, b, mul::<F64>);
    Divps Vdivps Binary, ps(0x5e), fp |fp, a, b, _, _| each(fp, a, b, div::<F32>);
    Divpd Vdivpd Binary, pd(0x5e), fp |fp, a, b, _, _| each(fp, a, b, div::<F64>);
    Sqrtps Vsqrtps Unary, word(0, 0x0f, 0x51, UNARY), fp |fp, a, _, _, _| {
        each::<u32>(fp, a, a, |a, _, env, flags| sqrt::<F32>(a, env, flags))
    };
    Sqrtpd Vsqrtpd Unary, word(0x66, 0x0f, 0x51, UNARY), fp |fp, a, _, _, _| {
        each::<u64>(fp, a, a, |a, _, env, flags| sqrt::<F64>(a, env, flags))
    };
    Addsubps Vaddsubps Binary, word(0xf2, 0x0f, 0xd0, BINARY), fp |fp, a, b, _, _| {
        alternating(fp, [a, b], sub::<F32>, add::<F32>)
    };
    Addsubpd Vaddsubpd Binary, word(0x66, 0x0f, 0xd0, BINARY), fp |fp, a, b, _, _| {
        alternating(fp, [a, b], sub::<F64>, add::<F64>)
    };
    Haddps Vhaddps Binary, word(0xf2, 0x0f, 0x7c, BINARY), fp |fp, a, b, _, _| pairs(fp, a, b, add::<F32>);
    Haddpd Vhaddpd Binary, word(0x66, 0x0f, 0x7c, BINARY), fp |fp, a, b, _, _| pairs(fp, a, b, add::<F64>);
    Hsubps Vhsubps Binary, word(0xf2, 0x0f, 0x7d, BINARY), fp |fp, a, b, _, _| pairs(fp, a, b, sub::<F32>);
    Hsubpd Vhsubpd Binary, word(0x66, 0x0f, 0x7d, BINARY), fp |fp, a, b, _, _| pairs(fp, a, b, sub::<F64>);
    Dpps Vdpps Binary, word(0x66, 0x3a, 0x40, BINARY_IMM), fp |fp, a, b, _, imm| dot_singles(fp, a, b, imm);
    Dppd Vdppd Binary, word(0x66, 0x3a, 0x41, BINARY_IMM), fp |fp, a, b, _, imm| dot_doubles(fp, a, b, imm);
    Rcpps Vrcpps Unary, 0, plain |a, _, _, _| u32::map(a, reciprocal);
    Rcpss Vrcpss Scalar, 0, plain |a, b, _, _| lowest(a, b, reciprocal);
    Rsqrtps Vrsqrtps Unary, 0, plain |a, _, _, _| u32::map(a, reciprocal_root);
    Rsqrtss Vrsqrtss Scalar, 0, plain |a, b, _, _| lowest(a, b, reciprocal_root);
}
