//! Random blocks and states for tests.

use vm_core::GuestPhysAddr;
pub(crate) use vm_testing::Random;

use crate::attr::{
    Attr, Cond, Endian, FenceSet, FlagCond, FlagKind, FpToIntRule, HelperId, MemAttr, MemOrder,
    MinMaxRule, Rounding, VectorId,
};
use crate::block::{Block, BlockKey, ExceptionCode, JumpKind, Mode, Terminator};
use crate::eval::block::{Fault, Machine};
use crate::inst::{Ext, Inst, Operand};
use crate::op::{AttrClass, Class, Effects, Op};
use crate::slot::{HelperDecl, Slot, SlotDecl, StateLayout, Type, VectorDecl, VectorFunction};
use crate::verify::{accepts, effects};

const fn slot(name: &'static str, ty: Type, offset: u32) -> SlotDecl {
    SlotDecl {
        name,
        ty,
        offset,
        pin_rank: 255,
    }
}

/// Slots of every type. `p0` and `p1` point to memory.
pub(crate) static LAYOUT: StateLayout = StateLayout {
    isa: "test",
    slots: &[
        slot("p0", Type::I64, 0),
        slot("p1", Type::I64, 8),
        slot("r0", Type::I64, 16),
        slot("r1", Type::I64, 24),
        slot("b0", Type::I8, 32),
        slot("w0", Type::I16, 40),
        slot("d0", Type::I32, 48),
        slot("s0", Type::F32, 56),
        slot("f0", Type::F64, 64),
        slot("f1", Type::F64, 72),
        slot("v0", Type::V128, 80),
        slot("v1", Type::V128, 96),
        slot("q0", Type::I128, 112),
        slot("fl", Type::Flags, 128),
        slot("pc", Type::I64, 168),
    ],
    bytes: 176,
    helpers: &[
        HelperDecl {
            name: "twice",
            effects: Effects::NONE,
        },
        HelperDecl {
            name: "look",
            effects: Effects::READS_STATE,
        },
        HelperDecl {
            name: "change",
            effects: Effects::WRITES_STATE,
        },
        HelperDecl {
            name: "fail",
            effects: Effects::MAY_FAULT,
        },
    ],
    vectors: &[
        VectorDecl {
            name: "mix",
            function: VectorFunction::Plain(|out, a, b, c, imm| {
                *out = [a[0] ^ b[1], c[0].wrapping_add(imm.into())];
            }),
            encoding: 0,
        },
        VectorDecl {
            name: "round",
            function: VectorFunction::Float(|fp, out, a, _, _, _| {
                let raised = fp.run(Rounding::Dynamic, |env, flags| {
                    vm_softfloat::convert::<vm_softfloat::F64, vm_softfloat::F32>(a[0], env, flags)
                });
                *out = [raised.into(), a[1]];
            }),
            encoding: 0,
        },
    ],
};

/// What the helpers of [`LAYOUT`] do.
pub(crate) fn helpers(helper: HelperId, args: [u64; 3], state: &mut [u8]) -> Result<u64, Fault> {
    let sum = args.iter().fold(0_u64, |sum, arg| sum.wrapping_add(*arg));
    match helper.0 {
        1 => {
            return Ok(state
                .iter()
                .fold(sum, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte)));
        }
        2 => state[16..24].copy_from_slice(&sum.to_le_bytes()),
        3 if sum & 3 == 0 => {
            return Err(Fault::Exception {
                code: ExceptionCode(7),
                value: sum,
            });
        }
        _ => {}
    }
    Ok(sum.wrapping_mul(2))
}

/// A random machine: two pages, the first of them read-only every other time, pointers near their edges.
pub(crate) fn machine(random: &mut Random) -> Machine {
    let mut machine = Machine::new(&LAYOUT);
    machine.memory.map(0x1000, random.one_in(2));
    machine.memory.map(0x2000, true);
    for addr in (0x1fc0..0x2040).chain(0x2fc0..0x3000) {
        machine.memory.set(addr, &[random.next() as u8]);
    }
    for (number, declared) in LAYOUT.slots.iter().enumerate() {
        let mut value = std::array::from_fn(|_| random.value());
        if declared.name.starts_with('p') {
            value[0] = random.pick(&[0x2000, 0x3000]) + random.value() % 16;
        }
        machine.set(&LAYOUT, Slot::state(number as u16), value);
    }
    machine.page_base = 0x7000;
    machine
}

/// What the operations of one stretch may do, so that faults stay precise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stretch {
    /// Only temporaries are written.
    Reads,
    /// The last operation that may fault.
    Fault,
    /// Nothing may fault.
    Writes,
}

/// A random block that the verifier accepts.
pub(crate) fn block(random: &mut Random) -> Block {
    let mut making = Making {
        random,
        temps: Vec::new(),
        written: Vec::new(),
        insts: Vec::new(),
    };
    let first = making.random.below(64) as u16 * 2;
    let mut at = first;
    for _ in 0..=making.random.below(4) {
        let len = making.random.pick(&[1, 2, 4, 15]);
        making.insts.push(Inst::marker(at, len));
        for _ in 0..making.random.below(4) {
            making.op(Stretch::Reads);
        }
        if making.random.one_in(2) {
            making.op(Stretch::Fault);
        }
        for _ in 0..making.random.below(5) {
            making.op(Stretch::Writes);
            if making.random.one_in(8) {
                making.insts.push(Inst::marker(at, 0));
                making.op(Stretch::Reads);
                making.op(Stretch::Fault);
            }
        }
        if making.random.one_in(6) {
            making.exit();
        }
        at += u16::from(len);
    }
    let terminator = making.terminator();
    let mut block = Block {
        key: BlockKey {
            phys_pc: GuestPhysAddr(0x8000_0000 + u64::from(first)),
            mode: Mode(making.random.next() as u32),
        },
        insts: making.insts,
        temps: making.temps,
        terminator,
        guest_insns: 0,
        guest_bytes: 0,
        second_page: None,
    };
    (block.guest_insns, block.guest_bytes) = block.marked();
    block
}

struct Making<'a> {
    random: &'a mut Random,
    temps: Vec<Type>,
    written: Vec<Slot>,
    insts: Vec<Inst>,
}

impl Making<'_> {
    fn op(&mut self, stretch: Stretch) {
        for _ in 0..10_000 {
            let mut op = Op::TABLE[1 + self.random.below(Op::TABLE.len() - 1)].op;
            if self.random.one_in(6) {
                // There are passes about flags.
                op = self.random.pick(&[Op::SetFlags, Op::SetFlags, Op::GetFlag]);
            }
            let temps = self.temps.len();
            let inst = self.inst(op, stretch == Stretch::Reads);
            if self.fits(&inst, stretch) && accepts(&inst, &self.temps, &LAYOUT) {
                if let Some(dst) = inst.dst.filter(|dst| dst.is_temp()) {
                    self.written.push(dst);
                }
                self.insts.push(inst);
                return;
            }
            self.temps.truncate(temps);
        }
        unreachable!("some operation fits everywhere");
    }

    fn fits(&self, inst: &Inst, stretch: Stretch) -> bool {
        let effects = effects(inst, &LAYOUT);
        let writes = effects.has(Effects::WRITES_MEMORY) && inst.op != Op::Fence
            || effects.has(Effects::ACCRUES)
            || effects.has(Effects::WRITES_STATE);
        let read = inst
            .reads()
            .all(|slot| !slot.is_temp() || self.written.contains(&slot));
        read && inst.op != Op::ExitIf
            && match stretch {
                Stretch::Reads => !writes,
                Stretch::Fault => effects.has(Effects::MAY_FAULT),
                Stretch::Writes => !effects.has(Effects::MAY_FAULT),
            }
    }

    fn exit(&mut self) {
        let (a, b) = (self.wide_slot(), self.wide_slot());
        let args = [a, b, Operand::Imm(0x10), Operand::None];
        let attr = Attr::Cond(self.random.pick(&Cond::ALL));
        self.insts.push(Inst {
            op: Op::ExitIf,
            ty: self.random.pick(&[Type::I8, Type::I64]),
            ext: Ext::Zero,
            dst: None,
            args,
            attr,
        });
    }

    fn terminator(&mut self) -> Terminator {
        let a = self.wide_slot();
        let kinds = [
            JumpKind::Plain,
            JumpKind::Return,
            JumpKind::Call { return_offset: 4 },
        ];
        let kind = self.random.pick(&kinds);
        match self.random.below(5) {
            0 => Terminator::Jump {
                offset: -0x1234,
                kind,
            },
            1 => Terminator::Branch {
                cond: self.random.pick(&Cond::ALL),
                ty: self
                    .random
                    .pick(&[Type::I8, Type::I16, Type::I32, Type::I64]),
                a,
                b: Operand::Imm(self.random.value() as i64),
                taken: 0x40,
                fallthrough: 4096,
            },
            2 => Terminator::Indirect { target: a, kind },
            3 => Terminator::Exit { offset: 12 },
            _ => Terminator::Dispatch,
        }
    }

    /// A 64-bit integer slot of the state.
    fn wide_slot(&mut self) -> Operand {
        Operand::Slot(Slot::state(self.random.below(4) as u16))
    }

    fn inst(&mut self, op: Op, only_temps: bool) -> Inst {
        let row = op.info();
        let fp = row.result == Class::Fp || row.args.contains(&Class::Fp) && op != Op::FpToInt;
        let preferred = match () {
            () if row.result == Class::Vec || row.args.contains(&Class::Vec) => Type::V128,
            () if fp => self.random.pick(&[Type::F16, Type::F32, Type::F64]),
            () => self
                .random
                .pick(&[Type::I8, Type::I16, Type::I32, Type::I64]),
        };
        let ty = if self.random.one_in(4) {
            self.random.pick(&Type::ALL)
        } else {
            preferred
        };
        let mut args = [Operand::None; 4];
        for (arg, class) in args.iter_mut().zip(row.args) {
            *arg = self.operand(*class, ty);
        }
        if matches!(
            op,
            Op::Load | Op::Store | Op::ProbeWrite | Op::LoadReserved | Op::Cas
        ) {
            args[0] = Operand::Slot(Slot::state(self.random.below(2) as u16));
            if row.args.get(1) == Some(&Class::OptInt) {
                args[1] = Operand::None;
                args[2] = Operand::Imm(self.random.value() as i64 % 32);
            }
        }
        let dst = (row.result != Class::None).then(|| self.destination(row.result, ty, only_temps));
        let ext = self
            .random
            .pick(&[Ext::Zero, Ext::Zero, Ext::Sign, Ext::Ones, Ext::Keep]);
        let dst = dst.filter(|_| !self.random.one_in(10));
        let ext = if dst.is_none() { Ext::Zero } else { ext };
        Inst {
            op,
            ty,
            ext,
            dst,
            args,
            attr: self.attr(row.attr, ty),
        }
    }

    fn destination(&mut self, class: Class, ty: Type, only_temp: bool) -> Slot {
        if !only_temp && self.random.one_in(2) {
            return Slot::state(self.random.below(LAYOUT.slots.len()) as u16);
        }
        if self.temps.is_empty() || self.random.one_in(2) {
            let ty = match class {
                Class::Int => self
                    .random
                    .pick(&[Type::I8, Type::I16, Type::I32, Type::I64]),
                Class::Fp => self.random.pick(&[Type::F32, Type::F64, Type::V128]),
                Class::Vec => Type::V128,
                Class::Wide => Type::I128,
                Class::Flags => Type::Flags,
                _ => ty,
            };
            if ty != Type::F16 {
                self.temps.push(ty);
                return Slot::temp(self.temps.len() as u16 - 1);
            }
        }
        Slot::temp(self.random.below(self.temps.len().max(1)) as u16)
    }

    /// A slot or constant that has a chance to fit.
    fn operand(&mut self, class: Class, ty: Type) -> Operand {
        let constant = match class {
            Class::Imm => true,
            Class::Int | Class::Any => self.random.one_in(3),
            Class::OptInt | Class::OptFlags | Class::OptVec if self.random.one_in(2) => {
                return Operand::None;
            }
            _ => false,
        };
        if constant {
            return Operand::Imm(self.random.value() as i64);
        }
        for _ in 0..30 {
            let use_temp = !self.written.is_empty() && self.random.one_in(2);
            let (slot, found) = if use_temp {
                let slot = self.random.pick(&self.written);
                (slot, self.temps[slot.index()])
            } else {
                let number = self.random.below(LAYOUT.slots.len());
                (Slot::state(number as u16), LAYOUT.slots[number].ty)
            };
            let fits = match class {
                Class::Flags | Class::OptFlags => found == Type::Flags,
                Class::Vec | Class::OptVec => found == Type::V128,
                Class::Wide => found == Type::I128,
                Class::Fp => !found.is_int() && (ty.is_int() || found.bits() >= ty.bits()),
                _ => found.is_int() && found.bits() >= ty.bits(),
            };
            if fits || self.random.one_in(20) {
                return Operand::Slot(slot);
            }
        }
        Operand::Imm(0)
    }

    fn attr(&mut self, class: AttrClass, ty: Type) -> Attr {
        let random = &mut *self.random;
        let lanes = [
            Type::I8,
            Type::I16,
            Type::I32,
            Type::I64,
            Type::F32,
            Type::F64,
        ];
        let orders = [
            MemOrder::Relaxed,
            MemOrder::Acquire,
            MemOrder::Release,
            MemOrder::SeqCst,
        ];
        match class {
            AttrClass::None => Attr::None,
            AttrClass::Mem => Attr::Mem(MemAttr {
                size_log2: random.below(5) as u8,
                signed: random.one_in(2),
                endian: random.pick(&[Endian::Little, Endian::Big]),
                order: random.pick(&orders),
                index_shift: random.pick(&[0, 0, 1, 3]),
                must_align: random.one_in(8),
            }),
            AttrClass::Fp => Attr::Fp(random.pick(&Rounding::ALL)),
            AttrClass::Convert => Attr::Convert {
                from: random.pick(&Type::ALL),
                rounding: random.pick(&Rounding::ALL),
                signed: random.one_in(2),
                rule: random.pick(&[
                    FpToIntRule::SaturateNanMax,
                    FpToIntRule::SaturateNanZero,
                    FpToIntRule::Indefinite,
                    FpToIntRule::Modulo,
                ]),
            },
            AttrClass::Integral => {
                let rounding = random.pick(&Rounding::ALL);
                Attr::Integral {
                    rounding,
                    exact: random.one_in(2),
                }
            }
            AttrClass::MinMax => Attr::MinMax(random.pick(&[
                MinMaxRule::Number,
                MinMaxRule::Propagate,
                MinMaxRule::Second,
            ])),
            AttrClass::Cond => Attr::Cond(random.pick(&Cond::ALL)),
            AttrClass::FlagCond => Attr::FlagCond(random.pick(&FlagCond::ALL)),
            AttrClass::FlagKind => Attr::FlagKind(random.pick(&FlagKind::ALL)),
            AttrClass::Helper => Attr::Helper(HelperId(random.below(4) as u16)),
            AttrClass::Vector => Attr::Vector {
                row: VectorId(random.below(2) as u16),
                imm: random.below(3) as u8,
            },
            AttrClass::Lane => {
                let index = random.pick(&[0, 0, 1, 7, 15, 40]);
                Attr::Lane {
                    ty: random.pick(&lanes),
                    index,
                }
            }
            AttrClass::Field => {
                let pos = random.below(ty.bits().min(64) as usize) as u8;
                let len = 1 + random.below(64 - usize::from(pos)) as u8;
                Attr::Field {
                    pos,
                    len,
                    signed: random.one_in(3),
                }
            }
            AttrClass::Fence => Attr::Fence(FenceSet {
                before_loads: random.one_in(2),
                before_stores: random.one_in(2),
                after_loads: random.one_in(2),
                after_stores: random.one_in(2),
            }),
            AttrClass::Insn => Attr::Insn { offset: 0, len: 4 },
        }
    }
}
