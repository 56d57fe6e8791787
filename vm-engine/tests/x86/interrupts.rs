//! Interrupts, HLT, NMI, INIT and start-up.

use std::sync::atomic::Ordering;

use iced_x86::code_asm::*;
use vm_frontend::x86::line;

use super::machine::*;

fn raise(machine: &Machine, number: u32) {
    machine.vcpu.shared().set_lines(1 << number, 0);
}

/// Runs until the processor sleeps, and stops it then.
fn stop_asleep(machine: &mut Machine) {
    let shared = machine.vcpu.shared().clone();
    let stopper = std::thread::spawn(move || {
        while !shared.is_asleep() {
            std::thread::yield_now();
        }
        shared.stop();
    });
    machine.run();
    stopper.join().expect("no panic");
}

#[test]
fn interrupt_waits_for_sti_and_one_more_instruction() {
    let mut machine = Machine::long(|a| {
        a.mov(ecx, 1000)?;
        let mut wait = a.create_label();
        a.set_label(&mut wait)?;
        a.dec(ecx)?;
        a.jnz(wait)?;
        a.sti()?;
        a.inc(ebx)?;
        a.inc(ebx)?;
        a.ud2()
    });
    machine.controller.vector.store(0x41, Ordering::SeqCst);
    raise(&machine, line::INTR);
    let delivered = machine.run_to_stub();
    assert_eq!(delivered.what(), (0x41, None));
    assert_eq!(machine.state().gpr[3], 1);
    assert_eq!(delivered.rflags & 0x200, 0x200);
    assert_eq!(machine.state().system_flags & 0x200, 0);
    assert_eq!(machine.controller.taken.load(Ordering::SeqCst), 1);
}

#[test]
fn halt_behind_sti_sleeps_until_the_interrupt_and_goes_on_behind() {
    let mut machine = Machine::long(|a| {
        a.sti()?;
        a.hlt()?;
        a.ud2()
    });
    machine.controller.vector.store(0x41, Ordering::SeqCst);
    let shared = machine.vcpu.shared().clone();
    let waker = std::thread::spawn(move || {
        while !shared.is_asleep() {
            std::thread::yield_now();
        }
        shared.set_lines(1 << line::INTR, 0);
    });
    let delivered = machine.run_to_stub();
    waker.join().expect("no panic");
    assert_eq!((delivered.vector, delivered.rip), (0x41, CODE + 2));
}

#[test]
fn halt_is_resumed_by_a_stop() {
    let mut machine = Machine::long(|a| {
        a.hlt()?;
        a.mov(ebx, 1)?;
        a.ud2()
    });
    for _ in 0..2 {
        stop_asleep(&mut machine);
    }
    assert_eq!(machine.state().gpr[3], 0, "it went on behind HLT");
    raise(&machine, line::NMI);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, delivered.rip), (2, CODE + 1));
}

#[test]
fn interrupts_come_in_between_sti_and_cli() {
    let mut machine = Machine::long(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.sti()?;
        a.nop()?;
        a.cli()?;
        a.inc(ebx)?;
        a.jmp(again)
    });
    machine.controller.vector.store(0x41, Ordering::SeqCst);
    let shared = machine.vcpu.shared().clone();
    let raiser = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        shared.set_lines(1 << line::INTR, 0);
    });
    let delivered = machine.run_to_stub();
    raiser.join().expect("no panic");
    assert_eq!((delivered.vector, delivered.rip), (0x41, CODE + 2));
}

#[test]
fn halt_at_the_end_of_a_page_behind_sti_does_not_miss_the_interrupt() {
    let mut machine = Machine::long(|a| a.jmp(CODE + 0xfff));
    machine.assemble(64, CODE + 0xfff, |a| {
        a.sti()?;
        a.hlt()?;
        a.ud2()
    });
    machine.controller.vector.store(0x41, Ordering::SeqCst);
    raise(&machine, line::INTR);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, delivered.rip), (0x41, CODE + 0x1001));
}

#[test]
fn mov_ss_holds_interrupts_back() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, i32::from(DATA0))?;
        a.sti()?;
        a.mov(ss, eax)?;
        a.inc(ebx)?;
        a.inc(ebx)?;
        a.ud2()
    });
    machine.controller.vector.store(0x41, Ordering::SeqCst);
    raise(&machine, line::INTR);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, machine.state().gpr[3]), (0x41, 1));
}

#[test]
fn nmi_blocks_others_until_iret() {
    let mut machine = Machine::long(|a| {
        a.nop()?;
        a.ud2()
    });
    machine.gate(2, CODE + 0x100, CODE64, 0x8e);
    machine.assemble(64, CODE + 0x100, |a| {
        a.inc(ebx)?;
        a.out(NOTE as u32, al)?;
        a.iretq()
    });
    raise(&machine, line::NMI);
    machine.vcpu.state_mut().activity = 1;
    assert_eq!(machine.run_to_stub().vector, 6);
    let notes = machine.notes.0.lock().expect("no panic").len();
    assert_eq!(
        (machine.state().gpr[3], notes),
        (0, 0),
        "it was not blocked"
    );
    let mut machine = Machine::long(|a| {
        a.nop()?;
        a.ud2()
    });
    machine.gate(2, CODE + 0x100, CODE64, 0x8e);
    machine.assemble(64, CODE + 0x100, |a| {
        a.inc(ebx)?;
        a.iretq()
    });
    raise(&machine, line::NMI);
    let delivered = machine.run_to_stub();
    assert_eq!((delivered.vector, machine.state().gpr[3]), (6, 1));
    assert_eq!(machine.state().activity & 1, 0);
}

#[test]
fn task_priority_is_the_controllers() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, 5)?;
        a.mov(cr8, rax)?;
        a.xor(eax, eax)?;
        a.mov(rax, cr8)?;
        a.ud2()
    });
    machine.run_to_stub();
    assert_eq!(machine.state().gpr[0], 5);
    assert_eq!(machine.controller.base.load(Ordering::SeqCst), 0x50);
}

#[test]
fn other_processors_start_where_they_are_told() {
    let mut machine = Machine::after_reset(1);
    machine.assemble(16, 0x9000, |a| {
        a.mov(ax, cs)?;
        a.out(END as u32, al)
    });
    machine.controller.startup.store(9, Ordering::SeqCst);
    raise(&machine, line::INIT);
    stop_asleep(&mut machine);
    assert_eq!(machine.controller.inits.load(Ordering::SeqCst), 1);
    assert_eq!(machine.state().gpr[0], 0);
    raise(&machine, line::STARTUP);
    machine.run();
    assert_eq!(machine.state().gpr[0], 0x900);
    // A second one is nothing.
    let pc = machine.state().common.pc;
    machine.assemble(16, pc, |a| a.out(END as u32, al));
    raise(&machine, line::STARTUP);
    machine.run();
    assert_eq!(machine.state().common.pc, pc + 2);
}
