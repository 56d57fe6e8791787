//! `satp` and the PMP registers (RISC-V Priv 1.13, 12.1.11 and 3.7.1).

use crate::guest::FlushScope;
use crate::riscv::isa::SatpMode;
use crate::riscv::sys::fields::satp;
use crate::riscv::sys::{Hart, pmp};

use super::{Update, View};

/// Entries in one configuration register; RV64 counts the registers by fours.
const ENTRIES_PER_CFG: usize = 8;
const ENTRIES_PER_CFG_NUMBER: usize = 4;

/// A write with a mode that the hart does not have has no effect at all.
pub(super) fn write_satp(hart: &mut Hart<'_>, _: u16, update: Update) {
    let mode = satp::MODE.get(update.value);
    let known = SatpMode::ALL.iter().find(|known| known.field() == mode);
    if known.is_none_or(|&known| known > hart.config.satp) {
        return;
    }
    let old_mode = satp::MODE.get(hart.state.satp);
    hart.state.satp = update.value;
    // Translations are told apart by ASID only, and tables of another depth mean something else.
    if mode != old_mode && mode != SatpMode::Bare.field() {
        hart.env.flush(FlushScope {
            page: None,
            asid: None,
        });
    }
    hart.env.state_changed();
}

pub(super) fn read_pmpcfg(view: &View<'_>, index: u16) -> u64 {
    let first = usize::from(index) * ENTRIES_PER_CFG_NUMBER;
    let mut bytes = [0; ENTRIES_PER_CFG];
    bytes.copy_from_slice(&view.state.pmpcfg[first..first + ENTRIES_PER_CFG]);
    u64::from_le_bytes(bytes)
}

pub(super) fn write_pmpcfg(hart: &mut Hart<'_>, index: u16, update: Update) {
    let first = usize::from(index) * ENTRIES_PER_CFG_NUMBER;
    for (n, byte) in update.value.to_le_bytes().into_iter().enumerate() {
        pmp::write_cfg(hart.state, first + n, byte);
    }
    protection_changed(hart);
}

pub(super) fn read_pmpaddr(view: &View<'_>, index: u16) -> u64 {
    view.state.pmpaddr[usize::from(index)]
}

pub(super) fn write_pmpaddr(hart: &mut Hart<'_>, index: u16, update: Update) {
    pmp::write_addr(hart.state, usize::from(index), update.value);
    protection_changed(hart);
}

fn protection_changed(hart: &mut Hart<'_>) {
    hart.env.flush(FlushScope {
        page: None,
        asid: None,
    });
    hart.env.state_changed();
}
