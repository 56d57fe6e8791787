//! Helpers on random states, and the registers that have rules of their own.

use vm_testing::Random;

use super::HELPERS;
use super::exception::vector_of;
use super::fields::{cr4, efer, flag};
use super::testing::{DENIED, Machine};
use crate::x86::state::{Segment, Table};

/// What states are made from.
trait Values {
    /// A number of any size, often one that means something.
    fn word(&mut self) -> u64;
    fn segment(&mut self) -> Segment;
    fn table(&mut self) -> Table;
}

impl Values for Random {
    fn word(&mut self) -> u64 {
        let n = self.next();
        match n % 8 {
            0 => self.next(),
            1 => self.next() & 0xffff_ffff,
            2 => self.next() & 0xffff,
            3 => self.next() & 0xff,
            4 => 0,
            5 => u64::MAX << (n >> 8 & 63),
            6 => 1 << (n >> 8 & 63),
            _ => n >> 8 & 0xf8,
        }
    }

    fn segment(&mut self) -> Segment {
        Segment {
            base: self.word(),
            limit: self.word() & 0xffff_ffff,
            selector: self.word() & 0xffff,
            attributes: self.next() & 0xf0ff,
        }
    }

    fn table(&mut self) -> Table {
        Table {
            base: self.word(),
            limit: self.word() & 0xffff,
        }
    }
}

fn scramble(machine: &mut Machine, random: &mut Random) {
    let state = &mut machine.state;
    for register in &mut state.gpr {
        *register = random.word();
    }
    for segment in state
        .segments
        .iter_mut()
        .chain([&mut state.ldtr, &mut state.tr])
    {
        *segment = random.segment();
    }
    (state.gdtr, state.idtr) = (random.table(), random.table());
    state.system_flags = random.next() & flag::SYSTEM;
    state.cpl = random.next() & 3;
    state.cr0 = random.next() & super::fields::cr0::ALL;
    state.cr3 = random.word();
    state.cr4 = random.next() & 0x1f_ffff;
    state.efer = random.next() & (efer::SCE | efer::LME | efer::LMA | efer::NXE);
    state.common.pc = random.word();
    state.shadow = random.next() & 3;
    state.activity = random.next() & 7;
    state.dr[7] = random.word();
    for byte in &mut machine.env.memory {
        *byte = random.next() as u8;
    }
    // Tables that often have descriptors that mean something.
    for n in 0..0x2000 {
        let access = [
            0x9b, 0x93, 0xfb, 0xf3, 0x8e, 0xee, 0x8b, 0x89, 0x8c, 0xec, 0x85, 0x82,
        ];
        machine.env.memory[8 * n + 5] = access[random.next() as usize % access.len()];
    }
    machine.env.fault_every = random.next() % 12;
}

/// Whether a helper may leave something done when it fails: a task switch fails in the new task.
fn may_be_halfway(name: &str) -> bool {
    matches!(name, "far_jump" | "far_call" | "iret" | "interrupt")
}

#[test]
fn helpers_on_random_states_never_panic_and_failures_change_nothing() {
    let mut random = Random(1);
    for turn in 0..3000 {
        let mut machine = Machine::new();
        scramble(&mut machine, &mut random);
        let start = machine.state;
        for row in HELPERS {
            machine.state = start;
            let size = [2, 4, 8][random.next() as usize % 3];
            let shaped = size | (random.next() % 16) << 8;
            let args = match row.name {
                "iret" | "syscall" | "sysret" | "sysenter" | "sysexit" => [shaped, 0, 0],
                "far_return" | "interrupt" | "write_flags" => {
                    [random.word(), shaped, random.next() % 4]
                }
                "far_jump" | "far_call" => [random.word(), random.word(), shaped],
                "port_in" => [random.word(), 1 << (random.next() % 3), 0],
                "port_out" => [random.word(), random.word(), 1 << (random.next() % 3)],
                _ => [random.word(), random.word(), random.word()],
            };
            let result = machine.call(row.name, args);
            let mut after = machine.state;
            after.unknown_msrs = start.unknown_msrs;
            if result.is_err() && !may_be_halfway(row.name) {
                assert_eq!(after, start, "{} of turn {turn}", row.name);
            }
        }
        machine.state = start;
        machine.raise(random.next() as u8, random.word());
        machine.state = start;
        machine.take(random.next() & 0x1f);
    }
}

#[test]
fn registers_of_models_take_every_number_and_value() {
    let mut random = Random(2);
    let mut machine = Machine::new();
    for number in (0..0x2000)
        .chain(0xc000_0000..0xc000_0200)
        .chain(0x4000_0000..0x4000_0100)
    {
        for _ in 0..8 {
            let value = random.word();
            let _ = machine.set_msr(number, value);
            let _ = machine.msr(number);
        }
    }
    assert_ne!(machine.state.unknown_msrs[0], 0);
}

#[test]
fn time_stamp_counter_adjust_and_deadline_move_together() {
    let mut machine = Machine::new();
    assert_eq!(machine.msr(0x10), Ok(1000));
    machine.set_msr(0x10, 5000).expect("allowed");
    assert_eq!(machine.msr(0x3b), Ok(4000));
    machine.env.time = 1500;
    assert_eq!(machine.msr(0x10), Ok(5500));
    machine.set_msr(0x6e0, 6000).expect("allowed");
    assert_eq!((machine.env.deadline, machine.msr(0x6e0)), (2000, Ok(6000)));
    machine.set_msr(0x6e0, 0).expect("allowed");
    assert_eq!((machine.env.deadline, machine.msr(0x6e0)), (0, Ok(0)));
    machine.set_msr(0x3b, 0).expect("allowed");
    assert_eq!(machine.msr(0x10), Ok(1500));
}

#[test]
fn machine_check_banks_keep_what_they_can_hold() {
    let mut machine = Machine::new();
    for (number, value, allowed) in [
        (0x400, 0, true),
        (0x404, 0, true),
        (0x404, u64::MAX, true),
        (0x404, 0xaaaa, false),
        (0x405, 0, true),
        (0x405, 1, false),
        (0x426, 0x1234, true),
        (0x427, 0x5678, true),
        (0x428, 0, false),
    ] {
        let result = machine.set_msr(number, value);
        assert_eq!(result.is_ok(), allowed, "{number:x} {value:x}");
    }
    assert_eq!(
        [0x400, 0x404].map(|n| machine.msr(n)),
        [Ok(0), Ok(u64::MAX)]
    );
    assert_eq!(
        [0x426, 0x427].map(|n| machine.msr(n)),
        [Ok(0x1234), Ok(0x5678)]
    );
    assert!(machine.msr(0x428).is_err());
}

#[test]
fn registers_with_types_and_addresses_refuse_what_they_cannot_hold() {
    let mut machine = Machine::new();
    for (number, value, allowed) in [
        (0x277, 0x0007_0406_0007_0406, true),
        (0x277, 0x0207_0406_0007_0406, false),
        (0x2ff, 0xc06, true),
        (0x2ff, 0xc02, false),
        (0x200, 0xff_ffff_f006, true),
        (0x200, 1 << 40, false),
        (0x201, 0xff_f000_0800, true),
        (0x250, 0x0606_0606_0606_0606, true),
        (0x250, 0x0306_0606_0606_0606, false),
        (0x401, 0, true),
        (0x401, 1, false),
        (0xc000_0082, 0xffff_8000_0000_0000, true),
        // The model has five levels of page tables, though they are not on.
        (0xc000_0082, 0x8000_0000_0000, true),
        (0xc000_0082, 1 << 56, false),
        (0xc000_0080, efer::SCE | efer::NXE, true),
        (0xc000_0080, 1 << 12, false),
        (0xc000_0103, 1 << 32, false),
        (0x3a, 0, false),
    ] {
        let result = machine.set_msr(number, value);
        assert_eq!(result.is_ok(), allowed, "{number:x} {value:x}");
        if allowed {
            assert_eq!(
                machine.msr(number).map(|got| got & value),
                Ok(value),
                "{number:x}"
            );
        } else {
            assert_eq!(result, Err(DENIED));
        }
    }
}

#[test]
fn interrupts_on_hold_and_start_up_in_order() {
    let mut machine = Machine::new();
    machine.state.system_flags = flag::IF;
    assert!(super::interrupts::is_due(&machine.state, 1));
    machine.state.shadow = 1;
    assert!(!super::interrupts::is_due(&machine.state, 1));
    machine.state.activity = super::fields::activity::WAIT_FOR_STARTUP;
    assert!(!super::interrupts::is_due(&machine.state, 3));
    assert!(super::interrupts::is_due(&machine.state, 1 << 3));
    machine.take(1 << 3);
    assert_eq!(
        (machine.state.common.pc, machine.state.activity),
        (0x9000, 0)
    );
}

#[test]
fn extended_control_register_needs_its_parts() {
    let mut machine = Machine::new();
    assert_eq!(machine.call("read_xcr", [0; 3]).map_err(vector_of), Err(6));
    machine.state.cr4 |= cr4::OSXSAVE;
    for (value, allowed) in [
        (1, true),
        (3, true),
        (7, true),
        (0, false),
        (5, false),
        (9, false),
    ] {
        let result = machine.call("write_xcr", [0, value, 0]);
        assert_eq!(result.is_ok(), allowed, "{value}");
    }
    assert_eq!(machine.call("read_xcr", [0; 3]), Ok(7));
}
