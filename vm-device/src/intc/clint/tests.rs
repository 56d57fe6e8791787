use std::sync::atomic::{AtomicU32, Ordering};

use super::spec::RANGE_BYTES;
use super::*;
use crate::testing::{Level, ManualTime};
use AccessWidth::{Byte, Double, Half, Word};
use vm_core::TimeBase;

const NS_PER_TICK: u64 = 100;

struct Board {
    clint: Clint,
    time: Arc<ManualTime>,
    base: Arc<TimeBase>,
    software: Vec<Arc<Level>>,
    timer: Vec<Arc<Level>>,
}

impl Board {
    fn new(harts: usize) -> Self {
        let time = Arc::new(ManualTime::default());
        let base = Arc::new(TimeBase::new(time.clone(), 1_000_000_000 / NS_PER_TICK));
        let lines = || {
            (0..harts)
                .map(|_| Arc::<Level>::default())
                .collect::<Vec<_>>()
        };
        let (software, timer) = (lines(), lines());
        let harts = software
            .iter()
            .zip(&timer)
            .map(|(software, timer)| HartLines {
                software: software.clone(),
                timer: timer.clone(),
            })
            .collect();
        Self {
            clint: Clint::new(harts, base.clone(), &*time),
            base,
            time,
            software,
            timer,
        }
    }
}

/// The addresses of the device tree's users, as numbers.
#[test]
fn registers_sit_where_drivers_expect_them() {
    let board = Board::new(2);
    board.clint.write(0x4, Word, 1);
    board.clint.write(0x4008, Double, 3);
    board.time.advance_to(300);
    assert_eq!(board.clint.read(0xbff8, Double), 3);
    assert!(board.software[1].high() && board.timer[1].high());
    assert!(!board.software[0].high() && !board.timer[0].high());
}

#[test]
fn msip_drives_only_its_hart() {
    let board = Board::new(3);
    board.clint.write(MSIP + 4, Word, 0xffff_ffff);
    assert_eq!(board.clint.read(MSIP + 4, Word), 1, "one bit exists");
    assert_eq!(board.clint.read(MSIP, Word), 0);
    let high: Vec<bool> = board.software.iter().map(|line| line.high()).collect();
    assert_eq!(high, [false, true, false]);
    board.clint.write(MSIP + 4, Word, 0xffff_fffe);
    assert!(!board.software[1].high());
    board.clint.write(MSIP + 12, Word, 1);
    assert_eq!(board.clint.read(MSIP + 12, Word), 0, "no such hart");
}

#[test]
fn mtime_follows_the_clock_and_can_be_set() {
    let board = Board::new(1);
    board.time.advance_to(1_234_599);
    assert_eq!(board.clint.read(MTIME, Double), 12_345);
    board.clint.write(MTIME, Double, 0x1_0000_0000);
    board.time.advance_to(1_234_700);
    assert_eq!(board.clint.read(MTIME, Word), 2);
    assert_eq!(board.clint.read(MTIME + 4, Word), 1);
    board.clint.write(MTIME + 4, Word, 7);
    assert_eq!(board.clint.mtime(), 0x7_0000_0002);
    board.clint.reset();
    assert_eq!(board.base.ticks(), 0);
}

#[test]
fn mtimecmp_fires_at_its_tick_and_not_before() {
    let board = Board::new(2);
    board.time.advance_to(50);
    board.clint.write(MTIMECMP + 8, Double, 1000);
    assert_eq!(board.time.deadlines(), [None, Some(100_000)]);
    board.time.advance_to(99_999);
    assert!(!board.timer[1].high());
    board.time.advance_to(100_000);
    assert!(board.timer[1].high());
    assert!(!board.timer[0].high());
    board.clint.write(MTIMECMP + 8, Double, 1001);
    assert!(!board.timer[1].high(), "writing a later time clears MTIP");
    board.time.advance_to(100_100);
    assert!(board.timer[1].high());
    assert_eq!(board.timer[1].rises(), 2);
}

#[test]
fn mtimecmp_of_now_or_past_fires_in_the_write() {
    let board = Board::new(1);
    board.time.advance_to(5_000);
    board.clint.write(MTIMECMP, Double, 51);
    assert!(!board.timer[0].high());
    board.clint.write(MTIMECMP, Double, 50);
    assert!(board.timer[0].high());
    assert_eq!(board.time.deadlines(), [None]);
}

#[test]
fn mtimecmp_halves_are_written_apart() {
    let board = Board::new(1);
    board.time.advance_to(1_000_000);
    board.clint.write(MTIMECMP, Word, 0xffff_ffff);
    board.clint.write(MTIMECMP + 4, Word, 0);
    assert!(!board.timer[0].high());
    board.clint.write(MTIMECMP, Word, 9_999);
    assert_eq!(board.clint.read(MTIMECMP, Double), 9_999);
    assert!(board.timer[0].high());
    board.clint.write(MTIMECMP + 4, Word, 1);
    assert_eq!(board.clint.read(MTIMECMP + 4, Word), 1);
    assert!(!board.timer[0].high());
}

#[test]
fn mtimecmp_beyond_the_clock_is_never_armed() {
    let board = Board::new(1);
    board.clint.write(MTIMECMP, Double, u64::MAX);
    assert_eq!(board.time.deadlines(), [None]);
    board.clint.write(MTIMECMP, Double, u64::MAX / NS_PER_TICK);
    assert_eq!(
        board.time.deadlines(),
        [Some(u64::MAX / NS_PER_TICK * NS_PER_TICK)]
    );
}

#[test]
fn mtime_written_forward_fires_and_tells() {
    let board = Board::new(1);
    let told = Arc::new(AtomicU32::new(0));
    let count = told.clone();
    board.base.on_set(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    board.clint.write(MTIMECMP, Double, 500);
    board.clint.write(MTIME, Double, 500);
    assert!(board.timer[0].high());
    board.clint.write(MTIME, Double, 499);
    assert!(!board.timer[0].high());
    assert_eq!(board.time.deadlines(), [Some(100)]);
    assert_eq!(told.load(Ordering::Relaxed), 2);
}

#[test]
fn access_unsupported_reads_zero_and_is_ignored() {
    let board = Board::new(1);
    board.time.advance_to(100_000);
    for (offset, width) in [
        (MTIME, Half),
        (MTIME, Byte),
        (MTIME + 2, Word),
        (MTIME + 4, Double),
    ] {
        assert_eq!(board.clint.read(offset, width), 0);
        board.clint.write(offset, width, 1);
    }
    board.clint.write(MSIP, Double, 1);
    assert_eq!(board.clint.mtime(), 1000);
    assert!(!board.software[0].high());
}

#[test]
fn reset_lowers_both_lines() {
    let board = Board::new(1);
    board.clint.write(MSIP, Word, 1);
    board.clint.write(MTIMECMP, Double, 0);
    assert!(board.software[0].high() && board.timer[0].high());
    board.clint.reset();
    assert!(!board.software[0].high() && !board.timer[0].high());
}

#[test]
fn restore_of_a_save_continues_alike() {
    let board = Board::new(2);
    board.time.advance_to(7_000_000);
    board.clint.write(MSIP, Word, 1);
    board.clint.write(MTIMECMP + 8, Double, 80_000);
    let saved = board.clint.save();
    let other = Board::new(2);
    other.time.advance_to(1_000);
    other.clint.restore(saved.clone()).unwrap();
    assert_eq!(other.clint.save(), saved);
    assert!(other.software[0].high());
    assert_eq!(other.time.deadlines(), [None, Some(1_001_000)]);
    assert!(Board::new(1).clint.restore(saved).is_err());
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_keeps_lines_and_registers_agreeing(script in crate::testing::script()) {
        let board = Board::new(3);
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&board.clint, RANGE_BYTES, part);
            board.time.advance_to(step as u64 * 777);
            for (at, hart) in board.clint.harts.iter().enumerate() {
                let state = hart.state.lock();
                proptest::prop_assert_eq!(board.software[at].high(), state.msip);
                let due = board.clint.mtime() >= state.mtimecmp;
                proptest::prop_assert_eq!(board.timer[at].high(), due);
            }
        }
    }
}
