//! What a program entered by a multiboot protocol is told (Multiboot 0.6.96, 3.3; Multiboot2 2.0, 3.6).

use vm_core::GuestPhysAddr;

use super::memory_map::MapEntry;
use crate::Extent;
use crate::image::MultibootVersion;

/// EAX at the entry.
const MAGIC_ONE: u32 = 0x2bad_b002;
const MAGIC_TWO: u32 = 0x36d7_6289;

const LOADER_NAME: &[u8] = b"vm-boot\0";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Length of the information of version 1, up to and with the frame buffer's fields.
const INFO_ONE_BYTES: usize = 116;
/// Length of a module's entry of version 1.
const MODULE_ONE_BYTES: usize = 16;
/// Length of a map entry of version 1, without its size field.
const MAP_ENTRY_ONE_BYTES: u32 = 20;
/// Length of a map entry of version 2.
const MAP_ENTRY_TWO_BYTES: u32 = 24;

/// Flags of version 1: memory sizes, command line, modules, map and loader name are valid.
const HAS_MEMORY: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// Tags of version 2.
const TAG_END: u32 = 0;
const TAG_COMMAND_LINE: u32 = 1;
const TAG_LOADER_NAME: u32 = 2;
const TAG_MODULE: u32 = 3;
const TAG_MEMORY: u32 = 4;
const TAG_MAP: u32 = 6;
const TAG_ACPI_OLD: u32 = 14;
const TAG_ACPI_NEW: u32 = 15;

/// Length of ACPI's root pointer of version 1, which begins the one of version 2.
const RSDP_OLD_BYTES: usize = 20;

/// What the loader tells the program.
pub(super) struct MultibootInfo<'a> {
    /// The command line, NUL-terminated in memory.
    pub(super) command_line: GuestPhysAddr,
    pub(super) command_line_text: &'a str,
    pub(super) initrd: Option<Extent>,
    /// ACPI's root pointer, of version 2.
    pub(super) rsdp: Option<&'a [u8]>,
    /// RAM below 640 KiB, and from 1 MiB on, in bytes.
    pub(super) conventional_bytes: u64,
    pub(super) extended_bytes: u64,
    pub(super) map: &'a [MapEntry],
}

/// EAX at the entry.
pub(super) const fn magic(version: MultibootVersion) -> u32 {
    match version {
        MultibootVersion::One => MAGIC_ONE,
        MultibootVersion::Two => MAGIC_TWO,
    }
}

impl MultibootInfo<'_> {
    /// The information for address `at`, with all that it points to behind it.
    pub(super) fn to_bytes(&self, version: MultibootVersion, at: GuestPhysAddr) -> Vec<u8> {
        match version {
            MultibootVersion::One => self.one(at.raw() as u32),
            MultibootVersion::Two => self.two(),
        }
    }

    fn kib(&self) -> [u32; 2] {
        [self.conventional_bytes, self.extended_bytes].map(|bytes| (bytes / KIB) as u32)
    }

    fn one(&self, at: u32) -> Vec<u8> {
        let modules = at + INFO_ONE_BYTES as u32;
        let map = modules + MODULE_ONE_BYTES as u32;
        let map_bytes = (MAP_ENTRY_ONE_BYTES + 4) * self.map.len() as u32;
        let loader_name = map + map_bytes;
        let [lower, upper] = self.kib();
        let mut flags = HAS_MEMORY | HAS_COMMAND_LINE | HAS_MAP | HAS_LOADER_NAME;
        if self.initrd.is_some() {
            flags |= HAS_MODULES;
        }
        let mut bytes = vec![0; INFO_ONE_BYTES];
        let fields = [
            (0, flags),
            (4, lower),
            (8, upper),
            (16, self.command_line.raw() as u32),
            (20, u32::from(self.initrd.is_some())),
            (24, modules),
            (44, map_bytes),
            (48, map),
            (64, loader_name),
        ];
        for (offset, value) in fields {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        let (start, end) = self.initrd.map_or((0, 0), |initrd| {
            (initrd.base.raw() as u32, initrd.end().raw() as u32)
        });
        for value in [start, end, 0, 0] {
            bytes.extend(value.to_le_bytes());
        }
        for entry in self.map {
            bytes.extend(MAP_ENTRY_ONE_BYTES.to_le_bytes());
            bytes.extend(entry.to_bytes());
        }
        bytes.extend(LOADER_NAME);
        bytes
    }

    fn two(&self) -> Vec<u8> {
        // Total length and a reserved word come first.
        let mut bytes = vec![0; 8];
        let command_line = [self.command_line_text.as_bytes(), b"\0"].concat();
        tag(&mut bytes, TAG_COMMAND_LINE, &command_line);
        tag(&mut bytes, TAG_LOADER_NAME, LOADER_NAME);
        tag(&mut bytes, TAG_MEMORY, &words(&self.kib()));
        if let Some(initrd) = self.initrd {
            let place = words(&[initrd.base.raw() as u32, initrd.end().raw() as u32]);
            tag(&mut bytes, TAG_MODULE, &[&place[..], b"\0"].concat());
        }
        let mut map = words(&[MAP_ENTRY_TWO_BYTES, 0]);
        for entry in self.map {
            map.extend(entry.to_bytes());
            map.extend([0; 4]);
        }
        tag(&mut bytes, TAG_MAP, &map);
        if let Some(rsdp) = self.rsdp {
            tag(
                &mut bytes,
                TAG_ACPI_OLD,
                &rsdp[..RSDP_OLD_BYTES.min(rsdp.len())],
            );
            tag(&mut bytes, TAG_ACPI_NEW, rsdp);
        }
        tag(&mut bytes, TAG_END, &[]);
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes
    }
}

/// RAM from 1 MiB on up to the end of RAM below 4 GiB.
pub(super) const fn extended_bytes(low_bytes: u64) -> u64 {
    low_bytes.saturating_sub(MIB)
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Appends a tag; tags begin at multiples of 8.
fn tag(bytes: &mut Vec<u8>, kind: u32, content: &[u8]) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(words(&[kind, 8 + content.len() as u32]));
    bytes.extend(content);
}
