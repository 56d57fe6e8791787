//! Address translation and protection of one access (RISC-V Priv 1.13, 3.1.6.3, 3.7 and 12.3).
//!
//! Loads and stores use the effective privilege, which `mstatus.MPRV` may set to that in MPP; fetches use the current
//! one. The data modes of [`address_space`] are:
//!
//! | data mode | effective privilege | SUM |
//! |---|---|---|
//! | 0 | U | any |
//! | 1 | S | clear, or without translation |
//! | 2 | S | set |
//! | 3 | M | any |
//!
//! Fetches in M-mode use data mode 3 of address space 0, whatever MPRV says; fetches in S and U use the space of data,
//! since MPRV is clear there ([`super::mode::fetches_bare`]). A mapping holds what its data mode may do, fetches
//! included, so that one table serves both. MXR is no part of the data mode: changing it flushes.

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, PAGE_SHIFT};
use vm_ir::ExceptionCode;
use vm_mem::PhysMemory;
use vm_mem::walk::riscv::{Levels, SvWalk};
use vm_mem::walk::{Leaf, WalkFault, riscv};

use crate::guest::{Access, AddressSpace, Exception, Mapping};
use crate::riscv::state::HartState;

use super::feature;
use super::fields::{cause, envcfg, mstatus, privilege, satp};
use super::pmp;

/// Values of `AddressSpace::data_mode`.
mod data_mode {
    pub(super) const U: u8 = 0;
    pub(super) const S: u8 = 1;
    pub(super) const S_WITH_SUM: u8 = 2;
    pub(super) const M: u8 = 3;
}

/// Number of data modes.
pub const DATA_MODES: usize = 4;

/// Bits of a physical address (RISC-V Priv 1.13, 12.4.1).
const PHYS_ADDR_BITS: u32 = 56;

/// The privilege that loads and stores are made with (RISC-V Priv 1.13, 3.1.6.3).
pub(super) fn data_privilege(state: &HartState) -> u64 {
    if mstatus::MPRV.is_set(state.mstatus) {
        mstatus::MPP.get(state.mstatus)
    } else {
        state.privilege
    }
}

/// The depth of the page tables; `None` when `satp` says Bare.
fn levels(state: &HartState) -> Option<Levels> {
    match satp::MODE.get(state.satp) {
        8 => Some(Levels::Three),
        9 => Some(Levels::Four),
        10 => Some(Levels::Five),
        _ => None,
    }
}

/// What loads and stores use now.
pub(super) fn address_space(state: &HartState) -> AddressSpace {
    let level = data_privilege(state);
    let translates = level != privilege::M && levels(state).is_some();
    let data_mode = match level {
        privilege::U => data_mode::U,
        privilege::M => data_mode::M,
        _ if translates && mstatus::SUM.is_set(state.mstatus) => data_mode::S_WITH_SUM,
        _ => data_mode::S,
    };
    let asid = if translates {
        space_number(satp::ASID.get(state.satp))
    } else {
        0
    };
    AddressSpace { data_mode, asid }
}

/// The address-space number of an ASID; 0 is left for accesses without translation.
pub(super) const fn space_number(asid: u64) -> u32 {
    asid as u32 + 1
}

/// Translates and checks an access to `bytes` bytes of one page.
///
/// # Errors
/// A page fault or access fault with the virtual address as its value.
pub(super) fn translate(
    state: &HartState,
    memory: &dyn PhysMemory,
    addr: GuestVirtAddr,
    bytes: u64,
    access: Access,
) -> Result<Mapping, Exception> {
    let level = match access {
        Access::Execute => state.privilege,
        Access::Read | Access::Write => data_privilege(state),
    };
    let leaf = match levels(state) {
        Some(levels) if level != privilege::M => {
            let may = |at: GuestPhysAddr, write: bool| pmp::allows_table_entry(state, at, write);
            let walk = sv_walk(state, levels, level, &may);
            riscv::translate(&walk, memory, addr, access).map_err(|fault| match fault {
                WalkFault::Page => page_fault(addr, access),
                WalkFault::Access => access_fault(addr, access),
            })?
        }
        _ => identity(addr).ok_or_else(|| access_fault(addr, access))?,
    };
    let rights = pmp::rights(state, level, leaf.page + addr.page_offset(), bytes);
    // Fetches are of two bytes, of which no entry matches one only.
    let same_for_fetches = access == Access::Execute && !pmp::binds(state, level);
    let mapping = Mapping {
        page: leaf.page,
        read: leaf.read && rights.read,
        write: leaf.write && leaf.dirty && rights.write,
        execute: leaf.execute && rights.execute,
        cacheable: rights.whole_page || same_for_fetches,
        global: leaf.global,
        page_bytes: leaf.span_bytes,
    };
    let permitted = match access {
        Access::Read => mapping.read,
        Access::Write => mapping.write,
        Access::Execute => mapping.execute,
    };
    // The walk has checked its own rights, so what is missing now is the protection's.
    if permitted {
        Ok(mapping)
    } else {
        Err(access_fault(addr, access))
    }
}

/// Where the current tables map an address for whoever looks at the guest from outside: as S-mode that may access
/// every page, without setting any bits. M-mode and Bare see physical addresses. `None` when nothing is mapped.
pub fn inspect(
    state: &HartState,
    memory: &dyn PhysMemory,
    addr: GuestVirtAddr,
) -> Option<GuestPhysAddr> {
    let leaf = match levels(state) {
        Some(levels) if data_privilege(state) != privilege::M => {
            let walk = SvWalk {
                sum: true,
                mxr: true,
                update_ad: true,
                ..sv_walk(state, levels, privilege::S, &|_, _| true)
            };
            riscv::translate(&walk, &Untouched(memory), addr, Access::Read).ok()?
        }
        _ => identity(addr)?,
    };
    Some(leaf.page + addr.page_offset())
}

/// Memory whose updates are dropped.
struct Untouched<'a>(&'a dyn PhysMemory);

impl PhysMemory for Untouched<'_> {
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        self.0.read_u64(addr)
    }

    fn compare_exchange_u64(&self, _: GuestPhysAddr, _: u64, _: u64) -> bool {
        true
    }
}

fn sv_walk<'a>(
    state: &HartState,
    levels: Levels,
    level: u64,
    allowed: &'a dyn Fn(GuestPhysAddr, bool) -> bool,
) -> SvWalk<'a> {
    SvWalk {
        root: GuestPhysAddr(satp::PPN.get(state.satp) << PAGE_SHIFT),
        levels,
        user: level == privilege::U,
        sum: mstatus::SUM.is_set(state.mstatus),
        mxr: mstatus::MXR.is_set(state.mstatus),
        update_ad: envcfg::ADUE.is_set(state.menvcfg),
        pbmt: envcfg::PBMTE.is_set(state.menvcfg),
        napot: state.features & feature::NAPOT != 0,
        allowed,
    }
}

/// The translation of an address without page tables; `None` beyond the physical address space.
fn identity(addr: GuestVirtAddr) -> Option<Leaf> {
    (addr.raw() >> PHYS_ADDR_BITS == 0).then(|| Leaf {
        page: GuestPhysAddr(addr.page_base().raw()),
        read: true,
        write: true,
        execute: true,
        dirty: true,
        global: false,
        span_bytes: PAGE_BYTES,
    })
}

const fn exception(code: u32, addr: GuestVirtAddr) -> Exception {
    Exception {
        code: ExceptionCode(code),
        value: addr.raw(),
    }
}

pub(super) const fn page_fault(addr: GuestVirtAddr, access: Access) -> Exception {
    let code = match access {
        Access::Read => cause::LOAD_PAGE,
        Access::Write => cause::STORE_PAGE,
        Access::Execute => cause::FETCH_PAGE,
    };
    exception(code, addr)
}

pub(super) const fn access_fault(addr: GuestVirtAddr, access: Access) -> Exception {
    let code = match access {
        Access::Read => cause::LOAD_ACCESS,
        Access::Write => cause::STORE_ACCESS,
        Access::Execute => cause::FETCH_ACCESS,
    };
    exception(code, addr)
}

pub(super) const fn misaligned(addr: GuestVirtAddr, access: Access) -> Exception {
    let code = match access {
        Access::Read => cause::LOAD_MISALIGNED,
        Access::Write => cause::STORE_MISALIGNED,
        Access::Execute => cause::FETCH_MISALIGNED,
    };
    exception(code, addr)
}

#[cfg(test)]
mod tests;
