//! Floating point on the host's unit.
//!
//! The one place where Rust code runs under another control word than its own: each operation loads MXCSR with
//! the guest's rounding and clear flags, computes, reads the flags and puts Rust's word back, all in one `asm!`
//! block (Rust under a foreign MXCSR is undefined behaviour).
//!
//! Valid for guests with tininess detected after rounding and no flushing of subnormals (RISC-V, x86 by
//! default); NaN results are the caller's affair.

#![allow(unsafe_code)]

use std::arch::asm;

/// MXCSR as Rust expects it: all exceptions masked, to nearest even (Intel SDM 1, 10.2.3).
pub const RUST_MXCSR: u32 = 0x1f80;
/// Where MXCSR's rounding control is (Intel SDM 1, figure 10-3).
pub const MXCSR_ROUNDING_SHIFT: u8 = 13;
/// What it is for each rounding from bit 0 on, two bits each, numbered as [`vm_ir::Rounding`]. Ties away, which it lacks,
/// finds zeros.
pub const MXCSR_ROUNDINGS: u32 = 0b10_01_11_00;
/// MXCSR's bits of the flags inexact, underflow, overflow, division by zero and invalid, which are bits 0 to 4 of
/// `CommonState::fp_flags`.
pub const MXCSR_FLAGS: [u8; 5] = [5, 4, 3, 2, 0];

/// MXCSR's bit of the flag of subnormal operands, which is bit 5 there.
pub const MXCSR_DENORMAL: u8 = 1;

/// MXCSR for a rounding numbered as [`vm_ir::Rounding`], flags clear; `None` for ties away, which it lacks.
#[inline(always)]
pub(crate) const fn control(rounding: u32) -> Option<u32> {
    match rounding {
        0..4 => {
            let control = MXCSR_ROUNDINGS >> (2 * rounding) & 3;
            Some(RUST_MXCSR | control << MXCSR_ROUNDING_SHIFT)
        }
        _ => None,
    }
}

/// MXCSR for a guest that has its rules, flags clear and exceptions masked; zero when something is asked that needs an
/// exception that is not masked, or that it lacks.
pub(crate) fn guest_control(rules: vm_softfloat::Env, rounding: u32) -> u32 {
    const DAZ: u32 = 1 << 6;
    const FTZ: u32 = 1 << 15;
    let Some(control) = control(rounding).filter(|_| !rules.underflow_when_exact) else {
        return 0;
    };
    let zeros = rules.subnormals == vm_softfloat::Subnormals::Zero;
    let flushes = rules.flush == vm_softfloat::FlushResults::AfterRounding;
    control | if zeros { DAZ } else { 0 } | if flushes { FTZ } else { 0 }
}

/// MXCSR's flags as `CommonState::fp_flags` has them.
#[inline(always)]
pub(crate) const fn flags(mxcsr: u32) -> u32 {
    let [inexact, underflow, overflow, zero, invalid] = MXCSR_FLAGS;
    (mxcsr >> inexact & 1)
        | (mxcsr >> underflow & 1) << 1
        | (mxcsr >> overflow & 1) << 2
        | (mxcsr >> zero & 1) << 3
        | (mxcsr >> invalid & 1) << 4
}

macro_rules! two {
    ($name:ident $float:ty, $instruction:literal) => {
        /// The result and MXCSR after it.
        #[inline(always)]
        pub(crate) fn $name(a: $float, b: $float, mxcsr: u32) -> ($float, u32) {
            let mut word = mxcsr;
            let mut value = a;
            // SAFETY: the block restores MXCSR and touches only its operands.
            unsafe {
                asm!("ldmxcsr [{w}]", $instruction, "stmxcsr [{w}]", "ldmxcsr [{r}]",
                    w = in(reg) &raw mut word, r = in(reg) &RUST_MXCSR,
                    a = inout(xmm_reg) value, b = in(xmm_reg) b, options(nostack));
            }
            (value, word)
        }
    };
}
two!(add_f32 f32, "addss {a}, {b}");
two!(sub_f32 f32, "subss {a}, {b}");
two!(mul_f32 f32, "mulss {a}, {b}");
two!(div_f32 f32, "divss {a}, {b}");
two!(sqrt_f32 f32, "sqrtss {a}, {b}");
two!(add_f64 f64, "addsd {a}, {b}");
two!(sub_f64 f64, "subsd {a}, {b}");
two!(mul_f64 f64, "mulsd {a}, {b}");
two!(div_f64 f64, "divsd {a}, {b}");
two!(sqrt_f64 f64, "sqrtsd {a}, {b}");

macro_rules! three {
    ($name:ident $float:ty, $instruction:literal) => {
        /// The result and MXCSR after it. Needs the FMA extension.
        #[inline(always)]
        pub(crate) unsafe fn $name(a: $float, b: $float, c: $float, mxcsr: u32) -> ($float, u32) {
            let mut word = mxcsr;
            let mut value = c;
            // SAFETY: the block restores MXCSR and touches only its operands; the caller knows of FMA.
            unsafe {
                asm!("ldmxcsr [{w}]", $instruction, "stmxcsr [{w}]", "ldmxcsr [{r}]",
                    w = in(reg) &raw mut word, r = in(reg) &RUST_MXCSR,
                    c = inout(xmm_reg) value, a = in(xmm_reg) a, b = in(xmm_reg) b,
                    options(nostack));
            }
            (value, word)
        }
    };
}
three!(madd_f32 f32, "vfmadd231ss {c}, {a}, {b}");
three!(msub_f32 f32, "vfmsub231ss {c}, {a}, {b}");
three!(nmadd_f32 f32, "vfnmsub231ss {c}, {a}, {b}");
three!(nmsub_f32 f32, "vfnmadd231ss {c}, {a}, {b}");
three!(madd_f64 f64, "vfmadd231sd {c}, {a}, {b}");
three!(msub_f64 f64, "vfmsub231sd {c}, {a}, {b}");
three!(nmadd_f64 f64, "vfnmsub231sd {c}, {a}, {b}");
three!(nmsub_f64 f64, "vfnmadd231sd {c}, {a}, {b}");

/// Whether the host has fused multiply-add.
pub(crate) fn has_fma() -> bool {
    std::arch::is_x86_feature_detected!("fma")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_roundings_and_flags_are_the_guests() {
        let up = control(3).unwrap();
        let down = control(2).unwrap();
        let (high, word) = div_f64(1.0, 3.0, up);
        let (low, _) = div_f64(1.0, 3.0, down);
        assert!(high > low);
        assert_eq!(flags(word), 1);
        assert_eq!(flags(div_f64(1.0, 0.0, up).1), 8);
        assert_eq!(flags(sqrt_f64(0.0, -1.0, up).1), 16);
        assert_eq!(flags(mul_f64(f64::MAX, 2.0, down).1), 4 | 1);
        assert_eq!(flags(mul_f64(f64::MIN_POSITIVE, 0.3, down).1), 2 | 1);
        assert_eq!(flags(add_f64(1.0, 2.0, down).1), 0);
        assert!(control(4).is_none());
    }

    #[test]
    fn fused_forms_follow_their_names() {
        if !has_fma() {
            eprintln!("skipped: this host has no fused multiply-add");
            return;
        }
        let word = control(0).unwrap();
        // SAFETY: the host has FMA.
        unsafe {
            assert_eq!(madd_f64(2.0, 3.0, 1.0, word).0, 7.0);
            assert_eq!(msub_f64(2.0, 3.0, 1.0, word).0, 5.0);
            assert_eq!(nmadd_f64(2.0, 3.0, 1.0, word).0, -7.0);
            assert_eq!(nmsub_f64(2.0, 3.0, 1.0, word).0, -5.0);
        }
    }
}
