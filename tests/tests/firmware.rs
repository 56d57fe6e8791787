//! Debian's firmware: U-Boot's prompt, a disk alone, and what does not go together.

use vm_tests::{Disk, Emulator, Guest, Launch, exit_code, guests_or_skip, limit};

const FIRMWARE: &[&str] = &[
    "riscv64/fw_dynamic.bin",
    "riscv64/fw_jump.bin",
    "riscv64/u-boot.bin",
];

fn prompt_with(firmware: &str) {
    let Some(cache) = guests_or_skip(FIRMWARE) else {
        return;
    };
    let mut launch = Launch::riscv64_firmware(&cache, firmware);
    launch.cpus = 2;
    let mut guest = Guest::start(&launch, &cache);
    guest.wait_for("OpenSBI", limit(60));
    guest.wait_for("U-Boot", limit(60));
    guest.wait_for("Hit any key to stop autoboot", limit(120));
    guest.type_text("\n");
    guest.wait_for("=> ", limit(60));
    // Arithmetic shows that the prompt is a working one.
    guest.type_line("setexpr a 6 * 7; printenv a");
    guest.wait_for("a=2a", limit(60));
}

#[test]
fn opensbi_dynamic_starts_u_boot_up_to_its_prompt() {
    prompt_with("riscv64/fw_dynamic.bin");
}

#[test]
fn opensbi_jump_starts_u_boot_up_to_its_prompt() {
    prompt_with("riscv64/fw_jump.bin");
}

#[test]
fn disk_without_a_kernel_boots_by_firmware_that_is_found() {
    let Some(cache) = guests_or_skip(&[FIRMWARE, &["riscv64/debian.img"]].concat()) else {
        return;
    };
    let disk = Disk::snapshot(cache.file("riscv64/debian.img"));
    let launch = Launch::riscv64_disk_alone(&cache, disk);
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_message("booting from disk by", limit(60));
    let which = guest.wait_for_message("\n", limit(10));
    assert!(
        which.contains("fw_dynamic.bin") && which.contains("u-boot.bin"),
        "{which}"
    );
    guest.wait_for("GNU GRUB", limit(240));
    guest.wait_for("Loading Linux", limit(120));
}

#[test]
fn firmware_that_would_start_nothing_says_what_is_missing() {
    let files = ["riscv64/u-boot-machine.bin", "riscv64/RISCV_VIRT_CODE.fd"];
    let Some(cache) = guests_or_skip(&[FIRMWARE, &files].concat()) else {
        return;
    };
    let opensbi = Some("riscv64/fw_dynamic.bin");
    for (bios, kernel, words) in [
        (opensbi, None, "OpenSBI, which needs something to start"),
        (
            opensbi,
            Some("riscv64/u-boot-machine.bin"),
            "qemu-riscv64_smode",
        ),
        (Some("riscv64/u-boot.bin"), None, "--bios fw_dynamic.bin"),
        (Some("riscv64/RISCV_VIRT_CODE.fd"), None, "--flash code="),
        (None, Some("riscv64/RISCV_VIRT_CODE.fd"), "--flash code="),
    ] {
        let launch = Launch {
            bios: bios.map(|name| cache.file(name)),
            kernel: kernel.map(|name| cache.file(name)),
            ..Launch::riscv64_firmware(&cache, "riscv64/fw_dynamic.bin")
        };
        let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
        let before = guest.wait_for_message(words, limit(60));
        assert_eq!(before.lines().count(), 1, "one line, not {before}");
        assert_eq!(guest.exit_code(limit(60)), exit_code::HOST_ERROR, "{words}");
    }
}
