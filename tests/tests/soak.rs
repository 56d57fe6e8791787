//! Four CPUs under what makes an emulator forget translations: fork and exec, mprotect, rewritten code, module
//! loading. A minute or so belongs to every test run; `cargo xtask soak` takes its time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vm_tests::{Cache, Guest, Launch, compiled_for, guests_or_skip, limit};

/// The guests, and what each needs.
const GUESTS: [(&str, &[&str]); 2] = [
    ("riscv64", &["riscv64/Image", "riscv64/initramfs.cpio.gz"]),
    ("x86_64", &["x86_64/bzImage", "x86_64/initramfs.cpio.gz"]),
];

/// The standard initramfs with the program.
fn initramfs_with(arch: &str, cache: &Cache, program: Vec<u8>, dir: &Path) -> PathBuf {
    let initramfs = match arch {
        "x86_64" => cache.x86_64_initramfs(),
        _ => cache.riscv64_initramfs(),
    };
    let mut initramfs = initramfs.expect("the parts of the initramfs");
    initramfs.file("bin/soak", 0o755, program);
    let path = dir.join("initramfs.cpio.gz");
    std::fs::write(&path, initramfs.gzip()).expect("a writable temporary directory");
    path
}

fn soak(arch: &str, time: Duration) {
    let guest = GUESTS.iter().find(|(known, _)| *known == arch);
    let (_, files) = guest.unwrap_or_else(|| panic!("no guest of {arch}"));
    let Some(cache) = guests_or_skip(files) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("soak");
    if !compiled_for(arch, "soak.c", &["-O2"], &program) {
        return;
    }
    let program = std::fs::read(program).expect("what was just compiled");
    let launch = Launch {
        cpus: 4,
        initrd: Some(initramfs_with(arch, &cache, program, dir.path())),
        ..Launch::linux(arch, &cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let seconds = time.as_secs();
    guest.type_line(&format!("soak {seconds} /modules/*-nls_ascii.ko nls_ascii"));
    // The program speaks every five seconds, more slowly on a loaded host.
    loop {
        guest.wait_for("soak: ", limit(120));
        let said = guest.wait_for("\n", limit(10));
        println!("{said}");
        match said.split(' ').next() {
            Some("beat") => {}
            Some("done") => break,
            _ => panic!("{said}; last lines:\n{}", guest.console_text()),
        }
    }
    let oops = guest.run_ok(
        "dmesg | grep -c -E 'Oops|BUG:|rcu.*stall' || true",
        limit(60),
    );
    assert_eq!(oops.trim(), "0", "{}", guest.console_text());
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), vm_tests::exit_code::POWER_OFF);
}

#[test]
fn four_cpus_change_processes_pages_code_and_modules() {
    soak("riscv64", Duration::from_secs(20));
}

#[test]
fn four_cpus_of_a_pc_change_processes_pages_code_and_modules() {
    soak("x86_64", Duration::from_secs(10));
}

#[test]
#[ignore = "long: cargo xtask soak"]
fn soak_as_long_as_asked() {
    let minutes = std::env::var("VM_TESTS_SOAK_MINUTES");
    let minutes = minutes
        .map_or(Ok(30), |text| text.parse())
        .expect("a number of minutes");
    let arch = std::env::var("VM_TESTS_SOAK_ARCH").unwrap_or_else(|_| "riscv64".to_owned());
    soak(&arch, Duration::from_secs(60 * minutes));
}
