//! The memory of a command: physical region pages (NVM Express 1.4, 4.3).

use vm_core::{GuestPhysAddr, PAGE_BYTES};
use vm_mem::GuestMemory;

use super::spec::status;

/// Entries of a page of the list.
const LIST_ENTRIES: u64 = PAGE_BYTES / 8;

/// Walks the pages of a command from its beginning.
pub(super) struct Pages<'a> {
    memory: &'a GuestMemory,
    /// What is left of the page that was begun.
    at: u64,
    bytes: u64,
    second: u64,
    /// Bytes of the command that lie behind the page that was begun.
    left: u64,
    /// Where the next entry of the list is, once there is one.
    list: Option<u64>,
}

impl<'a> Pages<'a> {
    /// Of a command of `bytes` bytes with its two entries.
    pub(super) fn new(memory: &'a GuestMemory, entries: [u64; 2], bytes: u64) -> Self {
        let first = (PAGE_BYTES - entries[0] % PAGE_BYTES).min(bytes);
        let left = bytes - first;
        // More than one further page: the second entry is a list.
        let list = (left > PAGE_BYTES).then_some(entries[1]);
        Self {
            memory,
            at: entries[0],
            bytes: first,
            second: entries[1],
            left,
            list,
        }
    }

    fn next_entry(&mut self) -> Result<u64, u16> {
        let Some(at) = self.list else {
            return Ok(self.second);
        };
        let read = |at: u64| {
            let mut entry = [0; 8];
            self.memory
                .read(GuestPhysAddr(at & !7), &mut entry)
                .map_err(|_| status::TRANSFER)?;
            Ok(u64::from_le_bytes(entry))
        };
        let last_of_page = at / 8 % LIST_ENTRIES == LIST_ENTRIES - 1;
        if last_of_page && self.left > PAGE_BYTES {
            // The last entry of a full page leads to the next.
            let next = read(at)?;
            self.list = Some((next & !7).wrapping_add(8));
            return read(next);
        }
        self.list = Some(at.wrapping_add(8));
        read(at)
    }

    fn piece(&mut self, most: usize) -> Result<Option<(GuestPhysAddr, usize)>, u16> {
        if self.bytes == 0 {
            if self.left == 0 {
                return Ok(None);
            }
            let entry = self.next_entry()?;
            if !entry.is_multiple_of(PAGE_BYTES) {
                return Err(status::BAD_OFFSET);
            }
            self.at = entry;
            self.bytes = self.left.min(PAGE_BYTES);
            self.left -= self.bytes;
        }
        let bytes = self.bytes.min(most as u64);
        let piece = (GuestPhysAddr(self.at), bytes as usize);
        self.at = self.at.wrapping_add(bytes);
        self.bytes -= bytes;
        Ok(Some(piece))
    }

    /// Moves `data` to the guest; what does not fit is dropped.
    pub(super) fn write(&mut self, mut data: &[u8]) -> Result<(), u16> {
        while !data.is_empty()
            && let Some((at, bytes)) = self.piece(data.len())?
        {
            let (now, later) = data.split_at(bytes);
            self.memory.write(at, now).map_err(|_| status::TRANSFER)?;
            data = later;
        }
        Ok(())
    }

    /// Fills `into` from the guest, as far as there is something.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<(), u16> {
        let mut done = 0;
        while done < into.len()
            && let Some((at, bytes)) = self.piece(into.len() - done)?
        {
            let part = &mut into[done..done + bytes];
            self.memory.read(at, part).map_err(|_| status::TRANSFER)?;
            done += bytes;
        }
        Ok(())
    }
}
