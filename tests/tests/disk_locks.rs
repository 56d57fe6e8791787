//! A disk is used by one virtual machine at a time, be it this program's or QEMU's.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use vm_tests::{Cache, Emulator, Guest, Launch, limit, vm_cli};

/// A bare program of one instruction, a jump to itself.
fn standing_program(dir: &Path) -> String {
    let path = dir.join("program");
    std::fs::write(&path, 0x0000_006f_u32.to_le_bytes()).expect("a writable temporary directory");
    path.display().to_string()
}

/// What this program says of a disk, when it cannot start for want of another one.
fn ours_says(program: &str, disk: &str) -> String {
    let run = ["run", "--bios", "none", "--kernel", program, "--disk", disk];
    let mut command = vm_cli();
    command.args(run).args(["--disk", "/nowhere.img"]);
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    String::from_utf8(output.stderr).expect("text")
}

const IN_USE: &str = "in use by another virtual machine";
const NOT_IN_USE: &str = "/nowhere.img";

/// QEMU with a disk, and its monitor on its standard streams.
fn qemu(cache: &Cache, drive: &str) -> Option<Command> {
    let mut command = match cache.qemu_system_riscv64() {
        Ok(command) => command,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    command.args(["-M", "virt", "-bios", "none", "-S", "-monitor", "stdio"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-drive", drive, "-device", "virtio-blk-device,drive=d"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(command)
}

/// A process that is ended with the test.
struct Running(Child);

impl Running {
    /// Starts QEMU and waits until it has its disks.
    fn qemu(mut command: Command) -> Self {
        let mut running = Self(command.spawn().expect("QEMU starts"));
        let output = running.0.stdout.as_mut().expect("a pipe");
        let mut text = Vec::new();
        while !text.ends_with(b"(qemu)") {
            let mut byte = [0];
            output.read_exact(&mut byte).expect("a prompt");
            text.extend(byte);
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either fails only when the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether QEMU's image program can copy a disk; `None` when it is not installed.
fn qemu_img_copies(disk: &str) -> Option<bool> {
    let mut command = Command::new("qemu-img");
    command.args([
        "convert",
        "-f",
        "raw",
        "-O",
        "raw",
        disk,
        &format!("{disk}.copy"),
    ]);
    Some(command.output().ok()?.status.success())
}

#[test]
fn disk_in_use_by_qemu_is_refused_and_the_other_way_round() {
    let cache = Cache::locate();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("d.img");
    File::create(&disk)
        .and_then(|image| image.set_len(1 << 20))
        .expect("a writable temporary directory");
    let disk = disk.display().to_string();
    let program = standing_program(dir.path());
    let drive = |more: &str| format!("file={disk},format=raw,if=none,id=d{more}");
    let reading = format!("{disk},readonly");

    for (theirs, beside_writer, beside_reader) in
        [("", IN_USE, IN_USE), (",readonly=on", IN_USE, NOT_IN_USE)]
    {
        let Some(command) = qemu(&cache, &drive(theirs)) else {
            return;
        };
        let running = Running::qemu(command);
        for (ours, expected) in [(&disk, beside_writer), (&reading, beside_reader)] {
            let said = ours_says(&program, ours);
            assert!(
                said.contains(expected),
                "{ours} beside QEMU{theirs}: {said}"
            );
        }
        drop(running);
        let said = ours_says(&program, &disk);
        assert!(said.contains(NOT_IN_USE), "{said}");
    }

    for (ours, refused, readable) in [
        (&disk, &["", ",readonly=on"][..], false),
        (&reading, &[""], true),
    ] {
        let launch = Launch::riscv64_bare(&program).with_option("--disk", ours);
        let mut machine = Guest::start_on(Emulator::VmCli, &launch, &cache);
        machine.wait_for_message("vm-cli: ", limit(60));
        for theirs in refused {
            let output = qemu(&cache, &drive(theirs)).expect("as before").output();
            let said = String::from_utf8(output.expect("QEMU starts").stderr).expect("text");
            assert!(said.contains("lock"), "QEMU{theirs} beside {ours}: {said}");
        }
        match qemu_img_copies(&disk) {
            Some(copied) => assert_eq!(copied, readable, "qemu-img beside {ours}"),
            None => println!("skipped in part: qemu-img (package qemu-utils) is not installed"),
        }
    }
}
