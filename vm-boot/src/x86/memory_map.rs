//! RAM of a PC, and the map of it that guests get (ACPI 6.5, 15: system address map; the `e820` of the BIOS).

use vm_core::GuestPhysAddr;

use crate::Extent;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// First address of RAM above the devices' window.
pub const HIGH_RAM_BASE: GuestPhysAddr = GuestPhysAddr(4 * GIB);
/// RAM below 4 GiB at most; what is more lies above it. All firmware that stock machines run accepts this split.
pub const LOW_RAM_MAX_BYTES: u64 = 2 * GIB;
/// Where the BIOS' own data would begin, at the end of conventional memory.
pub(super) const CONVENTIONAL_END: u64 = 0x9_fc00;
/// First address behind the window of display memory and BIOS.
const BIOS_END: u64 = MIB;
/// Where the window of display memory begins; what is between it and the tables is free for devices.
const DISPLAY_START: u64 = 0xa_0000;
/// Where tables that the system looks for are put.
pub const TABLES_START: GuestPhysAddr = GuestPhysAddr(0xe_0000);

/// RAM of a PC: from address 0 on, and from 4 GiB on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PcRam {
    /// Bytes from address 0.
    pub low_bytes: u64,
    /// Bytes from 4 GiB; may be 0.
    pub high_bytes: u64,
}

impl PcRam {
    /// Divides `bytes` of RAM.
    pub const fn split(bytes: u64) -> Self {
        let low_bytes = match bytes < LOW_RAM_MAX_BYTES {
            true => bytes,
            false => LOW_RAM_MAX_BYTES,
        };
        Self {
            low_bytes,
            high_bytes: bytes - low_bytes,
        }
    }

    /// The ranges, as guest memory is made of them.
    pub fn ranges(self) -> Vec<(GuestPhysAddr, u64)> {
        let mut ranges = vec![(GuestPhysAddr(0), self.low_bytes)];
        if self.high_bytes > 0 {
            ranges.push((HIGH_RAM_BASE, self.high_bytes));
        }
        ranges
    }

    /// RAM from address 0.
    pub const fn low(self) -> Extent {
        Extent {
            base: GuestPhysAddr(0),
            bytes: self.low_bytes,
        }
    }
}

/// What a range of the map is for (ACPI 6.5, table 15.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum MapKind {
    /// RAM that the system may use.
    Ram = 1,
    /// Not for the system.
    Reserved = 2,
}

/// A range of the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapEntry {
    /// Where.
    pub extent: Extent,
    /// What for.
    pub kind: MapKind,
}

impl MapEntry {
    /// The range as the BIOS, the Linux boot protocol and QEMU's `etc/e820` have it: 20 bytes.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.extent.base.raw().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.extent.bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes
    }
}

const fn entry(base: u64, end: u64, kind: MapKind) -> MapEntry {
    MapEntry {
        extent: Extent {
            base: GuestPhysAddr(base),
            bytes: end.saturating_sub(base),
        },
        kind,
    }
}

/// The map for a system that is started without firmware: RAM, the BIOS' place with the tables, and `reserved`
/// ranges of devices, in order of address.
pub fn boot_map(ram: PcRam, reserved: &[Extent]) -> Vec<MapEntry> {
    let mut map = vec![
        entry(0, CONVENTIONAL_END, MapKind::Ram),
        entry(CONVENTIONAL_END, DISPLAY_START, MapKind::Reserved),
        entry(TABLES_START.raw(), BIOS_END, MapKind::Reserved),
        entry(BIOS_END, ram.low_bytes, MapKind::Ram),
    ];
    map.extend(firmware_map(ram, reserved).into_iter().skip(1));
    map.sort_by_key(|entry| entry.extent.base);
    map
}

/// The map for firmware (`etc/e820`), which makes its own of it: RAM, and `reserved` ranges of devices.
pub fn firmware_map(ram: PcRam, reserved: &[Extent]) -> Vec<MapEntry> {
    let mut map: Vec<MapEntry> = ram
        .ranges()
        .iter()
        .map(|&(base, bytes)| entry(base.raw(), base.raw() + bytes, MapKind::Ram))
        .collect();
    map.extend(reserved.iter().map(|&extent| MapEntry {
        extent,
        kind: MapKind::Reserved,
    }));
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_puts_what_exceeds_two_gib_above_four() {
        let split = |mib: u64| {
            let ram = PcRam::split(mib * MIB);
            (ram.low_bytes / MIB, ram.high_bytes / MIB)
        };
        assert_eq!(split(512), (512, 0));
        assert_eq!(split(2048), (2048, 0));
        assert_eq!(split(5000), (2048, 2952));
    }

    #[test]
    fn boot_map_is_sorted_apart_and_leaves_the_display_out() {
        let ecam = Extent {
            base: GuestPhysAddr(0xb000_0000),
            bytes: 256 * MIB,
        };
        let map = boot_map(PcRam::split(3 << 30), &[ecam]);
        for pair in map.windows(2) {
            assert!(pair[0].extent.end() <= pair[1].extent.base, "{map:x?}");
        }
        let ram: u64 = map
            .iter()
            .filter(|entry| entry.kind == MapKind::Ram)
            .map(|entry| entry.extent.bytes)
            .sum();
        assert_eq!(ram, (3 << 30) - (MIB - CONVENTIONAL_END));
        assert!(
            map.iter()
                .all(|e| !e.extent.contains(GuestPhysAddr(0xb_8000), 1))
        );
        assert!(
            map.iter()
                .any(|e| e.extent == ecam && e.kind == MapKind::Reserved)
        );
        let bytes = map[0].to_bytes();
        assert_eq!(bytes[8..12], 0x9_fc00_u32.to_le_bytes());
        assert_eq!(bytes[16..], [1, 0, 0, 0]);
    }
}
