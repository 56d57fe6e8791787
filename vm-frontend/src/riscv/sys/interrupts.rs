//! Which interrupt is delivered (RISC-V Priv 1.13, 3.1.9 and 12.1.3).

use crate::riscv::state::HartState;

use super::fields::{cause, irq, mstatus, privilege};
use super::trap;

/// Interrupts of the same destination, the most urgent first (RISC-V Priv 1.13, 3.1.9).
const PRIORITY: [u32; 6] = [irq::MEI, irq::MSI, irq::MTI, irq::SEI, irq::SSI, irq::STI];

/// `mip`, given the lines.
pub(super) fn pending(state: &HartState, lines: u64) -> u64 {
    lines & irq::ALL | state.mip
}

/// Enters the handler of the most urgent interrupt that is pending and enabled, if there is one.
pub(super) fn take(state: &mut HartState, lines: u64) -> bool {
    let candidates = pending(state, lines) & state.mie;
    if candidates == 0 {
        return false;
    }
    let on =
        |level: u64, enable: bool| state.privilege < level || state.privilege == level && enable;
    let machine_on = on(privilege::M, mstatus::MIE.is_set(state.mstatus));
    let supervisor_on = on(privilege::S, mstatus::SIE.is_set(state.mstatus));
    let machine = if machine_on {
        candidates & !state.mideleg
    } else {
        0
    };
    let supervisor = if supervisor_on {
        candidates & state.mideleg
    } else {
        0
    };
    let (level, set) = if machine != 0 {
        (privilege::M, machine)
    } else {
        (privilege::S, supervisor)
    };
    let Some(line) = PRIORITY.into_iter().find(|&line| set & irq::bit(line) != 0) else {
        return false;
    };
    let cause = cause::INTERRUPT | u64::from(line);
    let (level, cause) = match level {
        privilege::S => trap::into_supervisor(state, cause),
        _ => (level, cause),
    };
    trap::enter(state, level, cause, 0);
    true
}

/// Whether `wfi` ends: an interrupt is pending and enabled in `mie`, whatever the global enables and the delegation
/// say (RISC-V Priv 1.13, 3.3.3).
pub(super) fn wakes(state: &HartState, lines: u64) -> bool {
    pending(state, lines) & state.mie != 0
}

#[cfg(test)]
mod tests;
