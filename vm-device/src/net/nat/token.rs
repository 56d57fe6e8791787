//! Who waits for which of the host's sockets.

use std::net::SocketAddr;

use vm_osal::net::PollSet;

use super::icmp::EchoKey;
use super::tcp::FlowKey;

/// Whose socket has become ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    /// The guest, the card or the owner wants something.
    Wake,
    /// A connection.
    Tcp(FlowKey),
    /// The datagrams of a guest port.
    Udp(SocketAddr),
    /// Echo requests of a guest.
    Icmp(EchoKey),
    /// A question to a name server.
    Dns(u32),
    /// The listener of the forward with this index.
    Listener(usize),
    /// The socket of the datagram forward with this index.
    ForwardUdp(usize),
}

/// What the event loop waits for in one round.
pub(super) type Waits<'a> = PollSet<'a, Token>;
