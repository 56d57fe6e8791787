//! gdb on a whole machine, from the kernel's first function to the shell.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vm_tests::{Cache, Emulator, Guest, Launch, exit_code, guests_or_skip, limit, vm_cli};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
const PC_LINUX: &[&str] = &["x86_64/bzImage", "x86_64/initramfs.cpio.gz"];
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
    let said = session(
        &cache,
        "riscv64/Image",
        Launch::riscv64_linux(&cache),
        "info registers sp satp",
    );
    assert!(after(&said, "satp").contains("0x8"), "Sv39: {said}");
    let steps = number(&said, "stepped=") - number(&said, "pc=");
    assert!((4..=8).contains(&steps), "{said}");
}

#[test]
fn gdb_on_a_pc_shows_and_sets_its_registers_too() {
    let Some(cache) = guests_or_skip(PC_LINUX) else {
        return;
    };
    if !gdb_or_skip() {
        return;
    }
    // Symbols are where the kernel is linked at.
    let launch = Launch::x86_64_linux(&cache).with_words("nokaslr");
    let details = r#"
info registers rsp eflags mxcsr
printf "cs=%x\n", $cs
printf "control=%lx %lx %lx %lx\n", $cr0, $cr3, $cr4, $efer
set $xmm3.v2_int64[1] = 0x1122334455667788
printf "sse=%lx\n", $xmm3.v2_int64[1]
set $r15 = $r15 + 1
set $r15 = $r15 - 1
x/1i $pc
monitor regs
"#;
    let said = session(&cache, "x86_64/bzImage", launch, details);
    // endbr64, and the call of every function's first instruction.
    let first = number(&said, "first=");
    assert_eq!(first - number(&said, "pc="), 4, "{said}");
    assert_ne!(first, number(&said, "stepped="), "{said}");
    assert_eq!(after(&said, "cs="), "10", "the kernel's code segment");
    let control: Vec<u64> = after(&said, "control=")
        .split(' ')
        .map(|word| u64::from_str_radix(word, 16).expect("a number"))
        .collect();
    // Paging and protection; physical address extensions; long mode active (Intel SDM 3A, 2.5 and 2.2.1).
    assert_eq!(control[0] & 0x8000_0001, 0x8000_0001, "{said}");
    assert_ne!(control[1], 0, "{said}");
    assert_eq!(control[2] & 0x20, 0x20, "{said}");
    assert_eq!(control[3] & 0x500, 0x500, "{said}");
    assert_eq!(after(&said, "sse="), "1122334455667788");
    assert!(after(&said, "mxcsr").contains("0x1f80"), "{said}");
    assert!(said.contains("<start_kernel"), "{said}");
    assert!(said.contains("cr3"), "{said}");
}

/// A hexadecimal number behind a label.
fn number(said: &str, label: &str) -> u64 {
    u64::from_str_radix(after(said, label), 16).expect("a number")
}

/// Has gdb break at the kernel's first function, carry out `details` there, step, watch, interrupt and detach, on two
/// CPUs. Gives what it said.
fn session(cache: &Cache, kernel: &str, launch: Launch, details: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let symbols = dir.path().join("vmlinux.syms");
    let made = vm_cli()
        .arg("symbols")
        .arg(cache.file(kernel))
        .arg(&symbols)
        .output()
        .expect("vm-cli starts");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    assert!(said.contains(" symbols in "), "{said}");

    let launch = Launch { cpus: 2, ..launch }.with_option("--gdb", "127.0.0.1:0");
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, cache);
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
{details}
stepi
printf "first=%lx\n", $pc
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
    assert!(said.contains("hit Hardware watchpoint"), "{said}");
    assert!(said.contains("received signal SIGINT"), "{said}");
    assert!(said.contains("Thread 1.2 (CPU 1, "), "{said}");
    assert!(number(&said, "then=") > number(&said, "ticks="), "{said}");

    // The guest is on its own again.
    guest.type_line("");
    assert_eq!(guest.run_ok("echo $((6*7))", limit(60)), "42\n");
    guest.type_line("exit");
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
    said
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
