//! Echo requests (ping): a socket for them that needs no rights where the host allows it, otherwise a raw one.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt,
};

use super::Family;
use super::error_queue::{Trouble, keep_troubles, next_trouble};

/// Type, code, checksum, identifier and sequence number of an echo message (RFC 792, RFC 4443 4.1).
const HEADER_BYTES: usize = 8;
/// Types of the messages.
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// What an [`EchoSocket`] has to tell.
#[derive(Debug)]
pub enum EchoNews {
    /// A reply from this host: the ICMP message, whose identifier means nothing.
    Reply(Vec<u8>, IpAddr),
    /// A request came to nothing; its `data` begins with the ICMP message, whose identifier means nothing.
    Trouble(Trouble),
}

/// A socket for the echo requests of one program. No call blocks.
#[derive(Debug)]
pub struct EchoSocket {
    socket: OwnedFd,
    family: Family,
    /// The identifier by which a raw socket knows its own; the host chooses it for others.
    raw: Option<u16>,
    hops: Option<u8>,
}

impl EchoSocket {
    /// Opens a socket: one without rights where the host allows that, otherwise a raw one.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] when the host allows neither (on Linux: the group is not within
    /// `net.ipv4.ping_group_range` and CAP_NET_RAW is lacking), or no descriptor is left.
    pub fn open(family: Family) -> io::Result<Self> {
        Self::open_unprivileged(family).or_else(|_| Self::open_raw(family))
    }

    pub(super) fn open_unprivileged(family: Family) -> io::Result<Self> {
        Self::with(family, SocketType::DGRAM, None)
    }

    pub(super) fn open_raw(family: Family) -> io::Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let own = NEXT.fetch_add(1, Ordering::Relaxed) ^ std::process::id() as u16;
        Self::with(family, SocketType::RAW, Some(own))
    }

    fn with(family: Family, kind: SocketType, raw: Option<u16>) -> io::Result<Self> {
        let (address_family, protocol): (_, Protocol) = match family {
            Family::V4 => (AddressFamily::INET, ipproto::ICMP),
            Family::V6 => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(address_family, kind, flags, Some(protocol))?;
        keep_troubles(&socket, family)?;
        Ok(Self {
            socket,
            family,
            raw,
            hops: None,
        })
    }

    /// Sends an echo request that passes at most `hops` routers, 1 or more. Identifier and checksum are replaced.
    ///
    /// # Errors
    /// What the host says; the request is lost.
    pub fn send(&mut self, request: &[u8], to: IpAddr, hops: u8) -> io::Result<()> {
        if self.hops != Some(hops) {
            match self.family {
                Family::V4 => sockopt::set_ip_ttl(&self.socket, hops.into())?,
                Family::V6 => sockopt::set_ipv6_unicast_hops(&self.socket, Some(hops))?,
            }
            self.hops = Some(hops);
        }
        let mut message = request.to_vec();
        if let (Some(own), true) = (self.raw, message.len() >= HEADER_BYTES) {
            message[4..6].copy_from_slice(&own.to_be_bytes());
            message[2..4].fill(0);
            let sum = checksum(&message);
            // For ICMPv6 the host fills it in, as it knows the sender's address.
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let to = SocketAddr::new(to, 0);
        let send = || rustix::net::sendto(&self.socket, &message, SendFlags::empty(), &to);
        // An error that an earlier request met is told, once, in place of sending this one.
        send().or_else(|_| send())?;
        Ok(())
    }

    /// The next reply or trouble. `None` when there is nothing.
    pub fn receive(&self) -> Option<EchoNews> {
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); 65_536];
        loop {
            match rustix::net::recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok(((bytes, _), _, Some(from))) => {
                    let from = SocketAddr::try_from(from).ok()?.ip();
                    if let Some(message) = self.own_reply(bytes) {
                        return Some(EchoNews::Reply(message.to_vec(), from));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    while let Some(trouble) = next_trouble(&self.socket) {
                        if self.is_own(&trouble.data) {
                            return Some(EchoNews::Trouble(trouble));
                        }
                    }
                    // An error stands in the way of replies once.
                    if error == rustix::io::Errno::AGAIN {
                        return None;
                    }
                }
            }
        }
    }

    /// The ICMP message within what was received, if it is a reply to this socket.
    fn own_reply<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        // A raw IPv4 socket gets the IP header as well.
        let header = match (self.family, self.raw) {
            (Family::V4, Some(_)) => usize::from(bytes.first()? & 0xf) * 4,
            _ => 0,
        };
        let message = bytes.get(header..)?;
        let reply = match self.family {
            Family::V4 => ECHO_REPLY,
            Family::V6 => ECHO_REPLY_V6,
        };
        (message.len() >= HEADER_BYTES && message[..2] == [reply, 0] && self.is_own(message))
            .then_some(message)
    }

    /// Whether a message has this socket's identifier. Those of a socket without rights are sorted by the host.
    fn is_own(&self, message: &[u8]) -> bool {
        message.len() >= HEADER_BYTES
            && self
                .raw
                .is_none_or(|own| message[4..6] == own.to_be_bytes())
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
