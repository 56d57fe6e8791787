//! How a guest ends is how `vm-cli` ends.

use std::time::Instant;

use vm_tests::{Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

const LINUX_BY_FIRMWARE: &[&str] = &[
    "riscv64/fw_dynamic.bin",
    "riscv64/Image",
    "riscv64/initramfs.cpio.gz",
];

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

/// The time as the kernel keeps it under firmware that keeps timers of its own, in a machine that was reset.
fn second_start_keeps_time_with(cpu: &str) {
    let Some(cache) = guests_or_skip(LINUX_BY_FIRMWARE) else {
        return;
    };
    let launch = Launch {
        bios: Some(cache.file("riscv64/fw_dynamic.bin")),
        reboot: true,
        ..Launch::riscv64_linux(&cache)
    };
    let launch = launch.with_option("--cpu", cpu);
    let started = Instant::now();
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let first = started.elapsed();
    let started = Instant::now();
    guest.type_line("reboot -f");
    guest.wait_for("OpenSBI", limit(60));
    guest.wait_for_shell();
    let second = started.elapsed();
    // The same work, on a host that others use too.
    assert!(second < 3 * first + limit(5), "{second:?} after {first:?}");
    let started = Instant::now();
    guest.run_ok("sleep 2", limit(30));
    let slept = started.elapsed().as_secs_f64();
    assert!((2.0..10.0).contains(&slept), "{slept} s");
}

#[test]
fn second_start_without_sstc_is_as_fast_as_the_first() {
    second_start_keeps_time_with("debian,-sstc");
}

#[test]
fn second_start_of_the_plain_model_is_as_fast_as_the_first() {
    second_start_keeps_time_with("rv64");
}

/// A guest whose kernel panics and does not ask for a reset.
fn panicked(cache: &vm_tests::Cache, reaction: Option<&str>) -> Guest {
    let mut launch = Launch {
        append: "console=ttyS0".to_owned(),
        ..Launch::riscv64_linux(cache)
    };
    if let Some(reaction) = reaction {
        launch = launch.with_option("--on-panic", reaction);
    }
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, cache);
    guest.wait_for_shell();
    guest.type_line("echo c > /proc/sysrq-trigger");
    guest.wait_for("end Kernel panic - not syncing", limit(60));
    guest
}

#[test]
fn panic_that_stands_still_is_announced() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let mut guest = panicked(&cache, None);
    let said = "the guest's kernel has panicked and stands still (--on-panic stop";
    guest.wait_for_message(said, limit(30));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(guest.messages().matches("panicked").count(), 1, "said once");
    guest.kill();
}

#[test]
fn panic_that_stands_still_ends_the_machine_when_asked_to() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let mut guest = panicked(&cache, Some("stop"));
    assert_eq!(guest.exit_code(limit(60)), exit_code::PANIC);
    guest.wait_for_message("the guest's kernel panicked", limit(10));
    assert!(
        guest.console_text().ends_with("]---\n"),
        "the last line is whole"
    );
}
