//! Boots a kernel with an initial RAM disk and shows its console.
//!
//! `cargo run --release -p vm-platform --example boot -- KERNEL INITRD [COMMAND LINE]`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use vm_boot::image::Program;
use vm_boot::riscv::{BootRequest, Firmware};
use vm_boot::{BootFile, Role};
use vm_core::{GuestArch, GuestPhysAddr, VcpuId};
use vm_device::chardev::CharSink;
use vm_frontend::riscv::isa::CpuModel;
use vm_platform::machine::MachineConfig;
use vm_platform::riscv_virt::{self, VirtConfig};

struct Stdout;

impl CharSink for Stdout {
    fn write(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(kernel), Some(initrd)) = (args.next(), args.next()) else {
        return Err("usage: boot KERNEL INITRD [COMMAND LINE]".into());
    };
    let bootargs = args.next().unwrap_or_else(|| "console=ttyS0".to_owned());
    let cpus = std::env::var("CPUS").map_or(1, |n| n.parse().unwrap_or(1));
    let ram_bytes = 512 << 20;
    let file = BootFile::read(Role::Kernel, Path::new(&kernel), ram_bytes)?;
    let program = Program::from_file(&file, GuestArch::Riscv64, ram_bytes)?;
    let initrd = BootFile::read(Role::Initrd, Path::new(&initrd), ram_bytes)?;
    let isa = CpuModel::ALL[0].config();
    let mut machine = riscv_virt::build(
        MachineConfig {
            rtc_start: std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
            rng: true,
            balloon: None,
            no_reboot: true,
            ..MachineConfig::new(cpus, ram_bytes, Arc::new(Stdout))
        },
        VirtConfig {
            isa,
            boot: BootRequest {
                firmware: Firmware::BuiltIn,
                kernel: Some(program),
                initrd: Some(initrd),
                code_flash: None,
                reset_address: GuestPhysAddr(0),
                boot_hart: 0,
            },
            offered: None,
            builtin_sbi: true,
            bootargs,
            device_tree: None,
            flash: Default::default(),
            virtio: Default::default(),
        },
    )?;
    if std::env::var("ACCEL").is_ok_and(|accel| accel == "jit") {
        machine.translate(Default::default())?;
    }
    println!("{:?}", machine.run()?);
    for (name, value) in machine.debugger().statistics(VcpuId(0)) {
        println!("{name:>28}: {value}");
    }
    Ok(())
}
