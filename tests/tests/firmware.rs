//! Debian's firmware reaches U-Boot's prompt.

use vm_tests::{Guest, Launch, guests_or_skip, limit};

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
