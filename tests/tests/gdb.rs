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
    if !gdb_or_skip() {
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

/// Whether there is a gdb; says that the test is skipped where there is none.
fn gdb_or_skip() -> bool {
    if Command::new(GDB).arg("--version").output().is_ok() {
        return true;
    }
    let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
    assert!(!required, "{GDB} is required");
    println!("skipped: no {GDB}");
    false
}

/// Starts gdb on commands; what it prints goes to its standard output.
fn gdb(address: &str, commands: &[&str]) -> Command {
    let mut gdb = Command::new(GDB);
    gdb.args(["-nx", "-batch"]).stdin(Stdio::null());
    let connect = format!("target remote {address}");
    let first = [
        "set pagination off",
        "set confirm off",
        "set remotetimeout 60",
    ];
    for command in first
        .into_iter()
        .chain([&*connect])
        .chain(commands.iter().copied())
    {
        gdb.args(["-ex", command]);
    }
    gdb
}

/// What gdb prints; the monitor's answers are among the errors.
fn answers(gdb: &mut Command) -> String {
    let output = gdb.output().expect("gdb starts");
    let [said, errors] = [output.stdout, output.stderr]
        .map(|text| String::from_utf8(text).expect("gdb prints text"));
    said + &errors
}

#[test]
fn gdb_attaches_to_a_running_machine_and_commands_it() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    if !gdb_or_skip() {
        return;
    }
    let launch = Launch::riscv64_linux(&cache).with_option("--gdb", "127.0.0.1:0,wait=off");
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_message("gdb can connect at ", limit(60));
    let address = guest.wait_for_message("\n", limit(10));
    guest.wait_for_shell();
    // The kernel's header, at its physical place only.
    let commands = [
        "monitor regs",
        "monitor phys on",
        "x/1gx 0x80000030",
        "monitor phys off",
        "x/1gx 0x80000030",
        "detach",
    ];
    let said = answers(&mut gdb(&address, &commands));
    assert!(said.contains("scause") && said.contains("x2/sp"), "{said}");
    let read = after(&said, "0x80000030:").trim();
    let digits = read.strip_prefix("0x").unwrap_or_default();
    assert!(u64::from_str_radix(digits, 16).is_ok(), "{said}");
    assert!(
        said.contains("Cannot access memory at address 0x80000030"),
        "{said}"
    );
    guest.run_ok("true", limit(60));

    let waiting = gdb(&address, &["continue"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gdb starts");
    guest.type_line("sleep 5; echo c > /proc/sysrq-trigger");
    let said = waiting.wait_with_output().expect("gdb ends");
    let said = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let said = said.concat();
    assert!(said.contains("exited with code 04"), "{said}");
    assert_eq!(guest.exit_code(limit(60)), exit_code::PANIC);
}

#[test]
fn gdb_monitor_resets_and_ends_the_machine() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    if !gdb_or_skip() {
        return;
    }
    let launch = Launch {
        reboot: true,
        ..Launch::riscv64_linux(&cache)
    }
    .with_option("--gdb", "127.0.0.1:0,wait=off");
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for_message("gdb can connect at ", limit(60));
    let address = guest.wait_for_message("\n", limit(10));
    guest.wait_for_shell();
    let said = answers(&mut gdb(
        &address,
        &["monitor reset", "monitor regs", "detach"],
    ));
    assert!(said.contains("satp 0000000000000000"), "{said}");
    guest.wait_for("Linux version", limit(60));
    gdb(&address, &["monitor quit"])
        .output()
        .expect("gdb starts");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}
