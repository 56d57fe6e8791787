use proptest::prelude::*;
use vm_core::GuestArch;

use super::*;
use crate::Role;
use crate::image::samples::{self, BzImageHeader, Elf, Load};

const ECAM: Extent = Extent {
    base: GuestPhysAddr(0xb000_0000),
    bytes: 256 * MIB,
};
const RSDP: GuestPhysAddr = GuestPhysAddr(0xe_0000);

fn try_program(bytes: Vec<u8>) -> Result<Program, BootError> {
    let file = BootFile::new(Role::Kernel, "file", bytes).unwrap();
    Program::from_file(&file, GuestArch::X86_64, 1 << 30)
}

fn program(bytes: Vec<u8>) -> Program {
    try_program(bytes).unwrap()
}

fn request(kernel: Vec<u8>) -> BootRequest {
    BootRequest {
        kernel: program(kernel),
        initrd: Some(BootFile::new(Role::Initrd, "initrd.gz", vec![0x1d; 5000]).unwrap()),
        command_line: "console=ttyS0".into(),
        ram: PcRam::split(256 * MIB),
        reserved: vec![ECAM],
        tables: SystemTables {
            parts: vec![(RSDP, vec![0xac; 36])],
            rsdp: Some(RSDP),
        },
        entry: LinuxEntry::Auto,
    }
}

fn elf_kernel(addr: u64, pvh_entry: Option<u32>, content: &[u8]) -> Vec<u8> {
    let loads = [Load {
        virt: 0xffff_ffff_8000_0000 + addr,
        phys: addr,
        content,
        memory_bytes: 0x3000,
    }];
    let elf = Elf {
        machine: 62,
        entry: 0xffff_ffff_8000_0000 + addr,
        loads: &loads,
        pvh_entry,
        ..Elf::default()
    };
    elf.link()
}

fn multiboot_one(flags: u32) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    [magic, flags, 0_u32.wrapping_sub(magic.wrapping_add(flags))]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn multiboot_two(tags: &[u8]) -> Vec<u8> {
    let (magic, length) = (0xe852_50d6_u32, 16 + tags.len() as u32);
    let checksum = 0_u32.wrapping_sub(magic.wrapping_add(length));
    let head = [magic, 0, length, checksum];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(tags);
    bytes
}

/// RAM after the plan was loaded.
struct Loaded {
    plan: BootPlan,
    memory: GuestMemory,
}

impl Loaded {
    fn new(request: &BootRequest) -> Self {
        let plan = BootPlan::new(request).unwrap();
        let memory = GuestMemory::new(&request.ram.ranges()).unwrap();
        plan.load(&memory).unwrap();
        Self { plan, memory }
    }

    fn bytes(&self, addr: u64, count: usize) -> Vec<u8> {
        let mut out = vec![0; count];
        self.memory.read(GuestPhysAddr(addr), &mut out).unwrap();
        out
    }

    fn u32(&self, addr: u64) -> u32 {
        u32::from_le_bytes(self.bytes(addr, 4).try_into().unwrap())
    }

    fn u64(&self, addr: u64) -> u64 {
        u64::from_le_bytes(self.bytes(addr, 8).try_into().unwrap())
    }

    fn text(&self, addr: u64) -> String {
        let bytes = self.bytes(addr, 100);
        let end = bytes.iter().position(|&byte| byte == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }
}

#[test]
fn new_bzimage_is_entered_in_64_bit_mode_with_its_zero_page() {
    let loaded = Loaded::new(&request(samples::bzimage()));
    let entry = *loaded.plan.entry();
    assert_eq!((entry.mode, entry.rip), (EntryMode::Long64, 0x100_0200));
    assert_eq!(loaded.bytes(0x100_0000, 0x400), [0x90; 0x400]);
    let zero_page = entry.general.rsi;
    assert_eq!(loaded.bytes(zero_page + 0x202, 4), b"HdrS");
    assert_eq!(loaded.u32(zero_page + 0x258), 0x100_0000);
    // What the setup code holds behind the header is not part of it.
    assert_eq!(loaded.bytes(zero_page + 0x270, 0x20), [0; 0x20]);
    assert_eq!(loaded.bytes(zero_page + 0x210, 1), [0xff]);
    assert_eq!(loaded.u64(zero_page + 0x70), RSDP.raw());
    assert_eq!(loaded.u32(zero_page + 0x214), 0x100_0000);
    let command_line = loaded.u32(zero_page + 0x228);
    assert_eq!(loaded.text(command_line.into()), "console=ttyS0");
    let initrd = loaded.plan.initrd().unwrap();
    assert_eq!(initrd.base.raw(), 256 * MIB - 8192);
    assert_eq!(u64::from(loaded.u32(zero_page + 0x218)), initrd.base.raw());
    assert_eq!(loaded.u32(zero_page + 0x21c), 5000);
    assert_eq!(loaded.bytes(initrd.base.raw(), 5000), [0x1d; 5000]);
    let map = loaded.plan.memory_map();
    assert_eq!(loaded.bytes(zero_page + 0x1e8, 1), [map.len() as u8]);
    assert_eq!(loaded.bytes(zero_page + 0x2d0 + 20, 20), map[1].to_bytes());
    assert_eq!(loaded.u64(entry.gdt.base + 0x10), 0x00af_9b00_0000_ffff);
    assert_eq!(loaded.u64(entry.cr3) & 0xfff, 3);
    assert_eq!(loaded.bytes(RSDP.raw(), 36), [0xac; 36]);
}

#[test]
fn new_32_bit_kernel_is_entered_at_its_start_or_refused() {
    let kernel = BzImageHeader {
        extra_load_flags: 0,
        ..BzImageHeader::default()
    };
    let mut request = request(kernel.build());
    let plan = BootPlan::new(&request).unwrap();
    assert_eq!(plan.entry().mode, EntryMode::Protected32);
    assert_eq!(plan.entry().rip, 0x100_0000);
    assert_eq!((plan.entry().cr0, plan.entry().efer), (0x11, 0));
    request.entry = LinuxEntry::Long64;
    let text = BootPlan::new(&request).unwrap_err().to_string();
    assert!(
        text.contains("32-bit kernel without a 64-bit entry"),
        "{text}"
    );
}

#[test]
fn new_64_bit_kernel_can_be_entered_in_32_bit_mode() {
    let request = BootRequest {
        entry: LinuxEntry::Protected32,
        ..request(samples::bzimage())
    };
    let plan = BootPlan::new(&request).unwrap();
    assert_eq!(plan.entry().mode, EntryMode::Protected32);
    assert_eq!(plan.entry().rip, 0x100_0000);
}

#[test]
fn from_file_old_and_damaged_bzimages_are_refused() {
    let refusal = |bytes: Vec<u8>| try_program(bytes).unwrap_err().to_string();
    let old = BzImageHeader {
        protocol: 0x204,
        ..BzImageHeader::default()
    };
    assert!(refusal(old.build()).contains("protocol 2.04, which is older"));
    let low = BzImageHeader {
        load_flags: 0,
        ..BzImageHeader::default()
    };
    assert!(refusal(low.build()).contains("is a zImage"));
    let mut short = samples::bzimage();
    short.pop();
    assert!(refusal(short).contains("truncated"));
    assert!(refusal(samples::bzimage()[..0x250].to_vec()).contains("cut off"));
    assert!(refusal(vec![0; 100]).contains("is not a kernel"));
}

#[test]
fn new_too_little_ram_says_how_much_is_needed() {
    let with_ram = |mib| BootRequest {
        ram: PcRam::split(mib * MIB),
        ..request(samples::bzimage())
    };
    let text = BootPlan::new(&with_ram(17)).unwrap_err().to_string();
    assert!(text.contains("needs 18 MiB of RAM where 17 MiB"), "{text}");
    let text = BootPlan::new(&with_ram(18)).unwrap_err().to_string();
    assert!(
        text.contains("initrd 'initrd.gz' needs 5000 bytes"),
        "{text}"
    );
    assert!(BootPlan::new(&with_ram(19)).is_ok());
    let far = BzImageHeader {
        preferred_address: u64::MAX - 5,
        init_size: u32::MAX,
        ..BzImageHeader::default()
    };
    let error = BootPlan::new(&request(far.build())).unwrap_err();
    assert!(matches!(error, BootError::TooLarge { .. }), "{error}");
}

#[test]
fn new_initrd_stays_below_the_kernels_limit_or_goes_above_4_gib() {
    let limited = BzImageHeader {
        initrd_max: 0x37ff_ffff,
        ..BzImageHeader::default()
    };
    let plan = BootPlan::new(&BootRequest {
        ram: PcRam::split(3 << 30),
        ..request(limited.build())
    });
    let initrd = plan.unwrap().initrd().unwrap();
    assert_eq!(initrd.base.raw(), 0x3800_0000 - 8192);
    let tight = BzImageHeader {
        initrd_max: 0x120_0fff,
        ..BzImageHeader::default()
    };
    let request = BootRequest {
        ram: PcRam::split(3 << 30),
        ..request(tight.build())
    };
    let loaded = Loaded::new(&request);
    let initrd = loaded.plan.initrd().unwrap();
    assert_eq!(initrd.base.raw(), (5 << 30) - 8192);
    let zero_page = loaded.plan.entry().general.rsi;
    assert_eq!(loaded.u32(zero_page + 0xc0), 1);
}

#[test]
fn new_long_command_line_is_refused_by_the_kernels_limit() {
    let mut request = request(samples::bzimage());
    request.command_line = "x".repeat(2047);
    assert!(BootPlan::new(&request).is_ok());
    request.command_line.push('x');
    let text = BootPlan::new(&request).unwrap_err().to_string();
    assert!(text.contains("2048 bytes of at most 2047"), "{text}");
}

#[test]
fn new_pvh_kernel_gets_its_start_info() {
    let kernel = elf_kernel(0x100_0000, Some(0x100_0040), &[0xf4; 100]);
    let loaded = Loaded::new(&request(kernel));
    let entry = loaded.plan.entry();
    assert_eq!(
        (entry.mode, entry.rip),
        (EntryMode::Protected32, 0x100_0040)
    );
    assert_eq!((entry.cs.attributes, entry.data.attributes), (0xc9b, 0xc93));
    let info = entry.general.rbx;
    assert_eq!((loaded.u32(info), loaded.u32(info + 4)), (0x336e_c578, 1));
    assert_eq!(loaded.text(loaded.u64(info + 24)), "console=ttyS0");
    assert_eq!(loaded.u64(info + 32), RSDP.raw());
    assert_eq!(loaded.u32(info + 12), 1);
    let module = loaded.u64(info + 16);
    let initrd = loaded.plan.initrd().unwrap();
    assert_eq!(loaded.u64(module), initrd.base.raw());
    assert_eq!(loaded.u64(module + 8), 5000);
    let (map, entries) = (loaded.u64(info + 40), loaded.u32(info + 48));
    assert_eq!(entries as usize, loaded.plan.memory_map().len());
    assert_eq!((loaded.u64(map), loaded.u64(map + 8)), (0, 0x9_fc00));
    assert_eq!((loaded.u32(map + 16), loaded.u32(map + 24 + 16)), (1, 2));
    assert_eq!(loaded.bytes(0x100_0000, 100), [0xf4; 100]);
}

#[test]
fn new_elf_without_an_entry_for_loaders_is_refused() {
    let text = BootPlan::new(&request(elf_kernel(0x100_0000, None, &[0; 100])))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("neither a PVH entry nor a multiboot"),
        "{text}"
    );
}

#[test]
fn new_elf_in_the_displays_window_or_on_the_boot_information_is_refused() {
    for addr in [0xa_0000, 0x9_f000, 256 * MIB - 0x1000] {
        let error = BootPlan::new(&request(elf_kernel(addr, Some(addr as u32), &[0; 4])));
        let error = error.unwrap_err();
        assert!(matches!(error, BootError::OutsideRam { .. }), "{error}");
    }
    let text = BootPlan::new(&request(elf_kernel(0x1_0000, Some(0x1_0000), &[0; 4])))
        .unwrap_err()
        .to_string();
    assert!(text.contains("kernel and the boot information"), "{text}");
}

#[test]
fn new_multiboot_1_elf_gets_its_information() {
    let mut content = multiboot_one(0b11);
    content.resize(200, 0xf4);
    let loaded = Loaded::new(&request(elf_kernel(0x40_0000, None, &content)));
    let entry = loaded.plan.entry();
    assert_eq!((entry.rip, entry.general.rax), (0x40_0000, 0x2bad_b002));
    let info = entry.general.rbx;
    assert_eq!(loaded.u32(info), 0b10_0100_1101);
    assert_eq!(loaded.u32(info + 8), 255 * 1024);
    assert_eq!(loaded.text(loaded.u32(info + 16).into()), "console=ttyS0");
    let module = u64::from(loaded.u32(info + 24));
    let initrd = loaded.plan.initrd().unwrap();
    assert_eq!(u64::from(loaded.u32(module)), initrd.base.raw());
    assert_eq!(u64::from(loaded.u32(module + 4)), initrd.end().raw());
    let map = u64::from(loaded.u32(info + 48));
    assert_eq!((loaded.u32(map), loaded.u64(map + 12)), (20, 0x9_fc00));
    assert_eq!(loaded.u32(map + 24), 20);
    assert_eq!(loaded.text(loaded.u32(info + 64).into()), "vm-boot");
}

#[test]
fn new_multiboot_1_with_addresses_is_loaded_by_them() {
    let mut file = vec![0x11; 16];
    file.extend(multiboot_one(1 << 16));
    for word in [0x10_0010_u32, 0x10_0008, 0x10_0100, 0x10_0200, 0x10_0080] {
        file.extend(word.to_le_bytes());
    }
    file.resize(16 + 0x108, 0x22);
    let loaded = Loaded::new(&request(file));
    assert_eq!(loaded.plan.entry().rip, 0x10_0080);
    assert_eq!(loaded.bytes(0x10_0008, 8), [0x11; 8]);
    assert_eq!(loaded.u32(0x10_0010), 0x1bad_b002);
    assert_eq!(loaded.bytes(0x10_00ff, 2), [0x22, 0]);
}

#[test]
fn from_file_multiboot_headers_that_contradict_themselves_are_refused() {
    let refusal = |bytes: Vec<u8>| try_program(bytes).unwrap_err().to_string();
    let with_addresses = |words: [u32; 5]| {
        let mut file = multiboot_one(1 << 16);
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.resize(100, 0);
        file
    };
    for words in [
        [0x10_0000, 0x10_0004, 0, 0, 0x10_0000],
        [0x10_0000, 0x0f_0000, 0, 0, 0x10_0000],
        [0x10_0000, 0x10_0000, 0x20_0000, 0, 0x10_0000],
        [0x10_0000, 0x10_0000, 0x10_0040, 0x10_0020, 0x10_0000],
    ] {
        let text = refusal(with_addresses(words));
        assert!(text.contains("damaged"), "{text}");
    }
    assert!(refusal(multiboot_one(1 << 16)).contains("cut off"));
    assert!(refusal(multiboot_one(0)).contains("does not say where"));
    assert!(refusal(multiboot_one(1 << 5)).contains("features that are not there"));
    let unknown = [99, 0, 0, 0, 8, 0, 0, 0];
    assert!(refusal(multiboot_two(&unknown)).contains("header tag 99"));
}

#[test]
fn new_multiboot_2_gets_tags_with_acpi() {
    let end = [0, 0, 0, 0, 8, 0, 0, 0];
    let mut content = multiboot_two(&end);
    content.resize(200, 0xf4);
    let loaded = Loaded::new(&request(elf_kernel(0x40_0000, None, &content)));
    let entry = loaded.plan.entry();
    assert_eq!(entry.general.rax, 0x36d7_6289);
    let info = entry.general.rbx;
    let (mut at, mut kinds) = (info + 8, Vec::new());
    while at < info + u64::from(loaded.u32(info)) {
        let (kind, size) = (loaded.u32(at), u64::from(loaded.u32(at + 4)));
        match kind {
            1 => assert_eq!(loaded.text(at + 8), "console=ttyS0"),
            15 => assert_eq!(loaded.bytes(at + 8, 36), [0xac; 36]),
            _ => {}
        }
        kinds.push(kind);
        at += size.next_multiple_of(8);
    }
    assert_eq!(kinds, [1, 2, 4, 3, 6, 14, 15, 0]);
}

proptest! {
    #[test]
    fn new_any_bzimage_header_gives_a_sound_plan_or_an_error(
        protocol in 0x200..0x210_u16,
        load_flags in any::<u8>(),
        extra_load_flags in any::<u16>(),
        initrd_max in any::<u32>(),
        command_line_max in any::<u32>(),
        preferred_address in prop_oneof![Just(0x100_0000), any::<u64>(), 0..(1_u64 << 33)],
        init_size in any::<u32>(),
        ram_mib in 1..6000_u64,
    ) {
        let header = BzImageHeader {
            protocol, load_flags, extra_load_flags, initrd_max, command_line_max, preferred_address, init_size,
        };
        let Ok(kernel) = try_program(header.build()) else { return Ok(()) };
        let ram = PcRam::split(ram_mib * MIB);
        let request = BootRequest { kernel, ram, ..request(samples::bzimage()) };
        if let Ok(plan) = BootPlan::new(&request) {
            let initrd = plan.initrd().unwrap();
            let (kernel, low) = (&plan.parts[0].extent, ram.low());
            prop_assert!(low.contains(kernel.base, kernel.bytes));
            let high = Extent { base: HIGH_RAM_BASE, bytes: ram.high_bytes };
            prop_assert!(low.contains(initrd.base, initrd.bytes) || high.contains(initrd.base, initrd.bytes));
            prop_assert!(kernel.end() <= initrd.base);
        }
    }

    #[test]
    fn from_file_any_bytes_behind_a_multiboot_magic_are_an_answer(
        version in any::<bool>(),
        words in proptest::collection::vec(any::<u32>(), 2..16),
        sound in any::<bool>(),
    ) {
        let mut words = words;
        words.insert(0, if version { 0xe852_50d6 } else { 0x1bad_b002 });
        if sound {
            let checked = if version { 4.min(words.len()) } else { 3 };
            let sum = words[..checked - 1].iter().fold(0_u32, |sum, word| sum.wrapping_add(*word));
            words[checked - 1] = 0_u32.wrapping_sub(sum);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if let Ok(kernel) = try_program(bytes) {
            let request = BootRequest { kernel, ..request(samples::bzimage()) };
            let _ = BootPlan::new(&request);
        }
    }
}
