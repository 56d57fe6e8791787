use proptest::prelude::*;
use vm_core::GuestPhysAddr;

use super::samples::{Elf, Load};
use super::*;

const MAX: u64 = 1 << 20;

fn program(role: Role, bytes: Vec<u8>) -> Result<Program, BootError> {
    Program::from_file(&BootFile::new(role, "k", bytes)?, GuestArch::Riscv64, MAX)
}

fn kernel(bytes: Vec<u8>) -> Result<Program, BootError> {
    program(Role::Kernel, bytes)
}

fn all(content: &Content) -> Vec<u8> {
    content.head(usize::MAX).unwrap()
}

fn refusal(bytes: Vec<u8>) -> String {
    let text = kernel(bytes).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[track_caller]
fn assert_is_riscv_image(program: &Program) {
    let ProgramKind::Flat(image) = program.kind() else {
        panic!("{program:?}")
    };
    assert_eq!(image.text_offset, 0x20_0000);
    assert_eq!(image.memory_bytes, 0x9000);
    assert_eq!(all(&image.content), samples::riscv_image());
}

#[test]
fn from_file_flat_image_keeps_header_fields() {
    assert_is_riscv_image(&kernel(samples::riscv_image()).unwrap());
}

#[test]
fn from_file_image_larger_than_its_size_field_counts_the_file() {
    let bytes = samples::flat(b"RSC\x05", 0, 10, 0, &[1; 200]);
    let program = kernel(bytes).unwrap();
    let ProgramKind::Flat(image) = program.kind() else {
        panic!("{program:?}")
    };
    assert_eq!(image.memory_bytes, 264);
}

#[test]
fn from_file_gzip_image_is_unpacked() {
    assert_is_riscv_image(&kernel(samples::gzip(&samples::riscv_image())).unwrap());
}

#[test]
fn from_file_zboot_is_unpacked_from_gzip_and_zstd() {
    let image = samples::riscv_image();
    for (name, payload) in [
        ("gzip", samples::gzip(&image)),
        ("zstd", samples::zstd(&image)),
        ("zstd22", samples::zstd(&image)),
    ] {
        assert_is_riscv_image(&kernel(samples::zboot(name, &payload)).unwrap());
        assert_is_riscv_image(&kernel(samples::gzip(&samples::zboot(name, &payload))).unwrap());
    }
}

#[test]
fn from_file_other_architectures_are_named() {
    let arm = samples::flat(b"ARM\x64", 0, 0x1000, 0, &[0; 64]);
    let text = refusal(arm.clone());
    assert!(
        text.contains("is for aarch64, but this machine is riscv64"),
        "{text}"
    );
    // There is no such machine to send the user to.
    assert!(text.ends_with("give one built for riscv64"), "{text}");
    assert!(refusal(samples::gzip(&arm)).contains("aarch64"));
    assert!(refusal(samples::bzimage()).contains("is for x86_64"));
    for (machine, name) in [
        (183, "aarch64"),
        (62, "x86_64"),
        (3, "32-bit x86"),
        (9999, "9999"),
    ] {
        let text = refusal(
            Elf {
                machine,
                ..Elf::default()
            }
            .link(),
        );
        assert!(text.contains(name), "{text}");
    }
    let mut rv32 = Elf::default().link();
    rv32[4] = 1;
    let text = refusal(rv32);
    assert!(text.contains("is for riscv32"), "{text}");
    assert!(text.ends_with("give one built for riscv64"), "{text}");
}

#[test]
fn from_file_raw_is_taken_by_role() {
    let code = vec![0x6f, 0, 0, 0];
    for role in [Role::Payload, Role::Firmware] {
        let program = program(role, code.clone()).unwrap();
        let ProgramKind::Raw(content) = program.kind() else {
            panic!("{program:?}")
        };
        assert_eq!(all(content), code);
    }
    assert!(refusal(code).contains("is not a kernel"));
    let arm = samples::flat(b"ARM\x64", 0, 0x1000, 0, &[0; 64]);
    assert!(matches!(
        program(Role::Firmware, arm),
        Err(BootError::WrongArch { .. })
    ));
}

#[test]
fn from_file_damaged_inputs_say_so() {
    let image = samples::riscv_image();
    let mut gz = samples::gzip(&image);
    gz.truncate(gz.len() / 2);
    assert!(refusal(gz).contains("gzip data is unsound"));
    let mut past_end = samples::zboot("gzip", &samples::gzip(&image));
    past_end.truncate(past_end.len() - 1);
    assert!(refusal(past_end).contains("reaches past the end of the file"));
    let zeros = vec![0; 100];
    assert!(refusal(samples::zboot("zstd", &zeros)).contains("zstd data is unsound"));
    assert!(refusal(image[..64].to_vec()).contains("ends behind its Image header"));
    assert!(refusal(Elf::default().link()).contains("load nothing"));
    assert!(refusal(b"\x7fELF".to_vec()).contains("header is cut off"));
}

#[test]
fn from_file_efi_image_cut_short_is_truncated() {
    let mut image = samples::riscv_efi_image();
    assert!(kernel(image.clone()).is_ok());
    image.pop();
    assert!(refusal(image).contains("truncated"));
}

#[test]
fn from_file_unsupported_forms_say_what_to_give() {
    let big_endian = samples::flat(b"RSC\x05", 0, 0, 1, &[0; 8]);
    assert!(refusal(big_endian).contains("big-endian"));
    let xz = samples::zboot("xzkern", &[0; 10]);
    assert!(refusal(xz).contains("packed with 'xzkern'"));
    assert!(refusal(b"\xfd7zXZ\0rest".to_vec()).contains("compressed with xz"));
    let object = Elf {
        kind: 1,
        ..Elf::default()
    }
    .link();
    assert!(refusal(object).contains("linked executable"));
}

#[test]
fn from_file_that_unpacks_beyond_the_limit_stops_there() {
    let bomb = samples::gzip(&vec![0; 4 * MAX as usize]);
    let error = kernel(bomb).unwrap_err();
    assert!(
        matches!(error, BootError::TooLarge { needed, free: MAX, .. } if needed == MAX + 1),
        "{error}"
    );
}

#[test]
fn from_file_nested_too_deeply_is_refused() {
    let mut bytes = samples::riscv_image();
    for _ in 0..4 {
        bytes = samples::gzip(&bytes);
    }
    assert_is_riscv_image(&kernel(bytes.clone()).unwrap());
    assert!(refusal(samples::gzip(&bytes)).contains("over and over"));
}

fn test_program() -> Vec<u8> {
    let high = 0xffff_ffc0_0000_0000;
    Elf {
        entry: high + 8,
        loads: &[
            Load {
                virt: high,
                phys: 0x8000_0000,
                content: &[1; 16],
                memory_bytes: 16,
            },
            Load {
                virt: high + 0x1000,
                phys: 0x8000_3000,
                content: &[2; 4],
                memory_bytes: 0x40,
            },
        ],
        symbols: &[
            ("tohost", high + 0x1008),
            ("begin_signature", 0x8000_4000),
            ("other", 1),
            ("end_signature", high + 0x1010),
        ],
        ..Elf::default()
    }
    .link()
}

#[test]
fn from_file_elf_has_physical_segments_entry_and_symbols() {
    let program = kernel(test_program()).unwrap();
    let ProgramKind::Elf(elf) = program.kind() else {
        panic!("{program:?}")
    };
    assert_eq!(elf.entry, GuestPhysAddr(0x8000_0008));
    assert!(!elf.relocatable);
    let shape: Vec<_> = elf
        .segments
        .iter()
        .map(|s| (s.addr.raw(), s.memory_bytes))
        .collect();
    assert_eq!(shape, [(0x8000_0000, 16), (0x8000_3000, 0x40)]);
    assert_eq!(all(&elf.segments[1].content), [2; 4]);
    assert_eq!(
        program.htif_symbols(),
        HtifSymbols {
            tohost: Some(GuestPhysAddr(0x8000_3008)),
            fromhost: None,
            begin_signature: Some(GuestPhysAddr(0x8000_4000)),
            end_signature: Some(GuestPhysAddr(0x8000_3010)),
        }
    );
}

#[test]
fn from_file_elf_with_bad_section_headers_has_no_symbols() {
    let mut bytes = test_program();
    bytes[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        kernel(bytes).unwrap().htif_symbols(),
        HtifSymbols::default()
    );
}

#[test]
fn from_file_elf_segments_out_of_bounds_are_refused() {
    let mut past_end = test_program();
    past_end[64 + 8..64 + 16].copy_from_slice(&(u64::MAX - 3).to_le_bytes());
    assert!(refusal(past_end).contains("reaches past the end"));
    let mut overfull = test_program();
    overfull[64 + 40..64 + 48].copy_from_slice(&8_u64.to_le_bytes());
    assert!(refusal(overfull).contains("holds more bytes than it may occupy"));
}

#[test]
fn from_file_with_nothing_compressed_in_it_is_damaged() {
    for role in [Role::Kernel, Role::Payload] {
        let error = program(role, samples::gzip(&[])).unwrap_err().to_string();
        assert!(error.contains("nothing is compressed"), "{error}");
    }
}

/// Sound files of every format, to be mutated.
fn seeds() -> Vec<Vec<u8>> {
    let image = samples::riscv_image();
    vec![
        image.clone(),
        samples::gzip(&image),
        samples::zboot("gzip", &samples::gzip(&image)),
        samples::zboot("zstd", &samples::zstd(&image)),
        samples::bzimage(),
        test_program(),
        pc_program(Some(0x10_0000)),
        pc_program(None),
    ]
}

/// An ELF file for PCs, with a multiboot header and perhaps a PVH entry.
fn pc_program(pvh_entry: Option<u32>) -> Vec<u8> {
    let header = [0x1bad_b002_u32, 0, 0xe452_4ffe].map(u32::to_le_bytes);
    let load = [Load {
        virt: 0x10_0000,
        phys: 0x10_0000,
        content: &header.concat(),
        memory_bytes: 0x100,
    }];
    let elf = Elf {
        machine: 62,
        entry: 0x10_0000,
        loads: &load,
        pvh_entry,
        ..Elf::default()
    };
    elf.link()
}

#[test]
fn from_file_prefers_a_pvh_entry_to_a_multiboot_header() {
    let kind = |pvh_entry| {
        let file = BootFile::new(Role::Kernel, "k", pc_program(pvh_entry)).unwrap();
        Program::from_file(&file, GuestArch::X86_64, MAX)
            .unwrap()
            .kind
    };
    assert!(matches!(kind(Some(0x10_0000)), ProgramKind::Elf(_)));
    assert!(matches!(kind(None), ProgramKind::Multiboot(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn from_file_mutated_never_panics_and_stays_in_bounds(
        seed in 0..8_usize,
        arch in prop_oneof![Just(GuestArch::Riscv64), Just(GuestArch::X86_64)],
        cut in 0..70_000_usize,
        edits in prop::collection::vec((0..700_usize, any::<u8>()), 0..12),
        raw in any::<bool>(),
    ) {
        let mut bytes = seeds().swap_remove(seed);
        bytes.truncate(cut.max(1));
        for (at, value) in edits {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let role = if raw { Role::Payload } else { Role::Kernel };
        let file = BootFile::new(role, "k", bytes).unwrap();
        if let Ok(program) = Program::from_file(&file, arch, MAX) {
            match program.kind() {
                ProgramKind::Elf(elf) => for segment in &elf.segments {
                    prop_assert!(segment.content.len() <= segment.memory_bytes);
                },
                ProgramKind::Flat(image) => {
                    prop_assert!(image.content.len() <= image.memory_bytes);
                }
                ProgramKind::BzImage(image) => {
                    prop_assert_eq!(arch, GuestArch::X86_64);
                    prop_assert!(image.kernel.len() <= image.memory_bytes);
                }
                ProgramKind::Multiboot(multiboot) => {
                    prop_assert_eq!(arch, GuestArch::X86_64);
                    for segment in &multiboot.segments {
                        prop_assert!(segment.content.len() <= segment.memory_bytes);
                    }
                }
                ProgramKind::Raw(content) => prop_assert!(raw && !content.is_empty()),
            }
        }
    }
}
