//! Where the console goes.

use vm_tests::{Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

#[test]
fn serial_file_has_the_whole_console() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("console.txt");
    let launch = Launch {
        serial_file: Some(file.clone()),
        ..Launch::riscv64_linux(&cache).with_words("order=poweroff")
    };
    let mut guest = Guest::start(&launch, &cache);
    let code = guest.exit_code(boot_limit() + limit(30));
    if Emulator::chosen() == Emulator::VmCli {
        assert_eq!(code, exit_code::POWER_OFF, "{}", guest.messages());
    }
    assert_eq!(guest.console_text(), "");
    let text = std::fs::read_to_string(file).expect("the console as text");
    let first = text.find("Linux version").expect("the kernel's first line");
    let last = text
        .find("reboot: Power down")
        .expect("the kernel's last line");
    assert!(first < last);
}

#[test]
fn virtio_console_is_a_terminal_of_the_guest() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("hvc.txt");
    let launch =
        Launch::riscv64_linux(&cache).with_option("--console", format!("file:{}", file.display()));
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("echo through virtio > /dev/hvc0", limit(60));
    guest.type_line("exit");
    guest.exit_code(limit(60));
    let text = std::fs::read_to_string(file).expect("the console as text");
    assert!(text.contains("through virtio"), "{text:?}");
}
