//! Neighbour discovery (RFC 4861) and the router advertisements from which the guest makes its addresses (RFC 4862).

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use smoltcp::wire::{EthernetAddress, IpProtocol};

use super::cable::{Cable, HOPS_NEIGHBOUR};
use super::icmp;
use super::plan::{DNS_V6, PREFIX_V6, PREFIX_V6_BITS, Plan, ROUTER_V6};

/// Types of the messages.
mod kind {
    pub(super) const ROUTER_SOLICITATION: u8 = 133;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
}

/// Options (RFC 4861, 4.6; RFC 8106, 5.1).
mod option {
    pub(super) const SOURCE_ADDRESS: u8 = 1;
    pub(super) const TARGET_ADDRESS: u8 = 2;
    pub(super) const PREFIX: u8 = 3;
    pub(super) const MTU: u8 = 5;
    pub(super) const NAME_SERVERS: u8 = 25;
}

/// Flags of an advertisement: other configuration by DHCPv6 (4.2).
const OTHER_BY_DHCP: u8 = 0x40;
/// Flags of a prefix: on this link, and good for addresses of one's own making (4.6.2).
const ON_LINK_AND_AUTONOMOUS: u8 = 0xc0;
/// Flags of a neighbour's advertisement: it is a router, it was asked, it is to be believed (4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const ROUTER_LIFETIME_SECONDS: u16 = 1800;
const PREFIX_VALID_SECONDS: u32 = 86_400;
const PREFIX_PREFERRED_SECONDS: u32 = 14_400;
/// Between advertisements that nobody asked for: well within a lifetime (6.2.1).
const INTERVAL: Duration = Duration::from_secs(300);

/// Header of a solicitation or advertisement with the target's address (4.3, 4.4).
const TARGET_END: usize = 24;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Whether a message of this type is neighbour discovery's.
pub(super) fn is_ours(kind: u8) -> bool {
    (kind::ROUTER_SOLICITATION..=kind::NEIGHBOUR_ADVERTISEMENT).contains(&kind)
}

/// The router's part.
#[derive(Default)]
pub(super) struct Router {
    /// When to advertise again; `None` until a guest that speaks IPv6 was heard.
    next: Option<Instant>,
}

impl Router {
    /// Takes an intact message of the guest, sent from this address and card.
    pub(super) fn input(
        &mut self,
        cable: &mut Cable,
        plan: &Plan,
        (from, mac): (Ipv6Addr, EthernetAddress),
        message: &[u8],
        now: Instant,
    ) {
        let target = || {
            let octets: [u8; 16] = message.get(8..TARGET_END)?.try_into().ok()?;
            Some(Ipv6Addr::from(octets))
        };
        match message[0] {
            kind::ROUTER_SOLICITATION => {
                advertise(cable, plan);
                self.next = Some(now + INTERVAL);
            }
            kind::NEIGHBOUR_SOLICITATION => {
                if let Some(target) = target().filter(|target| plan.is_virtual((*target).into())) {
                    answer(cable, (from, mac), target);
                }
            }
            kind::NEIGHBOUR_ADVERTISEMENT => {
                if let Some(target) = target().filter(|target| plan.is_guest_v6(*target)) {
                    cable.neighbours.learn(target.into(), mac);
                }
            }
            _ => {}
        }
    }

    /// The time of the next advertisement.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn run(&mut self, cable: &mut Cable, plan: &Plan, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            advertise(cable, plan);
            self.next = Some(now + INTERVAL);
        }
    }
}

/// Tells every node of the prefix, the router, the name server and the MTU (4.2).
fn advertise(cable: &mut Cable, plan: &Plan) {
    let mut message = vec![kind::ROUTER_ADVERTISEMENT, 0, 0, 0, 64, OTHER_BY_DHCP];
    message.extend(ROUTER_LIFETIME_SECONDS.to_be_bytes());
    // Reachable time and retransmission timer are left to the guest.
    message.extend([0; 8]);
    message.extend(link_address(option::SOURCE_ADDRESS, cable.mac));
    message.extend([option::MTU, 1, 0, 0]);
    message.extend(u32::from(plan.mtu).to_be_bytes());
    message.extend([option::PREFIX, 4, PREFIX_V6_BITS, ON_LINK_AND_AUTONOMOUS]);
    message.extend(PREFIX_VALID_SECONDS.to_be_bytes());
    message.extend(PREFIX_PREFERRED_SECONDS.to_be_bytes());
    message.extend([0; 4]);
    message.extend(PREFIX_V6.octets());
    message.extend([option::NAME_SERVERS, 3, 0, 0]);
    message.extend(u32::from(ROUTER_LIFETIME_SECONDS).to_be_bytes());
    message.extend(DNS_V6.octets());
    send(cable, group_mac(ALL_NODES), ALL_NODES, ROUTER_V6, message);
}

/// Tells who has `target`. Who has no address of its own yet (RFC 4862, 5.4.3) is told by way of everybody.
fn answer(cable: &mut Cable, (asker, mac): (Ipv6Addr, EthernetAddress), target: Ipv6Addr) {
    let (to, mac, solicited) = match asker.is_unspecified() {
        true => (ALL_NODES, group_mac(ALL_NODES), 0),
        false => (asker, mac, SOLICITED),
    };
    let flags = ROUTER | OVERRIDE | solicited;
    let mut message = vec![kind::NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend(link_address(option::TARGET_ADDRESS, cable.mac));
    send(cable, mac, to, target, message);
}

impl Cable {
    /// Asks who has `address`, of its solicited-node group (RFC 4291, 2.7.1).
    pub(super) fn solicit(&mut self, address: Ipv6Addr) {
        let [.., a, b, c] = address.octets();
        let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
        group[13..].copy_from_slice(&[a, b, c]);
        let group = group.into();
        let mut message = vec![kind::NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend(address.octets());
        message.extend(link_address(option::SOURCE_ADDRESS, self.mac));
        send(self, group_mac(group), group, ROUTER_V6, message);
    }
}

/// An option with a hardware address.
fn link_address(kind: u8, mac: EthernetAddress) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.0;
    [kind, 1, a, b, c, d, e, f]
}

/// The hardware address of a group (RFC 2464, 7).
fn group_mac(group: Ipv6Addr) -> EthernetAddress {
    let [.., a, b, c, d] = group.octets();
    EthernetAddress([0x33, 0x33, a, b, c, d])
}

fn send(cable: &mut Cable, mac: EthernetAddress, to: Ipv6Addr, from: Ipv6Addr, message: Vec<u8>) {
    let mut message = message;
    icmp::fill_checksum(&mut message, from.into(), to.into());
    let bytes = message.len();
    let fill = |payload: &mut [u8]| payload.copy_from_slice(&message);
    let ends = (to, from);
    cable.ipv6_to(mac, ends, HOPS_NEIGHBOUR, IpProtocol::Icmpv6, bytes, fill);
}
