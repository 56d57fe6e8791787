//! The address server (RFC 2131, options of RFC 2132).

use std::net::Ipv4Addr;

use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, IpAddress, IpProtocol,
    UDP_HEADER_LEN, UdpPacket,
};

use super::cable::Cable;
use super::plan::Plan;

pub(super) const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Old clients drop shorter messages (RFC 1542, 2.1).
const BOOTP_BYTES_MIN: usize = 300;
const LEASE_SECONDS: u32 = 86_400;
/// Addresses handed out; a guest with one card needs one, bridges inside it may ask for more.
const LEASES_MAX: usize = 16;

// Option numbers (RFC 2132) that are written as they are.
const OPTION_DNS: u8 = 6;
const OPTION_HOSTNAME: u8 = 12;
const OPTION_MTU: u8 = 26;
const OPTION_BROADCAST: u8 = 28;
const OPTION_RENEWAL: u8 = 58;
const OPTION_REBINDING: u8 = 59;

/// Who holds which address: entry `i` has the `i`-th free one from the guest's address on.
#[derive(Default)]
pub(super) struct Dhcp {
    leases: Vec<EthernetAddress>,
}

impl Dhcp {
    fn lease(&mut self, plan: &Plan, mac: EthernetAddress) -> Ipv4Addr {
        let index = match self.leases.iter().position(|holder| *holder == mac) {
            Some(index) => index,
            None if self.leases.len() < LEASES_MAX => {
                self.leases.push(mac);
                self.leases.len() - 1
            }
            // The first lease belongs to the card itself; the last one is reused.
            None => {
                self.leases[LEASES_MAX - 1] = mac;
                LEASES_MAX - 1
            }
        };
        let first = u32::from(plan.guest);
        (first..=u32::from(plan.network.broadcast()))
            .map(Ipv4Addr::from)
            .filter(|address| plan.is_guest(*address))
            .nth(index)
            .unwrap_or(plan.guest)
    }

    /// Takes a datagram for the server's port and answers it.
    pub(super) fn input(&mut self, cable: &mut Cable, plan: &Plan, bytes: &[u8]) {
        let Ok(packet) = DhcpPacket::new_checked(bytes) else {
            return;
        };
        let Ok(request) = DhcpRepr::parse(&packet) else {
            return;
        };
        let mac = request.client_hardware_address;
        if !mac.is_unicast() || request.relay_agent_ip != Ipv4Addr::UNSPECIFIED {
            return;
        }
        let address = self.lease(plan, mac);
        let for_us = request
            .server_identifier
            .is_none_or(|server| server == plan.gateway);
        let answer = match request.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request if for_us => {
                // Selecting and INIT-REBOOT name the address in an option, renewing in `ciaddr` (RFC 2131, 4.3.2).
                let wanted = request.requested_ip.unwrap_or(request.client_ip);
                if wanted == address {
                    DhcpMessageType::Ack
                } else {
                    DhcpMessageType::Nak
                }
            }
            DhcpMessageType::Inform => DhcpMessageType::Ack,
            _ => return,
        };
        self.answer(cable, plan, &request, answer, address);
    }

    fn answer(
        &self,
        cable: &mut Cable,
        plan: &Plan,
        request: &DhcpRepr<'_>,
        message_type: DhcpMessageType,
        address: Ipv4Addr,
    ) {
        let refused = message_type == DhcpMessageType::Nak;
        let inform = request.message_type == DhcpMessageType::Inform;
        let dns = plan.dns.octets();
        let broadcast = plan.network.broadcast().octets();
        let mtu = plan.mtu.to_be_bytes();
        let renewal = (LEASE_SECONDS / 2).to_be_bytes();
        let rebinding = (LEASE_SECONDS / 8 * 7).to_be_bytes();
        let mut options = Vec::new();
        let mut option = |wanted: bool, kind, data| {
            if wanted {
                options.push(DhcpOption { kind, data });
            }
        };
        option(!refused, OPTION_DNS, &dns[..]);
        option(!refused, OPTION_BROADCAST, &broadcast[..]);
        option(!refused && !inform, OPTION_RENEWAL, &renewal[..]);
        option(!refused && !inform, OPTION_REBINDING, &rebinding[..]);
        option(!refused && plan.mtu != 1500, OPTION_MTU, &mtu[..]);
        option(
            !refused && !plan.hostname.is_empty(),
            OPTION_HOSTNAME,
            plan.hostname.as_bytes(),
        );
        let reply = DhcpRepr {
            message_type,
            transaction_id: request.transaction_id,
            secs: 0,
            client_hardware_address: request.client_hardware_address,
            client_ip: if refused {
                Ipv4Addr::UNSPECIFIED
            } else {
                request.client_ip
            },
            your_ip: if refused || inform {
                Ipv4Addr::UNSPECIFIED
            } else {
                address
            },
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: (!refused).then_some(plan.gateway),
            subnet_mask: (!refused).then_some(plan.network.mask()),
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: request.broadcast,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(plan.gateway),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: (!refused && !inform).then_some(LEASE_SECONDS),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &options,
        };
        // Where the answer goes: RFC 2131, 4.1.
        let (mac, to) = if !refused && request.client_ip != Ipv4Addr::UNSPECIFIED {
            (request.client_hardware_address, request.client_ip)
        } else if refused || request.broadcast {
            (EthernetAddress::BROADCAST, Ipv4Addr::BROADCAST)
        } else {
            (request.client_hardware_address, address)
        };
        let bytes = UDP_HEADER_LEN + reply.buffer_len().max(BOOTP_BYTES_MIN);
        cable.ipv4_to(mac, to, plan.gateway, IpProtocol::Udp, bytes, |payload| {
            payload.fill(0);
            let mut udp = UdpPacket::new_unchecked(payload);
            udp.set_src_port(SERVER_PORT);
            udp.set_dst_port(CLIENT_PORT);
            udp.set_len(bytes as u16);
            let emitted = reply.emit(&mut DhcpPacket::new_unchecked(udp.payload_mut()));
            debug_assert!(
                emitted.is_ok(),
                "invariant: the buffer has the length that was asked for"
            );
            udp.fill_checksum(&IpAddress::Ipv4(plan.gateway), &IpAddress::Ipv4(to));
        });
    }
}
