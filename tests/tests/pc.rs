//! Debian's kernel for PCs: processors, devices, reset and the end.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use vm_tests::net::networked;
use vm_tests::{Disk, Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["x86_64/bzImage", "x86_64/initramfs.cpio.gz"];

#[test]
fn pc_of_two_cpus_reaches_disk_and_network_resets_and_powers_off() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    if Emulator::chosen() == Emulator::Qemu {
        println!("skipped: QEMU is started for riscv64 only");
        return;
    }
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(16 << 20).expect("space");
    let launch = Launch {
        cpus: 2,
        disks: vec![Disk::raw(image.path())],
        network: true,
        reboot: true,
        ..Launch::x86_64_linux(&cache)
    };
    let mut guest = Guest::boot_to_shell(&launch, &cache);
    let machine = guest.run_ok("uname -m; grep -c ^processor /proc/cpuinfo", limit(30));
    assert_eq!(
        machine.split_whitespace().collect::<Vec<_>>(),
        ["x86_64", "2"]
    );
    guest.run_ok("echo written by the guest >/dev/vda && sync", limit(30));
    guest.run_ok(
        "ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ping -c 1 10.0.2.2",
        limit(60),
    );
    // Messages, not lines of the old interrupt controller.
    guest.run_ok("grep -q MSIX.*virtio /proc/interrupts", limit(30));
    guest.type_line("reboot -f");
    guest.wait_for("reboot: Restarting system", limit(30));
    guest.wait_for("Linux version", boot_limit());
    guest.wait_for_shell();
    let kept = guest.run_ok("head -n 1 /dev/vda", limit(30));
    assert_eq!(kept.trim(), "written by the guest");
    guest.type_line("poweroff -f");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}

/// Writes a server of one request, which answers with what was asked.
const SERVER: &str = r#"cat > /tmp/serve <<'END'
#!/bin/sh
read -r request
while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.0 200 OK\r\n\r\n%s' "$request"
END"#;

#[test]
fn pc_serves_the_host_forgets_its_snapshot_has_entropy_and_counts() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let image = tempfile::NamedTempFile::new().expect("a file");
    image.as_file().set_len(16 << 20).expect("space");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = free.local_addr().expect("invariant: bound").port();
    drop(free);
    let mut launch = networked(Launch {
        disks: vec![Disk::snapshot(image.path())],
        forwards: vec![format!("tcp:127.0.0.1:{port}-:80")],
        ..Launch::x86_64_linux(&cache)
    });
    launch.vm_cli_options.push("--stats".to_owned());
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_shell();
    let source = guest.run_ok("cat /sys/class/misc/hw_random/rng_current", limit(60));
    assert!(source.starts_with("virtio_rng"), "{source}");
    let bytes = guest.run_ok("head -c 64 /dev/hwrng | wc -c", limit(60));
    assert_eq!(bytes.trim(), "64");
    guest.run_ok(
        "echo forgotten >/dev/vda && sync && grep -q forgotten /dev/vda",
        limit(60),
    );
    guest.type_line(SERVER);
    guest.run_ok(
        "chmod +x /tmp/serve && (nc -l -p 80 -e /tmp/serve &) ; \
         i=0; until netstat -ltn | grep -q :80; do sleep 1; i=$((i+1)); [ $i -lt 30 ] || break; done",
        limit(60),
    );
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a forwarded port");
    client
        .set_read_timeout(Some(limit(60)))
        .expect("a time limit");
    client
        .write_all(b"GET /here HTTP/1.0\r\n\r\n")
        .expect("a server");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.contains("GET /here"), "{answer}");
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    let said = guest.messages();
    assert!(said.contains("guest instructions retired"), "{said}");
    let kept = std::fs::read(image.path()).expect("the image");
    assert!(kept.iter().all(|byte| *byte == 0), "the image has changed");
}

#[test]
fn pc_disk_reaches_a_login_runs_apt_and_python_and_powers_off() {
    let files = [
        "x86_64/bzImage",
        "x86_64/debian-initrd.gz",
        "x86_64/debian.img",
    ];
    let Some(cache) = guests_or_skip(&files) else {
        return;
    };
    let disk = Disk::snapshot(cache.file("x86_64/debian.img"));
    let mut guest = Guest::start_on(Emulator::VmCli, &Launch::x86_64_disk(&cache, disk), &cache);
    guest.wait_for("initramfs: root is /dev/vda2", limit(240));
    guest.wait_for("login: ", limit(600));
    guest.type_line("root");
    guest.wait_for("root@debian:~# ", limit(120));
    assert_eq!(guest.run_ok("uname -m", limit(60)).trim(), "x86_64");
    let sum = guest.run_ok(
        "python3 -c 'print(sum(n * n for n in range(1000)))'",
        limit(120),
    );
    assert_eq!(sum.trim(), "332833500");
    let listed = guest.run_ok("apt list --installed 2>/dev/null", limit(120));
    assert!(listed.contains("bash/"), "{listed}");
    guest.run_ok("dpkg -s python3 | grep -q 'ok installed'", limit(60));
    // Real modules with their real dependencies, by the distribution's own loader.
    guest.run_ok(
        "modprobe virtio_net && lsmod | grep -q ^net_failover",
        limit(60),
    );
    guest.type_line("systemctl poweroff");
    guest.wait_for("reboot: Power down", limit(240));
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}
