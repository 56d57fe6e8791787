//! Virtio over memory-mapped registers, version 2 (VIRTIO 1.3, 4.2).

use std::sync::Arc;

use virtio_bindings::virtio_mmio as reg;
use vm_core::{AccessWidth, IrqLine};
use vm_mem::GuestMemory;

use super::control::{Area, DeviceControl, Half};
use super::device::VirtioDevice;
use super::save::MmioState;
use super::signal::LevelInterrupt;
use super::spec::VENDOR_ID;
use crate::BusDevice;
use crate::state::RestoreError;

/// "virt" (VIRTIO 1.3, 4.2.2).
pub(super) const MAGIC: u32 = 0x7472_6976;
/// Version of the register layout.
pub(super) const VERSION: u32 = 2;
/// The device-specific configuration starts here (4.2.2).
const CONFIG: u64 = reg::VIRTIO_MMIO_CONFIG as u64;

/// One virtio device behind the register layout of VIRTIO 1.3, 4.2.2. Register accesses are 32 bits wide and aligned;
/// the configuration space takes any width (4.2.2.2).
pub struct VirtioMmio {
    control: DeviceControl,
    interrupt: Arc<LevelInterrupt>,
}

impl VirtioMmio {
    /// Bytes of address space the registers take on the `virt` machines.
    pub const BYTES: u64 = 0x200;

    /// Puts `device` behind registers. `name` names its thread; `irq` is its interrupt.
    pub fn new(
        name: &str,
        device: Arc<dyn VirtioDevice>,
        memory: GuestMemory,
        irq: Arc<dyn IrqLine>,
    ) -> Arc<Self> {
        let interrupt = LevelInterrupt::new(irq);
        let control = DeviceControl::new(name, device, memory, interrupt.clone());
        Arc::new(Self { control, interrupt })
    }

    /// The registers shared with other transports.
    pub fn control(&self) -> &DeviceControl {
        &self.control
    }

    /// Takes the state, stopping the device for that moment.
    pub fn save(&self) -> MmioState {
        let Self { control, interrupt } = self;
        MmioState {
            control: control.save(),
            interrupt_status: interrupt.pending(),
        }
    }

    /// Puts a saved state back.
    ///
    /// # Errors
    /// When the state is of another version or another kind of device; nothing has changed then.
    pub fn restore(&self, state: &MmioState) -> Result<(), RestoreError> {
        let MmioState {
            control,
            interrupt_status,
        } = state;
        self.control.restore(control)?;
        self.interrupt.restore(*interrupt_status);
        Ok(())
    }

    fn read_register(&self, offset: u32) -> u32 {
        let control = &self.control;
        match offset {
            reg::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            reg::VIRTIO_MMIO_VERSION => VERSION,
            reg::VIRTIO_MMIO_DEVICE_ID => control.device().device_type() as u32,
            reg::VIRTIO_MMIO_VENDOR_ID => VENDOR_ID,
            reg::VIRTIO_MMIO_DEVICE_FEATURES => control.device_features(),
            reg::VIRTIO_MMIO_QUEUE_NUM_MAX => {
                control.queue(|queue| u32::from(queue.max)).unwrap_or(0)
            }
            reg::VIRTIO_MMIO_QUEUE_READY => {
                control.queue(|queue| u32::from(queue.ready)).unwrap_or(0)
            }
            reg::VIRTIO_MMIO_INTERRUPT_STATUS => u32::from(self.interrupt.pending()),
            reg::VIRTIO_MMIO_STATUS => u32::from(control.status()),
            // No shared memory regions: their length reads as all ones (4.2.2.1).
            reg::VIRTIO_MMIO_SHM_LEN_LOW
            | reg::VIRTIO_MMIO_SHM_LEN_HIGH
            | reg::VIRTIO_MMIO_SHM_BASE_LOW
            | reg::VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            reg::VIRTIO_MMIO_CONFIG_GENERATION => control.signal().config_generation(),
            _ => 0,
        }
    }

    fn write_register(&self, offset: u32, value: u32) {
        let control = &self.control;
        match offset {
            reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL => control.select_device_features(value),
            reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL => control.select_driver_features(value),
            reg::VIRTIO_MMIO_DRIVER_FEATURES => control.set_driver_features(value),
            reg::VIRTIO_MMIO_QUEUE_SEL => {
                control.select_queue(u16::try_from(value).unwrap_or(u16::MAX));
            }
            // A size that does not fit is as invalid as zero.
            reg::VIRTIO_MMIO_QUEUE_NUM => {
                control.set_queue_size(u16::try_from(value).unwrap_or(0));
            }
            reg::VIRTIO_MMIO_QUEUE_READY => control.set_queue_ready(value & 1 != 0),
            reg::VIRTIO_MMIO_QUEUE_NOTIFY => {
                control.notify(u16::try_from(value).unwrap_or(u16::MAX));
            }
            reg::VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt.acknowledge(value as u8),
            reg::VIRTIO_MMIO_STATUS => {
                control.set_status(value as u8);
                if value as u8 == 0 {
                    self.interrupt.take();
                }
            }
            _ => {
                if let Some((area, half)) = queue_address(offset) {
                    control.set_queue_address(area, half, value);
                }
            }
        }
    }
}

/// Which address a register sets.
fn queue_address(offset: u32) -> Option<(Area, Half)> {
    Some(match offset {
        reg::VIRTIO_MMIO_QUEUE_DESC_LOW => (Area::Descriptors, Half::Low),
        reg::VIRTIO_MMIO_QUEUE_DESC_HIGH => (Area::Descriptors, Half::High),
        reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW => (Area::Driver, Half::Low),
        reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => (Area::Driver, Half::High),
        reg::VIRTIO_MMIO_QUEUE_USED_LOW => (Area::Device, Half::Low),
        reg::VIRTIO_MMIO_QUEUE_USED_HIGH => (Area::Device, Half::High),
        _ => return None,
    })
}

/// Reads `width` bytes of a device's configuration as a little-endian number.
pub(super) fn read_config(device: &dyn VirtioDevice, offset: u64, width: AccessWidth) -> u64 {
    let mut bytes = [0; 8];
    device.read_config(offset, &mut bytes[..width.bytes() as usize]);
    u64::from_le_bytes(bytes)
}

/// Writes the low `width` bytes of `value` into a device's configuration.
pub(super) fn write_config(device: &dyn VirtioDevice, offset: u64, width: AccessWidth, value: u64) {
    device.write_config(offset, &value.to_le_bytes()[..width.bytes() as usize]);
}

impl BusDevice for VirtioMmio {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if offset >= CONFIG {
            read_config(&**self.control.device(), offset - CONFIG, width)
        } else if width == AccessWidth::Word && offset.is_multiple_of(4) {
            u64::from(self.read_register(offset as u32))
        } else {
            0
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if offset >= CONFIG {
            write_config(&**self.control.device(), offset - CONFIG, width, value);
        } else if width == AccessWidth::Word && offset.is_multiple_of(4) {
            self.write_register(offset as u32, value as u32);
        }
    }

    fn reset(&self) {
        self.control.reset();
        self.interrupt.take();
    }
}
