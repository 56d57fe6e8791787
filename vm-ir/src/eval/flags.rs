//! Flag groups.
//!
//! A group has sixteen bits, in which the flags lie where an x86-64 host has them after `lahf` and `seto al`:
//!
//! | bit | holds |
//! |---|---|
//! | 0 | V |
//! | 8 to 15 | C, one, P, zero, A, zero, Z, N: the low byte of x86's flags |
//! | others | zero |
//!
//! Readers look at the bits of the six flags alone, so that any value is a group; all zeros has every flag clear.

use super::{Outcome, Value};
use crate::attr::{Attr, FlagCond, FlagKind};
use crate::inst::Inst;
use crate::op::family::Flags;
use crate::slot::Type;

/// Carry, in the places of [`FlagKind::Bits`].
pub const C: u64 = 1 << 0;
/// Parity of the low byte (set when even).
pub const P: u64 = 1 << 2;
/// Carry out of bit 3.
pub const A: u64 = 1 << 4;
/// Zero.
pub const Z: u64 = 1 << 6;
/// Sign.
pub const N: u64 = 1 << 7;
/// Overflow.
pub const V: u64 = 1 << 11;
/// Every flag.
pub const ALL: u64 = C | P | A | Z | N | V;

/// The bit that is one in every group that an operation gives.
const ONE: u64 = 1 << 9;

/// The group of these flags, which stand in the places of [`FlagKind::Bits`]. Other bits do not count.
pub const fn word(bits: u64) -> u64 {
    (bits & (ALL & !V)) << 8 | ONE | (bits & V) >> 11
}

/// The flags of a group, in the places of [`FlagKind::Bits`].
pub const fn bits(word: u64) -> u64 {
    word >> 8 & (ALL & !V) | (word & 1) << 11
}

pub(super) fn evaluate(op: Flags, inst: &Inst, args: &[Value; 4]) -> Option<Outcome> {
    let [a, b, c, old] = args.map(|value| value[0]);
    match op {
        Flags::SetFlags => {
            let Attr::FlagKind(kind) = inst.attr else {
                return None;
            };
            Outcome::bits(set(kind, inst.ty, [a, b, c], old), Type::Flags.bits())
        }
        Flags::GetFlag => {
            let Attr::FlagCond(cond) = inst.attr else {
                return None;
            };
            Outcome::bits(holds(cond, bits(a)).into(), inst.ty.bits())
        }
        Flags::FlagBits => Outcome::bits(bits(a), inst.ty.bits()),
    }
}

/// Bits of a width, and its top bit.
fn mask_and_top(ty: Type) -> (u64, u64) {
    let bits = ty.bits().clamp(1, 64);
    (u64::MAX >> (64 - bits), 1 << (bits - 1))
}

/// The group that `setflags` gives; `old` is the old group.
pub fn set(kind: FlagKind, ty: Type, [a, b, c]: [u64; 3], old: u64) -> u64 {
    let (mask, top) = mask_and_top(ty);
    let b = match kind {
        FlagKind::Shl | FlagKind::Shr | FlagKind::Sar => b & if top == 1 << 63 { 63 } else { 31 },
        _ => b & mask,
    };
    let (a, c) = (a & mask, c & 1);
    let kept = bits(old);
    let replaced = |places: u64, flags: u64| word(kept & !places | flags & places);
    match kind {
        FlagKind::Bits => return word(a),
        FlagKind::Carry => return replaced(C, a),
        FlagKind::CarryOverflow => return replaced(C | V, a & 1 | (b & 1) << 11),
        FlagKind::Zero => return replaced(Z, if a == 0 { Z } else { 0 }),
        FlagKind::Shl | FlagKind::Shr | FlagKind::Sar if b == 0 => return old & 0xffff,
        _ => {}
    }
    let width = u64::from(ty.bits());
    // A shift's flags are those of its last step by one place.
    let but_one = (b as u32 & 63).wrapping_sub(1);
    let borrowed = u128::from(a) < u128::from(b) + u128::from(c);
    let kept_carry = kept & C != 0;
    let sum = |b: u64, c: u64| {
        let r = a.wrapping_add(b).wrapping_add(c) & mask;
        let carry = u128::from(a) + u128::from(b) + u128::from(c) > u128::from(mask);
        (
            r,
            carry,
            (a ^ r) & (b ^ r) & top != 0,
            (a ^ b ^ r) & 0x10 != 0,
        )
    };
    let difference = |a: u64, b: u64, c: u64| {
        let r = a.wrapping_sub(b).wrapping_sub(c) & mask;
        (r, (a ^ b) & (a ^ r) & top != 0, (a ^ b ^ r) & 0x10 != 0)
    };
    let (r, carry, overflow, half) = match kind {
        FlagKind::Add => sum(b, 0),
        FlagKind::AddCarry => sum(b, c),
        FlagKind::Sub => {
            let (r, overflow, half) = difference(a, b, 0);
            (r, a < b, overflow, half)
        }
        FlagKind::SubBorrow => {
            let (r, overflow, half) = difference(a, b, c);
            (r, borrowed, overflow, half)
        }
        FlagKind::SubNotBorrow => {
            let (r, overflow, half) = difference(a, b, 0);
            (r, a >= b, overflow, half)
        }
        FlagKind::Inc => {
            let (r, _, overflow, half) = sum(1, 0);
            (r, kept_carry, overflow, half)
        }
        FlagKind::Dec => {
            let (r, overflow, half) = difference(a, 1, 0);
            (r, kept_carry, overflow, half)
        }
        FlagKind::Neg => {
            let (r, overflow, half) = difference(0, a, 0);
            (r, a != 0, overflow, half)
        }
        FlagKind::Mul => (a, b != 0, b != 0, false),
        FlagKind::Shl => {
            let r = a << (b & 63) & mask;
            let out = b <= width && a.unbounded_shr((width - b) as u32) & 1 != 0;
            (r, out, out != (r & top != 0), false)
        }
        FlagKind::Shr => {
            let before = a.unbounded_shr(but_one);
            (before >> 1, before & 1 != 0, before & top != 0, false)
        }
        FlagKind::Sar => {
            let before = signed(a, ty).unbounded_shr(but_one);
            ((before >> 1) as u64 & mask, before & 1 != 0, false, false)
        }
        FlagKind::Logic
        | FlagKind::Bits
        | FlagKind::Carry
        | FlagKind::CarryOverflow
        | FlagKind::Zero => (a, false, false, false),
    };
    let even = (r as u8).count_ones().is_multiple_of(2);
    let flags = [
        (carry, C),
        (overflow, V),
        (half, A),
        (even, P),
        (r == 0, Z),
        (r & top != 0, N),
    ];
    let set = flags
        .iter()
        .fold(0, |all, &(set, flag)| if set { all | flag } else { all });
    word(set)
}

fn signed(value: u64, ty: Type) -> i64 {
    let above = 64 - ty.bits().clamp(1, 64);
    ((value << above) as i64) >> above
}

/// Whether a condition holds on flags as [`bits`] gives them.
pub fn holds(cond: FlagCond, flags: u64) -> bool {
    let has = |flag| flags & flag != 0;
    match cond {
        FlagCond::Z => has(Z),
        FlagCond::NotZ => !has(Z),
        FlagCond::C => has(C),
        FlagCond::NotC => !has(C),
        FlagCond::N => has(N),
        FlagCond::NotN => !has(N),
        FlagCond::V => has(V),
        FlagCond::NotV => !has(V),
        FlagCond::P => has(P),
        FlagCond::NotP => !has(P),
        FlagCond::COrZ => has(C) || has(Z),
        FlagCond::NotCNotZ => !has(C) && !has(Z),
        FlagCond::CNotZ => has(C) && !has(Z),
        FlagCond::NotCOrZ => !has(C) || has(Z),
        FlagCond::Lt => has(N) != has(V),
        FlagCond::Ge => has(N) == has(V),
        FlagCond::Le => has(Z) || has(N) != has(V),
        FlagCond::Gt => !has(Z) && has(N) == has(V),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(kind: FlagKind, ty: Type, a: u64, b: u64, c: u64) -> u64 {
        bits(set(kind, ty, [a, b, c], 0)) & !P
    }

    #[test]
    fn bits_of_all_zeros_are_clear() {
        assert_eq!(bits(0), 0);
    }

    #[test]
    fn bits_of_sums_and_differences_carry_and_overflow_at_the_width() {
        use FlagKind::*;
        for (kind, ty, a, b, c, expected) in [
            (Add, Type::I8, 0xff, 1, 0, C | Z | A),
            (Add, Type::I16, 0xff, 1, 0, A),
            (Add, Type::I8, 0x7f, 1, 0, V | N | A),
            (Add, Type::I64, u64::MAX, u64::MAX, 0, C | N | A),
            (AddCarry, Type::I64, u64::MAX, u64::MAX, 1, C | N | A),
            (AddCarry, Type::I8, 0xff, 0, 1, C | Z | A),
            (Sub, Type::I8, 0, 1, 0, C | N | A),
            (Sub, Type::I8, 0x80, 1, 0, V | A),
            (SubBorrow, Type::I64, 0, u64::MAX, 1, C | Z | A),
            (SubNotBorrow, Type::I32, 5, 5, 0, C | Z),
            (SubNotBorrow, Type::I32, 4, 5, 0, N | A),
            (AddCarry, Type::I32, 0xffff_ffff, 0, 1, C | Z | A),
            (Neg, Type::I8, 0x80, 0, 0, C | V | N),
            (Neg, Type::I8, 0, 0, 0, Z),
            (Mul, Type::I32, 3, 1, 0, C | V),
            (Logic, Type::I8, 0x180, 0, 0, N),
        ] {
            assert_eq!(
                flags(kind, ty, a, b, c),
                expected,
                "{kind:?} {ty} {a:x} {b:x} {c}"
            );
        }
    }

    #[test]
    fn bits_of_shifts_are_those_of_the_last_step() {
        use FlagKind::*;
        for (kind, ty, a, b, expected) in [
            (Shl, Type::I8, 0x81, 1, C | V),
            (Shl, Type::I8, 0x40, 1, V | N),
            (Shl, Type::I8, 0x01, 8, C | V | Z),
            (Shl, Type::I8, 0xff, 9, Z),
            (Shr, Type::I8, 0x81, 1, C | V),
            (Shr, Type::I64, 1 << 63, 63, 0),
            (Sar, Type::I8, 0x80, 9, C | N),
            (Sar, Type::I16, 0x8001, 1, C | N),
        ] {
            assert_eq!(
                flags(kind, ty, a, b, 0),
                expected,
                "{kind:?} {ty} {a:x} {b}"
            );
        }
    }

    #[test]
    fn set_keeps_the_old_group_for_shifts_by_zero_and_its_carry_for_inc() {
        let old = set(FlagKind::Sub, Type::I8, [0, 1, 0], 0);
        for kind in [FlagKind::Shl, FlagKind::Shr, FlagKind::Sar] {
            assert_eq!(set(kind, Type::I32, [7, 0, 0], old), old);
        }
        assert_eq!(
            bits(set(FlagKind::Inc, Type::I8, [0xff, 0, 0], old)),
            C | Z | A | P
        );
        assert_eq!(bits(set(FlagKind::Dec, Type::I8, [0x80, 0, 0], 0)), V | A);
    }

    #[test]
    fn set_of_single_flags_keeps_the_others() {
        for old in (0..64).map(|n| {
            [C, P, A, Z, N, V]
                .iter()
                .enumerate()
                .fold(0, |all, (place, flag)| all | ((n >> place & 1) * flag))
        }) {
            let after = |kind, a, b| bits(set(kind, Type::I8, [a, b, 0], word(old)));
            assert_eq!(bits(word(old)), old);
            assert_eq!(after(FlagKind::Carry, 1, 0), old | C);
            assert_eq!(after(FlagKind::Carry, 2, 0), old & !C);
            assert_eq!(after(FlagKind::CarryOverflow, 0, 3), old & !C | V);
            assert_eq!(after(FlagKind::CarryOverflow, 1, 0), (old | C) & !V);
            assert_eq!(after(FlagKind::Zero, 0x100, 0), old | Z);
            assert_eq!(after(FlagKind::Zero, 0x80, 0), old & !Z);
        }
    }

    #[test]
    fn holds_every_condition_is_the_inverse_of_its_neighbour() {
        for pair in FlagCond::ALL[..14]
            .chunks(2)
            .chain(FlagCond::ALL[14..].chunks(2))
        {
            // Conditions stand in the table next to their inverse, but for the two forms of carry with zero.
            for n in 0..64_u64 {
                let flags = (0..6)
                    .filter(|b| n >> b & 1 != 0)
                    .map(|b| [C, P, A, Z, N, V][b])
                    .sum();
                assert_ne!(
                    holds(pair[0], flags),
                    holds(pair[1], flags),
                    "{pair:?} {flags:x}"
                );
            }
        }
    }
}
