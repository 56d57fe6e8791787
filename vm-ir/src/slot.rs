//! Types, slots and the table that lays guest state out.

use std::fmt;

use crate::eval::FpControl;
use crate::op::Effects;

/// Type of a slot, or the type an operation works in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Type {
    /// 8-bit integer.
    I8,
    /// 16-bit integer.
    I16,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 128-bit integer (16-byte atomics, exclusive pairs).
    I128,
    /// IEEE binary16; an operation's type only, never a slot's.
    F16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64; also a RISC-V floating-point register, whose narrower values are NaN-boxed.
    F64,
    /// 128-bit vector.
    V128,
    /// A flag group: carry, overflow, zero, sign, parity and half carry in one word (encoding: [`crate::eval::flags`]).
    Flags,
}

impl Type {
    /// Every type, in order.
    pub const ALL: [Self; 10] = [
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::I128,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::V128,
        Self::Flags,
    ];

    /// The name used in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::Flags => "flags",
        }
    }

    /// Bits of a value of this type.
    pub const fn bits(self) -> u32 {
        match self {
            Self::I8 => 8,
            Self::I16 | Self::F16 | Self::Flags => 16,
            Self::I32 | Self::F32 => 32,
            Self::I64 | Self::F64 => 64,
            Self::I128 | Self::V128 => 128,
        }
    }

    /// Bytes that a slot of this type takes in the state. Every slot is a multiple of eight bytes, so that an
    /// interpreter may read and write whole 64-bit words.
    pub const fn slot_bytes(self) -> u32 {
        match self {
            Self::I128 | Self::V128 => 16,
            _ => 8,
        }
    }

    /// Whether it is one of the integers up to 64 bits.
    pub const fn is_int(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// Whether it is a floating-point format.
    pub const fn is_fp(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place that operations read and write: a guest-state slot of the ISA's [`StateLayout`], or a temporary of
/// one block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    const TEMP: u16 = 0x8000;

    /// The guest-state slot with this number in the layout.
    pub const fn state(index: u16) -> Self {
        Self(index)
    }

    /// The block's temporary with this number.
    pub const fn temp(index: u16) -> Self {
        Self(index | Self::TEMP)
    }

    /// Whether it is a temporary.
    pub const fn is_temp(self) -> bool {
        self.0 & Self::TEMP != 0
    }

    /// Its number among the state slots or among the temporaries.
    pub const fn index(self) -> usize {
        (self.0 & !Self::TEMP) as usize
    }
}

/// One guest-state slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotDecl {
    /// Name in the text form.
    pub name: &'static str,
    /// Type.
    pub ty: Type,
    /// Bytes from the start of the state; a multiple of eight.
    pub offset: u32,
    /// Rank for a host register: 0 is the first to get one, 255 never gets one.
    pub pin_rank: u8,
}

/// A runtime routine that blocks may call.
#[derive(Clone, Copy, Debug)]
pub struct HelperDecl {
    /// Name in the text form and in statistics.
    pub name: &'static str,
    /// What it does besides computing a result.
    pub effects: Effects,
}

/// A 128-bit vector, low half first.
pub type Vector = [u64; 2];

/// What a vector operation of the guest's own computes: the result from up to three vectors, of which those not given are
/// zero, and a constant.
#[derive(Clone, Copy, Debug)]
pub enum VectorFunction {
    /// From its operands alone.
    Plain(fn(out: &mut Vector, a: &Vector, b: &Vector, c: &Vector, imm: u8)),
    /// By the rules of floating point in force, accruing exceptions.
    Float(fn(fp: &mut FpControl, out: &mut Vector, a: &Vector, b: &Vector, c: &Vector, imm: u8)),
}

impl VectorFunction {
    /// Computes the result.
    pub fn run(self, fp: &mut FpControl, [a, b, c]: [&Vector; 3], imm: u8) -> Vector {
        let mut out = [0; 2];
        match self {
            Self::Plain(function) => function(&mut out, a, b, c, imm),
            Self::Float(function) => function(fp, &mut out, a, b, c, imm),
        }
        out
    }
}

/// A vector operation of the guest's own, for `v_call`.
#[derive(Clone, Copy, Debug)]
pub struct VectorDecl {
    /// Name in the text form and in statistics.
    pub name: &'static str,
    /// What it computes. One that may raise floating-point exceptions is [`VectorFunction::Float`].
    pub function: VectorFunction,
    /// How the guest's instruction set encodes it, for translators to hosts of the same instruction set; zero: not given.
    /// The front end says what the bits are.
    pub encoding: u32,
}

impl VectorDecl {
    /// What it does besides computing a result.
    pub const fn effects(&self) -> Effects {
        match self.function {
            VectorFunction::Plain(_) => Effects::NONE,
            VectorFunction::Float(_) => Effects::ACCRUES,
        }
    }
}

/// How one guest ISA's state is laid out: the one declaration that decoder, interpreter, translators, debugger
/// and checker share. Slots never overlap.
#[derive(Debug)]
pub struct StateLayout {
    /// Name of the ISA, for messages.
    pub isa: &'static str,
    /// Slots by number.
    pub slots: &'static [SlotDecl],
    /// Bytes of the state.
    pub bytes: u32,
    /// Helpers by number.
    pub helpers: &'static [HelperDecl],
    /// Vector operations of its own by number.
    pub vectors: &'static [VectorDecl],
}

impl StateLayout {
    /// The state slot of this name.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.slots
            .iter()
            .position(|s| s.name == name)
            .map(|i| Slot::state(i as u16))
    }
}
