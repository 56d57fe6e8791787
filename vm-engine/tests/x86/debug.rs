//! Breakpoints on data and ports, and what single steps do at the edges (Intel SDM 3B, 19.2 and 19.3).

use iced_x86::code_asm::*;

use super::machine::*;

type Code = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// DR7 with breakpoint 0 enabled: on writes of, and accesses to, four bytes; on ports.
const WRITES: u32 = 0xd_0402;
const ACCESSES: u32 = 0xf_0402;
const PORT: u32 = 0x2_0402;

/// Runs code with breakpoint 0 at an address; behind it stands an undefined instruction.
fn watched(control: u32, addr: u64, code: Code) -> (Machine, Delivered) {
    let mut machine = Machine::long(|a| {
        a.mov(rax, addr)?;
        a.mov(dr0, rax)?;
        a.mov(rax, cr4)?;
        a.or(eax, 8)?;
        a.mov(cr4, rax)?;
        a.mov(ebx, DATA as u32)?;
        // The pages are in the TLB before.
        a.mov(rcx, ptr(rbx))?;
        a.mov(ptr(rbx), rcx)?;
        a.push(rcx)?;
        a.pop(rcx)?;
        a.mov(eax, control)?;
        a.mov(dr7, rax)?;
        a.jmp(CODE + 0x100)
    });
    machine.assemble(64, CODE + 0x100, |a| {
        code(a)?;
        a.ud2()
    });
    let delivered = machine.run_to_stub();
    (machine, delivered)
}

#[test]
fn data_breakpoint_traps_behind_the_access_that_touches_it() {
    let cases: [(&str, u32, u64, Code, Option<u64>); 12] = [
        ("write", WRITES, DATA, |a| a.mov(ptr(rbx), eax), Some(2)),
        (
            "read of a write's",
            WRITES,
            DATA,
            |a| a.mov(eax, ptr(rbx)),
            None,
        ),
        ("read", ACCESSES, DATA, |a| a.mov(eax, ptr(rbx)), Some(2)),
        (
            "last byte",
            WRITES,
            DATA,
            |a| a.mov(byte_ptr(rbx + 3), al),
            Some(3),
        ),
        (
            "next byte",
            WRITES,
            DATA,
            |a| a.mov(byte_ptr(rbx + 4), al),
            None,
        ),
        (
            "overlap",
            WRITES,
            DATA,
            |a| a.mov(qword_ptr(rbx - 5), rax),
            Some(4),
        ),
        (
            "before",
            WRITES,
            DATA,
            |a| a.mov(qword_ptr(rbx - 8), rax),
            None,
        ),
        (
            "low bits",
            WRITES,
            DATA + 3,
            |a| a.mov(byte_ptr(rbx), al),
            Some(2),
        ),
        (
            "locked",
            WRITES,
            DATA,
            |a| a.lock().inc(dword_ptr(rbx)),
            Some(3),
        ),
        (
            "vector",
            WRITES,
            DATA + 12,
            |a| a.movups(ptr(rbx), xmm0),
            Some(3),
        ),
        ("push", WRITES, STACK - 8, |a| a.push(rax), Some(1)),
        ("call", WRITES, STACK - 8, |a| a.call(CODE + 0x105), Some(5)),
    ];
    for (name, control, addr, code, hit) in cases {
        let (machine, delivered) = watched(control, addr, code);
        match hit {
            Some(bytes) => {
                assert_eq!(delivered.what(), (1, None), "{name}");
                assert_eq!(delivered.rip, CODE + 0x100 + bytes, "{name}");
                assert_eq!(machine.state().dr[6], 0xffff_0ff1, "{name}");
            }
            None => assert_eq!(delivered.what(), (6, None), "{name}"),
        }
    }
}

#[test]
fn data_breakpoint_stops_a_repeated_store_behind_its_element() {
    let (machine, delivered) = watched(WRITES, DATA + 0x10, |a| {
        a.mov(edi, DATA as u32)?;
        a.mov(ecx, 0x20)?;
        a.rep().stosb()
    });
    assert_eq!(delivered.what(), (1, None));
    assert_eq!(delivered.rip, CODE + 0x10a);
    let gpr = machine.state().gpr;
    assert_eq!((gpr[1], gpr[7]), (0xf, DATA + 0x11));
}

#[test]
fn data_breakpoint_of_mov_ss_waits_for_the_next_instruction() {
    let (_, delivered) = watched(ACCESSES, DATA, |a| {
        a.mov(ss, word_ptr(rbx))?;
        a.nop()?;
        a.nop()
    });
    assert_eq!(delivered.what(), (1, None));
    assert_eq!(delivered.rip, CODE + 0x103);
}

#[test]
fn data_breakpoint_of_mov_ss_is_told_with_the_int1_behind_it() {
    let (machine, delivered) = watched(ACCESSES, DATA, |a| {
        a.mov(ss, word_ptr(rbx))?;
        a.int1()
    });
    assert_eq!(delivered.what(), (1, None));
    assert_eq!(delivered.rip, CODE + 0x103);
    assert_eq!(machine.state().dr[6], 0xffff_0ff1);
    assert_eq!(machine.state().pending_debug, 0);
}

#[test]
fn single_step_behind_mov_ss_is_none() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, i32::from(DATA0))?;
        a.pushfq()?;
        a.or(qword_ptr(rsp), 0x100)?;
        a.popfq()?;
        a.mov(ss, eax)?;
        a.int1()
    });
    assert_eq!(machine.run_to_stub().what(), (1, None));
    // Neither with INT1 nor behind it.
    assert_eq!(machine.state().dr[6] & 0xffff_f00f, 0xffff_0000);
    assert_eq!(machine.state().pending_debug, 0);
}

#[test]
fn breakpoints_of_before_are_cleared_from_dr6_and_the_single_step_is_not() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, CODE as u32 + 0x40)?;
        a.mov(dr2, rax)?;
        a.mov(eax, 0x4002)?;
        a.mov(dr6, rax)?;
        a.mov(eax, 0x420)?;
        a.mov(dr7, rax)?;
        a.jmp(CODE + 0x40)
    });
    machine.assemble(64, CODE + 0x40, |a| a.ud2());
    assert_eq!(machine.run_to_stub().what(), (1, None));
    assert_eq!(machine.state().dr[6], 0xffff_4ff4);
}

#[test]
fn data_breakpoint_of_an_instruction_that_faults_is_none() {
    let (machine, delivered) = watched(ACCESSES, DATA, |a| {
        a.mov(esi, ebx)?;
        a.mov(rdi, 1_u64 << 60)?;
        a.movsb()
    });
    assert_eq!(delivered.what(), (13, Some(0)));
    assert_eq!(machine.state().pending_debug, 0);
}

#[test]
fn data_breakpoints_are_not_of_the_page_that_shares_their_offset() {
    let (_, delivered) = watched(ACCESSES, DATA + 0x1000, |a| a.mov(eax, ptr(rbx)));
    assert_eq!(delivered.what(), (6, None));
}

#[test]
fn port_breakpoint_traps_behind_in_and_out() {
    let cases: [Code; 2] = [
        |a| a.in_(al, u32::from(NOTE)),
        |a| a.out(u32::from(NOTE), al),
    ];
    for code in cases {
        let (machine, delivered) = watched(PORT, NOTE.into(), code);
        assert_eq!(delivered.what(), (1, None));
        assert_eq!(delivered.rip, CODE + 0x102);
        assert_eq!(machine.state().dr[6], 0xffff_0ff1);
        let (_, delivered) = watched(PORT, u64::from(NOTE) + 1, code);
        assert_eq!(delivered.what(), (6, None));
    }
}

#[test]
fn breakpoint_on_data_and_single_step_are_told_as_one() {
    let (machine, delivered) = watched(WRITES, DATA, |a| {
        a.pushfq()?;
        a.or(qword_ptr(rsp), 0x100)?;
        a.popfq()?;
        a.mov(ptr(rbx), eax)
    });
    assert_eq!(delivered.what(), (1, None));
    assert_eq!(machine.state().dr[6], 0xffff_4ff1);
}

#[test]
fn single_step_goes_through_a_repeated_instruction_element_by_element() {
    let mut machine = Machine::long(|a| {
        a.mov(edi, DATA as u32)?;
        a.mov(ecx, 3)?;
        a.pushfq()?;
        a.or(qword_ptr(rsp), 0x100)?;
        a.popfq()?;
        a.rep().stosb()?;
        a.ud2()
    });
    let delivered = machine.run_to_stub();
    assert_eq!(delivered.what(), (1, None));
    let at = delivered.rip;
    assert_eq!(machine.state().gpr[1], 2);
    let mut bytes = [0; 2];
    let memory = machine.vcpu.engine().memory();
    memory
        .read(vm_core::GuestPhysAddr(at), &mut bytes)
        .expect("within RAM");
    assert_eq!(bytes, [0xf3, 0xaa]);
}

/// SYSCALL with TF set; IA32_FMASK clears these flags.
fn stepped_syscall(mask: u32) -> Delivered {
    let mut machine = Machine::long(|a| {
        for (number, low, high) in [
            (0xc000_0081_u32, 0_u32, 0x0020_0008_u32),
            (0xc000_0082, CODE as u32 + 0x100, 0),
            (0xc000_0084, mask, 0),
        ] {
            a.mov(ecx, number)?;
            a.mov(eax, low)?;
            a.mov(edx, high)?;
            a.wrmsr()?;
        }
        a.pushfq()?;
        a.or(qword_ptr(rsp), 0x100)?;
        a.popfq()?;
        a.syscall()
    });
    machine.assemble(64, CODE + 0x100, |a| {
        a.nop()?;
        a.ud2()
    });
    machine.run_to_stub()
}

#[test]
fn single_step_over_syscall_traps_at_its_target_unless_the_mask_clears_it() {
    let delivered = stepped_syscall(0);
    assert_eq!(delivered.what(), (1, None));
    assert_eq!(delivered.rip, CODE + 0x100);
    assert_eq!(stepped_syscall(0x100).what(), (6, None));
}
