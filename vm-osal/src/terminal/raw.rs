//! Raw mode: bytes go through as they are typed.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

/// The terminal in raw mode, and what it was before.
struct Changed {
    fd: OwnedFd,
    before: Termios,
}

/// For [`restore`]; null while no terminal is in raw mode. Whoever takes the pointer owns what it leads to. It is no
/// lock, since a signal's handler needs it, too.
static CHANGED: AtomicPtr<Changed> = AtomicPtr::new(ptr::null_mut());

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    isatty(fd)
}

/// Columns and rows of a terminal, if it knows them.
pub fn size(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(fd).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
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
        let fd = fd.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&fd)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= before.output_modes & OutputModes::OPOST;
        let terminal = fd.try_clone()?;
        let changed = Box::into_raw(Box::new(Changed { fd, before }));
        let none = ptr::null_mut();
        if CHANGED
            .compare_exchange(none, changed, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: it comes from Box::into_raw and was not handed over.
            drop(unsafe { Box::from_raw(changed) });
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let entered = Self(());
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(entered)
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
    let changed = put_back();
    if !changed.is_null() {
        // SAFETY: it comes from Box::into_raw, and whoever takes it out of CHANGED owns it.
        drop(unsafe { Box::from_raw(changed) });
    }
}

/// The same within a signal's handler, which must not free memory.
pub(super) fn restore_in_handler() {
    put_back();
}

fn put_back() -> *mut Changed {
    let changed = CHANGED.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: what CHANGED led to is whole, and nobody else has it now.
    if let Some(Changed { fd, before }) = unsafe { changed.as_ref() } {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(fd, OptionalActions::Now, before);
    }
    changed
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
