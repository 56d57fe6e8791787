use vm_ir::Effects;

use super::*;
use crate::riscv::sys::testing::{Machine, exception};
use crate::riscv::sys::{HELPER_CBO_FLUSH, HELPER_CSR, HELPER_FS_DIRTY, HELPER_MRET, HELPER_SRET};

#[test]
fn layout_slots_lie_in_the_state_and_do_not_overlap() {
    let layout = Riscv::layout();
    let mut ends: Vec<_> = layout
        .slots
        .iter()
        .map(|s| (s.offset, s.offset + s.ty.slot_bytes()))
        .collect();
    ends.sort();
    assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(ends.last().is_some_and(|&(_, end)| end <= layout.bytes));
    assert_eq!(std::mem::offset_of!(HartState, common), 0);
}

#[test]
fn layout_helpers_stand_at_their_numbers() {
    let helpers = Riscv::layout().helpers;
    for (id, name) in [
        (HELPER_CSR, "csr"),
        (HELPER_MRET, "mret"),
        (HELPER_CBO_FLUSH, "cbo.flush"),
        (HELPER_FS_DIRTY, "fs.dirty"),
    ] {
        assert_eq!(helpers[usize::from(id.0)].name, name);
    }
    assert_eq!(usize::from(HELPER_FS_DIRTY.0) + 1, helpers.len());
}

/// The engine brings `pc` up to date for helpers that write state only.
#[test]
fn layout_helpers_that_set_pc_write_state() {
    for id in [HELPER_MRET, HELPER_SRET] {
        let effects = Riscv::layout().helpers[usize::from(id.0)].effects;
        assert!(effects.has(Effects::WRITES_STATE) && effects.has(Effects::MAY_FAULT));
    }
    let dirty = Riscv::layout().helpers[usize::from(HELPER_FS_DIRTY.0)].effects;
    assert!(
        !dirty.has(Effects::MAY_FAULT),
        "it stands after the last fault point"
    );
}

#[test]
fn bus_error_is_access_fault_of_the_access() {
    let at = GuestVirtAddr(0x123);
    assert_eq!(
        Riscv::bus_error(at, Access::Execute),
        BusAbort::Raise(exception(1, 0x123))
    );
    assert_eq!(
        Riscv::bus_error(at, Access::Read),
        BusAbort::Raise(exception(5, 0x123))
    );
    assert_eq!(
        Riscv::bus_error(at, Access::Write),
        BusAbort::Raise(exception(7, 0x123))
    );
}

#[test]
fn call_reaches_the_helper_of_the_number() {
    let Machine {
        mut state,
        config,
        mut env,
    } = Machine::new("max");
    state.mepc = 0x7000;
    assert_eq!(
        Riscv::call(&mut state, &config, &mut env, HELPER_MRET, [0; 3]),
        Ok(0)
    );
    assert_eq!((Riscv::common(&mut state).pc, state.privilege), (0x7000, 0));
}
