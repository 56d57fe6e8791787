//! Vector operations: one table for their mnemonics, how operands reach them, the encoding, and what they compute.
//!
//! A row computes 128 bits. Instructions on 256 bits run it for each half, as their [`Shape`] says.
//!
//! | operations | file |
//! |---|---|
//! | integers, lane by lane | `integer` |
//! | lanes moved about | `shuffle` |
//! | shifts | `shift` |
//! | floating point | `float` |
//! | lanes of floating point chosen: minimum, comparison, blend | `select` |
//! | conversions | `convert` |
//! | fused multiply-add | `fused` |
//! | strings | `string` |
//! | AES, SHA, carry-less products | `crypto` |

mod convert;
mod crypto;
mod float;
mod fused;
mod integer;
mod lane;
mod select;
mod shift;
mod shuffle;
mod string;

use iced_x86::Mnemonic;
use vm_ir::{Effects, VectorDecl, VectorFunction, VectorId};

pub(super) use lane::Lane;

/// How operands reach a row, and where its result goes. `x` is the first source: of legacy encodings the destination too.
/// Rows get the immediate, if there is one, unless it says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// `row(x, y)`, each half by itself.
    Binary,
    /// `row(y)`, each half by itself.
    Unary,
    /// `row(x, y)`; of the constant, so many bits are the low half's and those behind them the high half's.
    BinaryHalves(u8),
    /// As [`Shape::Binary`], or by a constant: then the next row, of which each half has so many bits.
    BinaryOrImm(u8),
    /// As [`Shape::Binary`]; of the constant, legacy encodings have three bits and VEX five.
    Compare,
    /// As [`Shape::Scalar`], with a constant as [`Shape::Compare`] has it.
    CompareScalar,
    /// `row(x, y)` where `y` is the low half of a vector for both halves, or this and the next row: that one takes the
    /// count from the constant.
    Shift,
    /// `row(y)`: a constant as [`Shape::Shift`], always.
    ShiftImm,
    /// `row(x, y, mask)`: the mask is XMM0, or the fourth operand.
    Select,
    /// `row(x, y)`, of the low half only; the high half of the destination becomes zero, and what `row` gives is written
    /// whole. `y` in memory is as narrow as the instruction says.
    Scalar,
    /// `row(y)` gives the low half with constant 0 and the high half with constant 1.
    Widen,
    /// `row(low half, high half)` of `y`, the latter zero where there is none.
    Narrow,
    /// The low bits of `row(y)` to a general register, those of the high half above them.
    Mask,
    /// `row(x, y)` gives flags in the low word (`FlagKind::Bits`); of two halves those that both have.
    Flags,
    /// Fused multiply-add by the operand order 132, 213 or 231: `row(a, b, c)` is `a * b + c`, each half by itself.
    Fused(u8),
    /// By rules of its own: the row is found by its place.
    Special,
}

/// One vector operation.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The legacy instruction, or [`Mnemonic::INVALID`].
    pub(super) legacy: Mnemonic,
    /// The VEX-encoded one, or [`Mnemonic::INVALID`].
    pub(super) vex: Mnemonic,
    pub(super) shape: Shape,
    pub(super) declared: VectorDecl,
}

/// Encodings as [`VectorDecl::encoding`] holds them, for x86 hosts with AVX: the opcode in bits 0 to 7, VEX.pp in bits 8 and
/// 9, VEX.mmmmm in bits 10 to 12, VEX.W in bit 13; the feature in bits 16 to 19 ([`encoding::AVX`] and so on); the form in
/// bits 20 to 23; in bits 24 to 27 a number that some forms have.
pub mod encoding {
    /// Needs AVX only.
    pub const AVX: u32 = 0;
    /// Needs FMA.
    pub const FMA: u32 = 1;
    /// Needs AES.
    pub const AES: u32 = 2;
    /// Needs PCLMULQDQ.
    pub const PCLMUL: u32 = 3;
    /// Needs F16C.
    pub const F16C: u32 = 4;
    /// Needs AVX2, for 128 bits too.
    pub const AVX2: u32 = 5;

    /// Destination, VEX.vvvv `a`, r/m `b`.
    pub const BINARY: u32 = 1;
    /// Destination, r/m `a`.
    pub const UNARY: u32 = 2;
    /// As [`BINARY`], with the constant.
    pub const BINARY_IMM: u32 = 3;
    /// As [`UNARY`], with the constant.
    pub const UNARY_IMM: u32 = 4;
    /// Destination that is `c` before, VEX.vvvv `a`, r/m `b` (the order 231).
    pub const FUSED: u32 = 5;
    /// As [`BINARY`], with `c` in the constant's register.
    pub const SELECT: u32 = 6;

    /// Flags Z, P and C of a comparison or test of `a` (ModRM.reg) and `b` (r/m) to the low word.
    pub const FLAGS: u32 = 7;
    /// General register, r/m `a`, which is a register: the register's value to the low word.
    pub const MASK: u32 = 8;
    /// Destination VEX.vvvv, r/m `a`, which is a register, with the constant; the number is ModRM.reg.
    pub const SHIFT: u32 = 9;
    /// As [`UNARY`], of as many low bytes of `a` as the number says; with the constant 1, of the bytes that follow those.
    pub const WIDEN: u32 = 10;
    /// As [`UNARY`] of each of `a` and `b`, which give the low and the high half.
    pub const NARROW: u32 = 11;
    /// As [`BINARY_IMM`], where `b` must be in a register for all of the constant to count.
    pub const REGISTERS_IMM: u32 = 12;
    /// Destination, VEX.vvvv, r/m, with a constant of two bits: each quadword is one of four, of which `a` has two and `b`
    /// two, as two bits of the row's constant say. The constant chooses from the operands.
    pub const QUADWORDS: u32 = 13;
    /// Destination, VEX.vvvv `c`, r/m, on 256 bits, of which `a` and `b` are the halves; the result is the low half.
    pub const PERMUTE: u32 = 14;

    /// The word for prefix (0, 0x66, 0xf3, 0xf2), map (0x0f, 0x38, 0x3a) and opcode.
    pub const fn word(prefix: u8, map: u8, opcode: u8, form: u32) -> u32 {
        let pp = match prefix {
            0x66 => 1,
            0xf3 => 2,
            0xf2 => 3,
            _ => 0,
        };
        let map = match map {
            0x38 => 2,
            0x3a => 3,
            _ => 1,
        };
        opcode as u32 | pp << 8 | map << 10 | form << 20
    }

    /// The same with VEX.W set.
    pub const fn wide(word: u32) -> u32 {
        word | 1 << 13
    }

    /// The same with a number.
    pub const fn number(word: u32, number: u8) -> u32 {
        word | (number as u32) << 24
    }

    /// The same with a feature.
    pub const fn needs(word: u32, feature: u32) -> u32 {
        word | feature << 16
    }
}

/// Makes the rows of a table: legacy and VEX mnemonic, shape, encoding, function of `(a, b, c, constant)`, for `fp` rows
/// of the floating-point control before them.
macro_rules! rows {
    ($($legacy:ident $vex:ident $shape:expr, $encoding:expr, $kind:ident |$($p:pat_param),*| $body:expr;)*) => {
        pub(super) const ROWS: &[super::Row] = &[$(super::Row {
            legacy: iced_x86::Mnemonic::$legacy,
            vex: iced_x86::Mnemonic::$vex,
            shape: { use super::Shape::*; $shape },
            declared: vm_ir::VectorDecl {
                name: {
                    const NAMES: [&str; 2] = [stringify!($legacy), stringify!($vex)];
                    super::name(NAMES)
                },
                function: rows!(@function $kind |$($p),*| $body),
                encoding: $encoding,
            },
        },)*];
    };
    (@function plain |$a:pat_param, $b:pat_param, $c:pat_param, $imm:pat_param| $body:expr) => {
        vm_ir::VectorFunction::Plain(|out, $a, $b, $c, $imm| *out = $body)
    };
    (@function fp |$fp:pat_param, $a:pat_param, $b:pat_param, $c:pat_param, $imm:pat_param| $body:expr) => {
        vm_ir::VectorFunction::Float(|$fp, out, $a, $b, $c, $imm| *out = $body)
    };
}
use rows;

const fn name([legacy, vex]: [&'static str; 2]) -> &'static str {
    match legacy.as_bytes() {
        b"INVALID" => vex,
        _ => legacy,
    }
}

/// The tables one after the other.
const FAMILIES: [&[Row]; 9] = [
    integer::ROWS,
    shuffle::ROWS,
    shift::ROWS,
    float::ROWS,
    select::ROWS,
    convert::ROWS,
    fused::ROWS,
    string::ROWS,
    crypto::ROWS,
];

const COUNT: usize = {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

const NOTHING: Row = Row {
    legacy: Mnemonic::INVALID,
    vex: Mnemonic::INVALID,
    shape: Shape::Special,
    declared: VectorDecl {
        name: "",
        function: VectorFunction::Plain(|_, _, _, _, _| {}),
        encoding: 0,
    },
};

/// Every row, by number.
pub(super) static ROWS: [Row; COUNT] = all_rows();

const fn all_rows() -> [Row; COUNT] {
    let mut all = [NOTHING; COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            all[at] = FAMILIES[family][row];
            at += 1;
            row += 1;
        }
        family += 1;
    }
    all
}

/// Declarations of all rows, for the layout.
pub static DECLARATIONS: [VectorDecl; COUNT] = {
    let rows = all_rows();
    let mut all = [NOTHING.declared; COUNT];
    let mut n = 0;
    while n < COUNT {
        all[n] = rows[n].declared;
        n += 1;
    }
    all
};

/// The number of the row of this name; a constant of the lifter.
pub(super) const fn named(name: &str) -> VectorId {
    let rows = all_rows();
    let mut n = 0;
    while n < COUNT {
        if same(rows[n].declared.name.as_bytes(), name.as_bytes()) {
            return VectorId(n as u16);
        }
        n += 1;
    }
    panic!("no row has this name")
}

pub(super) const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

/// Mnemonics that have numbers below this.
pub(super) const MNEMONICS: usize = 2048;

/// One more than the number of the row of each mnemonic; zero: none.
pub(super) static BY_MNEMONIC: [u16; MNEMONICS] = {
    let rows = all_rows();
    let mut all = [0; MNEMONICS];
    let mut n = 0;
    while n < COUNT {
        let names = [rows[n].legacy as usize, rows[n].vex as usize];
        let mut which = 0;
        while which < 2 {
            if names[which] != 0 {
                assert!(all[names[which]] == 0, "a mnemonic has two rows");
                all[names[which]] = n as u16 + 1;
            }
            which += 1;
        }
        n += 1;
    }
    all
};

/// The row of an instruction, and its number.
pub(super) fn of(mnemonic: Mnemonic) -> Option<(VectorId, &'static Row)> {
    let number = BY_MNEMONIC.get(mnemonic as usize)?.checked_sub(1)?;
    Some((VectorId(number), &ROWS[usize::from(number)]))
}

/// Whether a row accrues floating-point exceptions.
pub(super) fn accrues(row: VectorId) -> bool {
    ROWS[usize::from(row.0)].declared.effects() == Effects::ACCRUES
}
