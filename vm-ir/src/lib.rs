//! The shared intermediate representation (IR) of guest code.
//!
//! What it is: linear three-address code over typed slots, in blocks. One table ([`Op`]) lists every operation
//! by family; names, operand classes, attributes and effects derive from it. Decoders build blocks with
//! [`BlockBuilder`]; the interpreter runs them, translators compile them.
//!
//! What it refuses to do: name a guest or a host in a neutral operation, be in SSA form, or hold anything
//! virtual: a block is shared by every virtual address its physical page is seen at.
//!
//! Data flow: guest bytes -> decoder -> [`BlockBuilder`] -> [`Block`] -> passes -> micro-ops or host code.
//!
//! `docs/ir.md` explains the representation with worked examples.

#[cfg(test)]
mod arbitrary;
mod attr;
mod block;
mod builder;
pub mod eval;
mod inst;
mod op;
pub mod passes;
mod slot;
pub mod text;
mod verify;

pub use attr::{
    Attr, Cond, Endian, FenceSet, FlagCond, FlagKind, FpToIntRule, HelperId, MemAttr, MemOrder,
    MinMaxRule, Rounding, VectorId,
};
pub use block::{Block, BlockKey, ExceptionCode, JumpKind, Mode, Terminator, leaves_page};
pub use builder::BlockBuilder;
pub use inst::{Ext, Inst, Operand};
pub use op::{AttrClass, Class, Effects, Family, Op, OpInfo, family};
pub use slot::{HelperDecl, Slot, SlotDecl, StateLayout, Type, Vector, VectorDecl, VectorFunction};
pub use verify::{VerifyError, Violation, verify};
