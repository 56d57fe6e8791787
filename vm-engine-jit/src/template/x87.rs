//! x87, on the host's own unit.
//!
//! What the front end has as calls of routines ([`vm_ir::Op::Call`], by the routines' names) is one instruction of the
//! host's each, on the guest's registers, which the host's unit has while a word of the frame says so
//! ([`FrameOffsets::X87_LIVE`]). So stack, tags, status and rounding are the host's own business. Ways out to Rust take
//! all of it to the guest's state, and leave the unit as Rust has it.
//!
//! - The unit is entered where a block looks for pending exceptions first. With an exception that is not masked the host
//!   would raise it: then the rest of the block is done with steps, by code out of the way. While the unit is the
//!   guest's, none can become pending.
//! - A routine that has no instruction here, and an access that finds no page, is a step as ever.
//! - The state's slots of x87 registers, status and tags are stale meanwhile. A block that uses them otherwise than to
//!   look for exceptions and to copy the status, as those of MMX do, takes registers to memory first.
//! - The control word in the state is never stale.

use vm_engine::tier::{FrameOffsets, Step};
use vm_ir::{Attr, Cond, Inst, MemAttr, Op, Operand, Slot, StateLayout, Type};

use super::Pins;
use super::block::{Emitter, count_reads};
use super::cold::{Cold, Live};
use super::group::NEXT_PAGE;
use crate::asm::{Alu, Assembler, Cc, Label, Mem, Reg, Rm, Scatter, Shift, Width};

/// What the host's unit has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Unit {
    /// Either of both.
    #[default]
    Unknown,
    /// The guest's registers.
    Guest,
    /// Nothing: they are in memory.
    Empty,
}

/// Routines that are instructions of the host's. The words that they are called with are described there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Routine {
    Registers,
    WithMemory,
    CompareRegisters,
    CompareMemory,
    CompareFlags,
    Load,
    LoadLong,
    LoadRegister,
    Constant,
    Store,
    StoreRegister,
    Exchange,
    MoveIf,
    Free,
    Rotate,
    Sign,
    /// An instruction of two bytes.
    Plain(u8, u8),
    LoadControl,
    /// A step, which leaves the control word alone.
    Step,
}

const ROUTINES: [(&str, Routine); 28] = [
    ("x87_registers", Routine::Registers),
    ("x87_with_memory", Routine::WithMemory),
    ("x87_compare_registers", Routine::CompareRegisters),
    ("x87_compare_memory", Routine::CompareMemory),
    ("x87_compare_flags", Routine::CompareFlags),
    ("x87_load", Routine::Load),
    ("x87_load_long", Routine::LoadLong),
    ("x87_load_register", Routine::LoadRegister),
    ("x87_constant", Routine::Constant),
    ("x87_store", Routine::Store),
    ("x87_store_register", Routine::StoreRegister),
    ("x87_exchange", Routine::Exchange),
    ("x87_move_if", Routine::MoveIf),
    ("x87_free", Routine::Free),
    ("x87_rotate", Routine::Rotate),
    ("x87_sign", Routine::Sign),
    ("x87_examine", Routine::Plain(0xd9, 0xe5)),
    ("x87_test", Routine::Plain(0xd9, 0xe4)),
    ("x87_root", Routine::Plain(0xd9, 0xfa)),
    ("x87_round", Routine::Plain(0xd9, 0xfc)),
    ("x87_scale", Routine::Plain(0xd9, 0xfd)),
    ("x87_clear", Routine::Plain(0xdb, 0xe2)),
    ("x87_load_control", Routine::LoadControl),
    ("x87_extract", Routine::Step),
    ("x87_remainder", Routine::Step),
    ("x87_trigonometric", Routine::Step),
    ("x87_power", Routine::Step),
    ("x87_of_two", Routine::Step),
];

/// Instructions with an operand in memory, by format: single, double, 16, 32 and 64 bits; opcode and register field.
const LOADS: [(u8, u8); 5] = [(0xd9, 0), (0xdd, 0), (0xdf, 0), (0xdb, 0), (0xdf, 5)];
const STORES: [(u8, u8); 4] = [(0xd9, 2), (0xdd, 2), (0xdf, 2), (0xdb, 2)];
/// The same that truncate, from 16 bits on.
const TRUNCATING: [(u8, u8); 3] = [(0xdf, 1), (0xdb, 1), (0xdd, 1)];
/// `fistp` of 64 bits, and `fstp` and `fld` of 80.
const STORE_64: (u8, u8) = (0xdf, 7);
const STORE_80: (u8, u8) = (0xdb, 7);
const LOAD_80: (u8, u8) = (0xdb, 5);
/// Arithmetic with memory, from formats without 64 bits.
const ARITHMETIC: [u8; 4] = [0xd8, 0xdc, 0xde, 0xda];
/// The register field of operations: sum, product, difference, the reverse, quotient, the reverse.
const FIELDS: [u8; 6] = [0, 1, 4, 5, 6, 7];
/// The bits of the control word that mask exceptions.
const MASKS: i32 = 0x3f;
/// The bits that a control word keeps, and the one that is always set.
const CONTROL_BITS: i32 = 0x1f3f;
const CONTROL_ONE: i32 = 0x40;
/// The bits that `lahf` gives of a comparison.
const COMPARED: i32 = 0x45;
/// The error summary in the status word.
const SUMMARY: i64 = 0x80;

/// Where the guest's unit is in its state, and which helpers are its routines.
#[derive(Debug)]
pub(crate) struct X87 {
    routines: Vec<Option<Routine>>,
    /// Slots that are stale while the unit is the guest's: the first and the last.
    stale: [usize; 2],
    status: Slot,
    pub(super) places: Places,
    /// Base and selector of the code segment.
    code: [i32; 2],
    /// Selectors by number.
    selectors: [i32; 6],
    /// Address of the last instruction and of its operand.
    last: [i32; 2],
}

/// Offsets in the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    registers: i32,
    control: i32,
    status: i32,
    tags: i32,
}

impl X87 {
    /// The unit of a guest that has one.
    pub(super) fn of(layout: &StateLayout) -> Option<Self> {
        let slot = |name| layout.slot(name);
        let offset = |name| {
            let slot = slot(name)?;
            Some(FrameOffsets::STATE + layout.slots[slot.index()].offset as i32)
        };
        let names = layout.helpers.iter().map(|helper| helper.name);
        let routine = |name| {
            let found = ROUTINES.iter().find(|&&(known, _)| known == name);
            found.map(|&(_, routine)| routine)
        };
        let mut selectors = [0; 6];
        for (place, name) in selectors
            .iter_mut()
            .zip(["es", "cs", "ss", "ds", "fs", "gs"])
        {
            *place = offset(name)?;
        }
        Some(Self {
            routines: names.map(routine).collect(),
            stale: [slot("mm0")?.index(), slot("ftags")?.index()],
            status: slot("fsw")?,
            places: Places {
                registers: offset("mm0")?,
                control: offset("fcw")?,
                status: offset("fsw")?,
                tags: offset("ftags")?,
            },
            code: [offset("cs_base")?, offset("cs")?],
            selectors,
            last: [offset("fip")?, offset("fdp")?],
        })
    }

    fn routine(&self, inst: &Inst) -> Option<Routine> {
        match inst.attr {
            Attr::Helper(helper) => *self.routines.get(usize::from(helper.0))?,
            _ => None,
        }
    }

    fn is_stale(&self, slot: Slot) -> bool {
        !slot.is_temp() && (self.stale[0]..=self.stale[1]).contains(&slot.index())
    }

    /// Whether an operation uses stale slots in its own way.
    fn uses_registers(&self, inst: &Inst) -> bool {
        let looks = inst.op == Op::And && inst.args[1] == Operand::Imm(SUMMARY);
        let copies = inst.op == Op::Mov && inst.args[0] == Operand::Slot(self.status);
        let reads = |slot: Slot| self.is_stale(slot) && !(slot == self.status && (looks || copies));
        inst.reads().any(reads) || inst.dst.is_some_and(|dst| self.is_stale(dst))
    }
}

/// Bytes of a register in an image.
const REGISTER_BYTES: i32 = 10;
/// From an image's start to its status, tags and registers.
const STATUS: i32 = 4;
const TAGS: i32 = 8;
const REGISTERS: i32 = 28;
/// Every other bit of 16.
const EVEN: u64 = 0x5555;

/// Goes over the registers from the top of the stack on; RCX is left in between what leads to a register's place in the
/// state. `body` gets that place, and that in the image.
fn each_register(
    asm: &mut Assembler,
    pins: &Pins,
    places: Places,
    mut body: impl FnMut(&mut Assembler, Mem, Mem),
) {
    asm.movzx(
        Width::W,
        Reg::Rcx,
        pins.word(FrameOffsets::X87_IMAGE + STATUS),
    );
    asm.shift_imm(Shift::Shr, Width::D, Reg::Rcx, 11);
    asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 7);
    asm.shift_imm(Shift::Shl, Width::D, Reg::Rcx, 4);
    for n in 0..8 {
        let place = Mem::indexed(super::FRAME, Reg::Rcx, 0, places.registers - pins.bias);
        let image = FrameOffsets::X87_IMAGE + REGISTERS + REGISTER_BYTES * n;
        body(asm, place, Mem::new(super::FRAME, image - pins.bias));
        asm.alu_imm(Alu::Add, Width::D, Reg::Rcx, 16);
        asm.alu_imm(Alu::And, Width::D, Reg::Rcx, 0x70);
    }
}

fn behind(mem: Mem, bytes: i32) -> Mem {
    Mem {
        disp: mem.disp + bytes,
        ..mem
    }
}

/// Called: has the host's unit be the guest's, and comes back with ZF set; or, where an exception is not masked, with ZF
/// clear. Changes RAX, RCX and RDX.
pub(super) fn enter(asm: &mut Assembler, pins: &Pins, places: Places) -> Label {
    let word = |offset: i32| Mem::new(super::FRAME, offset - pins.bias);
    let image = |offset: i32| word(FrameOffsets::X87_IMAGE + offset);
    let start = asm.here();
    let out = asm.label();
    asm.mov(Width::D, Reg::Rax, word(places.control));
    asm.mov(Width::D, Reg::Rcx, Reg::Rax);
    asm.not(Width::D, Reg::Rcx);
    asm.alu_imm(Alu::And, Width::D, Reg::Rcx, MASKS);
    asm.jcc(Cc::Ne, out);
    asm.store(Width::D, image(0), Reg::Rax);
    asm.mov(Width::D, Reg::Rax, word(places.status));
    asm.store(Width::D, image(STATUS), Reg::Rax);
    // Two bits each, of which the host only asks whether all are set: then the register is empty.
    asm.mov(Width::D, Reg::Rax, word(places.tags));
    asm.not(Width::D, Reg::Rax);
    asm.mov_imm(Reg::Rcx, EVEN);
    asm.scatter(Scatter::Pdep, Width::D, Reg::Rax, Reg::Rax, Reg::Rcx);
    asm.lea(Width::D, Reg::Rax, Mem::indexed(Reg::Rax, Reg::Rax, 1, 0));
    asm.store(Width::D, image(TAGS), Reg::Rax);
    each_register(asm, pins, places, |asm, place, image| {
        asm.mov(Width::Q, Reg::Rax, place);
        asm.store(Width::Q, image, Reg::Rax);
        asm.mov(Width::D, Reg::Rax, behind(place, 8));
        asm.store(Width::W, behind(image, 8), Reg::Rax);
    });
    asm.x87_memory((0xdd, 4), image(0));
    asm.store_imm(Width::D, word(FrameOffsets::X87_LIVE), 1);
    asm.alu(Alu::Cmp, Width::D, Reg::Rax, Reg::Rax);
    asm.bind(out);
    asm.ret();
    start
}

/// Called, while the unit is the guest's: takes its registers to memory, and leaves the unit as Rust has it. Keeps RAX,
/// changes RCX and RDX.
pub(super) fn leave(asm: &mut Assembler, pins: &Pins, places: Places) -> Label {
    let word = |offset: i32| Mem::new(super::FRAME, offset - pins.bias);
    let image = |offset: i32| word(FrameOffsets::X87_IMAGE + offset);
    let start = asm.here();
    asm.x87_memory((0xdd, 6), image(0));
    asm.store_imm(Width::D, word(FrameOffsets::X87_LIVE), 0);
    asm.movzx(Width::W, Reg::Rcx, image(STATUS));
    asm.store(Width::Q, word(places.status), Reg::Rcx);
    asm.movzx(Width::W, Reg::Rdx, image(TAGS));
    asm.mov(Width::D, Reg::Rcx, Reg::Rdx);
    asm.shift_imm(Shift::Shr, Width::D, Reg::Rcx, 1);
    asm.alu(Alu::And, Width::D, Reg::Rdx, Reg::Rcx);
    asm.mov_imm(Reg::Rcx, EVEN);
    asm.scatter(Scatter::Pext, Width::D, Reg::Rdx, Reg::Rdx, Reg::Rcx);
    asm.alu_imm(Alu::Xor, Width::D, Reg::Rdx, 0xff);
    asm.store(Width::Q, word(places.tags), Reg::Rdx);
    each_register(asm, pins, places, |asm, place, image| {
        asm.mov(Width::Q, Reg::Rdx, image);
        asm.store(Width::Q, place, Reg::Rdx);
        asm.movzx(Width::W, Reg::Rdx, behind(image, 8));
        asm.store(Width::Q, behind(place, 8), Reg::Rdx);
    });
    asm.ret();
    start
}

impl Emitter<'_> {
    /// At a block's start: takes registers to memory if the block uses their slots.
    pub(super) fn leave_x87_for_slots(&mut self) {
        let Some(unit) = self.x87 else { return };
        self.plain_x87 = self
            .of
            .block
            .insts
            .iter()
            .any(|inst| unit.uses_registers(inst));
        if self.plain_x87 {
            self.leave_x87();
        }
    }

    /// Takes registers to memory, where it is not known that they are there.
    fn leave_x87(&mut self) {
        let live = self.frame(FrameOffsets::X87_LIVE);
        let from = self.asm.label();
        self.asm.alu_imm(Alu::Cmp, Width::D, live, 0);
        self.asm.jcc(Cc::Ne, from);
        let back = self.asm.here();
        self.cold.push(Cold::LeaveX87 { from, back });
        self.live.x87 = Unit::Empty;
    }

    /// Has the unit be the guest's, where a block looks for pending exceptions: that takes two operations.
    pub(super) fn enter_x87(&mut self, at: usize) -> Option<usize> {
        let unit = self.x87.filter(|_| !self.plain_x87)?;
        let [look, raise, ..] = self.of.block.insts.get(at..)? else {
            return None;
        };
        let temp = look.dst?;
        let looks = look.op == Op::And
            && look.args[..2] == [Operand::Slot(unit.status), Operand::Imm(SUMMARY)]
            && raise.op == Op::RaiseIf
            && raise.attr == Attr::Cond(Cond::Ne)
            && raise.args[0] == Operand::Slot(temp)
            && self.is_read_once(temp);
        if !looks {
            return None;
        }
        if self.live.x87 != Unit::Guest {
            self.release_held();
            self.host_flags = None;
            let live = self.frame(FrameOffsets::X87_LIVE);
            let from = self.asm.label();
            self.asm.alu_imm(Alu::Cmp, Width::D, live, 0);
            self.asm.jcc(Cc::E, from);
            let back = self.asm.here();
            // Steps in between have left the control word alone.
            let rest = (!self.entered_x87).then_some(at);
            self.cold.push(Cold::EnterX87 { from, rest, back });
            self.live.x87 = Unit::Guest;
            self.entered_x87 = true;
        }
        Some(2)
    }

    /// Emits the rest of the block, from an operation on, with its x87 instructions as steps.
    pub(super) fn rest_x87(&mut self, at: usize) -> Option<()> {
        let plain = std::mem::replace(&mut self.plain_x87, true);
        self.in_rest = true;
        count_reads(self.reads, self.of);
        (self.lazy, self.branch_by) = (None, None);
        let live = Live {
            float: false,
            x87: Unit::Empty,
        };
        self.one_by_one(at, self.of.block.insts.len() - at, live)?;
        self.end()?;
        (self.plain_x87, self.in_rest) = (plain, false);
        Some(())
    }

    /// A copy of the status word, which the unit may have.
    pub(super) fn copy_x87_status(&mut self, inst: &Inst) -> Option<()> {
        let unit = self.x87.filter(|_| !self.plain_x87)?;
        let dst = inst.dst?;
        if inst.op != Op::Mov || inst.args[0] != Operand::Slot(unit.status) {
            return None;
        }
        if self.live.x87 != Unit::Guest {
            self.host_flags = None;
            self.leave_x87();
            return None;
        }
        if inst.ty != Type::I16 || !self.has_one_word(dst) {
            return None;
        }
        self.asm.data([0xdf, 0xe0]);
        self.put_narrow(inst, dst, Reg::Rax);
        Some(())
    }

    /// A routine as an instruction of the host's; `None`: as a step.
    pub(super) fn x87(&mut self, inst: &Inst, step: &Step) -> Option<()> {
        let unit = self.x87?;
        let Some(routine) = unit.routine(inst) else {
            // It may change the control word.
            self.plain_x87 = true;
            return None;
        };
        let word = inst.args[0].imm();
        if self.live.x87 != Unit::Guest || step.first == 0 || routine == Routine::Step {
            return None;
        }
        let word = match routine {
            Routine::LoadControl | Routine::Step => 0,
            Routine::Plain(..) => word.unwrap_or(0) as u64,
            _ => word? as u64,
        };
        let segment = (word >> 28) as usize;
        unit.selectors.get(segment)?;
        let format = |shift: u32| (word >> shift & 0xff) as usize;
        let register = (word & 7) as u8;
        let pops = word >> 8 & 3;
        self.release_held();
        match routine {
            Routine::Registers => {
                let (to, from) = ((word >> 8 & 7) as u8, (word >> 12 & 7) as u8);
                let field = *FIELDS.get((word & 0xff) as usize)?;
                // Of the forms with another destination the differences and quotients are the other way round.
                let other = if field >= 4 { field ^ 1 } else { field };
                let bytes = match (to, from, word >> 16 & 1 != 0) {
                    (0, from, false) => [0xd8, 0xc0 + 8 * field + from],
                    (to, 0, false) => [0xdc, 0xc0 + 8 * other + to],
                    (to, 0, true) => [0xde, 0xc0 + 8 * other + to],
                    _ => return None,
                };
                self.asm.data(bytes);
            }
            Routine::WithMemory => {
                let field = *FIELDS.get((word & 0xff) as usize)?;
                let opcode = *ARITHMETIC.get(format(8))?;
                self.x87_operand((opcode, field), inst, segment)?;
            }
            Routine::CompareMemory => {
                let opcode = *ARITHMETIC.get(format(8))?;
                let field = 2 + (word >> 16 & 1) as u8;
                self.x87_operand((opcode, field), inst, segment)?;
            }
            Routine::CompareRegisters => {
                let bytes = match (word >> 4 & 1 != 0, pops, register) {
                    (false, 0, n) => [0xd8, 0xd0 + n],
                    (false, 1, n) => [0xd8, 0xd8 + n],
                    (false, 2, 1) => [0xde, 0xd9],
                    (true, 0, n) => [0xdd, 0xe0 + n],
                    (true, 1, n) => [0xdd, 0xe8 + n],
                    (true, 2, 1) => [0xda, 0xe9],
                    _ => return None,
                };
                self.asm.data(bytes);
            }
            Routine::CompareFlags => {
                let dst = inst.dst?;
                let base = if word >> 4 & 1 != 0 { 0xe8 } else { 0xf0 };
                let opcode = if pops != 0 { 0xdf } else { 0xdb };
                self.asm.data([opcode, base + register]);
                self.asm.lahf();
                self.asm.shift_imm(Shift::Shr, Width::D, Reg::Rax, 8);
                self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, COMPARED);
                self.put(dst, Reg::Rax);
            }
            Routine::Load => self.x87_operand(*LOADS.get(format(0))?, inst, segment)?,
            Routine::LoadLong => {
                if word & 1 != 0 {
                    return None;
                }
                let image = self.frame(FrameOffsets::X87_IMAGE);
                self.load(inst.args[1], Reg::Rax);
                self.asm.store(Width::Q, image, Reg::Rax);
                self.load(inst.args[2], Reg::Rcx);
                self.asm.store(Width::W, behind(image, 8), Reg::Rcx);
                self.asm.x87_memory(LOAD_80, image);
                self.asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, 16);
                self.note_x87_operand(Reg::Rcx, segment)?;
            }
            Routine::LoadRegister => self.asm.data([0xd9, 0xc0 + register]),
            Routine::Constant => self.asm.data([0xd9, 0xe8 + register.min(6)]),
            Routine::Store => return self.x87_store(word, inst, step),
            Routine::StoreRegister => match (pops & 1, word >> 9 & 1) {
                (0, 0) => self.asm.data([0xdd, 0xd0 + register]),
                (1, 0) => self.asm.data([0xdd, 0xd8 + register]),
                _ => return None,
            },
            Routine::Exchange => self.asm.data([0xd9, 0xc8 + register]),
            Routine::MoveIf => {
                self.load(inst.args[1], Reg::Rax);
                self.asm.test(Width::D, Reg::Rax, Reg::Rax);
                // `fcmovne`.
                self.asm.data([0xdb, 0xc8 + register]);
            }
            Routine::Free => {
                let opcode = if pops & 1 != 0 { 0xdf } else { 0xdd };
                self.asm.data([opcode, 0xc0 + register]);
            }
            Routine::Rotate => match word {
                0 => self.asm.data([0xd9, 0xd0]),
                1 => self.asm.data([0xd9, 0xf7]),
                7 => self.asm.data([0xd9, 0xf6]),
                _ => return None,
            },
            Routine::Sign => match word {
                0 => self.asm.data([0xd9, 0xe0]),
                _ => self.asm.data([0xd9, 0xe1]),
            },
            Routine::Plain(opcode, second) => {
                self.asm.data([opcode, second]);
                if (opcode, second) == (0xdb, 0xe2) {
                    // `fnclex` is no instruction that is noted.
                    self.host_flags = None;
                    return Some(());
                }
            }
            Routine::LoadControl => return self.x87_control(inst),
            Routine::Step => return None,
        }
        self.host_flags = None;
        self.note_x87_code(step);
        Some(())
    }

    /// An instruction with an operand that has been loaded.
    fn x87_operand(&mut self, code: (u8, u8), inst: &Inst, segment: usize) -> Option<()> {
        let value = inst.args[1].slot()?;
        let home = match self.place(value) {
            Rm::Mem(home) => home,
            Rm::Reg(_) => {
                let image = self.frame(FrameOffsets::X87_IMAGE);
                self.load(value.into(), Reg::Rax);
                self.asm.store(Width::Q, image, Reg::Rax);
                image
            }
        };
        self.asm.x87_memory(code, home);
        self.load(inst.args[2], Reg::Rcx);
        self.note_x87_operand(Reg::Rcx, segment)
    }

    /// Stores the top of the stack.
    fn x87_store(&mut self, word: u64, inst: &Inst, step: &Step) -> Option<()> {
        let (kind, pops, truncates) = (
            (word & 0xff) as usize,
            word >> 8 & 1 != 0,
            word >> 9 & 1 != 0,
        );
        let (code, size_log2) = match (kind, pops, truncates) {
            (2..=4, true, true) => (TRUNCATING[kind - 2], kind as u8 - 1),
            (0..=3, pops, false) => {
                let (opcode, field) = STORES[kind];
                let size_log2 = [2, 3, 1, 2][kind];
                ((opcode, field + u8::from(pops)), size_log2)
            }
            (4, true, false) => (STORE_64, 3),
            // No translation serves ten bytes that lie on two pages.
            (5, true, false) => (STORE_80, 0),
            _ => return None,
        };
        let (address, line) = (inst.args[1], self.line_of(inst.args[1]));
        self.host_flags = None;
        self.load(address, Reg::Rax);
        let mem = MemAttr::plain(size_log2);
        let crossing = (code == STORE_80).then(|| {
            let crossing = self.asm.label();
            let last = Mem::new(Reg::Rax, REGISTER_BYTES - 1);
            self.asm.lea(Width::D, Reg::Rdx, last);
            self.asm.alu(Alu::Xor, Width::D, Reg::Rdx, Reg::Rax);
            self.asm.test_dh(NEXT_PAGE);
            self.asm.jcc(Cc::Ne, crossing);
            crossing
        });
        let (place, back) = self.probe(mem, true, line, step)?;
        self.asm.x87_memory(code, place);
        self.load(inst.args[2], Reg::Rcx);
        self.note_x87_operand(Reg::Rcx, (word >> 28) as usize)?;
        self.note_x87_code(step);
        self.asm.bind(back);
        if let Some(from) = crossing {
            self.step_away(from, step, back);
        }
        Some(())
    }

    /// Loads the control word, unless it has an exception that is not masked.
    fn x87_control(&mut self, inst: &Inst) -> Option<()> {
        let control = self.frame(self.x87?.places.control);
        self.host_flags = None;
        self.load(inst.args[0], Reg::Rcx);
        self.asm.mov(Width::D, Reg::Rax, Reg::Rcx);
        self.asm.not(Width::D, Reg::Rax);
        self.asm.alu_imm(Alu::And, Width::D, Reg::Rax, MASKS);
        let (from, at) = (self.asm.label(), self.at);
        self.asm.jcc(Cc::Ne, from);
        self.cold.push(Cold::RestX87 { from, at });
        self.asm.alu_imm(Alu::And, Width::D, Reg::Rcx, CONTROL_BITS);
        self.asm.alu_imm(Alu::Or, Width::D, Reg::Rcx, CONTROL_ONE);
        self.asm.store(Width::Q, control, Reg::Rcx);
        self.asm.x87_memory((0xd9, 5), control);
        Some(())
    }

    /// Notes where the instruction is. Uses RAX.
    fn note_x87_code(&mut self, step: &Step) {
        let Some(unit) = self.x87 else { return };
        let [base, selector] = unit.code.map(|offset| self.frame(offset));
        let (page, last) = (
            self.frame(FrameOffsets::PAGE_BASE),
            self.frame(unit.last[0]),
        );
        self.asm.mov(Width::Q, Reg::Rax, page);
        self.asm
            .alu_imm(Alu::Add, Width::Q, Reg::Rax, step.pc_offset.into());
        self.asm.alu(Alu::Sub, Width::Q, Reg::Rax, base);
        self.with_selector(Reg::Rax, selector, last);
    }

    /// Notes the operand's offset in its segment, which changes.
    fn note_x87_operand(&mut self, offset: Reg, segment: usize) -> Option<()> {
        let unit = self.x87?;
        let selector = self.frame(*unit.selectors.get(segment)?);
        let last = self.frame(unit.last[1]);
        self.with_selector(offset, selector, last);
        Some(())
    }

    /// Stores 48 bits of an offset and a selector above them.
    fn with_selector(&mut self, offset: Reg, selector: Mem, to: Mem) {
        self.asm.shift_imm(Shift::Shl, Width::Q, offset, 16);
        self.asm.alu(Alu::Or, Width::Q, offset, selector);
        self.asm.shift_imm(Shift::Ror, Width::Q, offset, 16);
        self.asm.store(Width::Q, to, offset);
    }
}
