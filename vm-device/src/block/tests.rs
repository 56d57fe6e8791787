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
    let disk = RawDisk::open(&path, DiskAccess::ReadWrite).unwrap();
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
    let disk = RawDisk::open(&path, DiskAccess::ReadWrite).unwrap();
    for access in [DiskAccess::ReadWrite, DiskAccess::ReadOnly] {
        let error = RawDisk::open(&path, access).unwrap_err();
        assert!(matches!(error, DiskError::InUse { .. }));
        assert!(
            error
                .to_string()
                .contains("in use by another virtual machine")
        );
    }
    drop(disk);
    let reader = RawDisk::open(&path, DiskAccess::ReadOnly).unwrap();
    RawDisk::open(&path, DiskAccess::ReadOnly).unwrap();
    assert!(matches!(
        RawDisk::open(&path, DiskAccess::ReadWrite),
        Err(DiskError::InUse { .. })
    ));
    drop(reader);
}

#[test]
fn raw_read_only_refuses_writes() {
    let (_directory, path) = image(&[7; 512]);
    let disk = RawDisk::open(&path, DiskAccess::ReadOnly).unwrap();
    assert!(disk.read_only());
    assert!(disk.write_at(0, b"x").is_err());
    assert_eq!(fs::read(&path).unwrap(), [7; 512]);
}

#[test]
fn raw_odd_size_is_padded_with_zeros() {
    let (_directory, path) = image(&[7; 700]);
    let disk = RawDisk::open(&path, DiskAccess::ReadOnly).unwrap();
    assert_eq!(disk.len(), 1024);
    let mut sector = [1; 512];
    disk.read_at(512, &mut sector).unwrap();
    assert!(sector[..188].iter().all(|&b| b == 7) && sector[188..].iter().all(|&b| b == 0));
}

#[test]
fn raw_open_of_what_is_no_disk_says_so() {
    let (directory, path) = image(&[]);
    let open = |path: &std::path::Path| RawDisk::open(path, DiskAccess::ReadOnly).unwrap_err();
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
    let base = RawDisk::open(&path, DiskAccess::ReadOnly).unwrap();
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
        let mut model: Vec<u8> = (0..40_960).map(|i| (i % 251) as u8).collect();
        let (_directory, path) = image(&model);
        let base = RawDisk::open(&path, DiskAccess::ReadOnly).unwrap();
        let disk = Overlay::new(Box::new(base), None).unwrap();
        for (offset, bytes, value) in writes {
            let data = vec![value; bytes];
            let fits = offset as usize + bytes <= model.len();
            prop_assert_eq!(disk.write_at(offset, &data).is_ok(), fits);
            if fits {
                model[offset as usize..offset as usize + bytes].copy_from_slice(&data);
            }
            let mut all = vec![0; model.len()];
            disk.read_at(0, &mut all).unwrap();
            prop_assert!(all == model);
        }
    }
}
