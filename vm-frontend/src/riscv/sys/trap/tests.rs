use super::*;
use crate::riscv::sys::testing::{ENTRY, INSN, Machine, exception, illegal_insn};
use crate::riscv::sys::{HELPER_MRET, HELPER_SRET};

const M_HANDLER: u64 = 0x8010_0000;
const S_HANDLER: u64 = 0x8020_0000;

fn machine(level: u64) -> Machine {
    let mut m = Machine::new("max");
    m.state.privilege = level;
    m.state.mtvec = M_HANDLER;
    m.state.stvec = S_HANDLER;
    m
}

#[test]
fn raise_undelegated_enters_machine_mode() {
    for (level, mie) in [(privilege::U, 0), (privilege::S, 1), (privilege::M, 1)] {
        let mut m = machine(level);
        m.state.mstatus = mstatus::MIE.with(m.state.mstatus, mie);
        assert_eq!(
            raise(&mut m.state, exception(cause::LOAD_PAGE, 0xdead)),
            Raised::Taken
        );
        let s = &m.state;
        assert_eq!((s.privilege, s.common.pc), (privilege::M, M_HANDLER));
        assert_eq!((s.mepc, s.mcause, s.mtval), (ENTRY, 13, 0xdead));
        assert_eq!(mstatus::MPP.get(s.mstatus), level);
        assert_eq!(
            (mstatus::MPIE.get(s.mstatus), mstatus::MIE.get(s.mstatus)),
            (mie, 0)
        );
        assert_eq!((s.sepc, s.scause, s.stval), (0, 0, 0));
    }
}

#[test]
fn raise_delegated_enters_supervisor_mode_from_below_machine_only() {
    for (level, target) in [
        (privilege::U, privilege::S),
        (privilege::S, privilege::S),
        (privilege::M, privilege::M),
    ] {
        let mut m = machine(level);
        m.state.medeleg = 1 << cause::STORE_PAGE;
        m.state.mstatus = mstatus::SIE.with(m.state.mstatus, 1);
        assert_eq!(
            raise(&mut m.state, exception(cause::STORE_PAGE, 0xbeef)),
            Raised::Taken
        );
        let s = &m.state;
        assert_eq!(s.privilege, target);
        if target == privilege::S {
            assert_eq!((s.sepc, s.scause, s.stval), (ENTRY, 15, 0xbeef));
            assert_eq!(s.common.pc, S_HANDLER);
            assert_eq!(mstatus::SPP.get(s.mstatus), level);
            assert_eq!(
                (mstatus::SPIE.get(s.mstatus), mstatus::SIE.get(s.mstatus)),
                (1, 0)
            );
            assert_eq!(s.mepc, 0);
        } else {
            assert_eq!(s.mepc, ENTRY);
        }
    }
}

#[test]
fn raise_vectored_exception_goes_to_base() {
    let mut m = machine(privilege::M);
    m.state.mtvec = M_HANDLER | VECTORED;
    raise(&mut m.state, exception(cause::BREAKPOINT, ENTRY));
    assert_eq!(m.state.common.pc, M_HANDLER);
}

#[test]
fn enter_vectored_interrupt_goes_to_its_entry() {
    for (level, vector) in [(privilege::M, M_HANDLER), (privilege::S, S_HANDLER)] {
        let mut m = machine(privilege::U);
        m.state.mtvec = M_HANDLER | VECTORED;
        m.state.stvec = S_HANDLER | VECTORED;
        enter(&mut m.state, level, cause::INTERRUPT | 5, 0);
        assert_eq!(m.state.common.pc, vector + 20);
    }
}

fn firmware_machine() -> Machine {
    let config = Machine::new("max").config;
    Machine::with(config, true)
}

#[test]
fn raise_ecall_with_builtin_firmware_returns_after_it() {
    let mut m = firmware_machine();
    let before = m.state;
    assert_eq!(
        raise(&mut m.state, exception(cause::ECALL_FROM_S, 0)),
        Raised::Firmware
    );
    assert_eq!(m.state.common.pc, ENTRY + 4);
    assert_eq!(
        (m.state.privilege, m.state.mstatus),
        (before.privilege, before.mstatus)
    );
    assert_eq!((m.state.mcause, m.state.scause), (0, 0));
}

#[test]
fn raise_ecall_from_user_with_builtin_firmware_goes_to_supervisor() {
    let mut m = firmware_machine();
    m.state.stvec = S_HANDLER;
    m.state.privilege = privilege::U;
    assert_eq!(
        raise(&mut m.state, exception(cause::ECALL_FROM_U, 0)),
        Raised::Taken
    );
    assert_eq!((m.state.privilege, m.state.scause), (privilege::S, 8));
}

#[test]
fn raise_ecall_without_builtin_firmware_is_a_trap() {
    let mut m = machine(privilege::S);
    assert_eq!(
        raise(&mut m.state, exception(cause::ECALL_FROM_S, 0)),
        Raised::Taken
    );
    assert_eq!(
        (m.state.privilege, m.state.mcause, m.state.mepc),
        (privilege::M, 9, ENTRY)
    );
}

#[test]
fn raise_to_missing_machine_handler_wedges_with_builtin_firmware() {
    let mut m = firmware_machine();
    m.state.medeleg = 0;
    let before = format!("{:?}", m.state);
    assert_eq!(
        raise(&mut m.state, exception(cause::ILLEGAL, 0)),
        Raised::Wedged
    );
    assert_eq!(format!("{:?}", m.state), before);
}

#[test]
fn mret_restores_what_the_trap_saved() {
    for to in [privilege::U, privilege::S, privilege::M] {
        for mpie in [0, 1] {
            let mut m = machine(privilege::M);
            let status = mstatus::MPP.with(m.state.mstatus, to);
            let status = mstatus::MPIE.with(status, mpie);
            m.state.mstatus = mstatus::MPRV.with(status, 1);
            m.state.mepc = 0x1234_5678;
            assert_eq!(m.call(HELPER_MRET, [INSN, 0, 0]), Ok(0));
            let s = &m.state;
            assert_eq!((s.privilege, s.common.pc), (to, 0x1234_5678));
            assert_eq!(
                (mstatus::MIE.get(s.mstatus), mstatus::MPIE.get(s.mstatus)),
                (mpie, 1)
            );
            assert_eq!(mstatus::MPP.get(s.mstatus), privilege::U);
            assert_eq!(mstatus::MPRV.is_set(s.mstatus), to == privilege::M);
            assert_eq!(m.env.state_changes, 1);
        }
    }
}

#[test]
fn mret_below_machine_is_illegal() {
    for level in [privilege::U, privilege::S] {
        let mut m = machine(level);
        assert_eq!(m.call(HELPER_MRET, [INSN, 0, 0]), Err(illegal_insn()));
        assert_eq!(m.state.common.pc, ENTRY);
    }
}

#[test]
fn sret_restores_what_the_trap_saved() {
    for level in [privilege::S, privilege::M] {
        for (to, spie) in [(privilege::U, 0), (privilege::S, 1)] {
            let mut m = machine(level);
            let status = mstatus::SPP.with(m.state.mstatus, to);
            let status = mstatus::SPIE.with(status, spie);
            m.state.mstatus = mstatus::MPRV.with(status, 1);
            m.state.sepc = 0x4444;
            assert_eq!(m.call(HELPER_SRET, [INSN, 0, 0]), Ok(0));
            let s = &m.state;
            assert_eq!((s.privilege, s.common.pc), (to, 0x4444));
            assert_eq!(
                (mstatus::SIE.get(s.mstatus), mstatus::SPIE.get(s.mstatus)),
                (spie, 1)
            );
            assert_eq!(mstatus::SPP.get(s.mstatus), privilege::U);
            assert!(!mstatus::MPRV.is_set(s.mstatus));
        }
    }
}

#[test]
fn sret_checks_privilege_and_tsr() {
    for (level, tsr, legal) in [
        (privilege::U, 0, false),
        (privilege::S, 0, true),
        (privilege::S, 1, false),
        (privilege::M, 1, true),
    ] {
        let mut m = machine(level);
        m.state.mstatus = mstatus::TSR.with(m.state.mstatus, tsr);
        let result = m.call(HELPER_SRET, [INSN, 0, 0]);
        assert_eq!(
            result,
            if legal { Ok(0) } else { Err(illegal_insn()) },
            "{level} {tsr}"
        );
    }
}

/// A hart in S-mode that has taken a delegated page fault under Ssdbltrp.
fn in_a_trap() -> Machine {
    let mut m = machine(privilege::S);
    m.state.menvcfg = envcfg::DTE.mask();
    m.state.medeleg = 1 << cause::LOAD_PAGE | 1 << cause::STORE_PAGE;
    raise(&mut m.state, exception(cause::LOAD_PAGE, 0x1000));
    assert_eq!(m.state.privilege, privilege::S);
    assert!(mstatus::SDT.is_set(m.state.mstatus));
    m
}

#[test]
fn raise_double_trap_goes_to_machine_mode_with_both_causes() {
    let mut m = in_a_trap();
    m.state.common.pc = S_HANDLER + 8;
    raise(&mut m.state, exception(cause::STORE_PAGE, 0x2000));
    let s = &m.state;
    assert_eq!((s.privilege, s.common.pc), (privilege::M, M_HANDLER));
    assert_eq!((s.mcause, s.mtval2, s.mtval), (16, 15, 0x2000));
    assert_eq!(
        (s.mepc, mstatus::MPP.get(s.mstatus)),
        (S_HANDLER + 8, privilege::S)
    );
    // What S-mode had saved of the first trap is still there.
    assert_eq!((s.sepc, s.scause, s.stval), (ENTRY, 13, 0x1000));
    assert!(mstatus::SDT.is_set(s.mstatus));
}

#[test]
fn raise_after_the_handler_has_cleared_sdt_is_no_double_trap() {
    let mut m = in_a_trap();
    m.state.mstatus = mstatus::SDT.with(m.state.mstatus, 0);
    raise(&mut m.state, exception(cause::STORE_PAGE, 0x2000));
    assert_eq!((m.state.privilege, m.state.scause), (privilege::S, 15));
}

#[test]
fn return_from_a_trap_clears_sdt() {
    let mut m = in_a_trap();
    m.call(HELPER_SRET, [INSN, 0, 0]).expect("sret in S-mode");
    assert!(!mstatus::SDT.is_set(m.state.mstatus));
    for (to, stays) in [(privilege::U, false), (privilege::S, true)] {
        let mut m = in_a_trap();
        m.state.privilege = privilege::M;
        m.state.mstatus = mstatus::MPP.with(m.state.mstatus, to);
        m.call(HELPER_MRET, [INSN, 0, 0]).expect("mret in M-mode");
        assert_eq!(mstatus::SDT.is_set(m.state.mstatus), stays, "to {to}");
    }
}

#[test]
fn raise_double_trap_without_machine_code_wedges() {
    let mut m = firmware_machine();
    m.state.menvcfg |= envcfg::DTE.mask();
    raise(&mut m.state, exception(cause::LOAD_PAGE, 0));
    assert_eq!(
        raise(&mut m.state, exception(cause::LOAD_PAGE, 0)),
        Raised::Wedged
    );
}

#[test]
fn raise_in_machine_mode_before_mdt_is_clear_is_a_critical_error() {
    let config = "max,+smdbltrp".parse().expect("a CPU");
    let mut m = Machine::with(config, false);
    m.state.mtvec = M_HANDLER;
    let before = m.state;
    assert_eq!(
        raise(&mut m.state, exception(cause::ILLEGAL, 0)),
        Raised::Wedged
    );
    assert_eq!(m.state, before, "nothing is lost");
    // Software clears it; interrupts stay off until then.
    let (mdt, mie) = (mstatus::MDT.mask(), mstatus::MIE.mask());
    m.write(0x300, mdt | mie);
    assert_eq!(m.read(0x300) & (mdt | mie), mdt);
    m.write(0x300, mie);
    assert_eq!(m.read(0x300) & (mdt | mie), mie);
    assert_eq!(
        raise(&mut m.state, exception(cause::ILLEGAL, 0)),
        Raised::Taken
    );
    assert!(mstatus::MDT.is_set(m.state.mstatus));
    assert_eq!(
        raise(&mut m.state, exception(cause::ILLEGAL, 0)),
        Raised::Wedged
    );
    m.call(HELPER_MRET, [INSN, 0, 0]).expect("mret in M-mode");
    assert!(!mstatus::MDT.is_set(m.state.mstatus));
}
