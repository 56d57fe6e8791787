use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn image(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

#[test]
fn raw_write_then_flush_changes_the_file() {
    let (_directory, path) = image(&[0; 4096]);
    let disk = RawDisk::open(&path, DiskAccess::ReadWrite, Content::Guess).unwrap();
    disk.write_at(512, b"hello").unwrap();
    disk.flush().unwrap();
    assert_eq!(&fs::read(&path).unwrap()[512..517], b"hello");
    let mut back = [0; 5];
    disk.read_at(512, &mut back).unwrap();
    assert_eq!(&back, b"hello");
    assert!(disk.read_at(4092, &mut back).is_err());
    assert!(disk.write_at(u64::MAX, b"x").is_err());
}

#[test]
fn raw_open_for_writing_twice_says_in_use() {
    let (_directory, path) = image(&[0; 512]);
    let disk = RawDisk::open(&path, DiskAccess::ReadWrite, Content::Guess).unwrap();
    for access in [DiskAccess::ReadWrite, DiskAccess::ReadOnly] {
        let error = RawDisk::open(&path, access, Content::Guess).unwrap_err();
        assert!(matches!(error, DiskError::InUse { .. }));
        assert!(
            error
                .to_string()
                .contains("in use by another virtual machine")
        );
    }
    drop(disk);
    let reader = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    assert!(matches!(
        RawDisk::open(&path, DiskAccess::ReadWrite, Content::Guess),
        Err(DiskError::InUse { .. })
    ));
    drop(reader);
}

/// Another user of the image that locks bytes of it as QEMU does.
fn qemu_locks(path: &std::path::Path, bytes: &[u64]) -> fs::File {
    let file = fs::File::open(path).unwrap();
    for &byte in bytes {
        vm_osal::file::share_byte(&file, byte).unwrap();
    }
    file
}

#[test]
fn raw_heeds_and_takes_the_locks_of_qemu() {
    use DiskAccess::{ReadOnly, ReadWrite};
    let (_directory, path) = image(&[0; 512]);
    // Writers hold 101 and refuse others with 201; who only reads holds 100 and refuses writers.
    for (theirs, access, possible) in [
        (&[100, 101, 201, 203][..], ReadWrite, false),
        (&[100, 101, 201, 203], ReadOnly, false),
        (&[100, 201, 203], ReadWrite, false),
        (&[100, 201, 203], ReadOnly, true),
        (&[103], ReadOnly, false),
        (&[200], ReadOnly, false),
        // Bits that are no matter of ours.
        (&[102, 104, 202, 204], ReadWrite, true),
    ] {
        let other = qemu_locks(&path, theirs);
        let opened = RawDisk::open(&path, access, Content::Guess);
        assert_eq!(opened.is_ok(), possible, "{access:?} beside {theirs:?}");
        drop(other);
    }
    let probe = fs::File::open(&path).unwrap();
    let held = || {
        let all = (90..300).filter(|&byte| vm_osal::file::byte_is_locked(&probe, byte).unwrap());
        all.collect::<Vec<_>>()
    };
    let disk = RawDisk::open(&path, ReadWrite, Content::Guess).unwrap();
    assert_eq!(held(), [100, 101, 201, 203]);
    drop(disk);
    let disk = RawDisk::open(&path, ReadOnly, Content::Guess).unwrap();
    assert_eq!(held(), [100, 201, 203]);
    drop(disk);
    assert_eq!(held(), [0; 0]);
}

#[test]
fn raw_of_another_format_is_refused_unless_it_is_said_to_be_raw() {
    let at = |offset: usize, signature: &[u8]| {
        let mut bytes = vec![0; 0x9000];
        bytes[offset..offset + signature.len()].copy_from_slice(signature);
        bytes
    };
    for (bytes, name, advice) in [
        (at(0, b"QFI\xfb"), "qcow2", "qemu-img convert"),
        (at(0, b"QED\0"), "QED", "qemu-img convert"),
        (at(0, b"KDMV"), "VMDK", "qemu-img convert"),
        (at(0, b"# Disk DescriptorFile"), "VMDK", "qemu-img convert"),
        (at(0, b"vhdxfile"), "VHDX", "qemu-img convert"),
        (at(0, b"conectix"), "VHD", "qemu-img convert"),
        (at(0x9000 - 512, b"conectix"), "VHD", "qemu-img convert"),
        (at(0x40, b"\x7f\x10\xda\xbe"), "VDI", "qemu-img convert"),
        (at(0, b"WithouFreSpacExt"), "Parallels", "qemu-img convert"),
        (at(0x9000 - 512, b"koly"), "DMG", "qemu-img convert"),
        (at(0, b"\x1f\x8b\x08"), "gzip", "'gunzip'"),
        (at(0, b"\xfd7zXZ\0"), "xz", "'unxz'"),
        (at(0, b"\x28\xb5\x2f\xfd"), "zstd", "'unzstd'"),
        (at(0, b"\x04\x22\x4d\x18"), "lz4", "'unlz4'"),
        (at(0, b"BZh91"), "bzip2", "'bunzip2'"),
        (at(0, b"LZIP"), "lzip", "'lunzip'"),
        (at(0, b"PK\x03\x04"), "zip", "'unzip'"),
        (at(0, b"7z\xbc\xaf\x27\x1c"), "7z", "'7z x'"),
        (at(257, b"ustar"), "tar", "'tar -xf'"),
        (at(0, b"\x3a\xff\x26\xed"), "Android", "simg2img"),
        (at(0, b"\x7fELF"), "kernel", "--kernel"),
        (at(0x8001, b"CD001"), "CD", "format=raw,readonly"),
    ] {
        let (_directory, path) = image(&bytes);
        let refused = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess);
        let text = refused.unwrap_err().to_string();
        for word in [name, advice, "format=raw"] {
            assert!(text.contains(word), "{text:?} lacks {word:?}");
        }
        RawDisk::open(&path, DiskAccess::ReadOnly, Content::Raw).unwrap();
    }
    // A boot sector, and one that is shorter than any signature's place.
    let mut boot = vec![0; 512];
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    for bytes in [boot, vec![0x1f]] {
        let (_directory, path) = image(&bytes);
        RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    }
}

#[test]
fn raw_pipe_is_refused_without_waiting_for_its_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let refused = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess);
    assert!(matches!(refused, Err(DiskError::NotADisk { .. })));
}

/// Bytes of storage that a file takes.
fn stored(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).unwrap().blocks() * 512
}

const MIB: u64 = 1 << 20;

#[test]
fn raw_discard_and_write_zeroes_give_storage_back_or_keep_it() {
    let (_directory, path) = image(&vec![7; 8 << 20]);
    let disk = RawDisk::open(&path, DiskAccess::ReadWrite, Content::Guess).unwrap();
    disk.flush().unwrap();
    let full = stored(&path);
    assert!(full >= 8 * MIB);
    disk.discard(MIB, 2 * MIB).unwrap();
    disk.write_zeroes(4 * MIB, MIB, Storage::Release).unwrap();
    disk.write_zeroes(6 * MIB, MIB, Storage::Keep).unwrap();
    disk.flush().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, 8 * MIB);
    for mib in [4, 6] {
        let at = (mib * MIB) as usize;
        assert!(bytes[at..at + MIB as usize].iter().all(|&byte| byte == 0));
        assert_eq!((bytes[at - 1], bytes[at + MIB as usize]), (7, 7));
    }
    let scratch = fs::OpenOptions::new().write(true).open(&path).unwrap();
    if vm_osal::file::punch_hole(&scratch, 0, 4096).is_err() {
        return println!("skipped: the temporary directory's file system has no holes");
    }
    // Three of eight, and a little for the file system's own use.
    let left = stored(&path);
    assert!(left <= full - 3 * MIB + MIB / 4, "{left} of {full}");
    assert!(left >= full - 3 * MIB - MIB / 4, "{left} of {full}");
    assert!(disk.discard(8 * MIB - 512, 1024).is_err());
    assert!(
        disk.write_zeroes(u64::MAX - 511, 512, Storage::Release)
            .is_err()
    );
    drop(disk);
    let disk = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    assert!(disk.discard(0, 4096).is_err());
    assert!(disk.write_zeroes(0, 4096, Storage::Keep).is_err());
}

#[test]
fn raw_odd_end_can_be_cleared_without_a_longer_file() {
    let (_directory, path) = image(&[7; 700]);
    let disk = RawDisk::open(&path, DiskAccess::ReadWrite, Content::Guess).unwrap();
    disk.write_zeroes(512, 512, Storage::Release).unwrap();
    disk.discard(512, 512).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(
        (bytes.len(), bytes[511], bytes[512], bytes[699]),
        (700, 7, 0, 0)
    );
    assert!(disk.physical_block_bytes().is_power_of_two());
}

#[test]
fn raw_read_only_refuses_writes() {
    let (_directory, path) = image(&[7; 512]);
    let disk = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    assert!(disk.read_only());
    assert!(disk.write_at(0, b"x").is_err());
    assert_eq!(fs::read(&path).unwrap(), [7; 512]);
}

#[test]
fn raw_odd_size_is_padded_with_zeros() {
    let (_directory, path) = image(&[7; 700]);
    let disk = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    assert_eq!(disk.len(), 1024);
    let mut sector = [1; 512];
    disk.read_at(512, &mut sector).unwrap();
    assert!(sector[..188].iter().all(|&b| b == 7) && sector[188..].iter().all(|&b| b == 0));
}

#[test]
fn raw_open_of_what_is_no_disk_says_so() {
    let (directory, path) = image(&[]);
    let open = |path: &std::path::Path| {
        RawDisk::open(path, DiskAccess::ReadOnly, Content::Guess).unwrap_err()
    };
    assert!(matches!(open(&path), DiskError::Empty { .. }));
    assert!(matches!(open(directory.path()), DiskError::NotADisk { .. }));
    assert!(matches!(
        open(&directory.path().join("none")),
        DiskError::Open { .. }
    ));
}

#[test]
fn overlay_keeps_writes_from_the_base_and_leaves_no_file() {
    let (directory, path) = image(&[7; 3 * 4096 + 512]);
    let base = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
    let disk = Overlay::new(Box::new(base), Some(directory.path())).unwrap();
    disk.write_at(4096 + 100, &[9; 5000]).unwrap();
    disk.flush().unwrap();
    let mut all = vec![0; disk.len() as usize];
    disk.read_at(0, &mut all).unwrap();
    assert!(all[4196..9196].iter().all(|&b| b == 9));
    assert!(all[..4196].iter().chain(&all[9196..]).all(|&b| b == 7));
    assert_eq!(fs::read(&path).unwrap(), vec![7; 3 * 4096 + 512]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn overlay_reads_what_was_written(
        writes in prop::collection::vec((0u64..40_000, 1usize..9000, any::<u8>()), 1..20),
    ) {
        let mut model: Vec<u8> = (0..40_000).map(|i| (i % 251) as u8).collect();
        model.resize(40_448, 3);
        let (_directory, path) = image(&model);
        let base = RawDisk::open(&path, DiskAccess::ReadOnly, Content::Guess).unwrap();
        let disk = Overlay::new(Box::new(base), None).unwrap();
        for (offset, bytes, value) in writes {
            let range = offset as usize..offset as usize + bytes;
            let fits = range.end <= model.len();
            let mut all = vec![0; model.len()];
            let (done, data) = match value % 4 {
                0 => (disk.write_zeroes(offset, bytes as u64, Storage::Release), 0),
                1 => {
                    let done = disk.discard(offset, bytes as u64);
                    disk.read_at(0, &mut all).unwrap();
                    // Zero or as before, and nothing else changes.
                    let mut bytes = all.iter().zip(&model).enumerate();
                    let fair = bytes.all(|(at, (now, before))| {
                        now == before || (*now == 0 && range.contains(&at))
                    });
                    prop_assert!(fair, "discarding changed something else");
                    model.copy_from_slice(&all);
                    prop_assert_eq!(done.is_ok(), fits);
                    continue;
                }
                _ => (disk.write_at(offset, &vec![value; bytes]), value),
            };
            prop_assert_eq!(done.is_ok(), fits);
            if fits {
                model[range].fill(data);
            }
            disk.read_at(0, &mut all).unwrap();
            prop_assert!(all == model);
        }
    }
}
