//! Debian's kernels for PCs by both ways of starting them, on one to four CPUs; the userland of 32-bit programs; a trace.

use std::path::Path;
use std::time::{Duration, Instant};

use vm_tests::{Cache, Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};
use xtask::guests::initramfs::Initramfs;

/// Boots the kernel to userspace with one, two and four CPUs, and lets it power off.
fn boots(cache: &Cache, kernel: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Modules are those of the cloud kernel only, so none are among it.
    let busybox = std::fs::read(cache.file("x86_64/busybox")).expect("a file of the cache");
    let initrd = dir.path().join("initramfs.cpio.gz");
    std::fs::write(&initrd, Initramfs::new(busybox).gzip()).expect("a temporary directory");
    for cpus in [1, 2, 4] {
        let launch = Launch {
            kernel: Some(cache.file(kernel)),
            initrd: Some(initrd.clone()),
            cpus,
            ..Launch::x86_64_linux(cache)
        };
        let launch = launch.with_words("order=poweroff");
        let mut guest = Guest::start_on(Emulator::VmCli, &launch, cache);
        guest.wait_for(&format!("Brought up 1 node, {cpus} CPU"), boot_limit());
        guest.wait_for("guest: userspace", boot_limit());
        guest.wait_for("guest: poweroff", limit(60));
        assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF, "{kernel}");
    }
}

#[test]
fn cloud_kernel_boots_by_both_entries_on_one_to_four_cpus() {
    let files = ["x86_64/bzImage", "x86_64/vmlinux", "x86_64/busybox"];
    let Some(cache) = guests_or_skip(&files) else {
        return;
    };
    boots(&cache, "x86_64/bzImage");
    boots(&cache, "x86_64/vmlinux");
}

#[test]
fn standard_kernel_boots_by_both_entries_on_one_to_four_cpus() {
    let files = [
        "x86_64/installer/linux",
        "x86_64/installer/vmlinux",
        "x86_64/busybox",
    ];
    let Some(cache) = guests_or_skip(&files) else {
        return;
    };
    boots(&cache, "x86_64/installer/linux");
    boots(&cache, "x86_64/installer/vmlinux");
}

/// Writes a script: integers, x87 where the other has SSE2, processes and pipes.
const WORK: &str = r#"cat > /i386/tmp/work <<'END'
sha256sum < $1/data
gzip -9 < $1/data | gunzip | md5sum
awk 'BEGIN { for (i = 1; i < 2000; i++) s += sin(i) * sqrt(i) / i; printf "%.9f\n", s }'
seq 1 2000 | sort -rn | head -n 3
END"#;

#[test]
fn programs_of_i386_run_beside_those_of_amd64() {
    let Some(cache) = guests_or_skip(&["x86_64/bzImage", "x86_64/initramfs-i386.cpio.gz"]) else {
        return;
    };
    let launch = Launch {
        initrd: Some(cache.file("x86_64/initramfs-i386.cpio.gz")),
        ..Launch::x86_64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok(
        "mount -t proc proc /i386/proc && cp /bin/busybox /i386/tmp/data && \
         chroot /i386 /bin/busybox --install -s /bin",
        limit(60),
    );
    guest.type_line(WORK);
    // The class of the ELF file that runs: 1 is 32 bits (System V gABI, chapter 4, "ELF Identification").
    let class = "head -c 5 /proc/self/exe | hexdump -C";
    let said = guest.run_ok(&format!("chroot /i386 /bin/sh -c '{class}'"), limit(60));
    assert!(said.contains("45 4c 46 01"), "{said}");
    let wide = guest.run_ok("sh /i386/tmp/work /i386/tmp", limit(60));
    let narrow = guest.run_ok("chroot /i386 /bin/sh /tmp/work /tmp", limit(60));
    assert!(wide.lines().count() >= 6, "{wide}");
    assert_eq!(narrow, wide);
}

/// Waits until the file holds `wanted`.
fn holds(file: &Path, wanted: &str) -> String {
    let started = Instant::now();
    loop {
        let text = std::fs::read(file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        if text.contains(wanted) {
            return text;
        }
        assert!(started.elapsed() < limit(120), "{} bytes", text.len());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn trace_of_a_pc_names_registers_and_the_kernel_s_functions() {
    let Some(cache) = guests_or_skip(&["x86_64/vmlinux"]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("trace");
    let launch = Launch {
        // Started where it is linked at, it does not move itself.
        kernel: Some(cache.file("x86_64/vmlinux")),
        initrd: None,
        ..Launch::x86_64_linux(&cache)
    };
    let launch = launch.with_option("--trace", format!("exec={}", file.display()));
    let guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    let text = holds(&file, " x86_64_start_kernel+0x");
    guest.kill();
    let record = text.split("cpu0 ").nth(1).expect("a record");
    // The entry of PVH is in 32-bit code below 4 GiB; ebx points to what it is told.
    assert!(record.contains("\n pc       00000000"), "{record}");
    let rbx = record.split("rbx").nth(1).unwrap_or_default();
    let rbx = rbx.split_whitespace().next().unwrap_or_default();
    assert!(
        u64::from_str_radix(rbx, 16).is_ok_and(|rbx| rbx != 0 && rbx >> 32 == 0),
        "{record}"
    );
    assert!(record.contains("r15"), "{record}");
}
