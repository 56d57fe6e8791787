//! What the driver leaves to the card: checksums (VIRTIO 1.3, 5.1.6.2 and 5.1.6.4). Large segments go to the back end
//! whole.

use super::spec::{HEADER_BYTES, header};

/// Fills in the checksum that a frame's header asks for. False for a header that does not fit the frame.
pub(super) fn complete(header: &[u8; HEADER_BYTES], frame: &mut [u8]) -> bool {
    let field = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    if header[header::FLAGS] & header::NEEDS_CHECKSUM == 0 {
        return header[header::SEGMENTATION] == header::NO_SEGMENTATION;
    }
    let offset = field(header::CHECKSUM_OFFSET);
    let Some(covered) = frame.get_mut(field(header::CHECKSUM_START)..) else {
        return false;
    };
    if covered.len() < offset + 2 {
        return false;
    }
    // The field holds the sum of the pseudo-header already.
    let sum = !ones_complement_sum(covered);
    // Zero would say that a datagram has no checksum (RFC 768).
    let sum = if sum == 0 { !0 } else { sum };
    covered[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Sum of big-endian half-words with end-around carry (RFC 1071); an odd byte counts as the high one.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    let words: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_be_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let mut sum = words + u64::from(u32::from_be_bytes(last));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(start: u16, offset: u16) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[header::FLAGS] = header::NEEDS_CHECKSUM;
        bytes[header::CHECKSUM_START..][..2].copy_from_slice(&start.to_le_bytes());
        bytes[header::CHECKSUM_OFFSET..][..2].copy_from_slice(&offset.to_le_bytes());
        bytes
    }

    #[test]
    fn complete_fills_in_what_makes_the_sum_all_ones() {
        for bytes in [20, 21, 22, 23, 60_001] {
            let mut frame: Vec<u8> = (0..bytes).map(|i| (i * 37 % 251) as u8).collect();
            let before = frame.clone();
            let pseudo_header = ones_complement_sum(&before[10..12]);
            assert!(complete(&asking(4, 6), &mut frame));
            // With the pseudo-header, which only the field told of.
            let sum = u32::from(ones_complement_sum(&frame[4..])) + u32::from(pseudo_header);
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{bytes} bytes");
            assert_eq!((&frame[..10], &frame[12..]), (&before[..10], &before[12..]));
        }
    }

    #[test]
    fn complete_never_leaves_zero() {
        let mut frame = [0xff, 0xff, 0, 0];
        assert!(complete(&asking(0, 2), &mut frame));
        assert_eq!(frame, [0xff; 4]);
    }

    #[test]
    fn complete_without_request_leaves_the_frame_alone() {
        let mut frame = [1, 2, 3, 4];
        assert!(complete(&[0; HEADER_BYTES], &mut frame));
        assert_eq!(frame, [1, 2, 3, 4]);
    }

    #[test]
    fn complete_refuses_headers_that_do_not_fit() {
        let mut frame = [0; 20];
        assert!(complete(&asking(16, 2), &mut frame));
        for (start, offset) in [(16, 3), (20, 0), (21, 0), (u16::MAX, u16::MAX), (0, 19)] {
            assert!(
                !complete(&asking(start, offset), &mut frame),
                "{start} {offset}"
            );
        }
        // Segments without checksum (VIRTIO 1.3, 5.1.6.2.1).
        let mut header = [0; HEADER_BYTES];
        header[header::SEGMENTATION] = 1;
        assert!(!complete(&header, &mut frame));
    }
}
