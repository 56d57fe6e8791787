//! From reset to long mode and back, and the segments of each mode.

use iced_x86::code_asm::*;

use super::machine::*;

/// A processor in real mode at CODE's segment, with stack.
fn real(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Machine {
    let mut machine = Machine::after_reset(0);
    machine.assemble(16, 0x7c00, code);
    // The reset vector: a far jump to 0000:7c00.
    machine.write(0xffff_fff0, &[0xea, 0x00, 0x7c, 0x00, 0x00]);
    machine.vcpu.state_mut().gpr[4] = 0x7000;
    machine
}

#[test]
fn reset_starts_at_the_top_and_real_mode_addresses_by_segments() {
    let mut machine = real(|a| {
        a.mov(ax, 0x2000)?;
        a.mov(ds, ax)?;
        a.mov(word_ptr(0x10), 0x1234)?;
        a.push(ax)?;
        a.pop(es)?;
        a.mov(bx, word_ptr(0x10).es())?;
        a.out(END as u32, al)
    });
    machine.run();
    assert_eq!(machine.get(0x2_0010) & 0xffff, 0x1234);
    assert_eq!(machine.state().gpr[3], 0x1234);
    assert_eq!(machine.state().segments[1].base, 0);
}

#[test]
fn real_mode_interrupts_use_the_vector_table() {
    let mut machine = real(|a| {
        a.sti()?;
        a.int(0x21)?;
        a.mov(bx, ax)?;
        a.out(END as u32, al)
    });
    machine.put(4 * 0x21, 0x1000 << 16 | 0x20);
    machine.assemble(16, 0x1_0020, |a| {
        a.mov(ax, cs)?;
        a.pushf()?;
        a.pop(dx)?;
        a.iret()
    });
    machine.run();
    let gpr = machine.state().gpr;
    assert_eq!(gpr[3], 0x1000);
    assert_eq!(gpr[2] & 0x200, 0, "the handler runs with interrupts off");
    assert_eq!(machine.state().system_flags & 0x200, 0x200);
}

#[test]
fn real_mode_accesses_beyond_a_segment_fault() {
    let mut machine = real(|a| {
        a.mov(bx, 0xffff)?;
        a.mov(si, 0x7d00)?;
        a.mov(al, byte_ptr(bx))?;
        a.mov(ax, word_ptr(bx))?;
        a.hlt()
    });
    // The handler of #GP: one more way out of the page, by a jump within it.
    machine.put(4 * 13, 0x2000 << 16 | 0xfff0);
    machine.assemble(16, 0x2_fff0, |a| {
        let mut on = a.create_label();
        a.jmp(on)?;
        a.hlt()?;
        a.set_label(&mut on)?;
        a.mov(cx, 0x77)?;
        a.out(END as u32, al)
    });
    machine.run();
    let gpr = machine.state().gpr;
    assert_eq!((gpr[1], gpr[6]), (0x77, 0x7d00));
    assert_eq!(
        machine.get(0x7000 - 6) & 0xffff,
        0x7c08,
        "the access of two bytes"
    );
}

#[test]
fn real_to_protected_to_long_and_back() {
    let mut machine = real(|a| {
        a.cli()?;
        a.lgdt(ptr(0x600).ds())?;
        a.mov(eax, cr0)?;
        a.or(eax, 1)?;
        a.mov(cr0, eax)?;
        // Far jump to 32-bit code.
        a.db(&[0x66, 0xea])?;
        a.dd(&[0x1_0000])?;
        a.dw(&[CODE32])
    });
    for (n, descriptor) in DESCRIPTORS.iter().enumerate() {
        machine.put(GDT + 8 * n as u64, *descriptor);
    }
    machine.put(0x600, (8 * DESCRIPTORS.len() as u64 - 1) | GDT << 16);
    machine.put(PML4, 0x5000 | 7);
    machine.put(0x5000, 0x6000 | 7);
    machine.put(0x6000, 0x87);
    machine.assemble(32, 0x1_0000, |a| {
        a.mov(eax, i32::from(DATA0))?;
        a.mov(ds, eax)?;
        a.mov(ss, eax)?;
        a.mov(dword_ptr(DATA), 0x32)?;
        a.mov(eax, cr4)?;
        a.or(eax, 0x20)?;
        a.mov(cr4, eax)?;
        a.mov(eax, PML4 as i32)?;
        a.mov(cr3, eax)?;
        a.mov(ecx, 0xc000_0080_u32)?;
        a.rdmsr()?;
        a.or(eax, 0x100)?;
        a.wrmsr()?;
        a.mov(eax, cr0)?;
        a.or(eax, 0x8000_0000_u32 as i32)?;
        a.mov(cr0, eax)?;
        a.db(&[0xea])?;
        a.dd(&[0x1_0100])?;
        a.dw(&[CODE64])
    });
    machine.assemble(64, 0x1_0100, |a| {
        a.mov(rax, 0x6464_6464_6464_u64)?;
        a.mov(qword_ptr(DATA + 8), rax)?;
        a.mov(rsp, STACK)?;
        // Back to compatibility mode.
        a.push(i32::from(CODE32))?;
        a.push(0x1_0200)?;
        a.db(&[0x48, 0xcb])
    });
    machine.assemble(32, 0x1_0200, |a| {
        a.mov(eax, cr0)?;
        a.and(eax, 0x7fff_ffff)?;
        a.mov(cr0, eax)?;
        a.mov(ecx, 0xc000_0080_u32)?;
        a.rdmsr()?;
        a.mov(ebx, eax)?;
        a.db(&[0xea])?;
        a.dd(&[0x1_0300])?;
        a.dw(&[CODE16])
    });
    machine.assemble(16, 0x1_0300, |a| {
        a.mov(ax, i32::from(DATA16))?;
        a.mov(ds, ax)?;
        a.mov(ss, ax)?;
        a.mov(eax, cr0)?;
        a.and(eax, -2)?;
        a.mov(cr0, eax)?;
        a.db(&[0xea, 0x00, 0x04, 0x00, 0x10])
    });
    // The limit of 64 KiB of 16-bit segments ends below the code, which so is in real mode's own segment.
    machine.put(GDT + 8 * 10, 0x0000_9b00_0000_ffff | 0x1 << 32);
    machine.put(GDT + 8 * 10, 0x000f_9b00_0000_ffff);
    machine.assemble(16, 0x1_0400, |a| {
        a.mov(cx, cs)?;
        a.mov(dx, 0x3333)?;
        a.out(END as u32, al)
    });
    machine.run();
    let state = machine.state();
    assert_eq!(machine.get(DATA) as u32, 0x32);
    assert_eq!(machine.get(DATA + 8), 0x6464_6464_6464);
    assert_eq!(state.gpr[3], 0x100, "LME stays, LMA goes");
    assert_eq!(
        (state.gpr[1] & 0xffff, state.gpr[2] & 0xffff),
        (0x1000, 0x3333)
    );
    assert_eq!(state.cr0 & 1, 0);
}

#[test]
fn compatibility_mode_runs_32_bit_programs_and_interrupts_come_back() {
    const USER_CODE32: u16 = 0x23;
    let mut machine = Machine::long(|a| {
        a.push(i32::from(USER_DATA))?;
        a.push(STACK as i32)?;
        a.push(0x202)?;
        a.push(i32::from(USER_CODE32))?;
        a.push(CODE as i32 + 0x100)?;
        a.iretq()
    });
    machine.assemble(32, CODE + 0x100, |a| {
        a.mov(eax, -1)?;
        a.inc(eax)?;
        a.push(cs)?;
        a.pop(ebx)?;
        a.int(0x80)?;
        a.mov(esi, 7)?;
        a.ud2()
    });
    machine.gate(0x80, CODE + 0x200, CODE64, 0xee);
    machine.assemble(64, CODE + 0x200, |a| {
        a.mov(r12, rsp)?;
        a.iretq()
    });
    let delivered = machine.run_to_stub();
    assert_eq!(delivered.vector, 6);
    assert_eq!(delivered.cs, u64::from(USER_CODE32));
    let gpr = machine.state().gpr;
    assert_eq!((gpr[0], gpr[3], gpr[6]), (0, u64::from(USER_CODE32), 7));
    assert_eq!(gpr[12], KERNEL_STACK - 40);
}

#[test]
fn segment_limits_of_protected_mode_hold() {
    // The limit of 16-bit data is 64 KiB: the last word that fits, and the first that does not.
    for (offset, fits) in [(0xfffe_u64, true), (0xffff, false)] {
        let mut machine = Machine::long(move |a| {
            // A 32-bit code segment in compatibility mode, with limited data.
            a.push(i32::from(CODE32))?;
            a.push(CODE as i32 + 0x100)?;
            a.db(&[0x48, 0xcb])
        });
        machine.assemble(32, CODE + 0x100, move |a| {
            a.mov(eax, i32::from(DATA16))?;
            a.mov(ds, eax)?;
            a.mov(bx, word_ptr(offset))?;
            a.ud2()
        });
        let delivered = machine.run_to_stub();
        let wanted = if fits { (6, None) } else { (13, Some(0)) };
        assert_eq!(delivered.what(), wanted, "{offset:x}");
    }
}
