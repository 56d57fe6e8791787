//! What each fault pushes, and where from.

use iced_x86::code_asm::*;

use vm_core::VmExit;

use super::machine::*;

type Code = fn(&mut CodeAssembler) -> Result<(), IcedError>;
/// What is delivered: vector and error code.
type What = (u64, Option<u64>);

/// Runs code at privilege level 0 and gives what was delivered.
fn fault(code: Code) -> (Machine, Delivered) {
    let mut machine = Machine::long(code);
    let delivered = machine.run_to_stub();
    (machine, delivered)
}

/// Goes to user-mode code at CODE + 0x100.
pub(crate) fn enter_user(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.push(i32::from(USER_DATA))?;
    a.push(STACK as i32)?;
    a.push(0x202)?;
    a.push(i32::from(USER_CODE))?;
    a.push(CODE as i32 + 0x100)?;
    a.iretq()
}

fn user(code: Code) -> (Machine, Delivered) {
    let mut machine = Machine::long(enter_user);
    machine.assemble(64, CODE + 0x100, code);
    let delivered = machine.run_to_stub();
    (machine, delivered)
}

#[test]
fn faults_push_their_vector_and_error_at_level_0() {
    let cases: [(&str, Code, What); 19] = [
        ("div", |a| a.div(ecx), (0, None)),
        ("ud2", |a| a.ud2(), (6, None)),
        (
            "into_gdt_end",
            |a| {
                a.mov(eax, 0x3f8)?;
                a.mov(ds, eax)
            },
            (13, Some(0x3f8)),
        ),
        (
            "code_in_ss",
            |a| {
                a.mov(eax, 0x08)?;
                a.mov(ss, eax)
            },
            (13, Some(0x08)),
        ),
        (
            "ltr_busy",
            |a| {
                a.mov(eax, 0x10)?;
                a.ltr(ax)
            },
            (13, Some(0x10)),
        ),
        (
            "null_ltr",
            |a| {
                a.xor(eax, eax)?;
                a.ltr(ax)
            },
            (13, Some(0)),
        ),
        (
            "cr0_pg",
            |a| {
                a.mov(rax, 0x8000_0000_u64)?;
                a.mov(cr0, rax)
            },
            (13, Some(0)),
        ),
        (
            "cr4_bit",
            |a| {
                a.mov(rax, 1_u64 << 30)?;
                a.mov(cr4, rax)
            },
            (13, Some(0)),
        ),
        (
            "cr4_pae",
            |a| {
                a.xor(eax, eax)?;
                a.mov(cr4, rax)
            },
            (13, Some(0)),
        ),
        (
            "no_msr",
            |a| {
                a.mov(ecx, 0x1234)?;
                a.rdmsr()
            },
            (13, Some(0)),
        ),
        (
            "efer_bit",
            |a| {
                a.mov(ecx, 0xc000_0080_u32)?;
                a.mov(eax, 1 << 20)?;
                a.wrmsr()
            },
            (13, Some(0)),
        ),
        (
            "cmpxchg16b_misaligned",
            |a| {
                a.mov(esi, DATA as u32 + 8)?;
                a.lock().cmpxchg16b(xmmword_ptr(rsi))
            },
            (13, Some(0)),
        ),
        (
            "lstar",
            |a| {
                a.mov(ecx, 0xc000_0082_u32)?;
                a.mov(edx, 0x0100_0000)?;
                a.wrmsr()
            },
            (13, Some(0)),
        ),
        (
            "not_canonical",
            |a| {
                a.mov(rax, 1_u64 << 47)?;
                a.mov(al, ptr(rax))
            },
            (13, Some(0)),
        ),
        (
            "unmapped",
            |a| {
                a.mov(rax, 1_u64 << 40)?;
                a.mov(ptr(rax), al)
            },
            (14, Some(2)),
        ),
        ("int3", |a| a.int3(), (3, None)),
        ("int1", |a| a.int1(), (1, None)),
        ("int_80", |a| a.int(0x80), (0x80, None)),
        (
            "fetch_unmapped",
            |a| {
                a.mov(rax, 1_u64 << 40)?;
                a.jmp(rax)
            },
            (14, Some(0x10)),
        ),
    ];
    for (name, code, wanted) in cases {
        let (_, delivered) = fault(code);
        assert_eq!(delivered.what(), wanted, "{name}");
        assert_eq!(delivered.cs, u64::from(CODE64), "{name}");
        assert_eq!(delivered.rsp, STACK, "{name}");
        assert_eq!(delivered.ss, u64::from(DATA0), "{name}");
    }
}

#[test]
fn faults_come_back_to_the_instruction_and_traps_behind_it() {
    let (_, div) = fault(|a| {
        a.nop()?;
        a.div(ecx)
    });
    assert_eq!(div.rip, CODE + 1);
    assert_eq!(div.rflags & 1 << 16, 1 << 16, "a fault sets RF");
    let (_, int) = fault(|a| {
        a.nop()?;
        a.int(0x80)
    });
    assert_eq!(int.rip, CODE + 3);
    assert_eq!(int.rflags & 1 << 16, 0);
    let (machine, page) = fault(|a| {
        a.mov(rax, 0x1234_5678_9000_u64)?;
        a.mov(rbx, ptr(rax + 5))
    });
    assert_eq!(machine.state().cr2, 0x1234_5678_9005);
    assert_eq!(page.rip, CODE + 10);
}

#[test]
fn faults_of_user_mode_change_stacks_and_tell_the_user_bit() {
    let cases: [(&str, Code, What); 14] = [
        ("hlt", |a| a.hlt(), (13, Some(0))),
        ("cli", |a| a.cli(), (13, Some(0))),
        ("sti", |a| a.sti(), (13, Some(0))),
        ("cr3", |a| a.mov(rax, cr3), (13, Some(0))),
        ("rdmsr", |a| a.rdmsr(), (13, Some(0))),
        ("in", |a| a.in_(al, 0x80), (13, Some(0))),
        ("out", |a| a.out(0x80, al), (13, Some(0))),
        ("sidt", |a| a.sidt(ptr(rsp - 16)), (13, Some(0))),
        ("smsw", |a| a.smsw(eax), (13, Some(0))),
        (
            "kernel_ss",
            |a| {
                a.mov(eax, 0x10)?;
                a.mov(ss, eax)
            },
            (13, Some(0x10)),
        ),
        (
            "kernel_ds",
            |a| {
                a.mov(eax, 0x10)?;
                a.mov(ds, eax)
            },
            (13, Some(0x10)),
        ),
        (
            "unmapped",
            |a| {
                a.mov(rax, 1_u64 << 40)?;
                a.mov(ptr(rax), al)
            },
            (14, Some(6)),
        ),
        ("sysret", |a| a.sysret(), (13, Some(0))),
        ("clts", |a| a.clts(), (13, Some(0))),
    ];
    for (name, code, wanted) in cases {
        let mut machine = Machine::long(|a| {
            // UMIP.
            a.mov(rax, cr4)?;
            a.or(eax, 1 << 11)?;
            a.mov(cr4, rax)?;
            enter_user(a)
        });
        machine.assemble(64, CODE + 0x100, code);
        let delivered = machine.run_to_stub();
        assert_eq!(delivered.what(), wanted, "{name}");
        assert_eq!(delivered.cs, u64::from(USER_CODE), "{name}");
        assert_eq!(delivered.ss, u64::from(USER_DATA), "{name}");
        assert_eq!(delivered.rsp, STACK, "{name}");
    }
}

#[test]
fn gates_keep_software_interrupts_of_user_mode_out() {
    let mut machine = Machine::long(enter_user);
    machine.gate(0x81, STUBS + 16 * 0x81, CODE64, 0x8e);
    machine.assemble(64, CODE + 0x100, |a| a.int(0x81));
    let delivered = machine.run_to_stub();
    assert_eq!(delivered.what(), (13, Some(0x81 * 8 + 2)));
    assert_eq!(delivered.rip, CODE + 0x100);
    let (_, delivered) = user(|a| a.int(0x82));
    assert_eq!(
        (delivered.what(), delivered.rip),
        ((0x82, None), CODE + 0x102)
    );
}

#[test]
fn absent_gates_and_bad_selectors_name_the_gate_with_ext() {
    let mut machine = Machine::long(|a| a.ud2());
    machine.gate(6, STUBS, CODE64, 0x6e);
    assert_eq!(machine.run_to_stub().what(), (11, Some(6 * 8 + 3)));
    let mut machine = Machine::long(|a| a.ud2());
    machine.gate(6, STUBS, DATA0, 0x8e);
    assert_eq!(
        machine.run_to_stub().what(),
        (13, Some(u64::from(DATA0) + 1))
    );
    let mut machine = Machine::long(|a| a.int(0x90));
    machine.gate(0x90, STUBS, 0, 0x8e);
    assert_eq!(machine.run_to_stub().what(), (13, Some(0)));
}

#[test]
fn faults_while_faults_are_delivered_double() {
    // #GP's gate is absent: #NP while #GP is delivered.
    let mut machine = Machine::long(|a| {
        a.xor(eax, eax)?;
        a.ltr(ax)
    });
    machine.gate(13, STUBS, CODE64, 0x6e);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.what(), delivered.rip), ((8, Some(0)), CODE + 2));
    // A page fault on the stack while a page fault is delivered, which goes on with a stack of its own.
    let mut machine = Machine::long(|a| {
        a.mov(rsp, 1_u64 << 40)?;
        a.push(rax)
    });
    machine.gate(8, STUBS + 16 * 8, CODE64, 0x8e);
    let ist = machine.get(IDT + 16 * 8) | 1 << 32;
    machine.put(IDT + 16 * 8, ist);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.what(), delivered.rsp), ((8, Some(0)), 1 << 40));
    assert_eq!(machine.state().cr2, (1 << 40) - 8);
}

#[test]
fn addresses_that_are_not_canonical_are_stack_faults_where_they_mean_the_stack() {
    let cases: [(&str, Code, What); 6] = [
        ("load", |a| a.mov(eax, ptr(rbx)), (13, Some(0))),
        ("by_rbp", |a| a.mov(eax, ptr(rbp + 8)), (12, Some(0))),
        (
            "by_rbp_and_fs",
            |a| a.mov(eax, ptr(rbp).fs()),
            (13, Some(0)),
        ),
        ("push", |a| a.push(rax), (12, Some(0))),
        ("pop", |a| a.pop(rax), (12, Some(0))),
        ("call", |a| a.call(CODE), (12, Some(0))),
    ];
    for (name, code, wanted) in cases {
        let mut machine = Machine::long(code);
        let state = machine.vcpu.state_mut();
        for register in [3, 4, 5] {
            state.gpr[register] = 1 << 50;
        }
        for vector in [12, 13] {
            let ist = machine.get(IDT + 16 * vector) | 1 << 32;
            machine.put(IDT + 16 * vector, ist);
        }
        assert_eq!(machine.run_to_stub().what(), wanted, "{name}");
    }
}

#[test]
fn triple_fault_shuts_down_with_the_first_and_the_last_exception() {
    for (limit, is_reset) in [(0x3f, false), (0, true)] {
        let mut machine = Machine::long(|a| {
            a.nop()?;
            a.ud2()
        });
        machine.vcpu.state_mut().idtr.limit = limit;
        let VmExit::Shutdown(why) = machine.vcpu.run() else {
            panic!("no shutdown");
        };
        assert_eq!(why.pc.raw(), CODE + 1);
        assert_eq!(why.first.to_string(), "#UD");
        // The double fault's own gate, told as one of the interrupt table.
        assert_eq!(why.last.to_string(), "#GP(0x43)");
        assert_eq!(why.is_reset, is_reset);
        assert_eq!(machine.state().common.pc, CODE + 1);
    }
}

#[test]
fn stack_of_the_interrupt_table_is_aligned() {
    let mut machine = Machine::long(|a| {
        a.sub(rsp, 4)?;
        a.ud2()
    });
    let ist = machine.get(IDT + 16 * 6) | 1 << 32;
    machine.put(IDT + 16 * 6, ist);
    machine.put(TSS + 0x24, IST1 + 7);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, delivered.rsp), (6, STACK - 4));
    // The stub has popped seven words of the frame and its own two.
    assert_eq!(machine.state().gpr[4], IST1);
}

#[test]
fn bases_of_fs_and_gs_outlive_the_selectors_that_user_mode_may_not_have() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, i32::from(DATA0))?;
        a.mov(fs, eax)?;
        a.mov(gs, eax)?;
        a.mov(eax, 0x1234)?;
        a.wrfsbase(rax)?;
        a.wrgsbase(rax)?;
        enter_user(a)
    });
    let state = machine.vcpu.state_mut();
    state.cr4 |= 1 << 16;
    machine.assemble(64, CODE + 0x100, |a| a.ud2());
    machine.run_to_stub();
    for n in [4, 5] {
        let segment = machine.state().segments[n];
        assert_eq!((segment.selector, segment.base), (0, 0x1234));
    }
}

#[test]
fn system_segments_need_bases_that_addresses_can_be() {
    for (upper, wanted) in [
        (0x0000_8000, (6, None)),
        (0x0100_0000_u64, (13, Some(TASK))),
    ] {
        let mut machine = Machine::long(|a| {
            a.mov(eax, i32::from(TASK))?;
            a.ltr(ax)?;
            a.ud2()
        });
        machine.put(GDT + u64::from(TASK) + 8, upper);
        let wanted = (wanted.0, wanted.1.map(u64::from));
        assert_eq!(machine.run_to_stub().what(), wanted, "{upper:#x}");
    }
}

#[test]
fn syscall_and_sysret_go_to_and_fro() {
    let mut machine = Machine::long(|a| {
        a.mov(ecx, 0xc000_0081_u32)?;
        a.mov(edx, 0x0020_0008)?;
        a.xor(eax, eax)?;
        a.wrmsr()?;
        a.inc(ecx)?;
        a.mov(eax, CODE as u32 + 0x200)?;
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.mov(ecx, 0xc000_0084_u32)?;
        a.mov(eax, 0x4_0200)?;
        a.wrmsr()?;
        enter_user(a)
    });
    machine.assemble(64, CODE + 0x100, |a| {
        a.stc()?;
        a.syscall()?;
        a.mov(rbx, rcx)?;
        a.ud2()
    });
    machine.assemble(64, CODE + 0x200, |a| {
        a.pushfq()?;
        a.pop(r12)?;
        a.mov(r13, cs)?;
        a.mov(r14, ss)?;
        a.mov(r15, r11)?;
        a.sysretq()
    });
    let delivered = machine.run_to_stub();
    assert_eq!(delivered.vector, 6);
    assert_eq!(
        (delivered.cs, delivered.ss),
        (u64::from(USER_CODE), u64::from(USER_DATA))
    );
    let gpr = machine.state().gpr;
    assert_eq!(gpr[3], CODE + 0x103);
    assert_eq!((gpr[12] & 0x203, gpr[15] & 0x203), (3, 0x203));
    assert_eq!((gpr[13], gpr[14]), (0x08, 0x10));
}

#[test]
fn single_step_traps_behind_each_instruction() {
    let (machine, delivered) = fault(|a| {
        a.pushfq()?;
        a.or(qword_ptr(rsp), 0x100)?;
        a.popfq()?;
        a.nop()?;
        a.ud2()
    });
    assert_eq!(delivered.what(), (1, None));
    assert_eq!(delivered.rip, CODE + 11);
    assert_eq!(delivered.rflags & 0x100, 0x100);
    assert_eq!(machine.state().dr[6], 0xffff_4ff0);
    assert_eq!(machine.state().system_flags & 0x100, 0);
}

#[test]
fn code_breakpoint_faults_before_its_instruction_and_rf_lets_it_pass() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, CODE as u32 + 0x40)?;
        a.mov(dr0, rax)?;
        a.mov(eax, 0x402)?;
        a.mov(dr7, rax)?;
        a.jmp(CODE + 0x40)
    });
    machine.assemble(64, CODE + 0x40, |a| {
        a.mov(ebx, 1)?;
        a.ud2()
    });
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.what(), delivered.rip), ((1, None), CODE + 0x40));
    assert_eq!(machine.state().gpr[3], 0);
    assert_eq!(machine.state().dr[6], 0xffff_0ff1);
    // Back to it with RF.
    machine.assemble(64, CODE + 0x80, |a| {
        a.push(i32::from(DATA0))?;
        a.push(STACK as i32)?;
        a.push(0x1_0002)?;
        a.push(i32::from(CODE64))?;
        a.push(CODE as i32 + 0x40)?;
        a.iretq()
    });
    let state = machine.vcpu.state_mut();
    state.common.pc = CODE + 0x80;
    state.activity = 0;
    let delivered = machine.run_to_stub();
    assert_eq!(
        (delivered.vector, machine.state().gpr[3]),
        (6, 1),
        "{delivered:x?}"
    );
}
