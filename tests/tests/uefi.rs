//! EDK2 in flash: its shell, its variables, and Debian's kernel as an EFI program.

use vm_tests::{Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const UEFI: &[&str] = &["riscv64/RISCV_VIRT_CODE.fd", "riscv64/RISCV_VIRT_VARS.fd"];
const UEFI_LINUX: &[&str] = &[
    "riscv64/RISCV_VIRT_CODE.fd",
    "riscv64/RISCV_VIRT_VARS.fd",
    "riscv64/fw_dynamic.bin",
    "riscv64/Image",
    "riscv64/initramfs.cpio.gz",
];
const GUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";

#[test]
fn edk2_shell_keeps_variables_beyond_the_machine() {
    let Some(cache) = guests_or_skip(UEFI) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let variables = dir.path().join("vars.fd");
    let launch = Launch::riscv64_uefi(&cache, &variables);
    let shell = || {
        let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
        guest.wait_for("UEFI Interactive Shell", limit(180));
        guest.wait_for("Shell> ", limit(60));
        guest
    };
    let mut first = shell();
    first.type_text(&format!("setvar kept -guid {GUID} -nv -bs =0x4711\r"));
    first.wait_for("Shell> ", limit(60));
    let mut second = Guest::start_on(Emulator::VmCli, &launch, &cache);
    second.wait_for_message("another virtual machine uses it", limit(60));
    assert_eq!(second.exit_code(limit(60)), exit_code::HOST_ERROR);
    first.type_text("reset -s\r");
    assert_eq!(first.exit_code(limit(60)), exit_code::POWER_OFF);
    let mut again = shell();
    again.type_text(&format!("setvar kept -guid {GUID}\r"));
    again.wait_for("11 47", limit(60));
}

/// Debian's kernel, which EDK2 starts; `bios` is what serves both.
fn kernel_starts_as_an_efi_program(bios: Option<&str>) {
    let Some(cache) = guests_or_skip(UEFI_LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let linux = Launch::riscv64_linux(&cache);
    let launch = Launch {
        kernel: linux.kernel,
        initrd: linux.initrd,
        append: linux.append,
        bios: bios.map(|name| cache.file(name)),
        ..Launch::riscv64_uefi(&cache, &dir.path().join("vars.fd"))
    };
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for("EFI stub: ", limit(180));
    guest.wait_for("Linux version", boot_limit());
    guest.wait_for_shell();
    guest.run_ok("test -d /sys/firmware/efi", limit(30));
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}

#[test]
fn edk2_starts_debian_s_kernel_by_its_efi_stub() {
    kernel_starts_as_an_efi_program(None);
}

#[test]
fn edk2_behind_opensbi_starts_debian_s_kernel_by_its_efi_stub() {
    kernel_starts_as_an_efi_program(Some("riscv64/fw_dynamic.bin"));
}
