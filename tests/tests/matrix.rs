//! Every guest under every engine.

use vm_tests::{
    Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit, options_of_all,
};

#[test]
fn debian_boots_on_each_architecture_under_each_engine() {
    let files = [
        "riscv64/Image",
        "riscv64/initramfs.cpio.gz",
        "x86_64/bzImage",
        "x86_64/initramfs.cpio.gz",
    ];
    let Some(cache) = guests_or_skip(&files) else {
        return;
    };
    if options_of_all().any(|word| word.starts_with("--accel")) {
        println!("skipped: VM_TESTS_OPTIONS chooses the engine");
        return;
    }
    for arch in ["riscv64", "x86_64"] {
        for (accel, engine) in [("interp", "interpreter"), ("jit", "translator")] {
            let launch = Launch::linux(arch, &cache).with_words("order=poweroff");
            let launch = launch.with_option("--accel", accel);
            let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
            guest.wait_for_message(engine, limit(30));
            guest.wait_for("guest: userspace", boot_limit());
            guest.wait_for("guest: poweroff", boot_limit());
            assert_eq!(
                guest.exit_code(limit(60)),
                exit_code::POWER_OFF,
                "{arch} {accel}"
            );
        }
    }
}
