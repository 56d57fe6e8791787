//! Options of `vm-cli run` as the guest sees them: each assertion fails when its option is ignored.

use std::fs::File;

use vm_tests::{Emulator, Guest, Launch, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

#[test]
fn machine_options_reach_the_guest() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("named.img");
    let image = File::create(&disk).expect("a writable temporary directory");
    image.set_len(1 << 20).expect("sparse files");
    let launch = Launch {
        memory_mib: 320,
        ..Launch::riscv64_linux(&cache).with_words("net=dhcp")
    }
    .with_option("--cpu", "rv64,+zbb,satp=sv48")
    .with_option(
        "--disk",
        format!("file={},readonly,serial=disk-7", disk.display()),
    )
    .with_option("--net", "user,mac=52:54:00:ab:cd:ef,hostname=visitor")
    .with_option("--virtio", "mmio")
    .with_option("--rng", "off");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let mut see = |command: &str| guest.run_ok(command, limit(60)).trim().to_owned();

    assert!(see("cat /proc/cmdline").ends_with("net=dhcp"));
    let kib: u32 = see("awk '/MemTotal/ { print $2 }' /proc/meminfo")
        .parse()
        .expect("a number");
    assert!((200_000..320 << 10).contains(&kib), "{kib} KiB of 320 MiB");
    let isa = see("grep ^isa /proc/cpuinfo");
    assert!(isa.contains("_zbb") && !isa.contains("_zba"), "{isa}");
    assert!(see("grep ^mmu /proc/cpuinfo").ends_with("sv48"));
    assert_eq!(see("cat /sys/block/vda/serial"), "disk-7");
    assert_eq!(see("cat /sys/block/vda/ro"), "1");
    assert_eq!(see("cat /sys/class/net/eth0/address"), "52:54:00:ab:cd:ef");
    assert_ne!(see("ls /sys/bus/virtio/drivers/virtio_blk"), "");
    assert!(see("readlink -f /sys/block/vda").contains("virtio_mmio"));
    assert_eq!(see("cat /sys/class/misc/hw_random/rng_current"), "none");
    see("printf '#!/bin/sh\\nset\\n' > /tmp/lease && chmod +x /tmp/lease");
    let lease = see("udhcpc -i eth0 -f -q -n -s /tmp/lease 2>&1 | grep ^hostname=");
    assert_eq!(lease, "hostname='visitor'");
}

#[test]
fn slots_are_by_kind_and_pinned_where_asked() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = |name: &str, more: &str| {
        let path = dir.path().join(name);
        let image = File::create(&path).expect("a writable temporary directory");
        image.set_len(1 << 20).expect("sparse files");
        format!("file={},format=raw{more}", path.display())
    };
    let launch = Launch::riscv64_linux(&cache)
        .with_option("--disk", disk("one.img", ""))
        .with_option("--disk", disk("two.img", ",slot=9"))
        .with_option("--disk", disk("three.img", ""))
        .with_option("--net", "user")
        .with_option("--net", "user,slot=20");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let mut slot = |of: &str| {
        let path = guest.run_ok(&format!("readlink -f /sys/class/{of}/device"), limit(60));
        let function = path.split("/0000:00:").nth(1).unwrap_or_default();
        function.split('/').next().unwrap_or_default().to_owned()
    };
    // The card is where it is with one disk, and without any.
    assert_eq!(slot("net/eth0"), "02.0");
    assert_eq!(slot("net/eth1"), "14.0");
    let disks = ["vda", "vdb", "vdc"].map(|disk| slot(&format!("block/{disk}")));
    assert_eq!(disks, ["01.0", "09.0", "10.0"]);
}

#[test]
fn entropy_device_is_there_by_default() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let mut guest = Guest::boot_to_shell(&Launch::riscv64_linux(&cache), &cache);
    let source = guest.run_ok("cat /sys/class/misc/hw_random/rng_current", limit(60));
    assert!(source.starts_with("virtio_rng"), "{source}");
    let bytes = guest.run_ok("head -c 64 /dev/hwrng | wc -c", limit(60));
    assert_eq!(bytes.trim(), "64");
}

#[test]
fn other_machine_options_reach_the_guest() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch::riscv64_linux(&cache)
        .with_option("--cpu", "max,-zbb")
        .with_option("--virtio", "pci")
        .with_option("--rng", "on");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let mut see = |command: &str| guest.run_ok(command, limit(60)).trim().to_owned();
    let isa = see("grep ^isa /proc/cpuinfo");
    assert!(isa.contains("_zba") && !isa.contains("_zbb"), "{isa}");
    assert!(see("grep ^mmu /proc/cpuinfo").ends_with("sv57"));
    assert!(see("ls -l /sys/bus/virtio/drivers/virtio_rng").contains("/pci"));
}

#[test]
fn device_tree_that_is_brought_is_the_guests() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("machine.dtb");
    let launch = Launch::riscv64_linux(&cache);
    let mut dump = launch.command(Emulator::VmCli, &cache);
    let dumped = dump.arg("--dump-dtb").arg(&file).status();
    assert!(dumped.expect("vm-cli").success());
    let mut tree = std::fs::read(&file).expect("a device tree");
    let model = b"riscv-virtio,qemu";
    let at = tree.windows(model.len()).position(|part| part == model);
    let at = at.expect("the machine's model");
    tree[at..at + model.len()].copy_from_slice(b"riscv-virtio,mine");
    std::fs::write(&file, tree).expect("a writable temporary directory");
    let launch = launch.with_option("--dtb", file.display().to_string());
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let model = guest.run_ok("cat /proc/device-tree/model", limit(60));
    assert!(model.contains("riscv-virtio,mine"), "{model}");
}

#[test]
fn configuration_file_describes_the_machine() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("machine.toml");
    let text = format!(
        "kernel = '{}'\ninitrd = '{}'\nappend = 'console=ttyS0 panic=-1 order=reboot'\nno_reboot = true\n",
        cache.file("riscv64/Image").display(),
        cache.file("riscv64/initramfs.cpio.gz").display()
    );
    std::fs::write(&file, text).expect("a writable temporary directory");
    let launch = Launch::from_config(&file);
    let mut guest = Guest::start(&launch, &cache);
    guest.wait_for("guest: reboot", vm_tests::boot_limit());
    assert_eq!(guest.exit_code(limit(60)), exit_code::RESET);
}
