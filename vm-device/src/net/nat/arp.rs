//! Address resolution (RFC 826): answers for the virtual hosts and remembers the guest's addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol};

use super::cable::Cable;
use super::plan::Plan;

/// Addresses of the guest that are remembered; a guest may bridge others onto its cable.
const NEIGHBOURS_MAX: usize = 256;

/// Hardware addresses of the guest's side of the cable, for both families.
#[derive(Default)]
pub(super) struct Neighbours {
    known: HashMap<IpAddr, EthernetAddress>,
    /// The last pair seen, which is nearly always the next one too.
    last: Option<(IpAddr, EthernetAddress)>,
}

impl Neighbours {
    /// Notes who has an address; true when that is news.
    pub(super) fn learn(&mut self, address: IpAddr, mac: EthernetAddress) -> bool {
        if self.last == Some((address, mac)) || !mac.is_unicast() {
            return false;
        }
        if self.known.len() >= NEIGHBOURS_MAX && !self.known.contains_key(&address) {
            self.known.clear();
        }
        self.last = Some((address, mac));
        self.known.insert(address, mac) != Some(mac)
    }

    /// The address seen last.
    pub(super) fn newest(&self) -> Option<IpAddr> {
        self.last.map(|(address, _)| address)
    }

    pub(super) fn find(&self, address: IpAddr) -> Option<EthernetAddress> {
        match self.last {
            Some((last, mac)) if last == address => Some(mac),
            _ => self.known.get(&address).copied(),
        }
    }
}

impl Cable {
    /// Asks who has `address`. The packet that wanted to know is lost; its sender repeats it.
    pub(super) fn ask(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ask_v4(address),
            IpAddr::V6(address) => self.solicit(address),
        }
    }

    fn ask_v4(&mut self, address: Ipv4Addr) {
        let request = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.mac,
            source_protocol_addr: self.address,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: address,
        };
        self.arp(EthernetAddress::BROADCAST, request);
    }

    fn arp(&mut self, to: EthernetAddress, message: ArpRepr) {
        self.ethernet(to, EthernetProtocol::Arp, message.buffer_len(), |payload| {
            message.emit(&mut ArpPacket::new_unchecked(payload));
        });
    }
}

/// Takes an ARP packet of the guest; true when it told of a new neighbour.
pub(super) fn input(cable: &mut Cable, plan: &Plan, bytes: &[u8]) -> bool {
    let Ok(packet) = ArpPacket::new_checked(bytes) else {
        return false;
    };
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: sender,
        target_protocol_addr: target,
        ..
    }) = ArpRepr::parse(&packet)
    else {
        return false;
    };
    let news = plan.is_guest(sender) && cable.neighbours.learn(sender.into(), mac);
    if operation == ArpOperation::Request && plan.is_virtual(target.into()) && mac.is_unicast() {
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: cable.mac,
            source_protocol_addr: target,
            target_hardware_addr: mac,
            target_protocol_addr: sender,
        };
        cable.arp(mac, reply);
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_learn_reports_only_news() {
        let mut neighbours = Neighbours::default();
        let address = |last| IpAddr::from(Ipv4Addr::new(10, 0, 2, last));
        let (a, b) = (address(15), address(16));
        let (one, two) = (
            EthernetAddress([2, 0, 0, 0, 0, 1]),
            EthernetAddress([2, 0, 0, 0, 0, 2]),
        );
        assert!(neighbours.learn(a, one));
        assert!(!neighbours.learn(a, one));
        assert!(neighbours.learn(b, two));
        assert!(!neighbours.learn(a, one));
        assert!(neighbours.learn(a, two));
        assert_eq!(neighbours.find(a), Some(two));
        assert!(!neighbours.learn(a, EthernetAddress::BROADCAST));
    }

    #[test]
    fn neighbours_flood_stays_bounded() {
        let mut neighbours = Neighbours::default();
        for i in 0..10_000u32 {
            neighbours.learn(
                Ipv4Addr::from(0x0a00_0000 + i).into(),
                EthernetAddress([2; 6]),
            );
        }
        assert!(neighbours.known.len() <= NEIGHBOURS_MAX);
    }
}
