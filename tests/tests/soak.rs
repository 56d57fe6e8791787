//! Four CPUs under what makes an emulator forget translations: fork and exec, mprotect, rewritten code, module
//! loading. A minute or so belongs to every test run; `cargo xtask soak` takes its time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vm_tests::{Cache, Guest, Launch, compiled, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

/// The standard initramfs with the program.
fn initramfs_with(cache: &Cache, program: Vec<u8>, dir: &Path) -> PathBuf {
    let mut initramfs = cache
        .riscv64_initramfs()
        .expect("the parts of the initramfs");
    initramfs.file("bin/soak", 0o755, program);
    let path = dir.join("initramfs.cpio.gz");
    std::fs::write(&path, initramfs.gzip()).expect("a writable temporary directory");
    path
}

fn soak(time: Duration) {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("soak");
    if !compiled("soak.c", &["-O2"], &program) {
        return;
    }
    let program = std::fs::read(program).expect("what was just compiled");
    let launch = Launch {
        cpus: 4,
        initrd: Some(initramfs_with(&cache, program, dir.path())),
        ..Launch::riscv64_linux(&cache)
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
    soak(Duration::from_secs(20));
}

#[test]
#[ignore = "long: cargo xtask soak"]
fn soak_as_long_as_asked() {
    let minutes = std::env::var("VM_TESTS_SOAK_MINUTES");
    let minutes = minutes
        .map_or(Ok(30), |text| text.parse())
        .expect("a number of minutes");
    soak(Duration::from_secs(60 * minutes));
}
