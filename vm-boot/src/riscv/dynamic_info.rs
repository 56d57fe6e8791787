//! What the reset vector tells OpenSBI's `fw_dynamic` of the next stage (OpenSBI 1.6,
//! `include/sbi/fw_dynamic.h`, `docs/firmware/fw_dynamic.md`).

use vm_core::GuestPhysAddr;

/// Length of the structure in memory.
pub const DYNAMIC_INFO_BYTES: usize = 48;

/// "OSBI", little-endian.
const MAGIC: u64 = 0x4942_534f;
/// Version with the boot hart.
const VERSION: u64 = 2;

/// Privilege mode in which the firmware starts the next stage (encoding of `mstatus.MPP`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum NextMode {
    /// Supervisor mode.
    Supervisor = 1,
    /// Machine mode.
    Machine = 3,
}

/// The structure that `a2` points to at the entry of `fw_dynamic`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DynamicInfo {
    /// Entry of the next stage.
    pub next_addr: GuestPhysAddr,
    /// Mode in which it starts.
    pub next_mode: NextMode,
    /// Hart that does the boot; the others wait in the firmware.
    pub boot_hart: u64,
}

impl DynamicInfo {
    /// The structure as it lies in memory: six 64-bit words.
    pub fn to_bytes(self) -> [u8; DYNAMIC_INFO_BYTES] {
        let options = 0;
        let words = [
            MAGIC,
            VERSION,
            self.next_addr.raw(),
            self.next_mode as u64,
            options,
            self.boot_hart,
        ];
        let mut bytes = [0; DYNAMIC_INFO_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_bytes_has_opensbi_field_order() {
        let info = DynamicInfo {
            next_addr: GuestPhysAddr(0x8020_0000),
            next_mode: NextMode::Supervisor,
            boot_hart: 3,
        };
        let bytes = info.to_bytes();
        assert_eq!(&bytes[..4], b"OSBI");
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|w| u64::from_le_bytes(w.try_into().unwrap()))
            .collect();
        assert_eq!(words[1..], [2, 0x8020_0000, 1, 0, 3]);
    }
}
