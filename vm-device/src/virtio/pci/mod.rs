//! Virtio over PCI, modern interface (VIRTIO 1.3, 4.1), with INTx.

pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};
use vm_mem::GuestMemory;

use self::spec::{
    BAR, BAR_BYTES, DEVICE_BASE, NOTIFY_MULTIPLIER, REVISION, SUBSYSTEM, VENDOR, access, cfg_type,
    class, common, region,
};
use super::control::{Area, DeviceControl, Half};
use super::device::VirtioDevice;
use super::mmio::{read_config, write_config};
use super::save::{NO_VECTOR, PciState};
use super::signal::LevelInterrupt;
use crate::pci::spec::{CAP_VENDOR, command, reg, status as pci_status};
use crate::pci::{BarKind, ConfigSpace, Identity, IntxPin, Mapping, PciFunction};
use crate::state::{RestoreError, check_shape};

/// One virtio device as a PCI function.
pub struct VirtioPci {
    control: DeviceControl,
    interrupt: Arc<LevelInterrupt>,
    pin: Arc<IntxPin>,
    config: Mutex<ConfigSpace>,
    /// Where the configuration-access capability lies.
    access: u16,
}

impl VirtioPci {
    /// Makes a function of `device`. `name` names its thread; `intx` is [`crate::pci::PciRoot::intx`] of its slot.
    pub fn new(
        name: &str,
        device: Arc<dyn VirtioDevice>,
        memory: GuestMemory,
        intx: Arc<dyn IrqLine>,
    ) -> Arc<Self> {
        let (config, access) = config_space(&*device);
        let pin = IntxPin::new(intx);
        let interrupt = LevelInterrupt::new(pin.clone());
        let control = DeviceControl::new(name, device, memory, interrupt.clone());
        control.set_bus_master(false);
        Arc::new(Self {
            control,
            interrupt,
            pin,
            config: Mutex::new(config),
            access,
        })
    }

    /// The registers shared with other transports.
    pub fn control(&self) -> &DeviceControl {
        &self.control
    }

    /// Takes the state, stopping the device for that moment.
    pub fn save(&self) -> PciState {
        let Self {
            control,
            interrupt,
            pin: _,
            config,
            access: _,
        } = self;
        PciState {
            control: control.save(),
            interrupt_status: interrupt.pending(),
            config: config.lock().save(),
        }
    }

    /// Puts a saved state back. The root complex must look at its base addresses afterwards
    /// ([`crate::pci::PciRoot::reroute`]).
    ///
    /// # Errors
    /// When the state is of another version or another kind of device; nothing has changed then.
    pub fn restore(&self, state: &PciState) -> Result<(), RestoreError> {
        let PciState {
            control,
            interrupt_status,
            config,
        } = state;
        check_shape(
            "virtio-pci",
            "configuration space",
            self.config.lock().fits(config),
        )?;
        self.control.restore(control)?;
        self.config.lock().restore(config);
        self.apply_command();
        self.interrupt.restore(*interrupt_status);
        Ok(())
    }

    fn apply_command(&self) {
        let bits = self.config.lock().command();
        self.control.set_bus_master(bits & command::BUS_MASTER != 0);
        self.pin.set_disabled(bits & command::INTX_DISABLE != 0);
    }

    fn read_common(&self, offset: u64) -> u64 {
        let control = &self.control;
        let queue = |read: fn(&super::save::QueueRegisters) -> u64| control.queue(read);
        match offset {
            common::DEVICE_FEATURE_SELECT => control.device_features_sel().into(),
            common::DEVICE_FEATURE => control.device_features().into(),
            common::DRIVER_FEATURE_SELECT => control.driver_features_sel().into(),
            common::DRIVER_FEATURE => control.driver_features().into(),
            // No MSI-X: a vector that cannot be had reads as none (4.1.5.1.2.1).
            common::CONFIG_MSIX_VECTOR | common::QUEUE_MSIX_VECTOR => NO_VECTOR.into(),
            common::NUM_QUEUES => control.queue_count().into(),
            common::DEVICE_STATUS => control.status().into(),
            common::CONFIG_GENERATION => control.signal().config_generation().into(),
            common::QUEUE_SELECT => control.queue_sel().into(),
            // Zero for a queue that does not exist (4.1.4.3.1).
            common::QUEUE_SIZE => queue(|queue| queue.size.into()).unwrap_or(0),
            common::QUEUE_ENABLE => queue(|queue| queue.ready.into()).unwrap_or(0),
            common::QUEUE_NOTIFY_OFF => control.queue_sel().into(),
            common::QUEUE_DESC => queue(|queue| queue.descriptors).unwrap_or(0),
            common::QUEUE_DRIVER => queue(|queue| queue.driver).unwrap_or(0),
            common::QUEUE_DEVICE => queue(|queue| queue.device).unwrap_or(0),
            // The upper halves of the addresses.
            at if (common::QUEUE_DESC..common::QUEUE_ADDRESSES_END).contains(&at)
                && at % 8 == 4 =>
            {
                self.read_common(at - 4) >> 32
            }
            _ => 0,
        }
    }

    fn write_common(&self, offset: u64, width: AccessWidth, value: u64) {
        let control = &self.control;
        let low = value as u32;
        match offset {
            common::DEVICE_FEATURE_SELECT => control.select_device_features(low),
            common::DRIVER_FEATURE_SELECT => control.select_driver_features(low),
            common::DRIVER_FEATURE => control.set_driver_features(low),
            common::DEVICE_STATUS => {
                control.set_status(low as u8);
                if low as u8 == 0 {
                    self.interrupt.take();
                }
            }
            common::QUEUE_SELECT => control.select_queue(low as u16),
            common::QUEUE_SIZE => control.set_queue_size(low as u16),
            // Only ever enabled by the driver; a reset disables (4.1.4.3.2).
            common::QUEUE_ENABLE if low as u16 == 1 => control.set_queue_ready(true),
            at if (common::QUEUE_DESC..common::QUEUE_ADDRESSES_END).contains(&at)
                && at % 4 == 0 =>
            {
                let area = match at & !7 {
                    common::QUEUE_DESC => Area::Descriptors,
                    common::QUEUE_DRIVER => Area::Driver,
                    _ => Area::Device,
                };
                let half = if at % 8 == 0 { Half::Low } else { Half::High };
                control.set_queue_address(area, half, low);
                if width == AccessWidth::Double && half == Half::Low {
                    control.set_queue_address(area, Half::High, (value >> 32) as u32);
                }
            }
            _ => {}
        }
    }

    /// The access that the configuration-access capability describes, when it is a proper one.
    fn described_access(&self) -> Option<(u64, AccessWidth)> {
        let config = self.config.lock();
        let bar = config.read(self.access + access::BAR, AccessWidth::Byte);
        let offset = u64::from(config.read(self.access + access::OFFSET, AccessWidth::Word));
        let length = config.read(self.access + access::LENGTH, AccessWidth::Word);
        let width = AccessWidth::from_bytes(length.into())?;
        let proper = bar == u32::from(BAR)
            && width <= AccessWidth::Word
            && offset.is_multiple_of(width.bytes())
            && offset < BAR_BYTES;
        proper.then_some((offset, width))
    }

    fn is_access_data(&self, offset: u16) -> bool {
        (self.access + access::DATA..self.access + access::BYTES).contains(&offset)
    }
}

/// Configuration space of a virtio function, and where its configuration-access capability lies.
fn config_space(device: &dyn VirtioDevice) -> (ConfigSpace, u16) {
    let kind = device.device_type();
    let mut config = ConfigSpace::new(Identity {
        vendor: VENDOR,
        device: DEVICE_BASE + kind as u16,
        revision: REVISION,
        class: class(kind),
        subsystem: (VENDOR, SUBSYSTEM),
    })
    .with_interrupt_pin(0)
    .with_bar(BAR, BarKind::Memory64 { prefetchable: true }, BAR_BYTES);
    let notify_bytes = NOTIFY_MULTIPLIER * device.queue_sizes().len() as u32;
    let structures = [
        (cfg_type::COMMON, region::COMMON, common::BYTES),
        (cfg_type::ISR, region::ISR, 1),
        (cfg_type::DEVICE, region::DEVICE, region::BYTES as u32),
        (cfg_type::NOTIFY, region::NOTIFY, notify_bytes),
    ];
    for (cfg_type, offset, bytes) in structures {
        let tail = (cfg_type == cfg_type::NOTIFY).then_some(NOTIFY_MULTIPLIER);
        config.add_capability(
            CAP_VENDOR,
            &capability(cfg_type, BAR, offset as u32, bytes, tail),
            &[],
        );
    }
    let body = capability(cfg_type::PCI, 0, 0, 0, Some(0));
    let mut writable = capability(0, 0xff, u32::MAX, u32::MAX, Some(u32::MAX));
    writable[0] = 0;
    let access = config.add_capability(CAP_VENDOR, &body, &writable);
    (config, access)
}

/// A virtio capability behind its id and link (4.1.4), with a 32-bit tail for those that have one.
fn capability(cfg_type: u8, bar: u8, offset: u32, bytes: u32, tail: Option<u32>) -> Vec<u8> {
    let length = if tail.is_some() { 20 } else { 16 };
    let mut body = vec![length, cfg_type, bar, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(bytes.to_le_bytes());
    body.extend(tail.into_iter().flat_map(u32::to_le_bytes));
    body
}

impl PciFunction for VirtioPci {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        if self.is_access_data(offset)
            && let Some((at, width)) = self.described_access()
        {
            return self.read_bar(BAR, at, width) as u32;
        }
        let value = self.config.lock().read(offset, width);
        let status_bit = u32::from(pci_status::INTX);
        match (offset, width) {
            (reg::STATUS, _) if self.pin.asserted() => value | status_bit,
            (reg::COMMAND, AccessWidth::Word) if self.pin.asserted() => value | status_bit << 16,
            _ => value,
        }
    }

    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        self.config.lock().write(offset, width, value);
        if self.is_access_data(offset)
            && let Some((at, width)) = self.described_access()
        {
            self.write_bar(BAR, at, width, u64::from(value) & width.mask());
        }
        if offset < reg::STATUS {
            self.apply_command();
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.config.lock().mappings().collect()
    }

    fn read_bar(&self, _bar: u8, offset: u64, width: AccessWidth) -> u64 {
        let at = offset % region::BYTES;
        match offset - at {
            region::COMMON => self.read_common(at) & width.mask(),
            region::ISR if at == 0 => self.interrupt.take().into(),
            region::DEVICE => read_config(&**self.control.device(), at, width),
            _ => 0,
        }
    }

    fn write_bar(&self, _bar: u8, offset: u64, width: AccessWidth, value: u64) {
        let at = offset % region::BYTES;
        match offset - at {
            region::COMMON => self.write_common(at, width, value),
            region::DEVICE => write_config(&**self.control.device(), at, width, value),
            region::NOTIFY => self
                .control
                .notify((at / u64::from(NOTIFY_MULTIPLIER)) as u16),
            _ => {}
        }
    }

    fn reset(&self) {
        self.control.reset();
        self.interrupt.take();
        self.config.lock().reset();
        self.apply_command();
    }
}

#[cfg(test)]
mod tests;
