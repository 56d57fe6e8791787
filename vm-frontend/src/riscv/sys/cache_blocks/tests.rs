use vm_ir::HelperId;

use super::*;
use crate::riscv::sys::testing::{INSN, Machine, exception, illegal_insn};
use crate::riscv::sys::{HELPER_CBO_CLEAN, HELPER_CBO_FLUSH, HELPER_CBO_INVAL, HELPER_CBO_ZERO};

const ADDR: u64 = 0x1_0073;
const BLOCK: u64 = 0x1_0040;

const ALL: [(HelperId, Field); 4] = [
    (HELPER_CBO_ZERO, envcfg::CBZE),
    (HELPER_CBO_INVAL, envcfg::CBIE),
    (HELPER_CBO_CLEAN, envcfg::CBCFE),
    (HELPER_CBO_FLUSH, envcfg::CBCFE),
];

#[test]
fn operations_are_enabled_by_their_field_at_each_level() {
    for (helper, field) in ALL {
        for (level, menvcfg, senvcfg, legal) in [
            (privilege::M, 0, 0, true),
            (privilege::S, 0, field.mask(), false),
            (privilege::S, field.mask(), 0, true),
            (privilege::S, !field.mask(), !field.mask(), false),
            (privilege::U, field.mask(), 0, false),
            (privilege::U, 0, field.mask(), false),
            (privilege::U, field.mask(), field.mask(), true),
        ] {
            let mut m = Machine::new("max");
            m.state.privilege = level;
            m.state.menvcfg = menvcfg;
            m.state.senvcfg = senvcfg;
            let result = m.call(helper, [ADDR, INSN, 0]);
            assert_eq!(result, if legal { Ok(0) } else { Err(illegal_insn()) });
            let touched = m.env.zeroed.len() + m.env.probed.len();
            assert_eq!(touched, usize::from(legal));
        }
    }
}

#[test]
fn zero_clears_the_whole_block() {
    let mut m = Machine::new("max");
    assert_eq!(m.call(HELPER_CBO_ZERO, [ADDR, INSN, 0]), Ok(0));
    assert_eq!(m.env.zeroed, [(BLOCK, 64)]);
}

#[test]
fn management_checks_a_load_and_faults_as_a_store() {
    for (helper, _) in ALL.into_iter().skip(1) {
        for (from, to) in [(13, 15), (5, 7)] {
            let mut m = Machine::new("max");
            m.env.memory_fault = Some(exception(from, BLOCK));
            assert_eq!(m.call(helper, [ADDR, INSN, 0]), Err(exception(to, ADDR)));
            assert_eq!(m.env.probed, [(BLOCK, 64, Access::Read)]);
        }
    }
}

#[test]
fn zero_faults_as_a_store_to_the_address_given() {
    let mut m = Machine::new("max");
    m.env.memory_fault = Some(exception(15, BLOCK));
    assert_eq!(
        m.call(HELPER_CBO_ZERO, [ADDR, INSN, 0]),
        Err(exception(15, ADDR))
    );
}
