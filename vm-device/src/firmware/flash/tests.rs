use std::io::Read;
use std::sync::Arc;

use super::*;
use AccessWidth::{Byte, Double, Half, Word};

const BASE: GuestPhysAddr = GuestPhysAddr(0x2000_0000);
const BANK: u64 = 64 << 10;
const SECTOR: u64 = 8 << 10;
const READY: u64 = 0x0080_0080;

fn bank(access: FlashAccess) -> Flash {
    Flash::new(BASE, BANK, SECTOR, b"firmware", access).unwrap()
}

/// The same command to both chips.
fn send(flash: &Flash, offset: u64, command: u8) {
    flash.write(offset, Word, u64::from(command) * 0x1_0001);
}

fn program(flash: &Flash, offset: u64, value: u32) {
    send(flash, offset, PROGRAM);
    flash.write(offset, Word, u64::from(value));
}

fn array(flash: &Flash, offset: u64) -> u64 {
    send(flash, 0, READ_ARRAY);
    flash.read(offset, Word)
}

#[test]
fn array_reads_the_image_then_erased_cells_at_any_width() {
    let flash = bank(FlashAccess::ReadOnly);
    assert_eq!(flash.read(0, Double), u64::from_le_bytes(*b"firmware"));
    assert_eq!(flash.read(3, Half), u64::from(u16::from_le_bytes(*b"mw")));
    assert_eq!(flash.read(8, Word), 0xffff_ffff);
    assert_eq!(flash.read(SECTOR - 2, Word), 0xffff_ffff);
    assert_eq!(flash.read(BANK - 1, Byte), 0xff);
    let mut fetched = [0; 4];
    flash.memory().read(BASE, &mut fetched).unwrap();
    assert_eq!(&fetched, b"firm");
}

/// What Linux `cfi_probe` and U-Boot `flash_detect_cfi` look at, with bus width 4 and chip width 2.
#[test]
fn query_describes_two_chips_side_by_side() {
    let flash = Flash::virt(BASE, &[], FlashAccess::Volatile).unwrap();
    send(&flash, 0x55 * 4, READ_QUERY);
    let at = |index: u64| flash.read(index * 4, Word);
    assert_eq!(
        [0x10, 0x11, 0x12].map(at),
        [0x51_0051, 0x52_0052, 0x59_0059]
    );
    let low = |index: u64| at(index) as u8;
    assert_eq!([0x13, 0x14, 0x15, 0x16].map(low), [1, 0, 0x31, 0]);
    assert_eq!(1u64 << low(0x27), 16 << 20, "bytes in a chip");
    let word = |index: u64| u64::from(low(index)) | u64::from(low(index + 1)) << 8;
    assert_eq!(
        (low(0x2c), word(0x2d) + 1, word(0x2f) * 256),
        (1, 128, 128 << 10)
    );
    assert_eq!((word(0x28), CHIPS << word(0x2a)), (1, 128));
    assert_eq!([0x31, 0x32, 0x33, 0x34].map(low), *b"PRI1");
    assert_eq!(
        flash.read(0x10 * 4 + 2, Half),
        0x51,
        "the second chip's lane"
    );
    assert_eq!(flash.read(0x10 * 4, Double), 0x52_0052_0051_0051);
    send(&flash, 0, READ_ARRAY_AMD);
    assert_eq!(at(0x10), 0xffff_ffff);
}

#[test]
fn identifier_names_the_chips_and_no_sector_is_locked() {
    let flash = bank(FlashAccess::Volatile);
    send(&flash, 0, READ_ID);
    assert_eq!(flash.read(0, Word), 0x89_0089);
    assert_eq!(flash.read(4, Word), 0x18_0018);
    assert_eq!(flash.read(SECTOR + 8, Word), 0, "lock state");
    send(&flash, SECTOR, LOCK_SETUP);
    send(&flash, SECTOR, CONFIRM);
    assert_eq!(flash.read(SECTOR, Word), READY);
}

#[test]
fn program_clears_bits_and_reads_status_until_told_otherwise() {
    let flash = bank(FlashAccess::Volatile);
    program(&flash, 0x100, 0xf0f0_1234);
    assert_eq!(flash.read(0, Word), READY);
    assert_eq!(array(&flash, 0x100), 0xf0f0_1234);
    program(&flash, 0x100, 0xff0f_ff30);
    assert_eq!(array(&flash, 0x100), 0xf000_1230);
    send(&flash, 0x3000, PROGRAM_ALTERNATE);
    flash.write(0x3000, Half, 0xabcd);
    assert_eq!(array(&flash, 0x3000), 0xffff_abcd);
    assert_eq!(
        array(&flash, 0x2ffc),
        0xffff_ffff,
        "its sector was erased before"
    );
}

#[test]
fn erase_sets_one_sector_only() {
    let flash = bank(FlashAccess::Volatile);
    for offset in [SECTOR - 4, SECTOR, 2 * SECTOR - 4, 2 * SECTOR] {
        program(&flash, offset, 0);
    }
    send(&flash, SECTOR + 0x10, ERASE);
    send(&flash, SECTOR + 0x10, CONFIRM);
    assert_eq!(flash.read(0, Word), READY);
    let cells = [SECTOR - 4, SECTOR, 2 * SECTOR - 4, 2 * SECTOR].map(|at| array(&flash, at));
    assert_eq!(cells, [0, 0xffff_ffff, 0xffff_ffff, 0]);
    let mut fetched = [0; 4];
    flash.memory().read(BASE + SECTOR, &mut fetched).unwrap();
    assert_eq!(fetched, [0xff; 4]);
    program(&flash, SECTOR, 0x55);
    assert_eq!(
        (array(&flash, SECTOR), array(&flash, SECTOR + 4)),
        (0x55, 0xffff_ffff)
    );
}

#[test]
fn buffered_program_writes_its_words_at_the_confirm() {
    let flash = bank(FlashAccess::Volatile);
    send(&flash, 0x1080, BUFFERED_PROGRAM);
    assert_eq!(flash.read(0x1080, Word), READY, "the buffer is free");
    send(&flash, 0x1080, 31);
    for word in 0..32 {
        flash.write(0x1080 + word * 4, Word, 0x1000 + word);
    }
    send(&flash, 0x1080, CONFIRM);
    assert_eq!(flash.read(0, Word), READY);
    for word in 0..32 {
        assert_eq!(array(&flash, 0x1080 + word * 4), 0x1000 + word);
    }
    assert_eq!(array(&flash, 0x1100), 0xffff_ffff);
}

#[test]
fn buffered_program_of_part_of_the_window_leaves_the_rest() {
    let flash = bank(FlashAccess::Volatile);
    program(&flash, 0x40, 0x0bad_cafe);
    send(&flash, 0x44, BUFFERED_PROGRAM);
    send(&flash, 0x44, 1);
    flash.write(0x44, Double, 0x2222_2222_1111_1111);
    send(&flash, 0x44, CONFIRM);
    let cells = [0x40, 0x44, 0x48, 0x4c].map(|at| array(&flash, at));
    assert_eq!(cells, [0x0bad_cafe, 0x1111_1111, 0x2222_2222, 0xffff_ffff]);
}

#[test]
fn sequence_broken_sets_both_error_bits_and_changes_nothing() {
    const IMPROPER: u64 = 0x00b0_00b0;
    let flash = bank(FlashAccess::Volatile);
    let clear = || {
        send(&flash, 0, CLEAR_STATUS);
        send(&flash, 0, READ_STATUS);
        assert_eq!(flash.read(0, Word), READY);
    };
    send(&flash, 0, ERASE);
    send(&flash, 0, READ_ID);
    assert_eq!(flash.read(0, Word), IMPROPER);
    clear();
    send(&flash, 0, BUFFERED_PROGRAM);
    send(&flash, 0, 32);
    assert_eq!(flash.read(0, Word), IMPROPER);
    clear();
    send(&flash, 0, BUFFERED_PROGRAM);
    send(&flash, 0, 1);
    flash.write(0x7c, Word, 0);
    flash.write(0x80, Word, 0);
    assert_eq!(flash.read(0, Word), IMPROPER);
    clear();
    send(&flash, 0, BUFFERED_PROGRAM);
    send(&flash, 0, 0);
    flash.write(0x40, Word, 0);
    send(&flash, 0, READ_STATUS);
    assert_eq!(flash.read(0, Word), IMPROPER);
    clear();
    send(&flash, 0, ERASE);
    send(&flash, 0, READ_ARRAY);
    assert_eq!(flash.read(0, Double), u64::from_le_bytes(*b"firmware"));
    assert_eq!(flash.read(0x40, Double), u64::MAX);
    assert_eq!(flash.read(0x78, Double), u64::MAX);
}

#[test]
fn read_only_bank_fails_operations_as_locked() {
    let flash = bank(FlashAccess::ReadOnly);
    program(&flash, 0, 0);
    assert_eq!(flash.read(0, Word), 0x0092_0092);
    send(&flash, 0, CLEAR_STATUS);
    send(&flash, 0, ERASE);
    send(&flash, 0, CONFIRM);
    assert_eq!(flash.read(0, Word), 0x00a2_00a2);
    assert_eq!(array(&flash, 0), u64::from(u32::from_le_bytes(*b"firm")));
}

struct Failing;
impl FlashStore for Failing {
    fn write(&self, _offset: u64, _cells: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn store_that_fails_fails_the_operation() {
    let flash = bank(FlashAccess::Stored(Box::new(Failing)));
    program(&flash, 0, 0);
    assert_eq!(flash.read(0, Word), 0x0090_0090);
    send(&flash, 0, CLEAR_STATUS);
    send(&flash, 0, ERASE);
    send(&flash, 0, CONFIRM);
    assert_eq!(flash.read(0, Word), 0x00a0_00a0);
    assert_eq!(array(&flash, 0), u64::from(u32::from_le_bytes(*b"firm")));
}

#[test]
fn store_in_a_file_keeps_what_was_programmed() {
    let file = tempfile::tempfile().unwrap();
    let store = FileStore::new(file.try_clone().unwrap());
    let flash = bank(FlashAccess::Stored(Box::new(store)));
    program(&flash, 8, 0x6463_6261);
    let mut kept = Vec::new();
    let mut reader = &file;
    reader.seek(SeekFrom::Start(8)).unwrap();
    reader.read_to_end(&mut kept).unwrap();
    assert_eq!(kept, b"abcd");
    send(&flash, 0, ERASE);
    send(&flash, 0, CONFIRM);
    kept.clear();
    reader.rewind().unwrap();
    reader.read_to_end(&mut kept).unwrap();
    assert_eq!(kept, vec![0xff; SECTOR as usize]);
}

#[test]
fn program_over_translated_code_reaches_its_observer() {
    #[derive(Default)]
    struct Pages(Mutex<Vec<GuestPhysAddr>>);
    impl vm_mem::CodeWriteObserver for Pages {
        fn code_written(&self, page: GuestPhysAddr) {
            self.0.lock().push(page);
        }
    }
    let flash = bank(FlashAccess::Volatile);
    let pages = Arc::new(Pages::default());
    let observer: Arc<dyn vm_mem::CodeWriteObserver> = pages.clone();
    assert!(flash.memory().set_code_observer(&observer));
    flash.memory().find(BASE).unwrap().1.mark(BASE, 8);
    program(&flash, 4, 0);
    assert_eq!(*pages.0.lock(), [BASE]);
}

#[test]
fn reset_returns_to_the_array_and_keeps_cells() {
    let flash = bank(FlashAccess::Volatile);
    program(&flash, 0, 0);
    send(&flash, 0, ERASE);
    flash.reset();
    assert_eq!(flash.read(0, Word), 0);
    send(&flash, 0, CONFIRM);
    assert_eq!(flash.read(0, Word), 0, "the erase was forgotten");
}

#[test]
fn new_with_impossible_shape_is_refused() {
    let make = |bank, sector, image: usize| {
        Flash::new(BASE, bank, sector, &vec![0; image], FlashAccess::ReadOnly).err()
    };
    assert!(matches!(
        make(BANK, SECTOR, 65537),
        Some(FlashError::ImageTooLong { .. })
    ));
    assert!(make(BANK, SECTOR, 65536).is_none());
    for (bank, sector) in [
        (0, SECTOR),
        (BANK, 0),
        (BANK, BANK * 2),
        (3 * SECTOR, SECTOR),
    ] {
        assert!(matches!(
            make(bank, sector, 0),
            Some(FlashError::BadGeometry { .. })
        ));
    }
}

#[test]
fn restore_of_a_save_continues_alike() {
    let flash = bank(FlashAccess::Volatile);
    program(&flash, 3 * SECTOR, 0x1234_5678);
    send(&flash, 0x80, BUFFERED_PROGRAM);
    send(&flash, 0x80, 1);
    flash.write(0x80, Word, 0xaaaa_aaaa);
    let saved = flash.save();
    let other = bank(FlashAccess::Volatile);
    program(&other, 5 * SECTOR, 0);
    other.restore(saved.clone()).unwrap();
    assert_eq!(other.save(), saved);
    assert_eq!(other.read(0, Word), READY, "not in array mode");
    other.write(0x84, Word, 0xbbbb_bbbb);
    send(&other, 0x80, CONFIRM);
    let cells = [0x80, 0x84, 3 * SECTOR, 5 * SECTOR].map(|at| array(&other, at));
    assert_eq!(cells, [0xaaaa_aaaa, 0xbbbb_bbbb, 0x1234_5678, 0xffff_ffff]);
    let outside = SavedState {
        sectors: vec![(8, vec![0; SECTOR as usize])],
        ..saved.clone()
    };
    assert!(other.restore(outside).is_err());
    let torn = Awaits::BufferConfirm {
        start: 0,
        cells: vec![],
    };
    assert!(
        other
            .restore(SavedState {
                awaits: torn,
                ..saved
            })
            .is_err()
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn fuzz_any_script_never_panics(
        script in crate::testing::script(),
        codes in proptest::collection::vec(0usize..12, 0..200),
        offsets in proptest::collection::vec(0..BANK - 4, 200),
    ) {
        const CODES: [u8; 12] = [
            READ_ARRAY, READ_ID, READ_QUERY, READ_STATUS, CLEAR_STATUS, PROGRAM, BUFFERED_PROGRAM,
            ERASE, LOCK_SETUP, CONFIRM, 1, 0,
        ];
        let flash = bank(FlashAccess::Volatile);
        crate::fuzzing::drive(&flash, BANK, &script);
        for (code, offset) in codes.into_iter().zip(offsets) {
            send(&flash, offset, CODES[code]);
        }
        let state = flash.state.lock();
        let array = flash.array.load(Ordering::Relaxed);
        proptest::prop_assert_eq!(array, state.mode == Mode::Array);
        proptest::prop_assert!(state.status & SR_READY != 0);
    }
}

/// As OVMF's `QemuFlashDetected`, `QemuFlashEraseBlock` and `QemuFlashWrite` do it.
#[test]
fn pc_bank_is_detected_and_written_by_bytes() {
    let base = GuestPhysAddr(0xffc0_0000);
    let flash = Flash::pc(base, 0x8_4000, &[0x11; 0x2000], FlashAccess::Volatile).unwrap();
    let put = |at: u64, value: u8| flash.write(at, AccessWidth::Byte, value.into());
    let get = |at: u64| flash.read(at, AccessWidth::Byte) as u8;
    put(0x1003, 0x50);
    assert_eq!(get(0x1003), 0x11);
    put(0x1003, 0x70);
    assert_eq!(get(0x1003), 0x00);
    put(0x1003, 0xff);
    put(0x1000, 0x20);
    put(0x1000, 0xd0);
    put(0x1000, 0xff);
    assert_eq!([get(0xfff), get(0x1000), get(0x1fff)], [0x11, 0xff, 0xff]);
    put(0x1005, 0x10);
    put(0x1005, 0x42);
    put(0x1004, 0xff);
    assert_eq!([get(0x1004), get(0x1005), get(0x1006)], [0xff, 0x42, 0xff]);
    put(0x1001, 0x70);
    assert_eq!(get(0x1001), 0x80);
    assert!(Flash::pc(base, 0x8_4001, &[], FlashAccess::ReadOnly).is_err());
}
