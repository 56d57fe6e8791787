//! The wait for sockets and deadlines.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// What to wait for on a socket. An end or a failure is always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Something can be read.
    pub read: bool,
    /// Something can be written.
    pub write: bool,
}

impl Interest {
    /// Something can be read.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// Something can be written.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
    };

    /// Whether there is nothing to wait for.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Something can be read, or the reading has ended.
    pub read: bool,
    /// Something can be written, or the writing has ended.
    pub write: bool,
}

impl From<PollFlags> for Readiness {
    fn from(flags: PollFlags) -> Self {
        let ended = PollFlags::HUP | PollFlags::ERR;
        Self {
            read: flags.intersects(PollFlags::IN | ended),
            write: flags.intersects(PollFlags::OUT | ended),
        }
    }
}

/// One wait: sockets, each with a token `T` of whoever asked, and the nearest deadline. It is built anew each time, so
/// that it never disagrees with the sockets that exist.
pub struct PollSet<'a, T> {
    sockets: Vec<PollFd<'a>>,
    tokens: Vec<T>,
    deadline: Option<Instant>,
}

impl<T> Default for PollSet<'_, T> {
    fn default() -> Self {
        Self {
            sockets: Vec::new(),
            tokens: Vec::new(),
            deadline: None,
        }
    }
}

impl<'a, T> PollSet<'a, T> {
    /// Waits until `socket` can be read.
    pub fn read(&mut self, token: T, socket: &'a impl AsFd) {
        self.add(token, socket, Interest::READ);
    }

    /// Waits for `interest`.
    pub fn add(&mut self, token: T, socket: &'a impl AsFd, interest: Interest) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.read);
        flags.set(PollFlags::OUT, interest.write);
        let socket: BorrowedFd<'a> = socket.as_fd();
        self.sockets.push(PollFd::from_borrowed_fd(socket, flags));
        self.tokens.push(token);
    }

    /// Ends the wait at `time` at the latest.
    pub fn at(&mut self, time: Instant) {
        self.deadline = Some(self.deadline.map_or(time, |deadline| deadline.min(time)));
    }

    /// Waits, and tells which sockets are ready. `at_once` only looks. `now` is the time to count the deadline from.
    pub fn wait(mut self, now: Instant, at_once: bool) -> Vec<(T, Readiness)> {
        let wait = if at_once {
            Some(Duration::ZERO)
        } else {
            self.deadline
                .map(|deadline| deadline.saturating_duration_since(now))
        };
        let wait = wait.map(|wait| Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut self.sockets, wait.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Vec::new(),
            Ok(_) => {}
            // The host is out of memory; try again a little later rather than spin.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(10));
                return Vec::new();
            }
        }
        let ready = |(socket, token): (&PollFd<'_>, T)| {
            let flags = socket.revents();
            (!flags.is_empty()).then(|| (token, flags.into()))
        };
        self.sockets
            .iter()
            .zip(self.tokens)
            .filter_map(ready)
            .collect()
    }
}
