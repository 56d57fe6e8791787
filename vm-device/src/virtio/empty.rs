//! A virtio-mmio slot without a device (VIRTIO 1.3, 4.2.2: device id 0 makes the driver ignore it).

use virtio_bindings::virtio_mmio as reg;
use vm_core::AccessWidth;

use super::mmio::{MAGIC, VERSION};
use super::spec::VENDOR_ID;
use crate::BusDevice;

/// Registers that say "nothing here".
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptySlot;

impl BusDevice for EmptySlot {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if width != AccessWidth::Word {
            return 0;
        }
        match u32::try_from(offset) {
            Ok(reg::VIRTIO_MMIO_MAGIC_VALUE) => MAGIC.into(),
            Ok(reg::VIRTIO_MMIO_VERSION) => VERSION.into(),
            Ok(reg::VIRTIO_MMIO_VENDOR_ID) => VENDOR_ID.into(),
            _ => 0,
        }
    }

    fn write(&self, _offset: u64, _width: AccessWidth, _value: u64) {}

    fn reset(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_identifies_a_transport_with_device_zero() {
        assert_eq!(EmptySlot.read(0, AccessWidth::Word), u64::from(MAGIC));
        assert_eq!(EmptySlot.read(8, AccessWidth::Word), 0);
    }
}
