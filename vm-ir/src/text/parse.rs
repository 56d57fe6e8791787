//! Text to blocks.

use vm_core::GuestPhysAddr;

use super::{EXTENSIONS, INT_RULES, MINMAX_RULES, ORDERS, has_address, is_untyped, value_in};
use crate::attr::{
    Attr, Cond, Endian, FenceSet, FlagCond, FlagKind, FpToIntRule, HelperId, MemAttr, Rounding,
};
use crate::block::{Block, BlockKey, ExceptionCode, JumpKind, Mode, Terminator};
use crate::inst::{Ext, Inst, Operand};
use crate::op::{AttrClass, Op};
use crate::slot::{Slot, StateLayout, Type};

/// Text that is no block, and where. Correct the text there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Something else must stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A name that no table has.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A part of the operation's name that does not belong to it.
    #[error("`{0}` does not belong here")]
    Superfluous(String),
    /// A number that does not fit.
    #[error("`{0}` is not a number that fits here")]
    Number(String),
    /// A temporary with two types.
    #[error("temporary {0} has two types")]
    TwoTypes(usize),
    /// A temporary without type.
    #[error("temporary {0} is never written, nor declared by a `temp` line")]
    Untyped(usize),
    /// More after the terminator.
    #[error("nothing may follow the terminator")]
    AfterTerminator,
}

type Result<T> = std::result::Result<T, ParseError>;

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

/// A place in one line.
struct Cursor<'a> {
    line: &'a str,
    at: usize,
    number: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn error_at(&self, at: usize, problem: Problem) -> ParseError {
        let column = self.line[..at].chars().count() + 1;
        ParseError {
            line: self.number,
            column,
            problem,
        }
    }

    fn error(&self, problem: Problem) -> ParseError {
        self.error_at(self.at, problem)
    }

    fn skip_space(&mut self) {
        self.at = self.line.len() - self.rest().trim_start().len();
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }

    /// The longest run of characters that `belongs` accepts; where it starts, and the run.
    fn run(&mut self, belongs: impl Fn(char) -> bool) -> (usize, &'a str) {
        self.skip_space();
        let (start, rest) = (self.at, self.rest());
        let length = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += length;
        (start, &rest[..length])
    }

    /// A name, slot or number.
    fn word(&mut self) -> (usize, &'a str) {
        self.run(|c| c.is_alphanumeric() || matches!(c, '_' | '%' | '#' | '@'))
    }

    /// An operation's name with its parts.
    fn mnemonic(&mut self) -> (usize, &'a str) {
        self.run(|c| !c.is_whitespace())
    }

    fn eat(&mut self, text: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn expect(&mut self, text: &'static str) -> Result<()> {
        if self.eat(text) {
            Ok(())
        } else {
            Err(self.error(Problem::Expected(text)))
        }
    }

    fn number(&mut self) -> Result<i64> {
        let negative = self.eat("-");
        let (at, word) = self.word();
        if word.is_empty() {
            return Err(self.error_at(at, Problem::Expected("a number")));
        }
        let wrong = || self.error_at(at, Problem::Number(word.to_owned()));
        let magnitude = magnitude(word).ok_or_else(wrong)?;
        match negative {
            true if magnitude <= 1 << 63 => Ok((magnitude as i64).wrapping_neg()),
            false => i64::try_from(magnitude).map_err(|_| wrong()),
            true => Err(wrong()),
        }
    }

    fn number_as<T: TryFrom<i64>>(&mut self) -> Result<T> {
        self.skip_space();
        let at = self.at;
        let value = self.number()?;
        let text = self.line[at..self.at].to_owned();
        T::try_from(value).map_err(|_| self.error_at(at, Problem::Number(text)))
    }
}

fn magnitude(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The parts of an operation's name behind the name itself.
struct Parts<'c, 'a> {
    cursor: &'c Cursor<'a>,
    /// Place and text of each, last first.
    left: Vec<(usize, &'a str)>,
    end: usize,
}

impl<'c, 'a> Parts<'c, 'a> {
    /// Splits `word`, which starts at `at`; the first part comes apart.
    fn split(cursor: &'c Cursor<'a>, at: usize, word: &'a str) -> (&'a str, Self) {
        let mut place = at;
        let mut left = Vec::new();
        for part in word.split('.') {
            left.push((place, part));
            place += part.len() + 1;
        }
        left.reverse();
        let name = left.pop().map_or("", |(_, name)| name);
        (
            name,
            Self {
                cursor,
                left,
                end: at + word.len(),
            },
        )
    }

    /// The next part as `read` understands it, or nothing.
    fn maybe<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        let value = read(self.left.last()?.1)?;
        self.left.pop();
        Some(value)
    }

    /// The next part, which must be one that `read` understands.
    fn must<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T> {
        let Some((at, part)) = self.left.pop() else {
            return Err(self.cursor.error_at(self.end, Problem::Expected(what)));
        };
        let unknown = || Problem::Unknown {
            what,
            name: part.to_owned(),
        };
        read(part).ok_or_else(|| self.cursor.error_at(at, unknown()))
    }

    fn flag(&mut self, name: &str) -> bool {
        self.maybe(|part| (part == name).then_some(())).is_some()
    }

    fn finish(&self) -> Result<()> {
        match self.left.last() {
            Some(&(at, part)) => Err(self
                .cursor
                .error_at(at, Problem::Superfluous(part.to_owned()))),
            None => Ok(()),
        }
    }
}

fn type_named(name: &str) -> Option<Type> {
    Type::ALL.into_iter().find(|ty| ty.name() == name)
}

fn cond_named(name: &str) -> Option<Cond> {
    Cond::ALL.into_iter().find(|cond| cond.name() == name)
}

fn rounding_named(name: &str) -> Option<Rounding> {
    Rounding::ALL
        .into_iter()
        .find(|rounding| rounding.name() == name)
}

/// `b4`, `b4s`.
fn size_named(name: &str) -> Option<(u8, bool)> {
    let digits = name.strip_prefix('b')?;
    let (digits, signed) = match digits.strip_suffix('s') {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    let size_log2 = ["1", "2", "4", "8", "16"]
        .iter()
        .position(|size| *size == digits)?;
    Some((size_log2 as u8, signed))
}

/// `[7:0]`, `s[7:0]`: position, length, whether signed.
fn field_named(name: &str) -> Option<(u8, u8, bool)> {
    let (name, signed) = match name.strip_prefix('s') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (high, low) = name.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    let (high, low): (u8, u8) = (high.parse().ok()?, low.parse().ok()?);
    Some((low, high.checked_sub(low)?.checked_add(1)?, signed))
}

/// `i8`, `i8[3]`: type and index.
fn lane_named(name: &str) -> Option<(Type, u8)> {
    match name.split_once('[') {
        Some((ty, index)) => Some((type_named(ty)?, index.strip_suffix(']')?.parse().ok()?)),
        None => Some((type_named(name)?, 0)),
    }
}

/// One side of a fence: loads, stores.
fn side_named(name: &str) -> Option<(bool, bool)> {
    Some(match name {
        "rw" => (true, true),
        "r" => (true, false),
        "w" => (false, true),
        "none" => (false, false),
        _ => return None,
    })
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
        if op.info().attr == AttrClass::Helper {
            inst.attr = Attr::Helper(self.helper(cursor)?);
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

/// The attribute that an operation's table row asks for.
fn attribute(op: Op, parts: &mut Parts<'_, '_>) -> Result<Attr> {
    Ok(match op.info().attr {
        AttrClass::None | AttrClass::Insn | AttrClass::Helper => Attr::None,
        AttrClass::Mem => {
            let (size_log2, signed) = parts.must("access size", size_named)?;
            let endian = if parts.flag("be") {
                Endian::Big
            } else {
                Endian::Little
            };
            let order = parts
                .maybe(|part| value_in(&ORDERS, part))
                .unwrap_or_default();
            let must_align = parts.flag("align");
            let plain = MemAttr::plain(size_log2);
            Attr::Mem(MemAttr {
                signed,
                endian,
                order,
                must_align,
                ..plain
            })
        }
        AttrClass::Fp => Attr::Fp(parts.must("rounding", rounding_named)?),
        AttrClass::Convert => Attr::Convert {
            from: parts.must("type", type_named)?,
            rounding: parts.must("rounding", rounding_named)?,
            signed: !parts.flag("unsigned") | parts.flag("signed"),
            rule: parts
                .maybe(|part| value_in(&INT_RULES, part))
                .unwrap_or(FpToIntRule::SaturateNanMax),
        },
        AttrClass::Integral => Attr::Integral {
            rounding: parts.must("rounding", rounding_named)?,
            exact: parts.flag("exact"),
        },
        AttrClass::MinMax => {
            Attr::MinMax(parts.must("rule", |part| value_in(&MINMAX_RULES, part))?)
        }
        AttrClass::Cond => Attr::Cond(parts.must("condition", cond_named)?),
        AttrClass::FlagCond => Attr::FlagCond(parts.must("flag condition", |part| {
            FlagCond::ALL.into_iter().find(|cond| cond.name() == part)
        })?),
        AttrClass::FlagKind => Attr::FlagKind(parts.must("flag kind", |part| {
            FlagKind::ALL.into_iter().find(|kind| kind.name() == part)
        })?),
        AttrClass::Lane => {
            let (ty, index) = parts.must("lane", lane_named)?;
            Attr::Lane { ty, index }
        }
        AttrClass::Field => {
            let (pos, len, signed) = parts.must("bit field", field_named)?;
            Attr::Field { pos, len, signed }
        }
        AttrClass::Fence => {
            let (before_loads, before_stores) = parts.must("fence set", side_named)?;
            let (after_loads, after_stores) = parts.must("fence set", side_named)?;
            Attr::Fence(FenceSet {
                before_loads,
                before_stores,
                after_loads,
                after_stores,
            })
        }
    })
}
