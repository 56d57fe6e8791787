//! Protected mode without long mode: gates, tasks, call gates, virtual-8086 mode.

use iced_x86::code_asm::*;

use super::machine::*;

/// Selectors besides those of [`DESCRIPTORS`].
const USER_CODE32: u16 = 0x23;
const TSS32: u16 = 0x60;
const TSS_OTHER: u16 = 0x68;
const GATE: u16 = 0x73;
/// The other task's segment, and its stack.
const OTHER: u64 = 0x3800;
const OTHER_STACK: u32 = 0x3_a000;

type Code = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// A processor in 32-bit protected mode at [`CODE`], without paging.
fn protected(code: Code) -> Machine {
    let mut machine = Machine::long(|a| a.nop());
    machine.assemble(32, CODE, code);
    for vector in 0..256_u64 {
        gate32(&mut machine, vector, STUBS + 16 * vector, 0xee);
        machine.assemble(32, STUBS + 16 * vector, |a| {
            if !matches!(vector, 8 | 10..=14 | 17) {
                a.push(-1)?;
            }
            a.push(vector as i32)?;
            a.jmp(STUBS + 0x1000)
        });
    }
    // DS may have been taken away.
    machine.assemble(32, STUBS + 0x1000, |a| {
        for n in 0..7_u64 {
            a.pop(dword_ptr(NOTED + 8 * n).ss())?;
        }
        a.out(END as u32, al)?;
        a.hlt()
    });
    let tss = |base: u64| 0x0000_8900_0000_0067 | base << 16;
    machine.put(GDT + u64::from(TSS32), tss(TSS));
    machine.put(GDT + u64::from(TSS_OTHER), tss(OTHER));
    // A call gate for level 3 to 32-bit code at level 0, with one parameter.
    let target = CODE + 0x200;
    let gate = target & 0xffff | u64::from(CODE32) << 16 | 0xec01 << 32 | target >> 16 << 48;
    machine.put(GDT + u64::from(GATE & !7), gate);
    machine.write(TSS + 4, &(KERNEL_STACK as u32).to_le_bytes());
    machine.write(TSS + 8, &u32::from(DATA0).to_le_bytes());
    let state = machine.vcpu.state_mut();
    state.gdtr.limit = 0x7f;
    state.cr0 = 0x33;
    state.cr4 = 0x610;
    state.efer = 0;
    state.segments[1] = vm_frontend::x86::state::Segment::new(CODE32, 0, u32::MAX, 0xc9b);
    state.tr = vm_frontend::x86::state::Segment::new(TSS32, TSS, 0x67, 0x8b);
    machine
}

fn gate32(machine: &mut Machine, vector: u64, target: u64, access: u64) {
    let selector = u64::from(CODE32);
    let gate = target & 0xffff | selector << 16 | access << 40 | target >> 16 << 48;
    machine.put(IDT + 8 * vector, gate);
}

/// What a 32-bit stub has noted.
fn noted(machine: &mut Machine) -> Delivered {
    machine.run();
    let word = |n: u64| u64::from(machine.get(NOTED + 8 * n) as u32);
    Delivered {
        vector: word(0),
        error: word(1),
        rip: word(2),
        cs: word(3),
        rflags: word(4),
        rsp: word(5),
        ss: word(6),
    }
}

#[test]
fn faults_push_four_bytes_a_word_and_no_stack_on_their_own_level() {
    let mut machine = protected(|a| {
        a.push(0x1111)?;
        a.ud2()
    });
    let got = noted(&mut machine);
    assert_eq!((got.vector, got.error), (6, u32::MAX.into()));
    assert_eq!((got.rip, got.cs), (CODE + 5, 0x18));
    assert_eq!((got.rflags & 0x1_0000, got.rsp), (0x1_0000, 0x1111));
}

#[test]
fn user_programs_come_in_by_the_task_segments_stack() {
    let mut machine = protected(|a| {
        a.push(i32::from(USER_DATA))?;
        a.push(STACK as i32)?;
        a.push(i32::from(USER_CODE32))?;
        a.push(CODE as i32 + 0x100)?;
        a.retf()
    });
    machine.assemble(32, CODE + 0x100, |a| {
        a.mov(eax, 0x10)?;
        a.mov(ds, eax)
    });
    let got = noted(&mut machine);
    assert_eq!((got.vector, got.error, got.rip), (13, 0x10, CODE + 0x105));
    assert_eq!((got.cs, got.rsp, got.ss), (0x23, STACK, 0x2b));
    // DS was the inner level's, and was taken away on the way out.
    assert_eq!(machine.state().segments[3].attributes, 0);
}

#[test]
fn call_gate_copies_parameters_and_returns_outwards() {
    let mut machine = protected(|a| {
        a.push(i32::from(USER_DATA))?;
        a.push(STACK as i32)?;
        a.push(i32::from(USER_CODE32))?;
        a.push(CODE as i32 + 0x100)?;
        a.retf()
    });
    machine.assemble(32, CODE + 0x100, |a| {
        a.push(0x1234)?;
        a.db(&[0x9a, 0, 0, 0, 0, GATE as u8, 0])?;
        a.mov(ecx, esp)?;
        a.ud2()
    });
    machine.assemble(32, CODE + 0x200, |a| {
        a.mov(eax, dword_ptr(esp + 8))?;
        a.mov(ebx, cs)?;
        a.mov(edx, esp)?;
        a.retf_1(4)
    });
    let got = noted(&mut machine);
    let gpr = machine.state().gpr;
    assert_eq!((got.vector, got.cs), (6, 0x23));
    assert_eq!((gpr[0], gpr[3], gpr[2]), (0x1234, 0x18, KERNEL_STACK - 20));
    assert_eq!(gpr[1], STACK);
}

#[test]
fn task_gate_takes_a_double_fault() {
    let mut machine = protected(|a| {
        a.mov(esp, 0x100)?;
        a.mov(ss, eax)
    });
    // #GP's gate is absent, and the double fault's leads to a task.
    gate32(&mut machine, 13, STUBS, 0x6e);
    machine.put(IDT + 8 * 8, u64::from(TSS_OTHER) << 16 | 0xe500 << 32);
    let word = |machine: &mut Machine, at: u64, value: u32| {
        machine.write(OTHER + at, &value.to_le_bytes());
    };
    word(&mut machine, 0x20, CODE as u32 + 0x300);
    word(&mut machine, 0x24, 2);
    word(&mut machine, 0x38, OTHER_STACK);
    for (n, selector) in [DATA0, CODE32, DATA0, DATA0, 0, 0].iter().enumerate() {
        word(&mut machine, 0x48 + 4 * n as u64, (*selector).into());
    }
    machine.assemble(32, CODE + 0x300, |a| {
        a.pop(eax)?;
        a.str(ebx)?;
        a.out(END as u32, al)
    });
    machine.vcpu.state_mut().gpr[0] = 0x18;
    machine.run();
    let state = machine.state();
    assert_eq!(
        (state.gpr[0], state.gpr[3], state.gpr[4]),
        (0, TSS_OTHER.into(), OTHER_STACK.into())
    );
    assert_eq!(state.cr0 & 8, 8, "TS is set");
    // The old task was saved, and is the one to come back to.
    assert_eq!(machine.get(TSS + 0x20) as u32, CODE as u32 + 5);
    assert_eq!(machine.get(TSS + 0x38) as u32, 0x100);
    assert_eq!(machine.get(OTHER) as u16, TSS32);
}

#[test]
fn virtual_8086_mode_runs_real_code_and_faults_to_its_monitor() {
    let mut machine = protected(|a| {
        for word in [
            0_i32, 0, 0x2000, 0x2000, 0x3000, 0xfff0, 0x2_0002, 0x1000, 0x100,
        ] {
            a.push(word)?;
        }
        a.iretd()
    });
    machine.assemble(16, CODE + 0x100, |a| {
        a.mov(bx, word_ptr(0x10))?;
        a.push(bx)?;
        a.cli()
    });
    machine.put(DATA + 0x10, 0x4321);
    let got = noted(&mut machine);
    assert_eq!((got.vector, got.error), (13, 0));
    assert_eq!((got.rip, got.cs), (0x105, 0x1000));
    assert_eq!((got.rflags >> 17 & 1, got.rsp, got.ss), (1, 0xffee, 0x3000));
    assert_eq!(machine.state().gpr[3], 0x4321);
    assert_eq!(machine.get(0x3_ffee) as u16, 0x4321);
}

#[test]
fn pae_paging_takes_its_top_level_when_cr3_is_loaded() {
    let mut machine = protected(|a| {
        a.mov(eax, cr4)?;
        a.or(eax, 0x20)?;
        a.mov(cr4, eax)?;
        a.mov(eax, 0x1_8000)?;
        a.mov(cr3, eax)?;
        a.mov(eax, cr0)?;
        a.or(eax, 0x8000_0000_u32 as i32)?;
        a.mov(cr0, eax)?;
        // The entry in memory changes, the register does not.
        a.mov(dword_ptr(0x1_8008), 0)?;
        a.mov(ebx, dword_ptr(0x4002_0000))?;
        a.mov(eax, cr3)?;
        a.mov(cr3, eax)?;
        a.mov(ecx, dword_ptr(0x4002_0000))
    });
    machine.put(0x1_8000, 0x1_9000 | 1);
    machine.put(0x1_8008, 0x1_9000 | 1);
    machine.put(0x1_8010, 0);
    machine.put(0x1_8018, 0);
    machine.put(0x1_9000, 0x87);
    machine.put(DATA, 0x77);
    let got = noted(&mut machine);
    assert_eq!((got.vector, got.error), (14, 0));
    assert_eq!(machine.state().gpr[3], 0x77);
    assert_eq!(machine.state().cr2, 0x4002_0000);
}
