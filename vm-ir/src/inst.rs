//! One operation of a block.

use crate::attr::Attr;
use crate::op::Op;
use crate::slot::{Slot, Type};

/// How a result narrower than its slot fills the rest of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Ext {
    /// With zeros.
    #[default]
    Zero,
    /// With the result's sign.
    Sign,
    /// With ones (NaN boxing, RISC-V F 13.2).
    Ones,
    /// Not at all: the slot's other bits stay (low lanes of vectors, x86 scalar SSE).
    Keep,
}

/// What an operation reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Operand {
    /// Nothing.
    #[default]
    None,
    /// A slot; an operation narrower than the slot reads its low bits.
    Slot(Slot),
    /// A constant, truncated to the operation's type.
    Imm(i64),
}

impl Operand {
    /// The slot, if it is one.
    pub const fn slot(self) -> Option<Slot> {
        match self {
            Self::Slot(slot) => Some(slot),
            _ => None,
        }
    }

    /// The constant, if it is one.
    pub const fn imm(self) -> Option<i64> {
        match self {
            Self::Imm(value) => Some(value),
            _ => None,
        }
    }
}

impl From<Slot> for Operand {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

impl From<i64> for Operand {
    fn from(value: i64) -> Self {
        Self::Imm(value)
    }
}

/// One operation.
///
/// Its type `ty` is the type it works in. Integer operands are read from slots at least as wide; the result is
/// computed in `ty` and then fills the destination slot as `ext` says. So RISC-V `addw` is one operation,
/// `add.i32.s`, and an x86 or Arm 32-bit addition is `add.i32`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// Type it works in.
    pub ty: Type,
    /// How the result fills a wider slot.
    pub ext: Ext,
    /// Where the result goes; operations with a result may drop it.
    pub dst: Option<Slot>,
    /// Operands, as many as the table says; the rest is [`Operand::None`].
    pub args: [Operand; 4],
    /// What the table says it carries.
    pub attr: Attr,
}

impl Inst {
    /// The marker of a guest instruction at `offset` bytes from the start of its page, or, when `len` is zero, of
    /// a restart point inside the instruction at that offset.
    pub const fn marker(offset: u16, len: u8) -> Self {
        Self {
            op: Op::Insn,
            ty: Type::I64,
            ext: Ext::Zero,
            dst: None,
            args: [Operand::None; 4],
            attr: Attr::Insn { offset, len },
        }
    }

    /// The slots it reads: operands, and the destination when it keeps part of it.
    pub fn reads(&self) -> impl Iterator<Item = Slot> + '_ {
        let kept = self.dst.filter(|_| self.ext == Ext::Keep);
        self.args.iter().filter_map(|arg| arg.slot()).chain(kept)
    }
}
