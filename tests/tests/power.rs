//! How a guest ends is how `vm-cli` ends.

use vm_tests::{Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

/// QEMU ends with 0 whatever the guest did.
fn expect_exit(guest: &mut Guest, expected: i32) {
    let code = guest.exit_code(limit(60));
    let expected = if Emulator::chosen() == Emulator::Qemu {
        0
    } else {
        expected
    };
    assert_eq!(code, expected, "messages:\n{}", guest.messages());
}

#[test]
fn poweroff_order_ends_with_the_power_off_code() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch::riscv64_linux(&cache).with_words("order=poweroff");
    let mut guest = Guest::start(&launch, &cache);
    guest.wait_for("guest: poweroff", boot_limit());
    guest.wait_for("reboot: Power down", limit(30));
    expect_exit(&mut guest, exit_code::POWER_OFF);
}

#[test]
fn poweroff_from_the_shell_ends_with_the_power_off_code() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let mut guest = Guest::boot_to_shell(&Launch::riscv64_linux(&cache), &cache);
    guest.type_line("exit");
    expect_exit(&mut guest, exit_code::POWER_OFF);
}

#[test]
fn reboot_with_no_reboot_ends_with_the_reset_code() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch::riscv64_linux(&cache).with_words("order=reboot");
    let mut guest = Guest::start(&launch, &cache);
    guest.wait_for("guest: reboot", boot_limit());
    expect_exit(&mut guest, exit_code::RESET);
}

#[test]
fn reboot_without_no_reboot_starts_the_kernel_again() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        reboot: true,
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.type_line("reboot -f");
    guest.wait_for("Linux version", boot_limit());
    guest.wait_for_shell();
    guest.type_line("exit");
    expect_exit(&mut guest, exit_code::POWER_OFF);
}

#[test]
fn kernel_panic_ends_with_the_panic_code() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let mut guest = Guest::boot_to_shell(&Launch::riscv64_linux(&cache), &cache);
    guest.type_line("echo c > /proc/sysrq-trigger");
    guest.wait_for("Kernel panic - not syncing", limit(30));
    expect_exit(&mut guest, exit_code::PANIC);
}
