//! gdb itself on a machine that boots Debian's kernel. Wants `gdb-multiarch` and the guests that `cargo xtask guests`
//! fetches; `VM_GUESTS_DIR` names their folder if it is not `.cache/guests`, and `VM_TESTS_REQUIRE_GUESTS=1` makes a
//! missing part a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vm_boot::image::Program;
use vm_boot::riscv::{BootRequest, Firmware};
use vm_boot::{BootFile, Role};
use vm_core::{GuestArch, GuestPhysAddr};
use vm_debug::gdb::GdbServer;
use vm_debug::symbols::{SymbolTable, symbols_from_kernel, write_elf};
use vm_device::chardev::CharSink;
use vm_frontend::riscv::isa::CpuModel;
use vm_platform::machine::{Machine, MachineConfig, Outcome};
use vm_platform::riscv_virt::{self, VirtConfig};

const GDB: &str = "gdb-multiarch";
/// A session takes seconds; a loaded host takes its time.
const SESSION_LIMIT: Duration = Duration::from_secs(240);
const RAM_BYTES: u64 = 512 << 20;

fn skip(why: &str) {
    assert!(
        std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_none_or(|value| value != "1"),
        "{why}"
    );
    println!("skipped: {why}");
}

/// Debian's kernel and an initial RAM disk, if they are there.
fn guests() -> Option<(PathBuf, PathBuf)> {
    let cache = std::env::var_os("VM_GUESTS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/guests"),
        PathBuf::from,
    );
    let file = |name: &str| Some(cache.join("riscv64").join(name)).filter(|path| path.is_file());
    let found = file("Image").zip(file("initramfs.cpio.gz"));
    if found.is_none() {
        skip("no riscv64 guest; run `cargo xtask guests`");
    }
    found
}

struct NoConsole;

impl CharSink for NoConsole {
    fn write(&self, _bytes: &[u8]) {}
}

fn machine(kernel: &Path, initrd: &Path) -> Machine {
    let file = BootFile::read(Role::Kernel, kernel, RAM_BYTES).unwrap();
    let program = Program::from_file(&file, GuestArch::Riscv64, RAM_BYTES).unwrap();
    riscv_virt::build(
        MachineConfig {
            rng: true,
            balloon: None,
            no_reboot: true,
            start_paused: true,
            ..MachineConfig::new(2, RAM_BYTES, Arc::new(NoConsole))
        },
        VirtConfig {
            isa: CpuModel::ALL[0].config(),
            boot: BootRequest {
                firmware: Firmware::BuiltIn,
                kernel: Some(program),
                initrd: Some(BootFile::read(Role::Initrd, initrd, RAM_BYTES).unwrap()),
                code_flash: None,
                reset_address: GuestPhysAddr(0),
                boot_hart: 0,
            },
            offered: None,
            builtin_sbi: true,
            bootargs: "console=ttyS0".to_owned(),
            device_tree: None,
            flash: Default::default(),
            virtio: Default::default(),
        },
    )
    .unwrap()
}

/// Runs gdb's commands on a machine that waits at its first instruction; what gdb said.
fn session(commands: &str) -> Option<(SymbolTable, String, Outcome)> {
    if Command::new(GDB).arg("--version").output().is_err() {
        skip("no gdb-multiarch; install Debian's package of that name");
        return None;
    }
    let (kernel, initrd) = guests()?;
    let dir = tempfile::tempdir().unwrap();
    let symbol_file = dir.path().join("symbols.elf");
    let symbols = symbols_from_kernel(&kernel).unwrap();
    write_elf(&symbols, &symbol_file).unwrap();

    let mut machine = machine(&kernel, &initrd);
    let server = GdbServer::bind("0").unwrap().on_kill(machine.stopper());
    let stop = machine.stopper();
    let address = server.local_addr().unwrap();
    let target = machine.debugger();
    let running = std::thread::spawn(move || machine.run().unwrap());
    let serving = std::thread::spawn(move || server.serve(&target));

    let script = dir.path().join("commands");
    let setup = format!(
        "set pagination off\nset confirm off\nset remotetimeout 60\nsymbol-file {}\ntarget remote {address}\n",
        symbol_file.display(),
    );
    std::fs::write(&script, format!("{setup}{commands}\nkill\n")).unwrap();
    let said = dir.path().join("said");
    let mut gdb = Command::new(GDB)
        .args(["-nx", "-batch", "-x"])
        .arg(&script)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&said).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + SESSION_LIMIT;
    while gdb.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            gdb.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = std::fs::read_to_string(&said).unwrap();
    if !running.is_finished() && !said.contains("killed") {
        stop();
    }
    let outcome = running.join().unwrap();
    serving.join().unwrap().unwrap();
    Some((symbols, said, outcome))
}

/// What gdb printed behind `label`, on the same line.
fn after<'a>(said: &'a str, label: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("'{label}' in:\n{said}"))
}

#[test]
fn gdb_breaks_at_a_kernel_function_and_steps() {
    let commands = r#"
break start_kernel
continue
printf "pc=%lx\n", $pc
printf "sp=%lx satp=%lx priv=%d frm=%d\n", $sp, $satp, $priv, $frm
info registers
p $ft0
stepi
stepi
printf "stepped=%lx\n", $pc
x/2i $pc
set var $t0 = 0x1234
printf "t0=%lx\n", $t0
info threads
thread 2
stepi
printf "second=%lx\n", $pc
"#;
    let Some((symbols, said, outcome)) = session(commands) else {
        return;
    };
    let start = symbols.find("start_kernel").unwrap().addr.raw();
    assert_eq!(after(&said, "pc="), format!("{start:x}"), "{said}");
    let line = after(&said, "sp=");
    assert!(line.starts_with("ffffffff"), "{line}");
    assert!(
        line.contains(" satp=") && line.ends_with("priv=1 frm=0"),
        "{line}"
    );
    let stepped = u64::from_str_radix(after(&said, "stepped="), 16).unwrap();
    assert!((start + 4..=start + 8).contains(&stepped), "{said}");
    assert!(said.contains("<start_kernel+"), "{said}");
    assert!(said.contains("{float = 0, double = 0}"), "{said}");
    assert_eq!(after(&said, "t0="), "1234");
    assert!(said.contains("Thread 1.1 (CPU 0, ") && said.contains("Thread 1.2 (CPU 1, waiting)"));
    assert!(said.contains("second="), "{said}");
    assert_eq!(outcome, Outcome::Stopped, "gdb's kill ends the machine");
}

#[test]
fn gdb_watches_a_variable_then_interrupts_both_cpus() {
    let commands = r#"
break kernel_init
continue
delete
watch *(unsigned long *)&jiffies
continue
continue
delete
rwatch *(unsigned long *)&jiffies
continue
delete
hbreak cpu_startup_entry
continue
printf "idle=%lx\n", $pc
delete
python
import threading, time
def interrupt():
    time.sleep(3)
    gdb.post_event(lambda: gdb.execute("interrupt"))
threading.Thread(target=interrupt).start()
end
continue
info threads
printf "ticks=%lu\n", *(unsigned long *)&jiffies
disconnect
"#;
    let commands = format!("{commands}\npython time.sleep(1)\n");
    let reconnect = "python gdb.execute('target remote ' + address)\ninfo threads\n";
    // The address is known to the script only as what it has connected to.
    let commands = commands.replace(
        "break kernel_init",
        "python address = gdb.selected_inferior().connection.details\nbreak kernel_init",
    ) + reconnect;
    let Some((symbols, said, outcome)) = session(&commands) else {
        return;
    };
    assert!(said.contains("hit Breakpoint 1, "), "{said}");
    let values = said.matches("New value = ").count();
    assert_eq!(values, 2, "{said}");
    assert!(said.contains("hit Hardware read watchpoint"), "{said}");
    let idle = symbols.find("cpu_startup_entry").unwrap().addr.raw();
    let pc = u64::from_str_radix(after(&said, "idle="), 16).unwrap();
    assert!((idle..idle + 64).contains(&pc), "{pc:x} {said}");
    assert!(said.contains("received signal SIGINT"), "{said}");
    let lists = said.matches("Thread 1.2 (CPU 1, ").count();
    assert!(lists >= 2, "{said}");
    assert!(after(&said, "ticks=").parse::<u64>().unwrap() > 0);
    assert_eq!(outcome, Outcome::Stopped, "gdb's kill ends the machine");
}
