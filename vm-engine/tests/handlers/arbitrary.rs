//! Random operations.

pub(crate) use vm_testing::Random;

use super::*;

/// An operation with random type, operands and attributes, which the verifier may not like.
pub(crate) fn inst(random: &mut Random, op: Op, temps: &[Type]) -> Inst {
    let row = op.info();
    let fp = row.result == Class::Fp || row.args.contains(&Class::Fp) && op != Op::FpToInt;
    let preferred = match () {
        () if row.result == Class::Vec || row.args.contains(&Class::Vec) => Type::V128,
        () if fp => random.pick(&[Type::F16, Type::F32, Type::F64]),
        () => random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]),
    };
    let ty = if random.one_in(4) {
        random.pick(&Type::ALL)
    } else {
        preferred
    };
    let mut args = [Operand::None; 4];
    for (arg, class) in args.iter_mut().zip(row.args) {
        *arg = operand(random, *class, ty, temps);
    }
    if row.attr == AttrClass::Mem {
        args[0] = Operand::Slot(Slot::state(random.below(2) as u16));
        if row.args.get(1) == Some(&Class::OptInt) {
            if random.one_in(2) {
                args[1] = Operand::None;
            } else if random.one_in(2) {
                args[1] = Operand::Slot(Slot::state(2)); // r0, which is small
            }
            args[2] = Operand::Imm(random.value() as i64 % 32);
        }
    }
    let indexed = args[1] != Operand::None && row.args.get(1) == Some(&Class::OptInt);
    let any = |random: &mut Random| match random.below(LAYOUT.slots.len() + temps.len()) {
        n if n < LAYOUT.slots.len() => Slot::state(n as u16),
        n => Slot::temp((n - LAYOUT.slots.len()) as u16),
    };
    let dst = (row.result != Class::None && !random.one_in(10)).then(|| any(random));
    let exts = [Ext::Zero, Ext::Sign, Ext::Ones, Ext::Keep];
    let ext = dst.map_or(Ext::Zero, |_| random.pick(&exts));
    Inst {
        op,
        ty,
        ext,
        dst,
        args,
        attr: attr(random, op, indexed, ty),
    }
}

/// A slot or constant that has a chance to fit.
pub(crate) fn operand(random: &mut Random, class: Class, ty: Type, temps: &[Type]) -> Operand {
    let constant = match class {
        Class::Imm => true,
        Class::Int | Class::Any => random.one_in(3),
        Class::OptInt | Class::OptFlags | Class::OptVec if random.one_in(2) => {
            return Operand::None;
        }
        _ => false,
    };
    if constant {
        return Operand::Imm(random.value() as i64);
    }
    for _ in 0..30 {
        let (slot, found) = match random.below(LAYOUT.slots.len() + temps.len()) {
            n if n < LAYOUT.slots.len() => (Slot::state(n as u16), LAYOUT.slots[n].ty),
            n => {
                let n = n - LAYOUT.slots.len();
                (Slot::temp(n as u16), temps[n])
            }
        };
        let fits = match class {
            Class::Flags | Class::OptFlags => found == Type::Flags,
            Class::Vec | Class::OptVec => found == Type::V128,
            Class::Wide => found == Type::I128,
            Class::Fp => !found.is_int() && (ty.is_int() || found.bits() >= ty.bits()),
            _ => found.is_int() && found.bits() >= ty.bits(),
        };
        if fits {
            return Operand::Slot(slot);
        }
    }
    Operand::Imm(0)
}

pub(crate) fn attr(random: &mut Random, op: Op, indexed: bool, ty: Type) -> Attr {
    let orders = [
        MemOrder::Relaxed,
        MemOrder::Acquire,
        MemOrder::Release,
        MemOrder::SeqCst,
    ];
    let lanes = [
        Type::I8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::F32,
        Type::F64,
    ];
    match op.info().attr {
        AttrClass::None => Attr::None,
        AttrClass::Mem => {
            let plain = matches!(op, Op::Load | Op::Store);
            Attr::Mem(MemAttr {
                size_log2: random.below(5) as u8,
                signed: random.one_in(2),
                endian: match plain && random.one_in(3) {
                    true => Endian::Big,
                    false => Endian::Little,
                },
                order: random.pick(&orders),
                index_shift: if indexed { random.below(4) as u8 } else { 0 },
                // The interpreter's atomics always want alignment.
                must_align: !matches!(op, Op::Load | Op::Store | Op::ProbeWrite)
                    || plain && random.one_in(3),
            })
        }
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
        AttrClass::Integral => Attr::Integral {
            rounding: random.pick(&Rounding::ALL),
            exact: random.one_in(2),
        },
        AttrClass::MinMax => Attr::MinMax(random.pick(&[
            MinMaxRule::Number,
            MinMaxRule::Propagate,
            MinMaxRule::Second,
        ])),
        AttrClass::Cond => Attr::Cond(random.pick(&Cond::ALL)),
        AttrClass::FlagCond => Attr::FlagCond(random.pick(&FlagCond::ALL)),
        AttrClass::FlagKind => Attr::FlagKind(random.pick(&FlagKind::ALL)),
        AttrClass::Helper => Attr::Helper(HelperId(random.below(2) as u16)),
        AttrClass::Vector => Attr::Vector {
            row: VectorId(random.below(LAYOUT.vectors.len()) as u16),
            imm: random.next() as u8,
        },
        AttrClass::Lane => Attr::Lane {
            ty: random.pick(&lanes),
            index: random.pick(&[0, 0, 1, 7, 15]),
        },
        AttrClass::Field => {
            let pos = random.below(ty.bits().min(64) as usize) as u8;
            Attr::Field {
                pos,
                len: 1 + random.below(64 - usize::from(pos)) as u8,
                signed: random.one_in(2),
            }
        }
        AttrClass::Fence => Attr::Fence(FenceSet {
            before_loads: true,
            before_stores: true,
            after_loads: random.one_in(2),
            after_stores: true,
        }),
        AttrClass::Insn => Attr::Insn { offset: 0, len: 4 },
    }
}

/// A block at `at` of one guest instruction that does `body`, and one that only raises an exception.
pub(crate) fn block(body: &[Inst], temps: &[Type], at: u64) -> Block {
    let offset = (at & (PAGE_BYTES - 1)) as u16;
    let mut insts = vec![Inst::marker(offset, 4)];
    insts.extend(body);
    insts.push(Inst::marker(offset + 4, 4));
    let mut block = Block {
        key: BlockKey {
            phys_pc: GuestPhysAddr(at),
            mode: Mode::default(),
        },
        insts,
        temps: temps.to_vec(),
        terminator: Terminator::Exception {
            code: ExceptionCode(END),
            value: Operand::Slot(Slot::state(0)),
        },
        guest_insns: 0,
        guest_bytes: 0,
        second_page: None,
    };
    (block.guest_insns, block.guest_bytes) = block.marked();
    block
}
