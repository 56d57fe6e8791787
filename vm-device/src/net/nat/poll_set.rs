//! What the event loop waits for: the host's sockets with who asked, and the nearest deadline.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::icmp::EchoKey;
use super::tcp::FlowKey;
use std::net::SocketAddrV4;

/// Whose socket has become ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    /// The guest, the card or the owner wants something.
    Wake,
    /// A connection.
    Tcp(FlowKey),
    /// The datagrams of a guest port.
    Udp(SocketAddrV4),
    /// Echo requests of a guest.
    Icmp(EchoKey),
    /// A question to a name server.
    Dns(u32),
    /// The listener of the forward with this index.
    Listener(usize),
    /// The socket of the datagram forward with this index.
    ForwardUdp(usize),
}

/// One round's set, built anew each time so that it never disagrees with the flows.
#[derive(Default)]
pub(super) struct PollSet<'a> {
    fds: Vec<PollFd<'a>>,
    tokens: Vec<Token>,
    deadline: Option<Instant>,
}

impl<'a> PollSet<'a> {
    pub(super) fn read(&mut self, token: Token, fd: &'a impl AsFd) {
        self.add(token, fd.as_fd(), PollFlags::IN);
    }

    pub(super) fn add(&mut self, token: Token, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
        self.tokens.push(token);
    }

    /// Wakes up at `time` at the latest.
    pub(super) fn at(&mut self, time: Instant) {
        self.deadline = Some(self.deadline.map_or(time, |deadline| deadline.min(time)));
    }

    /// Waits, and tells which sockets are ready. `at_once` only looks.
    pub(super) fn wait(mut self, now: Instant, at_once: bool) -> Vec<(Token, PollFlags)> {
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
        match rustix::event::poll(&mut self.fds, wait.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Vec::new(),
            Ok(_) => {}
            // The host is out of memory; try again a little later rather than spin.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(10));
                return Vec::new();
            }
        }
        let ready = |(fd, token): (&PollFd<'_>, Token)| {
            let flags = fd.revents();
            (!flags.is_empty()).then_some((token, flags))
        };
        self.fds.iter().zip(self.tokens).filter_map(ready).collect()
    }
}
