//! The devices of a PC that are there when they are asked for, and what it says of itself.

use std::time::{Duration, Instant};

use vm_service::{DisplayChoice, GuestArch, OnPanic, Vm, VmConfig};
use vm_tests::{Cache, Emulator, Guest, Launch, compiled_for, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["x86_64/bzImage", "x86_64/initramfs.cpio.gz"];

/// Debian's kernel with these modules besides, once it has come to its shell.
fn with_modules(
    modules: &[&str],
    words: &str,
    options: &[(&str, &str)],
) -> Option<(Guest, tempfile::TempDir)> {
    let cache = guests_or_skip(LINUX)?;
    let mut initramfs = cache.x86_64_initramfs().expect("an initramfs");
    let tree = cache.x86_64_modules().expect("the kernel's modules");
    initramfs.modules(&tree, modules).expect("modules");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("initramfs.gz");
    std::fs::write(&file, initramfs.gzip()).expect("space");
    let mut launch = Launch {
        initrd: Some(file),
        append: format!("console=ttyS0 {words}"),
        ..Launch::x86_64_linux(&cache)
    };
    for (name, value) in options {
        launch = launch.with_option(name, *value);
    }
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_shell();
    Some((guest, dir))
}

#[test]
fn kernel_is_told_what_the_machine_is_and_tries_no_timer() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch::x86_64_linux(&cache);
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_shell();
    let said = guest.run_ok(
        "cd /sys/class/dmi/id && cat sys_vendor product_name bios_vendor",
        limit(30),
    );
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["vm-cli", "Q35", "PC", "vm-cli"]
    );
    // It would count ticks of the HPET, of which a busy host may let too few through.
    let log = guest.run_ok("dmesg", limit(30));
    assert!(log.contains("DMI: vm-cli Q35 PC"), "{log}");
    assert!(!log.contains("..TIMER"), "{log}");
    guest.type_line("poweroff -f");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}

#[test]
fn watchdog_that_is_left_alone_resets_the_machine() {
    let options = [("--watchdog", "on")];
    let modules = ["i6300esb"];
    let Some((mut guest, _dir)) = with_modules(&modules, "panic=-1", &options) else {
        return;
    };
    guest.run_ok(
        "rmmod i6300esb && insmod /modules/*-i6300esb.ko heartbeat=4",
        limit(30),
    );
    let name = guest.run_ok("cat /sys/class/watchdog/watchdog0/identity", limit(30));
    assert!(name.contains("i6300ESB"), "{name}");
    guest.type_line("exec 9>/dev/watchdog");
    assert_eq!(guest.exit_code(limit(60)), exit_code::RESET);
}

#[test]
fn panic_that_the_guest_tells_of_ends_the_machine_when_asked_to() {
    let options = [("--on-panic", "stop")];
    // It would ask for a reset after minutes, and never stands still.
    let Some((mut guest, _dir)) = with_modules(&["pvpanic-mmio"], "panic=900", &options) else {
        return;
    };
    guest.type_line("echo c >/proc/sysrq-trigger");
    assert_eq!(guest.exit_code(limit(60)), exit_code::PANIC);
}

#[test]
fn panic_that_the_guest_tells_of_is_announced() {
    let Some((mut guest, _dir)) = with_modules(&["pvpanic-mmio"], "panic=5", &[]) else {
        return;
    };
    guest.type_line("echo c >/proc/sysrq-trigger");
    assert_eq!(guest.exit_code(limit(60)), exit_code::PANIC);
    let said = guest.messages();
    assert!(
        said.contains("the guest tells that its kernel has panicked"),
        "{said}"
    );
}

#[test]
fn bare_program_ends_the_machine_with_its_status() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("program");
    let options = [
        "-m32",
        "-nostdlib",
        "-Wl,-N,-Ttext=0x100000,--build-id=none,-e,_start",
    ];
    if !compiled_for("x86_64", "devices.S", &options, &program) {
        return;
    }
    let launch = Launch {
        arch: "x86_64",
        vm_cli_options: vec!["--debug-exit".to_owned(), "--test-device".to_owned()],
        ..Launch::riscv64_kernel(program)
    };
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &Cache::locate());
    // The status is 2 * 5 + 1.
    assert_eq!(guest.exit_code(limit(60)), 32 + 11);
}

#[test]
fn ramfb_shows_what_ovmf_draws() {
    let files = ["x86_64/OVMF_CODE_4M.fd", "x86_64/OVMF_VARS_4M.fd"];
    let Some(cache) = guests_or_skip(&files) else {
        return;
    };
    let mut config = VmConfig {
        display: DisplayChoice::Ramfb,
        on_panic: OnPanic::Stop,
        ..VmConfig::default()
    };
    config.flash.code = Some(cache.file("x86_64/OVMF_CODE_4M.fd"));
    config.flash.readonly = true;
    let mut vm = Vm::builder()
        .config(config)
        .arch(GuestArch::X86_64)
        .build()
        .expect("a machine");
    let handle = vm.handle();
    let machine = std::thread::spawn(move || vm.run().expect("an end"));
    let end = Instant::now() + limit(120);
    let drawn = loop {
        let picture = handle.picture();
        if let Some(picture) = picture.filter(|it| it.rgb.iter().any(|&part| part != 0)) {
            break picture;
        }
        assert!(Instant::now() < end, "nothing is drawn");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(drawn.width >= 640 && drawn.height >= 480);
    handle.stop();
    machine.join().expect("no panic");
}
