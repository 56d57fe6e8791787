//! One descriptor chain, checked, and cursors over its buffers (VIRTIO 1.3, 2.7.4 and 2.7.5).

use vm_core::GuestPhysAddr;
use vm_mem::GuestRamMap;
use vm_memory::{Bytes, GuestAddress};

use super::queue::RingError;

/// One buffer of a chain. It may lie outside RAM: reading or writing it then fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// First guest-physical address.
    pub addr: GuestPhysAddr,
    /// Length in bytes.
    pub bytes: u32,
}

/// The buffers of one request: those the device reads, then those it writes. Kept between requests so that taking
/// a chain allocates nothing.
#[derive(Debug, Default)]
pub struct Chain {
    /// Index of the first descriptor; names the chain in the used ring.
    pub head: u16,
    /// Device-readable buffers.
    pub readable: Vec<Buffer>,
    /// Device-writable buffers.
    pub writable: Vec<Buffer>,
}

fn total(buffers: &[Buffer]) -> u64 {
    buffers.iter().map(|buffer| u64::from(buffer.bytes)).sum()
}

impl Chain {
    /// An empty chain, to be filled by [`VirtQueue::pop`](super::VirtQueue::pop).
    pub fn new() -> Self {
        Self::default()
    }

    /// A cursor over the bytes the driver gave the device.
    pub fn reader<'a>(&'a self, memory: &'a GuestRamMap) -> ChainReader<'a> {
        ChainReader(Cursor::new(memory, &self.readable))
    }

    /// A cursor over the room the driver gave the device.
    pub fn writer<'a>(&'a self, memory: &'a GuestRamMap) -> ChainWriter<'a> {
        ChainWriter(Cursor::new(memory, &self.writable))
    }
}

/// Walks a list of buffers as one run of bytes.
#[derive(Clone)]
struct Cursor<'a> {
    memory: &'a GuestRamMap,
    buffers: &'a [Buffer],
    /// Bytes of `buffers[0]` that are done.
    within: u32,
    left: u64,
    done: u64,
}

impl<'a> Cursor<'a> {
    fn new(memory: &'a GuestRamMap, buffers: &'a [Buffer]) -> Self {
        Self {
            memory,
            buffers,
            within: 0,
            left: total(buffers),
            done: 0,
        }
    }

    /// Takes the next run of at most `want` bytes within one buffer.
    fn piece(&mut self, want: usize) -> Option<(GuestPhysAddr, usize)> {
        loop {
            let (first, rest) = self.buffers.split_first()?;
            let room = first.bytes - self.within;
            if room == 0 {
                self.buffers = rest;
                self.within = 0;
                continue;
            }
            let bytes = want.min(room as usize);
            // An address past the end of the space is as bad as any that is not RAM.
            let addr = first.addr.checked_add(u64::from(self.within));
            self.within += bytes as u32;
            self.left -= bytes as u64;
            self.done += bytes as u64;
            return Some((addr.unwrap_or(GuestPhysAddr(u64::MAX)), bytes));
        }
    }

    fn each(
        &mut self,
        mut want: usize,
        mut visit: impl FnMut(&GuestRamMap, GuestAddress, usize, usize) -> Result<(), RingError>,
    ) -> Result<usize, RingError> {
        let mut done = 0;
        while want > 0
            && let Some((addr, bytes)) = self.piece(want)
        {
            visit(self.memory, GuestAddress(addr.raw()), done, bytes)?;
            done += bytes;
            want -= bytes;
        }
        Ok(done)
    }
}

fn not_ram(addr: GuestAddress, bytes: usize) -> RingError {
    RingError::NotRam {
        addr: GuestPhysAddr(addr.0),
        bytes: bytes as u64,
    }
}

/// Reads the device-readable part of a chain from front to back.
#[derive(Clone)]
pub struct ChainReader<'a>(Cursor<'a>);

impl ChainReader<'_> {
    /// Bytes not yet read.
    pub fn left(&self) -> u64 {
        self.0.left
    }

    /// Reads until `into` is full or the chain ends; returns the bytes read.
    ///
    /// # Errors
    /// When a buffer is not RAM.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, RingError> {
        self.0.each(into.len(), |memory, addr, at, bytes| {
            memory
                .read_slice(&mut into[at..at + bytes], addr)
                .map_err(|_| not_ram(addr, bytes))
        })
    }

    /// Reads exactly `N` bytes, or `None` when the chain is shorter.
    ///
    /// # Errors
    /// When a buffer is not RAM.
    pub fn read_array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, RingError> {
        let mut bytes = [0; N];
        let got = self.read(&mut bytes)?;
        Ok((got == N).then_some(bytes))
    }
}

/// Writes the device-writable part of a chain from front to back.
#[derive(Clone)]
pub struct ChainWriter<'a>(Cursor<'a>);

impl ChainWriter<'_> {
    /// Bytes of room left.
    pub fn left(&self) -> u64 {
        self.0.left
    }

    /// Bytes written or skipped so far.
    pub fn done(&self) -> u64 {
        self.0.done
    }

    /// Writes until `from` is written or the room is used up; returns the bytes written.
    ///
    /// # Errors
    /// When a buffer is not RAM.
    pub fn write(&mut self, from: &[u8]) -> Result<usize, RingError> {
        self.0.each(from.len(), |memory, addr, at, bytes| {
            memory
                .write_slice(&from[at..at + bytes], addr)
                .map_err(|_| not_ram(addr, bytes))
        })
    }

    /// Passes over `bytes` bytes without writing them; returns the bytes passed.
    pub fn skip(&mut self, bytes: u64) -> u64 {
        let mut left = bytes;
        while left > 0 {
            let Some((_, passed)) = self.0.piece(left.min(u64::from(u32::MAX)) as usize) else {
                break;
            };
            left -= passed as u64;
        }
        bytes - left
    }
}
