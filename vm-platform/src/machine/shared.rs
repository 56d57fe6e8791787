//! What the threads of a machine share, once all of it is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_core::{ExecTrace, Notices, VcpuId};
use vm_device::Bus;
use vm_device::chardev::CharSink;
use vm_engine::{Engine, Vcpu};

use super::board::{Board, Firmware as _};
use super::config::MachineError;
use super::control::Control;

/// A virtual CPU; it is locked while it runs, and a debugger takes it while its thread is parked.
pub(super) type SharedVcpu<G> = Arc<Mutex<Vcpu<G>>>;

/// A machine as the threads of its virtual CPUs, its firmware and its debugger see it.
pub(crate) struct Shared<B: Board> {
    pub(crate) board: B,
    pub(crate) engine: Arc<Engine<B::Guest>>,
    pub(crate) control: Arc<Control>,
    /// Where the serial port's output goes.
    pub(crate) serial: Arc<dyn CharSink>,
    /// Memory-mapped devices and I/O ports. A device that is on both is reset twice.
    pub(super) buses: [Arc<Bus>; 2],
    /// In order.
    pub(super) vcpus: Vec<SharedVcpu<B::Guest>>,
    /// Who is told what the machine has to say.
    pub(super) notices: Notices,
    pub(super) trace: Option<Arc<dyn ExecTrace>>,
    pub(super) code_budget_bytes: usize,
}

impl<B: Board> Shared<B> {
    /// Puts devices, memory and virtual CPUs into their state after power-on. No virtual CPU runs.
    ///
    /// # Errors
    /// When programs cannot be loaded again.
    pub(super) fn reset(&self) -> Result<(), MachineError> {
        self.buses.iter().for_each(|bus| bus.reset());
        if let Some(firmware) = self.board.firmware() {
            firmware.reset();
        }
        self.engine.memory().clear()?;
        self.board.load(self.engine.memory())?;
        self.control.panic_watch.reset();
        // All before any runs: one that is late must not lose what the first ones send it.
        for vcpu in &self.vcpus {
            self.board.power_on(&mut locked(vcpu));
        }
        Ok(())
    }

    /// Serves requests for virtual CPUs that a debugger keeps halted while others run: what they would serve before they
    /// run on must not pile up until then.
    pub(crate) fn serve_for_halted(&self, vcpus: impl Iterator<Item = VcpuId>) {
        for vcpu in vcpus {
            let halted = self.vcpus.get(vcpu.0 as usize);
            // One that runs has it locked, and serves by itself.
            if let Some(mut vcpu) = halted.and_then(|vcpu| vcpu.try_lock().ok()) {
                vcpu.serve_remote();
            }
        }
    }
}

/// Locks a virtual CPU, also one whose thread has panicked.
pub(super) fn locked<T>(vcpu: &Mutex<T>) -> MutexGuard<'_, T> {
    vcpu.lock().unwrap_or_else(PoisonError::into_inner)
}
