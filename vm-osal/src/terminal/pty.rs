//! Pseudo-terminals.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// A new pseudo-terminal in raw mode. Programs open its [path](Pty::path); this end is a file.
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

    /// This end.
    pub fn end(&self) -> &File {
        &self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn pty_carries_bytes_unchanged_both_ways() {
        let pty = Pty::open().unwrap();
        let mut program = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(pty.path())
            .unwrap();
        let mut bytes = [0; 4];
        pty.end().write_all(b"a\n\x03z").unwrap();
        program.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"a\n\x03z");
        program.write_all(b"\r\n\x04q").unwrap();
        pty.end().read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"\r\n\x04q");
    }
}
