//! Flag groups.
//!
//! A group is five words:
//!
//! | word | holds |
//! |---|---|
//! | 0 | the [`FlagKind`]'s number in bits 0 to 7, the [`Type`]'s in bits 8 to 15 |
//! | 1 | the result `r`, zero-extended |
//! | 2 | operand `a`, zero-extended |
//! | 3 | operand `b`, zero-extended |
//! | 4 | operand `c`; for `Inc` and `Dec` the carry kept |
//!
//! All zeros is a valid group: every flag clear. `Logic` and `Mul` take their result as operand `a`.

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

pub(super) fn evaluate(op: Flags, inst: &Inst, args: &[Value; 4]) -> Option<Outcome> {
    match op {
        Flags::SetFlags => {
            let Attr::FlagKind(kind) = inst.attr else {
                return None;
            };
            let [a, b, c, _] = args.map(|value| value[0]);
            Some(Outcome::Group(set(kind, inst.ty, [a, b, c], args[3])))
        }
        Flags::GetFlag => {
            let Attr::FlagCond(cond) = inst.attr else {
                return None;
            };
            Outcome::bits(holds(cond, bits(&args[0])).into(), inst.ty.bits())
        }
        Flags::FlagBits => Outcome::bits(bits(&args[0]), inst.ty.bits()),
    }
}

/// Bits of a width, and its top bit.
fn mask_and_top(ty: Type) -> (u64, u64) {
    let bits = ty.bits().clamp(1, 64);
    (u64::MAX >> (64 - bits), 1 << (bits - 1))
}

/// The group that `setflags` gives.
pub fn set(kind: FlagKind, ty: Type, [a, b, c]: [u64; 3], old: Value) -> Value {
    let (mask, _) = mask_and_top(ty);
    let (a, b) = (a & mask, b & mask);
    let (r, c) = match kind {
        FlagKind::Shl | FlagKind::Shr | FlagKind::Sar if b == 0 => return old,
        FlagKind::Bits => return [word0(kind, ty), 0, a & ALL, 0, 0],
        FlagKind::Inc => (a.wrapping_add(1), bits(&old) & C),
        FlagKind::Dec => (a.wrapping_sub(1), bits(&old) & C),
        FlagKind::Add => (a.wrapping_add(b), 0),
        FlagKind::AddCarry => (a.wrapping_add(b).wrapping_add(c & 1), c & 1),
        FlagKind::Sub | FlagKind::SubNotBorrow => (a.wrapping_sub(b), 0),
        FlagKind::SubBorrow => (a.wrapping_sub(b).wrapping_sub(c & 1), c & 1),
        FlagKind::Neg => (a.wrapping_neg(), 0),
        FlagKind::Logic | FlagKind::Mul => (a, 0),
        FlagKind::Shl => (a.checked_shl(b as u32).unwrap_or(0), 0),
        FlagKind::Shr => (a.checked_shr(b as u32).unwrap_or(0), 0),
        FlagKind::Sar => (signed(a, ty).unbounded_shr(b as u32) as u64, 0),
    };
    [word0(kind, ty), r & mask, a, b, c]
}

fn word0(kind: FlagKind, ty: Type) -> u64 {
    kind as u64 | (ty as u64) << 8
}

fn signed(value: u64, ty: Type) -> i64 {
    let above = 64 - ty.bits().clamp(1, 64);
    ((value << above) as i64) >> above
}

/// Kind and type of a group. Numbers that mean nothing count as `Bits` and 64 bits.
pub fn kind_of(group: &Value) -> (FlagKind, Type) {
    let kind = FlagKind::ALL.get(group[0] as usize & 0xff);
    let ty = Type::ALL.get(group[0] as usize >> 8 & 0xff);
    let ty = ty.copied().filter(|ty| ty.is_int());
    (
        kind.copied().unwrap_or(FlagKind::Bits),
        ty.unwrap_or(Type::I64),
    )
}

/// The flags of a group, in the places of [`FlagKind::Bits`].
pub fn bits(group: &Value) -> u64 {
    let (kind, ty) = kind_of(group);
    let (mask, top) = mask_and_top(ty);
    let [_, r, a, b, c] = *group;
    if kind == FlagKind::Bits {
        return a & ALL;
    }
    let carry_of_sum = u128::from(a) + u128::from(b) + u128::from(c) > u128::from(mask);
    let borrow = u128::from(a) < u128::from(b) + u128::from(c);
    let overflow_of_sum = (a ^ r) & (b ^ r) & top != 0;
    let overflow_of_difference = (a ^ b) & (a ^ r) & top != 0;
    let half_carry = (a ^ b ^ r) & 0x10 != 0;
    let width = ty.bits() as u64;
    // A shift's flags are those of its last step by one place. No group says a shift by zero, unless it is garbage.
    let but_one = (b as u32).wrapping_sub(1);
    let (c, v, half) = match kind {
        FlagKind::Bits => (false, false, false),
        FlagKind::Add | FlagKind::AddCarry => (carry_of_sum, overflow_of_sum, half_carry),
        FlagKind::Sub | FlagKind::SubBorrow => (borrow, overflow_of_difference, half_carry),
        FlagKind::Logic => (false, false, false),
        FlagKind::Inc => (c != 0, r == top, r & 0xf == 0),
        FlagKind::Dec => (c != 0, r == top - 1, r & 0xf == 0xf),
        FlagKind::Neg => (a != 0, a == top, a & 0xf != 0),
        FlagKind::Mul => (b != 0, b != 0, false),
        FlagKind::Shl => {
            let out = b <= width && a.unbounded_shr((width - b) as u32) & 1 != 0;
            (out, out != (r & top != 0), false)
        }
        FlagKind::Shr => {
            let before = a.checked_shr(but_one).unwrap_or(0);
            (before & 1 != 0, before & top != 0, false)
        }
        FlagKind::Sar => (signed(a, ty).unbounded_shr(but_one) & 1 != 0, false, false),
        FlagKind::SubNotBorrow => (!borrow, overflow_of_difference, half_carry),
    };
    let even = (r as u8).count_ones().is_multiple_of(2);
    [
        (c, C),
        (v, V),
        (half, A),
        (even, P),
        (r == 0, Z),
        (r & top != 0, N),
    ]
    .iter()
    .fold(0, |all, &(set, flag)| if set { all | flag } else { all })
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
        bits(&set(kind, ty, [a, b, c], [0; 5])) & !P
    }

    #[test]
    fn bits_of_all_zeros_are_clear() {
        assert_eq!(bits(&[0; 5]), 0);
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
    fn bits_of_a_garbage_group_that_says_shifted_by_zero_are_defined() {
        for kind in [FlagKind::Shl, FlagKind::Shr, FlagKind::Sar] {
            for count in [0, 1 << 32] {
                let group = [word0(kind, Type::I64), 1, 1 << 63, count, 0];
                assert_eq!(bits(&group) & (Z | N), 0, "{kind:?}");
            }
        }
    }

    #[test]
    fn set_keeps_the_old_group_for_shifts_by_zero_and_its_carry_for_inc() {
        let old = set(FlagKind::Sub, Type::I8, [0, 1, 0], [0; 5]);
        for kind in [FlagKind::Shl, FlagKind::Shr, FlagKind::Sar] {
            assert_eq!(set(kind, Type::I32, [7, 0, 0], old), old);
        }
        assert_eq!(
            bits(&set(FlagKind::Inc, Type::I8, [0xff, 0, 0], old)),
            C | Z | A | P
        );
        assert_eq!(
            bits(&set(FlagKind::Dec, Type::I8, [0x80, 0, 0], [0; 5])),
            V | A
        );
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
