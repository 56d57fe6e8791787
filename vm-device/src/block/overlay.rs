//! A disk whose writes go to a temporary file and vanish with it (`snapshot=on`).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::{Mutex, MutexGuard};

use vm_osal::file;

use super::raw::DiskError;
use super::{BlockBackend, Storage, check_range, write_zero_bytes};

/// Unit of copying: a write to part of it copies the rest from the base.
const CLUSTER_BYTES: u64 = 4096;
/// Clusters whose bits are allocated together.
const GROUP_CLUSTERS: u64 = 4096;

/// Which clusters the overlay has, in groups that are allocated when first written.
struct Present(Vec<Option<Box<[u64; (GROUP_CLUSTERS / 64) as usize]>>>);

impl Present {
    fn new(clusters: u64) -> Self {
        Self(vec![None; clusters.div_ceil(GROUP_CLUSTERS) as usize])
    }

    fn has(&self, cluster: u64) -> bool {
        let bit = cluster % GROUP_CLUSTERS;
        match self.0.get((cluster / GROUP_CLUSTERS) as usize) {
            Some(Some(words)) => words[(bit / 64) as usize] >> (bit % 64) & 1 != 0,
            _ => false,
        }
    }

    fn set(&mut self, cluster: u64) {
        let bit = cluster % GROUP_CLUSTERS;
        if let Some(group) = self.0.get_mut((cluster / GROUP_CLUSTERS) as usize) {
            group.get_or_insert_with(|| Box::new([0; _]))[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }
}

/// A writable view of a disk that is never changed. What is written lives in an unlinked, sparse temporary file.
pub struct Overlay {
    base: Box<dyn BlockBackend>,
    written: File,
    present: Mutex<Present>,
}

impl Overlay {
    /// An overlay on `base` with its file in `directory` (the host's directory for temporary files when `None`).
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(base: Box<dyn BlockBackend>, directory: Option<&Path>) -> Result<Self, DiskError> {
        let written = match directory {
            Some(directory) => tempfile::tempfile_in(directory),
            None => tempfile::tempfile(),
        }
        .map_err(DiskError::Overlay)?;
        // Holes are part of it from the start: what is discarded without having been written reads as zero.
        written.set_len(base.len()).map_err(DiskError::Overlay)?;
        let clusters = base.len().div_ceil(CLUSTER_BYTES);
        Ok(Self {
            base,
            written,
            present: Mutex::new(Present::new(clusters)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock()
    }

    /// Bytes of the cluster at `start` that the disk has.
    fn cluster_len(&self, start: u64) -> usize {
        (self.base.len() - start).min(CLUSTER_BYTES) as usize
    }

    fn copy_up(&self, present: &mut Present, cluster: u64) -> io::Result<()> {
        if !present.has(cluster) {
            let mut bytes = [0; CLUSTER_BYTES as usize];
            let start = cluster * CLUSTER_BYTES;
            let bytes = &mut bytes[..self.cluster_len(start)];
            self.base.read_at(start, bytes)?;
            self.written.write_all_at(bytes, start)?;
            present.set(cluster);
        }
        Ok(())
    }
}

impl Overlay {
    /// Makes the whole clusters within a range read as zero without storage; returns the range that they cover.
    fn punch(&self, offset: u64, bytes: u64) -> io::Result<Range<u64>> {
        check_range(self.len(), offset, bytes)?;
        let end = offset + bytes;
        let first = offset.next_multiple_of(CLUSTER_BYTES);
        // The last cluster is whole at the end of the disk, too.
        let last = match end == self.len() {
            true => end.next_multiple_of(CLUSTER_BYTES),
            false => end / CLUSTER_BYTES * CLUSTER_BYTES,
        };
        if first >= last {
            return Ok(offset..offset);
        }
        let mut present = self.lock();
        match file::punch_hole(&self.written, first, last - first) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(offset..offset),
            Err(e) => return Err(e),
        }
        (first / CLUSTER_BYTES..last / CLUSTER_BYTES).for_each(|cluster| present.set(cluster));
        Ok(first..last.min(end))
    }
}

impl BlockBackend for Overlay {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        check_range(self.len(), offset, into.len() as u64)?;
        let present = self.lock();
        let mut done = 0;
        // Runs of clusters with the same home are read at once.
        while done < into.len() {
            let at = offset + done as u64;
            let here = present.has(at / CLUSTER_BYTES);
            let mut end = (at / CLUSTER_BYTES + 1) * CLUSTER_BYTES;
            let last = offset + into.len() as u64;
            while end < last && present.has(end / CLUSTER_BYTES) == here {
                end += CLUSTER_BYTES;
            }
            let run = &mut into[done..(end.min(last) - offset) as usize];
            done += run.len();
            match here {
                true => self.written.read_exact_at(run, at)?,
                false => self.base.read_at(at, run)?,
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        check_range(self.len(), offset, from.len() as u64)?;
        if from.is_empty() {
            return Ok(());
        }
        let mut present = self.lock();
        let end = offset + from.len() as u64;
        let (first, last) = (offset / CLUSTER_BYTES, (end - 1) / CLUSTER_BYTES);
        // Only the first and the last cluster can be written in part.
        if !offset.is_multiple_of(CLUSTER_BYTES) {
            self.copy_up(&mut present, first)?;
        }
        if !end.is_multiple_of(CLUSTER_BYTES) && end != self.len() {
            self.copy_up(&mut present, last)?;
        }
        self.written.write_all_at(from, offset)?;
        (first..=last).for_each(|cluster| present.set(cluster));
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, bytes: u64, _: Storage) -> io::Result<()> {
        let done = self.punch(offset, bytes)?;
        write_zero_bytes(self, offset, done.start - offset)?;
        write_zero_bytes(self, done.end, offset + bytes - done.end)
    }

    fn discard(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.punch(offset, bytes).map(drop)
    }

    fn physical_block_bytes(&self) -> u64 {
        self.base.physical_block_bytes()
    }

    fn flush(&self) -> io::Result<()> {
        // What is thrown away needs no durability.
        Ok(())
    }
}
