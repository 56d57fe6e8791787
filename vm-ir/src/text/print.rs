//! Blocks to text.

use std::fmt::{self, Write};

use super::{EXTENSIONS, INT_RULES, MINMAX_RULES, ORDERS, has_address, is_untyped, name_in};
use crate::attr::{Attr, Endian, FpToIntRule, MemAttr};
use crate::block::{Block, JumpKind, Terminator};
use crate::inst::{Inst, Operand};
use crate::op::Op;
use crate::slot::{Slot, StateLayout, Type};

/// The text form of a block. The layout names its slots, helpers and vector operations.
pub fn print(block: &Block, layout: &StateLayout) -> String {
    let mut out = String::new();
    let printer = Printer {
        layout,
        temps: &block.temps,
    };
    printer
        .block(&mut out, block)
        .expect("invariant: writing to a string succeeds");
    out
}

/// The text form of one operation.
pub fn print_inst(inst: &Inst, temps: &[Type], layout: &StateLayout) -> String {
    let mut out = String::new();
    let printer = Printer { layout, temps };
    printer
        .inst(&mut out, inst)
        .expect("invariant: writing to a string succeeds");
    out
}

/// The text form of a terminator.
pub fn print_terminator(terminator: &Terminator, layout: &StateLayout) -> String {
    let mut out = String::new();
    let printer = Printer { layout, temps: &[] };
    printer
        .terminator(&mut out, terminator)
        .expect("invariant: writing to a string succeeds");
    out
}

struct Printer<'a> {
    layout: &'a StateLayout,
    temps: &'a [Type],
}

/// A number: decimal when short, else hexadecimal.
struct Number(i64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        if magnitude < 1000 {
            return write!(f, "{}", self.0);
        }
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{magnitude:#x}")
    }
}

impl Printer<'_> {
    fn block(&self, out: &mut String, block: &Block) -> fmt::Result {
        let key = block.key;
        write!(
            out,
            "block phys={:#x} mode={:#x}",
            key.phys_pc.raw(),
            key.mode.0
        )?;
        let (insns, bytes) = block.marked();
        if block.guest_insns != insns {
            write!(out, " insns={}", block.guest_insns)?;
        }
        if block.guest_bytes != bytes {
            write!(out, " bytes={}", block.guest_bytes)?;
        }
        if let Some(page) = block.second_page {
            write!(out, " second={:#x}", page.raw())?;
        }
        out.push('\n');
        for (number, ty) in block.temps.iter().enumerate() {
            let temp = Slot::temp(number as u16);
            if !block.insts.iter().any(|inst| inst.dst == Some(temp)) {
                writeln!(out, "  temp %t{number}:{ty}")?;
            }
        }
        for inst in &block.insts {
            out.push_str("  ");
            self.inst(out, inst)?;
            out.push('\n');
        }
        out.push_str("  ");
        self.terminator(out, &block.terminator)?;
        out.push('\n');
        Ok(())
    }

    fn inst(&self, out: &mut String, inst: &Inst) -> fmt::Result {
        if let Attr::Insn { offset, len } = inst.attr {
            return match len {
                0 => write!(out, "restart {offset:#x}"),
                _ => write!(out, "insn {offset:#x}, {len}"),
            };
        }
        if let Some(dst) = inst.dst {
            self.slot(out, dst)?;
            if dst.is_temp() {
                let ty = self.temps.get(dst.index()).copied().unwrap_or(Type::I64);
                write!(out, ":{ty}")?;
            }
            out.push_str(" = ");
        }
        out.push_str(inst.op.info().name);
        if !is_untyped(inst.op) {
            write!(out, ".{}", inst.ty)?;
        }
        if let Some(ext) = name_in(&EXTENSIONS, &inst.ext) {
            write!(out, ".{ext}")?;
        }
        self.attr(out, inst)?;
        self.operands(out, inst)
    }

    fn attr(&self, out: &mut String, inst: &Inst) -> fmt::Result {
        match inst.attr {
            Attr::None | Attr::Insn { .. } => Ok(()),
            Attr::Mem(mem) => memory(out, mem),
            Attr::Fp(rounding) => write!(out, ".{}", rounding.name()),
            Attr::Convert {
                from,
                rounding,
                signed,
                rule,
            } => {
                let to_int = inst.op == Op::FpToInt;
                write!(out, ".{from}.{}", rounding.name())?;
                if to_int || !signed {
                    out.push_str(if signed { ".signed" } else { ".unsigned" });
                }
                match name_in(&INT_RULES, &rule) {
                    Some(name) if to_int || rule != FpToIntRule::SaturateNanMax => {
                        write!(out, ".{name}")
                    }
                    _ => Ok(()),
                }
            }
            Attr::Integral { rounding, exact } => {
                write!(
                    out,
                    ".{}{}",
                    rounding.name(),
                    if exact { ".exact" } else { "" }
                )
            }
            Attr::MinMax(rule) => {
                write!(
                    out,
                    ".{}",
                    name_in(&MINMAX_RULES, &rule).unwrap_or_default()
                )
            }
            Attr::Cond(cond) => write!(out, ".{}", cond.name()),
            Attr::FlagCond(cond) => write!(out, ".{}", cond.name()),
            Attr::FlagKind(kind) => write!(out, ".{}", kind.name()),
            Attr::Helper(helper) => match self.layout.helpers.get(usize::from(helper.0)) {
                Some(declared) => write!(out, " @{}", declared.name),
                None => write!(out, " @#{}", helper.0),
            },
            Attr::Vector { row, imm } => {
                match self.layout.vectors.get(usize::from(row.0)) {
                    Some(declared) => write!(out, " @{}", declared.name)?,
                    None => write!(out, " @#{}", row.0)?,
                }
                match imm {
                    0 => Ok(()),
                    _ => write!(out, "/{imm}"),
                }
            }
            Attr::Lane { ty, index } => match index {
                0 if !inst.op.uses_lane_index() => write!(out, ".{ty}"),
                _ => write!(out, ".{ty}[{index}]"),
            },
            Attr::Field { pos, len, signed } => {
                let sign = if signed { "s" } else { "" };
                write!(out, ".{sign}[{}:{pos}]", (pos + len).saturating_sub(1))
            }
            Attr::Fence(set) => {
                let side = |loads, stores| match (loads, stores) {
                    (true, true) => "rw",
                    (true, false) => "r",
                    (false, true) => "w",
                    (false, false) => "none",
                };
                let before = side(set.before_loads, set.before_stores);
                write!(out, ".{before}.{}", side(set.after_loads, set.after_stores))
            }
        }
    }

    fn operands(&self, out: &mut String, inst: &Inst) -> fmt::Result {
        let mut rest = &inst.args[..];
        let mut separator = " ";
        if has_address(inst.op) {
            out.push_str(separator);
            self.address(out, inst)?;
            separator = ", ";
            rest = &rest[3..];
        }
        let used = rest
            .iter()
            .rposition(|arg| *arg != Operand::None)
            .map_or(0, |last| last + 1);
        for arg in &rest[..used] {
            out.push_str(separator);
            self.operand(out, *arg)?;
            separator = ", ";
        }
        Ok(())
    }

    fn address(&self, out: &mut String, inst: &Inst) -> fmt::Result {
        let Attr::Mem(mem) = inst.attr else {
            return Ok(());
        };
        let [base, index, displacement, _] = inst.args;
        out.push('[');
        self.operand(out, base)?;
        if index != Operand::None {
            out.push_str(" + ");
            self.operand(out, index)?;
            if mem.index_shift != 0 || index.imm().is_some() {
                write!(out, "<<{}", mem.index_shift)?;
            }
        }
        match displacement.imm() {
            None | Some(0) => {}
            Some(value) if value < 0 && value != i64::MIN => write!(out, " - {}", Number(-value))?,
            Some(value) => write!(out, " + {}", Number(value))?,
        }
        out.push(']');
        Ok(())
    }

    fn operand(&self, out: &mut String, operand: Operand) -> fmt::Result {
        match operand {
            Operand::None => out.write_str("none"),
            Operand::Slot(slot) => self.slot(out, slot),
            Operand::Imm(value) => write!(out, "{}", Number(value)),
        }
    }

    fn slot(&self, out: &mut String, slot: Slot) -> fmt::Result {
        match self.layout.slots.get(slot.index()) {
            _ if slot.is_temp() => write!(out, "%t{}", slot.index()),
            Some(declared) => out.write_str(declared.name),
            None => write!(out, "#{}", slot.index()),
        }
    }

    fn terminator(&self, out: &mut String, terminator: &Terminator) -> fmt::Result {
        match *terminator {
            Terminator::Jump { offset, kind } => {
                write!(out, "jump{} {}", kind_suffix(kind), Number(offset))?;
                return_offset(out, kind)
            }
            Terminator::Branch {
                cond,
                ty,
                a,
                b,
                taken,
                fallthrough,
            } => {
                write!(out, "branch.{ty}.{} ", cond.name())?;
                self.operand(out, a)?;
                out.push_str(", ");
                self.operand(out, b)?;
                write!(out, ", {}, {}", Number(taken), Number(fallthrough))
            }
            Terminator::Indirect { target, kind } => {
                write!(out, "indirect{} ", kind_suffix(kind))?;
                self.operand(out, target)?;
                return_offset(out, kind)
            }
            Terminator::Exception { code, value } => {
                write!(out, "exception {}, ", code.0)?;
                self.operand(out, value)
            }
            Terminator::Exit { offset } => write!(out, "exit {}", Number(offset)),
            Terminator::Dispatch => out.write_str("dispatch"),
        }
    }
}

fn memory(out: &mut String, mem: MemAttr) -> fmt::Result {
    write!(
        out,
        ".b{}{}",
        mem.bytes(),
        if mem.signed { "s" } else { "" }
    )?;
    if mem.endian == Endian::Big {
        out.push_str(".be");
    }
    if let Some(order) = name_in(&ORDERS, &mem.order) {
        write!(out, ".{order}")?;
    }
    if mem.must_align {
        out.push_str(".align");
    }
    Ok(())
}

fn kind_suffix(kind: JumpKind) -> &'static str {
    match kind {
        JumpKind::Plain => "",
        JumpKind::Call { .. } => ".call",
        JumpKind::Return => ".return",
    }
}

fn return_offset(out: &mut String, kind: JumpKind) -> fmt::Result {
    match kind {
        JumpKind::Call { return_offset } => write!(out, ", {}", Number(return_offset)),
        _ => Ok(()),
    }
}
