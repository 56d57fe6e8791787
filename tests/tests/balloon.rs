//! Memory that the guest does not use goes back to the host.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vm_tests::{Cache, Guest, Launch, guests_or_skip, limit};
use xtask::guests::cpio::Archive;
use xtask::guests::modules::ModuleTree;

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
/// What the guest uses and gives up again.
const USED_MIB: u64 = 160;

/// The standard initramfs with Debian's driver of the balloon, or `None`, said, when the kernel's package is not there.
/// The kernel unpacks archives that follow each other into one tree.
fn initramfs_with_balloon(cache: &Cache, dir: &Path) -> Option<PathBuf> {
    let package = cache.unpacked("riscv64-kernel");
    if !package.is_dir() {
        println!(
            "skipped: the unpacked kernel package is not in {}",
            package.display()
        );
        return None;
    }
    let modules = ModuleTree::open(&package)
        .and_then(|tree| tree.in_load_order(&["virtio_balloon"]))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut more = Archive::default();
    more.directory("modules", 0o755);
    for (number, module) in modules.iter().enumerate() {
        let file = format!("modules/z{number}-{}.ko", module.name);
        more.file(&file, 0o644, &module.contents);
    }
    let mut archive = std::fs::read(cache.file("riscv64/initramfs.cpio.gz")).expect("checked");
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(more.finish());
    let file = dir.join("initramfs");
    std::fs::write(&file, archive).expect("a writable temporary directory");
    Some(file)
}

/// Resident memory of a process in MiB.
fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a number of kB") >> 10
}

#[test]
fn memory_that_the_guest_has_given_up_goes_back_to_the_host() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(initrd) = initramfs_with_balloon(&cache, dir.path()) else {
        return;
    };
    let launch = Launch {
        initrd: Some(initrd),
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok(
        "test -e /sys/bus/virtio/drivers/virtio_balloon/virtio*",
        limit(30),
    );
    let before = resident_mib(guest.process_id());
    guest.run_ok(
        &format!("dd if=/dev/zero of=/tmp/big bs=1M count={USED_MIB}"),
        limit(60),
    );
    let used = resident_mib(guest.process_id());
    assert!(
        used >= before + USED_MIB * 9 / 10,
        "{before} then {used} MiB"
    );
    guest.run_ok("rm /tmp/big", limit(30));
    // Linux reports every two seconds, and little at a time.
    let started = Instant::now();
    loop {
        let now = resident_mib(guest.process_id());
        if now + USED_MIB * 3 / 4 <= used {
            break;
        }
        assert!(
            started.elapsed() < limit(90),
            "{before}, {used}, and still {now} MiB"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // What went back can be used again, and holds what is written.
    guest.run_ok(
        "dd if=/dev/urandom of=/tmp/a bs=1M count=40 && cp /tmp/a /tmp/b && cmp /tmp/a /tmp/b",
        limit(120),
    );
}

#[test]
fn balloon_off_leaves_the_device_out() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    // Device type 5 (VIRTIO 1.3, 5).
    let count = "grep -l 0x0005 /sys/bus/virtio/devices/*/device | wc -l";
    for (value, devices) in [("on", "1"), ("off", "0")] {
        let launch = Launch::riscv64_linux(&cache).with_option("--balloon", value);
        let mut guest = Guest::boot_to_shell(&launch, &cache);
        assert_eq!(guest.run_ok(count, limit(30)).trim(), devices, "{value}");
    }
}
