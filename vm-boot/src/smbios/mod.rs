//! SMBIOS structures of a PC: what the machine is called and how much memory it has, for inventories and for systems
//! that tell virtual machines by them.
//!
//! Specification: DMTF DSP0134 (SMBIOS) 3.6; the entry point is the 32-bit one of version 2.8, which all firmware takes.

mod structures;

use vm_core::GuestPhysAddr;

use crate::acpi::FwCfgFiles;
use crate::x86::PcRam;
use crate::{BootError, Extent};

/// What the structures say of a PC.
#[derive(Clone, Debug)]
pub struct SystemIdentity {
    /// Manufacturer of the machine.
    pub manufacturer: String,
    /// Its product name.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Its number in the order in which it is written, when it has one.
    pub uuid: Option<[u8; 16]>,
    /// Number of processors, which are cores of one package.
    pub cpus: u32,
    /// EAX and EDX of CPUID leaf 1.
    pub processor_id: [u32; 2],
    /// RAM.
    pub ram: PcRam,
}

/// Where anchor and structures for a start without firmware go; systems look for the anchor from the start of it.
const PLACE: Extent = Extent {
    base: GuestPhysAddr(0xf_0000),
    bytes: 0x1_0000,
};
/// Length of the anchor.
const ANCHOR_BYTES: usize = 31;
/// Where the structures begin behind the anchor.
const STRUCTURES: GuestPhysAddr = GuestPhysAddr(PLACE.base.raw() + 32);

/// The anchor's fields, by offset (DSP0134, 5.2.1).
const CHECKSUM: usize = 4;
const INTERMEDIATE: usize = 16;
const INTERMEDIATE_CHECKSUM: usize = 21;
const TABLE_ADDRESS: usize = 24;
const MAJOR: u8 = 2;
const MINOR: u8 = 8;

/// The structures of a PC, with the anchor that leads to them.
#[derive(Clone, Debug)]
pub struct SmbiosTables {
    structures: Vec<u8>,
    count: u16,
    largest: u16,
}

impl SmbiosTables {
    /// Makes the structures.
    pub fn new(identity: &SystemIdentity) -> Self {
        let all = structures::all(identity);
        let largest = all.iter().map(Vec::len).max().unwrap_or(0);
        Self {
            count: all.len() as u16,
            largest: largest as u16,
            structures: all.concat(),
        }
    }

    /// Anchor and structures for a start without firmware, below 1 MiB where systems look for them.
    ///
    /// # Errors
    /// When names are so long that the structures do not fit.
    pub fn placed(&self) -> Result<Vec<(GuestPhysAddr, Vec<u8>)>, BootError> {
        let bytes = self.structures.len() as u64;
        if !PLACE.contains(STRUCTURES, bytes) {
            let room = PLACE.end() - STRUCTURES;
            return Err(BootError::TablesTooLarge { bytes, room });
        }
        let anchor = self.anchor(STRUCTURES.raw() as u32);
        Ok(vec![
            (PLACE.base, anchor),
            (STRUCTURES, self.structures.clone()),
        ])
    }

    /// Anchor and structures for firmware, as files of `fw_cfg`; firmware puts the address in.
    pub fn fw_cfg_files(&self) -> FwCfgFiles {
        FwCfgFiles {
            files: vec![
                ("etc/smbios/smbios-anchor", self.anchor(0)),
                ("etc/smbios/smbios-tables", self.structures.clone()),
            ],
        }
    }

    fn anchor(&self, structures_at: u32) -> Vec<u8> {
        let mut bytes = vec![0; ANCHOR_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"_SM_");
        put(5, &[ANCHOR_BYTES as u8, MAJOR, MINOR]);
        put(8, &self.largest.to_le_bytes());
        put(INTERMEDIATE, b"_DMI_");
        put(22, &(self.structures.len() as u16).to_le_bytes());
        put(TABLE_ADDRESS, &structures_at.to_le_bytes());
        put(28, &self.count.to_le_bytes());
        put(30, &[MAJOR << 4 | MINOR]);
        for (start, at) in [(INTERMEDIATE, INTERMEDIATE_CHECKSUM), (0, CHECKSUM)] {
            let sum = bytes[start..]
                .iter()
                .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            bytes[at] = 0_u8.wrapping_sub(sum);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
