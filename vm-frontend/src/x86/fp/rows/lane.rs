//! Lanes of vectors.

use vm_ir::Vector;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A number that vectors have several of. All vectors are taken apart and put together here, as arrays, which the compiler
/// turns into the host's vector operations.
pub(in crate::x86::fp) trait Lane: Copy {
    /// All lanes of a vector, lowest first.
    type All: Copy + AsRef<[Self]> + AsMut<[Self]>;

    /// The lanes.
    fn split(vector: &Vector) -> Self::All;
    /// The vector.
    fn join(lanes: Self::All) -> Vector;

    /// What an operation makes of each lane.
    #[inline(always)]
    fn map(a: &Vector, mut operation: impl FnMut(Self) -> Self) -> Vector {
        let mut lanes = Self::split(a);
        for lane in lanes.as_mut() {
            *lane = operation(*lane);
        }
        Self::join(lanes)
    }

    /// What an operation makes of each pair of lanes.
    #[inline(always)]
    fn zip(a: &Vector, b: &Vector, mut operation: impl FnMut(Self, Self) -> Self) -> Vector {
        let mut lanes = Self::split(a);
        for (a, b) in lanes.as_mut().iter_mut().zip(Self::split(b).as_ref()) {
            *a = operation(*a, *b);
        }
        Self::join(lanes)
    }

    /// The lanes that a function of their number gives.
    #[inline(always)]
    fn build(mut lane: impl FnMut(usize) -> Self) -> Vector {
        let mut lanes = Self::split(&[0; 2]);
        for (n, place) in lanes.as_mut().iter_mut().enumerate() {
            *place = lane(n);
        }
        Self::join(lanes)
    }

    /// All ones where the condition holds, else zeros.
    #[inline(always)]
    fn test(a: &Vector, b: &Vector, holds: impl Fn(Self, Self) -> bool) -> Vector
    where
        Self: From<bool> + WrappingNegate,
    {
        Self::zip(a, b, |a, b| Self::from(holds(a, b)).negate())
    }
}

/// Integers modulo a power of two.
pub(in crate::x86::fp) trait WrappingNegate {
    /// Minus the number.
    fn negate(self) -> Self;
}

macro_rules! lanes {
    ($($number:ty: $count:literal)*) => {$(
        impl Lane for $number {
            type All = [$number; $count];

            #[inline(always)]
            fn split(vector: &Vector) -> Self::All {
                const { assert!(size_of::<[$number; $count]>() == size_of::<Vector>()) };
                Self::All::read_from_bytes(bytes(vector)).expect("invariant: sixteen bytes")
            }

            #[inline(always)]
            fn join(lanes: Self::All) -> Vector {
                Vector::read_from_bytes(bytes(&lanes)).expect("invariant: sixteen bytes")
            }
        }

        impl WrappingNegate for $number {
            #[inline(always)]
            fn negate(self) -> Self {
                self.wrapping_neg()
            }
        }
    )*};
}
lanes! { u8: 16 i8: 16 u16: 8 i16: 8 u32: 4 i32: 4 u64: 2 i64: 2 }

#[inline(always)]
fn bytes<T: IntoBytes + Immutable>(value: &T) -> &[u8] {
    value.as_bytes()
}
