//! `mie`, `mip`, `mideleg` and what S-mode sees of them (RISC-V Priv 1.13, 3.1.8, 3.1.9, 12.1.3).

use crate::riscv::sys::fields::{envcfg, irq};
use crate::riscv::sys::{Hart, interrupts};

use super::{Update, View};

const SSIP: u64 = irq::bit(irq::SSI);
const STIP: u64 = irq::bit(irq::STI);
const SEIP: u64 = irq::bit(irq::SEI);

pub(super) fn read_mip(view: &View<'_>, _: u16) -> u64 {
    interrupts::pending(view.state, view.inputs.lines())
}

pub(super) fn read_sip(view: &View<'_>, index: u16) -> u64 {
    read_mip(view, index) & view.state.mideleg
}

pub(super) fn read_sie(view: &View<'_>, _: u16) -> u64 {
    view.state.mie & view.state.mideleg
}

pub(super) fn write_mip(hart: &mut Hart<'_>, _: u16, update: Update) {
    let timer = if envcfg::STCE.is_set(hart.state.menvcfg) {
        0
    } else {
        STIP
    };
    write_pending(hart, update, SSIP | SEIP | timer);
}

pub(super) fn write_sip(hart: &mut Hart<'_>, _: u16, update: Update) {
    write_pending(hart, update, SSIP & hart.state.mideleg);
}

/// Changes the bits that are writable and named. SSIP is a line, since other agents set it at the same time.
fn write_pending(hart: &mut Hart<'_>, update: Update, writable: u64) {
    let bits = update.mask & writable;
    let kept = bits & !SSIP;
    hart.state.mip = hart.state.mip & !kept | update.value & kept;
    let line = bits & SSIP;
    if line != 0 {
        hart.env
            .set_lines(update.value & line, !update.value & line);
    }
    hart.env.state_changed();
}

pub(super) fn write_mie(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.mie = update.value & irq::ALL;
    hart.env.state_changed();
}

pub(super) fn write_sie(hart: &mut Hart<'_>, _: u16, update: Update) {
    let visible = hart.state.mideleg;
    hart.state.mie = hart.state.mie & !visible | update.value & visible;
    hart.env.state_changed();
}

pub(super) fn write_mideleg(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.mideleg = update.value & irq::SUPERVISOR;
    hart.env.state_changed();
}
