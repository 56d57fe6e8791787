use vm_core::AccessWidth;

use super::*;
use crate::virtio::VirtioMmio;
use crate::virtio::driver::*;
use crate::virtio::spec::{feature as core_feature, isr, status};

const PAGE: usize = PAGE_BYTES as usize;

type BalloonRig = Rig<Arc<VirtioMmio>>;

/// A balloon for the RAM of the rig that its rings are in.
fn rig() -> (BalloonRig, Arc<VirtioBalloon>) {
    let memory = guest_ram();
    let balloon = VirtioBalloon::new(memory.clone());
    (Rig::with_memory(balloon.clone(), memory), balloon)
}

fn fill(rig: &BalloonRig, addr: u64, pages: usize) {
    rig.put(addr, &vec![0xaa; pages * PAGE]);
}

/// Which of the pages from `addr` on read as zero.
fn zeroed(rig: &BalloonRig, addr: u64, pages: usize) -> Vec<bool> {
    let bytes = rig.get(addr, pages * PAGE);
    bytes
        .chunks(PAGE)
        .map(|page| page.iter().all(|&byte| byte == 0))
        .collect()
}

#[test]
fn reported_pages_go_back_and_their_neighbours_stay() {
    let (mut rig, _) = rig();
    rig.start(u64::MAX);
    fill(&rig, BUFFERS, 6);
    // A whole page, and a range that covers the page at 3 only.
    let free = [
        writable(BUFFERS, PAGE as u32),
        writable(BUFFERS + 2 * PAGE_BYTES + 8, 2 * PAGE as u32),
    ];
    assert_eq!(rig.roundtrip(2, &free), 0);
    let expected = [true, false, false, true, false, false];
    assert_eq!(zeroed(&rig, BUFFERS, 6), expected);
}

#[test]
fn reporting_queue_is_found_by_the_standard_s_number_too() {
    let (mut rig, _) = rig();
    rig.negotiate(u64::MAX);
    let event_idx = rig.features & core_feature::EVENT_IDX != 0;
    for queue in [0, 1, 4] {
        let ring = Ring::new(&rig.memory, queue, 128, event_idx);
        rig.registers.enable_queue(queue, 128, ring.areas);
        rig.rings.push(ring);
    }
    let up = rig.registers.status() | status::DRIVER_OK;
    rig.registers.set_status(up);
    fill(&rig, BUFFERS, 1);
    rig.rings[2].add(&[writable(BUFFERS, PAGE as u32)]);
    rig.registers.notify(4);
    rig.rings[2].wait_used();
    assert_eq!(zeroed(&rig, BUFFERS, 1), [true]);
}

#[test]
fn reported_pages_stay_when_the_guest_fills_free_ones() {
    let (mut rig, _) = rig();
    rig.start(u64::MAX);
    rig.registers
        .set_config(config::POISON_VAL, AccessWidth::Word, 0xaaaa_aaaa);
    fill(&rig, BUFFERS, 1);
    rig.roundtrip(2, &[writable(BUFFERS, PAGE as u32)]);
    assert_eq!(zeroed(&rig, BUFFERS, 1), [false]);
}

#[test]
fn inflated_pages_go_back() {
    let (mut rig, balloon) = rig();
    rig.start(u64::MAX);
    fill(&rig, BUFFERS, 5);
    let number = (BUFFERS / PAGE_BYTES) as u32;
    // Backwards, as Linux sends them, one twice, and one that is no RAM.
    let numbers = [number + 4, number + 1, number, number, 3];
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let list = BUFFERS + 0x10_0000;
    rig.put(list, &bytes);
    rig.roundtrip(0, &[readable(list, bytes.len() as u32)]);
    let expected = [true, true, false, false, true];
    assert_eq!(zeroed(&rig, BUFFERS, 5), expected);
    rig.roundtrip(1, &[readable(list, bytes.len() as u32)]);
    rig.registers
        .set_config(config::ACTUAL, AccessWidth::Word, 3);
    assert_eq!(balloon.actual_bytes(), 3 * PAGE_BYTES);
}

#[test]
fn target_is_told_to_the_driver() {
    let (mut rig, balloon) = rig();
    balloon.set_target_bytes(PAGE_BYTES);
    rig.start(u64::MAX);
    assert_eq!(
        rig.registers.config(config::NUM_PAGES, AccessWidth::Word),
        1
    );
    balloon.set_target_bytes(64 << 20);
    eventually("an interrupt", || rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), isr::CONFIG);
    assert_eq!(
        rig.registers.config(config::NUM_PAGES, AccessWidth::Word),
        64 << 8
    );
}

#[test]
fn ranges_that_are_no_ram_are_left_alone() {
    let (mut rig, _) = rig();
    rig.start(u64::MAX);
    fill(&rig, BUFFERS, 1);
    for range in [
        writable(0x1000, 0x1000),
        writable(u64::MAX - 100, 0x1000),
        writable(RAM_BASE + RAM_BYTES - PAGE_BYTES, u32::MAX),
        writable(BUFFERS, 0),
        writable(BUFFERS + 1, PAGE as u32),
    ] {
        assert_eq!(rig.roundtrip(2, &[range]), 0);
    }
    rig.roundtrip(0, &[readable(0x1000, 64)]);
    rig.roundtrip(0, &[readable(BUFFERS, 3)]);
    assert_eq!(zeroed(&rig, BUFFERS, 1), [false]);
    assert_eq!(rig.registers.status() & status::NEEDS_RESET, 0);
}

#[test]
fn save_and_restore_keep_the_target() {
    let (mut rig, balloon) = rig();
    rig.start(u64::MAX);
    balloon.set_target_bytes(2 * PAGE_BYTES);
    rig.registers
        .set_config(config::ACTUAL, AccessWidth::Word, 1);
    let state = rig.registers.save();
    let other = VirtioBalloon::new(rig.memory.clone());
    let restored = VirtioMmio::new(
        "restored",
        other.clone(),
        rig.memory.clone(),
        rig.irq.clone(),
    );
    restored.restore(&state).unwrap();
    rig.registers = restored;
    assert_eq!(other.actual_bytes(), PAGE_BYTES);
    assert_eq!(
        rig.registers.config(config::NUM_PAGES, AccessWidth::Word),
        2
    );
    fill(&rig, BUFFERS, 1);
    rig.roundtrip(2, &[writable(BUFFERS, PAGE as u32)]);
    assert_eq!(zeroed(&rig, BUFFERS, 1), [true]);
}
