use vm_ir::Mode;

use super::*;
use crate::riscv::sys::HELPER_FS_DIRTY;
use crate::riscv::sys::testing::Machine;

#[test]
fn of_holds_privilege_and_floating_point_state() {
    let mut m = Machine::new("max");
    for level in [privilege::U, privilege::S, privilege::M] {
        for (fs, expected) in [
            (0, FpState::Off),
            (1, FpState::Clean),
            (2, FpState::Clean),
            (3, FpState::Dirty),
        ] {
            m.state.privilege = level;
            m.state.mstatus = mstatus::FS.with(m.state.mstatus, fs);
            let mode = of(&m.state);
            assert_eq!((privilege(mode), fp(mode)), (level, expected));
            assert_eq!(fetches_bare(mode), level == privilege::M);
        }
    }
}

#[test]
fn of_bits_are_as_documented() {
    let mut m = Machine::new("max");
    assert_eq!(of(&m.state), Mode(3));
    m.state.privilege = privilege::S;
    m.state.mstatus = mstatus::FS.with(m.state.mstatus, 3);
    m.state.frm = 5;
    assert_eq!(of(&m.state), Mode(0x19));
}

#[test]
fn of_reserved_frm_makes_dynamic_rounding_illegal() {
    let mut m = Machine::new("max");
    m.state.mstatus |= mstatus::FS.mask();
    for frm in 0..8 {
        m.write(0x002, frm);
        assert_eq!(dynamic_rounding_is_illegal(of(&m.state)), frm >= 5, "{frm}");
    }
}

#[test]
fn fs_dirty_changes_the_mode_once() {
    let mut m = Machine::new("max");
    m.state.mstatus = mstatus::FS.with(m.state.mstatus, 2);
    assert_eq!(m.call(HELPER_FS_DIRTY, [0; 3]), Ok(0));
    assert_eq!(fp(of(&m.state)), FpState::Dirty);
    assert_eq!(m.call(HELPER_FS_DIRTY, [0; 3]), Ok(0));
    assert_eq!(m.env.state_changes, 1);
}
