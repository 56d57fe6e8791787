//! Flag groups: the host's own flags are what [`vm_ir::eval::flags`] says of a group's word.

#![allow(unsafe_code)]

use std::arch::asm;

use vm_ir::eval::flags;
use vm_ir::{Ext, FlagCond, FlagKind, Type, family};

use super::int::{W8, W8K, W8S, W16, W16K, W16S, W32, W32K, W32S, W64, Width, by_width, put};
use crate::frame::{FrameHead, word};
use crate::interp::control::{exits, sides};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

/// Overflow in a group's word, and the others.
const V: u64 = 1;
const C: u64 = flags::C << 8;
const P: u64 = flags::P << 8;
const A: u64 = flags::A << 8;
const Z: u64 = flags::Z << 8;
const N: u64 = flags::N << 8;
const ALL: u64 = V | C | P | A | Z | N;
/// The bit that is one in every word that is made.
const ONE: u64 = 1 << 9;

/// An operation that sets flags.
pub(crate) trait Kind {
    /// From operands with garbage above the width and the old group's word: the new one, and the operation's result with
    /// garbage above the width.
    fn run<W: Width>(a: u64, b: u64, c: u64, old: u64) -> (u64, u64);
}

/// Runs an instruction of the host on registers, in the width `W`: what is before it, the instruction on `a`, on `a` and
/// `b`, or on `a` and a constant, what is behind it. Gives the flags then, and `a`.
macro_rules! host {
    ($w:ident: $a:expr $(, $name:ident = $value:expr)*; $($rest:tt)*) => {{
        let a: u64 = $a;
        match $w::BITS {
            8 => host!(@"l" a [$($name = $value),*] $($rest)*),
            16 => host!(@"x" a [$($name = $value),*] $($rest)*),
            32 => host!(@"e" a [$($name = $value),*] $($rest)*),
            _ => host!(@"r" a [$($name = $value),*] $($rest)*),
        }
    }};
    (@$m:literal $a:ident $in:tt [$($before:literal),*] $op:literal a [$($after:literal),*]) => {
        host!(!$a $in $($before,)* concat!($op, " {a:", $m, "}") $(, $after)*)
    };
    (@$m:literal $a:ident $in:tt [$($before:literal),*] $op:literal a b [$($after:literal),*]) => {
        host!(!$a $in $($before,)* concat!($op, " {a:", $m, "}, {b:", $m, "}") $(, $after)*)
    };
    (@$m:literal $a:ident $in:tt [$($before:literal),*] $op:literal a 0 [$($after:literal),*]) => {
        host!(!$a $in $($before,)* concat!($op, " {a:", $m, "}, 0") $(, $after)*)
    };
    (!$a:ident [$($name:tt = $value:expr),*] $($line:expr),*) => {{
        let result: u64;
        let word: u64;
        // SAFETY: the instructions change registers and flags alone.
        unsafe {
            asm!($($line,)* "lahf", "seto al", a = inout(reg) $a => result,
                $($name = in(reg) $value,)* out("rax") word, options(pure, nomem, nostack));
        }
        (word & 0xffff, result)
    }};
}

/// A shift by a count that is not zero, in the width `W`, its last step by itself: only then are all flags but A defined.
macro_rules! shift {
    ($w:ident: $op:literal $a:ident by $count:ident) => {
        match $w::BITS {
            8 => shift!(@"l" $op $a $count),
            16 => shift!(@"x" $op $a $count),
            32 => shift!(@"e" $op $a $count),
            _ => shift!(@"r" $op $a $count),
        }
    };
    (@$m:literal $op:literal $a:ident $count:ident) => {{
        let result: u64;
        let word: u64;
        // SAFETY: the instructions change registers and flags alone.
        unsafe {
            asm!(concat!($op, " {a:", $m, "}, cl"), concat!($op, " {a:", $m, "}, 1"), "lahf",
                "seto al", a = inout(reg) $a => result, in("ecx") $count - 1, out("rax") word,
                options(pure, nomem, nostack));
        }
        (word & 0xffff & !A, result)
    }};
}

/// The count of a shift's flags ([`FlagKind::Shl`]).
#[inline(always)]
fn count_of<W: Width>(count: u64) -> u32 {
    count as u32 & if W::BITS == 64 { 63 } else { 31 }
}

/// The old group with the flags at `places` as in `word`.
#[inline(always)]
fn replaced(old: u64, places: u64, word: u64) -> u64 {
    old & ALL & !places | word & places | ONE
}

macro_rules! kinds {
    ($($name:ident |$w:ident, $a:ident, $b:ident, $c:ident, $old:ident| $body:expr;)*) => {$(
        enum $name {}
        impl Kind for $name {
            #[inline(always)]
            fn run<$w: Width>($a: u64, $b: u64, $c: u64, $old: u64) -> (u64, u64) { $body }
        }
    )*};
}
kinds! {
    Bits |W, a, _b, _c, _old| (flags::word(W::zext(a)), a);
    Add |W, a, b, _c, _old| host!(W: a, b = b; [] "add" a b []);
    AddCarry |W, a, b, c, _old| host!(W: a, b = b, c = c; ["bt {c:e}, 0"] "adc" a b []);
    Sub |W, a, b, _c, _old| host!(W: a, b = b; [] "sub" a b []);
    SubBorrow |W, a, b, c, _old| host!(W: a, b = b, c = c; ["bt {c:e}, 0"] "sbb" a b []);
    SubNotBorrow |W, a, b, _c, _old| host!(W: a, b = b; [] "sub" a b ["cmc"]);
    // A comparison with zero clears A too, where logic leaves it undefined.
    Logic |W, a, _b, _c, _old| host!(W: a; [] "cmp" a 0 []);
    And |W, a, b, _c, _old| host!(W: a & b; [] "cmp" a 0 []);
    Or |W, a, b, _c, _old| host!(W: a | b; [] "cmp" a 0 []);
    Xor |W, a, b, _c, _old| host!(W: a ^ b; [] "cmp" a 0 []);
    // The carry of the old group is put back first.
    Inc |W, a, _b, _c, old| host!(W: a, old = old; ["bt {old:e}, 8"] "inc" a []);
    Dec |W, a, _b, _c, old| host!(W: a, old = old; ["bt {old:e}, 8"] "dec" a []);
    Neg |W, a, _b, _c, _old| host!(W: a; [] "neg" a []);
    Mul |W, a, b, _c, _old| {
        let (of_result, _) = host!(W: a; [] "cmp" a 0 []);
        (of_result | if W::zext(b) != 0 { C | V } else { 0 }, a)
    };
    Shl |W, a, b, _c, old| match count_of::<W>(b) {
        0 => (old & 0xffff, a),
        n => shift!(W: "shl" a by n),
    };
    Shr |W, a, b, _c, old| match count_of::<W>(b) {
        0 => (old & 0xffff, a),
        n => shift!(W: "shr" a by n),
    };
    Sar |W, a, b, _c, old| match count_of::<W>(b) {
        0 => (old & 0xffff, a),
        n => shift!(W: "sar" a by n),
    };
    Carry |_W, a, _b, _c, old| (replaced(old, C, (a & 1) << 8), a);
    CarryOverflow |_W, a, b, _c, old| (replaced(old, C | V, (a & 1) << 8 | b & 1), a);
    Zero |W, a, _b, _c, old| (replaced(old, Z, if W::zext(a) == 0 { Z } else { 0 }), a);
}

/// Sets the flags at `aux`'s low half by operands `a`, `b` (or the constant) and `c` and the old group at its high half;
/// with `PUT`, the operation's result goes to `d`.
unsafe fn set<W: Width, K: Kind, const IMM: bool, const PUT: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
) -> Leave {
    // SAFETY: offsets come from predecoding (module comment of `interp`).
    unsafe {
        let b = if IMM { (*op).imm } else { *word(f, (*op).b) };
        let old = *word(f, ((*op).aux >> 16) as u16);
        let (flags, result) = K::run::<W>(*word(f, (*op).a), b, *word(f, (*op).c), old);
        *word(f, (*op).aux as u16) = flags;
        if PUT {
            put::<W>(f, op, result);
        }
        next!(f, op)
    }
}

/// Handlers for a kind: second operand in a slot, or constant.
type Pair = (Handler, Handler);

fn flags_alone<K: Kind>(ty: Type) -> Pair {
    match ty {
        Type::I8 => (set::<W8, K, false, false>, set::<W8, K, true, false>),
        Type::I16 => (set::<W16, K, false, false>, set::<W16, K, true, false>),
        Type::I32 => (set::<W32, K, false, false>, set::<W32, K, true, false>),
        _ => (set::<W64, K, false, false>, set::<W64, K, true, false>),
    }
}

/// Handlers of `setflags`.
pub(crate) fn set_handlers(kind: FlagKind, ty: Type) -> Pair {
    match kind {
        FlagKind::Bits => flags_alone::<Bits>(ty),
        FlagKind::Add => flags_alone::<Add>(ty),
        FlagKind::AddCarry => flags_alone::<AddCarry>(ty),
        FlagKind::Sub => flags_alone::<Sub>(ty),
        FlagKind::SubBorrow => flags_alone::<SubBorrow>(ty),
        FlagKind::Logic => flags_alone::<Logic>(ty),
        FlagKind::Inc => flags_alone::<Inc>(ty),
        FlagKind::Dec => flags_alone::<Dec>(ty),
        FlagKind::Shl => flags_alone::<Shl>(ty),
        FlagKind::Shr => flags_alone::<Shr>(ty),
        FlagKind::Sar => flags_alone::<Sar>(ty),
        FlagKind::Neg => flags_alone::<Neg>(ty),
        FlagKind::Mul => flags_alone::<Mul>(ty),
        FlagKind::SubNotBorrow => flags_alone::<SubNotBorrow>(ty),
        FlagKind::Carry => flags_alone::<Carry>(ty),
        FlagKind::CarryOverflow => flags_alone::<CarryOverflow>(ty),
        FlagKind::Zero => flags_alone::<Zero>(ty),
    }
}

fn with_result<K: Kind>(ty: Type, ext: Ext) -> Pair {
    (
        by_width!(set, [K, false, true], ty, ext),
        by_width!(set, [K, true, true], ty, ext),
    )
}

/// Handlers of `setflags` of this kind together with the operation that it is about.
pub(crate) fn set_with_result(kind: FlagKind, ty: Type, ext: Ext) -> Option<Pair> {
    Some(match kind {
        FlagKind::Add => with_result::<Add>(ty, ext),
        FlagKind::AddCarry => with_result::<AddCarry>(ty, ext),
        FlagKind::Sub => with_result::<Sub>(ty, ext),
        FlagKind::SubBorrow => with_result::<SubBorrow>(ty, ext),
        FlagKind::Inc => with_result::<Inc>(ty, ext),
        FlagKind::Dec => with_result::<Dec>(ty, ext),
        FlagKind::Neg => with_result::<Neg>(ty, ext),
        FlagKind::Shl => with_result::<Shl>(ty, ext),
        FlagKind::Shr => with_result::<Shr>(ty, ext),
        FlagKind::Sar => with_result::<Sar>(ty, ext),
        FlagKind::Bits
        | FlagKind::Logic
        | FlagKind::Mul
        | FlagKind::SubNotBorrow
        | FlagKind::Carry
        | FlagKind::CarryOverflow
        | FlagKind::Zero => return None,
    })
}

/// The same of logic, whose result the flags are about.
pub(crate) fn logic_with_result(op: family::Binary, ty: Type, ext: Ext) -> Option<Pair> {
    match op {
        family::Binary::And => Some(with_result::<And>(ty, ext)),
        family::Binary::Or => Some(with_result::<Or>(ty, ext)),
        family::Binary::Xor => Some(with_result::<Xor>(ty, ext)),
        _ => None,
    }
}

/// A condition on a group's word.
pub(crate) trait FlagTest {
    fn holds(word: u64) -> bool;
}

macro_rules! conditions {
    ($($name:ident |$word:ident| $body:expr;)*) => {
        $(enum $name {}
        impl FlagTest for $name {
            #[inline(always)]
            fn holds($word: u64) -> bool { $body }
        })*

        /// Handler of `getflag` into 64 bits, or the low byte alone where the rest is kept.
        pub(crate) fn get_handler(cond: FlagCond, ty: Type, ext: Ext) -> Handler {
            match cond { $(FlagCond::$name => get_of::<$name>(ty, ext),)* }
        }

        /// Handler of `select` by a condition on flags.
        pub(crate) fn select_handler(cond: FlagCond, ty: Type, ext: Ext) -> Handler {
            match cond { $(FlagCond::$name => by_width!(select, $name, ty, ext),)* }
        }

        /// Handler of `exit_if` by a condition on flags.
        pub(crate) fn exit_handler(cond: FlagCond, far: bool) -> Handler {
            match cond {
                $(FlagCond::$name if far => exit_if::<$name, true>,
                FlagCond::$name => exit_if::<$name, false>,)*
            }
        }

        /// Handler of a branch by a condition on flags.
        pub(crate) fn branch_handler(cond: FlagCond, far_taken: bool, far_not: bool) -> Handler {
            match cond { $(FlagCond::$name => branch_of::<$name>(far_taken, far_not),)* }
        }
    };
}
conditions! {
    Z |w| w & Z != 0;
    NotZ |w| w & Z == 0;
    C |w| w & C != 0;
    NotC |w| w & C == 0;
    N |w| w & N != 0;
    NotN |w| w & N == 0;
    V |w| w & V != 0;
    NotV |w| w & V == 0;
    P |w| w & P != 0;
    NotP |w| w & P == 0;
    COrZ |w| w & (C | Z) != 0;
    NotCNotZ |w| w & (C | Z) == 0;
    CNotZ |w| w & (C | Z) == C;
    NotCOrZ |w| w & (C | Z) != C;
    Lt |w| less(w);
    Ge |w| !less(w);
    Le |w| less(w) || w & Z != 0;
    Gt |w| !less(w) && w & Z == 0;
}

/// N differs from V.
#[inline(always)]
fn less(word: u64) -> bool {
    (word >> N.trailing_zeros() ^ word) & 1 != 0
}

/// The condition on the group at `a`.
unsafe fn get<W: Width, T: FlagTest>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `set`.
    unsafe {
        put::<W>(f, op, u64::from(T::holds(*word(f, (*op).a))));
        next!(f, op)
    }
}

fn get_of<T: FlagTest>(ty: Type, ext: Ext) -> Handler {
    match (ext, ty) {
        (Ext::Keep, Type::I8) => get::<W8K, T>,
        (Ext::Keep, Type::I16) => get::<W16K, T>,
        (Ext::Keep, Type::I32) => get::<W32K, T>,
        // Zero and one are the same in all widths and with either extension.
        _ => get::<W64, T>,
    }
}

/// All flags of the group at `a`.
unsafe fn all<W: Width>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `set`.
    unsafe {
        put::<W>(f, op, flags::bits(*word(f, (*op).a)));
        next!(f, op)
    }
}

/// Handler of `flagbits`.
pub(crate) fn all_handler(ty: Type, ext: Ext) -> Handler {
    match (ty, ext) {
        (Type::I8, Ext::Sign) => all::<W8S>,
        (Type::I8, Ext::Keep) => all::<W8K>,
        (Type::I8, _) => all::<W8>,
        (Type::I16, Ext::Keep) => all::<W16K>,
        (Type::I32, Ext::Keep) => all::<W32K>,
        _ => all::<W64>,
    }
}

/// The condition on the group at `a` to the slot at `aux`, and slot `b` to slot `d` when it holds, else slot `c`.
unsafe fn select<W: Width, T: FlagTest>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `set`.
    unsafe {
        let holds = T::holds(*word(f, (*op).a));
        let (x, y) = (*word(f, (*op).b), *word(f, (*op).c));
        *word(f, (*op).aux as u16) = holds.into();
        put::<W>(f, op, std::hint::select_unpredictable(holds, x, y));
        next!(f, op)
    }
}

/// The condition on the group at `a` to slot `d`; leaves the block unless that is `aux`.
unsafe fn exit_if<T: FlagTest, const FAR: bool>(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: as in `set`, and predecoding puts link cells behind the operation.
    unsafe {
        let holds = T::holds(*word(f, (*op).a));
        *word(f, (*op).d) = holds.into();
        exits::<FAR>(f, op, i32::from(holds) != (*op).aux)
    }
}

/// Branches by the condition on the group at `a`.
unsafe fn branch<T: FlagTest, const FAR_TAKEN: bool, const FAR_NOT: bool>(
    f: *mut FrameHead,
    op: *const MicroOp,
) -> Leave {
    // SAFETY: as in `set`, and predecoding puts both cells behind the operation.
    unsafe { sides::<FAR_TAKEN, FAR_NOT>(f, op, T::holds(*word(f, (*op).a))) }
}

fn branch_of<T: FlagTest>(far_taken: bool, far_not: bool) -> Handler {
    match (far_taken, far_not) {
        (false, false) => branch::<T, false, false>,
        (false, true) => branch::<T, false, true>,
        (true, false) => branch::<T, true, false>,
        (true, true) => branch::<T, true, true>,
    }
}
