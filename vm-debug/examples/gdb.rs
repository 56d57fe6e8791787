//! Boots a kernel that waits for a debugger, and writes its symbols for it.
//!
//! `cargo run --release -p vm-debug --example gdb -- KERNEL INITRD PORT SYMBOLS`, then
//! `gdb-multiarch -ex 'symbol-file SYMBOLS' -ex 'target remote :PORT'`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use vm_boot::image::Program;
use vm_boot::riscv::{BootRequest, Firmware};
use vm_boot::{BootFile, Role};
use vm_core::{GuestArch, GuestPhysAddr};
use vm_debug::gdb::GdbServer;
use vm_debug::symbols::{symbols_from_kernel, write_elf};
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
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, initrd, port, symbols] = args.as_slice() else {
        return Err("usage: gdb KERNEL INITRD PORT SYMBOLS".into());
    };
    write_elf(&symbols_from_kernel(Path::new(kernel))?, Path::new(symbols))?;
    let server = GdbServer::bind(port)?;
    let ram_bytes = 512 << 20;
    let file = BootFile::read(Role::Kernel, Path::new(kernel), ram_bytes)?;
    let mut machine = riscv_virt::build(
        MachineConfig {
            rng: true,
            balloon: None,
            no_reboot: true,
            start_paused: true,
            ..MachineConfig::new(2, ram_bytes, Arc::new(Stdout))
        },
        VirtConfig {
            isa: CpuModel::ALL[0].config(),
            boot: BootRequest {
                firmware: Firmware::BuiltIn,
                kernel: Some(Program::from_file(&file, GuestArch::Riscv64, ram_bytes)?),
                initrd: Some(BootFile::read(Role::Initrd, Path::new(initrd), ram_bytes)?),
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
    )?;
    let target = machine.debugger();
    let server = server.on_kill(machine.stopper());
    println!("gdb connects to {}", server.local_addr()?);
    std::thread::spawn(move || server.serve(&target));
    println!("{:?}", machine.run()?);
    Ok(())
}
