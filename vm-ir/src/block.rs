//! Blocks and how they end.

use vm_core::{GuestPhysAddr, PAGE_BYTES};

use crate::attr::{Attr, Cond};
use crate::inst::{Inst, Operand};
use crate::slot::Type;

/// Whatever, besides the bytes, changes what guest code means: privilege, address size, floating-point
/// availability. Its bits belong to the front end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mode(pub u32);

/// What identifies translated code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockKey {
    /// Physical address of the first instruction.
    pub phys_pc: GuestPhysAddr,
    /// Mode it was decoded in.
    pub mode: Mode,
}

/// Number of a guest exception; its meaning belongs to the front end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExceptionCode(pub u32);

/// What a jump is to the guest program, for return prediction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JumpKind {
    /// A plain jump.
    Plain,
    /// A call; the guest is expected to come back to page base + the offset.
    Call {
        /// Offset of the return address from the page base.
        return_offset: i64,
    },
    /// A return from a call.
    Return,
}

/// Whether a place that is `offset` bytes from the base of a block's page is on another page.
pub const fn leaves_page(offset: i64) -> bool {
    offset < 0 || offset >= PAGE_BYTES as i64
}

/// How a block ends. Offsets are bytes from the virtual base of the block's page, so they may be negative or
/// beyond the page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Terminator {
    /// Goes on at one place.
    Jump {
        /// Target offset.
        offset: i64,
        /// What kind of jump.
        kind: JumpKind,
    },
    /// Goes on at one of two places.
    Branch {
        /// Comparison.
        cond: Cond,
        /// Type it compares in.
        ty: Type,
        /// First operand.
        a: Operand,
        /// Second operand.
        b: Operand,
        /// Where to when it holds.
        taken: i64,
        /// Where to when it does not.
        fallthrough: i64,
    },
    /// Goes on where an operand says.
    Indirect {
        /// Virtual address.
        target: Operand,
        /// What kind of jump.
        kind: JumpKind,
    },
    /// Raises an exception at the last guest instruction (which counts as not executed).
    Exception {
        /// Which.
        code: ExceptionCode,
        /// Its value (faulting address, instruction bits).
        value: Operand,
    },
    /// System state has changed (privilege, translation, interrupts enabled): goes on at page base + offset,
    /// but only by way of the run loop, which looks at everything anew.
    Exit {
        /// Target offset.
        offset: i64,
    },
    /// The last helper has set the program counter and perhaps the mode (return from a trap): the run loop
    /// goes on from the state's program counter.
    Dispatch,
}

/// Translated guest code of one physical page (or one instruction that straddles two).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// What it was made from.
    pub key: BlockKey,
    /// Operations in order.
    pub insts: Vec<Inst>,
    /// Types of the temporaries by number.
    pub temps: Vec<Type>,
    /// How it ends.
    pub terminator: Terminator,
    /// Guest instructions in it.
    pub guest_insns: u32,
    /// Guest bytes in it.
    pub guest_bytes: u32,
    /// The other physical page, for the one instruction that straddles two.
    pub second_page: Option<GuestPhysAddr>,
}

impl Default for Block {
    /// A block of nothing, for its storage.
    fn default() -> Self {
        Self {
            key: BlockKey {
                phys_pc: GuestPhysAddr(0),
                mode: Mode(0),
            },
            insts: Vec::new(),
            temps: Vec::new(),
            terminator: Terminator::Dispatch,
            guest_insns: 0,
            guest_bytes: 0,
            second_page: None,
        }
    }
}

impl Block {
    /// Guest instructions and bytes as the markers count them; restart points do not count.
    pub fn marked(&self) -> (u32, u32) {
        self.insts
            .iter()
            .fold((0, 0), |(insns, bytes), inst| match inst.attr {
                Attr::Insn { len, .. } if len != 0 => (insns + 1, bytes + u32::from(len)),
                _ => (insns, bytes),
            })
    }
}

impl Terminator {
    /// What it reads.
    pub fn operands(&self) -> [Operand; 2] {
        match *self {
            Self::Branch { a, b, .. } => [a, b],
            Self::Indirect { target: only, .. } | Self::Exception { value: only, .. } => {
                [only, Operand::None]
            }
            Self::Jump { .. } | Self::Exit { .. } | Self::Dispatch => [Operand::None; 2],
        }
    }
}
