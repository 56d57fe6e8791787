//! Pseudo-terminals.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// How long a write waits for room.
const WRITE_PATIENCE: Duration = Duration::from_millis(500);

/// A new pseudo-terminal in raw mode. Programs open its [path](Pty::path).
#[derive(Debug)]
pub struct Pty {
    end: File,
    path: PathBuf,
    /// Kept open: without anyone at the other end, reading would fail instead of waiting.
    _other_end: OwnedFd,
}

impl Pty {
    /// Makes one.
    ///
    /// # Errors
    /// What the host says.
    pub fn open() -> io::Result<Self> {
        let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&end)?;
        unlockpt(&end)?;
        let name = ptsname(&end, Vec::new())?;
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let other_end = rustix::fs::open(&path, flags, Mode::empty())?;
        let mut modes = tcgetattr(&other_end)?;
        modes.make_raw();
        tcsetattr(&other_end, OptionalActions::Now, &modes)?;
        fcntl_setfl(&end, OFlags::RDWR | OFlags::NONBLOCK)?;
        Ok(Self {
            end: end.into(),
            path,
            _other_end: other_end,
        })
    }

    /// The device that programs open.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for what is typed at the other end.
    ///
    /// # Errors
    /// What the host says.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            crate::wait_readable(&self.end);
            match (&self.end).read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Writes what there is room for; without a reader that is a few thousand bytes. Returns how many bytes that were.
    ///
    /// # Errors
    /// `WouldBlock` when there was no room for half a second, or what the host says.
    pub fn write(&self, from: &[u8]) -> io::Result<usize> {
        crate::wait_writable(&self.end, WRITE_PATIENCE)?;
        (&self.end).write(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pty_carries_bytes_unchanged_both_ways() {
        let pty = Pty::open().unwrap();
        let mut program = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(pty.path())
            .unwrap();
        let mut bytes = [0; 4];
        assert_eq!(pty.write(b"a\n\x03z").unwrap(), 4);
        program.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"a\n\x03z");
        program.write_all(b"\r\n\x04q").unwrap();
        let mut read = 0;
        while read < bytes.len() {
            read += pty.read(&mut bytes[read..]).unwrap();
        }
        assert_eq!(&bytes, b"\r\n\x04q");
    }

    #[test]
    fn pty_that_nobody_reads_takes_some_and_blocks_nobody() {
        let pty = Pty::open().unwrap();
        let mut taken = 0;
        let full = loop {
            match pty.write(&[b'x'; 4096]) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert!((1..1 << 20).contains(&taken), "{taken}");
    }
}
