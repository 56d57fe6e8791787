//! Virtio over PCI, modern interface (VIRTIO 1.3, 4.1), with INTx or MSI-X.

mod interrupt;
pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};
use vm_mem::GuestMemory;

use self::interrupt::{Interrupt, Messages};
use self::spec::{
    BAR, BAR_BYTES, DEVICE_BASE, MESSAGES_BAR, MESSAGES_BAR_BYTES, MESSAGES_MAX, NOTIFY_MULTIPLIER,
    REVISION, SUBSYSTEM, VENDOR, access, cfg_type, class, common, region,
};
use super::control::{Area, DeviceControl, Half};
use super::device::VirtioDevice;
use super::mmio::{read_config, write_config};
use super::save::{NO_VECTOR, PciState};
use super::signal::{Cause, LevelInterrupt};
use crate::intc::MsiTarget;
use crate::pci::spec::{CAP_VENDOR, command, reg, status as pci_status};
use crate::pci::{BarKind, ConfigSpace, Identity, IntxPin, Mapping, Msix, PciFunction};
use crate::state::{RestoreError, check_shape};

/// One virtio device as a PCI function.
pub struct VirtioPci {
    control: DeviceControl,
    interrupt: Arc<Interrupt>,
    config: Mutex<ConfigSpace>,
    /// Where the configuration-access capability lies.
    access: u16,
}

impl VirtioPci {
    /// Makes a function of `device` without messages. `name` names its thread; `intx` is
    /// [`crate::pci::PciRoot::intx`] of its slot.
    pub fn new(
        name: &str,
        device: Arc<dyn VirtioDevice>,
        memory: GuestMemory,
        intx: Arc<dyn IrqLine>,
    ) -> Arc<Self> {
        Self::with_messages(name, device, memory, intx, None)
    }

    /// The same with MSI-X, a vector for each queue and one for changes of the configuration, when there is someone who
    /// takes `messages`.
    pub fn with_messages(
        name: &str,
        device: Arc<dyn VirtioDevice>,
        memory: GuestMemory,
        intx: Arc<dyn IrqLine>,
        messages: Option<Arc<dyn MsiTarget>>,
    ) -> Arc<Self> {
        let (mut config, access) = config_space(&*device);
        let queues = device.queue_sizes().len();
        let messages = messages.map(|target| {
            let vectors = (queues as u16).saturating_add(1).min(MESSAGES_MAX);
            let kind = BarKind::Memory32 {
                prefetchable: false,
            };
            config = config
                .clone()
                .with_bar(MESSAGES_BAR, kind, MESSAGES_BAR_BYTES);
            Messages::new(Msix::new(vectors, target), &mut config, queues)
        });
        let pin = IntxPin::new(intx);
        let interrupt = Arc::new(Interrupt {
            level: LevelInterrupt::new(pin.clone()),
            pin,
            messages,
        });
        let control = DeviceControl::new(name, device, memory, interrupt.clone());
        control.set_bus_master(false);
        Arc::new(Self {
            control,
            interrupt,
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
            config,
            access: _,
        } = self;
        PciState {
            control: control.save(),
            interrupt_status: interrupt.level.pending(),
            config: config.lock().save(),
            messages: interrupt.messages.as_ref().map(Messages::save),
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
            messages,
        } = state;
        check_shape(
            "virtio-pci",
            "configuration space",
            self.config.lock().fits(config),
        )?;
        let own = &self.interrupt.messages;
        let fits = match (own, messages) {
            (Some(own), Some((_, saved))) => own.table.fits(saved),
            (own, saved) => own.is_none() && saved.is_none(),
        };
        check_shape("virtio-pci", "messages", fits)?;
        self.control.restore(control)?;
        self.config.lock().restore(config);
        if let (Some(own), Some((config_vector, saved))) = (own, messages) {
            own.table.restore(saved);
            own.set(Cause::Config, *config_vector);
            for (queue, registers) in (0..).zip(&control.queues) {
                own.set(Cause::Queue(queue), registers.vector);
            }
        }
        self.apply_command();
        self.interrupt.level.restore(*interrupt_status);
        Ok(())
    }

    fn apply_command(&self) {
        let config = self.config.lock();
        let bits = config.command();
        let mut off = bits & command::INTX_DISABLE != 0;
        if let Some(messages) = &self.interrupt.messages {
            messages.apply(&config);
            off |= messages.table.is_enabled();
        }
        drop(config);
        self.control.set_bus_master(bits & command::BUS_MASTER != 0);
        self.interrupt.pin.set_disabled(off);
    }

    /// The vector that a register names.
    fn vector(&self, cause: Cause) -> u64 {
        // A vector that cannot be had reads as none (4.1.5.1.2.1).
        let messages = self.interrupt.messages.as_ref();
        messages
            .map_or(NO_VECTOR, |messages| messages.get(cause))
            .into()
    }

    fn set_vector(&self, cause: Cause, vector: u16) {
        let Some(messages) = &self.interrupt.messages else {
            return;
        };
        let mapped = messages.set(cause, vector);
        if cause != Cause::Config {
            self.control.set_queue_vector(mapped);
        }
    }

    fn read_common(&self, offset: u64) -> u64 {
        let control = &self.control;
        let queue = |read: fn(&super::save::QueueRegisters) -> u64| control.queue(read);
        match offset {
            common::DEVICE_FEATURE_SELECT => control.device_features_sel().into(),
            common::DEVICE_FEATURE => control.device_features().into(),
            common::DRIVER_FEATURE_SELECT => control.driver_features_sel().into(),
            common::DRIVER_FEATURE => control.driver_features().into(),
            common::CONFIG_MSIX_VECTOR => self.vector(Cause::Config),
            common::QUEUE_MSIX_VECTOR => self.vector(Cause::Queue(control.queue_sel())),
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
                    self.interrupt.level.take();
                    self.interrupt.messages.iter().for_each(Messages::unmap);
                }
            }
            common::CONFIG_MSIX_VECTOR => self.set_vector(Cause::Config, low as u16),
            common::QUEUE_MSIX_VECTOR => {
                self.set_vector(Cause::Queue(control.queue_sel()), low as u16);
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
            (reg::STATUS, _) if self.interrupt.pin.asserted() => value | status_bit,
            (reg::COMMAND, AccessWidth::Word) if self.interrupt.pin.asserted() => {
                value | status_bit << 16
            }
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
        // The command register, or a capability's control.
        if !(reg::STATUS..reg::HEADER_END).contains(&offset) {
            self.apply_command();
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.config.lock().mappings().collect()
    }

    fn read_bar(&self, bar: u8, offset: u64, width: AccessWidth) -> u64 {
        if bar == MESSAGES_BAR {
            let messages = self.interrupt.messages.as_ref();
            return messages.map_or(0, |messages| messages.read(offset, width));
        }
        let at = offset % region::BYTES;
        match offset - at {
            region::COMMON => self.read_common(at) & width.mask(),
            region::ISR if at == 0 => self.interrupt.level.take().into(),
            region::DEVICE => read_config(&**self.control.device(), at, width),
            _ => 0,
        }
    }

    fn write_bar(&self, bar: u8, offset: u64, width: AccessWidth, value: u64) {
        if bar == MESSAGES_BAR {
            let messages = self.interrupt.messages.iter();
            return messages.for_each(|messages| messages.write(offset, width, value));
        }
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
        self.interrupt.level.take();
        if let Some(messages) = &self.interrupt.messages {
            messages.unmap();
            messages.table.reset();
        }
        self.config.lock().reset();
        self.apply_command();
    }
}

#[cfg(test)]
mod tests;
