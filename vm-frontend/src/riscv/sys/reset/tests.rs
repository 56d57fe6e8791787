use super::*;
use crate::riscv::isa::CpuModel;
use crate::riscv::sys::testing::{ENTRY, Machine};

#[test]
fn new_state_starts_in_machine_mode_at_entry() {
    let s = Machine::new("rv64").state;
    assert_eq!(
        (s.privilege, s.common.pc, s.hart_id),
        (privilege::M, ENTRY, 3)
    );
    assert_eq!(
        (s.satp, s.mie, s.medeleg, s.mideleg, s.menvcfg),
        (0, 0, 0, 0, 0)
    );
    assert_eq!(s.common.reservation_addr, u64::MAX);
    assert!(!mstatus::MIE.is_set(s.mstatus) && !mstatus::MPRV.is_set(s.mstatus));
    assert!(!mstatus::FS.is_set(s.mstatus));
    assert_eq!(s.pmp_active, 0);
}

#[test]
fn new_state_svadu_sets_bits_from_the_start() {
    assert_eq!(Machine::new("max").state.menvcfg, envcfg::ADUE.mask());
}

#[test]
fn new_state_builtin_firmware_hands_over_like_opensbi() {
    let config = CpuModel::from_name("max").expect("model").config();
    let s = Machine::with(config, true).state;
    assert_eq!(s.privilege, privilege::S);
    assert_eq!((s.medeleg, s.mideleg), (0xb1ff, 0x222));
    assert_eq!(s.menvcfg, 0xe000_0000_0000_00f0);
    assert_eq!((s.mcounteren, s.scounteren), (0xffff_ffff, 7));
    assert!(mstatus::FS.is_set(s.mstatus));
    let open = pmp::rights(&s, privilege::U, vm_core::GuestPhysAddr(0x8000_0000), 1);
    assert!(open.read && open.write && open.execute && open.whole_page);
}

#[test]
fn new_state_builtin_firmware_of_plain_hart_opens_what_exists() {
    let mut config = CpuModel::from_name("rv64").expect("model").config();
    config.pmp_entries = 0;
    let s = Machine::with(config, true).state;
    assert_eq!((s.menvcfg, s.pmp_active), (0, 0));
}
