//! x87 instructions (Intel SDM 1, 8.3): helpers on the unit's state, given what memory holds.

use iced_x86::{MemorySize, Mnemonic, OpKind, Register};
use vm_ir::{Cond, FlagCond, FlagKind, HelperId, Op, Operand, Slot, Type};

use super::{NOT_AVAILABLE, mmx};
use crate::x86::fp::helper;
use crate::x86::fp::x87::arith::{memory, operation};
use crate::x86::fp::x87::environment::layout;
use crate::x86::fp::x87::moves::extended;
use crate::x86::fp::x87::transcendental::{function, function_of_two};
use crate::x86::lift::Flow;
use crate::x86::lift::address::segment_number;
use crate::x86::lift::context::{Context, Use, register_slot};
use crate::x86::mode;
use crate::x86::state::{X87_CONTROL, X87_STATUS};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Arithmetic by its number; pops.
    Arith(i64, bool),
    /// Comparison to condition codes: quietly, and with so many pops.
    Compare(bool, i64),
    /// Comparison to flags: quietly, and with so many pops.
    CompareFlags(bool, i64),
    /// `fld`, `fild`, `fbld`.
    Load,
    /// `fst` and its kin: pops, truncates.
    Store(bool, bool),
    /// `fstpnce`: as `fstp` of a register, without stack faults.
    StoreSilently,
    /// A constant by its number.
    Constant(i64),
    /// `fxch`.
    Exchange,
    /// `fcmovcc`.
    MoveIf(FlagCond),
    /// `ffree`, `ffreep`.
    Free(bool),
    /// Moves the top of the stack.
    Rotate(i64),
    /// A helper with a constant.
    Function(&'static str, i64),
    /// `fninit`, `fnclex`: without a look at what is pending.
    Reset(&'static str),
    /// `fldcw`.
    LoadControl,
    /// `fnstcw`, `fnstsw`: the slot.
    StoreWord(u16),
    /// `fnstenv`, `fnsave`.
    StoreEnvironment(i64),
    /// `fldenv`, `frstor`.
    LoadEnvironment(i64),
    /// `fwait`.
    Wait,
    /// What later processors do nothing for.
    Nothing,
}

use Rule::*;

const REGISTERS: i64 = 0x100;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Fadd, Arith(operation::ADD, false)),
    (Mnemonic::Faddp, Arith(operation::ADD, true)),
    (Mnemonic::Fiadd, Arith(operation::ADD, false)),
    (Mnemonic::Fmul, Arith(operation::MUL, false)),
    (Mnemonic::Fmulp, Arith(operation::MUL, true)),
    (Mnemonic::Fimul, Arith(operation::MUL, false)),
    (Mnemonic::Fsub, Arith(operation::SUB, false)),
    (Mnemonic::Fsubp, Arith(operation::SUB, true)),
    (Mnemonic::Fisub, Arith(operation::SUB, false)),
    (Mnemonic::Fsubr, Arith(operation::SUB_REVERSED, false)),
    (Mnemonic::Fsubrp, Arith(operation::SUB_REVERSED, true)),
    (Mnemonic::Fisubr, Arith(operation::SUB_REVERSED, false)),
    (Mnemonic::Fdiv, Arith(operation::DIV, false)),
    (Mnemonic::Fdivp, Arith(operation::DIV, true)),
    (Mnemonic::Fidiv, Arith(operation::DIV, false)),
    (Mnemonic::Fdivr, Arith(operation::DIV_REVERSED, false)),
    (Mnemonic::Fdivrp, Arith(operation::DIV_REVERSED, true)),
    (Mnemonic::Fidivr, Arith(operation::DIV_REVERSED, false)),
    (Mnemonic::Fcom, Compare(false, 0)),
    (Mnemonic::Fcomp, Compare(false, 1)),
    (Mnemonic::Fcompp, Compare(false, 2)),
    (Mnemonic::Ficom, Compare(false, 0)),
    (Mnemonic::Ficomp, Compare(false, 1)),
    (Mnemonic::Fucom, Compare(true, 0)),
    (Mnemonic::Fucomp, Compare(true, 1)),
    (Mnemonic::Fucompp, Compare(true, 2)),
    (Mnemonic::Fcomi, CompareFlags(false, 0)),
    (Mnemonic::Fcomip, CompareFlags(false, 1)),
    (Mnemonic::Fucomi, CompareFlags(true, 0)),
    (Mnemonic::Fucomip, CompareFlags(true, 1)),
    (Mnemonic::Fld, Load),
    (Mnemonic::Fild, Load),
    (Mnemonic::Fbld, Load),
    (Mnemonic::Fst, Store(false, false)),
    (Mnemonic::Fstp, Store(true, false)),
    (Mnemonic::Fstpnce, StoreSilently),
    (Mnemonic::Fist, Store(false, false)),
    (Mnemonic::Fistp, Store(true, false)),
    (Mnemonic::Fisttp, Store(true, true)),
    (Mnemonic::Fbstp, Store(true, false)),
    (Mnemonic::Fld1, Constant(0)),
    (Mnemonic::Fldl2t, Constant(1)),
    (Mnemonic::Fldl2e, Constant(2)),
    (Mnemonic::Fldpi, Constant(3)),
    (Mnemonic::Fldlg2, Constant(4)),
    (Mnemonic::Fldln2, Constant(5)),
    (Mnemonic::Fldz, Constant(6)),
    (Mnemonic::Fxch, Exchange),
    (Mnemonic::Fcmovb, MoveIf(FlagCond::C)),
    (Mnemonic::Fcmove, MoveIf(FlagCond::Z)),
    (Mnemonic::Fcmovbe, MoveIf(FlagCond::COrZ)),
    (Mnemonic::Fcmovu, MoveIf(FlagCond::P)),
    (Mnemonic::Fcmovnb, MoveIf(FlagCond::NotC)),
    (Mnemonic::Fcmovne, MoveIf(FlagCond::NotZ)),
    (Mnemonic::Fcmovnbe, MoveIf(FlagCond::NotCNotZ)),
    (Mnemonic::Fcmovnu, MoveIf(FlagCond::NotP)),
    (Mnemonic::Ffree, Free(false)),
    (Mnemonic::Ffreep, Free(true)),
    (Mnemonic::Fincstp, Rotate(1)),
    (Mnemonic::Fdecstp, Rotate(7)),
    (Mnemonic::Fnop, Rotate(0)),
    (Mnemonic::Fchs, Function("x87_sign", 0)),
    (Mnemonic::Fabs, Function("x87_sign", 1)),
    (Mnemonic::Fxam, Function("x87_examine", 0)),
    (Mnemonic::Ftst, Function("x87_test", 0)),
    (Mnemonic::Fsqrt, Function("x87_root", 0)),
    (Mnemonic::Frndint, Function("x87_round", 0)),
    (Mnemonic::Fscale, Function("x87_scale", 0)),
    (Mnemonic::Fxtract, Function("x87_extract", 0)),
    (Mnemonic::Fprem, Function("x87_remainder", 0)),
    (Mnemonic::Fprem1, Function("x87_remainder", 1)),
    (Mnemonic::F2xm1, Function("x87_power", 0)),
    (
        Mnemonic::Fyl2x,
        Function("x87_of_two", function_of_two::LOGARITHM),
    ),
    (
        Mnemonic::Fyl2xp1,
        Function("x87_of_two", function_of_two::LOGARITHM_PLUS_ONE),
    ),
    (
        Mnemonic::Fpatan,
        Function("x87_of_two", function_of_two::ANGLE),
    ),
    (
        Mnemonic::Fsin,
        Function("x87_trigonometric", function::SINE),
    ),
    (
        Mnemonic::Fcos,
        Function("x87_trigonometric", function::COSINE),
    ),
    (
        Mnemonic::Fsincos,
        Function("x87_trigonometric", function::BOTH),
    ),
    (
        Mnemonic::Fptan,
        Function("x87_trigonometric", function::TANGENT),
    ),
    (Mnemonic::Fninit, Reset("x87_init")),
    (Mnemonic::Fnclex, Reset("x87_clear")),
    (Mnemonic::Fldcw, LoadControl),
    (Mnemonic::Fnstcw, StoreWord(X87_CONTROL)),
    (Mnemonic::Fnstsw, StoreWord(X87_STATUS)),
    (Mnemonic::Fnstenv, StoreEnvironment(0)),
    (Mnemonic::Fnsave, StoreEnvironment(REGISTERS)),
    (Mnemonic::Fldenv, LoadEnvironment(0)),
    (Mnemonic::Frstor, LoadEnvironment(REGISTERS)),
    (Mnemonic::Wait, Wait),
    (Mnemonic::Fneni, Nothing),
    (Mnemonic::Fndisi, Nothing),
    (Mnemonic::Fnsetpm, Nothing),
];

/// Where an instruction's segment number stands in a helper's first argument.
const SEGMENT_SHIFT: u32 = 28;

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    if let Wait = rule {
        // #NM asks CR0.MP, which no mode tells (Intel SDM 2A, "WAIT").
        if c.has(mode::TASK_SWITCHED) {
            c.b.call(const { helper("x87_wait") }, None, []);
        } else {
            mmx::check(c);
        }
        return Flow::Next;
    }
    if c.has(mode::NO_X87) {
        return Flow::Raise(NOT_AVAILABLE);
    }
    if !matches!(
        rule,
        Reset(_) | StoreWord(_) | StoreEnvironment(_) | Nothing
    ) {
        mmx::check(c);
    }
    match rule {
        Arith(number, pops) => arith(c, number, pops),
        Compare(quiet, pops) => compare(c, quiet, pops),
        CompareFlags(quiet, pops) => {
            let word = other(c) | i64::from(quiet) << 4 | pops << 8;
            let bits = c.call(const { helper("x87_compare_flags") }, [Operand::Imm(word)]);
            let stays = c.op64(Op::Shr, bits, 32_i64);
            let old = c.flag_bits();
            let operands = [stays.into(), Operand::Imm(0)];
            let bits = c.select(Cond::Ne, [old.into(), bits.into()], operands);
            let zero = Operand::Imm(0);
            c.set_flags(FlagKind::Bits, Type::I64, [bits.into(), zero, zero]);
        }
        Load => load(c),
        Store(pops, truncates) => store(c, pops, truncates),
        StoreSilently => {
            let word = other(c) | 0x300;
            call(c, const { helper("x87_store_register") }, word);
        }
        Constant(number) => call(c, const { helper("x87_constant") }, number),
        Exchange => {
            let word = other(c);
            call(c, const { helper("x87_exchange") }, word);
        }
        MoveIf(cond) => {
            let holds = c.flag(cond);
            let word = Operand::Imm(other(c));
            c.b.call(const { helper("x87_move_if") }, None, [word, holds.into()]);
        }
        Free(pops) => {
            let word = other(c) | i64::from(pops) << 8;
            call(c, const { helper("x87_free") }, word);
        }
        Rotate(by) => call(c, const { helper("x87_rotate") }, by),
        Function(name, word) => call(c, helper(name), word),
        Reset(name) => call(c, helper(name), 0),
        LoadControl => {
            let address = c.address(2, Use::Read);
            let value = c.load(address, Type::I16);
            c.b.call(const { helper("x87_load_control") }, None, [value.into()]);
        }
        StoreWord(slot) => {
            let from = Operand::Slot(Slot::state(slot));
            if c.in_memory(0) {
                let address = c.address(2, Use::Write);
                c.store(address, Type::I16, from);
            } else {
                let to = register_slot(c.insn.op_register(0));
                c.b.op(Op::Mov, Type::I16, vm_ir::Ext::Keep, to, [from]);
            }
        }
        StoreEnvironment(registers) => {
            environment(c, "x87_store_environment", registers, Use::Write)
        }
        LoadEnvironment(registers) => environment(c, "x87_load_environment", registers, Use::Read),
        Wait | Nothing => {}
    }
    Flow::Next
}

fn call(c: &mut Context<'_>, helper: HelperId, word: i64) {
    c.b.call(helper, None, [Operand::Imm(word)]);
}

/// The number of an x87 register.
fn number(register: Register) -> i64 {
    (register as usize).wrapping_sub(Register::ST0 as usize) as i64 & 7
}

/// The register besides ST(0), ST(1) where none is named.
fn other(c: &Context<'_>) -> i64 {
    let named = (0..c.insn.op_count())
        .rev()
        .find(|&n| c.insn.op_kind(n) == OpKind::Register && c.insn.op_register(n).is_st());
    named.map_or(1, |n| number(c.insn.op_register(n)))
}

/// What an operand in memory is.
fn format(c: &Context<'_>) -> i64 {
    match c.insn.memory_size() {
        MemorySize::Float32 => memory::SINGLE,
        MemorySize::Float64 => memory::DOUBLE,
        MemorySize::Int16 => memory::WORD,
        MemorySize::Int32 => memory::DOUBLEWORD,
        MemorySize::Int64 => memory::QUADWORD,
        MemorySize::Bcd => extended::DECIMAL,
        _ => extended::EXTENDED,
    }
}

/// The segment of the operand in memory, where helpers take it, and its offset there.
fn place(c: &mut Context<'_>) -> (i64, Operand) {
    let segment = segment_number(c.insn.memory_segment()) as i64;
    (segment << SEGMENT_SHIFT, c.offset())
}

/// Loads an operand of up to eight bytes.
fn loaded(c: &mut Context<'_>) -> Slot {
    let bytes = c.insn.memory_size().size() as u32;
    let address = c.address(bytes, Use::Read);
    let ty = match bytes {
        2 => Type::I16,
        4 => Type::I32,
        _ => Type::I64,
    };
    c.load(address, ty)
}

fn arith(c: &mut Context<'_>, operation: i64, pops: bool) {
    if c.in_memory(0) {
        let value = loaded(c);
        let (segment, offset) = place(c);
        let word = Operand::Imm(operation | format(c) << 8 | segment);
        c.b.call(
            const { helper("x87_with_memory") },
            None,
            [word, value.into(), offset],
        );
        return;
    }
    let [to, from] = [0, 1].map(|n| number(c.insn.op_register(n)));
    let word = operation | to << 8 | from << 12 | i64::from(pops) << 16;
    call(c, const { helper("x87_registers") }, word);
}

fn compare(c: &mut Context<'_>, quiet: bool, pops: i64) {
    if c.insn.op_count() > 0 && c.in_memory(0) {
        let value = loaded(c);
        let (segment, offset) = place(c);
        let word = Operand::Imm(format(c) << 8 | pops << 16 | segment);
        c.b.call(
            const { helper("x87_compare_memory") },
            None,
            [word, value.into(), offset],
        );
        return;
    }
    let word = other(c) | i64::from(quiet) << 4 | pops << 8;
    call(c, const { helper("x87_compare_registers") }, word);
}

fn load(c: &mut Context<'_>) {
    if !c.in_memory(0) {
        let word = other(c);
        return call(c, const { helper("x87_load_register") }, word);
    }
    let format = format(c);
    if format < extended::EXTENDED {
        let value = loaded(c);
        let (segment, offset) = place(c);
        let word = Operand::Imm(format | segment);
        c.b.call(
            const { helper("x87_load") },
            None,
            [word, value.into(), offset],
        );
        return;
    }
    let address = c.address(10, Use::Read);
    let low = c.load(address, Type::I64);
    let high = c.load(address.plus(8), Type::I16);
    let (segment, offset) = place(c);
    let offset = c.op(Op::Shl, Type::I64, [offset, Operand::Imm(16)]);
    let high = c.op64(Op::Or, offset, high);
    let word = Operand::Imm(i64::from(format == extended::DECIMAL) | segment);
    c.b.call(
        const { helper("x87_load_long") },
        None,
        [word, low.into(), high.into()],
    );
}

fn store(c: &mut Context<'_>, pops: bool, truncates: bool) {
    if !c.in_memory(0) {
        let word = other(c) | i64::from(pops) << 8;
        return call(c, const { helper("x87_store_register") }, word);
    }
    let bytes = c.insn.memory_size().size() as u32;
    let address = c.address(bytes, Use::Write);
    let address = c.flatten(address);
    let (segment, offset) = place(c);
    let word = format(c) | i64::from(pops) << 8 | i64::from(truncates) << 9 | segment;
    c.b.call(
        const { helper("x87_store") },
        None,
        [Operand::Imm(word), address, offset],
    );
}

fn environment(c: &mut Context<'_>, name: &'static str, registers: i64, how: Use) {
    let bytes = c.insn.memory_size().size() as u32;
    let long = matches!(
        c.insn.memory_size(),
        MemorySize::FpuEnv28 | MemorySize::FpuState108
    );
    let address = c.address(bytes, how);
    let address = c.flatten(address);
    let layout = registers
        | if long { layout::LONG } else { 0 }
        | if c.protected() { layout::PROTECTED } else { 0 };
    c.b.call(helper(name), None, [address, Operand::Imm(layout)]);
}
