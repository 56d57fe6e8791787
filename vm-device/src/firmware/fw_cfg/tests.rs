use super::*;
use AccessWidth::{Byte, Double, Half, Word};

const RAM: GuestPhysAddr = GuestPhysAddr(0x8000_0000);
const RAM_BYTES: u64 = 0x1_0000;
const ACCESS: GuestPhysAddr = GuestPhysAddr(0x8000_0100);
const TO: GuestPhysAddr = GuestPhysAddr(0x8000_2000);

fn device() -> (FwCfg, GuestMemory) {
    let ram = GuestMemory::new(&[(RAM, RAM_BYTES)]).unwrap();
    (FwCfg::new(ram.clone()), ram)
}

fn select(device: &FwCfg, key: u16) {
    device.write(SELECTOR, Half, u64::from(key.swap_bytes()));
}

fn read(device: &FwCfg, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| device.read(DATA, Byte) as u8).collect()
}

/// Runs one DMA access as Linux and EDK2 do; returns the control field it left.
fn dma(device: &FwCfg, ram: &GuestMemory, control: u32, bytes: u32, to: GuestPhysAddr) -> u32 {
    let mut access = control.to_be_bytes().to_vec();
    access.extend_from_slice(&bytes.to_be_bytes());
    access.extend_from_slice(&to.raw().to_be_bytes());
    ram.write(ACCESS, &access).unwrap();
    device.write(DMA, Word, 0);
    device.write(DMA_LOW, Word, u64::from((ACCESS.raw() as u32).swap_bytes()));
    let mut left = [0; 4];
    ram.read(ACCESS, &mut left).unwrap();
    u32::from_be_bytes(left)
}

fn ram_bytes(ram: &GuestMemory, at: GuestPhysAddr, bytes: usize) -> Vec<u8> {
    let mut into = vec![0; bytes];
    ram.read(at, &mut into).unwrap();
    into
}

#[test]
fn signature_and_features_are_there() {
    let (device, _ram) = device();
    select(&device, KEY_SIGNATURE);
    assert_eq!(read(&device, 6), b"QEMU\0\0");
    select(&device, KEY_ID);
    assert_eq!(device.read(DATA, Word), 3);
    assert_eq!(device.read(DMA, Double), u64::from_le_bytes(*b"QEMU CFG"));
    assert_eq!(
        device.read(DMA_LOW, Word),
        u64::from(u32::from_le_bytes(*b" CFG"))
    );
}

#[test]
fn data_read_of_any_width_keeps_string_order_and_ends_in_zeros() {
    let (device, _ram) = device();
    device.add_bytes(0x15, b"abcdefghijk".to_vec());
    select(&device, 0x15);
    assert_eq!(device.read(DATA, Double), u64::from_le_bytes(*b"abcdefgh"));
    assert_eq!(
        device.read(DATA, Half),
        u64::from(u16::from_le_bytes(*b"ij"))
    );
    assert_eq!(device.read(DATA, Word), u64::from(b'k'));
    assert_eq!(device.read(DATA, Byte), 0);
    select(&device, 0x15);
    assert_eq!(
        device.read(DATA, Byte),
        u64::from(b'a'),
        "selecting starts over"
    );
    select(&device, 0x777);
    assert_eq!(device.read(DATA, Double), 0, "no such item");
}

#[test]
fn numbers_are_little_endian() {
    let (device, _ram) = device();
    device.add_u16(KEY_NB_CPUS, 0x0104);
    device.add_u64(KEY_RAM_SIZE, 0x1_2000_0000);
    select(&device, KEY_NB_CPUS);
    assert_eq!(read(&device, 3), [4, 1, 0]);
    select(&device, KEY_RAM_SIZE);
    assert_eq!(device.read(DATA, Double), 0x1_2000_0000);
}

#[test]
fn directory_lists_files_in_order_of_key() {
    let (device, _ram) = device();
    device.add_file("etc/a", vec![1; 0x102]).unwrap();
    device.add_file("opt/b", b"old".to_vec()).unwrap();
    device.add_file("opt/b", b"newer".to_vec()).unwrap();
    select(&device, KEY_FILE_DIR);
    assert_eq!(read(&device, 4), [0, 0, 0, 2]);
    let entry = read(&device, 64);
    assert_eq!(entry[..8], [0, 0, 1, 2, 0, 0x20, 0, 0]);
    assert_eq!(&entry[8..14], b"etc/a\0");
    let entry = read(&device, 64);
    assert_eq!(entry[..8], [0, 0, 0, 5, 0, 0x21, 0, 0]);
    select(&device, 0x21);
    assert_eq!(read(&device, 6), b"newer\0");
}

#[test]
fn add_file_with_a_bad_name_is_refused() {
    let (device, _ram) = device();
    for name in ["", "a\0b", &"n".repeat(56)] {
        let error = device.add_file(name, vec![]).unwrap_err();
        assert_eq!(
            error,
            FwCfgError::BadName {
                name: name.to_owned()
            }
        );
    }
    device.add_file(&"n".repeat(55), vec![]).unwrap();
}

#[test]
fn add_file_beyond_the_directory_is_refused() {
    let (device, _ram) = device();
    for number in 0..MAX_FILES {
        device.add_file(&number.to_string(), vec![]).unwrap();
    }
    let error = device.add_file("more", vec![]).unwrap_err();
    assert_eq!(
        error,
        FwCfgError::NoRoom {
            name: "more".to_owned()
        }
    );
    device.add_file("0", vec![1]).unwrap();
}

/// The registers and keys of Linux `qemu_fw_cfg.h` and EDK2, as numbers.
#[test]
fn registers_sit_where_drivers_expect_them() {
    let (device, ram) = device();
    device.write(0x8, Half, 0x0100);
    assert_eq!(device.read(0, Double), 3);
    device.write(0x8, Half, 0x1900);
    assert_eq!(device.read(0, Word), 0);
    ram.write(
        ACCESS,
        &[0, 0, 0, 0x0a, 0, 0, 0, 4, 0, 0, 0, 0, 0x80, 0, 0x20, 0],
    )
    .unwrap();
    device.write(0x10, Word, 0);
    device.write(0x14, Word, 0x0001_0080);
    assert_eq!(ram_bytes(&ram, TO, 4), b"QEMU");
}

#[test]
fn dma_select_and_read_fills_ram_and_clears_control() {
    let (device, ram) = device();
    device.add_file("f", b"hello, guest".to_vec()).unwrap();
    ram.write(TO, &[0xee; 16]).unwrap();
    let control = 0x20 << 16 | CONTROL_SELECT | CONTROL_READ;
    assert_eq!(dma(&device, &ram, control, 5, TO), 0);
    assert_eq!(ram_bytes(&ram, TO, 6), b"hello\xee");
    assert_eq!(dma(&device, &ram, CONTROL_SKIP, 2, TO), 0);
    assert_eq!(dma(&device, &ram, CONTROL_READ, 8, TO), 0);
    assert_eq!(ram_bytes(&ram, TO, 9), b"guest\0\0\0\xee");
}

#[test]
fn dma_by_one_wide_write_works_too() {
    let (device, ram) = device();
    let control = CONTROL_SELECT | CONTROL_READ;
    ram.write(ACCESS, &control.to_be_bytes()).unwrap();
    ram.write(ACCESS + 4, &4u32.to_be_bytes()).unwrap();
    ram.write(ACCESS + 8, &TO.raw().to_be_bytes()).unwrap();
    device.write(DMA, Double, ACCESS.raw().swap_bytes());
    assert_eq!(ram_bytes(&ram, TO, 4), b"QEMU");
    assert_eq!(ram_bytes(&ram, ACCESS, 4), [0; 4]);
}

#[test]
fn dma_outside_ram_or_write_sets_the_error_bit() {
    let (device, ram) = device();
    let end = RAM + (RAM_BYTES - 2);
    let control = CONTROL_SELECT | CONTROL_READ;
    assert_eq!(dma(&device, &ram, control, 4, end), CONTROL_ERROR);
    assert_eq!(
        dma(&device, &ram, control, 0xffff_ffff, TO),
        CONTROL_ERROR,
        "zeros run out of RAM"
    );
    assert_eq!(
        dma(&device, &ram, CONTROL_SELECT | CONTROL_WRITE, 4, TO),
        CONTROL_ERROR
    );
    device.write(DMA_LOW, Word, 0x1234);
}

#[test]
fn file_that_may_be_written_tells_what_was() {
    let (device, ram) = device();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let written = move |bytes: &[u8]| *into.lock() = bytes.to_vec();
    device
        .add_writable_file("etc/ramfb", vec![0; 6], Arc::new(written))
        .unwrap();
    let from = GuestPhysAddr(0x8000_4000);
    ram.write(from, b"abcd").unwrap();
    let select = 0x20 << 16 | CONTROL_SELECT;
    assert_eq!(dma(&device, &ram, select | CONTROL_SKIP, 1, from), 0);
    assert_eq!(dma(&device, &ram, CONTROL_WRITE, 4, from), 0);
    assert_eq!(*seen.lock(), b"\0abcd\0");
    assert_eq!(
        dma(&device, &ram, select | CONTROL_WRITE, 7, from),
        CONTROL_ERROR
    );
    select_and_expect(&device, 0x20, b"\0abcd\0");
}

fn select_and_expect(device: &FwCfg, key: u16, bytes: &[u8]) {
    select(device, key);
    assert_eq!(read(device, bytes.len()), bytes);
}

#[test]
fn select_of_a_named_file_prepares_it() {
    let (device, _) = device();
    device.add_file("etc/other", vec![9]).unwrap();
    device.add_file("etc/prepared", vec![0]).unwrap();
    let count = std::sync::atomic::AtomicU8::new(0);
    device.on_select(&["etc/prepared"], move |device| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        device.add_file("etc/prepared", vec![number + 1]).unwrap();
    });
    let (other, prepared) = (KEY_FIRST_FILE, KEY_FIRST_FILE + 1);
    select_and_expect(&device, other, &[9]);
    select_and_expect(&device, prepared, &[1]);
    select_and_expect(&device, KEY_SIGNATURE, b"QEMU");
    select_and_expect(&device, prepared, &[2]);
}

#[test]
fn dma_high_half_is_used_once() {
    let (device, ram) = device();
    device.write(DMA, Word, u64::from(1u32.swap_bytes()));
    device.write(DMA_LOW, Word, 0);
    let left = device.save().dma_high;
    assert_eq!(left, 0);
    assert_eq!(dma(&device, &ram, CONTROL_SELECT | CONTROL_READ, 1, TO), 0);
}

#[test]
fn registers_of_the_wrong_width_are_ignored() {
    let (device, _ram) = device();
    select(&device, KEY_SIGNATURE);
    device.write(SELECTOR, Word, 0x1900);
    device.write(DATA, Byte, 0xff);
    assert_eq!(device.read(SELECTOR, Half), 0);
    assert_eq!(read(&device, 4), b"QEMU");
}

#[test]
fn restore_of_a_save_continues_alike() {
    let (one, _ram) = device();
    select(&one, KEY_SIGNATURE);
    read(&one, 2);
    one.write(DMA, Word, 7);
    let saved = one.save();
    let (other, _ram) = device();
    other.restore(saved.clone()).unwrap();
    assert_eq!(other.save(), saved);
    assert_eq!(read(&other, 2), b"MU");
    other.reset();
    assert_eq!(
        other.save(),
        SavedState {
            version: 2,
            key: 0,
            offset: 0,
            dma_high: 0,
        }
    );
    other
        .restore(SavedState {
            offset: u64::MAX,
            ..saved.clone()
        })
        .unwrap();
    assert_eq!(other.read(DATA, Double), 0);
    assert!(
        other
            .restore(SavedState {
                version: 9,
                ..saved
            })
            .is_err()
    );
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script(), at in 0u32..0x100, access in proptest::prelude::any::<[u8; 16]>()) {
        let (device, ram) = device();
        device.add_file("f", vec![7; 100]).unwrap();
        crate::fuzzing::drive(&device, RANGE_BYTES, &script);
        let at = RAM + u64::from(at);
        ram.write(at, &access).unwrap();
        device.write(DMA, Double, at.raw().swap_bytes());
        let control = u32::from_be_bytes(ram_bytes(&ram, at, 4).try_into().unwrap());
        proptest::prop_assert!(control <= CONTROL_ERROR);
    }
}
