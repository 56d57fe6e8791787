//! `mstatus`, `sstatus`, and the floating-point control registers.

use crate::guest::FlushScope;
use crate::riscv::isa::{Extension, IsaConfig};
use crate::riscv::sys::fields::{Field, envcfg, mstatus, privilege};
use crate::riscv::sys::{Hart, float};

use super::{Update, View};

const FS_DIRTY: u64 = 3;

/// Fields that both registers show.
const SUPERVISOR: u64 = mstatus::SIE.mask()
    | mstatus::SPIE.mask()
    | mstatus::SPP.mask()
    | mstatus::FS.mask()
    | mstatus::SUM.mask()
    | mstatus::MXR.mask()
    | mstatus::SDT.mask()
    | mstatus::UXL.mask()
    | mstatus::SD.mask();

/// Fields that can be written; UXL and SXL are fixed at 64 bits, memory is little-endian, and there are no vectors.
const WRITABLE: u64 = mstatus::SIE.mask()
    | mstatus::MIE.mask()
    | mstatus::SPIE.mask()
    | mstatus::MPIE.mask()
    | mstatus::SPP.mask()
    | mstatus::MPP.mask()
    | mstatus::MPRV.mask()
    | mstatus::SUM.mask()
    | mstatus::MXR.mask()
    | mstatus::TVM.mask()
    | mstatus::TW.mask()
    | mstatus::TSR.mask();

fn writable(config: &IsaConfig) -> u64 {
    let mut writable = WRITABLE;
    for (ext, field) in [
        (Extension::F, mstatus::FS),
        (Extension::Smdbltrp, mstatus::MDT),
    ] {
        if config.has(ext) {
            writable |= field.mask();
        }
    }
    writable
}

pub(super) fn read_mstatus(view: &View<'_>, _: u16) -> u64 {
    let status = view.state.mstatus;
    let dirty = mstatus::FS.get(status) == FS_DIRTY;
    mstatus::SD.with(status, u64::from(dirty))
}

pub(super) fn read_sstatus(view: &View<'_>, index: u16) -> u64 {
    read_mstatus(view, index) & SUPERVISOR
}

pub(super) fn write_mstatus(hart: &mut Hart<'_>, _: u16, update: Update) {
    write_status(hart, update.value, u64::MAX);
}

pub(super) fn write_sstatus(hart: &mut Hart<'_>, _: u16, update: Update) {
    write_status(hart, update.value, SUPERVISOR);
}

fn write_status(hart: &mut Hart<'_>, value: u64, shown: u64) {
    const RESERVED_PRIVILEGE: u64 = 2;
    let mut writable = writable(hart.config);
    if envcfg::DTE.is_set(hart.state.menvcfg) {
        writable |= mstatus::SDT.mask();
    }
    let writable = writable & shown;
    let old = hart.state.mstatus;
    let mut new = old & !writable | value & writable;
    if mstatus::MPP.get(new) == RESERVED_PRIVILEGE {
        new = mstatus::MPP.with(new, mstatus::MPP.get(old));
    }
    if mstatus::SDT.is_set(new) {
        new = mstatus::SIE.with(new, 0);
    }
    if mstatus::MDT.is_set(new) {
        new = mstatus::MIE.with(new, 0);
    }
    hart.state.mstatus = new;
    if mstatus::MXR.is_set(old ^ new) {
        hart.env.flush(FlushScope {
            page: None,
            asid: None,
        });
    }
    // Where interrupts are only closed, nothing is to be done that was not before.
    let opened_or_else = (old ^ new) & !(old & mstatus::SIE.mask());
    if opened_or_else != 0 {
        hart.env.state_changed();
    }
}

const FFLAGS: Field = Field::new(0, 5);
const FRM: Field = Field::new(5, 3);

pub(super) fn read_fflags(view: &View<'_>, _: u16) -> u64 {
    FFLAGS.get(u64::from(view.state.common.fp_flags))
}

pub(super) fn read_frm(view: &View<'_>, _: u16) -> u64 {
    view.state.frm
}

pub(super) fn read_fcsr(view: &View<'_>, index: u16) -> u64 {
    FRM.with(read_fflags(view, index), view.state.frm)
}

pub(super) fn write_fflags(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.common.fp_flags = FFLAGS.get(update.value) as u32;
    float::mark_dirty(hart);
}

pub(super) fn write_frm(hart: &mut Hart<'_>, _: u16, update: Update) {
    float::set_frm(hart, FRM.get(update.value << FFLAGS.mask().count_ones()));
    float::mark_dirty(hart);
}

pub(super) fn write_fcsr(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.common.fp_flags = FFLAGS.get(update.value) as u32;
    float::set_frm(hart, FRM.get(update.value));
    float::mark_dirty(hart);
}

/// The value of `mstatus` at reset, before anything is written.
pub(in crate::riscv::sys) fn initial_mstatus(config: &IsaConfig) -> u64 {
    const XLEN_64: u64 = 2;
    let status = mstatus::UXL.with(0, XLEN_64);
    let status = mstatus::SXL.with(status, XLEN_64);
    let status = mstatus::MDT.with(status, config.has(Extension::Smdbltrp).into());
    mstatus::MPP.with(status, privilege::U)
}
