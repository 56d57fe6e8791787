//! Port forwards: host ports that lead to a port of the guest.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;

use vm_osal::net::Datagrams;

use super::config::NatError;
use super::plan::Plan;

/// The protocol of a [`Forward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A host port that leads to a guest port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What is forwarded.
    pub protocol: Protocol,
    /// Where the host listens. Without an address: 127.0.0.1, so that nobody else reaches the guest.
    /// Port 0 lets the host choose ([`Nat::forwarded`](super::Nat::forwarded) tells the choice).
    pub host: SocketAddr,
    /// The guest's address; `None`: the one that DHCP hands out first.
    pub guest: Option<IpAddr>,
    /// The guest's port.
    pub guest_port: u16,
}

impl Forward {
    /// Reads `tcp|udp:[HOSTADDR]:PORT[-PORT]-[GUESTADDR]:PORT[-PORT]`: one forward for each port of the range. The
    /// guest's range may be given by its first port alone. `localhost` is 127.0.0.1; IPv6 addresses are in brackets.
    ///
    /// # Errors
    /// [`NatError::ForwardSyntax`] names the wrong part.
    pub fn parse(text: &str) -> Result<Vec<Self>, NatError> {
        parse(text).map_err(|reason| NatError::ForwardSyntax {
            text: text.to_owned(),
            reason,
        })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{protocol}:{}-", self.host)?;
        match self.guest {
            Some(guest) => write!(f, "{}", SocketAddr::new(guest, self.guest_port)),
            None => write!(f, ":{}", self.guest_port),
        }
    }
}

fn parse(text: &str) -> Result<Vec<Forward>, &'static str> {
    let (protocol, rest) = text.split_once(':').ok_or("a `:` is missing")?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err("the protocol is neither tcp nor udp"),
    };
    // An address in brackets may hold every sign but the closing one.
    let host_end = match rest.starts_with('[') {
        true => rest.find(']').map(|end| end + 1),
        false => rest.find(':'),
    };
    let (host_address, rest) = rest.split_at(host_end.ok_or("the host part has no `:`")?);
    let rest = rest.strip_prefix(':').ok_or("the host part has no `:`")?;
    let host_address = match host_address {
        "" | "localhost" => Ipv4Addr::LOCALHOST.into(),
        text => address(text).ok_or("the host address is neither an address nor localhost")?,
    };
    let (rest, guest_ports) = rest.rsplit_once(':').ok_or("the guest part has no `:`")?;
    let (host_ports, guest_address) = rest
        .rsplit_once('-')
        .ok_or("the `-` between host and guest is missing")?;
    let guest = match guest_address {
        "" => None,
        text => Some(address(text).ok_or("the guest address is no address")?),
    };
    let host_ports = match host_ports {
        "0" => 0..=0,
        text => ports(text).map_err(|_| "the host port is no number up to 65535, nor a range")?,
    };
    let wrong = "the guest port is no number from 1 to 65535, nor a range of as many as the host's";
    let guest_ports = match ports(guest_ports).map_err(|_| wrong)? {
        only if only.len() == 1 => {
            *only.start()..=only.start().saturating_add(host_ports.len() as u16 - 1)
        }
        range => range,
    };
    if guest_ports.len() != host_ports.len() {
        return Err(wrong);
    }
    let forward = |(host, guest_port)| Forward {
        protocol,
        host: SocketAddr::new(host_address, host),
        guest,
        guest_port,
    };
    Ok(host_ports.zip(guest_ports).map(forward).collect())
}

/// An address; IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

/// A port or a range of them, `80` or `80-90`.
pub(super) fn ports(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let wrong = "the port is no number from 1 to 65535, nor a range as 80-90";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(wrong),
    }
}

/// The host's sockets of all forwards, open.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) tcp: Vec<(TcpListener, SocketAddr)>,
    pub(super) udp: Vec<(Datagrams, SocketAddr)>,
    /// Where each forward listens, in the order of the configuration.
    pub(super) bound: Vec<SocketAddr>,
}

impl Listeners {
    pub(super) fn open(forwards: &[Forward], plan: &Plan) -> Result<Self, NatError> {
        let mut listeners = Self::default();
        for forward in forwards {
            let guest = forward.guest.unwrap_or(plan.guest.into());
            plan.check_guest(guest)?;
            let guest = SocketAddr::new(guest, forward.guest_port);
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

    fn add(&mut self, forward: &Forward, guest: SocketAddr) -> io::Result<SocketAddr> {
        match forward.protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(forward.host)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                self.tcp.push((listener, guest));
                Ok(bound)
            }
            Protocol::Udp => {
                let socket = Datagrams::bind(forward.host)?;
                let bound = socket.local_addr()?;
                self.udp.push((socket, guest));
                Ok(bound)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nat::NatConfig;

    fn one(text: &str) -> Forward {
        let mut forwards = Forward::parse(text).unwrap();
        assert_eq!(forwards.len(), 1, "{text}");
        forwards.remove(0)
    }

    #[test]
    fn forward_short_form_listens_on_loopback() {
        for text in ["tcp::2222-:22", "tcp:localhost:2222-:22"] {
            let forward = one(text);
            assert_eq!(forward.host, "127.0.0.1:2222".parse().unwrap());
            assert_eq!((forward.guest, forward.guest_port), (None, 22));
        }
    }

    #[test]
    fn forward_full_form_round_trips() {
        for text in [
            "udp:0.0.0.0:5353-10.0.2.20:53",
            "tcp:[::1]:8080-:80",
            "tcp:[::]:0-[fec0::15]:80",
        ] {
            assert_eq!(one(text).to_string(), text);
        }
    }

    #[test]
    fn forward_ranges_lead_port_by_port() {
        for text in ["tcp::8000-8002-:9000-9002", "tcp::8000-8002-:9000"] {
            let ports: Vec<_> = Forward::parse(text)
                .unwrap()
                .iter()
                .map(|forward| (forward.host.port(), forward.guest_port))
                .collect();
            assert_eq!(ports, [(8000, 9000), (8001, 9001), (8002, 9002)]);
        }
    }

    #[test]
    fn forward_malformed_text_names_the_wrong_part() {
        for (text, part) in [
            ("tcp", "`:`"),
            ("sctp::1-:1", "neither"),
            ("tcp::1", "guest part"),
            ("tcp::1:1", "`-`"),
            ("tcp:1-:1", "host address"),
            ("tcp:[::1-:1", "host part"),
            ("tcp::1-1", "guest part"),
            ("tcp::70000-:1", "host port"),
            ("tcp::9-8-:1", "host port"),
            ("tcp::1-:x", "guest port"),
            ("tcp::1-:0", "guest port"),
            ("tcp::1-3-:1-2", "guest port"),
            ("tcp::1-3-:65534", "guest port"),
            ("tcp:hosts:1-:1", "host address"),
            ("tcp::1-guest:1", "guest address"),
        ] {
            let message = Forward::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn listeners_taken_port_is_reported_as_in_use() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let forward = one(&format!("tcp::{port}-:22"));
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let error = Listeners::open(&[forward], &plan).err().unwrap();
        assert!(matches!(error, NatError::PortInUse { .. }));
        assert!(error.to_string().contains(&port.to_string()));
    }
}
