//! Text to blocks.

use vm_core::GuestPhysAddr;

use super::attribute::{attribute, cond_named, type_named};
use super::cursor::{Cursor, Parts, Problem, Result, magnitude};
use super::{EXTENSIONS, has_address, is_untyped, value_in};
use crate::attr::{Attr, HelperId, VectorId};
use crate::block::{Block, BlockKey, ExceptionCode, JumpKind, Mode, Terminator};
use crate::inst::{Ext, Inst, Operand};
use crate::op::{AttrClass, Op};
use crate::slot::{Slot, StateLayout, Type};

/// The block that a text describes. A missing header counts as address and mode zero.
///
/// # Errors
/// Where the text is wrong, and how.
pub fn parse(text: &str, layout: &StateLayout) -> Result<Block> {
    let mut parser = Parser {
        layout,
        temps: Vec::new(),
        seen: 0,
    };
    let mut header = Header::default();
    let mut insts = Vec::new();
    let mut terminator = None;
    let mut lines = 0;
    for (number, line) in text.lines().enumerate() {
        lines = number + 1;
        let line = line.split(';').next().unwrap_or_default();
        let mut cursor = Cursor {
            line,
            at: 0,
            number: lines,
        };
        cursor.skip_space();
        if cursor.is_at_end() {
            continue;
        }
        if terminator.is_some() {
            return Err(cursor.error(Problem::AfterTerminator));
        }
        match parser.line(&mut cursor, &mut header)? {
            Line::Inst(inst) => insts.push(inst),
            Line::End(end) => terminator = Some(end),
            Line::Other => {}
        }
        if !cursor.is_at_end() {
            return Err(cursor.error(Problem::Expected("the end of the line")));
        }
    }
    let end = Cursor {
        line: "",
        at: 0,
        number: lines + 1,
    };
    let terminator = terminator.ok_or_else(|| end.error(Problem::Expected("a terminator")))?;
    parser
        .temps
        .resize(parser.temps.len().max(parser.seen), None);
    let temps = parser
        .temps
        .iter()
        .enumerate()
        .map(|(number, ty)| ty.ok_or_else(|| end.error(Problem::Untyped(number))));
    let mut block = Block {
        key: BlockKey {
            phys_pc: GuestPhysAddr(header.phys),
            mode: Mode(header.mode),
        },
        insts,
        temps: temps.collect::<Result<_>>()?,
        terminator,
        guest_insns: 0,
        guest_bytes: 0,
        second_page: header.second.map(GuestPhysAddr),
    };
    let (insns, bytes) = block.marked();
    block.guest_insns = header.insns.unwrap_or(insns);
    block.guest_bytes = header.bytes.unwrap_or(bytes);
    Ok(block)
}

#[derive(Default)]
struct Header {
    phys: u64,
    mode: u32,
    insns: Option<u32>,
    bytes: Option<u32>,
    second: Option<u64>,
}

enum Line {
    Inst(Inst),
    End(Terminator),
    Other,
}

struct Parser<'a> {
    layout: &'a StateLayout,
    temps: Vec<Option<Type>>,
    /// Temporaries mentioned.
    seen: usize,
}

impl Parser<'_> {
    fn line(&mut self, cursor: &mut Cursor<'_>, header: &mut Header) -> Result<Line> {
        let start = cursor.at;
        let (_, word) = cursor.word();
        match word {
            "block" => {
                self.header(cursor, header)?;
                return Ok(Line::Other);
            }
            "temp" => {
                self.destination(cursor)?;
                return Ok(Line::Other);
            }
            "insn" => {
                let offset = cursor.number_as()?;
                cursor.expect(",")?;
                return Ok(Line::Inst(Inst::marker(offset, cursor.number_as()?)));
            }
            "restart" => return Ok(Line::Inst(Inst::marker(cursor.number_as()?, 0))),
            _ => cursor.at = start,
        }
        if let Some(terminator) = self.terminator(cursor)? {
            return Ok(Line::End(terminator));
        }
        let mut dst = None;
        let before_equals = cursor.rest().split('=').next().unwrap_or_default();
        if before_equals.len() < cursor.rest().len() {
            dst = Some(self.destination(cursor)?);
            cursor.expect("=")?;
        }
        self.operation(cursor, dst).map(Line::Inst)
    }

    fn header(&mut self, cursor: &mut Cursor<'_>, header: &mut Header) -> Result<()> {
        while !cursor.is_at_end() {
            let (at, name) = cursor.word();
            cursor.expect("=")?;
            let (value_at, digits) = cursor.word();
            let wrong = || cursor.error_at(value_at, Problem::Number(digits.to_owned()));
            let value = magnitude(digits).ok_or_else(wrong)?;
            let short = u32::try_from(value).map_err(|_| wrong());
            match name {
                "phys" => header.phys = value,
                "mode" => header.mode = short?,
                "insns" => header.insns = Some(short?),
                "bytes" => header.bytes = Some(short?),
                "second" => header.second = Some(value),
                _ => {
                    let problem = Problem::Unknown {
                        what: "field",
                        name: name.to_owned(),
                    };
                    return Err(cursor.error_at(at, problem));
                }
            }
        }
        Ok(())
    }

    /// A slot that is written; a temporary with its type.
    fn destination(&mut self, cursor: &mut Cursor<'_>) -> Result<Slot> {
        cursor.skip_space();
        let at = cursor.at;
        let slot = self.slot(cursor)?;
        if slot.is_temp() {
            cursor.expect(":")?;
            let (type_at, name) = cursor.word();
            let unknown = || Problem::Unknown {
                what: "type",
                name: name.to_owned(),
            };
            let ty = type_named(name).ok_or_else(|| cursor.error_at(type_at, unknown()))?;
            let number = slot.index();
            self.temps.resize(self.temps.len().max(number + 1), None);
            if *self.temps[number].get_or_insert(ty) != ty {
                return Err(cursor.error_at(at, Problem::TwoTypes(number)));
            }
        }
        Ok(slot)
    }

    fn slot(&mut self, cursor: &mut Cursor<'_>) -> Result<Slot> {
        let (at, name) = cursor.word();
        let unknown = || Problem::Unknown {
            what: "slot",
            name: name.to_owned(),
        };
        if name.is_empty() {
            return Err(cursor.error_at(at, Problem::Expected("an operand")));
        }
        let slot = match name.strip_prefix("%t") {
            Some(number) => match number.parse::<u16>() {
                Ok(number) if number < 0x4000 => {
                    self.seen = self.seen.max(usize::from(number) + 1);
                    Some(Slot::temp(number))
                }
                _ => None,
            },
            None => self.layout.slot(name),
        };
        slot.ok_or_else(|| cursor.error_at(at, unknown()))
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>) -> Result<Operand> {
        cursor.skip_space();
        if cursor
            .rest()
            .starts_with(|c: char| c.is_ascii_digit() || c == '-')
        {
            return cursor.number().map(Operand::Imm);
        }
        let start = cursor.at;
        if cursor.word().1 == "none" {
            return Ok(Operand::None);
        }
        cursor.at = start;
        self.slot(cursor).map(Operand::Slot)
    }

    fn operation(&mut self, cursor: &mut Cursor<'_>, dst: Option<Slot>) -> Result<Inst> {
        let (at, word) = cursor.mnemonic();
        let (name, mut parts) = Parts::split(cursor, at, word);
        let unknown = || Problem::Unknown {
            what: "operation",
            name: name.to_owned(),
        };
        let op = Op::from_name(name).ok_or_else(|| cursor.error_at(at, unknown()))?;
        let mut inst = Inst {
            op,
            ty: Type::I64,
            ext: Ext::Zero,
            dst,
            args: [Operand::None; 4],
            attr: Attr::None,
        };
        if !is_untyped(op) {
            inst.ty = parts.must("type", type_named)?;
        }
        inst.ext = parts
            .maybe(|part| value_in(&EXTENSIONS, part))
            .unwrap_or_default();
        inst.attr = attribute(op, &mut parts)?;
        parts.finish()?;
        match op.info().attr {
            AttrClass::Helper => inst.attr = Attr::Helper(self.helper(cursor)?),
            AttrClass::Vector => inst.attr = self.vector(cursor)?,
            _ => {}
        }
        let mut next = 0;
        if has_address(op) {
            self.address(cursor, &mut inst)?;
            next = 3;
            if !cursor.is_at_end() {
                cursor.expect(",")?;
            }
        }
        while !cursor.is_at_end() {
            if next == 4 {
                return Err(cursor.error(Problem::Expected("the end of the line")));
            }
            inst.args[next] = self.operand(cursor)?;
            next += 1;
            if !cursor.is_at_end() {
                cursor.expect(",")?;
            }
        }
        Ok(inst)
    }

    fn helper(&self, cursor: &mut Cursor<'_>) -> Result<HelperId> {
        cursor.skip_space();
        cursor.expect("@")?;
        let (at, name) = cursor.run(|c| !c.is_whitespace());
        let found = self
            .layout
            .helpers
            .iter()
            .position(|helper| helper.name == name);
        let unknown = || Problem::Unknown {
            what: "helper",
            name: name.to_owned(),
        };
        let number = found.ok_or_else(|| cursor.error_at(at, unknown()))?;
        Ok(HelperId(number as u16))
    }

    /// `@name` or `@name/constant`.
    fn vector(&self, cursor: &mut Cursor<'_>) -> Result<Attr> {
        cursor.skip_space();
        cursor.expect("@")?;
        let (at, name) = cursor.run(|c| !c.is_whitespace() && c != '/');
        let found = self.layout.vectors.iter().position(|row| row.name == name);
        let unknown = || Problem::Unknown {
            what: "vector operation",
            name: name.to_owned(),
        };
        let number = found.ok_or_else(|| cursor.error_at(at, unknown()))?;
        let imm = if cursor.eat("/") {
            cursor.number_as()?
        } else {
            0
        };
        Ok(Attr::Vector {
            row: VectorId(number as u16),
            imm,
        })
    }

    /// `[base + index<<shift + displacement]`.
    fn address(&mut self, cursor: &mut Cursor<'_>, inst: &mut Inst) -> Result<()> {
        cursor.expect("[")?;
        inst.args[0] = self.operand(cursor)?;
        inst.args[2] = Operand::Imm(0);
        if cursor.eat("+") {
            let term = self.operand(cursor)?;
            let shifted = cursor.eat("<<");
            if shifted && let Attr::Mem(mem) = &mut inst.attr {
                mem.index_shift = cursor.number_as()?;
            }
            if shifted || term.imm().is_none() {
                inst.args[1] = term;
            } else {
                inst.args[2] = term;
                return cursor.expect("]");
            }
            if cursor.eat("+") {
                inst.args[2] = Operand::Imm(cursor.number()?);
                return cursor.expect("]");
            }
        }
        if cursor.eat("-") {
            inst.args[2] = Operand::Imm(cursor.number()?.wrapping_neg());
        }
        cursor.expect("]")
    }

    fn terminator(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Terminator>> {
        let start = cursor.at;
        let (at, word) = cursor.mnemonic();
        let (name, mut parts) = Parts::split(cursor, at, word);
        let kind = |parts: &mut Parts<'_, '_>| match (parts.flag("call"), parts.flag("return")) {
            (true, _) => JumpKind::Call { return_offset: 0 },
            (_, true) => JumpKind::Return,
            _ => JumpKind::Plain,
        };
        let terminator = match name {
            "jump" => {
                let kind = kind(&mut parts);
                parts.finish()?;
                let offset = cursor.number()?;
                Terminator::Jump {
                    offset,
                    kind: return_offset(cursor, kind)?,
                }
            }
            "indirect" => {
                let kind = kind(&mut parts);
                parts.finish()?;
                let target = self.operand(cursor)?;
                Terminator::Indirect {
                    target,
                    kind: return_offset(cursor, kind)?,
                }
            }
            "branch" => {
                let ty = parts.must("type", type_named)?;
                let cond = parts.must("condition", cond_named)?;
                parts.finish()?;
                let a = self.operand(cursor)?;
                cursor.expect(",")?;
                let b = self.operand(cursor)?;
                cursor.expect(",")?;
                let taken = cursor.number()?;
                cursor.expect(",")?;
                let fallthrough = cursor.number()?;
                Terminator::Branch {
                    cond,
                    ty,
                    a,
                    b,
                    taken,
                    fallthrough,
                }
            }
            "exception" => {
                parts.finish()?;
                let code = ExceptionCode(cursor.number_as()?);
                cursor.expect(",")?;
                Terminator::Exception {
                    code,
                    value: self.operand(cursor)?,
                }
            }
            "exit" => {
                parts.finish()?;
                Terminator::Exit {
                    offset: cursor.number()?,
                }
            }
            "dispatch" => {
                parts.finish()?;
                Terminator::Dispatch
            }
            _ => {
                cursor.at = start;
                return Ok(None);
            }
        };
        Ok(Some(terminator))
    }
}

fn return_offset(cursor: &mut Cursor<'_>, kind: JumpKind) -> Result<JumpKind> {
    Ok(match kind {
        JumpKind::Call { .. } => {
            cursor.expect(",")?;
            JumpKind::Call {
                return_offset: cursor.number()?,
            }
        }
        other => other,
    })
}
