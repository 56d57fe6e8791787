//! Debian's kernel with busybox reaches a shell that works.

use vm_tests::{Guest, Launch, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

fn shell_with(cpus: u32) {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let launch = Launch {
        cpus,
        ..Launch::riscv64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let online = guest.run_ok("grep -c ^processor /proc/cpuinfo", limit(30));
    assert_eq!(online.trim(), cpus.to_string());
    let machine = guest.run_ok("uname -m", limit(30));
    assert_eq!(machine.trim(), "riscv64");
    // Every CPU gets work of its own, and pipes and processes between them.
    let sums = guest.run_ok(
        "for i in 1 2 3 4 5 6 7 8; do (seq 1 2000 | sha256sum) & done; wait",
        limit(120),
    );
    let expected = "6251e5743b6fd6a7d606130bdf7c15077ce85ebd3a0fdee284d15a46df199e38";
    let right = sums
        .lines()
        .filter(|line| line.starts_with(expected))
        .count();
    assert_eq!(right, 8, "{sums}");
    let (status, _) = guest.run("test -e /no/such/file", limit(30));
    assert_eq!(status, 1);
}

#[test]
fn shell_one_cpu_runs_programs() {
    shell_with(1);
}

#[test]
fn shell_four_cpus_run_programs() {
    shell_with(4);
}
