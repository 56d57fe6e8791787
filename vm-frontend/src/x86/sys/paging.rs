//! Address spaces and translation (Intel SDM 3A, chapter 5).
//!
//! Data modes of [`address_space`]:
//!
//! | data mode | who |
//! |---|---|
//! | 0 | user mode |
//! | 1 | supervisor mode; with CR4.SMAP not in user-mode pages |
//! | 2 | supervisor mode with RFLAGS.AC, where CR4.SMAP is set |

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_BYTES};
use vm_mem::PhysMemory;
use vm_mem::walk::Leaf;
use vm_mem::walk::x86::{self, Tables, X86Walk};

use super::descriptor::{is_canonical, is_held, is_long};
use super::exception::{self, page_fault, protection, undefined};
use super::fields::{cr0, cr4, efer, flag};
use crate::guest::{Access, AddressSpace, Exception, FlushScope, Mapping, View};
use crate::x86::cpu::PHYS_ADDR_BITS;
use crate::x86::helpers::Cpu;
use crate::x86::state::CpuState;

const USER: u8 = 0;
const SUPERVISOR: u8 = 1;
const SUPERVISOR_WITH_AC: u8 = 2;

/// Number of data modes.
pub(super) const DATA_MODES: usize = 3;

/// Bits of CR3 with a process-context identifier.
const PCID: u64 = 0xfff;

/// Whether an access is one of user mode.
fn is_user(state: &CpuState, view: View) -> bool {
    match view {
        View::Current => state.cpl == 3,
        View::User => true,
        View::Supervisor | View::Physical => false,
    }
}

/// Whether supervisor-mode accesses may not go to user-mode pages.
fn smap_holds(state: &CpuState, view: View) -> bool {
    let lifted = view == View::Current && state.system_flags & flag::AC != 0;
    state.cr4 & cr4::SMAP != 0 && !lifted
}

/// The data mode of accesses with the rights of `view`.
pub(super) fn data_mode(state: &CpuState, view: View) -> u8 {
    if is_user(state, view) {
        USER
    } else if state.cr4 & cr4::SMAP == 0 || smap_holds(state, view) {
        SUPERVISOR
    } else {
        SUPERVISOR_WITH_AC
    }
}

/// The address-space number of a process-context identifier; 0 is left for addresses without paging.
const fn space_number(pcid: u64) -> u32 {
    1 + pcid as u32
}

/// The process-context identifier in use.
fn pcid(state: &CpuState) -> u64 {
    if state.cr4 & cr4::PCIDE != 0 {
        state.cr3 & PCID
    } else {
        0
    }
}

/// What data accesses use now.
pub(super) fn address_space(state: &CpuState) -> AddressSpace {
    let asid = if state.cr0 & cr0::PG == 0 {
        0
    } else {
        space_number(pcid(state))
    };
    AddressSpace {
        data_mode: data_mode(state, View::Current),
        asid,
    }
}

/// The tables in use; `None` without paging.
fn tables(state: &CpuState) -> Option<Tables> {
    if state.cr0 & cr0::PG == 0 {
        return None;
    }
    let root = GuestPhysAddr(state.cr3 & 0x000f_ffff_ffff_f000);
    Some(if state.cr4 & cr4::PAE == 0 {
        Tables::Bits32 {
            root: GuestPhysAddr(state.cr3 & 0xffff_f000),
            pse: state.cr4 & cr4::PSE != 0,
        }
    } else if !is_long(state) {
        Tables::Pae(state.pdpte)
    } else if state.cr4 & cr4::LA57 != 0 {
        Tables::Five(root)
    } else {
        Tables::Four(root)
    })
}

fn walk(state: &CpuState, view: View, tables: Tables) -> X86Walk {
    X86Walk {
        tables,
        phys_bits: PHYS_ADDR_BITS,
        user: is_user(state, view),
        write_protect: state.cr0 & cr0::WP != 0,
        no_execute: state.efer & efer::NXE != 0,
        smep: state.cr4 & cr4::SMEP != 0,
        smap: smap_holds(state, view),
        global_pages: state.cr4 & cr4::PGE != 0,
        gib_pages: true,
    }
}

/// Translates an access within a page.
///
/// # Errors
/// #PF, or #GP where the address is not canonical.
pub(super) fn translate(
    state: &CpuState,
    memory: &dyn PhysMemory,
    view: View,
    addr: GuestVirtAddr,
    access: Access,
) -> Result<Mapping, Exception> {
    if is_long(state) {
        if !is_canonical(state, addr.raw()) {
            return Err(exception::NOT_CANONICAL);
        }
    } else if addr.raw() >> 32 != 0 {
        return Err(exception::WRAPPED);
    }
    let leaf = match tables(state) {
        Some(tables) => {
            let walk = walk(state, view, tables);
            x86::translate(&walk, memory, addr, access)
                .map_err(|fault| page_fault(addr, fault.0))?
        }
        None => identity(addr),
    };
    Ok(Mapping {
        page: leaf.page,
        read: leaf.read,
        write: leaf.write && leaf.dirty,
        execute: leaf.execute,
        cacheable: true,
        global: leaf.global,
        page_bytes: leaf.span_bytes,
    })
}

fn identity(addr: GuestVirtAddr) -> Leaf {
    Leaf {
        page: GuestPhysAddr(addr.page_base().raw()),
        read: true,
        write: true,
        execute: true,
        dirty: true,
        global: false,
        span_bytes: PAGE_BYTES,
    }
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

/// Where the current tables map a linear address for whoever looks at the guest from outside: with every right, without
/// setting bits. `None` when nothing is mapped.
pub fn inspect(
    state: &CpuState,
    memory: &dyn PhysMemory,
    addr: GuestVirtAddr,
) -> Option<GuestPhysAddr> {
    let Some(tables) = tables(state) else {
        return Some(GuestPhysAddr(addr.raw()));
    };
    let walk = X86Walk {
        smap: false,
        ..walk(state, View::Supervisor, tables)
    };
    let leaf = x86::translate(&walk, &Untouched(memory), addr, Access::Read).ok()?;
    Some(leaf.page + addr.page_offset())
}

/// Bits of a page-directory-pointer register that must be zero (Intel SDM 3A, 5.4.1).
const PDPTE_RESERVED: u64 = 0x1e6 | u64::MAX << PHYS_ADDR_BITS;

const EVERYTHING: FlushScope = FlushScope {
    page: None,
    asid: None,
};

impl Cpu<'_> {
    /// Forgets every translation.
    pub(super) fn flush_all(&mut self) {
        self.env.flush(EVERYTHING);
        self.env.state_changed();
    }

    /// The page-directory-pointer registers that a value of CR3 gives.
    ///
    /// # Errors
    /// #GP where an entry has reserved bits set.
    pub(super) fn read_pdpte(&mut self, cr3: u64) -> Result<[u64; 4], Exception> {
        let mut entries = [0; 4];
        for (n, entry) in entries.iter_mut().enumerate() {
            let addr = (cr3 & 0xffff_ffe0) + 8 * n as u64;
            let width = vm_core::AccessWidth::Double;
            *entry = self.env.load(self.state, addr, width, View::Physical)?;
            if *entry & 1 != 0 && *entry & PDPTE_RESERVED != 0 {
                return Err(protection(0));
            }
        }
        Ok(entries)
    }

    /// MOV to CR3 (Intel SDM 3A, 5.10.4.1).
    pub(super) fn load_cr3(&mut self, value: u64) -> Result<(), Exception> {
        let keep = value >> 63 != 0 && self.state.cr4 & cr4::PCIDE != 0;
        let value = if keep { value & !(1 << 63) } else { value };
        if is_long(self.state) && value >> PHYS_ADDR_BITS != 0 {
            return Err(protection(0));
        }
        let state = &*self.state;
        if state.cr0 & cr0::PG != 0 && state.cr4 & cr4::PAE != 0 && !is_long(state) {
            self.state.pdpte = self.read_pdpte(value)?;
        }
        self.state.cr3 = value;
        if !keep {
            self.env.flush(FlushScope {
                page: None,
                asid: Some(space_number(pcid(self.state))),
            });
        }
        self.env.state_changed();
        Ok(())
    }
}

/// `invalidate_page`: INVLPG.
pub(super) fn invalidate_page(cpu: &mut Cpu<'_>, [addr, _, _]: [u64; 3]) -> Result<u64, Exception> {
    if is_long(cpu.state) && !is_canonical(cpu.state, addr) {
        return Ok(0);
    }
    cpu.env.flush(FlushScope {
        page: Some(GuestVirtAddr(addr)),
        asid: None,
    });
    cpu.env.state_changed();
    Ok(0)
}

/// `invalidate_pcid`: INVPCID. The type, the descriptor's low and high word.
pub(super) fn invalidate_pcid(
    cpu: &mut Cpu<'_>,
    [kind, low, addr]: [u64; 3],
) -> Result<u64, Exception> {
    if !cpu.config.has(crate::x86::cpu::Feature::Invpcid) {
        return Err(undefined());
    }
    let pcids = cpu.state.cr4 & cr4::PCIDE != 0;
    let reserved = kind < 2 && (low > PCID || !pcids && low != 0);
    let bad_addr = kind == 0 && !is_held(cpu.config, addr);
    if kind > 3 || low > PCID || reserved || bad_addr {
        return Err(protection(0));
    }
    let asid = Some(space_number(low));
    let scope = match kind {
        0 => FlushScope {
            page: Some(GuestVirtAddr(addr)),
            asid,
        },
        1 => FlushScope { page: None, asid },
        _ => EVERYTHING,
    };
    cpu.env.flush(scope);
    cpu.env.state_changed();
    Ok(0)
}

/// `invalidate_caches`: INVD, WBINVD.
pub(super) fn invalidate_caches(_: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    Ok(0)
}
