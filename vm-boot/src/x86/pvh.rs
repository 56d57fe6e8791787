//! What a kernel entered by the PVH protocol is told: `hvm_start_info` and what it points to (Xen
//! `public/arch-x86/hvm/start_info.h`, `docs/misc/pvh.pandoc`).

use vm_core::GuestPhysAddr;

use super::memory_map::MapEntry;
use crate::Extent;

const MAGIC: u32 = 0x336e_c578;
/// The version with a memory map.
const VERSION: u32 = 1;
const START_INFO_BYTES: usize = 56;
const MODULE_BYTES: usize = 32;
const MAP_ENTRY_BYTES: usize = 24;

/// What the loader tells the kernel.
pub(super) struct StartInfo<'a> {
    /// The command line, NUL-terminated in memory.
    pub(super) command_line: GuestPhysAddr,
    pub(super) initrd: Option<Extent>,
    pub(super) rsdp: Option<GuestPhysAddr>,
    pub(super) map: &'a [MapEntry],
}

impl StartInfo<'_> {
    /// The structure for address `at`, with module list and memory map behind it.
    pub(super) fn to_bytes(&self, at: GuestPhysAddr) -> Vec<u8> {
        let modules = at + START_INFO_BYTES as u64;
        let map = modules + MODULE_BYTES as u64;
        let mut bytes = Vec::with_capacity(4096);
        let half = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
        let word = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
        half(&mut bytes, MAGIC);
        half(&mut bytes, VERSION);
        half(&mut bytes, 0);
        half(&mut bytes, u32::from(self.initrd.is_some()));
        word(&mut bytes, modules.raw());
        word(&mut bytes, self.command_line.raw());
        word(&mut bytes, self.rsdp.map_or(0, GuestPhysAddr::raw));
        word(&mut bytes, map.raw());
        half(&mut bytes, self.map.len() as u32);
        half(&mut bytes, 0);

        let (base, length) = self
            .initrd
            .map_or((0, 0), |initrd| (initrd.base.raw(), initrd.bytes));
        for value in [base, length, 0, 0] {
            word(&mut bytes, value);
        }
        for entry in self.map {
            bytes.extend(entry.to_bytes());
            half(&mut bytes, 0);
        }
        debug_assert_eq!(
            bytes.len(),
            START_INFO_BYTES + MODULE_BYTES + MAP_ENTRY_BYTES * self.map.len()
        );
        bytes
    }
}
