//! Physical memory protection (RISC-V Priv 1.13, 3.7).
//!
//! Entries match at a granularity of four bytes. What each active entry covers is worked out when a register is
//! written, so that checks compare addresses only.

use vm_core::{GuestPhysAddr, PAGE_BYTES};

use crate::riscv::state::{HartState, PMP_ENTRIES};

use super::fields::{Field, privilege};

/// Fields of an entry's configuration byte (RISC-V Priv 1.13, figure 3.32).
pub(super) mod cfg {
    use super::Field;

    pub(in super::super) const R: u8 = 1 << 0;
    pub(in super::super) const W: u8 = 1 << 1;
    pub(in super::super) const X: u8 = 1 << 2;
    pub(in super::super) const A: Field = Field::new(3, 2);
    pub(in super::super) const L: u8 = 1 << 7;

    /// Values of A.
    pub(in super::super) const OFF: u64 = 0;
    pub(in super::super) const TOR: u64 = 1;
    pub(in super::super) const NA4: u64 = 2;
    pub(in super::super) const NAPOT: u64 = 3;

    /// Every bit that is not reserved.
    pub(in super::super) const DEFINED: u8 = R | W | X | A.mask() as u8 | L;
}

/// Bits of `pmpaddr`: those of a 56-bit address from bit 2 up.
pub(super) const ADDRESS_BITS: u64 = (1 << 54) - 1;

/// The configuration byte that allows everything where the address register matches naturally aligned powers of two.
pub(super) const EVERYTHING: u8 = cfg::R | cfg::W | cfg::X | cfg::A.with(0, cfg::NAPOT) as u8;

/// What one privilege may do at one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rights {
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) execute: bool,
    /// Every access to the 4 KiB page has the same.
    pub(super) whole_page: bool,
}

impl Rights {
    const fn all(allowed: bool, whole_page: bool) -> Self {
        Self {
            read: allowed,
            write: allowed,
            execute: allowed,
            whole_page,
        }
    }
}

/// Rights to `bytes` bytes of a page, and whether they hold for all of it. The first entry that matches one of the bytes
/// decides. Unless it matches all of them, the access fails, in M-mode too (RISC-V Priv 1.13, 3.7.1).
pub(super) fn rights(state: &HartState, level: u64, addr: GuestPhysAddr, bytes: u64) -> Rights {
    let page = addr.page_base().raw();
    let page_last = page + (PAGE_BYTES - 1);
    let (start, end) = (addr.raw(), addr.raw() + (bytes - 1));
    let mut whole_page = true;
    for entry in active_entries(state) {
        let (first, last) = (state.pmp_first[entry], state.pmp_last[entry]);
        if last < page || first > page_last {
            continue;
        }
        whole_page &= first <= page && last >= page_last;
        if last < start || first > end {
            continue;
        }
        return if first <= start && last >= end {
            entry_rights(state, level, entry, whole_page)
        } else {
            Rights::all(false, whole_page)
        };
    }
    Rights::all(unmatched_allowed(state, level), whole_page)
}

/// Whether entries can take rights away from this privilege.
pub(super) fn binds(state: &HartState, level: u64) -> bool {
    level != privilege::M || state.pmp_locked != 0
}

/// Whether S-mode, for which page tables are walked, may read (`write` false) or write the eight bytes at `addr`
/// (RISC-V Priv 1.13, 3.7.2).
pub(super) fn allows_table_entry(state: &HartState, addr: GuestPhysAddr, write: bool) -> bool {
    let rights = rights(state, privilege::S, addr, 8);
    if write { rights.write } else { rights.read }
}

/// The entries that match anything, in order of priority.
fn active_entries(state: &HartState) -> impl Iterator<Item = usize> {
    let mut rest = state.pmp_active;
    std::iter::from_fn(move || {
        let entry = rest.trailing_zeros() as usize;
        rest &= rest.wrapping_sub(1);
        (entry < PMP_ENTRIES).then_some(entry)
    })
}

fn entry_rights(state: &HartState, level: u64, entry: usize, whole_page: bool) -> Rights {
    let byte = state.pmpcfg[entry];
    if level == privilege::M && byte & cfg::L == 0 {
        return Rights::all(true, whole_page);
    }
    Rights {
        read: byte & cfg::R != 0,
        write: byte & cfg::W != 0,
        execute: byte & cfg::X != 0,
        whole_page,
    }
}

/// Accesses that no entry matches succeed in M-mode, and below it when there are no entries at all
/// (RISC-V Priv 1.13, 3.7.1).
fn unmatched_allowed(state: &HartState, level: u64) -> bool {
    level == privilege::M || state.pmp_entries == 0
}

/// Writes an entry's configuration byte, unless it is locked. Reserved bits stay zero, and the reserved combination
/// of W without R becomes neither.
pub(super) fn write_cfg(state: &mut HartState, entry: usize, value: u8) {
    if state.pmpcfg[entry] & cfg::L != 0 {
        return;
    }
    let mut value = value & cfg::DEFINED;
    if value & cfg::R == 0 {
        value &= !cfg::W;
    }
    state.pmpcfg[entry] = value;
    resolve(state);
}

/// Writes `pmpaddr`, unless the entry, or the next one that takes it as its bottom, is locked.
pub(super) fn write_addr(state: &mut HartState, entry: usize, value: u64) {
    let is_locked = |byte: &u8| byte & cfg::L != 0;
    let bounds_locked_next = state
        .pmpcfg
        .get(entry + 1)
        .is_some_and(|next| is_locked(next) && cfg::A.get(u64::from(*next)) == cfg::TOR);
    if is_locked(&state.pmpcfg[entry]) || bounds_locked_next {
        return;
    }
    state.pmpaddr[entry] = value & ADDRESS_BITS;
    resolve(state);
}

/// Works out which bytes each entry covers.
fn resolve(state: &mut HartState) {
    state.pmp_active = 0;
    state.pmp_locked = 0;
    for entry in 0..state.pmp_entries as usize {
        let byte = state.pmpcfg[entry];
        let addr = state.pmpaddr[entry];
        let range = match cfg::A.get(u64::from(byte)) {
            cfg::OFF => None,
            cfg::TOR => {
                let bottom = if entry == 0 {
                    0
                } else {
                    state.pmpaddr[entry - 1]
                };
                (bottom < addr).then(|| (bottom << 2, (addr << 2) - 1))
            }
            cfg::NA4 => Some((addr << 2, addr << 2 | 3)),
            _ => {
                debug_assert_eq!(cfg::A.get(u64::from(byte)), cfg::NAPOT);
                let size_code = addr ^ (addr + 1);
                Some(((addr & !size_code) << 2, (addr | size_code) << 2 | 3))
            }
        };
        if let Some((first, last)) = range {
            state.pmp_first[entry] = first;
            state.pmp_last[entry] = last;
            state.pmp_active |= 1 << entry;
            state.pmp_locked |= u64::from(byte & cfg::L != 0) << entry;
        }
    }
}

#[cfg(test)]
mod tests;
