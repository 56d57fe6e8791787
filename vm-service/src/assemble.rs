//! Opening of everything that a configuration names.

use std::sync::Arc;
use std::time::SystemTime;

use vm_core::config::{
    DiskConfig, DiskFormat, DiskMedia, NetConfig, NetKind, OnPanic, PortConfig, VmConfig,
};
use vm_core::{GuestArch, Notices};
use vm_device::block::{BlockBackend, Content, DiskAccess, Overlay, RawDisk};
use vm_device::host_room::HostRoom;
use vm_device::net::nat::{self, Forward, Nat, NatConfig, NatError};
use vm_device::virtio::console::NamedPort;
use vm_platform::machine::{Disk, MOST_CPUS, MachineConfig, MachineError, Nic};

use crate::boards::{self, Board};
use crate::serial::SerialLine;
use crate::signature::Signature;
use crate::{VmBuilder, VmError};

/// The first card's hardware address; further ones count up. The prefix is the one that virtual cards use.
const FIRST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// What a configuration names to be read, open. A pipe among it can be read only once.
pub(crate) struct Inputs {
    board: Board,
    signature: Option<Signature>,
    disks: Vec<Disk>,
}

impl Inputs {
    /// Opens and checks all of it: what the board is made from, and that disks are there. What the user should know of
    /// the host while the machine runs goes to `notices`.
    pub(crate) fn open(
        arch: GuestArch,
        config: &VmConfig,
        notices: &Notices,
    ) -> Result<Self, VmError> {
        let (board, signature) = Board::open(arch, config)?;
        let disks = config.disks.iter().map(|config| disk(config, notices));
        Ok(Self {
            board,
            signature,
            disks: disks.collect::<Result<_, _>>()?,
        })
    }
}

/// A machine's configuration with everything open that it names.
pub(crate) struct Assembly {
    pub(crate) machine: MachineConfig,
    pub(crate) board: Board,
    pub(crate) nats: Vec<Arc<Nat>>,
    pub(crate) signature: Option<Signature>,
}

impl Assembly {
    /// Opens what the configuration names beside the `inputs`.
    pub(crate) fn of(
        builder: &VmBuilder,
        inputs: Inputs,
        serial: &SerialLine,
        console: Option<&SerialLine>,
        ports: &[SerialLine],
        debugcon: Option<&SerialLine>,
    ) -> Result<Self, VmError> {
        let config = &builder.config;
        let Inputs {
            mut board,
            signature,
            disks,
        } = inputs;
        let nat = |net: &&NetConfig| nat(net, &builder.notices);
        let nats: Vec<_> = cards(config).iter().map(nat).collect::<Result<_, _>>()?;
        let nics = cards(config)
            .iter()
            .zip(&nats)
            .enumerate()
            .map(|(number, (net, nat))| Nic {
                backend: nat.clone(),
                mac: net.mac.map_or_else(|| numbered_mac(number), |mac| mac.0),
                slot: net.slot,
            })
            .collect();
        board.make_files(config)?;
        let machine = MachineConfig {
            cpus: config.cpus,
            ram_bytes: config.memory().bytes(),
            rtc_start: crate::rtc::shown(config.rtc, SystemTime::now()),
            serial: serial.sink(),
            disks,
            nics,
            console: console.map(SerialLine::sink),
            ports: named_ports(config, ports),
            debugcon: debugcon.map(SerialLine::sink),
            rng: config.rng,
            balloon: config.balloon,
            no_reboot: config.no_reboot,
            stop_on_panic: config.on_panic == OnPanic::Stop,
            notices: builder.notices.clone(),
            start_paused: builder.start_paused,
            code_budget_bytes: config.code_cache.limit_bytes(vm_osal::free_memory_bytes) as usize,
            trace: builder.trace.clone(),
        };
        Ok(Self {
            machine,
            board,
            nats,
            signature,
        })
    }
}

/// The named ports, with what they are connected to.
fn named_ports(config: &VmConfig, lines: &[SerialLine]) -> Vec<NamedPort> {
    let named = |(port, line): (&PortConfig, &SerialLine)| NamedPort {
        name: port.name.clone(),
        sink: line.sink(),
    };
    config.ports.iter().zip(lines).map(named).collect()
}

/// Checks everything that can be checked without opening anything.
pub(crate) fn check(arch: GuestArch, config: &VmConfig) -> Result<(), VmError> {
    config.check()?;
    boards::check(arch, config)?;
    if !(1..=MOST_CPUS).contains(&config.cpus) {
        return Err(MachineError::Cpus(config.cpus).into());
    }
    for net in cards(config) {
        nat_config(net, &Notices::default())?;
    }
    Ok(())
}

fn disk(config: &DiskConfig, notices: &Notices) -> Result<Disk, VmError> {
    let access = match config.is_readonly() || config.snapshot {
        true => DiskAccess::ReadOnly,
        false => DiskAccess::ReadWrite,
    };
    let content = match config.format {
        Some(DiskFormat::Raw) => Content::Raw,
        // What is in a drive is what it is.
        None if config.media == DiskMedia::Cdrom => Content::Raw,
        None => Content::Guess,
    };
    let raw = RawDisk::open(&config.file, access, content)?;
    let name = config.file.display();
    let (backend, file): (Arc<dyn BlockBackend>, String) =
        match config.snapshot && !config.is_readonly() {
            true => (
                Arc::new(Overlay::new(Box::new(raw), None)?),
                format!(
                    "disk {name}, snapshot in {}",
                    std::env::temp_dir().display()
                ),
            ),
            false => (Arc::new(raw), format!("disk {name}")),
        };
    Ok(Disk {
        backend,
        serial: config.serial.clone(),
        room: HostRoom::new(file, config.on_full, notices.clone()),
        slot: config.slot,
        bus: config.bus,
        optical: config.media == DiskMedia::Cdrom,
    })
}

/// The network cards that there are.
fn cards(config: &VmConfig) -> Vec<&NetConfig> {
    let is_card = |net: &&NetConfig| net.kind != NetKind::None;
    config.nets.iter().filter(is_card).collect()
}

fn nat_config(config: &NetConfig, notices: &Notices) -> Result<NatConfig, NatError> {
    let usual = NatConfig::default();
    let mut forwards = Vec::new();
    for text in &config.hostfwd {
        forwards.extend(Forward::parse(text)?);
    }
    let allow = config.allow.iter().map(|text| text.parse());
    let resolvers = config.dns.iter().map(|text| nat::parse_resolver(text));
    let resolvers: Vec<_> = resolvers.collect::<Result<_, _>>()?;
    Ok(NatConfig {
        network: match config.net.as_str() {
            "" => usual.network,
            text => text.parse()?,
        },
        ipv6: config.ipv6,
        mtu: config.mtu.unwrap_or(usual.mtu),
        resolvers: (!resolvers.is_empty()).then_some(resolvers),
        restrict: config.is_restricted(),
        allow: allow.collect::<Result<_, _>>()?,
        hostname: config.hostname.clone(),
        forwards,
        pcap: config.pcap.clone(),
        loss_percent: config.loss,
        notices: notices.clone(),
        ..usual
    })
}

fn nat(config: &NetConfig, notices: &Notices) -> Result<Arc<Nat>, VmError> {
    Ok(Nat::start(nat_config(config, notices)?)?)
}

/// The address of a card that was given none.
fn numbered_mac(number: usize) -> [u8; 6] {
    let mut mac = FIRST_MAC;
    mac[5] = mac[5].wrapping_add(number as u8);
    mac
}

#[cfg(test)]
mod tests;
