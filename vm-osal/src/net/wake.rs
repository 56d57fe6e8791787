//! Wakes a thread out of its [`PollSet::wait`](super::PollSet::wait).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The end that wakes; any thread may hold one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<UnixStream>);

/// The end to wait for.
#[derive(Debug)]
pub struct Wakeups(UnixStream);

/// A pair of ends.
///
/// # Errors
/// When the host has no descriptor left.
pub fn wake_pair() -> io::Result<(Waker, Wakeups)> {
    let (waker, wakeups) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    wakeups.set_nonblocking(true)?;
    Ok((Waker(Arc::new(waker)), Wakeups(wakeups)))
}

impl Waker {
    /// Wakes the waiting thread. A full buffer means that it has plenty of reason to wake up already.
    pub fn wake(&self) {
        let _ = (&*self.0).write(&[1]);
    }
}

impl Wakeups {
    /// Forgets the wake-ups so far.
    pub fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self
            .0
            .read(&mut bytes)
            .is_ok_and(|read| read == bytes.len())
        {}
    }
}

impl AsFd for Wakeups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
