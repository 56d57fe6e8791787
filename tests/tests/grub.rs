//! The whole chain of a real disk: OpenSBI, U-Boot, its EFI, GRUB, Debian's kernel, systemd, a login.

use vm_tests::{Disk, Emulator, Guest, Launch, exit_code, guests_or_skip, limit};

const DISK: &[&str] = &[
    "riscv64/fw_dynamic.bin",
    "riscv64/u-boot.bin",
    "riscv64/debian.img",
];

#[test]
fn grub_disk_reaches_a_login_and_powers_off() {
    let Some(cache) = guests_or_skip(DISK) else {
        return;
    };
    let disk = Disk::snapshot(cache.file("riscv64/debian.img"));
    let launch = Launch {
        cpus: 2,
        ..Launch::riscv64_disk(&cache, disk)
    };
    let mut guest = Guest::start(&launch, &cache);
    guest.wait_for("OpenSBI", limit(60));
    guest.wait_for("U-Boot", limit(60));
    guest.wait_for("GNU GRUB", limit(120));
    guest.wait_for("Booting Linux Kernel", limit(120));
    guest.wait_for("initramfs: root is /dev/vda2", limit(240));
    guest.wait_for("login: ", limit(600));
    guest.type_line("root");
    guest.wait_for("root@debian:~# ", limit(120));
    let release = guest.run_ok("grep ^ID= /etc/os-release", limit(60));
    assert_eq!(release.trim(), "ID=debian");
    // Real modules with their real dependencies, by the distribution's own loader.
    guest.run_ok(
        "modprobe virtio_net && lsmod | grep -q ^net_failover",
        limit(60),
    );
    guest.type_line("systemctl poweroff");
    guest.wait_for("reboot: Power down", limit(240));
    let expected = if Emulator::chosen() == Emulator::Qemu {
        0
    } else {
        exit_code::POWER_OFF
    };
    assert_eq!(guest.exit_code(limit(60)), expected);
}
