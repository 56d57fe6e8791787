//! Debian's own kernel and firmware files, from the guest cache that `cargo xtask guests` fills.

use std::io::Write as _;
use std::path::PathBuf;

use vm_boot::image::{Program, ProgramKind};
use vm_boot::riscv::{BootPlan, BootRequest, Firmware};
use vm_boot::x86::{self, EntryMode, LinuxEntry, PcRam, SystemTables};
use vm_boot::{BootFile, Extent, Role};
use vm_core::{GuestArch, GuestPhysAddr};
use vm_mem::GuestMemory;

const RAM: Extent = Extent {
    base: GuestPhysAddr(0x8000_0000),
    bytes: 256 << 20,
};

/// A file of the cache. Without it the test is skipped, or fails if `VM_TESTS_REQUIRE_GUESTS=1`.
fn cached(name: &str) -> Option<PathBuf> {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.cache/guests");
    let cache = std::env::var_os("VM_GUESTS_DIR").map_or_else(own, PathBuf::from);
    let path = cache.join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|value| value == "1");
    assert!(!required, "guests are required: {name} is missing");
    println!("skipped: {name} is missing; run cargo xtask guests");
    None
}

fn program(role: Role, name: &str) -> Option<Program> {
    let file = BootFile::read(role, &cached(name)?, RAM.bytes).unwrap();
    Some(Program::from_file(&file, GuestArch::Riscv64, RAM.bytes).unwrap())
}

fn plan(firmware: Program, kernel: Program) -> BootPlan {
    let request = BootRequest {
        firmware: Firmware::Program(firmware),
        kernel: Some(kernel),
        initrd: None,
        code_flash: None,
        reset_address: GuestPhysAddr(0x1000),
        boot_hart: 0,
    };
    BootPlan::new(request, RAM).unwrap()
}

#[test]
fn kernel_image_keeps_its_place_and_reaches_ram_whole() {
    let (Some(path), Some(firmware)) = (
        cached("riscv64/Image"),
        program(Role::Firmware, "riscv64/fw_dynamic.bin"),
    ) else {
        return;
    };
    let kernel = program(Role::Kernel, "riscv64/Image").unwrap();
    let ProgramKind::Flat(image) = kernel.kind() else {
        panic!("{kernel:?}")
    };
    assert_eq!(image.text_offset, 2 << 20);
    let on_disk = std::fs::read(path).unwrap();
    assert!(image.memory_bytes >= on_disk.len() as u64);
    let memory = GuestMemory::new(&[(RAM.base, RAM.bytes)]).unwrap();
    plan(firmware, kernel).load(&memory, b"tree").unwrap();
    let mut in_ram = vec![0; on_disk.len()];
    memory
        .read(GuestPhysAddr(0x8020_0000), &mut in_ram)
        .unwrap();
    assert!(in_ram == on_disk);
}

#[test]
fn kernel_in_gzip_and_in_zboot_unpacks_to_the_same_image() {
    let Some(path) = cached("riscv64/Image") else {
        return;
    };
    let plain = std::fs::read(path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let packed = encoder.finish().unwrap();
    let mut zboot = b"MZ\0\0zimg".to_vec();
    zboot.extend(64_u32.to_le_bytes());
    zboot.extend((packed.len() as u32).to_le_bytes());
    zboot.resize(24, 0);
    zboot.extend(b"gzip");
    zboot.resize(64, 0);
    zboot.extend(&packed);
    for bytes in [packed, zboot] {
        let file = BootFile::new(Role::Kernel, "packed", bytes).unwrap();
        let program = Program::from_file(&file, GuestArch::Riscv64, RAM.bytes).unwrap();
        let ProgramKind::Flat(image) = program.kind() else {
            panic!("{program:?}")
        };
        assert!(image.content.head(usize::MAX).unwrap() == plain);
    }
}

#[test]
fn firmware_and_boot_loader_are_raw_and_meet_at_2_mib() {
    for firmware in ["riscv64/fw_dynamic.bin", "riscv64/fw_jump.bin"] {
        let (Some(firmware), Some(u_boot)) = (
            program(Role::Firmware, firmware),
            program(Role::Payload, "riscv64/u-boot.bin"),
        ) else {
            return;
        };
        assert!(matches!(firmware.kind(), ProgramKind::Raw(_)));
        assert!(matches!(u_boot.kind(), ProgramKind::Raw(_)));
        let plan = plan(firmware, u_boot);
        assert_eq!(plan.entry(), RAM.base);
        let vector = plan.reset_vector();
        assert_eq!(
            u64::from_le_bytes(vector[56..64].try_into().unwrap()),
            0x8020_0000
        );
    }
}

/// A plan for a PC with that kernel and Debian's initramfs.
fn pc_plan(kernel: &str, ram: PcRam) -> Option<x86::BootPlan> {
    let file = |role, name| BootFile::read(role, &cached(name)?, RAM.bytes).ok();
    let kernel = file(Role::Kernel, kernel)?;
    let initrd = file(Role::Initrd, "x86_64/initramfs.cpio.gz")?;
    let request = x86::BootRequest {
        kernel: Program::from_file(&kernel, GuestArch::X86_64, RAM.bytes).unwrap(),
        initrd: Some(initrd),
        command_line: "console=ttyS0".into(),
        ram,
        reserved: Vec::new(),
        tables: SystemTables::default(),
        entry: LinuxEntry::Auto,
    };
    Some(x86::BootPlan::new(&request).unwrap())
}

#[test]
fn pc_kernel_is_entered_at_what_its_code_begins_with() {
    let ram = PcRam::split(256 << 20);
    let memory = GuestMemory::new(&ram.ranges()).unwrap();
    let bytes_at = |addr: u64| {
        let mut bytes = [0; 4];
        memory.read(GuestPhysAddr(addr), &mut bytes).unwrap();
        bytes
    };
    let Some(plan) = pc_plan("x86_64/bzImage", ram) else {
        return;
    };
    plan.load(&memory).unwrap();
    assert_eq!(plan.entry().mode, EntryMode::Long64);
    // Both entries begin with cld and cli (Linux `arch/x86/boot/compressed/head_64.S`).
    assert_eq!(bytes_at(plan.entry().rip)[..2], [0xfc, 0xfa]);
    assert_eq!(bytes_at(plan.entry().rip - 0x200)[..2], [0xfc, 0xfa]);
    let Some(plan) = pc_plan("x86_64/vmlinux", ram) else {
        return;
    };
    plan.load(&memory).unwrap();
    assert_eq!(plan.entry().mode, EntryMode::Protected32);
    // pvh_start_xen begins with cld (Linux `arch/x86/platform/pvh/head.S`).
    assert_eq!(bytes_at(plan.entry().rip)[0], 0xfc);
}
