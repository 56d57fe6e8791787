//! The mode bits of a block: what, besides the bytes, decides what RISC-V code means.
//!
//! | bits | meaning |
//! |---|---|
//! | 0-1 | privilege: 0 U, 1 S, 3 M |
//! | 2-3 | `mstatus.FS`: 0 off, 1 on and not dirty, 2 dirty |
//! | 4 | `frm` holds a reserved value, so that dynamic rounding is illegal |
//!
//! The address space of instruction fetches follows from the mode and [`super::mmu::address_space`]: in M-mode fetches
//! are never translated, whatever `mstatus.MPRV` does to data, so their space is data mode 3 with number 0; in S and
//! U the effective privilege of data is the current one, so their space is that of data.

use vm_ir::Mode;

use crate::riscv::state::HartState;

use super::fields::{mstatus, privilege};

/// Whether floating point is on, as code sees it (RISC-V Priv 1.13, 3.1.6.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FpState {
    /// Every floating-point instruction is illegal.
    Off,
    /// On; an instruction that writes floating-point state calls [`super::HELPER_FS_DIRTY`] first.
    Clean,
    /// On, and known to be dirty.
    Dirty,
}

const PRIVILEGE: u32 = 3;
const FS_SHIFT: u32 = 2;
const RESERVED_FRM: u32 = 1 << 4;

/// First value of `frm` that names no rounding (RISC-V Unpriv 20240411, 20.2).
pub(super) const FIRST_RESERVED_FRM: u64 = 5;

/// The mode that the state's code is decoded in.
pub fn of(state: &HartState) -> Mode {
    let fp = match mstatus::FS.get(state.mstatus) {
        0 => FpState::Off,
        3 => FpState::Dirty,
        _ => FpState::Clean,
    };
    let frm = if state.frm >= FIRST_RESERVED_FRM {
        RESERVED_FRM
    } else {
        0
    };
    Mode(state.privilege as u32 | (fp as u32) << FS_SHIFT | frm)
}

/// Privilege number of the mode: 0 U, 1 S, 3 M.
pub const fn privilege(mode: Mode) -> u64 {
    (mode.0 & PRIVILEGE) as u64
}

/// Whether instructions are fetched without translation, in data mode 3 of address space 0.
pub const fn fetches_bare(mode: Mode) -> bool {
    privilege(mode) == privilege::M
}

/// Whether floating point is on.
pub const fn fp(mode: Mode) -> FpState {
    match mode.0 >> FS_SHIFT & 3 {
        0 => FpState::Off,
        1 => FpState::Clean,
        _ => FpState::Dirty,
    }
}

/// Whether instructions with dynamic rounding are illegal because `frm` holds a reserved value.
pub const fn dynamic_rounding_is_illegal(mode: Mode) -> bool {
    mode.0 & RESERVED_FRM != 0
}

#[cfg(test)]
mod tests;
