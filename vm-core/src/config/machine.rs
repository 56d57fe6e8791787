//! The whole machine.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::size::deserialize_ram;
use super::{
    Accel, ArchChoice, Bios, ByteSize, CodeCache, ConfigError, DiskConfig, DisplayChoice, Dump,
    EscapeKey, FlashConfig, GdbConfig, NetConfig, NetKind, OnPanic, PcRange, PortConfig, Rtc,
    SerialConfig, VirtioTransport,
};

/// Everything that can be chosen about a virtual machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VmConfig {
    /// The guest's architecture.
    pub arch: ArchChoice,
    /// Virtual CPUs.
    pub cpus: u32,
    /// CPU model and changes to it, as `MODEL,+ext,-ext`; empty for the architecture's default.
    pub cpu: String,
    /// RAM; what [`VmConfig::memory`] says when nothing is chosen.
    #[serde(deserialize_with = "deserialize_ram")]
    pub memory: Option<ByteSize>,
    /// The kernel, boot loader or bare program.
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub append: String,
    /// What runs before the kernel.
    pub bios: Bios,
    /// Images of the flash banks.
    pub flash: FlashConfig,
    /// A device tree instead of the machine's own.
    pub dtb: Option<PathBuf>,
    /// Disks, in the order in which the guest finds them.
    #[serde(rename = "disk")]
    pub disks: Vec<DiskConfig>,
    /// Network cards.
    #[serde(rename = "net")]
    pub nets: Vec<NetConfig>,
    /// What the serial port is connected to. `vm-cli` takes the terminal when nothing is chosen, a program that embeds a
    /// machine nothing.
    pub serial: Option<SerialConfig>,
    /// What a virtio console is connected to, if there is to be one.
    pub console: Option<SerialConfig>,
    /// Named ports, which programs in the guest find beside the virtio console.
    #[serde(rename = "port")]
    pub ports: Vec<PortConfig>,
    /// Where firmware's log goes, which it writes to a port of a PC, if there is to be such a port.
    pub debugcon: Option<SerialConfig>,
    /// What a PC has for a display.
    pub display: DisplayChoice,
    /// File that gets a picture of the display, in PNG format, when the machine ends.
    pub screenshot: Option<PathBuf>,
    /// The key behind which keys are for this program instead of the guest.
    pub escape: EscapeKey,
    /// Whether there is an entropy device.
    pub rng: bool,
    /// Whether there is a memory balloon, by which memory that the guest does not use goes back to the host; when
    /// nothing is said, if there is room for one.
    pub balloon: Option<bool>,
    /// Whether a PC has a watchdog, which resets it when the guest does not tell that it is well.
    pub watchdog: bool,
    /// Whether a PC has the port by which programs for tests end the machine with a status.
    pub debug_exit: bool,
    /// Whether a PC has the device that kvm-unit-tests talk to.
    pub test_device: bool,
    /// What the real-time clock shows.
    pub rtc: Rtc,
    /// How virtio devices are attached.
    pub virtio: VirtioTransport,
    /// Whether a guest's reset ends the machine.
    pub no_reboot: bool,
    /// What happens when the guest's kernel has panicked and stands still.
    pub on_panic: OnPanic,
    /// What runs the guest's instructions.
    pub accel: Accel,
    /// Host memory for translated code.
    pub code_cache: CodeCache,
    /// Whether what the engine did is reported at the end.
    pub stats: bool,
    /// Whether translated code is interpreted too, block by block, and the outcomes compared.
    pub verify: bool,
    /// What is shown of translated code on standard error.
    pub dump: Option<Dump>,
    /// The code that this is shown of, when not of all.
    pub filter: Option<PcRange>,
    /// Whether translated code is listed for Linux's `perf`.
    pub perf_map: bool,
    /// Where debuggers connect, if they may.
    pub gdb: Option<GdbConfig>,
    /// File that gets the test signature of a bare program when it ends.
    pub dump_signature: Option<PathBuf>,
    /// File that gets a record of every instruction executed. The guest is slower by orders of magnitude then.
    pub trace: Option<PathBuf>,
}

impl Default for VmConfig {
    fn default() -> Self {
        Self {
            arch: ArchChoice::default(),
            cpus: 1,
            cpu: String::new(),
            memory: None,
            kernel: None,
            initrd: None,
            append: String::new(),
            bios: Bios::default(),
            flash: FlashConfig::default(),
            dtb: None,
            disks: Vec::new(),
            nets: Vec::new(),
            serial: None,
            console: None,
            ports: Vec::new(),
            debugcon: None,
            display: DisplayChoice::default(),
            screenshot: None,
            escape: EscapeKey::default(),
            rng: true,
            balloon: None,
            watchdog: false,
            debug_exit: false,
            test_device: false,
            rtc: Rtc::default(),
            virtio: VirtioTransport::default(),
            no_reboot: false,
            on_panic: OnPanic::default(),
            accel: Accel::default(),
            code_cache: CodeCache::Auto,
            stats: false,
            perf_map: false,
            verify: false,
            dump: None,
            filter: None,
            gdb: None,
            dump_signature: None,
            trace: None,
        }
    }
}

const MIB: u64 = 1 << 20;

impl VmConfig {
    /// RAM unless something else is chosen.
    pub const DEFAULT_MEMORY: ByteSize = ByteSize::mib(512);

    /// RAM of the machine.
    pub fn memory(&self) -> ByteSize {
        self.memory.unwrap_or(Self::DEFAULT_MEMORY)
    }

    /// Checks what no single part can tell: that the parts go together.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.memory().bytes().is_multiple_of(MIB) {
            return Err(ConfigError::malformed(
                "memory size",
                &self.memory().to_string(),
                "is not a whole number of MiB: write it as 512M",
            ));
        }
        if let CodeCache::Size(size) = self.code_cache
            && size.bytes() < MIB
        {
            return Err(ConfigError::malformed(
                "code cache",
                &size.to_string(),
                "is too small: give it 1M or more",
            ));
        }
        let terminal = Some(SerialConfig::Stdio);
        if self.serial == terminal && self.console == terminal {
            return Err(ConfigError::Missing(
                "serial port and console both want the terminal: give one of them pty, unix:PATH, file:PATH or null",
            ));
        }
        if self.debugcon == terminal && [&self.serial, &self.console].contains(&&terminal) {
            return Err(ConfigError::Missing(
                "debugcon and another port both want the terminal: give one of them file:PATH or null",
            ));
        }
        if self.initrd.is_some() && self.kernel.is_none() {
            return Err(ConfigError::Missing(
                "an initrd needs a kernel that unpacks it: give one with --kernel",
            ));
        }
        if !self.append.is_empty() && self.kernel.is_none() {
            return Err(ConfigError::Missing(
                "a kernel command line needs a kernel: give one with --kernel",
            ));
        }
        self.flash.check()?;
        if self.nets.len() > 1 && self.nets.iter().any(|net| net.kind == NetKind::None) {
            return Err(ConfigError::Missing(
                "`none` says that there is no network card, but there is another one: leave one of them out",
            ));
        }
        for (number, port) in self.ports.iter().enumerate() {
            port.check()?;
            if self.ports[..number]
                .iter()
                .any(|other| other.name == port.name)
            {
                return Err(ConfigError::malformed(
                    "port name",
                    &port.name,
                    "is there twice: give each port its own",
                ));
            }
        }
        self.disks.iter().try_for_each(DiskConfig::check)
    }

    /// Makes every relative path one below `base`, where a configuration file lies.
    pub fn resolve_paths(&mut self, base: &Path) {
        let files = [
            &mut self.kernel,
            &mut self.initrd,
            &mut self.flash.code,
            &mut self.flash.vars,
            &mut self.dtb,
            &mut self.dump_signature,
            &mut self.trace,
            &mut self.screenshot,
        ];
        let files = files
            .into_iter()
            .flatten()
            .chain(self.disks.iter_mut().map(|disk| &mut disk.file))
            .chain(self.nets.iter_mut().filter_map(|net| net.pcap.as_mut()));
        for file in files {
            *file = base.join(&*file);
        }
        if let Bios::File(file) = &mut self.bios {
            *file = base.join(&*file);
        }
        let named = self.ports.iter_mut().map(|port| &mut port.to);
        let ports = [&mut self.serial, &mut self.console, &mut self.debugcon];
        for port in ports.into_iter().flatten().chain(named) {
            if let SerialConfig::File(path) | SerialConfig::Unix(path) = port {
                *path = base.join(&*path);
            }
        }
    }
}
