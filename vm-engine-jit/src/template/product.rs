//! Products and quotients of double width: several operations that are one instruction of the host's.

use vm_ir::{Attr, Cond, Ext, FlagKind, Inst, Op, Operand, Slot, Type};

use super::block::{Emitter, width};
use super::cold::Cold;
use crate::asm::{Alu, Cc, Label, Mem, Reg, Rm, Shift, Width};

/// A product, its high half, and flags about it.
struct Product<'a> {
    low: &'a Inst,
    /// The temporaries of both halves.
    halves: [Slot; 2],
    signed: bool,
    /// Whether the high half is read by other operations than those of the flags.
    keeps_high: bool,
    flags: Option<Slot>,
    /// Where the low half is copied to right behind, which is all that reads it besides.
    to: Option<&'a Inst>,
    /// Operations in the block.
    count: usize,
}

impl Emitter<'_> {
    /// Translates a product or a quotient that begins at an operation of the block; tells how many operations it had.
    pub(super) fn double_width(&mut self, at: usize) -> Option<usize> {
        match self.of.block.insts.get(at)?.op {
            Op::MulHS | Op::MulHU => self.product(at),
            Op::RaiseIf => self.quotient(at),
            Op::DivSOverflows => self.signed_quotient(at),
            _ => None,
        }
    }

    fn reads_of(&self, slot: Slot) -> u8 {
        self.reads.get(slot.index()).copied().unwrap_or(u8::MAX)
    }

    fn temp_of(&self, inst: &Inst) -> Option<Slot> {
        inst.dst
            .filter(|&dst| dst.is_temp() && self.has_one_word(dst))
    }

    fn find_product(&self, at: usize) -> Option<Product<'_>> {
        let [first, low, rest @ ..] = self.of.block.insts.get(at..)? else {
            return None;
        };
        let signed = first.op == Op::MulHS;
        let halves @ [high, product] = [self.temp_of(first)?, self.temp_of(low)?];
        let fits = matches!(first.ty, Type::I32 | Type::I64)
            && low.op == Op::Mul
            && low.ty == first.ty
            && first.args[..2] == low.args[..2]
            && [first.ext, low.ext] == [Ext::Zero; 2]
            && low
                .args
                .iter()
                .all(|arg| !arg.slot().is_some_and(|slot| halves.contains(&slot)));
        if !fits {
            return None;
        }
        let (flags, by_flags, count) = match self.product_flags(rest, halves, signed) {
            Some((flags, count)) => (Some(flags), [1, 1 + u8::from(signed)], 2 + count),
            None => (None, [0, 0], 2),
        };
        let others = |slot, by_flags| self.reads_of(slot).saturating_sub(by_flags);
        let keeps_high = others(high, by_flags[0]) > 0;
        if flags.is_none() && !keeps_high {
            return None;
        }
        let to = rest.get(count - 2).filter(|mov| {
            let copies = mov.op == Op::Mov
                && mov.ty == low.ty
                && matches!(mov.ext, Ext::Zero)
                && mov.args[0] == Operand::Slot(product)
                && others(product, by_flags[1]) == 1;
            copies && mov.dst.is_some_and(|dst| self.pin(dst).is_some())
        });
        Some(Product {
            low,
            halves,
            signed,
            keeps_high,
            flags,
            to,
            count: count + usize::from(to.is_some()),
        })
    }

    /// The flags that say whether the high half matters, and how many operations they take.
    fn product_flags(
        &self,
        insts: &[Inst],
        [high, low]: [Slot; 2],
        signed: bool,
    ) -> Option<(Slot, usize)> {
        let (extension, rest) = match (signed, insts) {
            (false, rest) => (None, rest),
            (true, [sar, rest @ ..]) => {
                let top = i64::from(sar.ty.bits()) - 1;
                let of_low = sar.op == Op::Sar
                    && sar.args[..2] == [Operand::Slot(low), Operand::Imm(top)]
                    && self.reads_of(sar.dst?) == 1;
                (Some(of_low.then_some(sar.dst?)?), rest)
            }
            _ => return None,
        };
        let [cmp, set, ..] = rest else { return None };
        let other = match extension {
            Some(slot) => cmp.args[1] == Operand::Slot(slot),
            None => matches!(cmp.args[1], Operand::Imm(0) | Operand::None),
        };
        let matters = self.temp_of(cmp)?;
        let fits = cmp.op == Op::Cmp
            && cmp.attr == Attr::Cond(Cond::Ne)
            && cmp.args[0] == Operand::Slot(high)
            && other
            && set.op == Op::SetFlags
            && set.attr == Attr::FlagKind(FlagKind::Mul)
            && set.ty == cmp.ty
            && set.args[..2] == [Operand::Slot(low), Operand::Slot(matters)]
            && self.reads_of(matters) == 1;
        let count = 2 + usize::from(signed);
        Some((fits.then_some(set.dst?)?, count))
    }

    fn product(&mut self, at: usize) -> Option<usize> {
        let Product {
            low,
            halves: [high, product],
            signed,
            keeps_high,
            flags,
            to,
            count,
        } = self.find_product(at)?;
        let to = to.and_then(|mov| mov.dst);
        let (width, [x, y, ..]) = (width(low.ty)?, low.args);
        self.host_flags = None;
        self.carry = None;
        self.load(x, Reg::Rax);
        let y = match y {
            Operand::Slot(slot) => self.place(slot),
            constant => {
                self.load(constant, Reg::Rcx);
                Rm::from(Reg::Rcx)
            }
        };
        match (keeps_high, signed) {
            (true, true) => self.asm.imul_wide(width, y),
            (true, false) => self.asm.mul(width, y),
            (false, true) => self.asm.imul(width, Reg::Rax, y),
            // RDX has what matters.
            (false, false) => self.asm.mul(width, y),
        }
        if flags.is_some() {
            self.asm.setcc(Cc::B, Reg::Rcx);
        }
        if keeps_high {
            self.put(high, Reg::Rdx);
        }
        self.put(to.unwrap_or(product), Reg::Rax);
        if let Some(group) = flags {
            // C and V are alike; the others are those of the low half.
            self.asm.movzx(Width::B, Reg::Rcx, Reg::Rcx);
            self.asm.mov(Width::D, Reg::Rdx, Reg::Rcx);
            self.asm.shift_imm(Shift::Shl, Width::D, Reg::Rdx, 8);
            self.asm.alu(Alu::Or, Width::D, Reg::Rcx, Reg::Rdx);
            self.asm.alu_imm(Alu::Cmp, width, Reg::Rax, 0);
            self.asm.lahf();
            self.asm.setcc(Cc::O, Reg::Rax);
            self.asm.alu(Alu::Or, Width::D, Reg::Rax, Reg::Rcx);
            let home = self.home(group);
            self.asm.store(Width::W, home, Reg::Rax);
        }
        Some(count)
    }

    /// The two results of a division whose operations begin at one of the block: where the quotient and the remainder go.
    fn results(
        &self,
        at: usize,
        ops: [Op; 2],
        operands: &[Operand; 3],
        ty: Type,
    ) -> Option<[Slot; 2]> {
        let [div, rem, mov, ..] = self.of.block.insts.get(at..)? else {
            return None;
        };
        let quotient = self.temp_of(div)?;
        let results = [mov.dst?, rem.dst?];
        let fits = matches!(ty, Type::I32 | Type::I64)
            && [div.op, rem.op, mov.op] == [ops[0], ops[1], Op::Mov]
            && [div.ty, rem.ty, mov.ty] == [ty; 3]
            && [div.ext, rem.ext, mov.ext] == [Ext::Zero; 3]
            && div.args[..3] == operands[..]
            && rem.args[..3] == operands[..]
            && mov.args[0] == Operand::Slot(quotient)
            && self.reads_of(quotient) == 1
            && results[0] != results[1]
            && results
                .iter()
                .all(|&slot| !slot.is_temp() && self.has_one_word(slot));
        fits.then_some(results)
    }

    /// Unsigned: the check that the quotient fits, the quotient, and the remainder.
    fn quotient(&mut self, at: usize) -> Option<usize> {
        let raise = self.of.block.insts.get(at)?;
        let div = self.of.block.insts.get(at + 1)?;
        let [low, high, by, _] = div.args;
        let checks = raise.attr == Attr::Cond(Cond::GeU)
            && raise.ty == div.ty
            && raise.args[..2] == [high, by];
        let width = width(div.ty).filter(|_| checks && !self.has_vector_temps())?;
        let ops = [Op::DivUWide, Op::RemUWide];
        let results = self.results(at + 1, ops, &[low, high, by], div.ty)?;
        self.host_flags = None;
        self.carry = None;
        self.load(by, Reg::Rcx);
        self.load(high, Reg::Rdx);
        self.load(low, Reg::Rax);
        let away = self.asm.label();
        self.asm.alu(Alu::Cmp, width, Reg::Rdx, Reg::Rcx);
        self.asm.jcc(Cc::Ae, away);
        self.asm.div(width, Reg::Rcx);
        Some(self.divided(at, 4, results, away))
    }

    /// Signed: the same. The host's instruction is for dividends that are the extension of the low half, as compilers
    /// have them, and divisors but 0 and -1.
    fn signed_quotient(&mut self, at: usize) -> Option<usize> {
        let [overflows, raise, ..] = self.of.block.insts.get(at..)? else {
            return None;
        };
        let beyond = self.temp_of(overflows)?;
        let [low, high, by, _] = overflows.args;
        let checks = raise.op == Op::RaiseIf
            && raise.attr == Attr::Cond(Cond::Ne)
            && raise.ty == overflows.ty
            && raise.args[0] == Operand::Slot(beyond)
            && matches!(raise.args[1], Operand::Imm(0) | Operand::None)
            && self.reads_of(beyond) == 1;
        let width = width(overflows.ty).filter(|_| checks && !self.has_vector_temps())?;
        let above = high.slot()?;
        let ops = [Op::DivSWide, Op::RemSWide];
        let results = self.results(at + 2, ops, &[low, high, by], overflows.ty)?;
        self.host_flags = None;
        self.carry = None;
        let away = self.asm.label();
        self.load(by, Reg::Rcx);
        self.load(low, Reg::Rax);
        self.asm.lea(width, Reg::Rdx, Mem::new(Reg::Rcx, 1));
        self.asm.alu_imm(Alu::Cmp, width, Reg::Rdx, 1);
        self.asm.jcc(Cc::Be, away);
        self.asm.sign_to_rdx(width);
        let above = self.place(above);
        self.asm.alu(Alu::Cmp, width, Reg::Rdx, above);
        self.asm.jcc(Cc::Ne, away);
        self.asm.idiv(width, Reg::Rcx);
        Some(self.divided(at, 5, results, away))
    }

    /// Puts results where they go; away, all operations are done one by one.
    fn divided(&mut self, at: usize, count: usize, to: [Slot; 2], away: Label) -> usize {
        let [quotient, remainder] = to;
        self.put(quotient, Reg::Rax);
        self.put(remainder, Reg::Rdx);
        let back = self.asm.here();
        self.cold.push(Cold::Apart {
            from: away,
            at,
            count,
            kept: None,
            lazy: self.lazy,
            back,
            live: self.live,
        });
        count
    }
}
