//! Bytes that stay in their file until they are copied to guest memory.
//!
//! A kernel and an installer's RAM disk are some 70 MB, and each reset needs them again; held in this process
//! they would double what a small guest costs.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes in a file or in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct Content {
    source: Source,
    start: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Arc<Vec<u8>>),
    File(Arc<Mutex<File>>),
}

impl Content {
    /// The first `bytes` bytes of a regular file.
    pub(crate) fn from_file(file: File, bytes: u64) -> Self {
        Self {
            source: Source::File(Arc::new(Mutex::new(file))),
            start: 0,
            bytes,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// A part of the bytes, or `None` when they end before it does.
    pub fn slice(&self, range: Range<u64>) -> Option<Self> {
        let bytes = range.end.checked_sub(range.start)?;
        (range.end <= self.bytes).then(|| Self {
            source: self.source.clone(),
            start: self.start + range.start,
            bytes,
        })
    }

    /// Reads bytes from offset `at` on. Returns how many, fewer than asked for only at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or became shorter.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.saturating_sub(at).min(into.len() as u64) as usize;
        let into = &mut into[..count];
        match &self.source {
            Source::Memory(all) => {
                let from = (self.start + at.min(self.bytes)) as usize;
                into.copy_from_slice(&all[from..from + count]);
            }
            Source::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(self.start + at.min(self.bytes)))?;
                file.read_exact(into)?;
            }
        }
        Ok(count)
    }

    /// The first bytes, at most `max` of them.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn head(&self, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes.min(max as u64) as usize];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// All bytes, one after the other.
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader {
            content: self,
            at: 0,
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(all: Vec<u8>) -> Self {
        let bytes = all.len() as u64;
        Self {
            source: Source::Memory(Arc::new(all)),
            start: 0,
            bytes,
        }
    }
}

/// Reads a [`Content`] from its start.
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(self.at, into)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn both(bytes: &[u8]) -> [Content; 2] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        [
            bytes.to_vec().into(),
            Content::from_file(file, bytes.len() as u64),
        ]
    }

    #[test]
    fn read_at_and_slice_agree_for_file_and_memory() {
        for content in both(b"0123456789") {
            let part = content.slice(2..7).unwrap();
            let mut into = [0; 4];
            assert_eq!(part.read_at(1, &mut into).unwrap(), 4);
            assert_eq!(&into, b"3456");
            assert_eq!(part.read_at(3, &mut into).unwrap(), 2);
            assert_eq!(&into[..2], b"56");
            assert_eq!(part.read_at(u64::MAX, &mut into).unwrap(), 0);
            assert_eq!(part.slice(1..3).unwrap().head(9).unwrap(), b"34");
            let mut all = Vec::new();
            part.reader().read_to_end(&mut all).unwrap();
            assert_eq!(all, b"23456");
        }
    }

    #[test]
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "a hostile header may hold one"
    )]
    fn slice_beyond_the_end_is_none() {
        for content in both(b"0123456789") {
            assert!(content.slice(5..11).is_none());
            assert!(content.slice(7..6).is_none());
            assert!(content.slice(4..10).unwrap().slice(0..7).is_none());
            assert!(content.slice(10..10).unwrap().is_empty());
        }
    }

    #[test]
    fn read_at_of_a_file_that_shrank_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4).unwrap();
        let content = Content::from_file(file, 8);
        assert!(content.head(8).is_err());
    }
}
