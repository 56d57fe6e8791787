//! The host's network: non-blocking sockets, the wait for them, names and limits, in words that every host has.
//!
//! What it is: [`Stream`] (connections), [`Datagrams`] with the news of what became of them, [`EchoSocket`] (ping),
//! [`PollSet`] (the wait), [`wake_pair`] (to end it), [`look_up`] and [`resolvers`] (names), [`open_files_max`].
//! Sockets that the standard library has in the right form (listeners) are used as they are.
//!
//! What it refuses to do: block, except [`look_up`]; know any protocol above sockets.

mod datagrams;
mod echo;
mod error_queue;
mod names;
mod poll;
mod stream;
mod wake;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

pub use self::datagrams::{DatagramNews, Datagrams};
pub use self::echo::{EchoNews, EchoSocket};
pub use self::error_queue::{Cause, Trouble};
pub use self::names::{LookUpError, look_up, resolvers};
pub use self::poll::{Interest, PollSet, Readiness};
pub use self::stream::{LocalEnd, Stream, local_pair};
pub use self::wake::{Waker, Wakeups, wake_pair};

/// What [`PollSet`] can wait for: sockets of this crate and of the standard library.
pub use std::os::fd::AsFd as AsSocket;

/// The versions of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The address that stands for any of this host.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// How many files and sockets this process may have open at a time (`ulimit -n`).
pub fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether an error says that this process, or the host, has no descriptor left for another socket.
pub fn is_out_of_sockets(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Whether this host has a way to the IPv6 Internet. Nothing is sent.
pub fn has_ipv6_route() -> bool {
    // An address of the documentation prefix (RFC 3849): only a default route, or one just as wide, leads there.
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect(SocketAddr::new(far.into(), 9)))
        .is_ok()
}

#[cfg(test)]
mod tests;
