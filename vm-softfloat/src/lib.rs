//! IEEE 754 and x87 arithmetic by value.
//!
//! Operations take encodings (`u16` to `u128`) and an [`Env`], deliver an encoding and add to a [`Flags`] set. Nothing
//! is global, nothing touches the host's floating-point unit, so one process serves guests whose rules differ in
//! rounding, tininess, NaN choice, subnormals and integer conversion. No guest is named in the code that computes: its
//! rules are [`Env::riscv`], [`Env::arm`], [`Env::sse`] and [`Env::x87`].
//!
//! It refuses to know registers, NaN boxing, control-register layouts beyond a field, traps, and decimal or
//! transcendental functions.
//!
//! Data flow, the same for every operation:
//! 1. `format::unpack` takes encodings apart, normalises and flushes subnormals;
//! 2. NaNs, infinities and zeros leave by tables (`nan`);
//! 3. `significand` words with guard bits and a trace of all lost bits carry the exact or jammed result;
//! 4. `round` cuts it to precision, detects overflow and underflow, and encodes.
//!
//! ```
//! use vm_softfloat::{Env, F64, Flags, RoundingDirection, div};
//! let mut flags = Flags::NONE;
//! let third = div::<F64>(0x3ff0 << 48, 0x4008 << 48, &Env::riscv(RoundingDirection::Up), &mut flags);
//! assert_eq!((third, flags.riscv()), (0x3fd5_5555_5555_5556, 1));
//! ```
//!
//! Versions followed: IEEE 754-2019, RISC-V Unprivileged 20240411 with Zfa 1.0, Arm ARM DDI 0487, Intel SDM of 2024.

mod arith;
mod class;
mod compare;
mod convert;
mod env;
mod flags;
mod fma;
mod format;
mod integer;
mod nan;
mod remainder;
mod round;
mod significand;

pub use arith::{add, div, mul, sqrt, sub};
pub use class::{Class, classify, is_nan};
pub use compare::{
    Extremum, compare_quiet, compare_signaling, eq, extremum_num_2008, extremum_number,
    extremum_propagating, extremum_second, le, le_quiet, lt, lt_quiet,
};
pub use convert::convert;
pub use env::{
    Env, FlushResults, IntegerRule, NanRule, RoundingDirection, Subnormals, Tininess, X87Precision,
};
pub use flags::Flags;
pub use fma::{Negate, mul_add, mul_add_negated};
pub use format::{Bf16, F16, F32, F64, F80, F128, Format};
pub use integer::{
    Integer, from_fixed, from_int, round_to_integral, to_fixed, to_i32_modular, to_int,
};
pub use remainder::{QuotientRounding, remainder, scale};
