//! What the user can choose about the built-in network, and what can go wrong while it starts.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use smoltcp::wire::EthernetAddress;

use super::forward::Forward;
use super::loss::PERCENT_MAX;

/// Host numbers within the guest network, as guests of other virtual machines know them.
const GATEWAY_NUMBER: u32 = 2;
const DNS_NUMBER: u32 = 3;
const GUEST_NUMBER: u32 = 15;

/// The smallest MTU that every IPv4 host must take (RFC 791, 3.2).
const MTU_MIN: u16 = 576;
/// The largest packet for which a frame still fits what [`NetBackend`](crate::net::NetBackend) carries.
const MTU_MAX: u16 = 65_520;

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

    fn host(self, number: u32) -> Ipv4Addr {
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
    /// Lets the guest reach nothing but DHCP and the gateway's echo; forwards still work.
    pub restrict: bool,
    /// Largest IPv4 packet in bytes on the virtual cable, 576 to 65,520.
    pub mtu: u16,
    /// Frames of a hundred, 0 to 50, that the cable loses in each direction, for tests; which ones is the same in every
    /// run.
    pub loss_percent: u8,
    /// Name servers to ask; `None`: those of the host (`/etc/resolv.conf`), empty: only the host's own look-up.
    pub resolvers: Option<Vec<SocketAddr>>,
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
            mtu: 1500,
            loss_percent: 0,
            resolvers: None,
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
        guest: Ipv4Addr,
        /// Where it should lie.
        network: Ipv4Network,
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
        "`{text}`: {reason}; give tcp|udp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, as tcp::2222-:22"
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

/// Who is who on the virtual network: the checked form of [`NatConfig`].
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) network: Ipv4Network,
    pub(super) gateway: Ipv4Addr,
    pub(super) dns: Ipv4Addr,
    pub(super) guest: Ipv4Addr,
    pub(super) mac: EthernetAddress,
    pub(super) hostname: String,
    pub(super) mtu: u16,
    pub(super) loss_percent: u8,
    pub(super) restrict: bool,
}

/// Where a packet of the guest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The gateway, which stands for the host.
    Gateway,
    /// The name server.
    Dns,
    /// A host of the outside world.
    Outside(Ipv4Addr),
    /// Every host of the cable.
    Broadcast,
    /// Nobody: an absent neighbour, loopback, multicast and reserved addresses.
    Nowhere,
}

impl Plan {
    pub(super) fn new(config: &NatConfig) -> Result<Self, NatError> {
        let network = config.network;
        let plan = Self {
            network,
            gateway: network.host(GATEWAY_NUMBER),
            dns: network.host(DNS_NUMBER),
            guest: config.guest.unwrap_or_else(|| network.host(GUEST_NUMBER)),
            mac: EthernetAddress(config.mac),
            hostname: config.hostname.clone(),
            mtu: config.mtu,
            loss_percent: config.loss_percent,
            restrict: config.restrict,
        };
        if !plan.is_guest(plan.guest) {
            return Err(NatError::GuestAddress {
                guest: plan.guest,
                network,
            });
        }
        if !plan.mac.is_unicast() || config.mac == [0; 6] {
            return Err(NatError::Mac);
        }
        if !(MTU_MIN..=MTU_MAX).contains(&config.mtu) {
            return Err(NatError::Mtu { mtu: config.mtu });
        }
        if plan.loss_percent > PERCENT_MAX {
            return Err(NatError::Loss {
                percent: plan.loss_percent,
            });
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if plan.hostname.len() > 63 || !plan.hostname.chars().all(letter) {
            return Err(NatError::Hostname {
                name: plan.hostname,
            });
        }
        Ok(plan)
    }

    /// Whether a guest may use `address` as its own.
    pub(super) fn is_guest(&self, address: Ipv4Addr) -> bool {
        self.network.contains(address)
            && !self.is_virtual(address)
            && address != self.network.address
            && address != self.network.broadcast()
    }

    /// Whether `address` is one that this side answers for.
    pub(super) fn is_virtual(&self, address: Ipv4Addr) -> bool {
        address == self.gateway || address == self.dns
    }

    /// Where a packet to `address` goes. Loopback and group addresses never leave.
    pub(super) fn route(&self, address: Ipv4Addr) -> Route {
        let first = address.octets()[0];
        if address == self.gateway {
            Route::Gateway
        } else if address == self.dns {
            Route::Dns
        } else if address == self.network.broadcast() || address == Ipv4Addr::BROADCAST {
            Route::Broadcast
        } else if self.network.contains(address) || matches!(first, 0 | 127 | 224..) {
            Route::Nowhere
        } else {
            Route::Outside(address)
        }
    }

    /// The address by which the guest knows a peer on the host's side.
    pub(super) fn seen_by_guest(&self, peer: Ipv4Addr) -> Ipv4Addr {
        if peer.is_loopback() || peer.is_unspecified() || self.network.contains(peer) {
            self.gateway
        } else {
            peer
        }
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
    fn plan_default_has_the_customary_addresses() {
        let plan = Plan::new(&NatConfig::default()).unwrap();
        assert_eq!(plan.gateway, Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(plan.dns, Ipv4Addr::new(10, 0, 2, 3));
        assert_eq!(plan.guest, Ipv4Addr::new(10, 0, 2, 15));
    }

    #[test]
    fn plan_impossible_choices_are_errors() {
        type Change = fn(&mut NatConfig);
        let changes: [Change; 6] = [
            |c| c.guest = Some(Ipv4Addr::new(10, 0, 2, 2)),
            |c| c.guest = Some(Ipv4Addr::new(10, 0, 3, 15)),
            |c| c.guest = Some(Ipv4Addr::new(10, 0, 2, 255)),
            |c| c.mac = [1, 0, 0, 0, 0, 0],
            |c| c.mtu = 100,
            |c| c.hostname = "two words".into(),
        ];
        for change in changes {
            let mut config = NatConfig::default();
            change(&mut config);
            assert!(Plan::new(&config).is_err(), "{config:?}");
        }
    }

    #[test]
    fn route_separates_virtual_outside_and_forbidden_addresses() {
        let plan = Plan::new(&NatConfig::default()).unwrap();
        let outside = Ipv4Addr::new(192, 0, 2, 7);
        assert_eq!(plan.route(plan.gateway), Route::Gateway);
        assert_eq!(plan.route(plan.dns), Route::Dns);
        assert_eq!(plan.route(outside), Route::Outside(outside));
        assert_eq!(plan.route(Ipv4Addr::new(10, 0, 2, 255)), Route::Broadcast);
        for nowhere in [
            [127, 0, 0, 1],
            [0, 0, 0, 0],
            [224, 0, 0, 251],
            [240, 1, 2, 3],
            [10, 0, 2, 99],
        ] {
            assert_eq!(plan.route(Ipv4Addr::from(nowhere)), Route::Nowhere);
        }
    }
}
