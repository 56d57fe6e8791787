//! 32-bit, PAE, 4-level and 5-level paging (Intel SDM 3A, chapter 5 of 325462-086: 5.3 to 5.8).

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_SHIFT};

use super::{Access, Leaf};
use crate::PhysMemory;

/// Which tables there are (Intel SDM 3A, 5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tables {
    /// 32-bit paging: two levels of four-byte entries.
    Bits32 {
        /// The directory.
        root: GuestPhysAddr,
        /// CR4.PSE: directory entries may map 4 MiB.
        pse: bool,
    },
    /// PAE paging: the entries of the top level are registers.
    Pae([u64; 4]),
    /// 4-level paging.
    Four(GuestPhysAddr),
    /// 5-level paging.
    Five(GuestPhysAddr),
}

/// Everything that decides a translation besides memory.
#[derive(Clone, Copy, Debug)]
pub struct X86Walk {
    /// The tables.
    pub tables: Tables,
    /// Bits of a physical address; those above are reserved.
    pub phys_bits: u32,
    /// The access is a user-mode one, else a supervisor-mode one.
    pub user: bool,
    /// CR0.WP: supervisor-mode writes obey R/W.
    pub write_protect: bool,
    /// IA32_EFER.NXE: bit 63 forbids fetches; otherwise it is reserved.
    pub no_execute: bool,
    /// CR4.SMEP: no supervisor-mode fetches from user-mode pages.
    pub smep: bool,
    /// No supervisor-mode data accesses to user-mode pages (CR4.SMAP, and RFLAGS.AC does not lift it).
    pub smap: bool,
    /// CR4.PGE: the G bit counts.
    pub global_pages: bool,
    /// Entries of the third level may map 1 GiB.
    pub gib_pages: bool,
}

/// A page fault, by its error code (Intel SDM 3A, 5.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault(pub u32);

/// Bits of the error code.
pub mod error {
    /// The page is present: it is the rights that lack.
    pub const PRESENT: u32 = 1 << 0;
    /// A write.
    pub const WRITE: u32 = 1 << 1;
    /// A user-mode access.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit is set in an entry.
    pub const RESERVED: u32 = 1 << 3;
    /// A fetch.
    pub const FETCH: u32 = 1 << 4;
}

mod pte {
    //! Bits of an entry (Intel SDM 3A, figures 5-4 and 5-11).
    pub(super) const P: u64 = 1 << 0;
    pub(super) const W: u64 = 1 << 1;
    pub(super) const U: u64 = 1 << 2;
    pub(super) const A: u64 = 1 << 5;
    pub(super) const D: u64 = 1 << 6;
    pub(super) const PS: u64 = 1 << 7;
    pub(super) const G: u64 = 1 << 8;
    pub(super) const XD: u64 = 1 << 63;
    /// Of eight-byte entries: the highest physical address there can be.
    pub(super) const ADDR: u64 = 0x000f_ffff_ffff_f000;
    /// Ignored in 4-level and 5-level paging, reserved in PAE paging.
    pub(super) const AVAILABLE: u64 = 0x7ff << 52;
}

/// Turns of a walk, which starts anew when another processor changes an entry, after which entries that cannot be updated
/// are taken as they are (a table in read-only memory).
const ATTEMPTS: u32 = 16;

/// Why one turn of a walk came to nothing.
enum Stop {
    Fault(PageFault),
    Raced,
}

/// What the entries so far allow.
#[derive(Clone, Copy)]
struct Rights {
    write: bool,
    user: bool,
    no_execute: bool,
}

/// One turn of a walk.
struct Turn<'a> {
    walk: &'a X86Walk,
    memory: &'a dyn PhysMemory,
    access: Access,
    rights: Rights,
    /// Entries that cannot be updated are taken as they are.
    lenient: bool,
}

/// Translates `addr` for `access`, setting accessed bits on the way and the dirty bit for a write. The address is
/// canonical, or below 4 GiB where it has 32 bits.
///
/// # Errors
/// The page fault.
pub fn translate(
    walk: &X86Walk,
    memory: &dyn PhysMemory,
    addr: GuestVirtAddr,
    access: Access,
) -> Result<Leaf, PageFault> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut turn = Turn {
            walk,
            memory,
            access,
            rights: Rights {
                write: true,
                user: true,
                no_execute: false,
            },
            lenient: attempts > ATTEMPTS,
        };
        match turn.run(addr.raw()) {
            Ok(leaf) => return Ok(leaf),
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Raced) => {}
        }
    }
}

impl Turn<'_> {
    fn run(&mut self, addr: u64) -> Result<Leaf, Stop> {
        match self.walk.tables {
            Tables::Bits32 { root, pse } => self.bits32(addr, root, pse),
            Tables::Pae(entries) => {
                let entry = entries[(addr >> 30 & 3) as usize];
                if entry & pte::P == 0 {
                    return Err(self.fault(0));
                }
                self.wide(addr, 1, GuestPhysAddr(entry & pte::ADDR), pte::AVAILABLE)
            }
            Tables::Four(root) => self.wide(addr, 3, root, 0),
            Tables::Five(root) => self.wide(addr, 4, root, 0),
        }
    }

    /// A fault with `bits` besides those that the access itself gives.
    fn fault(&self, bits: u32) -> Stop {
        let walk = self.walk;
        let write = match self.access {
            Access::Write => error::WRITE,
            Access::Execute if walk.no_execute || walk.smep => error::FETCH,
            Access::Read | Access::Execute => 0,
        };
        let user = if walk.user { error::USER } else { 0 };
        Stop::Fault(PageFault(bits | write | user))
    }

    /// Walks eight-byte entries from `level` on (0: page tables).
    fn wide(
        &mut self,
        addr: u64,
        level: u32,
        root: GuestPhysAddr,
        reserved: u64,
    ) -> Result<Leaf, Stop> {
        let above = pte::ADDR & (u64::MAX << self.walk.phys_bits);
        let no_execute = if self.walk.no_execute { 0 } else { pte::XD };
        let reserved = above | no_execute | reserved;
        let mut table = root;
        let mut level = level;
        loop {
            let shift = PAGE_SHIFT + 9 * level;
            let at = table + (addr >> shift & 0x1ff) * 8;
            let entry = self.memory.read_u64(at).unwrap_or(u64::MAX);
            if entry & pte::P == 0 {
                return Err(self.fault(0));
            }
            let large = entry & pte::PS != 0 && level > 0;
            let sizes = match level {
                1 => true,
                2 => self.walk.gib_pages,
                _ => false,
            };
            let leaf = level == 0 || large && sizes;
            // Address bits below the page, but bit 12, which is PAT in entries of large pages.
            let below = if large && leaf {
                (1 << shift) - (1 << 13)
            } else {
                0
            };
            if entry & (reserved | below) != 0 || large && !sizes {
                return Err(self.fault(error::PRESENT | error::RESERVED));
            }
            self.note(entry);
            if leaf {
                let swap = |new| {
                    self.memory.compare_exchange_u64(at, entry, new) || self.is_stuck(at, entry)
                };
                return self.leaf(addr, entry, entry & pte::ADDR, shift, swap);
            }
            if entry & pte::A == 0
                && !self.memory.compare_exchange_u64(at, entry, entry | pte::A)
                && !self.is_stuck(at, entry)
            {
                return Err(Stop::Raced);
            }
            table = GuestPhysAddr(entry & pte::ADDR);
            level -= 1;
        }
    }

    /// Walks the two levels of four-byte entries.
    fn bits32(&mut self, addr: u64, root: GuestPhysAddr, pse: bool) -> Result<Leaf, Stop> {
        let mut table = root;
        for shift in [22, 12] {
            let at = table + (addr >> shift & 0x3ff) * 4;
            let entry = self.memory.read_u32(at).unwrap_or(u32::MAX);
            let bits = u64::from(entry);
            if bits & pte::P == 0 {
                return Err(self.fault(0));
            }
            let large = shift == 22 && pse && bits & pte::PS != 0;
            let mut frame = bits & 0xffff_f000;
            if large {
                // PSE-36 (Intel SDM 3A, 5.3): bits 13 to 20 are address bits 32 to 39, and bit 21 is reserved.
                frame = bits & 0xffc0_0000 | (bits >> 13 & 0xff) << 32;
                if bits & 1 << 21 != 0 || frame >> self.walk.phys_bits != 0 {
                    return Err(self.fault(error::PRESENT | error::RESERVED));
                }
            }
            self.note(bits);
            let swap = |new: u64| {
                self.memory.compare_exchange_u32(at, entry, new as u32)
                    || self.lenient && self.memory.read_u32(at).unwrap_or(u32::MAX) == entry
            };
            if large || shift == 12 {
                return self.leaf(addr, bits, frame, shift, swap);
            }
            if bits & pte::A == 0 && !swap(bits | pte::A) {
                return Err(Stop::Raced);
            }
            table = GuestPhysAddr(frame);
        }
        unreachable!("invariant: entries of the last level are leaves")
    }

    /// Whether an entry that could not be updated is to be taken as it is.
    fn is_stuck(&self, at: GuestPhysAddr, entry: u64) -> bool {
        self.lenient && self.memory.read_u64(at).unwrap_or(u64::MAX) == entry
    }

    /// Takes the rights of one more entry into account.
    fn note(&mut self, entry: u64) {
        self.rights.write &= entry & pte::W != 0;
        self.rights.user &= entry & pte::U != 0;
        self.rights.no_execute |= entry & pte::XD != 0;
    }

    /// Checks rights (Intel SDM 3A, 5.6), updates the entry that maps the page, and gives the translation.
    fn leaf(
        &self,
        addr: u64,
        entry: u64,
        frame: u64,
        shift: u32,
        swap: impl Fn(u64) -> bool,
    ) -> Result<Leaf, Stop> {
        let (walk, rights) = (self.walk, self.rights);
        let data = if walk.user {
            rights.user
        } else {
            !(rights.user && walk.smap)
        };
        let write = data && (rights.write || !walk.user && !walk.write_protect);
        let owner = if walk.user {
            rights.user
        } else {
            !(rights.user && walk.smep)
        };
        let execute = owner && !rights.no_execute;
        let permitted = match self.access {
            Access::Read => data,
            Access::Write => write,
            Access::Execute => execute,
        };
        if !permitted {
            return Err(self.fault(error::PRESENT));
        }
        let dirty = if self.access == Access::Write {
            pte::D
        } else {
            0
        };
        let updated = entry | pte::A | dirty;
        if updated != entry && !swap(updated) {
            return Err(Stop::Raced);
        }
        let low = (1_u64 << shift) - 1;
        let phys = frame & !low | addr & low;
        Ok(Leaf {
            page: GuestPhysAddr(phys).page_base(),
            read: data,
            write,
            execute,
            dirty: updated & pte::D != 0,
            global: walk.global_pages && entry & pte::G != 0,
            span_bytes: low + 1,
        })
    }
}

#[cfg(test)]
mod tests;
