use std::sync::atomic::AtomicU32;

use proptest::prelude::*;
use vm_core::AccessWidth;

use super::*;
use crate::virtio::VirtioMmio;
use crate::virtio::driver::*;
use crate::virtio::spec::{feature as spec_of_all, isr, status};

const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A back end that keeps what it gets.
#[derive(Default)]
struct Wire {
    sent: Mutex<Vec<Vec<u8>>>,
    card: Mutex<Option<Arc<dyn FrameSink>>>,
    resumes: AtomicU32,
    checked: bool,
}

impl Wire {
    fn deliver(&self, frame: &[u8]) -> bool {
        let card = self.card.lock().clone().unwrap();
        card.receive(frame)
    }
}

impl NetBackend for Wire {
    fn transmit(&self, frame: &[u8]) {
        self.sent.lock().push(frame.to_vec());
    }
    fn connect(&self, card: Arc<dyn FrameSink>) {
        *self.card.lock() = Some(card);
    }
    fn resume(&self) {
        self.resumes.fetch_add(1, Ordering::SeqCst);
    }
    fn takes_large_frames(&self) -> bool {
        self.checked
    }
    fn delivers_checked_frames(&self) -> bool {
        self.checked
    }
}

fn rig() -> (Arc<Wire>, Arc<VirtioNet>, Rig<Arc<VirtioMmio>>) {
    rig_with(Wire::default())
}

fn rig_with(wire: Wire) -> (Arc<Wire>, Arc<VirtioNet>, Rig<Arc<VirtioMmio>>) {
    let wire = Arc::new(wire);
    let card = VirtioNet::new(wire.clone(), ADDRESS);
    let rig = Rig::mmio(card.clone());
    (wire, card, rig)
}

fn frame(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| i as u8).collect()
}

#[test]
fn transmit_passes_the_frame_without_its_header() {
    let (wire, _card, mut rig) = rig();
    rig.start(u64::MAX);
    rig.put(BUFFERS, &[0; HEADER_BYTES]);
    rig.put(BUFFERS + 0x100, &frame(60));
    rig.roundtrip(1, &[readable(BUFFERS, 12), readable(BUFFERS + 0x100, 60)]);
    rig.put(BUFFERS + 12, &frame(70));
    rig.roundtrip(1, &[readable(BUFFERS, 82)]);
    assert_eq!(*wire.sent.lock(), [frame(60), frame(70)]);
    // Too short, too long, not RAM: lost, and the card lives.
    rig.roundtrip(1, &[readable(BUFFERS, 12 + 13)]);
    rig.roundtrip(1, &[readable(BUFFERS, 0x1_8000)]);
    rig.roundtrip(1, &[readable(BUFFERS, 12), readable(0x10, 60)]);
    assert_eq!(wire.sent.lock().len(), 2);
    assert_eq!(rig.registers.status() & status::NEEDS_RESET, 0);
}

#[test]
fn driver_without_version_1_has_a_shorter_header() {
    let (wire, _card, mut rig) = rig();
    rig.refused = spec_of_all::VERSION_1;
    for (features, header_bytes) in [(!feature::MRG_RXBUF, 10), (u64::MAX, 12)] {
        rig.start(features);
        rig.put(BUFFERS, &[0; HEADER_BYTES]);
        rig.put(BUFFERS + header_bytes, &frame(60));
        rig.roundtrip(1, &[readable(BUFFERS, header_bytes as u32 + 60)]);
        assert_eq!(wire.sent.lock().pop().unwrap(), frame(60));
        rig.rings[0].add(&[writable(BUFFERS, 1526)]);
        assert!(wire.deliver(&frame(61)));
        let (_, written) = rig.rings[0].wait_used();
        assert_eq!(u64::from(written), header_bytes + 61);
        assert_eq!(rig.get(BUFFERS + header_bytes, 61), frame(61));
    }
}

#[test]
fn transmit_fills_in_the_checksum_that_the_header_asks_for() {
    let (wire, _card, mut rig) = rig();
    rig.start(u64::MAX);
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[header::FLAGS] = header::NEEDS_CHECKSUM;
    (
        bytes[header::CHECKSUM_START],
        bytes[header::CHECKSUM_OFFSET],
    ) = (14, 4);
    bytes.extend([7; 14]);
    bytes.extend([0x12, 0x34, 0x56, 0x78, 0, 0]);
    rig.put(BUFFERS, &bytes);
    rig.roundtrip(1, &[readable(BUFFERS, bytes.len() as u32)]);
    // Its checksum would lie behind the frame: lost.
    rig.put(BUFFERS + header::CHECKSUM_OFFSET as u64, &[5]);
    rig.roundtrip(1, &[readable(BUFFERS, bytes.len() as u32)]);
    let sent = wire.sent.lock();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][14..], [0x12, 0x34, 0x56, 0x78, 0x97, 0x53]);
}

#[test]
fn offloads_are_those_of_the_back_end() {
    for checked in [false, true] {
        let wire = Wire {
            checked,
            ..Wire::default()
        };
        let (wire, card, mut rig) = rig_with(wire);
        assert_eq!(card.features() & feature::HOST_TSO4 != 0, checked);
        for (features, flags) in [(u64::MAX, u8::from(checked) * 2), (!feature::GUEST_CSUM, 0)] {
            rig.start(features);
            rig.rings[0].add(&[writable(BUFFERS, 1526)]);
            assert!(wire.deliver(&frame(60)));
            rig.rings[0].wait_used();
            assert_eq!(rig.get(BUFFERS, 2), [flags, 0]);
        }
    }
}

#[test]
fn receive_without_buffers_waits_and_resumes() {
    let (wire, _card, mut rig) = rig();
    assert!(!wire.deliver(&frame(60)));
    rig.start(u64::MAX);
    eventually("the driver is announced", || {
        wire.resumes.load(Ordering::SeqCst) == 1
    });
    assert!(!wire.deliver(&frame(60)));
    let head = rig.rings[0].add(&[writable(BUFFERS, 1526)]);
    rig.registers.notify(0);
    eventually("room is announced", || {
        wire.resumes.load(Ordering::SeqCst) == 2
    });
    assert!(wire.deliver(&frame(60)));
    assert_eq!(rig.rings[0].wait_used(), (head, 72));
    assert_eq!(rig.get(BUFFERS, 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(rig.get(BUFFERS + 12, 60), frame(60));
    assert!(rig.irq.high());
}

#[test]
fn receive_of_a_large_frame_spans_merged_buffers_or_waits_for_them() {
    let (wire, _card, mut rig) = rig();
    rig.start(u64::MAX);
    let big = frame(4000);
    for at in 0..2 {
        rig.rings[0].add(&[writable(BUFFERS + at * 0x1000, 1536)]);
    }
    assert!(!wire.deliver(&big));
    let resumes = wire.resumes.load(Ordering::SeqCst);
    rig.rings[0].add(&[writable(BUFFERS + 0x2000, 1536)]);
    rig.registers.notify(0);
    eventually("room is announced", || {
        wire.resumes.load(Ordering::SeqCst) > resumes
    });
    assert!(wire.deliver(&big));
    let used: Vec<u32> = (0..3).map(|_| rig.rings[0].wait_used().1).collect();
    assert_eq!(used, [1536, 1536, 4012 - 3072]);
    assert_eq!(rig.get(BUFFERS + 10, 2), [3, 0]);
    let mut got = rig.get(BUFFERS + 12, 1524);
    got.extend(rig.get(BUFFERS + 0x1000, 1536));
    got.extend(rig.get(BUFFERS + 0x2000, 940));
    assert_eq!(got, big);
}

#[test]
fn receive_of_a_large_frame_without_merging_is_dropped() {
    let (wire, _card, mut rig) = rig();
    rig.start(!feature::MRG_RXBUF);
    rig.rings[0].add(&[writable(BUFFERS, 1526)]);
    rig.rings[0].add(&[writable(BUFFERS + 0x1000, 1526)]);
    assert!(wire.deliver(&frame(4000)));
    assert_eq!(rig.rings[0].take_used(), None);
    assert!(wire.deliver(&frame(1514)));
    assert_eq!(rig.rings[0].wait_used().1, 1526);
}

#[test]
fn link_down_loses_frames_and_shows_in_the_configuration() {
    let (wire, card, mut rig) = rig();
    rig.start(u64::MAX);
    let mac = (0..6).map(|at| rig.registers.config(at, AccessWidth::Byte) as u8);
    assert_eq!(mac.collect::<Vec<_>>(), ADDRESS);
    assert_eq!(rig.registers.config(6, AccessWidth::Half), 1);
    card.set_link(false);
    assert_eq!(rig.registers.take_interrupt() & isr::CONFIG, isr::CONFIG);
    assert_eq!(rig.registers.config(6, AccessWidth::Half), 0);
    rig.rings[0].add(&[writable(BUFFERS, 1526)]);
    assert!(wire.deliver(&frame(60)));
    rig.roundtrip(1, &[readable(BUFFERS, 100)]);
    assert_eq!(rig.rings[0].take_used(), None);
    assert!(wire.sent.lock().is_empty());
}

#[test]
fn receive_buffer_smaller_than_the_header_needs_reset() {
    let (wire, _card, mut rig) = rig();
    rig.start(u64::MAX);
    rig.rings[0].add(&[writable(BUFFERS, 8)]);
    assert!(!wire.deliver(&frame(60)));
    assert_ne!(rig.registers.status() & status::NEEDS_RESET, 0);
    rig.start(u64::MAX);
    rig.rings[0].add(&[writable(BUFFERS, 100)]);
    assert!(wire.deliver(&frame(60)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_receive_buffers_never_wedge_the_card(
        buffers in prop::collection::vec(
            (
                prop_oneof![3 => (0u64..0x40_0000).prop_map(|o| RAM_BASE + o), 1 => any::<u64>()],
                prop_oneof![3 => 0u32..2000, 1 => any::<u32>()],
                prop_oneof![4 => Just(2u16), 1 => any::<u16>()],
                0u16..20,
            ),
            1..16,
        ),
        frames in prop::collection::vec(0usize..70_000, 1..6),
        merge in any::<bool>(),
    ) {
        let (wire, _card, mut rig) = rig();
        rig.start(if merge { u64::MAX } else { !feature::MRG_RXBUF });
        let table = rig.rings[0].areas[0];
        for (index, &(addr, bytes, flags, next)) in buffers.iter().enumerate() {
            let piece = Piece { addr, bytes, writable: false };
            rig.rings[0].descriptor(table, index as u16, piece, flags, next);
        }
        for index in 0..buffers.len() {
            rig.rings[0].publish(index as u16);
        }
        for bytes in frames {
            wire.deliver(&frame(bytes));
        }
        rig.start(u64::MAX);
        rig.rings[0].add(&[writable(BUFFERS, 1526)]);
        prop_assert!(wire.deliver(&frame(60)));
        prop_assert_eq!(rig.rings[0].wait_used().1, 72);
    }
}
