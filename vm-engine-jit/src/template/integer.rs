//! Integer operations.

use vm_engine::tier::FrameOffsets;
use vm_ir::{Attr, Ext, Inst, Op, Operand, Slot, Type};

use super::bits;
use super::block::{Emitter, width};
use crate::asm::{Alu, Bits, Cc, Mem, Reg, Shift, Width};

/// Whether [`Emitter::integer`] knows the operation, in 32 and 64 bits.
pub(crate) fn is_native(inst: &Inst) -> bool {
    match inst.op {
        Op::PcRel | Op::Extract => inst.ty == Type::I64,
        Op::MulHS | Op::MulHU => inst.ty == Type::I64,
        Op::AddShl | Op::AddShlU32 => {
            inst.ty == Type::I64 && matches!(inst.args[2], Operand::Imm(0..=63))
        }
        Op::Mov
        | Op::Add
        | Op::Sub
        | Op::And
        | Op::Or
        | Op::Xor
        | Op::AndNot
        | Op::OrNot
        | Op::Xnor
        | Op::Shl
        | Op::Shr
        | Op::Sar
        | Op::Rol
        | Op::Ror
        | Op::Mul
        | Op::DivS
        | Op::DivU
        | Op::RemS
        | Op::RemU
        | Op::MinS
        | Op::MinU
        | Op::MaxS
        | Op::MaxU
        | Op::Not
        | Op::Neg
        | Op::Clz
        | Op::Ctz
        | Op::Popcnt
        | Op::ByteSwap => true,
        Op::Cmp | Op::Select => matches!(inst.attr, Attr::Cond(_)),
        _ => bits::is_native(inst),
    }
}

fn alu(op: Op) -> Option<Alu> {
    Some(match op {
        Op::Add => Alu::Add,
        Op::Sub => Alu::Sub,
        Op::And | Op::AndNot => Alu::And,
        Op::Or | Op::OrNot => Alu::Or,
        Op::Xor | Op::Xnor => Alu::Xor,
        _ => return None,
    })
}

/// A constant as the operation's width sees it, when it fits an instruction.
fn short(width: Width, operand: Operand) -> Option<i32> {
    match operand {
        Operand::None => Some(0),
        Operand::Imm(value) if width == Width::D => Some(value as i32),
        Operand::Imm(value) => i32::try_from(value).ok(),
        Operand::Slot(_) => None,
    }
}

impl Emitter<'_> {
    pub(crate) fn integer(&mut self, inst: &Inst) -> Option<()> {
        let Some(dst) = inst.dst else {
            return Some(());
        };
        let [x, y, z, w] = inst.args;
        if inst.op == Op::Mov {
            return self.mov(inst, dst);
        }
        let width = width(inst.ty)?;
        match (inst.op, inst.attr) {
            (Op::Add | Op::Sub | Op::And | Op::Or | Op::Xor, _) => {
                self.binary(inst, dst, width, alu(inst.op)?);
            }
            (Op::AndNot | Op::OrNot | Op::Xnor, _) => {
                self.load(y, Reg::Rax);
                self.asm.not(width, Reg::Rax);
                self.alu_with(alu(inst.op)?, width, Reg::Rax, x);
                self.put_filled(inst, dst, Reg::Rax);
            }
            (Op::Shl | Op::Shr | Op::Sar | Op::Rol | Op::Ror, _) => self.shift(inst, dst, width),
            (Op::Mul, _) => {
                let target = self.target(dst, &[y]);
                self.load(x, target);
                match y {
                    Operand::Slot(slot) => {
                        let place = self.place(slot);
                        self.asm.imul(width, target, place);
                    }
                    constant => {
                        self.load(constant, Reg::Rcx);
                        self.asm.imul(width, target, Reg::Rcx);
                    }
                }
                self.put_filled(inst, dst, target);
            }
            (Op::MulHS | Op::MulHU, _) => {
                self.load(x, Reg::Rax);
                let y = self.in_reg(y, Reg::Rcx);
                if inst.op == Op::MulHS {
                    self.asm.imul_wide(width, y);
                } else {
                    self.asm.mul(width, y);
                }
                self.put(dst, Reg::Rdx);
            }
            (Op::DivS | Op::DivU | Op::RemS | Op::RemU, _) => self.divide(inst, dst, width),
            (Op::MinS | Op::MinU | Op::MaxS | Op::MaxU, _) => {
                let keep = match inst.op {
                    Op::MinS => Cc::G,
                    Op::MinU => Cc::A,
                    Op::MaxS => Cc::L,
                    _ => Cc::B,
                };
                self.load(x, Reg::Rax);
                let y = self.in_reg(y, Reg::Rcx);
                self.asm.alu(Alu::Cmp, width, Reg::Rax, y);
                self.asm.cmov(keep, width, Reg::Rax, y);
                self.put_filled(inst, dst, Reg::Rax);
            }
            (Op::AddShl | Op::AddShlU32, _) => {
                let shift = z.imm().unwrap_or(0) as u8 & 63;
                let narrow = inst.op == Op::AddShlU32;
                self.load(x, Reg::Rax);
                if narrow {
                    self.asm.mov(Width::D, Reg::Rax, Reg::Rax);
                }
                if shift != 0 {
                    self.asm.shift_imm(Shift::Shl, width, Reg::Rax, shift);
                }
                self.alu_with(Alu::Add, width, Reg::Rax, y);
                self.put(dst, Reg::Rax);
            }
            (Op::Cmp, Attr::Cond(cond)) => {
                let cc = self.compare(cond, width, x, y);
                self.asm.setcc(cc, Reg::Rax);
                self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
                self.put(dst, Reg::Rax);
            }
            (Op::Select, Attr::Cond(cond)) => {
                let cc = self.compare(cond, width, z, w);
                // Moves keep the flags.
                self.load(y, Reg::Rax);
                let x = self.in_reg(x, Reg::Rcx);
                self.asm.cmov(cc, width, Reg::Rax, x);
                self.put_filled(inst, dst, Reg::Rax);
            }
            (Op::PcRel, _) => {
                let base = self.frame(FrameOffsets::PAGE_BASE);
                let target = self.target(dst, &[]);
                match i32::try_from(x.imm().unwrap_or(0)) {
                    Ok(0) => self.asm.mov(width, target, base),
                    Ok(offset) => {
                        self.asm.mov(width, target, base);
                        self.asm.alu_imm(Alu::Add, width, target, offset);
                    }
                    Err(_) => {
                        self.load(x, target);
                        self.asm.alu(Alu::Add, width, target, base);
                    }
                }
                self.put(dst, target);
            }
            (Op::Extract, Attr::Field { pos, len, signed }) => {
                self.extract(x, dst, pos, len, signed);
            }
            _ if bits::is_native(inst) => self.bits(inst, dst, width)?,
            (op, _) => self.unary(op, inst, dst, width)?,
        }
        Some(())
    }

    fn alu_with(&mut self, op: Alu, width: Width, target: Reg, operand: Operand) {
        if let Some(value) = short(width, operand) {
            self.asm.alu_imm(op, width, target, value);
        } else if let Operand::Slot(slot) = operand {
            let place = self.place(slot);
            self.asm.alu(op, width, target, place);
        } else {
            self.load(operand, Reg::Rcx);
            self.asm.alu(op, width, target, Reg::Rcx);
        }
    }

    fn binary(&mut self, inst: &Inst, dst: Slot, width: Width, op: Alu) {
        let [mut x, mut y, ..] = inst.args;
        let commutes = op != Alu::Sub;
        let is_dst = |operand: Operand| operand == Operand::Slot(dst);
        if commutes && (is_dst(y) || !matches!(x, Operand::Slot(_))) {
            (x, y) = (y, x);
        }
        let pin_of = |this: &Self, operand: Operand| operand.slot().and_then(|slot| this.pin(slot));
        let target = self.target(dst, &[y]);
        // An address form saves the copy.
        if op == Alu::Add && !is_dst(x) {
            let to = self.pin(dst).unwrap_or(Reg::Rax);
            let whole = width == Width::Q || inst.ext == Ext::Zero;
            let to = if whole { to } else { Reg::Rax };
            let of = match (pin_of(self, x), pin_of(self, y), short(width, y)) {
                (Some(a), Some(b), _) => Some(Mem::indexed(a, b, 0, 0)),
                (Some(a), None, Some(value)) => Some(Mem::new(a, value)),
                _ => None,
            };
            if let Some(of) = of {
                self.asm.lea(width, to, of);
                return self.put_filled(inst, dst, to);
            }
        }
        // In place, when nothing is to be extended.
        if width == Width::Q && is_dst(x) && self.pin(dst).is_none() {
            let home = self.home(dst);
            if let Some(value) = short(width, y) {
                return self.asm.alu_imm(op, width, home, value);
            }
            if let Some(y) = pin_of(self, y) {
                return self.asm.alu_to_mem(op, width, home, y);
            }
        }
        self.load(x, target);
        self.alu_with(op, width, target, y);
        self.put_filled(inst, dst, target);
    }

    fn shift(&mut self, inst: &Inst, dst: Slot, width: Width) {
        let [x, y, ..] = inst.args;
        let op = match inst.op {
            Op::Shl => Shift::Shl,
            Op::Shr => Shift::Shr,
            Op::Sar => Shift::Sar,
            Op::Rol => Shift::Rol,
            _ => Shift::Ror,
        };
        let mask = if width == Width::Q { 63 } else { 31 };
        match y {
            Operand::Imm(count) => {
                let target = self.target(dst, &[]);
                let count = (count & mask) as u8;
                if width == Width::D {
                    let from = self.in_reg(x, target);
                    self.asm.mov(Width::D, target, from);
                } else {
                    self.load(x, target);
                }
                if count != 0 {
                    self.asm.shift_imm(op, width, target, count);
                }
                self.put_filled(inst, dst, target);
            }
            y if matches!(op, Shift::Rol | Shift::Ror) => {
                self.load(y, Reg::Rcx);
                let from = self.in_reg(x, Reg::Rax);
                // Also clears the upper half when the count is zero.
                self.asm.mov(width, Reg::Rax, from);
                self.asm.shift_cl(op, width, Reg::Rax);
                self.put_filled(inst, dst, Reg::Rax);
            }
            y => {
                let count = self.in_reg(y, Reg::Rcx);
                let from = self.in_reg(x, Reg::Rax);
                let target = self.pin(dst).unwrap_or(Reg::Rax);
                self.asm.shiftx(op, width, target, from, count);
                self.put_filled(inst, dst, target);
            }
        }
    }

    /// The host faults where the IR defines results: division by zero, and the most negative number by -1. Numbers below
    /// 2^32 are divided as such, which takes older hosts a third of the time.
    fn divide(&mut self, inst: &Inst, dst: Slot, width: Width) {
        let [x, y, ..] = inst.args;
        let signed = matches!(inst.op, Op::DivS | Op::RemS);
        let quotient = matches!(inst.op, Op::DivS | Op::DivU);
        let (zero, minus_one, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        let (short, divided) = (self.asm.label(), self.asm.label());
        self.load(y, Reg::Rcx);
        self.load(x, Reg::Rax);
        self.asm.test(width, Reg::Rcx, Reg::Rcx);
        self.asm.jcc(Cc::E, zero);
        if width == Width::Q {
            self.asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
            self.asm.alu(Alu::Or, Width::Q, Reg::Rdx, Reg::Rcx);
            self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rdx, 32);
            self.asm.jcc(Cc::E, short);
        }
        if signed {
            self.asm.alu_imm(Alu::Cmp, width, Reg::Rcx, -1);
            self.asm.jcc(Cc::E, minus_one);
            self.asm.sign_to_rdx(width);
            self.asm.idiv(width, Reg::Rcx);
        } else {
            self.asm.mov_imm(Reg::Rdx, 0);
            self.asm.div(width, Reg::Rcx);
        }
        self.asm.bind(divided);
        if !quotient {
            self.asm.mov(width, Reg::Rax, Reg::Rdx);
        }
        self.asm.jmp(done);
        if width == Width::Q {
            // RDX is zero already.
            self.asm.bind(short);
            self.asm.div(Width::D, Reg::Rcx);
            self.asm.jmp(divided);
        }
        self.asm.bind(zero);
        if quotient {
            self.asm.mov_imm(Reg::Rax, u64::MAX);
        }
        // The remainder is the dividend, which RAX holds.
        if signed {
            self.asm.jmp(done);
            self.asm.bind(minus_one);
            if quotient {
                self.asm.neg(width, Reg::Rax);
            } else {
                self.asm.mov_imm(Reg::Rax, 0);
            }
        } else {
            self.asm.bind(minus_one);
        }
        self.asm.bind(done);
        if width == Width::D {
            self.asm.mov(Width::D, Reg::Rax, Reg::Rax);
        }
        self.put_filled(inst, dst, Reg::Rax);
    }

    fn extract(&mut self, x: Operand, dst: Slot, pos: u8, len: u8, signed: bool) {
        let target = self.target(dst, &[]);
        let (left, right) = (64 - len - pos, 64 - len);
        let from = self.in_reg(x, target);
        match (pos, len, signed) {
            (0, 8, false) => self.asm.movzx(Width::B, target, from),
            (0, 16, false) => self.asm.movzx(Width::W, target, from),
            (0, 32, false) => self.asm.mov(Width::D, target, from),
            (0, 8, true) => self.asm.movsx(Width::Q, Width::B, target, from),
            (0, 16, true) => self.asm.movsx(Width::Q, Width::W, target, from),
            (0, 32, true) => self.asm.movsx(Width::Q, Width::D, target, from),
            _ => {
                if from != target {
                    self.asm.mov(Width::Q, target, from);
                }
                if left != 0 {
                    self.asm.shift_imm(Shift::Shl, Width::Q, target, left);
                }
                if right != 0 {
                    let op = if signed { Shift::Sar } else { Shift::Shr };
                    self.asm.shift_imm(op, Width::Q, target, right);
                }
            }
        }
        self.put(dst, target);
    }

    fn mov(&mut self, inst: &Inst, dst: Slot) -> Option<()> {
        let x = inst.args[0];
        let signed = inst.ext == Ext::Sign;
        let narrow = match inst.ty {
            Type::I8 => Width::B,
            Type::I16 => Width::W,
            Type::I32 | Type::F32 => Width::D,
            Type::I64 | Type::F64 => Width::Q,
            _ => return None,
        };
        let target = self.target(dst, &[]);
        if narrow == Width::Q {
            // Small constants go to memory directly.
            if let (None, None, Some(value)) = (self.pin(dst), self.vector(dst), short(Width::Q, x))
            {
                let home = self.home(dst);
                self.asm.store_imm(Width::Q, home, value);
                return Some(());
            }
            if self.pin(dst).is_some() {
                self.load(x, target);
            } else {
                let from = self.in_reg(x, Reg::Rax);
                self.put(dst, from);
                return Some(());
            }
        } else {
            let from = self.in_reg(x, Reg::Rax);
            if signed {
                self.asm.movsx(Width::Q, narrow, target, from);
            } else {
                self.asm.movzx(narrow, target, from);
            }
        }
        self.put(dst, target);
        Some(())
    }

    fn unary(&mut self, op: Op, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        let x = inst.args[0];
        match op {
            Op::Not | Op::Neg | Op::ByteSwap => {
                self.load(x, Reg::Rax);
                match op {
                    Op::Not => self.asm.not(width, Reg::Rax),
                    Op::Neg => self.asm.neg(width, Reg::Rax),
                    _ => self.asm.bswap(width, Reg::Rax),
                }
            }
            Op::Clz | Op::Ctz | Op::Popcnt => {
                let count = match op {
                    Op::Clz => Bits::Lzcnt,
                    Op::Ctz => Bits::Tzcnt,
                    _ => Bits::Popcnt,
                };
                let from = self.in_reg(x, Reg::Rcx);
                self.asm.count_bits(count, width, Reg::Rax, from);
            }
            _ => return None,
        }
        self.put_filled(inst, dst, Reg::Rax);
        Some(())
    }
}
