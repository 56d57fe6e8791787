//! Debian's own kernel and firmware files, from the guest cache that `cargo xtask guests` fills.

use std::io::Write as _;
use std::path::PathBuf;

use vm_boot::image::{Program, ProgramKind};
use vm_boot::riscv::{BootPlan, BootRequest, Firmware};
use vm_boot::{BootFile, Extent, Role};
use vm_core::{GuestArch, GuestPhysAddr};
use vm_mem::GuestMemory;

const RAM: Extent = Extent {
    base: GuestPhysAddr(0x8000_0000),
    bytes: 256 << 20,
};

/// A file of the cache. Without it the test is skipped, or fails if `VM_TESTS_REQUIRE_GUESTS=1`.
fn cached(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../.cache/guests/riscv64")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|value| value == "1");
    assert!(!required, "guests are required: riscv64/{name} is missing");
    println!("skipped: riscv64/{name} is missing; run cargo xtask guests");
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
    let (Some(path), Some(firmware)) = (cached("Image"), program(Role::Firmware, "fw_dynamic.bin"))
    else {
        return;
    };
    let kernel = program(Role::Kernel, "Image").unwrap();
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
    let Some(path) = cached("Image") else { return };
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
    for firmware in ["fw_dynamic.bin", "fw_jump.bin"] {
        let (Some(firmware), Some(u_boot)) = (
            program(Role::Firmware, firmware),
            program(Role::Payload, "u-boot.bin"),
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
