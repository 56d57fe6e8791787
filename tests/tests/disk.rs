//! Disks: what a guest has flushed survives the sudden death of the machine, what it discards takes no space, and a full
//! disk of the host makes it wait.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

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

/// A machine whose files may not grow past this. Its RAM is a file, too, and smaller.
const FILE_LIMIT_MIB: u64 = 600;
/// The signal that comes with the limit would end the program where it is not ignored.
const LIMITED: &str = r#"trap "" XFSZ; ulimit -S -f 1228800; exec "$@""#;

/// A machine with a sparse disk that reaches beyond the limit.
fn limited_launch(cache: &vm_tests::Cache, disk: &Path, option: &str) -> Launch {
    let image = File::create(disk).expect("a writable temporary directory");
    image.set_len(1 << 30).expect("sparse files");
    Launch {
        wrapper: ["sh", "-c", LIMITED, "sh"].map(str::to_owned).to_vec(),
        ..Launch::riscv64_linux(cache)
    }
    .with_option("--disk", format!("{}{option}", disk.display()))
}

/// Sets the limit of a running process.
fn limit_files(process: u32, bytes: &str) {
    let line = [format!("--pid={process}"), format!("--fsize={bytes}:")];
    let done = Command::new("prlimit").args(line).status();
    assert!(done.expect("prlimit of util-linux").success());
}

/// In the guest: writes a word beyond the limit, and prints another when that is done.
fn write_beyond(word: &str, mib: u64) -> String {
    format!("printf {word} | dd of=/dev/vda bs=1M seek={mib} conv=fsync && echo do''ne-{word}")
}

#[test]
fn disk_without_room_on_the_host_waits_and_goes_on() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("d.img");
    let mut guest = Guest::boot_to_shell(&limited_launch(&cache, &disk, ",on-full=pause"), &cache);
    guest.type_line(&write_beyond("first", 700));
    guest.wait_for_message("d.img: ", limit(60));
    guest.wait_for_message("waits until there is room", limit(10));
    // Whoever makes room need not do more.
    limit_files(guest.process_id(), "unlimited");
    guest.wait_for("done-first", limit(60));
    guest.wait_for_message("there is room again", limit(10));
    let mut bytes = [0; 5];
    let image = File::open(&disk).expect("the image is still there");
    image
        .read_exact_at(&mut bytes, 700 << 20)
        .expect("a long file");
    assert_eq!(&bytes, b"first");
    // The wait holds up no end of the machine.
    limit_files(guest.process_id(), &(FILE_LIMIT_MIB << 20).to_string());
    guest.type_line(&write_beyond("second", 800));
    guest.wait_for_message("waits until there is room", limit(60));
    let id = guest.process_id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.expect("kill").success());
    assert_eq!(guest.exit_code(limit(20)), 143);
}

#[test]
fn disk_without_room_on_the_host_can_report_it() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("d.img");
    let launch = limited_launch(&cache, &disk, ",on-full=report");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let (status, _) = guest.run(&write_beyond("lost", 700), limit(60));
    assert_ne!(status, 0);
    guest.wait_for_message("the guest gets write errors", limit(10));
    // What fits is written.
    guest.run_ok(&write_beyond("kept", 10), limit(60));
}

#[test]
fn snapshot_without_room_on_the_host_waits_and_says_where_it_is() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("d.img");
    // The file of a snapshot has the disk's length from the start, so the limit comes later.
    let launch = Launch {
        wrapper: Vec::new(),
        ..limited_launch(&cache, &disk, ",snapshot=on")
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    limit_files(guest.process_id(), &(FILE_LIMIT_MIB << 20).to_string());
    guest.type_line(&write_beyond("kept", 700));
    guest.wait_for_message("d.img, snapshot in ", limit(60));
    guest.wait_for_message("waits until there is room", limit(10));
    limit_files(guest.process_id(), "unlimited");
    guest.wait_for("done-kept", limit(60));
    guest.type_line("exit");
    guest.exit_code(limit(60));
}

/// MiB of storage that a file takes.
fn stored_mib(path: &Path) -> u64 {
    (path.metadata().expect("the image is there").blocks() * 512) >> 20
}

#[test]
fn discarded_blocks_take_no_space_on_the_host() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = blank_disk(&dir);
    let path = disk.file.clone();
    let launch = Launch {
        disks: vec![disk],
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let queue = guest.run_ok(
        "cd /sys/block/vda/queue && cat discard_max_bytes write_zeroes_max_bytes logical_block_size; cd /",
        limit(30),
    );
    let numbers: Vec<&str> = queue.split_whitespace().collect();
    assert_eq!(numbers, ["1073741824", "16777216", "512"]);
    guest.run_ok("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt", limit(60));
    guest.run_ok(
        "dd if=/dev/urandom of=/mnt/big bs=1M count=32 conv=fsync",
        limit(60),
    );
    let before = stored_mib(&path);
    assert!(before >= 32, "{before} MiB");
    guest.run_ok("rm /mnt/big && sync && fstrim /mnt && sync", limit(60));
    let after = stored_mib(&path);
    assert!(after + 28 <= before, "{after} MiB of {before} are left");
}
