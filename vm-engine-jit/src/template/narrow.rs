//! Integer operations of 8 and 16 bits, operations that keep part of their destination, fields, and sums with carry.
//!
//! Operands come with anything above the width: the host's own narrow instructions do not look there. Results are filled
//! up by the last move.

use vm_ir::family::{Binary, Choose, Field, Ternary, Unary};
use vm_ir::{Attr, Ext, Family, Inst, Operand, Slot, Type};

use super::block::Emitter;
use super::flags::{any_width, short};
use crate::asm::{Alu, BitTest, Bits, Cc, Mem, Reg, Rm, Shift, Width};

/// Whether [`Emitter::narrow`] knows an operation of 8 or 16 bits.
pub(crate) fn has_binary(op: Binary) -> bool {
    match op {
        Binary::Add
        | Binary::Sub
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::AndNot
        | Binary::OrNot
        | Binary::Xnor
        | Binary::Shl
        | Binary::Shr
        | Binary::Sar
        | Binary::Rol
        | Binary::Ror
        | Binary::Mul
        | Binary::MulHS
        | Binary::MulHU
        | Binary::MinS
        | Binary::MinU
        | Binary::MaxS
        | Binary::MaxU
        | Binary::BitSet
        | Binary::BitClear
        | Binary::BitInvert
        | Binary::BitExtract => true,
        Binary::MulHSU
        | Binary::DivS
        | Binary::DivU
        | Binary::RemS
        | Binary::RemU
        | Binary::ClMul
        | Binary::ClMulH
        | Binary::ClMulR
        | Binary::PermuteBytes
        | Binary::PermuteNibbles
        | Binary::ScatterBits
        | Binary::GatherBits => false,
    }
}

/// The same of one operand.
pub(crate) fn has_unary(op: Unary) -> bool {
    !matches!(op, Unary::OrCombine | Unary::ReverseBits)
}

/// The same of three operands, in any width.
pub(crate) fn has_ternary(op: Ternary, ty: Type) -> bool {
    match op {
        Ternary::AddCarry | Ternary::SubBorrow => true,
        Ternary::FunnelShr => matches!(ty, Type::I32 | Type::I64),
        _ => false,
    }
}

/// Bits of a narrow width.
fn bits(width: Width) -> u8 {
    if width == Width::B { 8 } else { 16 }
}

impl Emitter<'_> {
    /// Fills a slot of one word with a result of the operation's type, above which `from` has anything. Keeps flags, but
    /// where 32 bits of a register are kept; may change RCX there.
    pub(crate) fn put_narrow(&mut self, inst: &Inst, dst: Slot, from: Reg) {
        let width = any_width(inst.ty).unwrap_or(Width::Q);
        if width == Width::Q {
            return self.put(dst, from);
        }
        match inst.ext {
            Ext::Keep if let Some(vector) = self.vector(dst) => {
                self.asm.mov_from_xmm(Width::Q, Reg::Rdx, vector);
                self.keep_above(width, Reg::Rdx, from);
                self.asm.mov_to_xmm(Width::Q, vector, Reg::Rdx);
            }
            Ext::Keep => match self.place(dst) {
                Rm::Mem(home) => self.asm.store(width, home, from),
                Rm::Reg(_) if width == Width::D => {
                    let Some(reg) = self.pin(dst) else { return };
                    self.keep_above(width, reg, from);
                }
                Rm::Reg(reg) if reg != from as u8 => {
                    self.keep_above(width, Reg::ALL[usize::from(reg)], from);
                }
                Rm::Reg(_) => {}
            },
            ext => {
                let to = self.pin(dst).unwrap_or(from);
                if ext == Ext::Sign {
                    self.asm.movsx(Width::Q, width, to, from);
                } else {
                    self.asm.movzx(width, to, from);
                }
                self.put(dst, to);
            }
        }
    }

    /// Copies the low part of `from` to a register, whose other bits stay. Uses RCX.
    fn keep_above(&mut self, width: Width, to: Reg, from: Reg) {
        if width != Width::D {
            return self.asm.mov(width, to, from);
        }
        self.host_flags = None;
        self.asm.mov(Width::D, Reg::Rcx, from);
        self.asm.shift_imm(Shift::Shr, Width::Q, to, 32);
        self.asm.shift_imm(Shift::Shl, Width::Q, to, 32);
        self.asm.alu(Alu::Or, Width::Q, to, Reg::Rcx);
    }

    /// The operand in a register of its own, extended to 32 bits.
    fn load_extended(&mut self, width: Width, signed: bool, operand: Operand, to: Reg) {
        let from = self.in_reg(operand, to);
        if signed {
            self.asm.movsx(Width::D, width, to, from);
        } else {
            self.asm.movzx(width, to, from);
        }
    }

    /// An operation of 8 or 16 bits.
    pub(crate) fn narrow(&mut self, inst: &Inst, dst: Slot) -> Option<()> {
        let width = any_width(inst.ty)?;
        match inst.op.family() {
            Family::Choose(op) => self.narrow_choice(op, inst, dst, width)?,
            Family::Unary(op) => self.narrow_unary(op, inst, dst, width)?,
            Family::Binary(op) => self.narrow_binary(op, inst, dst, width)?,
            _ => return None,
        }
        Some(())
    }

    fn narrow_choice(&mut self, op: Choose, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        let Attr::Cond(cond) = inst.attr else {
            return None;
        };
        let [x, y, z, w] = inst.args;
        match op {
            Choose::Cmp => {
                let cc = self.compare(cond, width, x, y);
                self.put_condition(cc, inst, dst);
            }
            Choose::Select => {
                let cc = self.compare(cond, width, z, w);
                self.load(y, Reg::Rax);
                let x = self.in_reg(x, Reg::Rcx);
                self.asm.cmov(cc, Width::D, Reg::Rax, x);
                self.put_narrow(inst, dst, Reg::Rax);
            }
        }
        Some(())
    }

    fn narrow_unary(&mut self, op: Unary, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        let x = inst.args[0];
        let bits = bits(width);
        match op {
            Unary::Not | Unary::Neg => {
                self.load(x, Reg::Rax);
                if op == Unary::Not {
                    self.asm.not(Width::D, Reg::Rax);
                } else {
                    self.asm.neg(Width::D, Reg::Rax);
                }
            }
            Unary::ByteSwap => {
                self.load(x, Reg::Rax);
                if width == Width::W {
                    self.asm.shift_imm(Shift::Rol, Width::W, Reg::Rax, 8);
                }
            }
            Unary::Popcnt => {
                self.load_extended(width, false, x, Reg::Rax);
                self.asm
                    .count_bits(Bits::Popcnt, Width::D, Reg::Rax, Reg::Rax);
            }
            Unary::Clz => {
                self.load_extended(width, false, x, Reg::Rax);
                self.asm
                    .count_bits(Bits::Lzcnt, Width::D, Reg::Rax, Reg::Rax);
                let above = i32::from(32 - bits);
                self.asm.alu_imm(Alu::Sub, Width::D, Reg::Rax, above);
            }
            Unary::Ctz => {
                // A bit above has the count stop there.
                self.load(x, Reg::Rax);
                self.asm
                    .bit_test_imm(BitTest::Set, Width::D, Reg::Rax, bits);
                self.asm
                    .count_bits(Bits::Tzcnt, Width::D, Reg::Rax, Reg::Rax);
            }
            Unary::OrCombine | Unary::ReverseBits => return None,
        }
        self.put_narrow(inst, dst, Reg::Rax);
        Some(())
    }

    fn narrow_binary(&mut self, op: Binary, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        let [x, y, ..] = inst.args;
        let alu = match op {
            Binary::Add => Some(Alu::Add),
            Binary::Sub => Some(Alu::Sub),
            Binary::And | Binary::AndNot => Some(Alu::And),
            Binary::Or | Binary::OrNot => Some(Alu::Or),
            Binary::Xor | Binary::Xnor => Some(Alu::Xor),
            _ => None,
        };
        if let Some(alu) = alu {
            if matches!(op, Binary::AndNot | Binary::OrNot | Binary::Xnor) {
                self.load(y, Reg::Rax);
                self.asm.not(Width::D, Reg::Rax);
                self.narrow_alu(alu, width, Reg::Rax.into(), x);
            } else {
                // In place.
                if inst.ext == Ext::Keep && x.slot() == Some(dst) {
                    let place = self.place(dst);
                    self.narrow_alu(alu, width, place, y);
                    return Some(());
                }
                self.load(x, Reg::Rax);
                self.narrow_alu(alu, width, Reg::Rax.into(), y);
            }
            self.put_narrow(inst, dst, Reg::Rax);
            return Some(());
        }
        match op {
            Binary::Shl | Binary::Shr | Binary::Sar | Binary::Rol | Binary::Ror => {
                let op = match op {
                    Binary::Shl => Shift::Shl,
                    Binary::Shr => Shift::Shr,
                    Binary::Sar => Shift::Sar,
                    Binary::Rol => Shift::Rol,
                    _ => Shift::Ror,
                };
                self.load(x, Reg::Rax);
                self.narrow_shift(op, width, y);
            }
            Binary::Mul => {
                self.load(x, Reg::Rax);
                let y = self.in_reg(y, Reg::Rcx);
                self.asm.imul(Width::D, Reg::Rax, y);
            }
            Binary::MulHS | Binary::MulHU => {
                let signed = op == Binary::MulHS;
                self.load_extended(width, signed, x, Reg::Rax);
                self.load_extended(width, signed, y, Reg::Rcx);
                self.asm.imul(Width::D, Reg::Rax, Reg::Rcx);
                self.asm
                    .shift_imm(Shift::Shr, Width::D, Reg::Rax, bits(width));
            }
            Binary::MinS | Binary::MinU | Binary::MaxS | Binary::MaxU => {
                let second_if = match op {
                    Binary::MinS => Cc::G,
                    Binary::MinU => Cc::A,
                    Binary::MaxS => Cc::L,
                    _ => Cc::B,
                };
                self.load(x, Reg::Rax);
                let y = self.in_reg(y, Reg::Rcx);
                self.asm.alu(Alu::Cmp, width, Reg::Rax, y);
                self.asm.cmov(second_if, Width::D, Reg::Rax, y);
            }
            Binary::BitSet | Binary::BitClear | Binary::BitInvert | Binary::BitExtract => {
                let op = match op {
                    Binary::BitSet => BitTest::Set,
                    Binary::BitClear => BitTest::Reset,
                    Binary::BitInvert => BitTest::Complement,
                    _ => BitTest::Test,
                };
                self.load(x, Reg::Rax);
                self.load(y, Reg::Rcx);
                let mask = i32::from(bits(width)) - 1;
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, mask);
                self.asm.bit_test(op, Width::D, Reg::Rax, Reg::Rcx);
                if op == BitTest::Test {
                    self.asm.setcc(Cc::B, Reg::Rax);
                    self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
                }
            }
            _ => return None,
        }
        self.put_narrow(inst, dst, Reg::Rax);
        Some(())
    }

    /// `at = at op operand`. Uses RCX.
    pub(super) fn narrow_alu(&mut self, op: Alu, width: Width, at: Rm, operand: Operand) {
        if let Some(value) = short(width, operand) {
            return self.asm.alu_imm(op, width, at, value);
        }
        match at {
            Rm::Mem(mem) => {
                let operand = self.in_reg(operand, Reg::Rcx);
                self.asm.alu_to_mem(op, width, mem, operand);
            }
            Rm::Reg(reg) => {
                let reg = Reg::ALL[usize::from(reg)];
                match operand {
                    Operand::Slot(slot) => {
                        let place = self.place(slot);
                        self.asm.alu(op, width, reg, place);
                    }
                    _ => {
                        self.load(operand, Reg::Rcx);
                        self.asm.alu(op, width, reg, Reg::Rcx);
                    }
                }
            }
        }
    }

    /// Shifts RAX by a count modulo the width. Uses RCX.
    fn narrow_shift(&mut self, op: Shift, width: Width, count: Operand) {
        let mask = bits(width) - 1;
        match count {
            Operand::Slot(_) => {
                self.load(count, Reg::Rcx);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, mask.into());
                self.asm.shift_cl(op, width, Reg::Rax);
            }
            count => {
                let count = count.imm().unwrap_or(0) as u8 & mask;
                if count != 0 {
                    self.asm.shift_imm(op, width, Reg::Rax, count);
                }
            }
        }
    }

    /// Sums with carry, and shifts of two numbers, in any width.
    pub(crate) fn with_carry(&mut self, op: Ternary, inst: &Inst, dst: Slot) -> Option<()> {
        let width = any_width(inst.ty)?;
        let [x, y, z, _] = inst.args;
        match op {
            Ternary::AddCarry | Ternary::SubBorrow => {
                let carry = self.in_reg(z, Reg::Rcx);
                self.asm.bit_test_imm(BitTest::Test, Width::D, carry, 0);
                self.load(x, Reg::Rax);
                let op = if op == Ternary::AddCarry {
                    Alu::Adc
                } else {
                    Alu::Sbb
                };
                self.narrow_alu(op, width, Reg::Rax.into(), y);
            }
            Ternary::FunnelShr => {
                self.load(x, Reg::Rax);
                let high = self.in_reg(y, Reg::Rdx);
                match z {
                    Operand::Slot(_) => {
                        self.load(z, Reg::Rcx);
                        self.asm.shrd_cl(width, Reg::Rax, high);
                    }
                    count => {
                        let mask = if width == Width::Q { 63 } else { 31 };
                        let count = (count.imm().unwrap_or(0) & mask) as u8;
                        if count != 0 {
                            self.asm.shrd_imm(width, Reg::Rax, high, count);
                        }
                    }
                }
            }
            _ => return None,
        }
        self.put_narrow(inst, dst, Reg::Rax);
        Some(())
    }

    /// Takes a field out, or puts one in, in any width.
    pub(crate) fn field(&mut self, op: Field, inst: &Inst, dst: Slot) -> Option<()> {
        let Attr::Field { pos, len, signed } = inst.attr else {
            return None;
        };
        let [x, y, ..] = inst.args;
        match op {
            Field::Extract => {
                let from = self.in_reg(x, Reg::Rax);
                if from != Reg::Rax {
                    self.asm.mov(Width::Q, Reg::Rax, from);
                }
                self.take_field(Reg::Rax, pos, len, signed);
                self.put_narrow(inst, dst, Reg::Rax);
            }
            Field::Deposit if inst.ty == Type::I64 && x.slot() == Some(dst) => {
                self.deposit_in_place(dst, y, pos, len);
            }
            Field::Deposit => {
                self.load(x, Reg::Rax);
                self.load(y, Reg::Rcx);
                self.deposit(Reg::Rax, pos, len);
                self.put_narrow(inst, dst, Reg::Rax);
            }
        }
        Some(())
    }

    /// A field of a register to its bottom, extended to 64 bits.
    fn take_field(&mut self, of: Reg, pos: u8, len: u8, signed: bool) {
        let (left, right) = (64 - len - pos, 64 - len);
        if left != 0 {
            self.asm.shift_imm(Shift::Shl, Width::Q, of, left);
        }
        if right != 0 {
            let op = if signed { Shift::Sar } else { Shift::Shr };
            self.asm.shift_imm(op, Width::Q, of, right);
        }
    }

    /// Replaces a field of a register by the low bits of RCX, which changes.
    fn deposit(&mut self, of: Reg, pos: u8, len: u8) {
        if len == 64 {
            return self.asm.mov(Width::Q, of, Reg::Rcx);
        }
        if pos == 0 && (len == 8 || len == 16) {
            let width = if len == 8 { Width::B } else { Width::W };
            return self.asm.mov(width, of, Reg::Rcx);
        }
        if pos != 0 {
            self.asm.shift_imm(Shift::Ror, Width::Q, of, pos);
        }
        match len {
            8 => self.asm.mov(Width::B, of, Reg::Rcx),
            16 => self.asm.mov(Width::W, of, Reg::Rcx),
            _ => {
                self.asm.shift_imm(Shift::Shr, Width::Q, of, len);
                self.asm.shift_imm(Shift::Shl, Width::Q, of, len);
                self.asm.shift_imm(Shift::Shl, Width::Q, Reg::Rcx, 64 - len);
                self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, 64 - len);
                self.asm.alu(Alu::Or, Width::Q, of, Reg::Rcx);
            }
        }
        if pos != 0 {
            self.asm.shift_imm(Shift::Rol, Width::Q, of, pos);
        }
    }

    /// Replaces a field of a slot of 64 bits.
    fn deposit_in_place(&mut self, dst: Slot, from: Operand, pos: u8, len: u8) {
        let width = match len {
            8 => Some(Width::B),
            16 => Some(Width::W),
            32 => Some(Width::D),
            _ => None,
        };
        match (self.place(dst), width) {
            (Rm::Mem(home), Some(width)) if pos.is_multiple_of(8) => {
                let from = self.in_reg(from, Reg::Rcx);
                let disp = home.disp + i32::from(pos / 8);
                self.asm.store(width, Mem { disp, ..home }, from);
            }
            (Rm::Mem(_), _) => {
                self.load(dst.into(), Reg::Rax);
                self.load(from, Reg::Rcx);
                self.deposit(Reg::Rax, pos, len);
                self.put(dst, Reg::Rax);
            }
            (Rm::Reg(reg), _) => {
                self.load(from, Reg::Rcx);
                self.deposit(Reg::ALL[usize::from(reg)], pos, len);
            }
        }
    }
}
