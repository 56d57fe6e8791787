//! A virtual machine from its building to its end.

use std::path::Path;
use std::sync::Arc;

use vm_core::config::SerialConfig;
use vm_core::{DebugTarget, Statistic, VcpuId};
use vm_device::chardev::CharSink;
use vm_device::net::nat::Nat;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_engine_jit::Dump;
use vm_platform::riscv_virt::machine::{Machine, Outcome, TranslateOptions};

use crate::assemble::{self, Assembly, Inputs};
use crate::lifecycle::Lifecycle;
use crate::serial::SerialLine;
use crate::signature::Signature;
use crate::{AccelChoice, SerialInput, State, VmBuilder, VmError};

/// A virtual machine. It runs once; dropping it ends its threads and closes what it opened.
pub struct Vm {
    machine: Option<Machine>,
    lines: Vec<SerialLine>,
    nats: Vec<Arc<Nat>>,
    signature: Option<Signature>,
    accel: AccelChoice,
    statistics: Vec<Vec<Statistic>>,
    handle: VmHandle,
}

/// What other threads do to a machine; clones act on the same one.
#[derive(Clone)]
pub struct VmHandle {
    lifecycle: Arc<Lifecycle>,
    stop: Arc<dyn Fn() + Send + Sync>,
    reset: Arc<dyn Fn() + Send + Sync>,
    resize: Arc<dyn Fn(u16, u16) + Send + Sync>,
    serial: SerialInput,
    console: Option<SerialInput>,
    debugger: Arc<dyn DebugTarget>,
    balloon: Option<Arc<VirtioBalloon>>,
    sinks: Vec<Arc<dyn CharSink>>,
}

impl VmHandle {
    /// Where the machine is in its life.
    pub fn state(&self) -> State {
        self.lifecycle.state()
    }

    /// Ends the machine as pulling its plug would; [`Vm::run`] returns [`Outcome::Stopped`].
    pub fn stop(&self) {
        self.sinks.iter().for_each(|sink| sink.hurry());
        (self.stop)();
    }

    /// Presses the reset button.
    pub fn reset(&self) {
        (self.reset)();
    }

    /// Tells the guest the columns and rows of the terminal behind the virtio console; until then it knows of none. Does
    /// nothing without a virtio console.
    pub fn resize_console(&self, columns: u16, rows: u16) {
        (self.resize)(columns, rows);
    }

    /// The serial port's input.
    pub fn serial(&self) -> &SerialInput {
        &self.serial
    }

    /// The virtio console's input, if there is one.
    pub fn console(&self) -> Option<&SerialInput> {
        self.console.as_ref()
    }

    /// The memory balloon, through which a program asks the guest for memory; `None` when the machine has none.
    pub fn balloon(&self) -> Option<&Arc<VirtioBalloon>> {
        self.balloon.as_ref()
    }

    /// What a debugger or monitor uses.
    pub fn debugger(&self) -> &Arc<dyn DebugTarget> {
        &self.debugger
    }
}

impl Vm {
    /// Starts the description of a machine: one CPU, 512 MiB of RAM, nothing to boot.
    pub fn builder() -> VmBuilder {
        VmBuilder::default()
    }

    pub(crate) fn build(builder: VmBuilder) -> Result<Self, VmError> {
        let config = &builder.config;
        assemble::check(config)?;
        // What is read is opened before anything is created: a serial port's file would be emptied for nothing.
        let inputs = Inputs::open(config, &builder.notices)?;
        let line = |sink: &Option<_>, config: &SerialConfig| match sink {
            Some(sink) => Ok(SerialLine::to(Arc::clone(sink))),
            None => SerialLine::open(config, &builder.notices),
        };
        let mut serial = line(&builder.serial_sink, &config.serial)?;
        let mut console = match (&builder.console_sink, &config.console) {
            (None, None) => None,
            (sink, port) => Some(line(sink, port.as_ref().unwrap_or(&SerialConfig::Null))?),
        };
        let assembly = Assembly::of(&builder, inputs, &serial, console.as_ref())?;
        let machine = Machine::new(assembly.machine)?;
        let accel = AccelChoice::of(config.accel, config.arch, || {
            let dump = config.dump.unwrap_or_default();
            let dump = Dump {
                ir: dump.ir,
                asm: dump.asm,
                filter: config.filter.map(|range| (range.first, range.last)),
            };
            machine.translate(TranslateOptions {
                perf_map: config.perf_map,
                count_accesses: config.stats,
                dump,
                shown: builder.shown.clone(),
                verify: config.verify,
            })
        });
        let serial_input = SerialInput::new(machine.serial_input());
        let console_input = machine.console_input().map(SerialInput::new);
        serial.start_input(serial_input.clone());
        if let (Some(console), Some(input)) = (&mut console, &console_input) {
            console.start_input(input.clone());
        }
        let lines: Vec<_> = [Some(serial), console].into_iter().flatten().collect();
        let handle = VmHandle {
            lifecycle: Arc::new(Lifecycle::new()),
            stop: Arc::new(machine.stopper()),
            reset: Arc::new(machine.resetter()),
            resize: Arc::new(machine.resizer()),
            serial: serial_input,
            console: console_input,
            debugger: machine.debugger(),
            balloon: machine.balloon().cloned(),
            sinks: lines.iter().map(SerialLine::sink).collect(),
        };
        Ok(Self {
            machine: Some(machine),
            lines,
            nats: assembly.nats,
            signature: assembly.signature,
            accel,
            statistics: Vec::new(),
            handle,
        })
    }

    /// What other threads act on the machine through.
    pub fn handle(&self) -> VmHandle {
        self.handle.clone()
    }

    /// What the engine did for each virtual CPU until the guest ended, as names and counts.
    pub fn statistics(&self) -> &[Vec<Statistic>] {
        &self.statistics
    }

    /// What runs the guest, and why.
    pub fn accel(&self) -> &AccelChoice {
        &self.accel
    }

    /// Where the other ends of pseudo-terminals are: the serial port's, then the console's.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.lines.iter().filter_map(SerialLine::place)
    }

    /// Runs the guest to its end, through any number of resets, and writes all that it printed.
    ///
    /// # Errors
    /// When it has run already, its files cannot be loaded again at a reset, or the signature cannot be written.
    pub fn run(&mut self) -> Result<Outcome, VmError> {
        if !self.handle.lifecycle.advance(State::Ready, State::Running) {
            return Err(VmError::AlreadyRan);
        }
        let machine = self.machine.as_mut().ok_or(VmError::AlreadyRan)?;
        let outcome = machine.run();
        let debugger = machine.debugger();
        self.statistics = (0..debugger.vcpus())
            .map(|vcpu| debugger.statistics(VcpuId(vcpu)))
            .collect();
        let ended = self.handle.lifecycle.advance(State::Running, State::Ended);
        debug_assert!(ended, "invariant: only run ends a machine");
        let signature = match (&outcome, &self.signature) {
            (Ok(_), Some(signature)) => signature.write(machine.engine().memory()),
            _ => Ok(()),
        };
        self.close();
        let outcome = outcome?;
        signature?;
        Ok(outcome)
    }

    /// Ends threads, then writes what is left to write.
    fn close(&mut self) {
        self.handle.serial.close();
        if let Some(console) = &self.handle.console {
            console.close();
        }
        self.machine = None;
        self.nats.drain(..).for_each(|nat| nat.stop());
        self.lines.iter().for_each(SerialLine::finish);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.close();
    }
}
