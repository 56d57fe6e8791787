//! Integer operations.

use vm_engine::tier::FrameOffsets;
use vm_ir::family::{Binary, Choose, Field, Move, Ternary, Unary};
use vm_ir::{Attr, Ext, Family, Inst, Operand, Slot, Type};

use super::bits::Part;
use super::block::{Emitter, width};
use super::flags::{self, any_width};
use super::narrow;
use crate::asm::{Alu, BitTest, Bits, Cc, Mem, Reg, Rm, Scatter, Shift, Width};

/// Whether [`Emitter::mov`] knows the move.
pub(crate) fn moves(inst: &Inst) -> bool {
    inst.ext != Ext::Ones && !matches!(inst.ty, Type::V128 | Type::I128 | Type::F16)
}

/// Whether [`Emitter::integer`] knows the operation in this type. The same below.
pub(crate) fn has_unary(op: Unary, ty: Type) -> bool {
    if matches!(ty, Type::I8 | Type::I16) {
        return narrow::has_unary(op);
    }
    match op {
        Unary::Not | Unary::Neg | Unary::Clz | Unary::Ctz | Unary::Popcnt | Unary::ByteSwap => true,
        Unary::OrCombine | Unary::ReverseBits => ty == Type::I64,
    }
}

pub(crate) fn has_binary(op: Binary, ty: Type) -> bool {
    if matches!(ty, Type::I8 | Type::I16) {
        return narrow::has_binary(op);
    }
    match op {
        Binary::MulHSU => ty == Type::I64,
        Binary::ClMul | Binary::ClMulH | Binary::ClMulR => {
            ty == Type::I64 && std::arch::is_x86_feature_detected!("pclmulqdq")
        }
        Binary::PermuteBytes | Binary::PermuteNibbles => false,
        Binary::ScatterBits | Binary::GatherBits => true,
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
        | Binary::DivS
        | Binary::DivU
        | Binary::RemS
        | Binary::RemU
        | Binary::MinS
        | Binary::MinU
        | Binary::MaxS
        | Binary::MaxU
        | Binary::BitSet
        | Binary::BitClear
        | Binary::BitInvert
        | Binary::BitExtract => true,
    }
}

pub(crate) fn has_ternary(op: Ternary, inst: &Inst) -> bool {
    match op {
        Ternary::AddShl => match inst.ty {
            Type::I64 => matches!(inst.args[2], Operand::Imm(0..=63)),
            Type::I32 => matches!(inst.args[2], Operand::Imm(0..=31)),
            _ => false,
        },
        Ternary::AddShlU32 => inst.ty == Type::I64 && matches!(inst.args[2], Operand::Imm(0..=63)),
        Ternary::AddCarry | Ternary::SubBorrow | Ternary::FunnelShr => {
            narrow::has_ternary(op, inst.ty)
        }
        Ternary::RolCarry
        | Ternary::RorCarry
        | Ternary::DivUWide
        | Ternary::RemUWide
        | Ternary::DivSWide
        | Ternary::RemSWide
        | Ternary::DivSOverflows
        | Ternary::Crc32c => false,
    }
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

/// Whether an extracted field fills its slot as it would one of 64 bits.
pub(crate) fn is_whole(extract: &Inst) -> bool {
    match extract.attr {
        Attr::Field { len, signed, .. } => {
            extract.ty == Type::I64
                || extract.ty == Type::I32 && extract.ext == Ext::Zero && !signed && len <= 32
        }
        _ => false,
    }
}

impl Emitter<'_> {
    pub(crate) fn integer(&mut self, inst: &Inst) -> Option<()> {
        let Some(dst) = inst.dst else {
            return Some(());
        };
        match inst.op.family() {
            Family::Field(op) => return self.field_of(op, inst, dst),
            Family::Ternary(op) if narrow::has_ternary(op, inst.ty) => {
                return self.with_carry(op, inst, dst);
            }
            _ => {}
        }
        let Some(width) = width(inst.ty) else {
            return self.narrow(inst, dst);
        };
        match inst.op.family() {
            Family::Move(Move::PcRel) => self.pc_rel(inst, dst, width),
            Family::Choose(op) => self.choose(op, inst, dst, width)?,
            Family::Unary(op) => self.unary(op, inst, dst, width),
            Family::Binary(op) => self.two_operands(op, inst, dst, width)?,
            Family::Ternary(op) => self.ternary(op, inst, dst, width)?,
            Family::Field(_)
            | Family::Control(_)
            | Family::Access(_)
            | Family::Reserve(_)
            | Family::Modify(_)
            | Family::Move(Move::Mov)
            | Family::Wide(_)
            | Family::Flags(_)
            | Family::FpArith(_)
            | Family::FpExtremum(_)
            | Family::FpSign(_)
            | Family::FpCompare(_)
            | Family::FpConvert(_)
            | Family::FpOther(_)
            | Family::VecBits(_)
            | Family::VecLanes(_)
            | Family::VecShift(_)
            | Family::VecMove(_)
            | Family::VecFp(_)
            | Family::VecRow(_) => return None,
        }
        Some(())
    }

    fn two_operands(&mut self, op: Binary, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        match op {
            Binary::Add => self.binary(inst, dst, width, Alu::Add),
            Binary::Sub => self.binary(inst, dst, width, Alu::Sub),
            Binary::And => self.binary(inst, dst, width, Alu::And),
            Binary::Or => self.binary(inst, dst, width, Alu::Or),
            Binary::Xor => self.binary(inst, dst, width, Alu::Xor),
            Binary::AndNot => self.with_second_inverted(inst, dst, width, Alu::And),
            Binary::OrNot => self.with_second_inverted(inst, dst, width, Alu::Or),
            Binary::Xnor => self.with_second_inverted(inst, dst, width, Alu::Xor),
            Binary::Shl => self.shift(inst, dst, width, Shift::Shl),
            Binary::Shr => self.shift(inst, dst, width, Shift::Shr),
            Binary::Sar => self.shift(inst, dst, width, Shift::Sar),
            Binary::Rol => self.shift(inst, dst, width, Shift::Rol),
            Binary::Ror => self.shift(inst, dst, width, Shift::Ror),
            Binary::Mul => self.multiply(inst, dst, width),
            Binary::MulHS => self.high_product(inst, dst, width, true),
            Binary::MulHU => self.high_product(inst, dst, width, false),
            Binary::MulHSU => self.product_of_signed_and_unsigned(inst, dst),
            Binary::DivS => self.divide(inst, dst, width, true, true),
            Binary::DivU => self.divide(inst, dst, width, false, true),
            Binary::RemS => self.divide(inst, dst, width, true, false),
            Binary::RemU => self.divide(inst, dst, width, false, false),
            Binary::MinS => self.extremum(inst, dst, width, Cc::G),
            Binary::MinU => self.extremum(inst, dst, width, Cc::A),
            Binary::MaxS => self.extremum(inst, dst, width, Cc::L),
            Binary::MaxU => self.extremum(inst, dst, width, Cc::B),
            Binary::ClMul => self.carryless(inst, dst, Part::Low),
            Binary::ClMulH => self.carryless(inst, dst, Part::High),
            Binary::ClMulR => self.carryless(inst, dst, Part::Reversed),
            Binary::BitSet => self.change_bit(BitTest::Set, inst, dst, width),
            Binary::BitClear => self.change_bit(BitTest::Reset, inst, dst, width),
            Binary::BitInvert => self.change_bit(BitTest::Complement, inst, dst, width),
            Binary::BitExtract => self.bit(inst, dst, width),
            Binary::ScatterBits => self.scattered(Scatter::Pdep, inst, dst, width),
            Binary::GatherBits => self.scattered(Scatter::Pext, inst, dst, width),
            Binary::PermuteBytes | Binary::PermuteNibbles => return None,
        }
        Some(())
    }

    fn with_second_inverted(&mut self, inst: &Inst, dst: Slot, width: Width, op: Alu) {
        let [x, y, ..] = inst.args;
        self.load(y, Reg::Rax);
        self.asm.not(width, Reg::Rax);
        self.alu_with(op, width, Reg::Rax, x);
        self.put_filled(inst, dst, Reg::Rax);
    }

    fn multiply(&mut self, inst: &Inst, dst: Slot, width: Width) {
        let [x, y, ..] = inst.args;
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

    fn high_product(&mut self, inst: &Inst, dst: Slot, width: Width, signed: bool) {
        let [x, y, ..] = inst.args;
        self.load(x, Reg::Rax);
        let y = self.in_reg(y, Reg::Rcx);
        if signed {
            self.asm.imul_wide(width, y);
        } else {
            self.asm.mul(width, y);
        }
        self.put_filled(inst, dst, Reg::Rdx);
    }

    /// The second where the first compares so with it, else the first.
    fn extremum(&mut self, inst: &Inst, dst: Slot, width: Width, second_if: Cc) {
        let [x, y, ..] = inst.args;
        self.load(x, Reg::Rax);
        let y = self.in_reg(y, Reg::Rcx);
        self.asm.alu(Alu::Cmp, width, Reg::Rax, y);
        self.asm.cmov(second_if, width, Reg::Rax, y);
        self.put_filled(inst, dst, Reg::Rax);
    }

    fn ternary(&mut self, op: Ternary, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        let low_half = match op {
            Ternary::AddShl => false,
            Ternary::AddShlU32 => true,
            Ternary::AddCarry
            | Ternary::SubBorrow
            | Ternary::FunnelShr
            | Ternary::RolCarry
            | Ternary::RorCarry
            | Ternary::DivUWide
            | Ternary::RemUWide
            | Ternary::DivSWide
            | Ternary::RemSWide
            | Ternary::DivSOverflows
            | Ternary::Crc32c => return None,
        };
        let [x, y, z, _] = inst.args;
        let shift = z.imm().unwrap_or(0) as u8 & 63;
        let pinned = |operand: Operand| operand.slot().and_then(|slot| self.pin(slot));
        if let (Some(x), Some(y), false, 0..=3) = (pinned(x), pinned(y), low_half, shift) {
            let to = self.pin(dst).unwrap_or(Reg::Rax);
            self.asm.lea(width, to, Mem::indexed(y, x, shift, 0));
            self.put_filled(inst, dst, to);
            return Some(());
        }
        self.load(x, Reg::Rax);
        if low_half {
            self.asm.mov(Width::D, Reg::Rax, Reg::Rax);
        }
        if shift != 0 {
            self.asm.shift_imm(Shift::Shl, width, Reg::Rax, shift);
        }
        self.alu_with(Alu::Add, width, Reg::Rax, y);
        self.put_filled(inst, dst, Reg::Rax);
        Some(())
    }

    fn choose(&mut self, op: Choose, inst: &Inst, dst: Slot, width: Width) -> Option<()> {
        let Attr::Cond(cond) = inst.attr else {
            return None;
        };
        let [x, y, z, w] = inst.args;
        match op {
            Choose::Cmp => {
                let cc = self.compare(cond, width, x, y);
                self.asm.setcc(cc, Reg::Rax);
                self.asm.movzx(Width::B, Reg::Rax, Reg::Rax);
                self.put(dst, Reg::Rax);
            }
            Choose::Select => {
                let cc = self.compare(cond, width, z, w);
                // Moves keep the flags.
                self.load(y, Reg::Rax);
                let x = self.in_reg(x, Reg::Rcx);
                self.asm.cmov(cc, width, Reg::Rax, x);
                self.put_filled(inst, dst, Reg::Rax);
            }
        }
        Some(())
    }

    fn pc_rel(&mut self, inst: &Inst, dst: Slot, width: Width) {
        let x = inst.args[0];
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
        self.give(dst, target);
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
        let in_rax = |operand: Operand| {
            operand
                .slot()
                .is_some_and(|slot| self.pending == Some(slot))
        };
        let swaps = is_dst(y) || !matches!(x, Operand::Slot(_)) || in_rax(y) && !is_dst(x);
        if commutes && swaps {
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

    fn shift(&mut self, inst: &Inst, dst: Slot, width: Width, op: Shift) {
        let [x, y, ..] = inst.args;
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
    fn divide(&mut self, inst: &Inst, dst: Slot, width: Width, signed: bool, quotient: bool) {
        let [x, y, ..] = inst.args;
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

    fn field_of(&mut self, op: Field, inst: &Inst, dst: Slot) -> Option<()> {
        if op == Field::Extract && is_whole(inst) {
            self.extract(inst, dst)
        } else {
            self.field(op, inst, dst)
        }
    }

    fn extract(&mut self, inst: &Inst, dst: Slot) -> Option<()> {
        let Attr::Field { pos, len, signed } = inst.attr else {
            return None;
        };
        let x = inst.args[0];
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
        Some(())
    }

    pub(crate) fn mov(&mut self, inst: &Inst, dst: Slot) -> Option<()> {
        let x = inst.args[0];
        if inst.ext == Ext::Keep {
            return self.mov_part(inst, dst);
        }
        let signed = inst.ext == Ext::Sign;
        let narrow = match inst.ty {
            Type::I8 => Width::B,
            Type::I16 | Type::Flags => Width::W,
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
        self.give(dst, target);
        Some(())
    }

    /// A move that keeps part of the destination.
    fn mov_part(&mut self, inst: &Inst, dst: Slot) -> Option<()> {
        let ty = match inst.ty {
            Type::F32 => Type::I32,
            ty => ty,
        };
        let width = any_width(ty)?;
        let x = inst.args[0];
        if self.vector(dst).is_none()
            && let (Rm::Mem(home), Some(value)) = (self.place(dst), flags::short(width, x))
        {
            self.asm.store_imm(width, home, value);
            return Some(());
        }
        let from = self.in_reg(x, Reg::Rax);
        self.put_narrow(&Inst { ty, ..*inst }, dst, from);
        Some(())
    }

    fn unary(&mut self, op: Unary, inst: &Inst, dst: Slot, width: Width) {
        let x = inst.args[0];
        match op {
            Unary::Not => {
                self.load(x, Reg::Rax);
                self.asm.not(width, Reg::Rax);
            }
            Unary::Neg => {
                self.load(x, Reg::Rax);
                self.asm.neg(width, Reg::Rax);
            }
            Unary::ByteSwap => {
                self.load(x, Reg::Rax);
                self.asm.bswap(width, Reg::Rax);
            }
            Unary::Clz => self.count(Bits::Lzcnt, x, width),
            Unary::Ctz => self.count(Bits::Tzcnt, x, width),
            Unary::Popcnt => self.count(Bits::Popcnt, x, width),
            Unary::OrCombine => return self.or_combine(x, dst),
            Unary::ReverseBits => return self.reverse_bits(x, dst),
        }
        self.put_filled(inst, dst, Reg::Rax);
    }

    fn scattered(&mut self, op: Scatter, inst: &Inst, dst: Slot, width: Width) {
        let [x, y, ..] = inst.args;
        let x = self.in_reg(x, Reg::Rax);
        let y = self.in_reg(y, Reg::Rcx);
        let target = self.pin(dst).unwrap_or(Reg::Rax);
        self.asm.scatter(op, width, target, x, y);
        self.put_filled(inst, dst, target);
    }

    /// Counts bits, into RAX.
    fn count(&mut self, what: Bits, x: Operand, width: Width) {
        let from = self.in_reg(x, Reg::Rcx);
        self.asm.count_bits(what, width, Reg::Rax, from);
    }
}
