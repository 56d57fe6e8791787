//! The built-in SBI as Debian's kernel uses it.

use std::time::Duration;

use vm_tests::{Guest, Launch, compiled, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

/// The number behind `label`.
fn figure(text: &str, label: &str) -> i64 {
    let rest = text.split(label).nth(1).expect("the program's words");
    let digits = rest.split('.').next().unwrap_or_default();
    digits.parse().expect("a number")
}

#[test]
fn pmu_counts_instructions_and_calls_for_perf_events() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("counters");
    if !compiled("counters.c", &["-O2"], &program) {
        return;
    }
    let mut initramfs = cache.riscv64_initramfs().expect("the initramfs' parts");
    let program = std::fs::read(program).expect("what was just compiled");
    initramfs.file("bin/counters", 0o755, program);
    let initrd = dir.path().join("initramfs.cpio.gz");
    std::fs::write(&initrd, initramfs.gzip()).expect("a writable temporary directory");
    let launch = Launch {
        initrd: Some(initrd),
        ..Launch::riscv64_linux(&cache)
    };
    // Without Sstc the kernel sets its timer by SBI calls.
    let launch = launch.with_option("--cpu", "debian,-sstc");
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    guest.run_ok("dmesg | grep 'SBI PMU extension is available'", limit(30));
    let said = guest.run_ok("counters", limit(60));
    let instructions = figure(&said, "instructions=");
    assert!((2_000_000..4_000_000).contains(&instructions), "{said}");
    // Some are made while the program sleeps, and are not its own.
    assert!((2..1000).contains(&figure(&said, "timers=")), "{said}");
}

#[test]
fn susp_sleeps_until_a_key_is_typed() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        cpus: 2,
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch.with_words("no_console_suspend"), &cache);
    guest.run_ok("grep -F '[deep]' /sys/power/mem_sleep", limit(30));
    let wakeup = "/sys/class/tty/ttyS0/power/wakeup";
    guest.run_ok(&format!("echo enabled > {wakeup}"), limit(30));
    guest.type_line("echo mem > /sys/power/state; echo wo''ken");
    guest.wait_for("wo''ken", limit(30));
    std::thread::sleep(Duration::from_secs(5));
    assert!(!guest.console_text().contains("woken"), "it sleeps");
    guest.type_line("");
    guest.wait_for("woken", limit(60));
    // It went as far as stopping the other CPU, and has it again.
    guest.run_ok("dmesg | grep -F 'PM: suspend entry (deep)'", limit(30));
    guest.run_ok("dmesg | grep 'CPU1: off'", limit(30));
    assert_eq!(guest.run_ok("nproc", limit(30)).trim(), "2");
}
