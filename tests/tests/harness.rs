//! The harness and the standard initramfs, on an emulator that is known to work.

use vm_tests::{Emulator, Guest, Launch, guests_or_skip, limit};

#[test]
fn harness_on_qemu_sees_output_status_and_end() {
    let needed = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
    let Some(cache) = guests_or_skip(needed) else {
        return;
    };
    if let Err(why) = cache.qemu_system_riscv64() {
        let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
        assert!(!required, "guests are required: {why}");
        println!("skipped: {why}");
        return;
    }
    let mut launch = Launch::riscv64_linux(&cache).with_words("net=dhcp");
    launch.network = true;
    let mut guest = Guest::start_on(Emulator::Qemu, &launch, &cache);
    guest.wait_for_shell();
    assert!(guest.console_text().contains("guest: address 10.0.2.15"));
    assert!(
        !guest.console_text().contains("guest: cannot load"),
        "{}",
        guest.console_text()
    );
    assert_eq!(
        guest.run("echo one; echo two; false", limit(60)),
        (1, "one\ntwo\n".to_owned())
    );
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), 0);
}
