use super::*;
use crate::riscv::sys::testing::{ENTRY, Machine};

fn hart(level: u64, mie: bool, sie: bool) -> HartState {
    let mut state = Machine::new("max").state;
    state.privilege = level;
    state.mstatus = mstatus::MIE.with(state.mstatus, u64::from(mie));
    state.mstatus = mstatus::SIE.with(state.mstatus, u64::from(sie));
    state.mie = irq::ALL;
    state.mtvec = 0x1000;
    state.stvec = 0x2000;
    state
}

#[test]
fn take_order_within_a_destination_follows_the_specification() {
    let mut state = hart(privilege::U, false, false);
    let mut lines = irq::ALL;
    for expected in [irq::MEI, irq::MSI, irq::MTI, irq::SEI, irq::SSI, irq::STI] {
        state.privilege = privilege::U;
        state.common.pc = ENTRY;
        assert!(take(&mut state, lines));
        assert_eq!(state.mcause, cause::INTERRUPT | u64::from(expected));
        assert_eq!(
            (state.mepc, state.mtval, state.common.pc),
            (ENTRY, 0, 0x1000)
        );
        lines &= !irq::bit(expected);
    }
    state.privilege = privilege::U;
    assert!(!take(&mut state, lines));
}

#[test]
fn take_machine_destination_comes_first() {
    let mut state = hart(privilege::U, false, false);
    state.mideleg = irq::bit(irq::SEI);
    assert!(take(&mut state, irq::bit(irq::SEI) | irq::bit(irq::STI)));
    assert_eq!(
        (state.privilege, state.mcause & 0xff),
        (privilege::M, u64::from(irq::STI))
    );
}

/// Privilege, MIE, SIE: whether an interrupt for M-mode and one delegated to S-mode are taken.
#[test]
fn take_global_enables_follow_privilege() {
    let rows = [
        (privilege::U, false, false, true, true),
        (privilege::S, false, false, true, false),
        (privilege::S, false, true, true, true),
        (privilege::M, false, true, false, false),
        (privilege::M, true, true, true, false),
    ];
    for (level, mie, sie, machine, supervisor) in rows {
        let mut state = hart(level, mie, sie);
        assert_eq!(
            take(&mut state, irq::bit(irq::MTI)),
            machine,
            "{level} {mie} {sie}"
        );
        let mut state = hart(level, mie, sie);
        state.mideleg = irq::SUPERVISOR;
        assert_eq!(
            take(&mut state, irq::bit(irq::STI)),
            supervisor,
            "{level} {mie} {sie}"
        );
        if supervisor {
            assert_eq!((state.privilege, state.common.pc), (privilege::S, 0x2000));
            assert_eq!(state.scause, cause::INTERRUPT | 5);
        }
    }
}

#[test]
fn take_needs_enable_and_pending() {
    let mut state = hart(privilege::U, false, false);
    state.mie = irq::bit(irq::MTI);
    assert!(!take(&mut state, irq::bit(irq::MSI)));
    assert!(!take(&mut state, 0));
    assert!(!take(&mut state, 1 << 16), "not a line of this hart");
    assert_eq!((state.privilege, state.common.pc), (privilege::U, ENTRY));
}

#[test]
fn take_software_bit_counts_as_pending() {
    let mut state = hart(privilege::U, false, false);
    state.mip = irq::bit(irq::SEI);
    assert!(take(&mut state, 0));
    assert_eq!(state.mcause, cause::INTERRUPT | 9);
}

#[test]
fn wakes_ignores_global_enables_and_delegation() {
    let mut state = hart(privilege::M, false, false);
    state.mie = irq::bit(irq::STI);
    state.mideleg = irq::SUPERVISOR;
    assert!(wakes(&state, irq::bit(irq::STI)));
    assert!(!wakes(&state, irq::bit(irq::SSI)));
    assert!(!take(&mut state, irq::bit(irq::STI)));
}
