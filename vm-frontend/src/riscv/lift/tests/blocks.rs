//! Where blocks end and what they record.

use vm_ir::{Ext, Op as Ir, Slot, Type};

use super::*;

const ADDI: u32 = 0x0015_0513; // addi a0,a0,1
const C_ADDI: u32 = 0x0505; // c.addi a0,1

fn config(text: &str) -> IsaConfig {
    text.parse().expect("a CPU description")
}

fn plain(offset: i64) -> Terminator {
    Terminator::Jump {
        offset,
        kind: JumpKind::Plain,
    }
}

#[test]
fn lift_at_the_instruction_limit_jumps_on() {
    let limits = LiftLimits {
        max_insns: 3,
        stop_before: &[],
    };
    let mut page = Page::at(0x100, &[ADDI, C_ADDI, ADDI, ADDI]);
    let block = lift(&config("max"), key(0x100, MACHINE), &mut page, limits).expect("lifts");
    assert_eq!((block.guest_insns, block.guest_bytes), (3, 10));
    assert_eq!(block.terminator, plain(0x10a));
}

#[test]
fn lift_before_a_breakpoint_stops_but_starts_at_one() {
    let limits = LiftLimits {
        max_insns: 64,
        stop_before: &[0, 8],
    };
    let mut page = Page::at(0, &[ADDI, ADDI, ADDI, ADDI]);
    let block = lift(&config("max"), key(0, MACHINE), &mut page, limits).expect("lifts");
    assert_eq!((block.guest_insns, block.terminator), (2, plain(8)));
}

#[test]
fn lift_at_the_end_of_the_page_jumps_to_the_next() {
    let mut page = Page::at(4088, &[ADDI, ADDI]);
    let block = lift(&config("max"), key(4088, MACHINE), &mut page, limits()).expect("lifts");
    assert_eq!((block.guest_insns, block.terminator), (2, plain(4096)));
    assert_eq!(block.second_page, None);
}

#[test]
fn lift_a_straddling_instruction_is_a_block_of_its_own() {
    let mut page = Page::at(4092, &[C_ADDI, ADDI]);
    let block = lift(&config("max"), key(4092, MACHINE), &mut page, limits()).expect("lifts");
    assert_eq!((block.guest_insns, block.terminator), (1, plain(4094)));

    let mut page = Page::at(4094, &[ADDI]);
    page.next = Ok((GuestPhysAddr(0x9000_0000), (ADDI >> 16) as u16));
    let block = lift(&config("max"), key(4094, MACHINE), &mut page, limits()).expect("lifts");
    assert_eq!((block.guest_insns, block.guest_bytes), (1, 4));
    assert_eq!(block.second_page, Some(GuestPhysAddr(0x9000_0000)));
    assert_eq!(block.terminator, plain(4098));

    let mut page = Page::at(4094, &[ADDI]);
    let error = lift(&config("max"), key(4094, MACHINE), &mut page, limits()).expect_err("faults");
    assert_eq!(error.code, ExceptionCode(cause::FETCH_PAGE));
}

#[test]
fn lift_a_compressed_instruction_at_the_page_end_needs_no_second_page() {
    let mut page = Page::at(4094, &[C_ADDI]);
    let block = lift(&config("max"), key(4094, MACHINE), &mut page, limits()).expect("lifts");
    assert_eq!((block.second_page, block.terminator), (None, plain(4096)));
}

#[test]
fn lift_an_illegal_instruction_keeps_those_before_it() {
    for (illegal, value) in [
        (0x0000_0000u32, 0),
        (0xffff_ffff, 0xffff_ffffu32),
        (0x0000_9c79, 0x9c79),
    ] {
        let block = lifted(&[ADDI, illegal], MACHINE);
        assert_eq!(block.guest_insns, 2);
        let (code, value) = (ExceptionCode(cause::ILLEGAL), Operand::Imm(value.into()));
        assert_eq!(block.terminator, Terminator::Exception { code, value });
    }
}

#[test]
fn lift_floating_point_when_off_is_illegal() {
    let off = Mode(3);
    let mut illegal = 0;
    for word in [
        0x0005_2507, // flw fa0,0(a0)
        0x00a5_2027, // fsw fa0,0(a0)
        0x2108,      // c.fld fa0,0(a0)
        0x02b5_7553, // fadd.d
        0xe205_0553, // fmv.x.d
        0xc205_7553, // fcvt.w.d
        0xf010_0553, // fli.s
    ] {
        let block = lifted(&[word], off);
        if let Terminator::Exception {
            code: ExceptionCode(cause::ILLEGAL),
            value,
        } = block.terminator
        {
            assert_eq!(value, Operand::Imm(word.into()));
            assert_eq!(block.insts.len(), 1, "nothing but the marker");
            illegal += 1;
        }
        assert!(
            !matches!(lifted(&[word, 0], MACHINE).guest_insns, 0 | 1),
            "{word:#x} goes on"
        );
    }
    assert_eq!(illegal, 7);
}

#[test]
fn lift_dynamic_rounding_under_a_reserved_mode_is_illegal() {
    let reserved = Mode(MACHINE.0 | 1 << 4);
    let dynamic = lifted(&[0x02b5_7553], reserved);
    let code = ExceptionCode(cause::ILLEGAL);
    assert_eq!(
        dynamic.terminator,
        Terminator::Exception {
            code,
            value: Operand::Imm(0x02b5_7553)
        }
    );
    // Rounding that the instruction names itself, and moves, are legal.
    let fixed = lifted(&[0x02b5_1553, 0xe205_0553, 0], reserved);
    assert_eq!(fixed.guest_insns, 3);
}

#[test]
fn lift_clean_floating_point_state_is_dirtied_once() {
    let clean = Mode(3 | 1 << 2);
    let calls = |words: &[u32], mode| {
        lifted(words, mode)
            .insts
            .iter()
            .filter(|inst| inst.op == Ir::Call)
            .count()
    };
    let loads = [0x0005_3507, 0x0085_3587, 0x02b5_7553]; // fld, fld, fadd.d
    assert_eq!(calls(&loads, clean), 1);
    assert_eq!(calls(&loads, MACHINE), 0);
    assert_eq!(
        calls(&[0x00a5_3027, 0xe205_0553], clean),
        0,
        "fsd and fmv.x.d write nothing"
    );
    // A load comes before the call: it may fault, and then nothing has changed.
    let ops: Vec<_> = lifted(&loads[..1], clean)
        .insts
        .iter()
        .map(|inst| inst.op)
        .collect();
    assert_eq!(ops[..3], [Ir::Insn, Ir::Load, Ir::Call]);
}

#[test]
fn lift_without_compressed_instructions_checks_jump_targets() {
    let config = config("max,-c");
    let one = |word: u32| {
        lift(
            &config,
            key(0, MACHINE),
            &mut Page::at(0, &[word]),
            limits(),
        )
        .expect("lifts")
    };
    let code = ExceptionCode(cause::FETCH_MISALIGNED);
    // jal ra,6
    let jal = one(0x0060_00ef);
    assert!(matches!(jal.terminator, Terminator::Exception { code: c, .. } if c == code));
    assert!(
        jal.insts
            .iter()
            .all(|inst| inst.dst != Some(Slot::state(1))),
        "no link"
    );
    // beq a0,a1,6
    let beq = one(0x00b5_0363);
    assert_eq!(beq.terminator, plain(4));
    assert_eq!(beq.insts.last().map(|inst| inst.op), Some(Ir::RaiseIf));
    // jalr ra,2(a0): the check comes before the link
    let jalr = one(0x0025_00e7);
    let ops: Vec<_> = jalr.insts.iter().map(|inst| inst.op).collect();
    assert_eq!(
        ops,
        [Ir::Insn, Ir::Add, Ir::And, Ir::And, Ir::RaiseIf, Ir::PcRel]
    );
    assert_eq!(
        one(0x0040_00ef).terminator,
        Terminator::Jump {
            offset: 4,
            kind: JumpKind::Call { return_offset: 4 }
        }
    );
}

#[test]
fn lift_jumps_know_calls_and_returns() {
    let kind = |word: u32| match lifted(&[word], MACHINE).terminator {
        Terminator::Jump { kind, .. } | Terminator::Indirect { kind, .. } => kind,
        other => panic!("{word:#x}: {other:?}"),
    };
    let call = |return_offset| JumpKind::Call { return_offset };
    assert_eq!(kind(0x0100_006f), JumpKind::Plain, "j");
    assert_eq!(kind(0x0100_00ef), call(4), "jal ra");
    assert_eq!(kind(0x0100_02ef), call(4), "jal t0");
    assert_eq!(kind(0x8082), JumpKind::Return, "ret");
    assert_eq!(kind(0x9502), call(2), "c.jalr a0");
    assert_eq!(kind(0x8502), JumpKind::Plain, "c.jr a0");
    assert_eq!(kind(0x0002_8067), JumpKind::Return, "jr t0");
    assert_eq!(kind(0x0000_80e7), call(4), "jalr ra,(ra)");
}

#[test]
fn lift_link_register_as_target_is_read_before_it_is_written() {
    // jalr ra,16(ra)
    let block = lifted(&[0x0100_80e7], MACHINE);
    let Terminator::Indirect {
        target: Operand::Slot(target),
        ..
    } = block.terminator
    else {
        panic!("{:?}", block.terminator);
    };
    assert!(target.is_temp());
    let link = block.insts.last().expect("the link");
    assert_eq!(
        (link.op, link.dst, link.args[0]),
        (Ir::PcRel, Some(Slot::state(1)), Operand::Imm(4))
    );
}

#[test]
fn lift_pairs_become_one_constant_or_address() {
    // auipc ra,0x1; jalr ra,-8(ra): a direct call
    let block = lifted(&[0x0000_1097, 0xff80_80e7], MACHINE);
    let kind = JumpKind::Call { return_offset: 8 };
    assert_eq!(
        block.terminator,
        Terminator::Jump {
            offset: 0xff8,
            kind
        }
    );
    // lui a0,0x12345; addiw a0,a0,0x678
    let block = lifted(&[0x1234_5537, 0x6785_051b], MACHINE);
    let constant = block.insts[3];
    assert_eq!(
        (constant.op, constant.args[0]),
        (Ir::Mov, Operand::Imm(0x1234_5678))
    );
    // auipc a0,0x1; addi a0,a0,4
    let block = lifted(&[0x0000_1517, 0x0045_0513], MACHINE);
    assert_eq!(
        (block.insts[3].op, block.insts[3].args[0]),
        (Ir::PcRel, Operand::Imm(0x1004))
    );
    // ... but not across a write to the register: auipc a0; ld a0,0(a0); jalr 0(a0)
    let block = lifted(&[0x0000_1517, 0x0005_3503, 0x0005_0067], MACHINE);
    assert!(matches!(block.terminator, Terminator::Indirect { .. }));
    // lui 0x80000; addiw -1 wraps in 32 bits
    let block = lifted(&[0x8000_0537, 0xfff5_051b], MACHINE);
    assert_eq!(block.insts[3].args[0], Operand::Imm(0x7fff_ffff));
}

#[test]
fn lift_writes_to_x0_are_dropped_but_their_faults_are_not() {
    let block = lifted(&[0x0015_0013, 0x0000_1037, 0x02c5_8033, 0], MACHINE); // addi, lui, mul to x0
    assert!(block.insts.iter().all(|inst| inst.op == Ir::Insn));
    let block = lifted(&[0x0005_3003], MACHINE); // ld x0,0(a0)
    assert_eq!((block.insts[1].op, block.insts[1].dst), (Ir::Load, None));
    let block = lifted(&[0x00b6_302f], MACHINE); // amoadd.d x0,a1,(a2)
    assert_eq!(
        (block.insts[1].op, block.insts[1].dst),
        (Ir::AtomicAdd, None)
    );
}

#[test]
fn lift_single_precision_is_unboxed_once() {
    // fadd.s fa0,fa1,fa1; fmul.s fa2,fa0,fa1
    let block = lifted(&[0x00b5_f553, 0x10b5_7653], MACHINE);
    let unboxed = block
        .insts
        .iter()
        .filter(|inst| inst.op == Ir::FpUnbox)
        .count();
    assert_eq!(unboxed, 1, "fa1 once, fa0 was made here");
    let add = block
        .insts
        .iter()
        .find(|inst| inst.op == Ir::FpAdd)
        .expect("an addition");
    assert_eq!((add.ty, add.ext), (Type::F32, Ext::Ones));
    // A double written over it is unboxed again: fld fa1; fadd.s
    let block = lifted(&[0x00b5_f553, 0x0005_3587, 0x00b5_f553], MACHINE);
    assert_eq!(
        block
            .insts
            .iter()
            .filter(|inst| inst.op == Ir::FpUnbox)
            .count(),
        2
    );
}

#[test]
fn lift_registers_of_trap_handlers_without_helper_where_the_mode_may() {
    const USER: Mode = Mode(0);
    const SUPERVISOR: Mode = Mode(1);
    let helper = |word: u32, mode| {
        let mut page = Page::at(0, &[word]);
        let limits = LiftLimits {
            max_insns: 1,
            stop_before: &[],
        };
        let block = lift(&config("max"), key(0, mode), &mut page, limits).expect("lifts");
        block.insts.iter().any(|inst| inst.op == Ir::Call)
    };
    for (number, least) in [(0x140, SUPERVISOR), (0x143, SUPERVISOR), (0x341, MACHINE)] {
        for funct3 in [1, 2, 3, 5, 6, 7] {
            // csrrw a0, number, a1 and the other five
            let word = number << 20 | 11 << 15 | funct3 << 12 | 10 << 7 | 0x73;
            assert!(helper(word, USER), "{word:08x}");
            assert_eq!(helper(word, SUPERVISOR), least == MACHINE, "{word:08x}");
            assert!(!helper(word, MACHINE), "{word:08x}");
        }
    }
    // sstatus has effects of its own.
    assert!(helper(
        0x100 << 20 | 11 << 15 | 1 << 12 | 10 << 7 | 0x73,
        MACHINE
    ));
}
