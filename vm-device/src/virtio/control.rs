//! Device status, feature negotiation and queue set-up (VIRTIO 1.3, 2 and 3.1): what both transports drive.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, MutexGuard};
use virtio_queue::QueueState;
use vm_mem::GuestMemory;

use super::device::{Activation, VirtioDevice};
use super::queue::VirtQueue;
use super::save::{ControlState, QueueRegisters};
use super::signal::{GuestSignal, InterruptSink};
use super::spec::{feature, status};
use super::worker::{Doorbell, RunningWorker};
use crate::state::{RestoreError, check_shape, check_version};

/// In errors about saved states.
const WHAT: &str = "virtio";

/// The half of a queue's address registers that a 32-bit write sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// Bits 31:0.
    Low,
    /// Bits 63:32.
    High,
}

/// Which part of a queue an address register names (VIRTIO 1.3, 2.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// The descriptor table.
    Descriptors,
    /// The available ring ("driver area").
    Driver,
    /// The used ring ("device area").
    Device,
}

struct Registers {
    status: u8,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u16,
    queues: Vec<QueueRegisters>,
    worker: Option<RunningWorker>,
    bus_master: bool,
}

/// One virtio device with the registers that its transport shows to the driver.
pub struct DeviceControl {
    name: String,
    device: Arc<dyn VirtioDevice>,
    memory: GuestMemory,
    signal: Arc<GuestSignal>,
    /// Of the running worker; apart from the registers so that notifying takes no lock.
    doorbell: ArcSwapOption<Doorbell>,
    registers: Mutex<Registers>,
}

impl DeviceControl {
    /// A device after power-on. `name` names its thread.
    pub fn new(
        name: &str,
        device: Arc<dyn VirtioDevice>,
        memory: GuestMemory,
        sink: Arc<dyn InterruptSink>,
    ) -> Self {
        let queues = device
            .queue_sizes()
            .iter()
            .map(|&max| QueueRegisters::new(max))
            .collect();
        Self {
            name: name.to_owned(),
            device,
            memory,
            signal: GuestSignal::new(sink),
            doorbell: ArcSwapOption::empty(),
            registers: Mutex::new(Registers {
                status: 0,
                device_features_sel: 0,
                driver_features_sel: 0,
                driver_features: 0,
                queue_sel: 0,
                queues,
                worker: None,
                bus_master: true,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock()
    }

    /// The device behind the registers.
    pub fn device(&self) -> &Arc<dyn VirtioDevice> {
        &self.device
    }

    /// The signals to the driver.
    pub fn signal(&self) -> &Arc<GuestSignal> {
        &self.signal
    }

    /// All features the device offers.
    pub fn offered(&self) -> u64 {
        self.device.features() | feature::CORE
    }

    /// Selects the 32 feature bits that [`DeviceControl::device_features`] shows.
    pub fn select_device_features(&self, sel: u32) {
        self.lock().device_features_sel = sel;
    }

    /// The selection made last.
    pub fn device_features_sel(&self) -> u32 {
        self.lock().device_features_sel
    }

    /// The selected 32 bits of the offered features.
    pub fn device_features(&self) -> u32 {
        half(self.offered(), self.lock().device_features_sel)
    }

    /// Selects the 32 bits that [`DeviceControl::set_driver_features`] sets.
    pub fn select_driver_features(&self, sel: u32) {
        self.lock().driver_features_sel = sel;
    }

    /// The selection made last.
    pub fn driver_features_sel(&self) -> u32 {
        self.lock().driver_features_sel
    }

    /// The selected 32 bits of the features the driver accepted.
    pub fn driver_features(&self) -> u32 {
        let registers = self.lock();
        half(registers.driver_features, registers.driver_features_sel)
    }

    /// Sets the selected 32 bits of what the driver accepts. Ignored once negotiation is complete.
    pub fn set_driver_features(&self, value: u32) {
        let mut registers = self.lock();
        if registers.status & status::FEATURES_OK == 0 && registers.driver_features_sel < 2 {
            let shift = registers.driver_features_sel * 32;
            registers.driver_features &= !(0xffff_ffff << shift);
            registers.driver_features |= u64::from(value) << shift;
        }
    }

    /// The device status (VIRTIO 1.3, 2.1).
    pub fn status(&self) -> u8 {
        let needs_reset = if self.signal.needs_reset() {
            status::NEEDS_RESET
        } else {
            0
        };
        self.lock().status | needs_reset
    }

    /// Writes the device status. Zero resets the device and returns when it touches memory no more.
    pub fn set_status(&self, value: u8) {
        let mut registers = self.lock();
        if value == 0 {
            self.reset_locked(&mut registers);
            return;
        }
        let set = value & !status::NEEDS_RESET & !registers.status;
        // A driver never clears single bits (2.1.1).
        registers.status |= set;
        if set & status::FEATURES_OK != 0 {
            // DEVIATION: a driver that does not take VERSION_1 speaks the legacy interface, which VIRTIO 1.3, 7.4 leaves to
            // transitional devices. QEMU goes on, and teaching kernels that write the low half of the features only
            // depend on it; devices whose formats differ ask `Activation::features`.
            if registers.driver_features & !self.offered() != 0 {
                registers.status &= !status::FEATURES_OK;
            }
        }
        if set & status::DRIVER_OK != 0 {
            if registers.status & status::FEATURES_OK == 0 {
                registers.status &= !status::DRIVER_OK;
            } else {
                self.start(&mut registers);
            }
        }
    }

    /// Puts everything, the selectors included, into its state after power-on.
    pub fn reset(&self) {
        let mut registers = self.lock();
        self.reset_locked(&mut registers);
        registers.device_features_sel = 0;
        registers.driver_features_sel = 0;
        registers.queue_sel = 0;
    }

    fn reset_locked(&self, registers: &mut Registers) {
        self.stop(registers);
        self.device.reset();
        registers.status = 0;
        registers.driver_features = 0;
        for queue in &mut registers.queues {
            *queue = QueueRegisters::new(queue.max);
        }
        self.signal.clear_needs_reset();
    }

    fn start(&self, registers: &mut Registers) {
        let doorbell = Arc::new(Doorbell::default());
        doorbell.gate(!registers.bus_master);
        let event_idx = registers.driver_features & feature::EVENT_IDX != 0;
        let mut valid = true;
        let queues = registers.queues.iter().enumerate().map(|(index, queue)| {
            if !queue.ready {
                return None;
            }
            let made = VirtQueue::new(
                queue.to_queue_state(event_idx),
                index as u16,
                self.memory.map().clone(),
                self.signal.clone(),
                doorbell.clone(),
            );
            valid &= made.is_some();
            made
        });
        let queues: Vec<_> = queues.collect();
        if !valid {
            self.signal.require_reset();
            return;
        }
        let worker = self.device.activate(Activation {
            features: registers.driver_features,
            memory: self.memory.map().clone(),
            queues,
            signal: self.signal.clone(),
            doorbell: doorbell.clone(),
        });
        match RunningWorker::start(&self.name, worker, doorbell, self.signal.clone()) {
            Some(running) => {
                self.doorbell.store(Some(running.doorbell.clone()));
                registers.worker = Some(running);
            }
            None => self.signal.require_reset(),
        }
    }

    /// Ends the worker and takes the queues' positions into the registers. False when none was running.
    fn stop(&self, registers: &mut Registers) -> bool {
        self.doorbell.store(None);
        let Some(running) = registers.worker.take() else {
            return false;
        };
        match running.stop() {
            Some(worker) => {
                for queue in worker.into_queues().into_iter().flatten() {
                    if let Some(registers) = registers.queues.get_mut(usize::from(queue.index())) {
                        (registers.next_avail, registers.next_used) = queue.positions();
                    }
                }
            }
            None => self.signal.require_reset(),
        }
        true
    }

    /// Tells the device that a queue has new buffers. Ignored until the driver is ready.
    pub fn notify(&self, queue: u16) {
        if let Some(doorbell) = &*self.doorbell.load() {
            doorbell.notify(queue);
        }
    }

    /// Allows or refuses memory accesses (PCI bus mastering); allowed at first.
    pub fn set_bus_master(&self, allowed: bool) {
        let mut registers = self.lock();
        if registers.bus_master != allowed {
            registers.bus_master = allowed;
            if let Some(running) = &registers.worker {
                running.doorbell.gate(!allowed);
            }
        }
    }

    /// Selects the queue that the queue registers are about.
    pub fn select_queue(&self, queue: u16) {
        self.lock().queue_sel = queue;
    }

    /// The queue selected last.
    pub fn queue_sel(&self) -> u16 {
        self.lock().queue_sel
    }

    /// Number of queues the device has.
    pub fn queue_count(&self) -> u16 {
        self.device.queue_sizes().len() as u16
    }

    /// Reads registers of the selected queue; `None` when there is no such queue.
    pub fn queue<R>(&self, read: impl FnOnce(&QueueRegisters) -> R) -> Option<R> {
        let registers = self.lock();
        registers
            .queues
            .get(usize::from(registers.queue_sel))
            .map(read)
    }

    /// Changes registers of the selected queue, unless it is in use already (VIRTIO 1.3, 4.1.4.3.2).
    fn set_up(&self, change: impl FnOnce(&mut QueueRegisters)) {
        let mut registers = self.lock();
        let sel = usize::from(registers.queue_sel);
        let running = registers.worker.is_some();
        if let Some(queue) = registers.queues.get_mut(sel)
            && !queue.ready
            && !running
        {
            change(queue);
        }
    }

    /// Sets the selected queue's size; a size that is no power of two up to the largest makes the device unusable
    /// at DRIVER_OK.
    pub fn set_queue_size(&self, size: u16) {
        self.set_up(|queue| queue.size = size);
    }

    /// Sets half of an address of the selected queue.
    pub fn set_queue_address(&self, area: Area, which: Half, value: u32) {
        self.set_up(|queue| {
            let address = match area {
                Area::Descriptors => &mut queue.descriptors,
                Area::Driver => &mut queue.driver,
                Area::Device => &mut queue.device,
            };
            *address = match which {
                Half::Low => (*address & !0xffff_ffff) | u64::from(value),
                Half::High => (*address & 0xffff_ffff) | u64::from(value) << 32,
            };
        });
    }

    /// Enables the selected queue, or disables it while the device does not run.
    pub fn set_queue_ready(&self, ready: bool) {
        let mut registers = self.lock();
        let sel = usize::from(registers.queue_sel);
        if registers.worker.is_none()
            && let Some(queue) = registers.queues.get_mut(sel)
        {
            queue.ready = ready;
        }
    }

    /// Sets the selected queue's interrupt vector (PCI only).
    pub fn set_queue_vector(&self, vector: u16) {
        let mut registers = self.lock();
        let sel = usize::from(registers.queue_sel);
        if let Some(queue) = registers.queues.get_mut(sel) {
            queue.vector = vector;
        }
    }

    /// Takes the state, stopping the device for that moment.
    pub fn save(&self) -> ControlState {
        let mut registers = self.lock();
        let was_running = self.stop(&mut registers);
        let Registers {
            status,
            device_features_sel,
            driver_features_sel,
            driver_features,
            queue_sel,
            queues,
            worker: _,
            bus_master,
        } = &*registers;
        let state = ControlState {
            version: ControlState::VERSION,
            status: *status,
            needs_reset: self.signal.needs_reset(),
            running: was_running,
            device_features_sel: *device_features_sel,
            driver_features_sel: *driver_features_sel,
            driver_features: *driver_features,
            queue_sel: *queue_sel,
            queues: queues.clone(),
            bus_master: *bus_master,
            device: self.device.save(),
        };
        if was_running {
            self.start(&mut registers);
        }
        state
    }

    /// Puts a saved state back.
    ///
    /// # Errors
    /// When the state is of another version or another kind of device; nothing has changed then.
    pub fn restore(&self, state: &ControlState) -> Result<(), RestoreError> {
        let ControlState {
            version,
            status,
            needs_reset,
            running,
            device_features_sel,
            driver_features_sel,
            driver_features,
            queue_sel,
            queues,
            bus_master,
            device,
        } = state;
        let sizes = queues.iter().map(|queue| &queue.max);
        check_version(WHAT, *version, ControlState::VERSION)?;
        let same = device.device_type() == self.device.device_type();
        check_shape(WHAT, "device type", same)?;
        check_shape(WHAT, "queues", sizes.eq(self.device.queue_sizes()))?;
        check_shape(WHAT, "features", driver_features & !self.offered() == 0)?;
        let mut registers = self.lock();
        self.reset_locked(&mut registers);
        registers.status = *status;
        registers.device_features_sel = *device_features_sel;
        registers.driver_features_sel = *driver_features_sel;
        registers.driver_features = *driver_features;
        registers.queue_sel = *queue_sel;
        registers.queues.clone_from(queues);
        registers.bus_master = *bus_master;
        self.device.restore(device);
        if *running {
            self.start(&mut registers);
        }
        if *needs_reset {
            self.signal.require_reset();
        }
        Ok(())
    }
}

impl Drop for DeviceControl {
    fn drop(&mut self) {
        let mut registers = self.lock();
        self.stop(&mut registers);
    }
}

fn half(bits: u64, sel: u32) -> u32 {
    match sel {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}

impl QueueRegisters {
    fn to_queue_state(&self, event_idx_enabled: bool) -> QueueState {
        QueueState {
            max_size: self.max,
            next_avail: self.next_avail,
            next_used: self.next_used,
            event_idx_enabled,
            size: self.size,
            ready: self.ready,
            desc_table: self.descriptors,
            avail_ring: self.driver,
            used_ring: self.device,
        }
    }
}
