//! Puts the guest's fragmented packets together (RFC 791, 3.2; RFC 8200, 4.5; RFC 815), within a small bound.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use smoltcp::wire::{IpProtocol, Ipv4Packet};

use super::cable::PAYLOAD_MAX;

/// Packets in the making; a newer one displaces the oldest.
const PACKETS_MAX: usize = 16;
/// How long the pieces of a packet are kept (RFC 1122, 3.3.2 suggests 60 s; a virtual cable has no slow paths).
const LIFETIME: Duration = Duration::from_secs(15);

/// Which packet a fragment is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) protocol: IpProtocol,
    pub(super) ident: u32,
}

/// A fragment.
#[derive(Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) key: Key,
    /// Where it begins within the payload, in bytes.
    pub(super) start: usize,
    /// Whether it is not the last one.
    pub(super) more: bool,
    pub(super) data: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// That of an IPv4 packet.
    pub(super) fn of(packet: &Ipv4Packet<&'a [u8]>) -> Self {
        Self {
            key: Key {
                from: packet.src_addr().into(),
                to: packet.dst_addr().into(),
                protocol: packet.next_header(),
                ident: packet.ident().into(),
            },
            start: packet.frag_offset().into(),
            more: packet.more_frags(),
            data: packet.payload(),
        }
    }
}

struct Partial {
    key: Key,
    since: Instant,
    data: Vec<u8>,
    /// One bit for each eight bytes that have come.
    present: Vec<u64>,
    /// Length of the whole payload, known from the last fragment.
    total: Option<usize>,
}

#[derive(Default)]
pub(super) struct Reassembly {
    partial: Vec<Partial>,
}

impl Reassembly {
    /// Takes a fragment; gives the whole payload when it was the missing piece.
    pub(super) fn input(&mut self, fragment: Fragment<'_>, now: Instant) -> Option<Vec<u8>> {
        let Fragment {
            key,
            start,
            more,
            data,
        } = fragment;
        // Only the last piece may have a length that is no multiple of eight.
        if data.is_empty()
            || start + data.len() > PAYLOAD_MAX
            || (more && !data.len().is_multiple_of(8))
        {
            return None;
        }
        self.partial
            .retain(|partial| now.saturating_duration_since(partial.since) < LIFETIME);
        let index = match self.partial.iter().position(|partial| partial.key == key) {
            Some(index) => index,
            None => {
                if self.partial.len() >= PACKETS_MAX {
                    self.partial.remove(0);
                }
                self.partial.push(Partial {
                    key,
                    since: now,
                    data: Vec::new(),
                    present: Vec::new(),
                    total: None,
                });
                self.partial.len() - 1
            }
        };
        let partial = &mut self.partial[index];
        partial.put(start, data, !more);
        partial
            .complete()
            .then(|| self.partial.swap_remove(index).data)
    }
}

impl Partial {
    fn put(&mut self, start: usize, payload: &[u8], last: bool) {
        let end = start + payload.len();
        if self
            .total
            .is_some_and(|total| end > total || (last && end != total))
        {
            return;
        }
        if last {
            if end < self.data.len() {
                return;
            }
            self.total = Some(end);
        }
        if self.data.len() < end {
            self.data.resize(end, 0);
            self.present.resize(end.div_ceil(8).div_ceil(64), 0);
        }
        self.data[start..end].copy_from_slice(payload);
        for unit in start / 8..end.div_ceil(8) {
            self.present[unit / 64] |= 1 << (unit % 64);
        }
    }

    fn complete(&self) -> bool {
        let have: u32 = self.present.iter().map(|word| word.count_ones()).sum();
        self.total
            .is_some_and(|total| have as usize == total.div_ceil(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(ident: u16, start: usize, data: &[u8], more: bool) -> Vec<u8> {
        let mut bytes = vec![0; 20 + data.len()];
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len((20 + data.len()) as u16);
        packet.set_ident(ident);
        packet.set_more_frags(more);
        packet.set_frag_offset(start as u16);
        packet.payload_mut().copy_from_slice(data);
        bytes
    }

    fn put(reassembly: &mut Reassembly, bytes: &[u8], now: Instant) -> Option<Vec<u8>> {
        let packet = Ipv4Packet::new_checked(bytes).unwrap();
        reassembly.input(Fragment::of(&packet), now)
    }

    proptest! {
        #[test]
        fn input_pieces_in_any_order_give_the_packet(
            bytes in 1usize..9000, step in 1usize..200, order in any::<u64>(),
        ) {
            let data: Vec<u8> = (0..bytes).map(|i| (i * 31 % 253) as u8).collect();
            let step = step * 8;
            let mut pieces: Vec<_> = (0..bytes)
                .step_by(step)
                .map(|at| fragment(7, at, &data[at..bytes.min(at + step)], at + step < bytes))
                .collect();
            let mut seed = order;
            for i in (1..pieces.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(i, (seed >> 33) as usize % (i + 1));
            }
            let mut reassembly = Reassembly::default();
            let now = Instant::now();
            let last = pieces.pop().unwrap();
            for piece in &pieces {
                prop_assert_eq!(put(&mut reassembly, piece, now), None);
                prop_assert_eq!(put(&mut reassembly, piece, now), None);
            }
            prop_assert_eq!(put(&mut reassembly, &last, now), Some(data));
            prop_assert!(reassembly.partial.is_empty());
        }
    }

    #[test]
    fn input_flood_and_old_pieces_stay_bounded() {
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        for ident in 0..1000 {
            assert_eq!(
                put(&mut reassembly, &fragment(ident, 8, &[1; 8], true), now),
                None
            );
        }
        assert_eq!(reassembly.partial.len(), PACKETS_MAX);
        put(
            &mut reassembly,
            &fragment(1, 8, &[1; 8], true),
            now + LIFETIME,
        );
        assert_eq!(reassembly.partial.len(), 1);
    }

    #[test]
    fn input_piece_past_the_end_is_ignored() {
        let mut reassembly = Reassembly::default();
        let now = Instant::now();
        assert_eq!(
            put(&mut reassembly, &fragment(1, 8, &[2; 4], false), now),
            None
        );
        assert_eq!(
            put(&mut reassembly, &fragment(1, 16, &[3; 8], true), now),
            None
        );
        let whole = put(&mut reassembly, &fragment(1, 0, &[1; 8], true), now).unwrap();
        assert_eq!(whole, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
    }
}
