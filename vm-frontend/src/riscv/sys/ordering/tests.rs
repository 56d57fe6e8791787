use super::*;
use crate::riscv::sys::testing::{INSN, Machine, illegal_insn};
use crate::riscv::sys::{
    HELPER_FENCE_I, HELPER_PAUSE, HELPER_SFENCE_INVAL, HELPER_SFENCE_VMA, HELPER_WFI, HELPER_WRS,
};

fn machine(level: u64, status: u64) -> Machine {
    let mut m = Machine::new("max");
    m.state.privilege = level;
    m.state.mstatus |= status;
    m
}

#[test]
fn wfi_waits_unless_trapped() {
    for (level, tw, legal) in [
        (privilege::M, 1, true),
        (privilege::S, 0, true),
        (privilege::S, 1, false),
        (privilege::U, 0, false),
    ] {
        let mut m = machine(level, mstatus::TW.with(0, tw));
        let result = m.call(HELPER_WFI, [INSN, 0, 0]);
        assert_eq!(
            result,
            if legal { Ok(0) } else { Err(illegal_insn()) },
            "{level} {tw}"
        );
        assert_eq!(
            m.env.requests,
            if legal { vec![Request::Wait] } else { vec![] }
        );
    }
}

#[test]
fn hints_and_fence_i_make_their_requests() {
    for (helper, request) in [
        (HELPER_WRS, Request::Yield),
        (HELPER_PAUSE, Request::Yield),
        (HELPER_FENCE_I, Request::SyncCode),
    ] {
        let mut m = machine(privilege::U, 0);
        assert_eq!(m.call(helper, [0; 3]), Ok(0));
        assert_eq!(m.env.requests, [request]);
    }
}

#[test]
fn sfence_vma_scope_follows_operands() {
    let page = Some(GuestVirtAddr(0x7000));
    for (flags, page, asid) in [
        (0, None, None),
        (1, page, None),
        (2, None, Some(6)),
        (3, page, Some(6)),
    ] {
        let mut m = machine(privilege::S, 0);
        let args = [0x7abc, 0xf_0005, INSN << 32 | flags];
        assert_eq!(m.call(HELPER_SFENCE_VMA, args), Ok(0));
        assert_eq!(m.env.flushes, [FlushScope { page, asid }], "{flags}");
    }
}

#[test]
fn sfence_vma_checks_privilege_and_tvm() {
    for (level, tvm, legal) in [
        (privilege::U, 0, false),
        (privilege::S, 0, true),
        (privilege::S, 1, false),
        (privilege::M, 1, true),
    ] {
        let mut m = machine(level, mstatus::TVM.with(0, tvm));
        let result = m.call(HELPER_SFENCE_VMA, [0, 0, INSN << 32]);
        assert_eq!(
            result,
            if legal { Ok(0) } else { Err(illegal_insn()) },
            "{level} {tvm}"
        );
        assert_eq!(m.env.flushes.len(), usize::from(legal));
    }
}

#[test]
fn sfence_inval_is_illegal_in_user_mode_only() {
    for (level, legal) in [
        (privilege::U, false),
        (privilege::S, true),
        (privilege::M, true),
    ] {
        let mut m = machine(level, mstatus::TVM.mask());
        let result = m.call(HELPER_SFENCE_INVAL, [INSN, 0, 0]);
        assert_eq!(result.is_ok(), legal);
    }
}
