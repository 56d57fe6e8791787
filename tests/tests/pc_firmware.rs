//! Stock firmware on a PC: SeaBIOS and GRUB from a CD and from disks on every bus, OVMF's shell and its variables, and Debian's
//! disk through both.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use vm_service::{Bios, DiskBus, DiskConfig, DiskFormat, GuestArch, Outcome, Vm, VmHandle};
use vm_tests::{Disk, Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};
use xtask::guests::Cache;

const SEABIOS: &[&str] = &["x86_64/bios-256k.bin", "x86_64/vgabios-stdvga.bin"];
const OVMF: &[&str] = &["x86_64/OVMF_CODE_4M.fd", "x86_64/OVMF_VARS_4M.fd"];
const GUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";

fn start(launch: &Launch, cache: &Cache) -> Guest {
    Guest::start_on(Emulator::VmCli, launch, cache)
}

/// Waits until a line of the screen begins so.
fn wait_for_line(handle: &VmHandle, begins: &str) {
    let end = Instant::now() + limit(120);
    loop {
        let lines = handle.screen_text().unwrap_or_default();
        if lines
            .iter()
            .any(|line| line.trim_start().starts_with(begins))
        {
            return;
        }
        assert!(Instant::now() < end, "no {begins:?} in {lines:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// SeaBIOS and GRUB's rescue image, up to GRUB's prompt, whose commands are typed on the keyboard and list `disks`, and off by
/// ACPI. What is looked at is the screen.
fn grub_from(image: &str, disk: impl FnOnce(PathBuf) -> DiskConfig, disks: &str) {
    let image = format!("x86_64/{image}");
    let needed = [SEABIOS, &[&image]].concat();
    let Some(cache) = guests_or_skip(&needed) else {
        return;
    };
    let builder = Vm::builder()
        .arch(GuestArch::X86_64)
        .bios(Bios::File(cache.file("x86_64/bios-256k.bin")))
        .disk(disk(cache.file(&image)));
    let mut vm = builder.build().expect("a machine");
    let handle = vm.handle();
    let machine = std::thread::spawn(move || vm.run().expect("an end"));
    let press = |keys: &[&str]| {
        for key in keys {
            handle.press(key).expect("the guest takes the key");
        }
    };
    wait_for_line(&handle, "GNU GRUB");
    press(&["c"]);
    wait_for_line(&handle, "grub>");
    press(&["l", "s", "ret"]);
    wait_for_line(&handle, disks);
    press(&["h", "a", "l", "t", "ret"]);
    let ended = machine.join().expect("no panic");
    assert_eq!(ended, Outcome::PoweredOff);
    let picture = handle.picture().expect("what was shown last");
    assert!(picture.width >= 640 && picture.rgb.iter().any(|&part| part != 0));
}

fn disk_on(bus: DiskBus) -> impl FnOnce(PathBuf) -> DiskConfig {
    move |file| DiskConfig {
        snapshot: true,
        // It begins with a CD's image, too.
        format: Some(DiskFormat::Raw),
        bus,
        ..DiskConfig::raw(file)
    }
}

#[test]
fn seabios_starts_grub_from_a_cd() {
    grub_from("grub-rescue-cdrom.iso", DiskConfig::cdrom, "(cd)");
}

#[test]
fn seabios_starts_grub_from_a_virtio_disk() {
    let disk = disk_on(DiskBus::Virtio);
    grub_from("grub-rescue-usb.img", disk, "(hd0)");
}

#[test]
fn seabios_starts_grub_from_a_sata_disk() {
    let disk = disk_on(DiskBus::Ahci);
    grub_from("grub-rescue-usb.img", disk, "(hd0)");
}

#[test]
fn seabios_starts_grub_from_an_nvme_disk() {
    let disk = disk_on(DiskBus::Nvme);
    grub_from("grub-rescue-usb.img", disk, "(hd0)");
}

#[test]
fn seabios_without_anything_to_boot_says_so_in_its_log_too() {
    let Some(cache) = guests_or_skip(SEABIOS) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("log");
    let launch = Launch::x86_64_firmware(&cache, "seabios")
        .with_option("--debugcon", format!("file:{}", log.display()));
    let mut guest = start(&launch, &cache);
    guest.wait_for("No bootable device.", limit(60));
    guest.kill();
    let log = std::fs::read_to_string(log).expect("the log is written");
    assert!(log.contains("SeaBIOS (version "), "{log}");
}

#[test]
fn ovmf_shell_keeps_variables_beyond_the_machine() {
    let Some(cache) = guests_or_skip(OVMF) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let variables = dir.path().join("vars.fd");
    let code = cache.file("x86_64/OVMF_CODE_4M.fd");
    let launch = Launch {
        bios: None,
        ..Launch::x86_64_firmware(&cache, "uefi")
    };
    let launch = launch
        .with_option("--flash", format!("code={},readonly", code.display()))
        .with_option("--flash", format!("vars={}", variables.display()));
    let shell = || {
        let mut guest = start(&launch, &cache);
        guest.wait_for("UEFI Interactive Shell", limit(180));
        guest.wait_for("Shell> ", limit(60));
        guest
    };
    let mut first = shell();
    first.type_text(&format!("setvar kept -guid {GUID} -nv -bs =0x4711\r"));
    first.wait_for("Shell> ", limit(60));
    first.type_text("reset -s\r");
    assert_eq!(first.exit_code(limit(60)), exit_code::POWER_OFF);
    let mut again = shell();
    again.type_text(&format!("setvar kept -guid {GUID}\r"));
    again.wait_for("11 47", limit(60));
}

/// Debian's disk, by firmware and GRUB to a login.
fn debian_starts_by(firmware: &str, needed: &[&str]) {
    let needed = [needed, &["x86_64/debian.img"]].concat();
    let Some(cache) = guests_or_skip(&needed) else {
        return;
    };
    let launch = Launch {
        cpus: 2,
        memory_mib: 1024,
        disks: vec![Disk::snapshot(cache.file("x86_64/debian.img"))],
        ..Launch::x86_64_firmware(&cache, firmware)
    };
    let mut guest = start(&launch, &cache);
    guest.wait_for("GNU GRUB", limit(180));
    guest.wait_for("login: ", boot_limit());
    guest.type_line("root");
    guest.wait_for("root@debian:~# ", limit(120));
    let machine = guest.run_ok("uname -m; nproc", limit(60));
    let machine: Vec<_> = machine.split_whitespace().collect();
    assert_eq!(machine, ["x86_64", "2"]);
    let by_uefi = guest.run("test -d /sys/firmware/efi", limit(60)).0 == 0;
    assert_eq!(by_uefi, firmware == "uefi");
    guest.type_line("systemctl poweroff");
    guest.wait_for("reboot: Power down", limit(240));
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}

#[test]
fn debian_s_disk_starts_by_seabios_and_grub() {
    debian_starts_by("seabios", SEABIOS);
}

#[test]
fn debian_s_disk_starts_by_ovmf_and_grub() {
    debian_starts_by("uefi", OVMF);
}
