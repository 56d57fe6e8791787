//! Exception flags, as a value.

use core::ops::{BitOr, BitOrAssign};

/// A set of exceptions (IEEE 754-2019, 7).
///
/// Operations only ever add to the set they are given: start with [`Flags::NONE`] to learn what one operation raised,
/// or pass an accumulated set to make it sticky.
///
/// The five IEEE bits lie where RISC-V `fflags` has them, so [`Flags::riscv`] is a mask.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No exception.
    pub const NONE: Self = Self(0);
    /// The delivered result differs from the exact one (IEEE 754-2019, 7.6).
    pub const INEXACT: Self = Self(1 << 0);
    /// The result is tiny and inexact (IEEE 754-2019, 7.5); see also [`crate::Env::underflow_when_exact`].
    pub const UNDERFLOW: Self = Self(1 << 1);
    /// The rounded result exceeds the format's range (IEEE 754-2019, 7.4).
    pub const OVERFLOW: Self = Self(1 << 2);
    /// An exact infinity came out of finite operands (IEEE 754-2019, 7.3).
    pub const DIVZERO: Self = Self(1 << 3);
    /// There is no usefully definable result (IEEE 754-2019, 7.2).
    pub const INVALID: Self = Self(1 << 4);
    /// An operand was subnormal: x86 `DE`, Arm `IDC`. What raises it is [`crate::Subnormals`]' choice.
    pub const DENORMAL: Self = Self(1 << 5);
    /// RoundingDirection increased the result's magnitude: x87 `C1`. Meaningful only in a set that began empty.
    pub const ROUNDED_UP: Self = Self(1 << 6);

    /// The raw set, bit for bit as the constants define it.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True when every exception of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as RISC-V `fflags`: NV DZ OF UF NX from bit 4 down (RISC-V Unprivileged, F, "Floating-Point Control and
    /// Status Register").
    #[must_use]
    pub const fn riscv(self) -> u8 {
        self.0 & 0x1f
    }

    /// The set as Arm `FPSR` cumulative bits: IDC at 7, IXC UFC OFC DZC IOC from bit 4 down (Arm ARM DDI 0487, FPSR).
    #[must_use]
    pub const fn arm(self) -> u8 {
        self.reversed_ieee()
            | if self.contains(Self::DENORMAL) {
                1 << 7
            } else {
                0
            }
    }

    /// The set as x86 `MXCSR` and x87 status word have it: PE UE OE ZE DE IE from bit 5 down (Intel SDM 1, 10.2.3).
    #[must_use]
    pub const fn x86(self) -> u8 {
        let ieee = self.reversed_ieee();
        let denormal = if self.contains(Self::DENORMAL) {
            1 << 1
        } else {
            0
        };
        (ieee & 1) | denormal | (ieee & 0x1e) << 1
    }

    /// INVALID DIVZERO OVERFLOW UNDERFLOW INEXACT from bit 0 up.
    const fn reversed_ieee(self) -> u8 {
        self.riscv().reverse_bits() >> 3
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl core::fmt::Debug for Flags {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const NAMES: [&str; 7] = ["NX", "UF", "OF", "DZ", "NV", "DE", "UP"];
        out.write_str("{")?;
        let mut separator = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 >> bit & 1 != 0 {
                write!(out, "{separator}{name}")?;
                separator = " ";
            }
        }
        out.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_each_bit_lands_where_the_guest_has_it() {
        for (flag, riscv, arm, x86) in [
            (Flags::INEXACT, 0x01, 0x10, 0x20),
            (Flags::UNDERFLOW, 0x02, 0x08, 0x10),
            (Flags::OVERFLOW, 0x04, 0x04, 0x08),
            (Flags::DIVZERO, 0x08, 0x02, 0x04),
            (Flags::INVALID, 0x10, 0x01, 0x01),
            (Flags::DENORMAL, 0x00, 0x80, 0x02),
            (Flags::ROUNDED_UP, 0x00, 0x00, 0x00),
        ] {
            assert_eq!(
                (flag.riscv(), flag.arm(), flag.x86()),
                (riscv, arm, x86),
                "{flag:?}"
            );
        }
    }

    #[test]
    fn flags_debug_names_each_member() {
        assert_eq!(format!("{:?}", Flags::INVALID | Flags::INEXACT), "{NX NV}");
        assert_eq!(format!("{:?}", Flags::NONE), "{}");
    }
}
