//! Messages of the domain name system (RFC 1035, 4): what a question asks, what an answer tells.

use std::net::IpAddr;

use smoltcp::wire::{DnsPacket, DnsQueryType, DnsQuestion, DnsRecord, DnsRecordData};
use vm_osal::net::{Family, LookUpError};

pub(super) const HEADER_BYTES: usize = 12;
/// A message without EDNS over UDP (RFC 1035, 2.3.4).
pub(super) const UDP_BYTES: usize = 512;
const ANSWER_TTL_SECONDS: u32 = 60;

/// Response codes (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Whether a message is a question.
pub(super) fn is_question(message: &[u8]) -> bool {
    message.len() >= HEADER_BYTES && message[2] & 0x80 == 0
}

/// Whether a message answers `question`.
pub(super) fn is_answer_to(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= HEADER_BYTES && answer[2] & 0x80 != 0 && answer[..2] == question[..2]
}

/// Whether an answer says that this server cannot tell, so that another one may (the C library goes on to the next
/// server then as well).
pub(super) fn is_failure(answer: &[u8]) -> bool {
    let failures = [Rcode::ServerFailure, Rcode::NotImplemented, Rcode::Refused];
    failures.iter().any(|code| answer[3] & 0xf == *code as u8)
}

/// The first question of a message.
pub(super) struct Question<'a> {
    /// All of it as it stands in the message.
    pub(super) bytes: &'a [u8],
    /// The name, in dots.
    pub(super) name: String,
    /// What is asked.
    pub(super) kind: DnsQueryType,
}

/// The first question of a message.
pub(super) fn question(message: &[u8]) -> Option<Question<'_>> {
    let packet = DnsPacket::new_checked(message).ok()?;
    let body = message.get(HEADER_BYTES..)?;
    let (rest, question) = DnsQuestion::parse(body).ok()?;
    let mut name = String::new();
    for label in packet.parse_name(question.name) {
        let label = std::str::from_utf8(label.ok()?).ok()?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(label);
        if name.len() > 255 {
            return None;
        }
    }
    Some(Question {
        bytes: &body[..body.len() - rest.len()],
        name,
        kind: question.type_,
    })
}

/// The message with its first question and nothing else; `None` when there is none.
pub(super) fn bare_question(message: &[u8]) -> Option<Vec<u8>> {
    let asked = question(message)?.bytes;
    let mut bare = message[..HEADER_BYTES].to_vec();
    bare[4..].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    bare.extend(asked);
    Some(bare)
}

/// The addresses that an answer tells.
pub(super) fn addresses(message: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let (Ok(packet), Some(question)) = (DnsPacket::new_checked(message), question(message)) else {
        return found;
    };
    let mut rest = &message[HEADER_BYTES + question.bytes.len()..];
    for _ in 0..packet.answer_record_count() {
        let Ok((behind, record)) = DnsRecord::parse(rest) else {
            break;
        };
        match record.data {
            DnsRecordData::A(address) => found.push(address.into()),
            DnsRecordData::Aaaa(address) => found.push(address.into()),
            _ => {}
        }
        rest = behind;
    }
    found
}

/// Builds the response to `message`: its question and `addresses`, as many as fit into `bytes_max`.
pub(super) fn answer(
    message: &[u8],
    rcode: Rcode,
    addresses: &[IpAddr],
    bytes_max: usize,
) -> Vec<u8> {
    let asked = question(message).map_or(&[][..], |question| question.bytes);
    let mut reply = message[..2].to_vec();
    let recursion_desired = message[2] & 1;
    let opcode = message[2] & 0x78;
    // QR, opcode, RD; RA and the code (RFC 1035, 4.1.1).
    reply.extend([0x80 | opcode | recursion_desired, 0x80 | rcode as u8]);
    reply.extend([0, u8::from(!asked.is_empty()), 0, 0, 0, 0, 0, 0]);
    reply.extend(asked);
    let mut count = 0u8;
    for address in addresses {
        let (kind, data) = match address {
            IpAddr::V4(address) => (1u16, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        if reply.len() + 12 + data.len() > bytes_max || count == u8::MAX {
            break;
        }
        count += 1;
        // The name is a pointer to the question's (RFC 1035, 4.1.4).
        reply.extend([0xc0, HEADER_BYTES as u8]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(ANSWER_TTL_SECONDS.to_be_bytes());
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    reply[7] = count;
    reply
}

/// Answers a question by the host's own look-up, as the C library would see it. Blocks.
pub(super) fn look_up(message: &[u8], bytes_max: usize) -> Vec<u8> {
    let failed = |code| answer(message, code, &[], bytes_max);
    let asked = question(message).filter(|question| !question.name.is_empty());
    let Some(asked) = asked else {
        return failed(Rcode::ServerFailure);
    };
    let family = match asked.kind {
        DnsQueryType::A => Family::V4,
        DnsQueryType::Aaaa => Family::V6,
        _ => return failed(Rcode::ServerFailure),
    };
    match vm_osal::net::look_up(&asked.name, family) {
        Ok(addresses) => answer(message, Rcode::NoError, &addresses, bytes_max),
        Err(LookUpError::NoSuchName) => failed(Rcode::NoSuchName),
        Err(LookUpError::Failed) => failed(Rcode::ServerFailure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn answer_has_question_and_addresses() {
        let reply = answer(
            &message("a.example", 1),
            Rcode::NoError,
            &["192.0.2.9".parse().unwrap()],
            512,
        );
        let packet = DnsPacket::new_checked(&reply[..]).unwrap();
        assert_eq!(packet.transaction_id(), 0x1234);
        assert_eq!(
            (packet.question_count(), packet.answer_record_count()),
            (1, 1)
        );
        assert_eq!(&reply[2..4], &[0x81, 0x80]);
        assert!(reply.ends_with(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]));
    }

    #[test]
    fn answer_too_many_addresses_stays_within_the_limit() {
        let addresses = vec!["192.0.2.9".parse().unwrap(); 400];
        let reply = answer(&message("a", 1), Rcode::NoError, &addresses, UDP_BYTES);
        assert!(reply.len() <= UDP_BYTES);
        assert_eq!(
            usize::from(reply[7]),
            (UDP_BYTES - message("a", 1).len()) / 16
        );
    }

    #[test]
    fn addresses_are_those_of_the_answer() {
        let told: Vec<IpAddr> = vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
        let reply = answer(&message("a.example", 1), Rcode::NoError, &told, 512);
        assert_eq!(addresses(&reply), told);
        assert_eq!(addresses(&reply[..reply.len() - 1]), told[..1]);
        assert!(addresses(&message("a.example", 1)).is_empty());
    }

    #[test]
    fn bare_question_leaves_everything_else_out() {
        let asked = message("a.example", 1);
        let mut more = asked.clone();
        more[11] = 1;
        more.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bare_question(&more), Some(asked));
        assert_eq!(bare_question(&[0; HEADER_BYTES]), None);
    }

    #[test]
    fn look_up_localhost_gives_loopback_and_other_types_fail() {
        assert!(look_up(&message("localhost", 1), 512).ends_with(&[127, 0, 0, 1]));
        let failed = look_up(&message("localhost", 15), 512);
        assert_eq!(failed[3] & 0xf, Rcode::ServerFailure as u8);
    }

    proptest! {
        #[test]
        fn answer_any_message_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES..80),
        ) {
            let reply = answer(&bytes, Rcode::ServerFailure, &[], UDP_BYTES);
            addresses(&bytes);
            prop_assert!(is_answer_to(&reply, &bytes));
        }
    }
}
