//! Raw mode: bytes go through as they are typed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr};

/// The terminal in raw mode and what it was before, for [`restore`].
static CHANGED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    isatty(fd)
}

/// A terminal in raw mode; dropping it restores the terminal. There is at most one in a process.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Puts a terminal into raw mode: no echo, no line editing, no signal keys, no flow control. Output is still
    /// processed, so that a line feed of the host's own messages starts a new line.
    ///
    /// # Errors
    /// When it is no terminal, or another one is in raw mode.
    pub fn enter(fd: impl AsFd) -> io::Result<Self> {
        let mut changed = CHANGED.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let fd = fd.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= before.output_modes & OutputModes::OPOST;
        tcsetattr(&fd, OptionalActions::Now, &raw)?;
        *changed = Some((fd, before));
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal if it is in raw mode. For panic hooks and exits that drop nothing; may be called any number
/// of times.
pub fn restore() {
    let changed = CHANGED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some((fd, before)) = changed {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(&fd, OptionalActions::Now, &before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Pty;
    use rustix::termios::LocalModes;

    /// One test: there is one raw terminal in a process.
    #[test]
    fn raw_mode_is_undone_by_drop_and_by_restore() {
        let pty = Pty::open().unwrap();
        let terminal = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(pty.path())
            .unwrap();
        let mut cooked = tcgetattr(&terminal).unwrap();
        cooked.local_modes |= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Now, &cooked).unwrap();
        let is_raw = || {
            !tcgetattr(&terminal)
                .unwrap()
                .local_modes
                .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
        };
        let raw = RawMode::enter(&terminal).unwrap();
        assert!(is_raw());
        assert!(RawMode::enter(&terminal).is_err(), "two at once");
        drop(raw);
        assert!(!is_raw());
        let raw = RawMode::enter(&terminal).unwrap();
        restore();
        assert!(!is_raw());
        drop(raw);
        assert!(!is_raw());
    }

    #[test]
    fn raw_mode_of_a_file_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_terminal(&file));
        assert!(RawMode::enter(&file).is_err());
    }
}
