use std::collections::BTreeMap;
use std::process::Command;

use super::*;

fn layout() -> PcLayout {
    let extent = |base, bytes| Extent {
        base: GuestPhysAddr(base),
        bytes,
    };
    PcLayout {
        cpus: 4,
        local_apic: GuestPhysAddr(0xfee0_0000),
        io_apic: GuestPhysAddr(0xfec0_0000),
        hpet: Some(GuestPhysAddr(0xfed0_0000)),
        ecam: extent(0xb000_0000, 256 << 20),
        pci_memory_32: extent(0xc000_0000, 0x3ec0_0000),
        pci_memory_64: Some(extent(0x8_0000_0000, 32 << 30)),
        pci_gsi: 16,
        pm_base: 0x600,
        sci_irq: 9,
        smi_command: None,
        s5_sleep_type: 0,
        serial: vec![
            SerialPort {
                first: 0x3f8,
                irq: 4,
            },
            SerialPort {
                first: 0x2f8,
                irq: 3,
            },
        ],
        has_i8042: true,
        has_vga: false,
        fw_cfg: Some(0x510),
        pvpanic: Some(0x505),
    }
}

/// Guest memory as far as the tables write it.
struct Memory(Vec<(GuestPhysAddr, Vec<u8>)>);

impl Memory {
    fn placed(layout: &PcLayout) -> Self {
        Self(AcpiTables::new(layout).placed().unwrap().parts)
    }

    fn at(&self, addr: u64) -> &[u8] {
        let inside = |(base, bytes): &&(GuestPhysAddr, Vec<u8>)| {
            (base.raw()..base.raw() + bytes.len() as u64).contains(&addr)
        };
        let (base, bytes) = self.0.iter().find(inside).expect("address is in a table");
        &bytes[(addr - base.raw()) as usize..]
    }

    fn u32(&self, addr: u64) -> u32 {
        u32::from_le_bytes(self.at(addr)[..4].try_into().unwrap())
    }

    fn u64(&self, addr: u64) -> u64 {
        u64::from_le_bytes(self.at(addr)[..8].try_into().unwrap())
    }

    /// A table with its length, checksum verified unless it is the FACS.
    fn table(&self, addr: u64) -> &[u8] {
        let table = &self.at(addr)[..self.u32(addr + 4) as usize];
        if !table.starts_with(b"FACS") {
            assert_eq!(sum(table), 0, "{:?}", &table[..4]);
        }
        table
    }

    /// All tables by signature, found as a system finds them.
    fn tables(&self) -> BTreeMap<String, Vec<u8>> {
        let root = PLACE.base.raw();
        assert_eq!(&self.at(root)[..8], b"RSD PTR ");
        assert_eq!(
            (sum(&self.at(root)[..20]), sum(&self.at(root)[..36])),
            (0, 0)
        );
        let (rsdt, xsdt) = (u64::from(self.u32(root + 16)), self.u64(root + 24));
        let old: Vec<u64> = (36..self.table(rsdt).len() as u64)
            .step_by(4)
            .map(|at| self.u32(rsdt + at).into())
            .collect();
        let new: Vec<u64> = (36..self.table(xsdt).len() as u64)
            .step_by(8)
            .map(|at| self.u64(xsdt + at))
            .collect();
        assert_eq!(old, new);
        let fadt = new[0];
        let (facs, dsdt) = (
            u64::from(self.u32(fadt + 36)),
            u64::from(self.u32(fadt + 40)),
        );
        // Only one of the addresses of the FACS may be given.
        assert_eq!((self.u64(fadt + 132), self.u64(fadt + 140)), (0, dsdt));
        assert_eq!(facs % 64, 0);
        [rsdt, xsdt, facs, dsdt]
            .iter()
            .chain(&new)
            .map(|&at| {
                let table = self.table(at).to_vec();
                (String::from_utf8(table[..4].to_vec()).unwrap(), table)
            })
            .collect()
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[test]
fn placed_tables_are_found_from_the_root_pointer() {
    let tables = Memory::placed(&layout()).tables();
    let names: Vec<_> = tables.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "RSDT", "WAET", "XSDT"
        ]
    );
    let fadt = &tables["FACP"];
    assert_eq!(fadt.len(), 244);
    let u32_at = |at: usize| u32::from_le_bytes(fadt[at..at + 4].try_into().unwrap());
    assert_eq!([56, 64, 76, 80].map(u32_at), [0x600, 0x604, 0x608, 0x620]);
    // Reset register and value, flags of the PC architecture.
    assert_eq!((u32_at(116 + 4), fadt[128]), (0xcf9, 0x0f));
    assert_eq!(fadt[109], 0b111);
}

#[test]
fn placed_madt_has_every_processor() {
    for cpus in [1, 8, 300] {
        let tables = Memory::placed(&PcLayout { cpus, ..layout() }).tables();
        let madt = &tables["APIC"];
        let (mut at, mut found) = (44, 0);
        while at < madt.len() {
            match (madt[at], madt[at + 1]) {
                (0, 8) | (9, 16) => found += 1,
                _ => {}
            }
            at += usize::from(madt[at + 1]);
        }
        assert_eq!((found, at), (cpus, madt.len()));
    }
}

#[test]
fn placed_too_many_processors_are_refused() {
    let many = AcpiTables::new(&PcLayout {
        cpus: 4000,
        ..layout()
    });
    let text = many.placed().unwrap_err().to_string();
    assert!(text.contains("fewer processors"), "{text}");
}

#[test]
fn new_without_optional_devices_leaves_their_tables_out() {
    let bare = PcLayout {
        hpet: None,
        pci_memory_64: None,
        serial: Vec::new(),
        has_i8042: false,
        has_vga: true,
        fw_cfg: None,
        pvpanic: None,
        ..layout()
    };
    let tables = Memory::placed(&bare).tables();
    assert!(!tables.contains_key("HPET"));
    assert_eq!(tables["FACP"][109], 0b001);
    let contains = |text: &[u8]| tables["DSDT"].windows(text.len()).any(|part| part == text);
    assert!(contains(b"PCI0") && !contains(b"QEMU0002") && !contains(b"COM1"));
    assert!(!contains(b"QEMU0001"));
    let all = Memory::placed(&layout()).tables();
    let contains = |text: &[u8]| all["DSDT"].windows(text.len()).any(|part| part == text);
    assert!(contains(b"QEMU0001") && contains(b"QEMU0002"));
}

/// Firmware that runs the loader's script (QEMU 10.0, `hw/acpi/bios-linker-loader.c`).
#[test]
fn fw_cfg_files_linked_by_their_script_are_the_placed_tables() {
    let tables = AcpiTables::new(&layout());
    let placed = tables.placed().unwrap().parts;
    let files = tables.fw_cfg_files().files;
    let mut memory: BTreeMap<&str, (u64, Vec<u8>)> = BTreeMap::new();
    let (_, script) = files
        .iter()
        .find(|(name, _)| *name == "etc/table-loader")
        .unwrap();
    assert_eq!(script.len() % 128, 0);
    for command in script.chunks(128) {
        let name = |at: usize| {
            let bytes = &command[at..at + 56];
            let end = bytes.iter().position(|&byte| byte == 0).unwrap();
            std::str::from_utf8(&bytes[..end]).unwrap()
        };
        let word = |at: usize| u32::from_le_bytes(command[at..at + 4].try_into().unwrap()) as usize;
        match word(0) {
            1 => {
                let (file, bytes) = files.iter().find(|(known, _)| *known == name(4)).unwrap();
                let same_place = placed.iter().find(|(_, part)| part.len() == bytes.len());
                let (base, _) = same_place.unwrap();
                assert_eq!(base.raw() % word(60) as u64, 0);
                memory.insert(file, (base.raw(), bytes.clone()));
            }
            2 => {
                let (target, _) = memory[name(60)];
                let (at, width) = (word(116), usize::from(command[120]));
                let bytes = &mut memory.get_mut(name(4)).unwrap().1[at..at + width];
                let mut value = [0; 8];
                value[..width].copy_from_slice(bytes);
                let address = u64::from_le_bytes(value) + target;
                bytes.copy_from_slice(&address.to_le_bytes()[..width]);
            }
            3 => {
                let bytes = &mut memory.get_mut(name(4)).unwrap().1;
                let (at, start, length) = (word(60), word(64), word(68));
                bytes[at] = bytes[at].wrapping_sub(sum(&bytes[start..start + length]));
            }
            other => panic!("command {other}"),
        }
    }
    for (base, bytes) in &placed {
        let (_, linked) = memory.values().find(|(at, _)| *at == base.raw()).unwrap();
        assert_eq!(linked, bytes);
    }
}

/// Intel's own compiler takes the tables apart, and puts the DSDT together again without a complaint.
#[test]
fn new_tables_please_iasl() {
    if Command::new("iasl").arg("-v").output().is_err() {
        println!("skipped: iasl is missing; install the package acpica-tools");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let iasl = |arguments: &[&str]| {
        let run = Command::new("iasl")
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = [run.stdout, run.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
        let text = text.concat();
        assert!(run.status.success(), "{text}");
        text
    };
    for (name, bytes) in Memory::placed(&layout()).tables() {
        let file = format!("{}.aml", name.to_lowercase());
        std::fs::write(dir.path().join(&file), bytes).unwrap();
        let text = iasl(&["-d", &file]);
        for trouble in ["Error", "Warning", "nvalid", "nknown", "ncorrect"] {
            assert!(!text.contains(trouble), "{name}: {text}");
        }
        let source = file.replace(".aml", ".dsl");
        let source = std::fs::read_to_string(dir.path().join(source)).unwrap();
        for trouble in ["**** ", "nvalid", "ncorrect"] {
            assert!(!source.contains(trouble), "{name}: {source}");
        }
    }
    let text = iasl(&["-we", "dsdt.dsl"]);
    assert!(text.contains("0 Errors, 0 Warnings"), "{text}");
}
