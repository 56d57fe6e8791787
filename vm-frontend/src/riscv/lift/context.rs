//! What is known while a block is lifted, and access to the registers.

use vm_ir::{Block, BlockBuilder, BlockKey, Ext, Mode, Op as Ir, Operand, Slot, Type};

use crate::riscv::isa::{Extension, IsaConfig};
use crate::riscv::state::{F, X};
use crate::riscv::sys::HELPER_FS_DIRTY;
use crate::riscv::sys::mode::{self, FpState};

/// What an integer register holds, where the block itself says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// This number.
    Constant(i64),
    /// The virtual base of the block's page plus this.
    PageRelative(i64),
}

/// The block under construction.
pub(super) struct Context {
    pub(super) b: BlockBuilder,
    pub(super) mode: Mode,
    /// Instructions stand at even addresses (compressed instructions), else at multiples of four.
    pub(super) compressed: bool,
    /// Offset of the instruction from the base of the page.
    offset: u16,
    len: u8,
    /// The instruction as fetched.
    pub(super) bits: u32,
    known: [Known; 32],
    /// Where the single-precision value of each floating-point register is: in the register itself when the block has
    /// put it there boxed, in a temporary when it has been unboxed before.
    single: [Option<Slot>; 32],
    fs_dirty: bool,
    /// Branches that the block may still go on behind.
    branches_left: u8,
}

/// Branches that a block goes on behind at most: what follows them is translated again where they lead.
const MOST_BRANCHES: u8 = 4;

impl Context {
    pub(super) fn new(key: BlockKey, config: &IsaConfig, spare: Block) -> Self {
        let mut known = [Known::Nothing; 32];
        known[0] = Known::Constant(0);
        Self {
            b: BlockBuilder::reusing(key, spare),
            mode: key.mode,
            compressed: config.has(Extension::Zca),
            offset: 0,
            len: 0,
            bits: 0,
            known,
            single: [None; 32],
            fs_dirty: mode::fp(key.mode) == FpState::Dirty,
            branches_left: MOST_BRANCHES,
        }
    }

    /// Whether the block goes on behind one more branch.
    pub(super) fn extend(&mut self) -> bool {
        let more = self.branches_left > 0;
        self.branches_left = self.branches_left.saturating_sub(1);
        more
    }

    /// Begins an instruction.
    pub(super) fn start(&mut self, offset: u16, len: u8, bits: u32) {
        self.b.insn(offset, len);
        (self.offset, self.len, self.bits) = (offset, len, bits);
    }

    /// Offset of the instruction from the virtual base of the page.
    pub(super) fn here(&self) -> i64 {
        self.offset.into()
    }

    /// Offset of the instruction after it.
    pub(super) fn next(&self) -> i64 {
        self.here() + i64::from(self.len)
    }

    /// The bits of an address that instructions may begin at.
    pub(super) fn instruction_mask(&self) -> i64 {
        if self.compressed { -2 } else { -4 }
    }

    /// The instruction as fetched, for a helper that may find it illegal.
    pub(super) fn bits_operand(&self) -> Operand {
        Operand::Imm(self.bits.into())
    }

    /// An integer register as an operand.
    pub(super) fn x(&self, number: u8) -> Operand {
        match number {
            0 => Operand::Imm(0),
            _ => Operand::Slot(Slot::state(X + u16::from(number))),
        }
    }

    /// An integer register as a destination; `None` for `x0`.
    pub(super) fn x_dst(&mut self, number: u8) -> Option<Slot> {
        if number == 0 {
            return None;
        }
        self.known[usize::from(number)] = Known::Nothing;
        Some(Slot::state(X + u16::from(number)))
    }

    /// What an integer register holds.
    pub(super) fn known(&self, number: u8) -> Known {
        self.known[usize::from(number)]
    }

    /// Puts a value that does not depend on registers into an integer register.
    pub(super) fn set_known(&mut self, number: u8, value: Known) {
        let Some(dst) = self.x_dst(number) else {
            return;
        };
        match value {
            Known::Constant(value) => self.b.mov(dst, value),
            Known::PageRelative(offset) => self.b.pc_rel(dst, offset),
            Known::Nothing => return,
        }
        self.known[usize::from(number)] = value;
    }

    /// A floating-point register.
    pub(super) fn f(&self, number: u8) -> Slot {
        Slot::state(F + u16::from(number))
    }

    /// A floating-point register as an operand of format `ty`: a narrow value that is not NaN-boxed reads as the
    /// canonical NaN (RISC-V Unpriv 20240411, chapter "D", "NaN Boxing of Narrower Values").
    pub(super) fn f_src(&mut self, ty: Type, number: u8) -> Operand {
        let register = self.f(number);
        let value = match (ty, self.single[usize::from(number)]) {
            (Type::F64, _) => register,
            (Type::F32, Some(value)) => value,
            _ => {
                // No slot has the type f16.
                let temp = self.b.temp(if ty == Type::F32 {
                    Type::F32
                } else {
                    Type::F64
                });
                self.b
                    .op(Ir::FpUnbox, ty, Ext::Zero, temp, [register.into()]);
                if ty == Type::F32 {
                    self.single[usize::from(number)] = Some(temp);
                }
                temp
            }
        };
        value.into()
    }

    /// A floating-point register as the destination of a value of format `ty`, and how the value fills it.
    pub(super) fn f_dst(&mut self, ty: Type, number: u8) -> (Slot, Ext) {
        let register = self.f(number);
        self.single[usize::from(number)] = (ty == Type::F32).then_some(register);
        (
            register,
            if ty == Type::F64 {
                Ext::Zero
            } else {
                Ext::Ones
            },
        )
    }

    /// Whether floating point is on.
    pub(super) fn fp_is_on(&self) -> bool {
        mode::fp(self.mode) != FpState::Off
    }

    /// Called by each instruction that writes floating-point state, once nothing in it can fault any more.
    pub(super) fn fp_written(&mut self) {
        if !self.fs_dirty {
            self.fs_dirty = true;
            self.b.call(HELPER_FS_DIRTY, None, []);
        }
    }
}
