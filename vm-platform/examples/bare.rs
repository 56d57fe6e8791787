//! Runs bare programs in M-mode, one after the other, and says how each ended.
//!
//! `cargo run --release -p vm-platform --example bare -- ELF...`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vm_boot::image::Program;
use vm_boot::riscv::{BootRequest, Firmware};
use vm_boot::{BootFile, Role};
use vm_core::{GuestArch, GuestPhysAddr};
use vm_device::chardev::CharSink;
use vm_frontend::riscv::isa::CpuModel;
use vm_platform::machine::{MachineConfig, Outcome};
use vm_platform::riscv_virt::{self, VirtConfig};

struct Stdout;

impl CharSink for Stdout {
    fn write(&self, bytes: &[u8]) {
        let _ = std::io::stdout().write_all(bytes);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut bad = 0;
    for path in std::env::args().skip(1) {
        let ram_bytes = 128 << 20;
        let file = BootFile::read(Role::Kernel, Path::new(&path), ram_bytes)?;
        let program = Program::from_file(&file, GuestArch::Riscv64, ram_bytes)?;
        let mut machine = riscv_virt::build(
            MachineConfig {
                no_reboot: true,
                ..MachineConfig::new(1, ram_bytes, Arc::new(Stdout))
            },
            VirtConfig {
                isa: CpuModel::from_name(&std::env::var("CPU").unwrap_or("max".into()))
                    .ok_or("no such CPU")?
                    .config(),
                boot: BootRequest {
                    firmware: Firmware::None,
                    kernel: Some(program),
                    initrd: None,
                    code_flash: None,
                    reset_address: GuestPhysAddr(0),
                    boot_hart: 0,
                },
                offered: None,
                builtin_sbi: false,
                bootargs: String::new(),
                device_tree: None,
                flash: Default::default(),
                virtio: Default::default(),
            },
        )?;
        if std::env::var("ACCEL").is_ok_and(|accel| accel == "jit") {
            machine.translate(Default::default())?;
        }
        let stop = machine.stopper();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(4));
            stop();
        });
        let outcome = machine.run()?;
        if outcome != Outcome::PoweredOff {
            bad += 1;
            println!("{path}: {outcome:?}");
        }
    }
    println!("{bad} did not end well");
    Ok(())
}
