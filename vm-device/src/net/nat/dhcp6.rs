//! The address server for IPv6 (RFC 8415): the name server for those who make their own addresses, and addresses for
//! those who ask for one.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use super::cable::Cable;
use super::plan::{DNS_V6, GUEST_V6, ROUTER_V6};
use super::udp;

pub(super) const SERVER_PORT: u16 = 547;
/// All relay agents and servers (7.1).
pub(super) const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Types of the messages (7.3).
mod kind {
    pub(super) const SOLICIT: u8 = 1;
    pub(super) const ADVERTISE: u8 = 2;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const CONFIRM: u8 = 4;
    pub(super) const RENEW: u8 = 5;
    pub(super) const REBIND: u8 = 6;
    pub(super) const REPLY: u8 = 7;
    pub(super) const RELEASE: u8 = 8;
    pub(super) const DECLINE: u8 = 9;
    pub(super) const INFORMATION_REQUEST: u8 = 11;
}

/// Options (21; RFC 3646, 3).
mod option {
    pub(super) const CLIENT: u16 = 1;
    pub(super) const SERVER: u16 = 2;
    pub(super) const ADDRESSES: u16 = 3;
    pub(super) const ADDRESS: u16 = 5;
    pub(super) const STATUS: u16 = 13;
    pub(super) const RAPID_COMMIT: u16 = 14;
    pub(super) const NAME_SERVERS: u16 = 23;
}

/// Type and transaction.
const HEADER_BYTES: usize = 4;
const PREFERRED_SECONDS: u32 = 43_200;
const VALID_SECONDS: u32 = 86_400;
/// Addresses handed out; a guest with one card needs one, bridges inside it may ask for more.
const LEASES_MAX: usize = 16;
/// Longest identifier of a client (11.1).
const CLIENT_BYTES_MAX: usize = 130;

/// Who holds which address: entry `i` has the `i`-th one from [`GUEST_V6`] on.
#[derive(Default)]
pub(super) struct Dhcp6 {
    leases: Vec<Vec<u8>>,
}

impl Dhcp6 {
    fn lease(&mut self, client: &[u8]) -> Ipv6Addr {
        let index = match self.leases.iter().position(|holder| holder == client) {
            Some(index) => index,
            None => {
                // The first lease belongs to the card itself; the last one is reused.
                self.leases.truncate(LEASES_MAX - 1);
                self.leases.push(client.to_vec());
                self.leases.len() - 1
            }
        };
        Ipv6Addr::from(u128::from(GUEST_V6) + index as u128)
    }

    /// Takes a datagram for the server's port and answers it.
    pub(super) fn input(&mut self, cable: &mut Cable, client: SocketAddrV6, message: &[u8]) {
        let server = server_id(cable);
        if let Some(answer) = self.answer(&server, message) {
            let from = SocketAddr::new(ROUTER_V6.into(), SERVER_PORT);
            udp::send(cable, from, client.into(), &answer);
        }
    }

    fn answer(&mut self, server: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let (header, rest) = message.split_at_checked(HEADER_BYTES)?;
        let find = |wanted| Options(rest).find(|(code, _)| *code == wanted);
        let client = find(option::CLIENT).map(|(_, client)| client);
        let asked_server = find(option::SERVER).map(|(_, server)| server);
        if client.is_some_and(|client| client.len() > CLIENT_BYTES_MAX)
            || asked_server.is_some_and(|asked| asked != server)
        {
            return None;
        }
        let rapid = find(option::RAPID_COMMIT).is_some();
        // Which messages need which identifiers: 16.
        let (answer, addresses, status) = match header[0] {
            kind::SOLICIT if asked_server.is_none() && rapid => (kind::REPLY, true, false),
            kind::SOLICIT if asked_server.is_none() => (kind::ADVERTISE, true, false),
            kind::REQUEST | kind::RENEW if asked_server.is_some() => (kind::REPLY, true, false),
            kind::REBIND if asked_server.is_none() => (kind::REPLY, true, false),
            kind::CONFIRM if asked_server.is_none() => (kind::REPLY, false, true),
            kind::RELEASE | kind::DECLINE if asked_server.is_some() => (kind::REPLY, false, true),
            kind::INFORMATION_REQUEST => (kind::REPLY, false, false),
            _ => return None,
        };
        if client.is_none() && header[0] != kind::INFORMATION_REQUEST {
            return None;
        }
        let mut reply = vec![answer, header[1], header[2], header[3]];
        put(&mut reply, option::SERVER, server);
        if let Some(client) = client {
            put(&mut reply, option::CLIENT, client);
        }
        if rapid && header[0] == kind::SOLICIT {
            put(&mut reply, option::RAPID_COMMIT, &[]);
        }
        if status {
            put(&mut reply, option::STATUS, &[0, 0]);
        }
        if addresses && let Some((client, number)) = client.zip(identity(rest)) {
            let address = self.lease(client);
            put(
                &mut reply,
                option::ADDRESSES,
                &identity_with(number, address),
            );
        }
        put(&mut reply, option::NAME_SERVERS, &DNS_V6.octets());
        Some(reply)
    }
}

/// The number by which the client knows its addresses, from its first option of that kind.
fn identity(options: &[u8]) -> Option<[u8; 4]> {
    let (_, data) = Options(options).find(|(code, _)| *code == option::ADDRESSES)?;
    data.first_chunk::<4>().copied()
}

/// The contents of the option that tells an address (21.4, 21.6).
fn identity_with(number: [u8; 4], address: Ipv6Addr) -> Vec<u8> {
    let mut data = number.to_vec();
    data.extend((PREFERRED_SECONDS / 2).to_be_bytes());
    data.extend((PREFERRED_SECONDS / 5 * 4).to_be_bytes());
    let mut told = address.octets().to_vec();
    told.extend(PREFERRED_SECONDS.to_be_bytes());
    told.extend(VALID_SECONDS.to_be_bytes());
    put(&mut data, option::ADDRESS, &told);
    data
}

/// Who this server is: its hardware address, of Ethernet (11.4).
fn server_id(cable: &Cable) -> Vec<u8> {
    [&[0, 3, 0, 1][..], cable.mac.as_bytes()].concat()
}

fn put(message: &mut Vec<u8>, code: u16, data: &[u8]) {
    message.extend(code.to_be_bytes());
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
}

/// Takes options apart, as far as they are whole.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([a, b, c, d], rest) = self.0.split_first_chunk::<4>()?;
        let (data, rest) = rest.split_at_checked(u16::from_be_bytes([*c, *d]).into())?;
        self.0 = rest;
        Some((u16::from_be_bytes([*a, *b]), data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1];

    fn message(kind: u8, server: bool) -> Vec<u8> {
        let mut message = vec![kind, 7, 8, 9];
        put(&mut message, option::CLIENT, b"client");
        if server {
            put(&mut message, option::SERVER, SERVER);
        }
        put(
            &mut message,
            option::ADDRESSES,
            &[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        message
    }

    fn told(answer: &[u8], code: u16) -> Option<Vec<u8>> {
        Options(&answer[HEADER_BYTES..])
            .find(|(found, _)| *found == code)
            .map(|(_, data)| data.to_vec())
    }

    #[test]
    fn answer_solicit_and_request_tell_the_guests_address() {
        let mut dhcp = Dhcp6::default();
        for (asked, server, answered) in [
            (kind::SOLICIT, false, kind::ADVERTISE),
            (kind::REQUEST, true, kind::REPLY),
            (kind::RENEW, true, kind::REPLY),
            (kind::REBIND, false, kind::REPLY),
        ] {
            let answer = dhcp.answer(SERVER, &message(asked, server)).unwrap();
            assert_eq!(answer[..4], [answered, 7, 8, 9]);
            let addresses = told(&answer, option::ADDRESSES).unwrap();
            assert_eq!(addresses[..4], [1, 2, 3, 4]);
            assert_eq!(addresses[16..32], GUEST_V6.octets());
            assert_eq!(told(&answer, option::CLIENT).unwrap(), b"client");
        }
        let mut other = message(kind::SOLICIT, false);
        other[HEADER_BYTES + 4] = b'C';
        let answer = dhcp.answer(SERVER, &other).unwrap();
        let addresses = told(&answer, option::ADDRESSES).unwrap();
        assert_eq!(addresses[31], 0x16);
    }

    #[test]
    fn answer_information_request_tells_the_name_server_only() {
        let mut dhcp = Dhcp6::default();
        let answer = dhcp.answer(SERVER, &[kind::INFORMATION_REQUEST, 1, 2, 3]);
        let answer = answer.unwrap();
        let servers = told(&answer, option::NAME_SERVERS).unwrap();
        assert_eq!(servers, DNS_V6.octets());
        assert_eq!(told(&answer, option::ADDRESSES), None);
    }

    #[test]
    fn answer_without_the_right_identifiers_is_none() {
        let mut dhcp = Dhcp6::default();
        assert_eq!(dhcp.answer(SERVER, &message(kind::REQUEST, false)), None);
        assert_eq!(dhcp.answer(SERVER, &message(kind::SOLICIT, true)), None);
        assert_eq!(dhcp.answer(b"another", &message(kind::RENEW, true)), None);
        assert_eq!(dhcp.answer(SERVER, &[kind::SOLICIT, 1, 2, 3]), None);
        assert_eq!(dhcp.answer(SERVER, &message(kind::REPLY, true)), None);
    }

    #[test]
    fn lease_flood_stays_bounded_and_the_first_client_keeps_its_own() {
        let mut dhcp = Dhcp6::default();
        for client in 0..1000u32 {
            dhcp.lease(&client.to_be_bytes());
        }
        assert_eq!(dhcp.leases.len(), LEASES_MAX);
        assert_eq!(dhcp.lease(&0u32.to_be_bytes()), GUEST_V6);
    }

    proptest! {
        #[test]
        fn answer_any_message_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            Dhcp6::default().answer(SERVER, &bytes);
        }
    }
}
