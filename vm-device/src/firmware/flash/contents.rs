//! The cells of a flash bank.

use std::sync::atomic::{AtomicBool, Ordering};

use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use super::{FlashError, FlashStore};

/// What the sectors hold. Sectors that were never programmed take no host memory.
pub(super) struct Contents {
    memory: GuestMemory,
    base: GuestPhysAddr,
    bytes: u64,
    sector_bytes: u64,
    /// Sectors that are erased; their memory may still be zero.
    erased: Box<[AtomicBool]>,
    store: Option<Box<dyn FlashStore>>,
}

impl Contents {
    pub(super) fn new(
        base: GuestPhysAddr,
        bytes: u64,
        sector_bytes: u64,
        image: &[u8],
        store: Option<Box<dyn FlashStore>>,
    ) -> Result<Self, FlashError> {
        let memory = GuestMemory::new(&[(base, bytes)])?;
        let erased = (0..bytes / sector_bytes)
            .map(|_| AtomicBool::new(true))
            .collect();
        let contents = Self {
            memory,
            base,
            bytes,
            sector_bytes,
            erased,
            store,
        };
        for (sector, part) in image.chunks(sector_bytes as usize).enumerate() {
            if part.iter().any(|&cell| cell != 0xff) {
                contents.fill(sector as u64, part)?;
            }
        }
        Ok(contents)
    }

    pub(super) fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn sector_bytes(&self) -> u64 {
        self.sector_bytes
    }

    fn is_erased(&self, sector: u64) -> bool {
        self.erased
            .get(sector as usize)
            .is_none_or(|erased| erased.load(Ordering::Acquire))
    }

    /// Gives a sector new cells: `part`, then erased ones.
    fn fill(&self, sector: u64, part: &[u8]) -> Result<(), FlashError> {
        let mut cells = vec![0xff; self.sector_bytes as usize];
        cells[..part.len()].copy_from_slice(part);
        self.memory
            .write(self.base + sector * self.sector_bytes, &cells)?;
        self.erased[sector as usize].store(false, Ordering::Release);
        Ok(())
    }

    /// Reads cells; those outside the bank read as erased.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        let first = offset / self.sector_bytes;
        let last = (offset + into.len() as u64).saturating_sub(1) / self.sector_bytes;
        if first != last {
            for (at, byte) in (offset..).zip(into) {
                self.read(at, std::slice::from_mut(byte));
            }
        } else if self.is_erased(first) || self.memory.read(self.base + offset, into).is_err() {
            into.fill(0xff);
        }
    }

    /// Clears the bits of cells that are clear in `with` (programming cannot set any). False when the cells are
    /// not in the bank or could not be stored.
    pub(super) fn program(&self, offset: u64, with: &[u8]) -> bool {
        if offset
            .checked_add(with.len() as u64)
            .is_none_or(|end| end > self.bytes)
        {
            return false;
        }
        let sectors =
            offset / self.sector_bytes..=(offset + with.len() as u64 - 1) / self.sector_bytes;
        for sector in sectors {
            if self.is_erased(sector) && self.fill(sector, &[]).is_err() {
                return false;
            }
        }
        let mut cells = vec![0; with.len()];
        self.read(offset, &mut cells);
        for (cell, with) in cells.iter_mut().zip(with) {
            *cell &= with;
        }
        self.stored(offset, &cells) && self.memory.write(self.base + offset, &cells).is_ok()
    }

    /// Erases the sector that holds `offset`. False when it could not be stored.
    pub(super) fn erase(&self, offset: u64) -> bool {
        let sector = offset / self.sector_bytes;
        let start = sector * self.sector_bytes;
        let cells = vec![0xff; self.sector_bytes as usize];
        let Some(erased) = self.erased.get(sector as usize) else {
            return false;
        };
        if !self.stored(start, &cells) {
            return false;
        }
        // Whoever fetches from the memory directly must not see the old cells; a sector that never was
        // programmed has none.
        if !erased.load(Ordering::Acquire) && self.memory.write(self.base + start, &cells).is_err()
        {
            return false;
        }
        erased.store(true, Ordering::Release);
        true
    }

    fn stored(&self, offset: u64, cells: &[u8]) -> bool {
        self.store
            .as_ref()
            .is_none_or(|store| store.write(offset, cells).is_ok())
    }

    /// (number, cells) of every sector that is not erased.
    pub(super) fn sectors(&self) -> Vec<(u32, Vec<u8>)> {
        let programmed = (0..self.erased.len() as u64).filter(|&sector| !self.is_erased(sector));
        programmed
            .map(|sector| {
                let mut cells = vec![0; self.sector_bytes as usize];
                self.read(sector * self.sector_bytes, &mut cells);
                (sector as u32, cells)
            })
            .collect()
    }

    /// Takes the place of all sectors; those not named are erased. False when they could not be stored.
    pub(super) fn replace(&self, sectors: &[(u32, Vec<u8>)]) -> bool {
        let erased = (0..self.erased.len() as u64)
            .filter(|&sector| !self.is_erased(sector))
            .all(|sector| self.erase(sector * self.sector_bytes));
        erased
            && sectors
                .iter()
                .all(|(sector, cells)| self.program(u64::from(*sector) * self.sector_bytes, cells))
    }
}
