//! A virtual machine from its building to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vm_core::config::SerialConfig;
use vm_core::{DebugTarget, GuestPhysAddr, Resume, Statistic, StopCause, VcpuId};
use vm_device::chardev::CharSink;
use vm_device::display::{Display, Frame as Picture};
use vm_device::input::i8042::I8042;
use vm_device::net::nat::Nat;
use vm_device::virtio::balloon::VirtioBalloon;
use vm_engine_jit::Listing;
use vm_mem::GuestMemory;
use vm_platform::machine::{Machine, Outcome, TranslateOptions};

use crate::assemble::{self, Assembly, Inputs};
use crate::boards;
use crate::keys::{self, KeyError};
use crate::lifecycle::Lifecycle;
use crate::serial::SerialLine;
use crate::signature::Signature;
use crate::transcript::Transcript;
use crate::{AccelChoice, NoText, SerialInput, State, VmBuilder, VmError, png};

/// A virtual machine. It runs once; dropping it ends its threads and closes what it opened.
pub struct Vm {
    machine: Option<Machine>,
    lines: Vec<SerialLine>,
    nats: Vec<Arc<Nat>>,
    signature: Option<Signature>,
    accel: AccelChoice,
    statistics: Vec<Vec<Statistic>>,
    screenshot: Option<PathBuf>,
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
    ports: Vec<(String, SerialInput)>,
    debugger: Arc<dyn DebugTarget>,
    balloon: Option<Arc<VirtioBalloon>>,
    display: Option<Arc<dyn Display>>,
    keyboard: Option<Arc<I8042>>,
    sinks: Vec<Arc<dyn CharSink>>,
    memory: GuestMemory,
    printed: [Option<Arc<Transcript>>; 2],
}

/// Places in [`VmHandle::printed`].
const SERIAL: usize = 0;
const CONSOLE: usize = 1;
/// A wait that is longer ends the same way: with the machine.
const LONGEST_WAIT_MS: u64 = 1 << 40;

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

    /// The input of the port with this name, if there is one.
    pub fn port(&self, name: &str) -> Option<&SerialInput> {
        let named = self.ports.iter().find(|(port, _)| port == name);
        named.map(|(_, input)| input)
    }

    /// The memory balloon, through which a program asks the guest for memory; `None` when the machine has none.
    pub fn balloon(&self) -> Option<&Arc<VirtioBalloon>> {
        self.balloon.as_ref()
    }

    /// A picture of what the display shows now, or showed last; `None` when the machine has no display, or it shows nothing.
    pub fn picture(&self) -> Option<Picture> {
        self.display.as_ref()?.frame()
    }

    /// What a display in text mode says, a line each, without blanks at their ends; `None` in other modes and without a display.
    pub fn screen_text(&self) -> Option<Vec<String>> {
        self.display.as_ref()?.text()
    }

    /// Presses a key of the machine's keyboard, and releases it: a character as a US keyboard has it, or a name as `ret`, `esc`, `up`,
    /// `f10`; with others held as in `ctrl-alt-delete`.
    ///
    /// # Errors
    /// When there is no such key, the machine has no keyboard, or its guest does not take more keys now.
    pub fn press(&self, key: &str) -> Result<(), KeyError> {
        let chord = keys::chord(key)?;
        let keyboard = self.keyboard.as_ref().ok_or(KeyError::NoKeyboard)?;
        let down = chord.iter().map(|&code| (code, true));
        let up = chord.iter().rev().map(|&code| (code, false));
        let mut taken = down.chain(up).map(|(code, down)| keyboard.key(code, down));
        match taken.all(|taken| taken) {
            true => Ok(()),
            false => Err(KeyError::NotTaken),
        }
    }

    /// Stops every virtual CPU between two instructions, and waits until they stand still. False when they do not within
    /// that time (a device holds one), or when the machine has ended. Devices and the host go on.
    pub fn pause(&self, within: Duration) -> bool {
        self.debugger.pause();
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let stopped = self.debugger.wait(within_ms.min(LONGEST_WAIT_MS));
        stopped.is_some_and(|cause| !matches!(cause, StopCause::Ended(_)))
    }

    /// Lets every virtual CPU go on after [`VmHandle::pause`] or [`VmBuilder::start_paused`].
    pub fn resume(&self) {
        let all = vec![Resume::Continue; self.debugger.vcpus() as usize];
        self.debugger.resume(&all);
    }

    /// Waits until the guest has printed `text` on its serial port, and gives all that it printed since the text before.
    ///
    /// Text that nobody has waited for is kept, 256 KiB of it at least, so nothing is missed between two calls. Clones of a
    /// handle share what is kept.
    ///
    /// # Errors
    /// When it does not come in time, or the machine ends.
    pub fn wait_for_text(&self, text: &str, within: Duration) -> Result<String, NoText> {
        self.wait_on(SERIAL, text, within)
    }

    /// The same on the virtio console.
    ///
    /// # Errors
    /// As [`VmHandle::wait_for_text`]; also when there is no such console.
    pub fn wait_for_console_text(&self, text: &str, within: Duration) -> Result<String, NoText> {
        self.wait_on(CONSOLE, text, within)
    }

    fn wait_on(&self, line: usize, text: &str, within: Duration) -> Result<String, NoText> {
        match &self.printed[line] {
            Some(printed) => printed.wait_for(text, within),
            None => Err(NoText::Ended {
                wanted: text.to_owned(),
                printed: String::new(),
            }),
        }
    }

    /// Reads guest RAM at a guest-physical address. A running guest may write it meanwhile: [`VmHandle::pause`] first for
    /// a view of one moment. Works after the machine's end, too.
    ///
    /// # Errors
    /// When not all of it is RAM; nothing is read then.
    pub fn read_memory(&self, addr: GuestPhysAddr, into: &mut [u8]) -> Result<(), VmError> {
        Ok(self.memory.read(addr, into)?)
    }

    /// Writes guest RAM at a guest-physical address; code that is written over is translated anew.
    ///
    /// # Errors
    /// When not all of it is RAM; nothing is written then.
    pub fn write_memory(&self, addr: GuestPhysAddr, from: &[u8]) -> Result<(), VmError> {
        Ok(self.memory.write(addr, from)?)
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
        let arch = boards::arch_of(config);
        assemble::check(arch, config)?;
        // What is read is opened before anything is created: a serial port's file would be emptied for nothing.
        let inputs = Inputs::open(arch, config, &builder.notices)?;
        let line = |sink: &Option<_>, config: &SerialConfig| match sink {
            Some(sink) => Ok(SerialLine::to(Arc::clone(sink))),
            None => SerialLine::open(config, &builder.notices),
        };
        let nothing = SerialConfig::Null;
        let serial = config.serial.as_ref().unwrap_or(&nothing);
        let mut serial = line(&builder.serial_sink, serial)?;
        let mut console = match (&builder.console_sink, &config.console) {
            (None, None) => None,
            (sink, port) => Some(line(sink, port.as_ref().unwrap_or(&nothing))?),
        };
        let debugcon = config.debugcon.as_ref();
        let debugcon = debugcon.map(|port| SerialLine::open(port, &builder.notices));
        let debugcon = debugcon.transpose()?;
        let printed = [
            Some(serial.keep_text()),
            console.as_mut().map(SerialLine::keep_text),
        ];
        let ports = config.ports.iter();
        let mut ports: Vec<_> = ports
            .map(|port| SerialLine::open(&port.to, &builder.notices))
            .collect::<Result<_, _>>()?;
        let assembly = Assembly::of(
            &builder,
            inputs,
            &serial,
            console.as_ref(),
            &ports,
            debugcon.as_ref(),
        )?;
        let machine = assembly.board.build(assembly.machine)?;
        let accel = AccelChoice::of(config.accel, arch, || {
            let dump = config.dump.unwrap_or_default();
            let listing = Listing {
                ir: dump.ir,
                asm: dump.asm,
                filter: config.filter.map(|range| (range.first, range.last)),
            };
            machine.translate(TranslateOptions {
                perf_map: config.perf_map,
                count_accesses: config.stats,
                listing,
                shown: builder.shown.clone(),
                verify: config.verify,
            })
        });
        let serial_input = SerialInput::new(machine.serial_input());
        let console_input = machine.console_input().map(SerialInput::new);
        serial.start_input(serial_input.clone())?;
        if let (Some(console), Some(input)) = (&mut console, &console_input) {
            console.start_input(input.clone())?;
        }
        let port_inputs = machine.port_inputs().into_iter().map(SerialInput::new);
        let port_inputs: Vec<_> = port_inputs.collect();
        for (port, input) in ports.iter_mut().zip(&port_inputs) {
            port.start_input(input.clone())?;
        }
        let named = config.ports.iter().map(|port| port.name.clone());
        let named = named.zip(port_inputs).collect();
        let lines = [Some(serial), console, debugcon].into_iter().flatten();
        let lines: Vec<_> = lines.chain(ports).collect();
        let handle = VmHandle {
            lifecycle: Arc::new(Lifecycle::new()),
            stop: Arc::new(machine.stopper()),
            reset: Arc::new(machine.resetter()),
            resize: Arc::new(machine.resizer()),
            serial: serial_input,
            console: console_input,
            ports: named,
            debugger: machine.debugger(),
            balloon: machine.balloon().cloned(),
            display: machine.display().cloned(),
            keyboard: machine.keyboard().cloned(),
            sinks: lines.iter().map(SerialLine::sink).collect(),
            memory: machine.memory().clone(),
            printed,
        };
        Ok(Self {
            machine: Some(machine),
            lines,
            nats: assembly.nats,
            signature: assembly.signature,
            accel,
            statistics: Vec::new(),
            screenshot: config.screenshot.clone(),
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

    /// The device tree that the guest gets, flattened; empty when the machine has ended.
    pub fn device_tree(&self) -> &[u8] {
        self.machine.as_ref().map_or(&[], Machine::device_tree)
    }

    /// What runs the guest, and why.
    pub fn accel(&self) -> &AccelChoice {
        &self.accel
    }

    /// Where the other ends of pseudo-terminals are: the serial port's, then the console's and the named ports'.
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
            (Ok(_), Some(signature)) => signature.write(machine.memory()),
            _ => Ok(()),
        };
        self.close();
        let outcome = outcome?;
        signature?;
        if let (Some(path), Some(picture)) = (&self.screenshot, self.handle.picture()) {
            png::write(&picture, path)?;
        }
        Ok(outcome)
    }

    /// Ends threads, then writes what is left to write.
    fn close(&mut self) {
        self.handle.serial.close();
        let ports = self.handle.ports.iter().map(|(_, input)| input);
        ports
            .chain(&self.handle.console)
            .for_each(SerialInput::close);
        self.machine = None;
        let printed = self.handle.printed.iter().flatten();
        printed.for_each(|printed| printed.end());
        self.nats.drain(..).for_each(|nat| nat.stop());
        self.lines.iter().for_each(SerialLine::finish);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.close();
    }
}
