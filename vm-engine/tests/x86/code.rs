//! Code that changes.

use iced_x86::code_asm::*;

use super::machine::*;

#[test]
fn store_into_the_next_instruction_takes_effect() {
    let mut machine = Machine::long(|a| {
        let mut target = a.create_label();
        a.lea(rdi, ptr(target))?;
        a.mov(ebx, 1)?;
        // `mov ecx, 1` becomes `mov ecx, 2`.
        a.mov(dword_ptr(rdi + 1), 2)?;
        a.set_label(&mut target)?;
        a.mov(ecx, 1)?;
        a.ud2()
    });
    assert_eq!(machine.run_to_stub().vector, 6);
    assert_eq!((machine.state().gpr[3], machine.state().gpr[1]), (1, 2));
}

#[test]
fn loop_that_rewrites_itself_sees_each_change() {
    let mut machine = Machine::long(|a| {
        let mut again = a.create_label();
        let mut target = a.create_label();
        a.xor(eax, eax)?;
        a.xor(ecx, ecx)?;
        a.lea(rdi, ptr(target))?;
        a.set_label(&mut again)?;
        a.inc(ecx)?;
        a.mov(dword_ptr(rdi + 1), ecx)?;
        a.set_label(&mut target)?;
        a.mov(edx, 0)?;
        a.add(eax, edx)?;
        a.cmp(ecx, 100)?;
        a.jne(again)?;
        a.ud2()
    });
    assert_eq!(machine.run_to_stub().vector, 6);
    assert_eq!(machine.state().gpr[0], 5050);
}

#[test]
fn exception_frames_may_lie_in_granules_of_code() {
    let mut machine = Machine::long(|a| {
        a.lea(rsp, ptr(CODE + 0x60))?;
        a.ud2()
    });
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, delivered.rsp), (6, CODE + 0x60));
}

#[test]
fn int_pushes_into_granules_of_code() {
    let mut machine = Machine::long(|a| {
        a.lea(rsp, ptr(CODE + 0x60))?;
        a.int(0x80)
    });
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, delivered.rsp), (0x80, CODE + 0x60));
}
