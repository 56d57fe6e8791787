//! gdb on a whole machine, from the kernel's first function to the shell.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vm_tests::{Emulator, Guest, Launch, exit_code, guests_or_skip, limit, vm_cli};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
const GDB: &str = "gdb-multiarch";

/// What gdb printed behind `label`, on the same line.
fn after<'a>(said: &'a str, label: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("'{label}' in:\n{said}"))
}

#[test]
fn gdb_breaks_steps_watches_interrupts_and_lets_the_guest_go_on() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    if Command::new(GDB).arg("--version").output().is_err() {
        let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
        assert!(!required, "{GDB} is required");
        println!("skipped: no {GDB}");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let symbols = dir.path().join("vmlinux.syms");
    let made = vm_cli()
        .arg("symbols")
        .arg(cache.file("riscv64/Image"))
        .arg(&symbols)
        .output()
        .expect("vm-cli starts");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    assert!(said.contains(" symbols in "), "{said}");

    let launch = Launch {
        cpus: 2,
        ..Launch::riscv64_linux(&cache)
    }
    .with_option("--gdb", "127.0.0.1:0");
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_message("waits for gdb at ", limit(60));
    let address = guest.wait_for_message("\n", limit(10));
    assert_eq!(guest.console_text(), "", "the guest waits");

    let go = dir.path().join("interrupt");
    let commands = format!(
        r#"
set pagination off
set confirm off
set remotetimeout 60
symbol-file {symbols}
target remote {address}
break start_kernel
continue
printf "pc=%lx\n", $pc
printf "function=%lx\n", (unsigned long) &start_kernel
backtrace 1
info registers sp satp
stepi
stepi
printf "stepped=%lx\n", $pc
delete
break kernel_init
continue
delete
watch *(unsigned long *)&jiffies
continue
printf "ticks=%lu\n", *(unsigned long *)&jiffies
delete
python
import os, threading, time
def interrupt():
    while not os.path.exists("{go}"):
        time.sleep(0.1)
    gdb.post_event(lambda: gdb.execute("interrupt"))
threading.Thread(target=interrupt, daemon=True).start()
end
continue
info threads
printf "then=%lu\n", *(unsigned long *)&jiffies
detach
"#,
        symbols = symbols.display(),
        go = go.display()
    );
    let script = dir.path().join("commands");
    std::fs::write(&script, commands).expect("a writable temporary directory");
    let said_to = dir.path().join("said");
    let output = std::fs::File::create(&said_to).expect("a writable temporary directory");
    let errors = output.try_clone().expect("a second descriptor");
    let mut gdb = Command::new(GDB)
        .args(["-nx", "-batch", "-x"])
        .arg(&script)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .expect("gdb starts");
    guest.wait_for_shell();
    std::fs::write(&go, "").expect("a writable temporary directory");
    let started = Instant::now();
    while gdb.try_wait().expect("invariant: our own child").is_none() {
        if started.elapsed() > limit(120) {
            // The assertions below say how far it got.
            gdb.kill().expect("invariant: our own child");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = std::fs::read_to_string(&said_to).expect("what gdb said");
    assert_eq!(after(&said, "pc="), after(&said, "function="), "{said}");
    assert!(said.contains("#0  "), "{said}");
    assert!(said.contains(" in start_kernel ()"), "{said}");
    assert!(after(&said, "satp").contains("0x8"), "Sv39: {said}");
    let number = |label| u64::from_str_radix(after(&said, label), 16).expect("a number");
    let steps = number("stepped=") - number("pc=");
    assert!((4..=8).contains(&steps), "{said}");
    assert!(said.contains("hit Hardware watchpoint"), "{said}");
    assert!(said.contains("received signal SIGINT"), "{said}");
    assert!(said.contains("Thread 1.2 (CPU 1, "), "{said}");
    assert!(number("then=") > number("ticks="), "{said}");

    // The guest is on its own again.
    guest.type_line("");
    assert_eq!(guest.run_ok("echo $((6*7))", limit(60)), "42\n");
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}
