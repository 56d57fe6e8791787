//! Entering and leaving trap handlers (RISC-V Priv 1.13, 3.1.6.1, 3.1.7, 3.1.8, 3.3.2 and chapters "Ssdbltrp" and
//! "Smdbltrp").

use crate::guest::{Exception, Raised};
use crate::riscv::state::HartState;

use super::fields::{Field, cause, envcfg, mstatus, privilege};
use super::{Hart, feature, illegal};

/// Bytes of `ecall`.
const ECALL_BYTES: u64 = 4;
const VECTORED: u64 = 1;
const TVEC_MODE: Field = Field::new(0, 2);

/// Delivers an exception of the instruction at `pc`.
///
/// An `ecall` from S-mode goes to the machine's own firmware when it has one. Such a machine has no code in M-mode; a
/// trap that nothing delegates and for which the guest installed no M-mode handler leaves the hart wedged. So does
/// a trap into M-mode before it has saved what it needs to return from the last one, which Smdbltrp calls a critical
/// error.
pub(super) fn raise(state: &mut HartState, exception: Exception) -> Raised {
    let code = exception.code.0;
    let firmware = state.features & feature::BUILTIN_FIRMWARE != 0;
    if firmware && state.privilege == privilege::S && code == cause::ECALL_FROM_S {
        state.common.pc = state.common.pc.wrapping_add(ECALL_BYTES);
        return Raised::Firmware;
    }
    let delegated = state.privilege <= privilege::S && state.medeleg >> code & 1 != 0;
    let (level, cause) = if delegated {
        into_supervisor(state, code.into())
    } else {
        (privilege::M, code.into())
    };
    let lost = firmware && state.mtvec == 0 || mstatus::MDT.is_set(state.mstatus);
    if level == privilege::M && lost {
        return Raised::Wedged;
    }
    enter(state, level, cause, exception.value);
    Raised::Taken
}

/// Privilege and cause of a trap that S-mode is to take: as a double trap M-mode's, where S-mode has not yet saved what
/// it needs to return from the last one (RISC-V Priv 1.13, "Double Trap Control in `sstatus` Register").
pub(super) fn into_supervisor(state: &mut HartState, cause: u64) -> (u64, u64) {
    if !mstatus::SDT.is_set(state.mstatus) {
        let on = u64::from(envcfg::DTE.is_set(state.menvcfg));
        state.mstatus = mstatus::SDT.with(state.mstatus, on);
        return (privilege::S, cause);
    }
    state.mtval2 = cause;
    (privilege::M, cause::DOUBLE_TRAP.into())
}

/// Puts the hart at the handler of S- or M-mode for `cause`, with `pc` as the place to return to.
pub(super) fn enter(state: &mut HartState, level: u64, cause: u64, value: u64) {
    let from = state.privilege;
    let pc = state.common.pc;
    let status = state.mstatus;
    let vector = if level == privilege::M {
        state.mepc = pc;
        state.mcause = cause;
        state.mtval = value;
        let status = mstatus::MPIE.with(status, mstatus::MIE.get(status));
        let status = mstatus::MIE.with(status, 0);
        let closes = state.features & feature::MACHINE_DOUBLE_TRAP != 0;
        let status = mstatus::MDT.with(status, closes.into());
        state.mstatus = mstatus::MPP.with(status, from);
        state.mtvec
    } else {
        state.sepc = pc;
        state.scause = cause;
        state.stval = value;
        let status = mstatus::SPIE.with(status, mstatus::SIE.get(status));
        let status = mstatus::SIE.with(status, 0);
        state.mstatus = mstatus::SPP.with(status, from);
        state.stvec
    };
    state.privilege = level;
    state.common.pc = handler(vector, cause);
}

fn handler(vector: u64, cause: u64) -> u64 {
    let base = vector & !TVEC_MODE.mask();
    if cause & cause::INTERRUPT != 0 && TVEC_MODE.get(vector) == VECTORED {
        base.wrapping_add(4 * (cause & !cause::INTERRUPT))
    } else {
        base
    }
}

/// `mret`.
pub(super) fn mret(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *hart.state;
    if state.privilege != privilege::M {
        return Err(illegal(args[0]));
    }
    let to = mstatus::MPP.get(state.mstatus);
    let status = mstatus::MIE.with(state.mstatus, mstatus::MPIE.get(state.mstatus));
    let status = mstatus::MPIE.with(status, 1);
    state.mstatus = mstatus::MPP.with(status, privilege::U);
    if to == privilege::U {
        state.mstatus = mstatus::SDT.with(state.mstatus, 0);
    }
    leave(hart, to, hart.state.mepc);
    Ok(0)
}

/// `sret`.
pub(super) fn sret(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    let state = &mut *hart.state;
    let trapped = state.privilege == privilege::S && mstatus::TSR.is_set(state.mstatus);
    if state.privilege == privilege::U || trapped {
        return Err(illegal(args[0]));
    }
    let to = mstatus::SPP.get(state.mstatus);
    let status = mstatus::SIE.with(state.mstatus, mstatus::SPIE.get(state.mstatus));
    let status = mstatus::SPIE.with(status, 1);
    let status = mstatus::SDT.with(status, 0);
    state.mstatus = mstatus::SPP.with(status, privilege::U);
    leave(hart, to, hart.state.sepc);
    Ok(0)
}

fn leave(hart: &mut Hart<'_>, to: u64, pc: u64) {
    if hart.state.privilege == privilege::M {
        hart.state.mstatus = mstatus::MDT.with(hart.state.mstatus, 0);
    }
    if to != privilege::M {
        hart.state.mstatus = mstatus::MPRV.with(hart.state.mstatus, 0);
    }
    hart.state.privilege = to;
    hart.state.common.pc = pc;
    hart.env.state_changed();
}

#[cfg(test)]
mod tests;
