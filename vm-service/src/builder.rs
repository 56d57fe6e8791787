//! The fluent interface through which programs describe a machine.

use std::path::PathBuf;
use std::sync::Arc;

use vm_core::config::{
    Accel, ArchChoice, Bios, ByteSize, CodeCache, DiskConfig, DisplayChoice, NetConfig, OnPanic,
    PortConfig, Rtc, SerialConfig, VirtioTransport, VmConfig,
};
use vm_core::{ExecTrace, Notices};
use vm_device::chardev::CharSink;

use crate::{Vm, VmError};

/// Collects what a machine is made of; see [`Vm::builder`].
#[derive(Default)]
pub struct VmBuilder {
    pub(crate) config: VmConfig,
    pub(crate) serial_sink: Option<Arc<dyn CharSink>>,
    pub(crate) console_sink: Option<Arc<dyn CharSink>>,
    pub(crate) start_paused: bool,
    pub(crate) trace: Option<Arc<dyn ExecTrace>>,
    pub(crate) notices: Notices,
    pub(crate) shown: Notices,
}

/// Methods that set one field of the configuration.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $field:ident, $type:ty;)*) => {
        impl VmBuilder {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, value: $type) -> Self {
                self.config.$field = value;
                self
            }
        )*}
    };
}

settings! {
    /// Virtual CPUs.
    cpus: cpus, u32;
    /// What runs before the kernel.
    bios: bios, Bios;
    /// Whether there is an entropy device.
    rng: rng, bool;
    /// Whether there is a memory balloon; when nothing is said, if there is room for one.
    balloon: balloon, Option<bool>;
    /// What a PC has for a display.
    display: display, DisplayChoice;
    /// Whether a PC has a watchdog.
    watchdog: watchdog, bool;
    /// Whether a PC has the port by which programs for tests end the machine with a status.
    debug_exit: debug_exit, bool;
    /// What the real-time clock shows.
    rtc: rtc, Rtc;
    /// How virtio devices are attached.
    virtio: virtio, VirtioTransport;
    /// Whether a guest's reset ends the machine.
    no_reboot: no_reboot, bool;
    /// What happens when the guest's kernel has panicked and stands still.
    on_panic: on_panic, OnPanic;
    /// What runs the guest's instructions.
    accel: accel, Accel;
}

impl VmBuilder {
    /// Replaces everything that a configuration can say.
    #[must_use]
    pub fn config(mut self, config: VmConfig) -> Self {
        self.config = config;
        self
    }

    /// The guest's architecture, when it is not to be the kernel's.
    #[must_use]
    pub fn arch(mut self, arch: impl Into<ArchChoice>) -> Self {
        self.config.arch = arch.into();
        self
    }

    /// RAM: bytes as a number, or a [`ByteSize`].
    #[must_use]
    pub fn memory(mut self, size: impl Into<ByteSize>) -> Self {
        self.config.memory = Some(size.into());
        self
    }

    /// Host memory that translated code may take: bytes as a number, or a [`CodeCache`].
    #[must_use]
    pub fn code_cache(mut self, size: impl Into<CodeCache>) -> Self {
        self.config.code_cache = size.into();
        self
    }

    /// CPU model and changes to it, as `MODEL,+ext,-ext`.
    #[must_use]
    pub fn cpu(mut self, description: impl Into<String>) -> Self {
        self.config.cpu = description.into();
        self
    }

    /// What the serial port is connected to, unless [`VmBuilder::serial_sink`] says otherwise: nothing, unless it is
    /// chosen. [`SerialConfig::Stdio`] is the program's standard output.
    #[must_use]
    pub fn serial(mut self, port: SerialConfig) -> Self {
        self.config.serial = Some(port);
        self
    }

    /// Adds a virtio console, connected as the serial port can be.
    #[must_use]
    pub fn console(mut self, port: SerialConfig) -> Self {
        self.config.console = Some(port);
        self
    }

    /// Adds a port that programs in the guest find by its name, beside the virtio console or without one.
    #[must_use]
    pub fn port(mut self, port: PortConfig) -> Self {
        self.config.ports.push(port);
        self
    }

    /// The kernel, boot loader or bare program.
    #[must_use]
    pub fn kernel(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.kernel = Some(file.into());
        self
    }

    /// The initial RAM disk.
    #[must_use]
    pub fn initrd(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.initrd = Some(file.into());
        self
    }

    /// A device tree instead of the machine's own.
    #[must_use]
    pub fn dtb(mut self, file: impl Into<PathBuf>) -> Self {
        self.config.dtb = Some(file.into());
        self
    }

    /// The kernel's command line.
    #[must_use]
    pub fn append(mut self, words: impl Into<String>) -> Self {
        self.config.append = words.into();
        self
    }

    /// Adds a disk.
    #[must_use]
    pub fn disk(mut self, disk: DiskConfig) -> Self {
        self.config.disks.push(disk);
        self
    }

    /// Adds a network card.
    #[must_use]
    pub fn net(mut self, net: NetConfig) -> Self {
        self.config.nets.push(net);
        self
    }

    /// Where the serial port's output goes. It is called on virtual CPU threads and must not block for long.
    #[must_use]
    pub fn serial_sink(mut self, sink: Arc<dyn CharSink>) -> Self {
        self.serial_sink = Some(sink);
        self
    }

    /// Where a virtio console's output goes; adds the console.
    #[must_use]
    pub fn console_sink(mut self, sink: Arc<dyn CharSink>) -> Self {
        self.console_sink = Some(sink);
        self
    }

    /// Who is told of every instruction; the guest is slower by orders of magnitude then.
    #[must_use]
    pub fn trace(mut self, trace: Arc<dyn ExecTrace>) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Who is told what a running machine has to say: limits that the guest has reached, services that the host does not
    /// allow, room that it does not have. Nobody, unless this is called.
    #[must_use]
    pub fn notices(mut self, notices: Notices) -> Self {
        self.notices = notices;
        self
    }

    /// Who gets text that the configuration asks for: translated code, and what differs between it and interpreted code.
    /// Each text has any number of lines, with their ends. Nobody, unless this is called.
    #[must_use]
    pub fn shown(mut self, shown: Notices) -> Self {
        self.shown = shown;
        self
    }

    /// The guest's first instruction waits until [`VmHandle::debugger`](crate::VmHandle::debugger) resumes it.
    #[must_use]
    pub fn start_paused(mut self, paused: bool) -> Self {
        self.start_paused = paused;
        self
    }

    /// Opens files, disks and networks and builds the machine. Nothing runs yet.
    ///
    /// # Errors
    /// When the configuration makes no machine or names what cannot be had; nothing stays behind.
    pub fn build(self) -> Result<Vm, VmError> {
        Vm::build(self)
    }
}
