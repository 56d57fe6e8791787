//! Waiting for what is at the other end of a descriptor.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits for one of `events`, a hang-up or an error; `None` waits for ever.
fn wait(fd: impl AsFd, events: PollFlags, most: Option<Duration>) -> PollFlags {
    let most = most.map(|most| Timespec::try_from(most).unwrap_or(Timespec::default()));
    let mut polled = [PollFd::new(&fd, events)];
    while poll(&mut polled, most.as_ref()) == Err(Errno::INTR) {}
    polled[0].revents()
}

/// Whether the other end has been closed, in both directions; a peer that sends no more but still reads has not hung up.
pub fn has_hung_up(fd: impl AsFd) -> bool {
    !wait(fd, PollFlags::empty(), Some(Duration::ZERO)).is_empty()
}

/// Waits until the other end is closed in both directions.
pub fn wait_for_hang_up(fd: impl AsFd) {
    wait(fd, PollFlags::empty(), None);
}

/// Waits until there is something to read, or the other end is closed.
pub fn wait_readable(fd: impl AsFd) {
    wait(fd, PollFlags::IN, None);
}

/// Waits until the other end takes something, at most for `most`.
///
/// # Errors
/// `WouldBlock` when it does not.
pub fn wait_writable(fd: impl AsFd, most: Duration) -> io::Result<()> {
    match wait(fd, PollFlags::OUT, Some(most)).is_empty() {
        true => Err(io::ErrorKind::WouldBlock.into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    #[test]
    fn hang_up_is_not_half_a_shut_down() {
        let (here, there) = UnixStream::pair().unwrap();
        assert!(!has_hung_up(&here));
        there.shutdown(Shutdown::Write).unwrap();
        assert!(!has_hung_up(&here));
        drop(there);
        assert!(has_hung_up(&here));
        wait_for_hang_up(&here);
    }

    #[test]
    fn writable_is_what_has_room() {
        let (here, _there) = UnixStream::pair().unwrap();
        assert!(wait_writable(&here, Duration::ZERO).is_ok());
        here.set_nonblocking(true).unwrap();
        while (&here).write(&[0; 4096]).is_ok() {}
        let full = wait_writable(&here, Duration::from_millis(1)).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
