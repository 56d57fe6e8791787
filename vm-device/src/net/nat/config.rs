//! What the user can choose about the built-in network, and what can go wrong while it starts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use vm_core::Notices;

use super::allow::Allow;
use super::dns::PORT as DNS_PORT;
use super::forward::Forward;
use super::loss::PERCENT_MAX;

/// The smallest MTU that every IPv4 host must take (RFC 791, 3.2).
pub(super) const MTU_MIN: u16 = 576;
/// The largest packet for which a frame still fits what [`NetBackend`](crate::net::NetBackend) carries.
pub(super) const MTU_MAX: u16 = 65_520;

/// An IPv4 network: its first address and how many leading bits it has. Text form `10.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Network {
    address: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Network {
    /// The network that holds `address`; bits behind the prefix are cleared.
    ///
    /// # Errors
    /// [`NatError::Network`] unless 8 <= `prefix` <= 28 (a smaller network has no room for the guest).
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, NatError> {
        if !(8..=28).contains(&prefix) {
            return Err(NatError::Network {
                text: format!("{address}/{prefix}"),
            });
        }
        let network = Self { address, prefix };
        let first = Ipv4Addr::from(u32::from(address) & u32::from(network.mask()));
        Ok(Self {
            address: first,
            prefix,
        })
    }

    /// The network mask.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX << (32 - u32::from(self.prefix)))
    }

    /// The address that reaches every host of the network.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !u32::from(self.mask()))
    }

    /// Whether `address` belongs to the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.address)
    }

    /// The first address, which no host has.
    pub(super) fn first(self) -> Ipv4Addr {
        self.address
    }

    pub(super) fn host(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) + number)
    }
}

impl fmt::Display for Ipv4Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Network {
    type Err = NatError;

    fn from_str(text: &str) -> Result<Self, NatError> {
        let wrong = || NatError::Network {
            text: text.to_owned(),
        };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        Self::new(address, prefix.parse().map_err(|_| wrong())?)
    }
}

/// A name server, `ADDRESS` or `ADDRESS:PORT` (an IPv6 address with a port in brackets). Its port is 53 unless given.
///
/// # Errors
/// [`NatError::Resolver`] when it is no address.
pub fn parse_resolver(text: &str) -> Result<SocketAddr, NatError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    address
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .or_else(|_| text.parse())
        .map_err(|_| NatError::Resolver {
            text: text.to_owned(),
        })
}

/// Everything that can be chosen about the network behind one card. `default()` is 10.0.2.0/24 without forwards.
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// The guest's network. Host number 2 is the gateway (the host's 127.0.0.1), 3 the name server.
    pub network: Ipv4Network,
    /// The first address that DHCP hands out; `None`: host number 15.
    pub guest: Option<Ipv4Addr>,
    /// Hardware address of the gateway and the name server.
    pub mac: [u8; 6],
    /// Name that DHCP gives the guest; empty: none.
    pub hostname: String,
    /// Host ports that lead to the guest.
    pub forwards: Vec<Forward>,
    /// File that records every frame in both directions.
    pub pcap: Option<PathBuf>,
    /// Lets the guest reach nothing but DHCP, the gateway's echo and what `allow` names; forwards still work.
    pub restrict: bool,
    /// What a restricted guest may reach all the same.
    pub allow: Vec<Allow>,
    /// Whether the guest gets IPv6 as well; `None`: where the host has a way to the IPv6 Internet.
    pub ipv6: Option<bool>,
    /// Largest packet in bytes on the virtual cable, 576 to 65,520. There is no IPv6 below 1,280 bytes.
    pub mtu: u16,
    /// Frames of a hundred, 0 to 50, that the cable loses in each direction, for tests; which ones is the same in every
    /// run.
    pub loss_percent: u8,
    /// Name servers to ask, and nobody else; `None`: those of the host (`/etc/resolv.conf`) and then its own look-up;
    /// empty: only the host's own look-up.
    pub resolvers: Option<Vec<SocketAddr>>,
    /// Files that the process may have open, which bounds the connections; `None`: as the host says (`ulimit -n`).
    pub open_files_max: Option<u64>,
    /// Who is told of limits that are reached and services that the host does not allow.
    pub notices: Notices,
}

impl Default for NatConfig {
    fn default() -> Self {
        Self {
            network: Ipv4Network {
                address: Ipv4Addr::new(10, 0, 2, 0),
                prefix: 24,
            },
            guest: None,
            mac: [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02],
            hostname: String::new(),
            forwards: Vec::new(),
            pcap: None,
            restrict: false,
            allow: Vec::new(),
            ipv6: None,
            mtu: 1500,
            loss_percent: 0,
            resolvers: None,
            open_files_max: None,
            notices: Notices::default(),
        }
    }
}

/// Why the built-in network could not start.
#[derive(Debug, thiserror::Error)]
pub enum NatError {
    /// The network is not of the form that the guest's addresses need.
    #[error(
        "`{text}` is no network for a guest: give ADDRESS/PREFIX with a prefix of 8 to 28, as 10.0.2.0/24"
    )]
    Network {
        /// What was given.
        text: String,
    },
    /// The guest's address is not free within the network.
    #[error(
        "{guest} cannot be the guest's address in {network}: choose a free host address of that network"
    )]
    GuestAddress {
        /// What was given.
        guest: IpAddr,
        /// Where it should lie.
        network: String,
    },
    /// A list of what a guest may reach that may reach everything.
    #[error(
        "allow says what a restricted guest may reach, but restrict is off: leave restrict=off out"
    )]
    AllowUnrestricted,
    /// A part of the list of what the guest may reach is not of the expected form.
    #[error(
        "`{text}`: {reason}; give HOST:PORT, as deb.example.org:443, 192.0.2.0/24:80-90 or [2001:db8::1]:22"
    )]
    AllowSyntax {
        /// What was given.
        text: String,
        /// Which part is wrong.
        reason: &'static str,
    },
    /// A name server is not given by its address.
    #[error(
        "`{text}` is no address of a name server: write it as 192.0.2.53, 127.0.0.1:5353 or 2001:db8::53"
    )]
    Resolver {
        /// What was given.
        text: String,
    },
    /// IPv6 is wanted on a cable that is too narrow for it.
    #[error(
        "IPv6 needs an MTU of 1280 bytes at least, not {mtu}: choose a larger one, or ipv6=off"
    )]
    MtuIpv6 {
        /// What was given.
        mtu: u16,
    },
    /// The hardware address is a group address.
    #[error("a gateway's hardware address must be unicast (first byte even) and not zero")]
    Mac,
    /// The MTU is out of range.
    #[error("an MTU of {mtu} bytes is not possible: choose {MTU_MIN} to {MTU_MAX}")]
    Mtu {
        /// What was given.
        mtu: u16,
    },
    /// The share of lost frames is out of range.
    #[error(
        "a network that loses {percent} frames of a hundred carries nothing: choose 0 to {PERCENT_MAX}"
    )]
    Loss {
        /// What was given.
        percent: u8,
    },
    /// The host name is no DNS label sequence.
    #[error("`{name}` is no host name: use at most 63 letters, digits, `-` and `.`")]
    Hostname {
        /// What was given.
        name: String,
    },
    /// A port forward is not of the expected form.
    #[error(
        "`{text}`: {reason}; give tcp|udp:[HOSTADDR]:PORT[-PORT]-[GUESTADDR]:PORT, as tcp::2222-:22"
    )]
    ForwardSyntax {
        /// What was given.
        text: String,
        /// Which part is wrong.
        reason: &'static str,
    },
    /// A host port is taken.
    #[error("{forward}: host port {} is in use: choose another one or stop the program that holds it", .forward.host.port())]
    PortInUse {
        /// The forward that cannot be had.
        forward: Forward,
    },
    /// A host port cannot be had for another reason.
    #[error("{forward}: cannot listen on {}: {source}", .forward.host)]
    Listen {
        /// The forward that cannot be had.
        forward: Forward,
        /// The host's answer.
        source: std::io::Error,
    },
    /// The capture file cannot be written.
    #[error("cannot write the capture file {}: {source}", .path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// The host's answer.
        source: std::io::Error,
    },
    /// The host has no thread or descriptor left.
    #[error("the host refuses a thread or a descriptor for the network: {0}")]
    Host(#[from] std::io::Error),
}

impl NatError {
    /// Whether the description of the network is wrong in itself, whatever the host has.
    pub fn is_usage(&self) -> bool {
        !matches!(
            self,
            Self::PortInUse { .. } | Self::Listen { .. } | Self::Capture { .. } | Self::Host(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_text_round_trips_and_clears_host_bits() {
        let network: Ipv4Network = "192.168.76.9/24".parse().unwrap();
        assert_eq!(network.to_string(), "192.168.76.0/24");
        assert_eq!(network.broadcast(), Ipv4Addr::new(192, 168, 76, 255));
        assert!(network.contains(Ipv4Addr::new(192, 168, 76, 200)));
        assert!(!network.contains(Ipv4Addr::new(192, 168, 77, 1)));
    }

    #[test]
    fn network_malformed_text_is_an_error() {
        for text in [
            "",
            "10.0.2.0",
            "10.0.2/24",
            "10.0.2.0/29",
            "10.0.2.0/x",
            "10.0.2.0/0",
        ] {
            assert!(text.parse::<Ipv4Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn resolver_text_may_have_a_port() {
        for (text, address) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]", "[2001:db8::53]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(parse_resolver(text).unwrap(), address.parse().unwrap());
        }
        assert!(parse_resolver("dns.example").is_err());
    }
}
