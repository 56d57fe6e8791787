//! Single bits, carry-less products and the like.

use vm_ir::{Inst, Operand, Slot};

use super::block::Emitter;
use crate::asm::{Alu, BitTest, Cc, Mem, Reg, Shift, Width, Xmm};

/// Which 64 bits of a carry-less product are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The low ones.
    Low,
    /// The high ones.
    High,
    /// Bits 126 to 63.
    Reversed,
}

impl Emitter<'_> {
    pub(crate) fn bit(&mut self, inst: &Inst, dst: Slot, width: Width) {
        let [x, y, ..] = inst.args;
        let from = self.in_reg(x, Reg::Rax);
        self.bit_test(BitTest::Test, width, from, y);
        self.asm.setcc(Cc::B, Reg::Rax);
        self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
        self.put(dst, Reg::Rax);
    }

    pub(crate) fn change_bit(&mut self, op: BitTest, inst: &Inst, dst: Slot, width: Width) {
        let [x, y, ..] = inst.args;
        let target = self.target(dst, &[y]);
        self.load(x, target);
        self.bit_test(op, width, target, y);
        self.put_filled(inst, dst, target);
    }

    /// The host takes numbers modulo the width, too.
    fn bit_test(&mut self, op: BitTest, width: Width, of: Reg, number: Operand) {
        match number {
            Operand::Slot(_) => {
                let number = self.in_reg(number, Reg::Rcx);
                self.asm.bit_test(op, width, of, number);
            }
            constant => {
                let mask = if width == Width::Q { 63 } else { 31 };
                let number = (constant.imm().unwrap_or(0) & mask) as u8;
                self.asm.bit_test_imm(op, width, of, number);
            }
        }
    }

    /// The unsigned product, less the second times 2^64 where the first is negative.
    pub(crate) fn product_of_signed_and_unsigned(&mut self, inst: &Inst, dst: Slot) {
        let [x, y, ..] = inst.args;
        let y = self.in_reg(y, Reg::Rcx);
        self.load(x, Reg::Rax);
        self.asm.mul(Width::Q, y);
        self.load(x, Reg::Rax);
        self.asm.shift_imm(Shift::Sar, Width::Q, Reg::Rax, 63);
        self.asm.alu(Alu::And, Width::Q, Reg::Rax, y);
        self.asm.alu(Alu::Sub, Width::Q, Reg::Rdx, Reg::Rax);
        self.put(dst, Reg::Rdx);
    }

    pub(crate) fn or_combine(&mut self, x: Operand, dst: Slot) {
        self.load(x, Reg::Rax);
        self.asm.mov_imm(Reg::Rcx, 0x7f7f_7f7f_7f7f_7f7f);
        // A byte's top bit: whether any bit of it is set.
        self.asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
        self.asm.alu(Alu::And, Width::Q, Reg::Rdx, Reg::Rcx);
        self.asm.alu(Alu::Add, Width::Q, Reg::Rdx, Reg::Rcx);
        self.asm.alu(Alu::Or, Width::Q, Reg::Rdx, Reg::Rax);
        self.asm.not(Width::Q, Reg::Rcx);
        self.asm.alu(Alu::And, Width::Q, Reg::Rdx, Reg::Rcx);
        // 0x100 - 1 for every such byte.
        self.asm.mov(Width::Q, Reg::Rax, Reg::Rdx);
        self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rax, 7);
        self.asm.alu(Alu::Add, Width::Q, Reg::Rdx, Reg::Rdx);
        self.asm.alu(Alu::Sub, Width::Q, Reg::Rdx, Reg::Rax);
        self.put(dst, Reg::Rdx);
    }

    /// Exchanges single bits, then pairs, then halves of all bytes.
    pub(crate) fn reverse_bits(&mut self, x: Operand, dst: Slot) {
        self.load(x, Reg::Rax);
        for (distance, low) in [
            (1, 0x5555_5555_5555_5555),
            (2, 0x3333_3333_3333_3333),
            (4, 0x0f0f_0f0f_0f0f_0f0f),
        ] {
            self.asm.mov_imm(Reg::Rcx, low);
            self.asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
            self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rdx, distance);
            self.asm.alu(Alu::And, Width::Q, Reg::Rdx, Reg::Rcx);
            self.asm.alu(Alu::And, Width::Q, Reg::Rax, Reg::Rcx);
            self.asm.shift_imm(Shift::Shl, Width::Q, Reg::Rax, distance);
            self.asm.alu(Alu::Or, Width::Q, Reg::Rax, Reg::Rdx);
        }
        self.put(dst, Reg::Rax);
    }

    pub(crate) fn carryless(&mut self, inst: &Inst, dst: Slot, part: Part) {
        let (a, b) = (Xmm(0), Xmm(1));
        let [x, y, ..] = inst.args;
        let x = self.in_reg(x, Reg::Rax);
        self.asm.mov_to_xmm(Width::Q, a, x);
        let y = self.in_reg(y, Reg::Rax);
        self.asm.mov_to_xmm(Width::Q, b, y);
        self.asm.pclmulqdq(a, b, 0);
        if part != Part::High {
            self.asm.mov_from_xmm(Width::Q, Reg::Rax, a);
        }
        if part != Part::Low {
            self.asm.movhlps(a, a);
            self.asm.mov_from_xmm(Width::Q, Reg::Rdx, a);
        }
        match part {
            Part::Low => self.put(dst, Reg::Rax),
            Part::High => self.put(dst, Reg::Rdx),
            Part::Reversed => {
                self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rax, 63);
                let sum = Mem::indexed(Reg::Rax, Reg::Rdx, 1, 0);
                self.asm.lea(Width::Q, Reg::Rax, sum);
                self.put(dst, Reg::Rax);
            }
        }
    }
}
