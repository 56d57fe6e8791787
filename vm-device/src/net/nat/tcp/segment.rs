//! Segments on the virtual cable: what one says, and how one is sent (RFC 9293, 3.1).

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, TCP_HEADER_LEN, TcpOption, TcpPacket, TcpSeqNumber};

use super::recv::WINDOW_SHIFT;
use super::seq::Seq;
use crate::net::nat::cable::{self, Cable};
use crate::net::nat::icmp;

/// The smallest segment size taken from a guest; smaller ones would only cost time (RFC 9293, 3.7.1 default: 536).
const MSS_MIN: u16 = 64;
const MSS_DEFAULT: u16 = 536;
/// Largest window scale (RFC 7323, 2.3).
const SHIFT_MAX: u8 = 14;
/// MSS, one byte of padding, window scale.
const SYN_OPTION_BYTES: usize = 8;

/// The two ends of a connection, as the guest names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::net::nat) struct FlowKey {
    pub(in crate::net::nat) guest: SocketAddr,
    pub(in crate::net::nat) remote: SocketAddr,
}

/// A segment that the guest sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) seq: Seq,
    pub(super) ack: Option<Seq>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) window: u16,
    /// Largest segment the guest takes, from its SYN.
    pub(super) mss: usize,
    /// The guest's window scale, when its SYN offers one.
    pub(super) shift: Option<u8>,
    pub(super) payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment between these addresses; `None` when it is damaged.
    pub(super) fn parse(from: IpAddr, to: IpAddr, bytes: &'a [u8]) -> Option<(FlowKey, Self)> {
        let packet = TcpPacket::new_checked(bytes).ok()?;
        if !packet.verify_checksum(&from.into(), &to.into()) {
            return None;
        }
        let key = FlowKey {
            guest: SocketAddr::new(from, packet.src_port()),
            remote: SocketAddr::new(to, packet.dst_port()),
        };
        if packet.src_port() == 0 || packet.dst_port() == 0 {
            return None;
        }
        let (mut mss, mut shift) = (MSS_DEFAULT, None);
        let mut options = if packet.syn() { packet.options() } else { &[] };
        while let Ok((rest, option)) = TcpOption::parse(options) {
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(size) => mss = size.max(MSS_MIN),
                TcpOption::WindowScale(scale) => shift = Some(scale.min(SHIFT_MAX)),
                _ => {}
            }
            options = rest;
        }
        let segment = Self {
            seq: Seq(packet.seq_number().0 as u32),
            ack: packet.ack().then(|| Seq(packet.ack_number().0 as u32)),
            syn: packet.syn(),
            fin: packet.fin(),
            rst: packet.rst(),
            window: packet.window_len(),
            mss: mss.into(),
            shift,
            payload: packet.payload(),
        };
        Some((key, segment))
    }

    /// Positions that the segment takes up.
    pub(super) fn length(&self) -> usize {
        self.payload.len() + usize::from(self.syn) + usize::from(self.fin)
    }
}

/// The header of a segment for the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) seq: Seq,
    pub(super) ack: Option<Seq>,
    pub(super) window: u16,
    pub(super) kind: Kind,
    pub(super) push: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Fin,
    Reset,
    /// With our segment size, and our window scale when `scaled`.
    Syn {
        scaled: bool,
    },
}

/// The largest segment to and from this address that fits the cable.
pub(super) fn mss(cable: &Cable, address: IpAddr) -> usize {
    cable.mtu - cable::header_bytes(address) - TCP_HEADER_LEN
}

/// Sends a segment with the two parts of `data`.
pub(super) fn send(cable: &mut Cable, key: FlowKey, header: Header, data: (&[u8], &[u8])) {
    let options = match header.kind {
        Kind::Syn { .. } => SYN_OPTION_BYTES,
        _ => 0,
    };
    let header_bytes = TCP_HEADER_LEN + options;
    let (from, to) = (key.remote.ip(), key.guest.ip());
    let size = mss(cable, to) as u16;
    let bytes = header_bytes + data.0.len() + data.1.len();
    cable.ip(to, from, IpProtocol::Tcp, bytes, |payload| {
        let mut packet = TcpPacket::new_unchecked(payload);
        packet.set_src_port(key.remote.port());
        packet.set_dst_port(key.guest.port());
        packet.set_seq_number(TcpSeqNumber(header.seq.0 as i32));
        packet.set_ack_number(TcpSeqNumber(header.ack.map_or(0, |ack| ack.0 as i32)));
        packet.clear_flags();
        packet.set_header_len(header_bytes as u8);
        packet.set_ack(header.ack.is_some());
        packet.set_psh(header.push);
        packet.set_window_len(header.window);
        packet.set_urgent_at(0);
        match header.kind {
            Kind::Plain => {}
            Kind::Fin => packet.set_fin(true),
            Kind::Reset => packet.set_rst(true),
            Kind::Syn { scaled } => {
                packet.set_syn(true);
                let rest = TcpOption::MaxSegmentSize(size).emit(packet.options_mut());
                let scale = if scaled {
                    TcpOption::WindowScale(WINDOW_SHIFT)
                } else {
                    TcpOption::EndOfList
                };
                let rest = TcpOption::NoOperation.emit(rest);
                scale.emit(rest);
            }
        }
        let body = packet.payload_mut();
        body[..data.0.len()].copy_from_slice(data.0);
        body[data.0.len()..].copy_from_slice(data.1);
        packet.fill_checksum(&from.into(), &to.into());
    });
}

/// The start of the guest's SYN with the position `seq`, to be quoted in an ICMP error.
pub(super) fn quote(key: FlowKey, seq: Seq) -> Vec<u8> {
    let mut head = [0; 8];
    head[..2].copy_from_slice(&key.guest.port().to_be_bytes());
    head[2..4].copy_from_slice(&key.remote.port().to_be_bytes());
    head[4..].copy_from_slice(&seq.0.to_be_bytes());
    let ends = (key.guest.ip(), key.remote.ip());
    icmp::quote(ends, IpProtocol::Tcp, TCP_HEADER_LEN, &head)
}

/// Answers a segment that belongs to no connection (RFC 9293, 3.5.2).
pub(super) fn refuse(cable: &mut Cable, key: FlowKey, segment: &Segment<'_>) {
    if segment.rst {
        return;
    }
    let (seq, ack) = match segment.ack {
        Some(ack) => (ack, None),
        None => (Seq(0), Some(segment.seq.plus(segment.length()))),
    };
    let header = Header {
        seq,
        ack,
        window: 0,
        kind: Kind::Reset,
        push: false,
    };
    send(cable, key, header, (&[], &[]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::Ipv4Packet;
    use std::net::Ipv4Addr;

    #[test]
    fn quote_names_the_connection_and_the_position_of_its_syn() {
        let key = FlowKey {
            guest: "10.0.2.15:40000".parse().unwrap(),
            remote: "192.0.2.1:80".parse().unwrap(),
        };
        let bytes = quote(key, Seq(0x0102_0304));
        let packet = Ipv4Packet::new_unchecked(&bytes);
        assert!(packet.verify_checksum());
        assert_eq!(
            (packet.src_addr(), packet.dst_addr()),
            (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(192, 0, 2, 1))
        );
        assert_eq!(packet.next_header(), IpProtocol::Tcp);
        assert_eq!(bytes[20..], [0x9c, 0x40, 0, 80, 1, 2, 3, 4]);
    }
}
