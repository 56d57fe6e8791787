//! Negotiation and set-up as a driver sees them (VIRTIO 1.3, 2.1, 2.2, 3.1), over the memory-mapped transport.

use std::sync::Arc;

use vm_core::AccessWidth;

use super::driver::*;
use super::entropy::{HostEntropy, VirtioEntropy};
use super::spec::{feature, isr, status};
use super::{Cause, VirtioMmio, spec};
use crate::BusDevice;

const WORD: AccessWidth = AccessWidth::Word;
const SET_UP: u8 = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;

fn rig() -> Rig<Arc<VirtioMmio>> {
    Rig::mmio(VirtioEntropy::new(Arc::new(HostEntropy)))
}

fn needs_reset(rig: &Rig<Arc<VirtioMmio>>) -> bool {
    rig.registers.status() & status::NEEDS_RESET != 0
}

#[test]
fn registers_identify_the_device() {
    let rig = rig();
    let identity = [0, 4, 8, 12].map(|at| rig.registers.read(at, WORD));
    assert_eq!(identity, [0x7472_6976, 2, 4, u64::from(spec::VENDOR_ID)]);
    assert_eq!(rig.registers.device_features(), feature::CORE);
    rig.registers.write(0x14, WORD, 2);
    assert_eq!(rig.registers.read(0x10, WORD), 0);
    // Narrow and misaligned accesses to registers do nothing; no shared memory; no second queue.
    assert_eq!(rig.registers.read(0, AccessWidth::Byte), 0);
    assert_eq!(rig.registers.read(2, WORD), 0);
    rig.registers.write(0x70, AccessWidth::Byte, 1);
    assert_eq!(rig.registers.status(), 0);
    assert_eq!(rig.registers.read(0xb0, WORD), 0xffff_ffff);
    assert_eq!(
        (rig.registers.queue_max(0), rig.registers.queue_max(1)),
        (64, 0)
    );
}

#[test]
fn features_not_offered_are_refused() {
    let rig = rig();
    for accepted in [feature::VERSION_1 | 1, feature::EVENT_IDX | 1, u64::MAX] {
        rig.registers.set_status(0);
        rig.registers
            .set_status(status::ACKNOWLEDGE | status::DRIVER);
        rig.registers.set_driver_features(accepted);
        rig.registers.set_status(SET_UP);
        assert_eq!(rig.registers.status(), status::ACKNOWLEDGE | status::DRIVER);
        rig.registers
            .set_status(SET_UP & !status::FEATURES_OK | status::DRIVER_OK);
        assert_eq!(rig.registers.status() & status::DRIVER_OK, 0);
    }
}

/// A driver as teaching kernels have it: it knows the low half of the features only.
#[test]
fn driver_that_writes_the_low_features_only_goes_on() {
    let mut rig = rig();
    rig.refused = !u64::from(u32::MAX);
    rig.start(u64::MAX);
    assert_eq!(rig.features & feature::VERSION_1, 0);
    assert_ne!(rig.registers.status() & status::FEATURES_OK, 0);
    rig.roundtrip(0, &[readable(BUFFERS, 4), writable(BUFFERS + 0x100, 4)]);
    assert_eq!(rig.registers.status() & status::NEEDS_RESET, 0);
}

#[test]
fn queue_with_bad_size_or_place_needs_reset_at_driver_ok() {
    let mut rig = rig();
    let ring = |at: u64| [at, at + 0x1000, at + 0x2000];
    let good = ring(BUFFERS);
    let cases = [
        (64, good, false),
        (0, good, true),
        (63, good, true),
        (128, good, true),
        (64, ring(RAM_BASE + RAM_BYTES - 0x2000), true),
        (64, ring(0), true),
        (64, [!0xff; 3], true),
        (64, [good[0] + 8, good[1], good[2]], true),
        (64, [good[0], good[1] + 1, good[2]], true),
        (64, [good[0], good[1], good[2] + 2], true),
    ];
    for (size, areas, bad) in cases {
        rig.negotiate(u64::MAX);
        rig.registers.enable_queue(0, size, areas);
        rig.registers.set_status(SET_UP | status::DRIVER_OK);
        assert_eq!(needs_reset(&rig), bad, "size {size}, areas {areas:x?}");
        rig.registers.notify(0);
        assert_eq!(
            rig.registers.take_interrupt(),
            if bad { isr::CONFIG } else { 0 }
        );
    }
    rig.start(u64::MAX);
    assert_eq!(rig.roundtrip(0, &[writable(BUFFERS + 0x8000, 16)]), 16);
}

#[test]
fn registers_are_frozen_while_in_use() {
    let mut rig = rig();
    rig.start(u64::MAX);
    rig.registers.set_driver_features(0);
    rig.registers.enable_queue(0, 2, [0; 3]);
    rig.registers.write(0x44, WORD, 0);
    assert_eq!(rig.registers.read(0x44, WORD), 1);
    assert_eq!(rig.roundtrip(0, &[writable(BUFFERS, 16)]), 16);
    rig.registers.set_status(0);
    assert_eq!(rig.registers.read(0x44, WORD), 0);
}

#[test]
fn notify_before_driver_ok_or_of_no_queue_is_ignored() {
    let mut rig = rig();
    rig.registers.notify(0);
    rig.start(u64::MAX);
    for queue in [1, 47, 48, 63, 64, 0xffff] {
        rig.registers.notify(queue);
    }
    rig.registers.write(0x50, WORD, 0xffff_0000);
    assert_eq!(rig.roundtrip(0, &[writable(BUFFERS, 16)]), 16);
}

#[test]
fn interrupt_causes_are_acknowledged_one_by_one() {
    let mut rig = rig();
    rig.start(u64::MAX);
    let signal = rig.registers.control().signal();
    signal.config_changed();
    signal.raise(Cause::Queue(0));
    let both = isr::QUEUE | isr::CONFIG;
    assert_eq!(rig.registers.read(0x60, WORD), u64::from(both));
    rig.registers.write(0x64, WORD, isr::QUEUE.into());
    assert_eq!(rig.registers.read(0x60, WORD), u64::from(isr::CONFIG));
    assert!(rig.irq.high());
    rig.registers.write(0x64, WORD, isr::CONFIG.into());
    assert!(!rig.irq.high());
}

#[test]
fn configuration_change_moves_the_generation_on() {
    let rig = rig();
    let before = rig.registers.read(0xfc, WORD);
    rig.registers.control().signal().config_changed();
    assert_ne!(rig.registers.read(0xfc, WORD), before);
}

#[test]
fn chain_that_loops_or_is_out_of_order_needs_reset() {
    let mut rig = rig();
    let piece = writable(BUFFERS, 16);
    let cases: [&dyn Fn(&Ring); 6] = [
        // A loop; a link out of the table; readable after writable.
        &|ring| ring.descriptor(ring.areas[0], 0, piece, DESC_NEXT, 0),
        &|ring| ring.descriptor(ring.areas[0], 0, piece, DESC_NEXT, ring.size),
        &|ring| {
            ring.descriptor(ring.areas[0], 0, piece, DESC_NEXT, 1);
            ring.descriptor(ring.areas[0], 1, readable(BUFFERS, 16), 0, 0);
        },
        // Indirect tables: of a broken length, empty, not in RAM.
        &|ring| ring.descriptor(ring.areas[0], 0, readable(BUFFERS, 17), DESC_INDIRECT, 0),
        &|ring| ring.descriptor(ring.areas[0], 0, readable(BUFFERS, 0), DESC_INDIRECT, 0),
        &|ring| ring.descriptor(ring.areas[0], 0, readable(0x10, 32), DESC_INDIRECT, 0),
    ];
    for (number, case) in cases.iter().enumerate() {
        rig.start(u64::MAX);
        case(&rig.rings[0]);
        rig.rings[0].publish(0);
        rig.registers.notify(0);
        eventually(&format!("case {number} is refused"), || needs_reset(&rig));
        assert_eq!(rig.rings[0].used_index(), 0);
    }
    // A head out of the table, and more chains than the ring has.
    rig.start(u64::MAX);
    rig.rings[0].publish(64);
    rig.registers.notify(0);
    eventually("a bad head is refused", || needs_reset(&rig));
    rig.start(u64::MAX);
    rig.put(rig.rings[0].areas[1] + 2, &65u16.to_le_bytes());
    rig.registers.notify(0);
    eventually("a bad index is refused", || needs_reset(&rig));
}

#[test]
fn bus_reset_forgets_everything() {
    let mut rig = rig();
    rig.start(u64::MAX);
    rig.roundtrip(0, &[writable(BUFFERS, 16)]);
    eventually("an interrupt", || rig.irq.high());
    rig.registers.reset();
    assert!(!rig.irq.high());
    assert_eq!(
        (rig.registers.status(), rig.registers.read(0x44, WORD)),
        (0, 0)
    );
    assert_eq!(rig.registers.read(0x10, WORD), feature::CORE & 0xffff_ffff);
    rig.start(u64::MAX);
    assert_eq!(rig.roundtrip(0, &[writable(BUFFERS, 16)]), 16);
}
