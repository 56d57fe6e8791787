//! Submission and completion queues (NVM Express 1.4, 4.1).

use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use super::spec::{COMMAND_BYTES, COMPLETION_BYTES};

/// A submission queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Submission {
    pub(super) base: u64,
    pub(super) entries: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// Its completion queue.
    pub(super) completion: usize,
}

/// A completion queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Completion {
    pub(super) base: u64,
    pub(super) entries: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// What the phase bit of new entries is.
    pub(super) phase: bool,
    /// The vector that it interrupts by, if it does.
    pub(super) vector: Option<u16>,
}

/// A command (4.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Command(pub(super) [u32; 16]);

impl Command {
    pub(super) fn opcode(&self) -> u8 {
        self.0[0] as u8
    }
    pub(super) fn identifier(&self) -> u16 {
        (self.0[0] >> 16) as u16
    }
    pub(super) fn namespace(&self) -> u32 {
        self.0[1]
    }
    fn wide(&self, at: usize) -> u64 {
        u64::from(self.0[at]) | u64::from(self.0[at + 1]) << 32
    }
    /// The two entries that say where data are.
    pub(super) fn pages(&self) -> [u64; 2] {
        [self.wide(6), self.wide(8)]
    }
    /// The first block of a read or write.
    pub(super) fn block(&self) -> u64 {
        self.wide(10)
    }
    /// Double word `number`, from 10 on.
    pub(super) fn argument(&self, number: usize) -> u32 {
        self.0[number]
    }
    /// Whether data are described by something else than pages.
    pub(super) fn has_other_layout(&self) -> bool {
        self.0[0] >> 14 & 3 != 0
    }
}

impl Submission {
    pub(super) fn new(base: u64, entries: u32, completion: usize) -> Self {
        Self {
            base,
            entries,
            head: 0,
            tail: 0,
            completion,
        }
    }

    pub(super) fn has_work(&self) -> bool {
        self.head != self.tail
    }

    /// Takes the next command; `None` when it is in no RAM, and counts as taken.
    pub(super) fn take(&mut self, memory: &GuestMemory) -> Option<Command> {
        let at = self.base.wrapping_add(u64::from(self.head) * COMMAND_BYTES);
        self.head = (self.head + 1) % self.entries.max(1);
        let mut bytes = [0; COMMAND_BYTES as usize];
        memory.read(GuestPhysAddr(at), &mut bytes).ok()?;
        let words = bytes.as_chunks().0;
        Some(Command(std::array::from_fn(|word| {
            u32::from_le_bytes(words[word])
        })))
    }
}

impl Completion {
    pub(super) fn new(base: u64, entries: u32, vector: Option<u16>) -> Self {
        Self {
            base,
            entries,
            head: 0,
            tail: 0,
            phase: true,
            vector,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        (self.tail + 1) % self.entries.max(1) == self.head
    }

    /// Whether the guest has entries to look at.
    pub(super) fn has_news(&self) -> bool {
        self.head != self.tail
    }

    /// Adds an entry; false when its place is no RAM.
    pub(super) fn post(
        &mut self,
        memory: &GuestMemory,
        result: u32,
        from: (usize, u32),
        identifier: u16,
        status: u16,
    ) -> bool {
        let (queue, head) = from;
        let at = self
            .base
            .wrapping_add(u64::from(self.tail) * COMPLETION_BYTES);
        // The phase bit is in the last double word, which is written last (4.6).
        let last = u32::from(identifier) | u32::from(self.phase) << 16 | u32::from(status) << 17;
        let words = [result, 0, head | (queue as u32) << 16];
        let mut bytes = [0; 12];
        for (part, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *part = word.to_le_bytes();
        }
        self.tail += 1;
        if self.tail >= self.entries {
            self.tail = 0;
            self.phase = !self.phase;
        }
        let body = memory.write(GuestPhysAddr(at), &bytes);
        let end = memory.write(GuestPhysAddr(at.wrapping_add(12)), &last.to_le_bytes());
        body.is_ok() && end.is_ok()
    }
}
