//! What a host tells of packets that came to nothing: the error queue of a socket (Linux, ip(7), `IP_RECVERR`).

#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_void};
use rustix::io::Errno;

use super::Family;

/// How much of the packet itself is told.
const DATA_BYTES_MAX: usize = 512;

/// Why a packet came to nothing, as ICMP (RFC 792) and ICMPv6 (RFC 4443) have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No route to the network.
    NetworkUnreachable,
    /// The host does not answer.
    HostUnreachable,
    /// Nobody listens at the port.
    PortUnreachable,
    /// A filter on the way forbids it.
    Prohibited,
    /// The packet passed as many routers as it may.
    HopsExceeded,
    /// The packet is larger than a link on the way takes.
    TooBig {
        /// The largest size in bytes that it takes.
        mtu: u32,
    },
}

/// Why the host could not even send, or connect; other errors (a refusal, no descriptor left) are no cause.
impl TryFrom<&io::Error> for Cause {
    type Error = ();

    fn try_from(error: &io::Error) -> Result<Self, ()> {
        match Errno::from_io_error(error) {
            Some(Errno::NETUNREACH) => Ok(Self::NetworkUnreachable),
            Some(Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::TIMEDOUT) => {
                Ok(Self::HostUnreachable)
            }
            _ => Err(()),
        }
    }
}

/// News of a packet that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where the packet was sent.
    pub to: SocketAddr,
    /// The router or host that reported it; `None`: this host itself.
    pub reporter: Option<IpAddr>,
    /// What went wrong.
    pub cause: Cause,
    /// The beginning of what was sent in the packet.
    pub data: Vec<u8>,
}

/// Has the host keep the news of a socket's packets.
pub(super) fn keep_troubles(socket: &impl AsFd, family: Family) -> io::Result<()> {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: c_int = 1;
    // SAFETY: the descriptor is open for the length of the borrow, and the option's value is one `c_int`, alive
    // during the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const on).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The oldest news, if there is any. Kinds that nobody can act on are passed over.
pub(super) fn next_trouble(socket: &impl AsFd) -> Option<Trouble> {
    loop {
        if let Some(trouble) = read_one(socket)? {
            return Some(trouble);
        }
    }
}

/// Reads one entry of the queue: `None` when it is empty, `Some(None)` for one of an unknown kind.
fn read_one(socket: &impl AsFd) -> Option<Option<Trouble>> {
    let mut data = [0u8; DATA_BYTES_MAX];
    // Aligned as control messages must be.
    let mut control = [0u64; 32];
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut part = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all-zero is a valid `msghdr`: null pointers and zero lengths.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: every pointer of the header leads to a buffer of the length beside it, all alive during the call.
    let bytes = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    let bytes = usize::try_from(bytes).ok()?;
    // SAFETY: it was zeroed, so all of it is initialised whatever the kernel wrote.
    let to = socket_address(unsafe { name.assume_init_ref() });
    let mut found = None;
    // SAFETY: the kernel has filled in `msg_control` and `msg_controllen`; the macros stay within them.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !message.is_null() {
        // SAFETY: it is not null, so the macros found a whole header within the aligned buffer.
        let kind = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
            || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        {
            // SAFETY: messages of this kind hold a `sock_extended_err` and behind it the reporter's address, of
            // `sockaddr_in6`'s size at most (ip(7), ipv6(7)); the buffer is larger than both with headers, so that
            // reading a whole `sockaddr_in6` stays within it. Read unaligned: no reference is made.
            found = unsafe {
                let error = libc::CMSG_DATA(message).cast::<libc::sock_extended_err>();
                let behind = error.add(1).cast::<libc::sockaddr_in6>();
                Some((error.read_unaligned(), behind.read_unaligned()))
            };
        }
        // SAFETY: as for the first one.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    let trouble = || {
        let (error, behind) = found?;
        Some(Trouble {
            to: to?,
            reporter: reporter(&error, &behind),
            cause: cause(&error)?,
            data: data[..bytes.min(data.len())].to_vec(),
        })
    };
    Some(trouble())
}

fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let storage: *const libc::sockaddr_storage = storage;
    // SAFETY: the storage is aligned for and at least as large as every address, and every bit pattern is one.
    unsafe {
        match c_int::from((*storage).ss_family) {
            libc::AF_INET => {
                let address = storage.cast::<libc::sockaddr_in>().read();
                let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                Some(SocketAddr::new(ip.into(), u16::from_be(address.sin_port)))
            }
            libc::AF_INET6 => {
                let address = storage.cast::<libc::sockaddr_in6>().read();
                let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
                Some(SocketAddr::new(ip.into(), u16::from_be(address.sin6_port)))
            }
            _ => None,
        }
    }
}

/// Who reported an error; its address lies behind it, with the family at the same place whatever the family is.
fn reporter(error: &libc::sock_extended_err, behind: &libc::sockaddr_in6) -> Option<IpAddr> {
    if error.ee_origin == libc::SO_EE_ORIGIN_LOCAL {
        return None;
    }
    match c_int::from(behind.sin6_family) {
        // Where IPv6 has its flow label IPv4 has the address.
        libc::AF_INET => Some(Ipv4Addr::from(u32::from_be(behind.sin6_flowinfo)).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(behind.sin6_addr.s6_addr).into()),
        _ => None,
    }
}

fn cause(error: &libc::sock_extended_err) -> Option<Cause> {
    let (kind, code) = (error.ee_type, error.ee_code);
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => match (kind, code) {
            (3, 0 | 6 | 11) => Some(Cause::NetworkUnreachable),
            (3, 3) => Some(Cause::PortUnreachable),
            (3, 4) => Some(Cause::TooBig { mtu: error.ee_info }),
            (3, 9 | 10 | 13) => Some(Cause::Prohibited),
            (3, _) => Some(Cause::HostUnreachable),
            (11, 0) => Some(Cause::HopsExceeded),
            _ => None,
        },
        libc::SO_EE_ORIGIN_ICMP6 => match (kind, code) {
            (1, 0) => Some(Cause::NetworkUnreachable),
            (1, 1 | 5 | 6) => Some(Cause::Prohibited),
            (1, 4) => Some(Cause::PortUnreachable),
            (1, _) => Some(Cause::HostUnreachable),
            (2, _) => Some(Cause::TooBig { mtu: error.ee_info }),
            (3, 0) => Some(Cause::HopsExceeded),
            _ => None,
        },
        libc::SO_EE_ORIGIN_LOCAL => match error.ee_errno as c_int {
            libc::EMSGSIZE => Some(Cause::TooBig { mtu: error.ee_info }),
            libc::ENETUNREACH => Some(Cause::NetworkUnreachable),
            libc::EHOSTUNREACH => Some(Cause::HostUnreachable),
            _ => None,
        },
        _ => None,
    }
}
