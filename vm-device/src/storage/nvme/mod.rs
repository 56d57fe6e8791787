//! An NVM Express controller with one namespace.
//!
//! What it is: [`Nvme`], a PCI function with up to sixteen pairs of I/O queues, INTx and MSI-X.
//!
//! What it refuses to do: further namespaces and formats, metadata, scatter-gather lists, asynchronous events, saving its
//! queues, I/O on a virtual CPU's thread.
//!
//! Data flow: virtual CPU rings a doorbell -> the controller's thread takes commands off the submission queues in turn,
//! carries them out on a [`BlockBackend`], posts completions -> interrupt.

mod admin;
mod io;
mod prp;
mod queue;
pub mod spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};
use vm_core::{AccessWidth, IrqLine, PAGE_BYTES};
use vm_mem::GuestMemory;
use vm_osal::NoThread;

use super::registers::WordRegisters;
use super::thread::{Commands, Running};
use crate::block::BlockBackend;
use crate::host_room::HostRoom;
use crate::intc::MsiTarget;
use crate::pci::spec::{command as pci_command, reg as pci_reg};
use crate::pci::{BarKind, ConfigSpace, Identity, IntxPin, Mapping, Msix, PciFunction};
use io::Namespace;
use queue::{Command, Completion, Submission};
use spec::*;

/// Registers and queues.
struct State {
    mask: u32,
    configuration: u32,
    status: u32,
    admin_sizes: u32,
    admin_submission: u64,
    admin_completion: u64,
    submissions: [Option<Submission>; QUEUES],
    completions: [Option<Completion>; QUEUES],
    /// The queue that was served last.
    last: usize,
    events: u8,
    write_cache: bool,
    features: [u32; 16],
    /// Counts resets, so that a command that was under way cannot end after one.
    generation: u64,
    working: bool,
    bus_master: bool,
    stopping: bool,
}

impl State {
    fn power_on() -> Self {
        Self {
            mask: 0,
            configuration: 0,
            status: 0,
            admin_sizes: 0,
            admin_submission: 0,
            admin_completion: 0,
            submissions: [None; QUEUES],
            completions: [None; QUEUES],
            last: 0,
            events: 0,
            write_cache: true,
            features: [0; 16],
            generation: 0,
            working: false,
            bus_master: false,
            stopping: false,
        }
    }

    /// A controller reset (7.3.2): the admin queues' registers stay.
    fn reset(&mut self) {
        *self = Self {
            configuration: self.configuration,
            admin_sizes: self.admin_sizes,
            admin_submission: self.admin_submission,
            admin_completion: self.admin_completion,
            generation: self.generation + 1,
            working: self.working,
            bus_master: self.bus_master,
            stopping: self.stopping,
            ..Self::power_on()
        };
    }

    fn set_configuration(&mut self, value: u32) {
        let (before, after) = (self.configuration & ENABLE, value & ENABLE);
        self.configuration = value & 0x00ff_fff1;
        if before != 0 && after == 0 {
            self.reset();
        } else if before == 0 && after != 0 {
            self.start();
        }
        if value & SHUTDOWN != 0 {
            self.status |= SHUTDOWN_DONE;
        }
    }

    fn start(&mut self) {
        let entries = |shift: u32| (self.admin_sizes >> shift & 0xfff) + 1;
        let bases = [self.admin_submission, self.admin_completion];
        let sizes = [entries(0), entries(16)];
        // The NVM command set, and pages of 4 KiB.
        let possible = self.configuration >> 4 & 0x7f == 0
            && bases.iter().all(|base| base.is_multiple_of(PAGE_BYTES))
            && sizes.iter().all(|&entries| entries >= 2);
        if !possible {
            self.status |= FATAL;
            return;
        }
        self.submissions[0] = Some(Submission::new(bases[0], sizes[0], 0));
        self.completions[0] = Some(Completion::new(bases[1], sizes[1], Some(0)));
        self.status = READY;
    }

    /// The next queue in turn that has a command whose completion has room.
    fn next(&mut self) -> Option<usize> {
        if self.status & (READY | FATAL) != READY || !self.bus_master {
            return None;
        }
        let found = (1..=QUEUES)
            .map(|step| (self.last + step) % QUEUES)
            .find(|&number| {
                let Some(queue) = &self.submissions[number] else {
                    return false;
                };
                let room = self.completions[queue.completion]
                    .as_ref()
                    .is_some_and(|completion| !completion.is_full());
                queue.has_work() && room
            })?;
        self.last = found;
        Some(found)
    }

    fn doorbell(&mut self, number: usize, value: u32) {
        let at = number / 2;
        if number.is_multiple_of(2) {
            if let Some(Some(queue)) = self.submissions.get_mut(at)
                && value < queue.entries
            {
                queue.tail = value;
            }
        } else if let Some(Some(queue)) = self.completions.get_mut(at)
            && value < queue.entries
        {
            queue.head = value;
        }
    }
}

struct Core {
    state: Mutex<State>,
    /// Wakes the thread when there may be work, and whoever waits for it.
    work: Condvar,
    namespace: Namespace,
    memory: GuestMemory,
    pin: Arc<IntxPin>,
    messages: Option<Arc<Msix>>,
    /// A command that takes long is to be given up.
    hurry: AtomicBool,
}

impl Core {
    fn uses_messages(&self) -> bool {
        self.messages
            .as_ref()
            .is_some_and(|table| table.is_enabled())
    }

    /// Puts the pin where completions that nobody has looked at want it (7.5).
    fn drive(&self, state: &State) {
        let news = state.completions.iter().flatten().any(|queue| {
            let masked = queue
                .vector
                .is_none_or(|vector| state.mask >> (vector & 31) & 1 != 0);
            queue.has_news() && !masked
        });
        self.pin.set(news && !self.uses_messages());
    }

    fn vectors(&self) -> u16 {
        match &self.messages {
            Some(table) if table.is_enabled() => table.vectors(),
            _ => 1,
        }
    }

    fn carry_out(&self, command: &Command, cached: bool) -> Result<(), u16> {
        let goes_on = || !self.hurry.load(Ordering::Relaxed);
        self.namespace.run(command, &self.memory, &goes_on)?;
        if !cached && matches!(command.opcode(), nvm::WRITE | nvm::WRITE_ZEROES) {
            return self
                .namespace
                .backend
                .flush()
                .map_err(|_| status::WRITE_FAULT);
        }
        Ok(())
    }

    fn post(
        &self,
        state: &mut State,
        number: usize,
        queue: &Submission,
        command: &Command,
        ended: admin::Ended,
    ) {
        let (result, code) = match ended {
            Ok(Some(result)) => (result, status::SUCCESS),
            Ok(None) => return,
            Err(code) => (0, code),
        };
        let Some(completion) = &mut state.completions[queue.completion] else {
            return;
        };
        let from = (number, queue.head);
        let posted = completion.post(&self.memory, result, from, command.identifier(), code);
        let vector = completion.vector;
        if !posted {
            state.status |= FATAL;
        }
        match (vector, &self.messages) {
            (Some(vector), Some(table)) if table.is_enabled() => table.raise(vector),
            _ => self.drive(state),
        }
    }

    /// Waits until no command is under way.
    fn quiesce(&self, state: &mut MutexGuard<'_, State>) {
        self.hurry.store(true, Ordering::Relaxed);
        while state.working {
            self.work.wait(state);
        }
        self.hurry.store(false, Ordering::Relaxed);
    }
}

impl WordRegisters for Core {
    fn read(&self, offset: u64) -> u32 {
        let state = self.state.lock();
        let half = |value: u64| (value >> (8 * (offset & 4))) as u32;
        match offset {
            reg::CAPABILITIES | 0x04 => half(CAPABILITIES_VALUE),
            reg::VERSION => VERSION_VALUE,
            reg::MASK_SET | reg::MASK_CLEAR => state.mask,
            reg::CONFIGURATION => state.configuration,
            // A reset is complete when nothing is under way any more.
            reg::STATUS if state.working && state.configuration & ENABLE == 0 => {
                state.status | READY
            }
            reg::STATUS => state.status,
            reg::ADMIN_SIZES => state.admin_sizes,
            reg::ADMIN_SUBMISSION | 0x2c => half(state.admin_submission),
            reg::ADMIN_COMPLETION | 0x34 => half(state.admin_completion),
            _ => 0,
        }
    }

    fn write(&self, offset: u64, value: u32) {
        let mut state = self.state.lock();
        let put = |register: &mut u64, base: u64| {
            let shift = 8 * (offset - base);
            *register = *register & !(0xffff_ffff << shift) | u64::from(value) << shift;
        };
        match offset {
            reg::MASK_SET => state.mask |= value,
            reg::MASK_CLEAR => state.mask &= !value,
            reg::CONFIGURATION => state.set_configuration(value),
            reg::ADMIN_SIZES => state.admin_sizes = value & 0x0fff_0fff,
            reg::ADMIN_SUBMISSION | 0x2c => put(&mut state.admin_submission, reg::ADMIN_SUBMISSION),
            reg::ADMIN_COMPLETION | 0x34 => put(&mut state.admin_completion, reg::ADMIN_COMPLETION),
            reg::DOORBELLS.. => state.doorbell(((offset - reg::DOORBELLS) / 4) as usize, value),
            _ => return,
        }
        self.work.notify_all();
        self.drive(&state);
    }
}

impl Commands for Core {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stopping {
            let Some(number) = state.next() else {
                self.work.wait(&mut state);
                continue;
            };
            let Some(mut queue) = state.submissions[number] else {
                continue;
            };
            let command = queue.take(&self.memory);
            state.submissions[number] = Some(queue);
            let Some(command) = command else {
                state.status |= FATAL;
                continue;
            };
            let ended = if number == 0 {
                let vectors = self.vectors();
                state.admin(&command, &self.namespace, &self.memory, vectors)
            } else {
                let generation = state.generation;
                let cached = state.write_cache;
                state.working = true;
                drop(state);
                let ended = self.carry_out(&command, cached);
                state = self.state.lock();
                state.working = false;
                self.work.notify_all();
                if state.generation != generation {
                    continue;
                }
                ended.map(|()| Some(0))
            };
            self.post(&mut state, number, &queue, &command, ended);
        }
    }

    fn stop(&self) {
        self.state.lock().stopping = true;
        self.hurry.store(true, Ordering::Relaxed);
        self.work.notify_all();
    }
}

/// The controller.
pub struct Nvme {
    core: Running<Core>,
    config: Mutex<ConfigSpace>,
    /// Where the control register of the messages is.
    control: Option<u16>,
}

impl Nvme {
    /// A controller of a namespace of `backend`'s bytes, whose DMA goes to `memory`. Of `serial`, 20 characters are its
    /// serial number; `room` decides what becomes of writes when the host has no room for them. `intx` is
    /// [`crate::pci::PciRoot::intx`] of its slot; with `messages` it has MSI-X, too.
    ///
    /// # Errors
    /// When the host refuses it a thread.
    pub fn new(
        backend: Arc<dyn BlockBackend>,
        serial: &str,
        room: HostRoom,
        memory: GuestMemory,
        intx: Arc<dyn IrqLine>,
        messages: Option<Arc<dyn MsiTarget>>,
    ) -> Result<Arc<Self>, NoThread> {
        let mut config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: 2,
            class: CLASS,
            subsystem: (0x1af4, 0x1100),
        })
        .with_interrupt_pin(0)
        .with_bar(
            BAR,
            BarKind::Memory64 {
                prefetchable: false,
            },
            BAR_BYTES,
        );
        let mut control = None;
        let table = messages.map(|target| {
            let kind = BarKind::Memory32 {
                prefetchable: false,
            };
            config = config
                .clone()
                .with_bar(MESSAGES_BAR, kind, MESSAGES_BAR_BYTES);
            let table = Msix::new(QUEUES as u16, target);
            let pending = MESSAGES_PENDING as u32;
            control = Some(table.add_capability(&mut config, MESSAGES_BAR, 0, pending));
            table
        });
        let core = Core {
            state: Mutex::new(State::power_on()),
            work: Condvar::new(),
            namespace: Namespace {
                backend,
                room,
                serial: serial.to_owned(),
            },
            memory,
            pin: IntxPin::new(intx),
            messages: table,
            hurry: AtomicBool::new(false),
        };
        Ok(Arc::new(Self {
            core: Running::start("nvme", core)?,
            config: Mutex::new(config),
            control,
        }))
    }

    fn apply(&self, config: &ConfigSpace) {
        let bits = config.command();
        if let (Some(table), Some(control)) = (&self.core.messages, self.control) {
            table.set_control(config.read_u16(control));
        }
        let off = bits & pci_command::INTX_DISABLE != 0;
        self.core.pin.set_disabled(off);
        let mut state = self.core.state.lock();
        state.bus_master = bits & pci_command::BUS_MASTER != 0;
        self.core.work.notify_all();
        self.core.drive(&state);
    }
}

impl PciFunction for Nvme {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.config.lock().read(offset, width)
    }

    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        let mut config = self.config.lock();
        config.write(offset, width, value);
        // The command register, or a capability's control.
        if !(pci_reg::STATUS..pci_reg::HEADER_END).contains(&offset) {
            self.apply(&config);
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.config.lock().mappings().collect()
    }

    fn read_bar(&self, bar: u8, offset: u64, width: AccessWidth) -> u64 {
        if bar == MESSAGES_BAR {
            let Some(table) = &self.core.messages else {
                return 0;
            };
            return match offset.checked_sub(MESSAGES_PENDING) {
                None => table.read_table(offset, width),
                Some(offset) => table.read_pending(offset, width),
            };
        }
        self.core.read_any(offset, width)
    }

    fn write_bar(&self, bar: u8, offset: u64, width: AccessWidth, value: u64) {
        if bar == MESSAGES_BAR {
            if let Some(table) = self
                .core
                .messages
                .as_ref()
                .filter(|_| offset < MESSAGES_PENDING)
            {
                table.write_table(offset, width, value);
            }
            return;
        }
        self.core.write_any(offset, width, value);
    }

    fn reset(&self) {
        let mut config = self.config.lock();
        config.reset();
        let mut state = self.core.state.lock();
        state.generation += 1;
        self.core.quiesce(&mut state);
        *state = State {
            generation: state.generation,
            stopping: state.stopping,
            ..State::power_on()
        };
        self.core.messages.iter().for_each(|table| table.reset());
        self.core.drive(&state);
        self.core.pin.set_disabled(false);
    }
}

#[cfg(test)]
mod tests;
