//! Port forwards: host ports that lead to a port of the guest.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::str::FromStr;

use super::config::{NatError, Plan};

/// The protocol of a [`Forward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A host port that leads to a guest port. Text form `tcp|udp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What is forwarded.
    pub protocol: Protocol,
    /// Where the host listens. Without an address: 127.0.0.1, so that nobody else reaches the guest.
    /// Port 0 lets the host choose ([`Nat::forwarded`](super::Nat::forwarded) tells the choice).
    pub host: SocketAddrV4,
    /// The guest's address; `None`: the one that DHCP hands out first.
    pub guest: Option<Ipv4Addr>,
    /// The guest's port.
    pub guest_port: u16,
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{protocol}:{}-", self.host)?;
        if let Some(guest) = self.guest {
            write!(f, "{guest}")?;
        }
        write!(f, ":{}", self.guest_port)
    }
}

impl FromStr for Forward {
    type Err = NatError;

    fn from_str(text: &str) -> Result<Self, NatError> {
        parse(text).map_err(|reason| NatError::ForwardSyntax {
            text: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Forward, &'static str> {
    let (protocol, rest) = text.split_once(':').ok_or("a `:` is missing")?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err("the protocol is neither tcp nor udp"),
    };
    let (host, guest) = rest
        .split_once('-')
        .ok_or("the `-` between host and guest is missing")?;
    let (host_address, host_port) = host.split_once(':').ok_or("the host part has no `:`")?;
    let (guest_address, guest_port) = guest.split_once(':').ok_or("the guest part has no `:`")?;
    let address = |text: &str, reason| match text {
        "" => Ok(None),
        text => text.parse::<Ipv4Addr>().map(Some).map_err(|_| reason),
    };
    let host_address = address(host_address, "the host address is no IPv4 address")?;
    let host_port = host_port
        .parse()
        .map_err(|_| "the host port is no number up to 65535")?;
    let guest_port = guest_port
        .parse()
        .map_err(|_| "the guest port is no number up to 65535")?;
    if guest_port == 0 {
        return Err("the guest port is 0");
    }
    Ok(Forward {
        protocol,
        host: SocketAddrV4::new(host_address.unwrap_or(Ipv4Addr::LOCALHOST), host_port),
        guest: address(guest_address, "the guest address is no IPv4 address")?,
        guest_port,
    })
}

/// The host's sockets of all forwards, open.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) tcp: Vec<(TcpListener, SocketAddrV4)>,
    pub(super) udp: Vec<(UdpSocket, SocketAddrV4)>,
    /// Where each forward listens, in the order of the configuration.
    pub(super) bound: Vec<SocketAddrV4>,
}

impl Listeners {
    pub(super) fn open(forwards: &[Forward], plan: &Plan) -> Result<Self, NatError> {
        let mut listeners = Self::default();
        for forward in forwards {
            let guest_address = forward.guest.unwrap_or(plan.guest);
            if !plan.is_guest(guest_address) {
                return Err(NatError::GuestAddress {
                    guest: guest_address,
                    network: plan.network,
                });
            }
            let guest = SocketAddrV4::new(guest_address, forward.guest_port);
            let bound = listeners
                .add(forward, guest)
                .map_err(|source| match source.kind() {
                    ErrorKind::AddrInUse => NatError::PortInUse { forward: *forward },
                    _ => NatError::Listen {
                        forward: *forward,
                        source,
                    },
                })?;
            listeners.bound.push(bound);
        }
        Ok(listeners)
    }

    fn add(&mut self, forward: &Forward, guest: SocketAddrV4) -> std::io::Result<SocketAddrV4> {
        let bound = match forward.protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(forward.host)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                self.tcp.push((listener, guest));
                bound
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(forward.host)?;
                socket.set_nonblocking(true)?;
                let bound = socket.local_addr()?;
                self.udp.push((socket, guest));
                bound
            }
        };
        match bound {
            std::net::SocketAddr::V4(bound) => Ok(bound),
            std::net::SocketAddr::V6(_) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nat::NatConfig;

    #[test]
    fn forward_short_form_listens_on_loopback() {
        let forward: Forward = "tcp::2222-:22".parse().unwrap();
        assert_eq!(forward.host, "127.0.0.1:2222".parse().unwrap());
        assert_eq!((forward.guest, forward.guest_port), (None, 22));
    }

    #[test]
    fn forward_full_form_round_trips() {
        let text = "udp:0.0.0.0:5353-10.0.2.20:53";
        assert_eq!(text.parse::<Forward>().unwrap().to_string(), text);
    }

    #[test]
    fn forward_malformed_text_names_the_wrong_part() {
        for (text, part) in [
            ("tcp", "`:`"),
            ("sctp::1-:1", "neither"),
            ("tcp::1", "`-`"),
            ("tcp:1-:1", "host part"),
            ("tcp::1-1", "guest part"),
            ("tcp::70000-:1", "host port"),
            ("tcp::1-:x", "guest port"),
            ("tcp::1-:0", "guest port"),
            ("tcp:localhost:1-:1", "host address"),
            ("tcp::1-guest:1", "guest address"),
        ] {
            let message = text.parse::<Forward>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn listeners_taken_port_is_reported_as_in_use() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let forward: Forward = format!("tcp::{port}-:22").parse().unwrap();
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let error = Listeners::open(&[forward], &plan).err().unwrap();
        assert!(matches!(error, NatError::PortInUse { .. }));
        assert!(error.to_string().contains(&port.to_string()));
    }
}
