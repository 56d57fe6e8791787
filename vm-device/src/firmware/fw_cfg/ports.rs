//! The ports of the firmware configuration device (QEMU `docs/specs/fw_cfg.rst`, "Register Locations"): the form of a PC.

use std::sync::Arc;

use vm_core::AccessWidth;

use super::FwCfg;
use super::spec::{DATA, DMA};
use crate::BusDevice;

/// First port.
pub const PORT: u64 = 0x510;
/// Ports.
pub const RANGE_BYTES: u64 = 12;
/// Offset of the selector, two bytes, little-endian here.
const SELECTOR: u64 = 0;
/// Offset of the data, one byte, over the selector's second.
const DATA_BYTE: u64 = 1;
/// Offset of the DMA register.
const DMA_PORT: u64 = 4;

/// The ports, to be placed at [`PORT`] for [`RANGE_BYTES`].
pub struct FwCfgPorts(Arc<FwCfg>);

impl FwCfgPorts {
    /// The ports of `device`.
    pub fn new(device: Arc<FwCfg>) -> Self {
        Self(device)
    }
}

impl BusDevice for FwCfgPorts {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match (offset, width) {
            (DATA_BYTE, AccessWidth::Byte) => self.0.read(DATA, AccessWidth::Byte),
            (DMA_PORT.., _) => self.0.read(offset - DMA_PORT + DMA, width),
            _ => 0,
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        match (offset, width) {
            (SELECTOR, AccessWidth::Half) => self.0.select_key(value as u16),
            (DMA_PORT.., _) => self.0.write(offset - DMA_PORT + DMA, width, value),
            _ => {}
        }
    }

    fn reset(&self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_core::GuestPhysAddr;
    use vm_mem::GuestMemory;

    fn ports() -> (FwCfgPorts, GuestMemory) {
        let ram = GuestMemory::new(&[(GuestPhysAddr(0), 0x10000)]).unwrap();
        (FwCfgPorts::new(Arc::new(FwCfg::new(ram.clone()))), ram)
    }

    #[test]
    fn ports_select_and_read_bytes() {
        let (ports, _) = ports();
        ports.0.add_file("etc/one", b"x".to_vec()).unwrap();
        ports.write(0, AccessWidth::Half, 0);
        let read = || ports.read(1, AccessWidth::Byte) as u8;
        assert_eq!([read(), read(), read(), read(), read()], *b"QEMU\0");
        ports.write(0, AccessWidth::Half, 0x20);
        assert_eq!([read(), read()], *b"x\0");
        assert_eq!(
            ports.read(4, AccessWidth::Word) as u32,
            u32::from_le_bytes(*b"QEMU")
        );
        assert_eq!(
            ports.read(8, AccessWidth::Word) as u32,
            u32::from_le_bytes(*b" CFG")
        );
    }

    #[test]
    fn ports_start_a_transfer() {
        let (ports, ram) = ports();
        let mut access = [0; 16];
        access[..4].copy_from_slice(&0x000a_u32.to_be_bytes());
        access[4..8].copy_from_slice(&4u32.to_be_bytes());
        access[8..].copy_from_slice(&0x2000u64.to_be_bytes());
        ram.write(GuestPhysAddr(0x1000), &access).unwrap();
        ports.write(8, AccessWidth::Word, 0x1000u32.swap_bytes().into());
        let mut bytes = [0; 4];
        ram.read(GuestPhysAddr(0x2000), &mut bytes).unwrap();
        assert_eq!(bytes, *b"QEMU");
    }

    proptest::proptest! {
        #[test]
        fn fuzz_any_script_never_panics(script in crate::testing::script()) {
            crate::fuzzing::drive(&ports().0, RANGE_BYTES, &script);
        }
    }
}
