//! Debian's kernel for PCs: processors, devices, reset and the end.

use vm_tests::{Disk, Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["x86_64/bzImage", "x86_64/initramfs.cpio.gz"];

#[test]
fn pc_of_two_cpus_reaches_disk_and_network_resets_and_powers_off() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    if Emulator::chosen() == Emulator::Qemu {
        println!("skipped: QEMU is started for riscv64 only");
        return;
    }
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(16 << 20).expect("space");
    let launch = Launch {
        cpus: 2,
        disks: vec![Disk::raw(image.path())],
        network: true,
        reboot: true,
        ..Launch::x86_64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let machine = guest.run_ok("uname -m; grep -c ^processor /proc/cpuinfo", limit(30));
    assert_eq!(
        machine.split_whitespace().collect::<Vec<_>>(),
        ["x86_64", "2"]
    );
    guest.run_ok("echo written by the guest >/dev/vda && sync", limit(30));
    guest.run_ok(
        "ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ping -c 1 10.0.2.2",
        limit(60),
    );
    // Messages, not lines of the old interrupt controller.
    guest.run_ok("grep -q MSIX.*virtio /proc/interrupts", limit(30));
    guest.type_line("reboot -f");
    guest.wait_for("reboot: Restarting system", limit(30));
    guest.wait_for("Linux version", boot_limit());
    guest.wait_for_shell();
    let kept = guest.run_ok("head -n 1 /dev/vda", limit(30));
    assert_eq!(kept.trim(), "written by the guest");
    guest.type_line("poweroff -f");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}
