//! Every operation against its definition.

use super::*;

/// `RANDOM_EFFORT` makes all of this so many times as thorough.
fn effort() -> usize {
    std::env::var("RANDOM_EFFORT").map_or(1, |n| n.parse().expect("a number"))
}

#[test]
fn every_operation_runs_as_defined_with_riscv_floats() {
    Bench::<0>::new(1).each_op(15 * effort(), 8);
}

#[test]
fn every_operation_runs_as_defined_with_arm_floats() {
    Bench::<1>::new(2).each_op(8 * effort(), 6);
}

#[test]
fn every_operation_runs_as_defined_with_sse_floats() {
    Bench::<2>::new(3).each_op(8 * effort(), 6);
}

#[test]
fn rows_of_vector_operations_run_as_defined() {
    let mut bench = Bench::<2>::new(9);
    for row in 0..LAYOUT.vectors.len() {
        let mut made = inst(&mut bench.random, Op::VecCall, &[]);
        while verify(&block(&[made], &[], bench.next), &LAYOUT).is_err() {
            made = inst(&mut bench.random, Op::VecCall, &[]);
        }
        let imm = bench.random.next() as u8;
        let row = VectorId(row as u16);
        made.attr = Attr::Vector { row, imm };
        let block = block(&[made], &[], bench.next);
        for _ in 0..6 {
            bench.compare(&block);
        }
        bench.place();
    }
}

/// Several operations on temporaries and slots in one guest instruction; the last one may fault.
#[test]
fn sequences_of_operations_run_as_defined() {
    const TEMPS: [Type; 8] = [
        Type::I64,
        Type::I32,
        Type::I8,
        Type::F64,
        Type::F32,
        Type::V128,
        Type::I128,
        Type::Flags,
    ];
    let mut bench = Bench::<0>::new(4);
    let mut made = 0;
    while made < 400 * effort() {
        let at = bench.next;
        let mut insts = Vec::new();
        for _ in 0..60 {
            let row = &Op::TABLE[bench.random.below(Op::TABLE.len())];
            if matches!(row.op, Op::Insn | Op::ExitIf) {
                continue;
            }
            insts.push(inst(&mut bench.random, row.op, &TEMPS));
            if verify(&block(&insts, &TEMPS, at), &LAYOUT).is_err() {
                insts.pop();
            } else if insts.len() == 8 {
                break;
            }
        }
        let block = block(&insts, &TEMPS, at);
        bench.place();
        made += 1;
        for _ in 0..4 {
            bench.compare(&block);
        }
    }
}

/// `setflags` of a random kind on random operands, and what it is about.
fn flags_and_operation(random: &mut Random) -> [Inst; 2] {
    let (kind, op) = random.pick(&[
        (FlagKind::Add, Op::Add),
        (FlagKind::AddCarry, Op::AddCarry),
        (FlagKind::Sub, Op::Sub),
        (FlagKind::SubBorrow, Op::SubBorrow),
        (FlagKind::Inc, Op::Add),
        (FlagKind::Dec, Op::Sub),
        (FlagKind::Neg, Op::Neg),
        (FlagKind::Shl, Op::Shl),
        (FlagKind::Shr, Op::Shr),
        (FlagKind::Sar, Op::Sar),
    ]);
    let ty = random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]);
    let flags = Slot::state(13);
    let mut of = [Operand::None; 4];
    for (arg, class) in of.iter_mut().zip(op.info().args) {
        *arg = operand(random, *class, ty, &[]);
    }
    let mut args = of.map(|arg| match arg {
        Operand::None => Operand::Imm(0),
        arg => arg,
    });
    if matches!(kind, FlagKind::Inc | FlagKind::Dec) && !random.one_in(4) {
        of[1] = Operand::Imm(1);
    }
    args[3] = if kind.reads_old() {
        flags.into()
    } else {
        Operand::None
    };
    let set = Inst {
        op: Op::SetFlags,
        ty,
        ext: Ext::Zero,
        dst: Some(flags),
        args,
        attr: Attr::FlagKind(kind),
    };
    let result = Inst {
        op,
        ext: random.pick(&[Ext::Zero, Ext::Sign, Ext::Keep]),
        dst: Some(Slot::state(random.below(5) as u16)),
        args: of,
        attr: Attr::None,
        ..set
    };
    if random.one_in(2) {
        [result, set]
    } else {
        [set, result]
    }
}

/// Logic, and the flags of its result.
fn logic_and_flags(random: &mut Random) -> [Inst; 2] {
    let ty = random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]);
    let dst = Slot::state(random.below(5) as u16);
    let [x, y] = [(); 2].map(|()| operand(random, Class::Int, ty, &[]));
    let logic = Inst {
        op: random.pick(&[Op::And, Op::Or, Op::Xor]),
        ty,
        ext: random.pick(&[Ext::Zero, Ext::Sign, Ext::Keep]),
        dst: Some(dst),
        args: [x, y, Operand::None, Operand::None],
        attr: Attr::None,
    };
    let set = Inst {
        op: Op::SetFlags,
        ext: Ext::Zero,
        dst: Some(Slot::state(13)),
        args: [dst.into(), Operand::Imm(0), Operand::Imm(0), Operand::None],
        attr: Attr::FlagKind(FlagKind::Logic),
        ..logic
    };
    [logic, set]
}

/// A condition on flags to the first temporary, and a choice by it.
fn flag_and_choice(random: &mut Random) -> [Inst; 2] {
    let temp = Slot::temp(0);
    let get = Inst {
        op: Op::GetFlag,
        ty: Type::I64,
        ext: Ext::Zero,
        dst: Some(temp),
        args: [
            Slot::state(13).into(),
            Operand::None,
            Operand::None,
            Operand::None,
        ],
        attr: Attr::FlagCond(random.pick(&FlagCond::ALL)),
    };
    let ty = random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]);
    let [x, y] = [(); 2].map(|()| operand(random, Class::Int, ty, &[]));
    let choice = Inst {
        op: Op::Select,
        ty,
        ext: random.pick(&[Ext::Zero, Ext::Sign, Ext::Keep]),
        dst: Some(Slot::state(random.below(5) as u16)),
        args: [x, y, temp.into(), Operand::Imm(0)],
        attr: Attr::Cond(random.pick(&[Cond::Eq, Cond::Ne])),
    };
    [get, choice]
}

#[test]
fn flags_with_their_operation_run_as_defined() {
    let mut bench = Bench::<0>::new(7);
    let mut made = 0;
    while made < 1200 * effort() {
        let random = &mut bench.random;
        let body = match random.below(4) {
            0 => logic_and_flags(random),
            1 => flag_and_choice(random),
            _ => flags_and_operation(random),
        };
        let block = block(&body, &[Type::I64], bench.next);
        if verify(&block, &LAYOUT).is_err() {
            continue;
        }
        bench.place();
        made += 1;
        for _ in 0..4 {
            bench.compare(&block);
        }
    }
}

#[test]
fn branches_by_flags_go_as_defined() {
    let mut bench = Bench::<0>::new(8);
    for (number, cond) in FlagCond::ALL.into_iter().cycle().take(72).enumerate() {
        let [mut get, _] = flag_and_choice(&mut bench.random);
        get.attr = Attr::FlagCond(cond);
        let mut block = block(&[get], &[Type::I64], bench.next);
        // The condition is the last operation.
        block.insts.pop();
        (block.guest_insns, block.guest_bytes) = block.marked();
        let near = (bench.next & (PAGE_BYTES - 1)) as i64;
        block.terminator = Terminator::Branch {
            cond: if number % 5 == 0 { Cond::Eq } else { Cond::Ne },
            ty: Type::I64,
            a: Slot::temp(0).into(),
            b: Operand::Imm(0),
            taken: if number % 2 == 0 {
                near + 8
            } else {
                near + 0x1000
            },
            fallthrough: if number % 3 == 0 {
                near + 8
            } else {
                near + 0x2000
            },
        };
        assert_eq!(verify(&block, &LAYOUT), Ok(()));
        for _ in 0..20 {
            bench.compare(&block);
        }
        bench.place();
        bench.place();
    }
}
