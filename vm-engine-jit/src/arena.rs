//! Where host code lives: executable memory in chunks that are filled one after the other and used again when all
//! code in them is gone.

#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use vm_engine::tier::HostPlace;
use vm_osal::ExecutableMemory;

use crate::asm::DISPLACEMENT_BYTES;

/// Bytes of a chunk, the most that one block's code may take.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// Blocks start at multiples of this.
const ALIGN: usize = 16;

#[derive(Debug)]
struct Chunks {
    /// Pieces of code alive in each chunk.
    live: Vec<u32>,
    free: Vec<usize>,
    current: usize,
    used: usize,
}

/// Executable memory to put code into.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: ExecutableMemory,
    chunks: Mutex<Chunks>,
}

/// A place for code in the arena, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    arena: Arc<Arena>,
    offset: usize,
    bytes: usize,
}

impl Arena {
    /// Manages executable memory; a remainder of less than a chunk is not used.
    pub(crate) fn new(memory: ExecutableMemory) -> Arc<Self> {
        let count = memory.bytes() / CHUNK_BYTES;
        let mut free: Vec<usize> = (0..count).rev().collect();
        let current = free.pop().unwrap_or(0);
        let used = if count == 0 { CHUNK_BYTES } else { 0 };
        Arc::new(Self {
            memory,
            chunks: Mutex::new(Chunks {
                live: vec![0; count.max(1)],
                free,
                current,
                used,
            }),
        })
    }

    /// A place for `bytes` bytes, or `None` when all chunks hold code.
    pub(crate) fn allocate(self: &Arc<Self>, bytes: usize) -> Option<Piece> {
        let bytes = bytes.next_multiple_of(ALIGN);
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > CHUNK_BYTES {
            return None;
        }
        if chunks.used + bytes > CHUNK_BYTES {
            if chunks.live[chunks.current] != 0 || chunks.used == 0 {
                let next = chunks.free.pop()?;
                self.memory
                    .drop_writable_pages(chunks.current * CHUNK_BYTES, CHUNK_BYTES);
                chunks.current = next;
            }
            chunks.used = 0;
        }
        if chunks.used == 0 {
            self.memory
                .populate(chunks.current * CHUNK_BYTES, CHUNK_BYTES);
        }
        let current = chunks.current;
        let offset = current * CHUNK_BYTES + chunks.used;
        chunks.used += bytes;
        chunks.live[current] += 1;
        Some(Piece {
            arena: self.clone(),
            offset,
            bytes,
        })
    }
}

impl Piece {
    /// Where its code is executed.
    pub(crate) fn address(&self) -> u64 {
        self.arena.memory.address(self.offset)
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the code there. Nobody knows the address yet, which is why this takes the piece by mutable reference.
    pub(crate) fn fill(&mut self, code: &[u8]) {
        assert!(
            code.len() <= self.bytes,
            "invariant: the piece was made for the code"
        );
        // SAFETY: the range is this piece's alone, and nobody executes a piece before it is filled.
        unsafe { self.arena.memory.write(self.offset, code) }
    }
}

impl HostPlace for Piece {
    fn link(&self, at: u32, target: u64) {
        let behind = self.address() + u64::from(at) + u64::from(DISPLACEMENT_BYTES);
        let displacement = target.wrapping_sub(behind) as i64;
        let displacement = i32::try_from(displacement).expect("invariant: one arena");
        let at = at as usize;
        assert!(
            at + DISPLACEMENT_BYTES as usize <= self.bytes,
            "invariant: the jump is of this piece"
        );
        // SAFETY: the word is the displacement of a jump, which has led out of the block and now leads to another one,
        // which is dropped no sooner.
        unsafe {
            let place = self.offset + at;
            self.arena.memory.replace(place, displacement as u32);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut chunks = self
            .arena
            .chunks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let chunk = self.offset / CHUNK_BYTES;
        chunks.live[chunk] -= 1;
        if chunks.live[chunk] == 0 && chunk != chunks.current {
            chunks.free.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arena_full_of_live_code_refuses_and_takes_chunks_back() {
        let memory = ExecutableMemory::new(2 * CHUNK_BYTES).expect("this host allows it");
        let arena = Arena::new(memory);
        let first = arena.allocate(CHUNK_BYTES).unwrap();
        let second = arena.allocate(CHUNK_BYTES - 1).unwrap();
        assert_ne!(first.address(), second.address());
        assert!(arena.allocate(1).is_none());
        let place = first.address();
        drop(first);
        let third = arena.allocate(10).unwrap();
        assert_eq!(third.address(), place);
        assert_eq!(third.bytes(), 16);
        drop(second);
        let fourth = arena.allocate(10).unwrap();
        assert_eq!(fourth.address(), place + 16);
        assert!(arena.allocate(CHUNK_BYTES + 1).is_none());
    }
}
