//! What a guest has flushed survives the sudden death of the machine.

use std::fs::File;

use vm_tests::{Disk, Guest, Launch, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
const DISK_BYTES: u64 = 64 << 20;

/// Blank disk of [`DISK_BYTES`].
fn blank_disk(dir: &tempfile::TempDir) -> Disk {
    let path = dir.path().join("disk.img");
    let file = File::create(&path).expect("a writable temporary directory");
    file.set_len(DISK_BYTES).expect("sparse files");
    Disk::raw(path)
}

#[test]
fn fsync_then_kill_keeps_the_file() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch {
        disks: vec![blank_disk(&dir)],
        ..Launch::riscv64_linux(&cache)
    };

    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok(
        "mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && mkdir /mnt/d && sync",
        limit(60),
    );
    guest.run_ok(
        "dd if=/dev/urandom of=/mnt/d/data bs=4k count=1000 conv=fsync",
        limit(60),
    );
    let before = guest.run_ok("sha256sum /mnt/d/data", limit(60));
    guest.kill();

    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("mount -t ext4 /dev/vda /mnt", limit(60));
    let after = guest.run_ok("sha256sum /mnt/d/data", limit(60));
    assert_eq!(after, before);
    assert_eq!(
        after.split_whitespace().next().map(str::len),
        Some(64),
        "a hash, not {after:?}"
    );
}

#[test]
fn snapshot_disk_forgets_what_was_written() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = Disk {
        snapshot: true,
        ..blank_disk(&dir)
    };
    let path = disk.file.clone();
    let launch = Launch {
        disks: vec![disk],
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("printf written | dd of=/dev/vda conv=fsync", limit(60));
    let back = guest.run_ok(
        "blockdev --flushbufs /dev/vda && head -c 7 /dev/vda",
        limit(60),
    );
    assert_eq!(back, "written");
    guest.type_line("exit");
    guest.exit_code(limit(60));
    let contents = std::fs::read(path).expect("the image is still there");
    assert!(
        contents.iter().all(|byte| *byte == 0),
        "the image was written to"
    );
}
