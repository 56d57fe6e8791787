//! Floating-point state: `mstatus.FS` and `frm` (RISC-V Priv 1.13, 3.1.6.6; RISC-V Unpriv 20240411, 20.2).

use crate::guest::Exception;

use super::Hart;
use super::fields::mstatus;
use super::mode::FIRST_RESERVED_FRM;

const DIRTY: u64 = 3;

/// Makes `mstatus.FS` dirty.
pub(super) fn mark_dirty(hart: &mut Hart<'_>) {
    if mstatus::FS.get(hart.state.mstatus) != DIRTY {
        hart.state.mstatus = mstatus::FS.with(hart.state.mstatus, DIRTY);
        hart.env.state_changed();
    }
}

/// Sets `frm`. Reserved values are kept; code with dynamic rounding is then illegal by its mode.
pub(super) fn set_frm(hart: &mut Hart<'_>, frm: u64) {
    hart.state.frm = frm;
    hart.state.common.fp_rounding = if frm < FIRST_RESERVED_FRM {
        frm as u32
    } else {
        0
    };
    hart.env.state_changed();
}

/// [`super::HELPER_FS_DIRTY`].
pub(super) fn fs_dirty(hart: &mut Hart<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    mark_dirty(hart);
    Ok(0)
}
