use proptest::prelude::*;
use vm_core::GuestArch;

use super::*;
use crate::Role;
use crate::image::samples::{self, Elf, Load};

const BASE: u64 = 0x8000_0000;
const RESET: u64 = 0x1000;

fn ram(mib: u64) -> Extent {
    Extent {
        base: GuestPhysAddr(BASE),
        bytes: mib * MIB,
    }
}

fn program(role: Role, bytes: Vec<u8>) -> Program {
    let file = BootFile::new(role, "file", bytes).unwrap();
    Program::from_file(&file, GuestArch::Riscv64, 1 << 30).unwrap()
}

fn image(text_offset: u64, memory_bytes: u64) -> Program {
    let bytes = samples::flat(b"RSC\x05", text_offset, memory_bytes, 0, &[0xaa; 100]);
    program(Role::Kernel, bytes)
}

fn opensbi() -> Firmware {
    Firmware::Program(program(Role::Firmware, vec![0xf0; 0x4_0000]))
}

fn initrd(bytes: usize) -> Option<BootFile> {
    Some(BootFile::new(Role::Initrd, "initrd.gz", vec![0x1d; bytes]).unwrap())
}

fn request(firmware: Firmware, kernel: Option<Program>) -> BootRequest {
    BootRequest {
        firmware,
        kernel,
        initrd: None,
        code_flash: None,
        reset_address: GuestPhysAddr(RESET),
        boot_hart: 0,
    }
}

fn elf_at(addr: u64, kind: u16, memory_bytes: u64) -> Program {
    let loads = [Load {
        virt: addr,
        phys: addr,
        content: &[0xe1; 32],
        memory_bytes,
    }];
    let elf = Elf {
        kind,
        entry: addr + 4,
        loads: &loads,
        ..Elf::default()
    };
    program(Role::Kernel, elf.link())
}

fn reset_words(plan: &BootPlan) -> [u64; 3] {
    let bytes = plan.reset_vector();
    [24, 32, 56].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
}

#[test]
fn new_direct_boot_starts_one_hart_in_s_mode() {
    let request = BootRequest {
        initrd: initrd(10_000),
        ..request(Firmware::BuiltIn, Some(image(0x20_0000, 0x9000)))
    };
    let plan = BootPlan::new(request, ram(512)).unwrap();
    assert_eq!(plan.starting_harts(), StartingHarts::BootHartOnly);
    assert_eq!(
        plan.hart_start(3),
        HartStart {
            privilege: Privilege::Supervisor,
            pc: GuestPhysAddr(0x8020_0000),
            a0: 3,
            a1: 0x9fe0_0000,
            a2: 0,
        }
    );
    assert_eq!(plan.device_tree(), GuestPhysAddr(0x9fe0_0000));
    // QEMU 10 puts the same RAM disk there with the same kernel offset and RAM.
    let expected = Extent {
        base: GuestPhysAddr(0x9020_0000),
        bytes: 10_000,
    };
    assert_eq!(plan.initrd(), Some(expected));
}

#[test]
fn new_with_much_ram_keeps_the_device_tree_low() {
    let plan = BootPlan::new(
        request(Firmware::BuiltIn, Some(image(0x20_0000, 0x9000))),
        ram(64 << 10),
    );
    assert_eq!(plan.unwrap().device_tree(), GuestPhysAddr(0xbfe0_0000));
}

#[test]
fn new_with_firmware_starts_all_harts_at_the_reset_vector() {
    let request = request(opensbi(), Some(image(0x20_0000, 0x9000)));
    let plan = BootPlan::new(request, ram(256)).unwrap();
    assert_eq!(plan.starting_harts(), StartingHarts::All);
    let start = plan.hart_start(1);
    assert_eq!(
        (start.privilege, start.pc.raw()),
        (Privilege::Machine, RESET)
    );
    assert_eq!((start.a0, start.a1, start.a2), (0, 0, 0));
    assert_eq!(reset_words(&plan), [BASE, 0x8fe0_0000, 0x8020_0000]);
}

#[test]
fn new_payload_without_header_goes_where_fw_jump_jumps() {
    let u_boot = program(Role::Payload, vec![0xb0; 700_000]);
    let plan = BootPlan::new(request(opensbi(), Some(u_boot)), ram(256)).unwrap();
    assert_eq!(reset_words(&plan)[2], 0x8020_0000);
}

#[test]
fn new_kernel_moves_behind_large_firmware() {
    let firmware = Firmware::Program(program(Role::Firmware, vec![0xf0; 3 << 20]));
    for offset in [0, 0x20_0000] {
        let request = request(firmware.clone(), Some(image(offset, 0x9000)));
        let plan = BootPlan::new(request, ram(256)).unwrap();
        assert_eq!(reset_words(&plan)[2], 0x8040_0000);
    }
}

#[test]
fn new_without_kernel_starts_code_flash() {
    let flash = GuestPhysAddr(0x2000_0000);
    let with_flash = |firmware| BootRequest {
        code_flash: Some(flash),
        ..request(firmware, None)
    };
    let sbi = BootPlan::new(with_flash(Firmware::BuiltIn), ram(256)).unwrap();
    assert_eq!(sbi.hart_start(0).pc, flash);
    let bare = BootPlan::new(with_flash(Firmware::None), ram(256)).unwrap();
    assert_eq!(reset_words(&bare)[0], flash.raw());
    let firmware = BootPlan::new(with_flash(opensbi()), ram(256)).unwrap();
    assert_eq!(reset_words(&firmware)[2], flash.raw());
}

#[test]
fn new_with_nothing_is_refused() {
    let error = BootPlan::new(request(Firmware::BuiltIn, None), ram(256)).unwrap_err();
    assert!(matches!(error, BootError::NothingToBoot), "{error}");
}

#[test]
fn new_bare_elf_is_entered_in_m_mode() {
    let request = request(Firmware::None, Some(elf_at(BASE, 2, 0x1000)));
    let plan = BootPlan::new(request, ram(16)).unwrap();
    assert_eq!(plan.hart_start(0).privilege, Privilege::Machine);
    assert_eq!(reset_words(&plan)[0], BASE + 4);
}

#[test]
fn new_relocatable_elf_firmware_moves_to_ram() {
    let firmware = Firmware::Program(elf_at(0, 3, 0x1000));
    let plan = BootPlan::new(request(firmware, Some(image(0x20_0000, 0))), ram(256)).unwrap();
    assert_eq!(reset_words(&plan)[0], BASE + 4);
}

#[test]
fn new_elf_outside_ram_names_the_range() {
    for addr in [0, BASE + 256 * MIB - 16, u64::MAX - 8] {
        let request = request(Firmware::None, Some(elf_at(addr, 2, 0x1000)));
        let error = BootPlan::new(request, ram(256)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BootError::OutsideRam { .. }), "{text}");
        assert!(text.contains("RAM is 0x80000000 to 0x90000000"), "{text}");
    }
}

#[test]
fn new_overlapping_parts_are_refused() {
    let clash = request(opensbi(), Some(elf_at(BASE, 2, 0x1000)));
    let text = BootPlan::new(clash, ram(256)).unwrap_err().to_string();
    assert!(
        text.contains("firmware and the kernel") || text.contains("kernel and the firmware"),
        "{text}"
    );
    let clash = request(Firmware::None, Some(elf_at(0x8fe0_0000, 2, 0x1000)));
    let text = BootPlan::new(clash, ram(256)).unwrap_err().to_string();
    assert!(text.contains("device tree"), "{text}");
}

#[test]
fn new_too_little_ram_says_so() {
    let tiny = Extent {
        base: GuestPhysAddr(BASE),
        bytes: MIB,
    };
    let error = BootPlan::new(request(Firmware::BuiltIn, Some(image(0, 0))), tiny).unwrap_err();
    assert!(matches!(error, BootError::TooLittleRam { .. }), "{error}");
    let large = request(Firmware::BuiltIn, Some(image(0x20_0000, 40 * MIB)));
    let text = BootPlan::new(large, ram(32)).unwrap_err().to_string();
    assert!(
        text.contains("needs 40 MiB of RAM where 28 MiB are free"),
        "{text}"
    );
    let far = request(Firmware::BuiltIn, Some(image(u64::MAX - 5, 0)));
    assert!(matches!(
        BootPlan::new(far, ram(32)),
        Err(BootError::TooLarge { .. })
    ));
}

#[test]
fn new_initrd_is_squeezed_high_before_it_is_refused() {
    let kernel = || Some(image(0x20_0000, 4 * MIB));
    let with = |bytes| BootRequest {
        initrd: initrd(bytes),
        ..request(Firmware::BuiltIn, kernel())
    };
    // 64 MiB: kernel ends at +6, device tree at +62; the preferred place is +34.
    let plan = BootPlan::new(with(40 << 20), ram(64)).unwrap();
    assert_eq!(plan.initrd().unwrap().base, GuestPhysAddr(BASE + 22 * MIB));
    let plan = BootPlan::new(with(56 << 20), ram(64)).unwrap();
    assert_eq!(plan.initrd().unwrap().base, GuestPhysAddr(BASE + 6 * MIB));
    let text = BootPlan::new(with((56 << 20) + 1), ram(64))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("initrd 'initrd.gz' needs 57 MiB of RAM where 56 MiB are free"),
        "{text}"
    );
}

#[test]
fn load_writes_every_part_and_clears_what_the_last_run_left() {
    let memory = GuestMemory::new(&[(GuestPhysAddr(BASE), 64 * MIB)]).unwrap();
    memory
        .write(GuestPhysAddr(0x8020_0000), &[0xff; 0x9000])
        .unwrap();
    let request = BootRequest {
        initrd: initrd(5000),
        ..request(opensbi(), Some(image(0x20_0000, 0x2000)))
    };
    let plan = BootPlan::new(request, ram(64)).unwrap();
    plan.load(&memory, b"device tree").unwrap();
    let read = |addr: u64, bytes: usize| {
        let mut out = vec![0; bytes];
        memory.read(GuestPhysAddr(addr), &mut out).unwrap();
        out
    };
    assert_eq!(read(BASE, 0x4_0000), [0xf0; 0x4_0000]);
    assert_eq!(read(0x8020_0038, 4), b"RSC\x05");
    assert_eq!(read(0x8020_0040, 100), [0xaa; 100]);
    assert_eq!(read(0x8020_0000 + 164, 0x2000 - 164), [0; 0x2000 - 164]);
    assert_eq!(read(0x8020_2000, 1), [0xff]);
    assert_eq!(read(plan.initrd().unwrap().base.raw(), 5000), [0x1d; 5000]);
    assert_eq!(read(plan.device_tree().raw(), 11), b"device tree");
}

#[test]
fn load_oversized_device_tree_is_refused() {
    let memory = GuestMemory::new(&[(GuestPhysAddr(BASE), 64 * MIB)]).unwrap();
    let request = request(Firmware::BuiltIn, Some(image(0x20_0000, 0)));
    let plan = BootPlan::new(request, ram(64)).unwrap();
    let huge = vec![0; DEVICE_TREE_ROOM_BYTES as usize + 1];
    let error = plan.load(&memory, &huge).unwrap_err();
    assert!(
        matches!(error, BootError::DeviceTreeTooLarge { .. }),
        "{error}"
    );
}

proptest! {
    #[test]
    fn new_any_plan_keeps_parts_apart_and_in_ram(
        ram_mib in 1..3000_u64,
        text_offset in prop_oneof![Just(0), Just(0x20_0000), any::<u64>(), 0..(3_u64 << 30)],
        image_bytes in prop_oneof![0..(64 * MIB), any::<u64>()],
        initrd_bytes in 1..(1_usize << 20),
        with_firmware in any::<bool>(),
    ) {
        let firmware = if with_firmware { opensbi() } else { Firmware::BuiltIn };
        let request = BootRequest {
            initrd: initrd(initrd_bytes),
            ..request(firmware, Some(image(text_offset, image_bytes)))
        };
        let ram = ram(ram_mib);
        if let Ok(plan) = BootPlan::new(request, ram) {
            let mut extents: Vec<Extent> = plan.parts.iter().map(|part| part.extent).collect();
            extents.push(Extent { base: plan.device_tree(), bytes: DEVICE_TREE_ROOM_BYTES });
            extents.sort_by_key(|extent| extent.base);
            for extent in &extents {
                prop_assert!(ram.contains(extent.base, extent.bytes));
            }
            for pair in extents.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].base);
            }
            prop_assert_eq!(plan.initrd().unwrap().base.page_offset(), 0);
        }
    }
}

#[test]
fn load_after_a_file_shrank_names_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &samples::riscv_image()).unwrap();
    let read = BootFile::read(Role::Kernel, file.path(), 1 << 20).unwrap();
    let kernel = Program::from_file(&read, GuestArch::Riscv64, 1 << 20).unwrap();
    let plan = BootPlan::new(request(Firmware::BuiltIn, Some(kernel)), ram(64)).unwrap();
    let memory = GuestMemory::new(&[(GuestPhysAddr(BASE), 64 * MIB)]).unwrap();
    plan.load(&memory, b"tree").unwrap();
    file.as_file().set_len(100).unwrap();
    let error = plan.load(&memory, b"tree").unwrap_err();
    assert!(
        matches!(
            error,
            BootError::Unreadable {
                role: Role::Kernel,
                ..
            }
        ),
        "{error}"
    );
}
