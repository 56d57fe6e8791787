//! The memory of a command: its regions, walked once from their beginning (AHCI 1.3.1, 4.2.3.3).

use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use super::spec::list::{REGION_BYTES, REGION_LENGTH};

/// Memory that a command names is not RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BusFault;

/// Where data go, or come from.
pub(super) struct Regions<'a> {
    memory: &'a GuestMemory,
    next: GuestPhysAddr,
    left: u32,
    /// What is left of the region that was begun.
    at: GuestPhysAddr,
    bytes: u64,
    /// Bytes that were moved.
    pub(super) moved: u32,
}

impl<'a> Regions<'a> {
    /// The `count` regions described from `table` on.
    pub(super) fn new(memory: &'a GuestMemory, table: GuestPhysAddr, count: u32) -> Self {
        Self {
            memory,
            next: table,
            left: count,
            at: GuestPhysAddr(0),
            bytes: 0,
            moved: 0,
        }
    }

    /// The next piece of at most `most` bytes; `None` at the end.
    fn piece(&mut self, most: usize) -> Result<Option<(GuestPhysAddr, usize)>, BusFault> {
        while self.bytes == 0 {
            if self.left == 0 {
                return Ok(None);
            }
            let mut entry = [0; REGION_BYTES as usize];
            self.memory
                .read(self.next, &mut entry)
                .map_err(|_| BusFault)?;
            let entry = u128::from_le_bytes(entry);
            self.next = self.next.wrapping_add(REGION_BYTES);
            self.left -= 1;
            self.at = GuestPhysAddr(entry as u64);
            self.bytes = u64::from((entry >> 96) as u32 & REGION_LENGTH) + 1;
        }
        let bytes = self.bytes.min(most as u64);
        let piece = (self.at, bytes as usize);
        self.at = self.at.wrapping_add(bytes);
        self.bytes -= bytes;
        self.moved = self.moved.saturating_add(bytes as u32);
        Ok(Some(piece))
    }

    /// Moves `data` to the guest; what does not fit is dropped.
    pub(super) fn write(&mut self, mut data: &[u8]) -> Result<(), BusFault> {
        while !data.is_empty()
            && let Some((at, bytes)) = self.piece(data.len())?
        {
            let (now, later) = data.split_at(bytes);
            self.memory.write(at, now).map_err(|_| BusFault)?;
            data = later;
        }
        Ok(())
    }

    /// Moves data from the guest; gives how many there were.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, BusFault> {
        let mut done = 0;
        while done < into.len()
            && let Some((at, bytes)) = self.piece(into.len() - done)?
        {
            let part = &mut into[done..done + bytes];
            self.memory.read(at, part).map_err(|_| BusFault)?;
            done += bytes;
        }
        Ok(done)
    }
}
