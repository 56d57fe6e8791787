//! Who is who on the virtual network, and where the guest's packets go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::EthernetAddress;
use vm_osal::net::{Family, has_ipv6_route};

use super::config::{Ipv4Network, MTU_MAX, MTU_MIN, NatConfig, NatError};
use super::loss::PERCENT_MAX;

/// Host numbers within the guest network, as guests of other virtual machines know them.
const GATEWAY_NUMBER: u32 = 2;
const DNS_NUMBER: u32 = 3;
const GUEST_NUMBER: u32 = 15;

/// The guest's IPv6 network, as guests of other virtual machines know it; its addresses are routed nowhere.
pub(super) const PREFIX_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0);
pub(super) const PREFIX_V6_BITS: u8 = 64;
/// The gateway, which stands for the host's ::1, the name server, and the first address that DHCPv6 hands out; written
/// they look like those of IPv4.
pub(super) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);
pub(super) const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 3);
pub(super) const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0x15);
/// The gateway's address on the cable, by which the guest knows its router.
pub(super) const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The smallest MTU of IPv6 (RFC 8200, 5).
const MTU_V6_MIN: u16 = 1280;

/// Who is who on the virtual network: the checked form of [`NatConfig`].
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) network: Ipv4Network,
    pub(super) gateway: Ipv4Addr,
    pub(super) dns: Ipv4Addr,
    pub(super) guest: Ipv4Addr,
    /// Whether the guest has IPv6 too.
    pub(super) v6: bool,
    pub(super) mac: EthernetAddress,
    pub(super) hostname: String,
    pub(super) mtu: u16,
    pub(super) loss_percent: u8,
}

/// Where a packet of the guest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The gateway, which stands for the host.
    Gateway,
    /// The name server.
    Dns,
    /// A host of the outside world.
    Outside(IpAddr),
    /// Every host of the cable.
    Broadcast,
    /// Nobody: an absent neighbour, loopback, multicast and reserved addresses.
    Nowhere,
}

impl Plan {
    pub(super) fn new(config: &NatConfig) -> Result<Self, NatError> {
        let network = config.network;
        let wide = config.mtu >= MTU_V6_MIN;
        let plan = Self {
            network,
            gateway: network.host(GATEWAY_NUMBER),
            dns: network.host(DNS_NUMBER),
            guest: config.guest.unwrap_or_else(|| network.host(GUEST_NUMBER)),
            v6: config.ipv6.unwrap_or_else(|| wide && has_ipv6_route()),
            mac: EthernetAddress(config.mac),
            hostname: config.hostname.clone(),
            mtu: config.mtu,
            loss_percent: config.loss_percent,
        };
        plan.check_guest(plan.guest.into())?;
        if !plan.mac.is_unicast() || config.mac == [0; 6] {
            return Err(NatError::Mac);
        }
        if !(MTU_MIN..=MTU_MAX).contains(&config.mtu) {
            return Err(NatError::Mtu { mtu: config.mtu });
        }
        if plan.v6 && !wide {
            return Err(NatError::MtuIpv6 { mtu: config.mtu });
        }
        if plan.loss_percent > PERCENT_MAX {
            return Err(NatError::Loss {
                percent: plan.loss_percent,
            });
        }
        if !config.allow.is_empty() && !config.restrict {
            return Err(NatError::AllowUnrestricted);
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if plan.hostname.len() > 63 || !plan.hostname.chars().all(letter) {
            return Err(NatError::Hostname {
                name: plan.hostname,
            });
        }
        Ok(plan)
    }

    /// Checks that a guest may use `address` as its own.
    pub(super) fn check_guest(&self, address: IpAddr) -> Result<(), NatError> {
        let (allowed, network) = match address {
            IpAddr::V4(v4) => (self.is_guest(v4), self.network.to_string()),
            IpAddr::V6(v6) => (
                self.v6 && self.is_guest_v6(v6),
                format!("{PREFIX_V6}/{PREFIX_V6_BITS}"),
            ),
        };
        match allowed {
            true => Ok(()),
            false => Err(NatError::GuestAddress {
                guest: address,
                network,
            }),
        }
    }

    /// Whether a guest may use `address` as its own.
    pub(super) fn is_guest(&self, address: Ipv4Addr) -> bool {
        self.network.contains(address)
            && !self.is_virtual(address.into())
            && address != self.network.first()
            && address != self.network.broadcast()
    }

    /// As [`Self::is_guest`]: an address of the prefix, or one on this cable only.
    pub(super) fn is_guest_v6(&self, address: Ipv6Addr) -> bool {
        (in_prefix(address) || address.is_unicast_link_local())
            && !self.is_virtual(address.into())
            && address != PREFIX_V6
    }

    /// Whether `address` is one that this side answers for.
    pub(super) fn is_virtual(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.gateway || v4 == self.dns,
            IpAddr::V6(v6) => self.v6 && [GATEWAY_V6, DNS_V6, ROUTER_V6].contains(&v6),
        }
    }

    /// Where a packet to `address` goes. Loopback and group addresses never leave.
    pub(super) fn route(&self, address: IpAddr) -> Route {
        match address {
            IpAddr::V4(address) => self.route_v4(address),
            IpAddr::V6(address) if self.v6 => route_v6(address),
            IpAddr::V6(_) => Route::Nowhere,
        }
    }

    fn route_v4(&self, address: Ipv4Addr) -> Route {
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
            Route::Outside(address.into())
        }
    }

    /// The host's socket address behind one that the guest wrote to; `None`: it leads nowhere.
    pub(super) fn host_address(&self, to: SocketAddr) -> Option<SocketAddr> {
        let address = match (self.route(to.ip()), to) {
            (Route::Gateway, SocketAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
            (Route::Gateway, SocketAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
            (Route::Outside(address), _) => address,
            _ => return None,
        };
        (to.port() != 0).then(|| SocketAddr::new(address, to.port()))
    }

    /// The gateway's address in this family.
    pub(super) fn gateway_of(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.gateway.into(),
            Family::V6 => GATEWAY_V6.into(),
        }
    }

    /// The address of `family` by which the guest knows a peer on the host's side.
    pub(super) fn seen_by_guest(&self, peer: IpAddr, family: Family) -> IpAddr {
        // A socket for both families has IPv4 peers in IPv6's clothes.
        let peer = peer.to_canonical();
        let of_guest = match peer {
            IpAddr::V4(v4) => self.network.contains(v4),
            IpAddr::V6(v6) => in_prefix(v6) || v6.is_unicast_link_local(),
        };
        if peer.is_loopback() || peer.is_unspecified() || of_guest || Family::of(peer) != family {
            self.gateway_of(family)
        } else {
            peer
        }
    }
}

/// Whether `address` belongs to the guest's IPv6 network.
fn in_prefix(address: Ipv6Addr) -> bool {
    address.segments()[..4] == PREFIX_V6.segments()[..4]
}

fn route_v6(address: Ipv6Addr) -> Route {
    match address {
        GATEWAY_V6 | ROUTER_V6 => Route::Gateway,
        DNS_V6 => Route::Dns,
        // An IPv6 socket would take IPv4 in IPv6's clothes (RFC 4291, 2.5.5) to this host's loopback.
        _ if in_prefix(address)
            || address.is_multicast()
            || address.is_unicast_link_local()
            || address.segments()[..5] == [0; 5] =>
        {
            Route::Nowhere
        }
        _ => Route::Outside(address.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let changes: [Change; 8] = [
            |c| c.guest = Some(Ipv4Addr::new(10, 0, 2, 2)),
            |c| c.guest = Some(Ipv4Addr::new(10, 0, 3, 15)),
            |c| c.guest = Some(Ipv4Addr::new(10, 0, 2, 255)),
            |c| c.mac = [1, 0, 0, 0, 0, 0],
            |c| c.mtu = 100,
            |c| c.hostname = "two words".into(),
            |c| (c.mtu, c.ipv6) = (1000, Some(true)),
            |c| c.allow = vec!["192.0.2.1:80".parse().unwrap()],
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
        let outside = Ipv4Addr::new(192, 0, 2, 7).into();
        assert_eq!(plan.route(plan.gateway.into()), Route::Gateway);
        assert_eq!(plan.route(plan.dns.into()), Route::Dns);
        assert_eq!(plan.route(outside), Route::Outside(outside));
        assert_eq!(
            plan.route(Ipv4Addr::new(10, 0, 2, 255).into()),
            Route::Broadcast
        );
        for nowhere in [
            [127, 0, 0, 1],
            [0, 0, 0, 0],
            [224, 0, 0, 251],
            [240, 1, 2, 3],
            [10, 0, 2, 99],
        ] {
            assert_eq!(plan.route(Ipv4Addr::from(nowhere).into()), Route::Nowhere);
        }
    }

    #[test]
    fn route_v6_leads_to_no_loopback_in_any_clothes() {
        let plan = Plan::new(&NatConfig {
            ipv6: Some(true),
            ..NatConfig::default()
        });
        let plan = plan.unwrap();
        let route = |text: &str| plan.route(text.parse().unwrap());
        assert_eq!(route("fec0::2"), Route::Gateway);
        assert_eq!(route("fec0::3"), Route::Dns);
        let outside: IpAddr = "2001:db8::7".parse().unwrap();
        assert_eq!(route("2001:db8::7"), Route::Outside(outside));
        for nowhere in [
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::99",
            "ff02::1",
            "fec0::99",
        ] {
            assert_eq!(route(nowhere), Route::Nowhere, "{nowhere}");
        }
        let without = Plan::new(&NatConfig {
            ipv6: Some(false),
            ..NatConfig::default()
        });
        let without = without.unwrap();
        assert_eq!(without.route(outside), Route::Nowhere);
    }
}
