//! The NVM command set (NVM Express 1.4, 6).

use std::io;
use std::sync::Arc;

use vm_core::PAGE_BYTES;
use vm_mem::GuestMemory;

use super::prp::Pages;
use super::queue::Command;
use super::spec::{BLOCK_BYTES, TRANSFER_PAGES, nvm, status};
use crate::block::{BlockBackend, Storage};
use crate::host_room::HostRoom;

/// Bytes that move between host and guest at once.
const BOUNCE_BYTES: usize = 0x4_0000;
/// Bytes of a range of a dataset.
const RANGE_BYTES: usize = 16;

/// The only namespace.
pub(super) struct Namespace {
    pub(super) backend: Arc<dyn BlockBackend>,
    pub(super) room: HostRoom,
    pub(super) serial: String,
}

impl Namespace {
    pub(super) fn blocks(&self) -> u64 {
        self.backend.len() / BLOCK_BYTES
    }

    /// Carries a command out.
    pub(super) fn run(
        &self,
        command: &Command,
        memory: &GuestMemory,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), u16> {
        let flushes_all = command.opcode() == nvm::FLUSH && command.namespace() == u32::MAX;
        if command.namespace() != 1 && !flushes_all {
            return Err(status::BAD_NAMESPACE);
        }
        if command.has_other_layout() {
            return Err(status::BAD_FIELD);
        }
        match command.opcode() {
            nvm::FLUSH => self.flush(),
            nvm::READ | nvm::WRITE => self.transfer(command, memory, goes_on),
            nvm::WRITE_ZEROES => {
                let (offset, bytes) = self.range(command)?;
                self.check_writable()?;
                self.written(goes_on, || {
                    self.backend.write_zeroes(offset, bytes, Storage::Release)
                })
            }
            nvm::DATASET => self.dataset(command, memory),
            _ => Err(status::BAD_OPCODE),
        }
    }

    fn check_writable(&self) -> Result<(), u16> {
        match self.backend.read_only() {
            true => Err(status::READ_ONLY),
            false => Ok(()),
        }
    }

    /// The bytes that a command is about.
    fn range(&self, command: &Command) -> Result<(u64, u64), u16> {
        let count = u64::from(command.argument(12) & 0xffff) + 1;
        let end = command.block().checked_add(count);
        if end.is_none_or(|end| end > self.blocks()) {
            return Err(status::OUT_OF_RANGE);
        }
        Ok((command.block() * BLOCK_BYTES, count * BLOCK_BYTES))
    }

    fn flush(&self) -> Result<(), u16> {
        self.backend.flush().map_err(|_| status::WRITE_FAULT)
    }

    fn written(
        &self,
        goes_on: &dyn Fn() -> bool,
        work: impl FnMut() -> io::Result<()>,
    ) -> Result<(), u16> {
        let wait = |time| {
            std::thread::sleep(time);
            goes_on()
        };
        self.room
            .await_room(wait, work)
            .map_err(|_| status::WRITE_FAULT)
    }

    fn transfer(
        &self,
        command: &Command,
        memory: &GuestMemory,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), u16> {
        let (mut offset, bytes) = self.range(command)?;
        if bytes > PAGE_BYTES << TRANSFER_PAGES {
            return Err(status::BAD_FIELD);
        }
        let writes = command.opcode() == nvm::WRITE;
        if writes {
            self.check_writable()?;
        }
        let mut pages = Pages::new(memory, command.pages(), bytes);
        let mut left = bytes as usize;
        let mut bounce = vec![0; left.min(BOUNCE_BYTES)];
        while left > 0 && goes_on() {
            let part = &mut bounce[..left.min(BOUNCE_BYTES)];
            if writes {
                pages.read(part)?;
                self.written(goes_on, || self.backend.write_at(offset, part))?;
            } else {
                self.backend
                    .read_at(offset, part)
                    .map_err(|_| status::READ_FAULT)?;
                pages.write(part)?;
            }
            offset += part.len() as u64;
            left -= part.len();
        }
        if writes && command.argument(12) & nvm::FORCE_ACCESS != 0 {
            self.flush()?;
        }
        Ok(())
    }

    fn dataset(&self, command: &Command, memory: &GuestMemory) -> Result<(), u16> {
        if command.argument(11) & nvm::DEALLOCATE == 0 {
            return Ok(());
        }
        self.check_writable()?;
        let count = (command.argument(10) & 0xff) as usize + 1;
        let mut ranges = vec![0; count * RANGE_BYTES];
        Pages::new(memory, command.pages(), ranges.len() as u64).read(&mut ranges)?;
        for range in ranges.as_chunks::<RANGE_BYTES>().0 {
            let range = u128::from_le_bytes(*range);
            let (blocks, first) = (u64::from((range >> 32) as u32), (range >> 64) as u64);
            let end = first.checked_add(blocks);
            if end.is_none_or(|end| end > self.blocks()) {
                return Err(status::OUT_OF_RANGE);
            }
            self.backend
                .discard(first * BLOCK_BYTES, blocks * BLOCK_BYTES)
                .map_err(|_| status::WRITE_FAULT)?;
        }
        Ok(())
    }
}
