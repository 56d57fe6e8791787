//! Read-only memory with fixed contents, such as the reset vector of the `virt` machine (MROM).
//!
//! It has no state, so nothing is saved or reset.

use vm_core::{AccessWidth, GuestPhysAddr};
use vm_mem::{GuestMemory, MemoryError};

use crate::BusDevice;

/// Why a ROM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RomError {
    /// The contents are longer than the ROM.
    #[error(
        "{contents_bytes} bytes do not fit into a ROM of {rom_bytes} bytes; use a smaller image"
    )]
    TooLong {
        /// Length of the contents.
        contents_bytes: u64,
        /// Size of the ROM.
        rom_bytes: u64,
    },
    /// The host would not give the memory, or the ROM is not made of whole pages.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// A ROM. Reads of any width and alignment see the contents in little-endian order; writes are ignored.
pub struct Rom {
    contents: GuestMemory,
    base: GuestPhysAddr,
    bytes: u64,
}

impl Rom {
    /// A ROM of `bytes` bytes at `base` (both whole 4 KiB pages) that starts with `contents` and is zero from
    /// there on.
    ///
    /// # Errors
    /// When the contents do not fit, or the host refuses the memory.
    pub fn new(base: GuestPhysAddr, bytes: u64, contents: &[u8]) -> Result<Self, RomError> {
        let contents_bytes = contents.len() as u64;
        if contents_bytes > bytes {
            return Err(RomError::TooLong {
                contents_bytes,
                rom_bytes: bytes,
            });
        }
        let memory = GuestMemory::new(&[(base, bytes)])?;
        memory.write(base, contents)?;
        Ok(Self {
            contents: memory,
            base,
            bytes,
        })
    }

    /// The contents at their guest-physical addresses, for executing in place: a virtual CPU may fetch and read
    /// from it directly, and must not write.
    pub fn memory(&self) -> &GuestMemory {
        &self.contents
    }

    /// Bytes of address space.
    pub fn range_bytes(&self) -> u64 {
        self.bytes
    }
}

impl BusDevice for Rom {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let mut bytes = [0; 8];
        let part = &mut bytes[..width.bytes() as usize];
        match self.contents.read(self.base + offset, part) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => 0,
        }
    }

    fn write(&self, _offset: u64, _width: AccessWidth, _value: u64) {}

    fn reset(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: GuestPhysAddr = GuestPhysAddr(0x1000);

    #[test]
    fn read_sees_the_contents_and_zeros_after() {
        let rom = Rom::new(BASE, 0xf000, &[0x97, 0x02, 0x00, 0x00, 0x13]).unwrap();
        assert_eq!(rom.read(0, AccessWidth::Word), 0x297);
        assert_eq!(rom.read(3, AccessWidth::Half), 0x1300);
        assert_eq!(rom.read(0xeff8, AccessWidth::Double), 0);
        rom.write(0, AccessWidth::Word, 0xffff_ffff);
        assert_eq!(rom.read(0, AccessWidth::Byte), 0x97);
        let mut fetched = [0; 2];
        rom.memory().read(BASE, &mut fetched).unwrap();
        assert_eq!(fetched, [0x97, 0x02]);
    }

    #[test]
    fn new_with_contents_too_long_is_refused() {
        let error = Rom::new(BASE, 0x1000, &[0; 0x1001]).err().unwrap();
        assert!(matches!(
            error,
            RomError::TooLong {
                contents_bytes: 0x1001,
                rom_bytes: 0x1000
            }
        ));
    }

    proptest::proptest! {
        #[test]
        fn fuzz_any_script_leaves_the_contents(script in crate::testing::script()) {
            let rom = Rom::new(BASE, 0x1000, b"unchanged").unwrap();
            crate::fuzzing::drive(&rom, rom.range_bytes(), &script);
            proptest::prop_assert_eq!(rom.read(0, AccessWidth::Double), u64::from_le_bytes(*b"unchange"));
        }
    }
}
