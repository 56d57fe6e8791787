//! `menvcfg`, `senvcfg`, `stimecmp` and the state enables (RISC-V Priv 1.13, 3.1.18, 12.1.10, chapter 14 and chapter
//! "Smstateen").

use crate::guest::FlushScope;
use crate::riscv::isa::{Extension, IsaConfig};
use crate::riscv::sys::Hart;
use crate::riscv::sys::fields::{Field, envcfg, irq, mstatus, stateen};

use super::{Update, View};

/// Fields of `menvcfg` and the extension that brings each.
const FIELDS: [(Field, Extension); 7] = [
    (envcfg::CBIE, Extension::Zicbom),
    (envcfg::CBCFE, Extension::Zicbom),
    (envcfg::CBZE, Extension::Zicboz),
    (envcfg::DTE, Extension::Ssdbltrp),
    (envcfg::ADUE, Extension::Svadu),
    (envcfg::PBMTE, Extension::Svpbmt),
    (envcfg::STCE, Extension::Sstc),
];

/// Fields that `senvcfg` has too.
const SUPERVISOR: u64 =
    envcfg::FIOM.mask() | envcfg::CBIE.mask() | envcfg::CBCFE.mask() | envcfg::CBZE.mask();

/// Fields whose change makes translations stale.
const TRANSLATION: u64 = envcfg::ADUE.mask() | envcfg::PBMTE.mask();

/// The bits of `menvcfg` that exist.
pub(in crate::riscv::sys) fn mask(config: &IsaConfig) -> u64 {
    FIELDS
        .iter()
        .filter(|(_, ext)| config.has(*ext))
        .fold(envcfg::FIOM.mask(), |mask, (field, _)| mask | field.mask())
}

/// `value` with the reserved setting of CBIE replaced by the old one.
fn legal(value: u64, old: u64, mask: u64) -> u64 {
    const RESERVED: u64 = 2;
    let value = if envcfg::CBIE.get(value) == RESERVED {
        envcfg::CBIE.with(value, envcfg::CBIE.get(old))
    } else {
        value
    };
    value & mask
}

pub(super) fn write_menvcfg(hart: &mut Hart<'_>, _: u16, update: Update) {
    let old = hart.state.menvcfg;
    let new = legal(update.value, old, mask(hart.config));
    hart.state.menvcfg = new;
    if (old ^ new) & TRANSLATION != 0 {
        hart.env.flush(FlushScope {
            page: None,
            asid: None,
        });
    }
    if !envcfg::DTE.is_set(new) {
        hart.state.mstatus = mstatus::SDT.with(hart.state.mstatus, 0);
    }
    if envcfg::STCE.is_set(old ^ new) {
        hart.state.mip &= !irq::bit(irq::STI);
        arm(hart);
    }
    hart.env.state_changed();
}

pub(super) fn write_senvcfg(hart: &mut Hart<'_>, _: u16, update: Update) {
    let mask = mask(hart.config) & SUPERVISOR;
    hart.state.senvcfg = legal(update.value, hart.state.senvcfg, mask);
}

/// The bits of `mstateen0` to `mstateen3` that exist: no other state than `senvcfg` can be closed, and `sstateen` has no
/// bits at all.
pub(in crate::riscv::sys) const STATE_ENABLES: [u64; 4] = {
    let only = stateen::SE.mask();
    [only | stateen::ENVCFG.mask(), only, only, only]
};

pub(super) fn read_mstateen(view: &View<'_>, index: u16) -> u64 {
    view.state.mstateen[usize::from(index)]
}

pub(super) fn write_mstateen(hart: &mut Hart<'_>, index: u16, update: Update) {
    let at = usize::from(index);
    hart.state.mstateen[at] = update.value & STATE_ENABLES[at];
}

pub(super) fn write_stimecmp(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.stimecmp = update.value;
    if envcfg::STCE.is_set(hart.state.menvcfg) {
        arm(hart);
        hart.env.state_changed();
    }
}

/// Drives the timer line from `stimecmp`. The greatest value means never.
fn arm(hart: &mut Hart<'_>) {
    let on = envcfg::STCE.is_set(hart.state.menvcfg);
    let deadline = Some(hart.state.stimecmp).filter(|&at| on && at != u64::MAX);
    hart.env.set_timer(irq::STI, deadline);
}
