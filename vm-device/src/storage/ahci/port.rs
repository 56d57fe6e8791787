//! One port's registers, and the commands of its list.

use serde::{Deserialize, Serialize};
use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use super::drive::{Drive, Outcome, TaskFile};
use super::regions::{BusFault, Regions};
use super::spec::{
    DETECTION, EXCHANGED, LINK_UP, SLOTS, ata, command, fis, interrupt, list, port as reg,
};

/// Registers of a port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Registers {
    list: u64,
    fis: u64,
    interrupts: u32,
    enabled: u32,
    command: u32,
    /// Status, and error in the second byte.
    task_file: u32,
    signature: u32,
    link: u32,
    control: u32,
    errors: u32,
    pub(super) issued: u32,
    /// Counts resets, so that a command that was under way cannot end after one.
    #[serde(skip)]
    pub(super) generation: u64,
    /// The slot in work.
    #[serde(skip)]
    pub(super) working: Option<u32>,
    /// The last FIS was one of a software reset.
    soft_reset: bool,
    /// A command failed; nothing is done until the list is stopped (6.2.2.1).
    halted: bool,
}

/// A command as it was found in memory.
pub(super) struct Issued {
    pub(super) slot: u32,
    pub(super) generation: u64,
    list: u64,
    fis: u64,
}

/// How a command of the list ended.
pub(super) struct Ended {
    pub(super) issued: Issued,
    pub(super) outcome: Outcome,
    pub(super) soft_reset: bool,
}

impl Registers {
    /// After power-on or a reset of the controller; a drive is there or not.
    pub(super) fn power_on(signature: Option<u32>, generation: u64) -> Self {
        let present = signature.is_some();
        Self {
            list: 0,
            fis: 0,
            interrupts: 0,
            enabled: 0,
            command: command::SPIN_UP | command::POWER,
            task_file: if present {
                u32::from(ata::DIAGNOSTICS_PASSED) << 8 | u32::from(ata::READY)
            } else {
                ata::NO_DEVICE.into()
            },
            signature: signature.unwrap_or(u32::MAX),
            link: if present { LINK_UP } else { 0 },
            control: 0,
            errors: 0,
            issued: 0,
            generation,
            working: None,
            soft_reset: false,
            halted: false,
        }
    }

    /// Whether the port interrupts.
    pub(super) fn interrupts(&self) -> bool {
        self.status() & self.enabled != 0
    }

    fn status(&self) -> u32 {
        let connect = if self.errors & EXCHANGED != 0 {
            interrupt::CONNECT
        } else {
            0
        };
        self.interrupts | connect
    }

    fn starts(&self) -> bool {
        self.command & command::START != 0
    }

    fn receives(&self) -> bool {
        self.command & command::FIS_ENABLE != 0
    }

    /// Whether the task file lets a command begin.
    fn is_ready(&self) -> bool {
        self.task_file as u8 & (ata::BUSY | ata::DATA) == 0
    }

    pub(super) fn read(&self, offset: u64) -> u32 {
        let half = |value: u64, high: bool| {
            if high {
                (value >> 32) as u32
            } else {
                value as u32
            }
        };
        match offset {
            reg::COMMAND_LIST | 0x04 => half(self.list, offset & 4 != 0),
            reg::FIS_BASE | 0x0c => half(self.fis, offset & 4 != 0),
            reg::INTERRUPTS => self.status(),
            reg::INTERRUPT_ENABLE => self.enabled,
            reg::COMMAND => {
                let runs = self.starts() || self.working.is_some();
                let slot = self.working.unwrap_or(0) << command::SLOT_SHIFT;
                let fis = if self.receives() {
                    command::FIS_RUNS
                } else {
                    0
                };
                self.command | fis | slot | if runs { command::RUNS } else { 0 }
            }
            reg::TASK_FILE => match self.working {
                Some(_) => self.task_file | u32::from(ata::BUSY),
                None => self.task_file,
            },
            reg::SIGNATURE => self.signature,
            reg::SATA_STATUS => self.link,
            reg::SATA_CONTROL => self.control,
            reg::SATA_ERROR => self.errors,
            reg::ISSUED => self.issued,
            _ => 0,
        }
    }

    /// Writes a register. `signature` is the drive's.
    pub(super) fn write(
        &mut self,
        offset: u64,
        value: u32,
        signature: Option<u32>,
        memory: &GuestMemory,
    ) {
        let put = |register: &mut u64, low_mask: u32| {
            *register = if offset & 4 == 0 {
                *register & !0xffff_ffff | u64::from(value & low_mask)
            } else {
                *register & 0xffff_ffff | u64::from(value) << 32
            };
        };
        match offset {
            reg::COMMAND_LIST | 0x04 => put(&mut self.list, !0x3ff),
            reg::FIS_BASE | 0x0c => put(&mut self.fis, !0xff),
            reg::INTERRUPTS => self.interrupts &= !(value & interrupt::CLEARABLE),
            reg::INTERRUPT_ENABLE => self.enabled = value,
            reg::COMMAND => self.set_command(value, signature, memory),
            reg::SATA_CONTROL => self.set_control(value, signature, memory),
            reg::SATA_ERROR => self.errors &= !value,
            // Only while the list is worked on (3.3.14).
            reg::ISSUED if self.starts() => self.issued |= value,
            _ => {}
        }
    }

    fn set_command(&mut self, value: u32, signature: Option<u32>, memory: &GuestMemory) {
        let (started, received) = (self.starts(), self.receives());
        self.command = value & command::KEPT;
        if value & command::OVERRIDE != 0 {
            self.task_file &= !u32::from(ata::BUSY | ata::DATA);
        }
        if started && !self.starts() {
            self.issued = 0;
            self.halted = false;
            self.generation += 1;
        }
        if !received && self.receives() && signature.is_some() && self.link == LINK_UP {
            // What the device sent after its reset waited until now.
            self.send_signature(signature, memory);
        }
    }

    fn set_control(&mut self, value: u32, signature: Option<u32>, memory: &GuestMemory) {
        let (before, after) = (self.control & DETECTION, value & DETECTION);
        self.control = value & 0xfff;
        if after == 1 && before != 1 {
            self.link = 0;
            self.issued = 0;
            self.generation += 1;
            self.task_file = ata::NO_DEVICE.into();
        } else if before == 1 && after == 0 && signature.is_some() {
            self.link = LINK_UP;
            self.errors |= EXCHANGED;
            self.soft_reset = false;
            self.send_signature(signature, memory);
        } else if after == 4 {
            self.link = 4;
        }
    }

    /// The FIS by which a device says after a reset what it is.
    fn send_signature(&mut self, signature: Option<u32>, memory: &GuestMemory) {
        let Some(signature) = signature else { return };
        self.signature = signature;
        let outcome = Outcome::signature(signature);
        self.task_file = u32::from(outcome.error) << 8 | u32::from(outcome.status);
        if self.receives() {
            // A place that is no RAM is the guest's mistake.
            let _ = send_register(memory, self.fis, &outcome, 0);
        }
    }

    /// The next command of the list, which is in work from now on.
    pub(super) fn take(&mut self) -> Option<Issued> {
        let idle = self.working.is_none() && self.starts() && !self.halted && self.is_ready();
        if !idle || self.issued == 0 {
            return None;
        }
        let slot = self.issued.trailing_zeros() % SLOTS;
        self.working = Some(slot);
        Some(Issued {
            slot,
            generation: self.generation,
            list: self.list,
            fis: self.fis,
        })
    }

    /// A command ended: its FIS, its bit, its interrupt. One that a reset has overtaken leaves nothing.
    pub(super) fn end(&mut self, ended: &Ended, memory: &GuestMemory) {
        self.working = None;
        let Ended {
            issued,
            outcome,
            soft_reset,
        } = ended;
        if issued.generation != self.generation {
            return;
        }
        let failed = outcome.status & ata::ERROR != 0;
        self.task_file = u32::from(outcome.error) << 8 | u32::from(outcome.status);
        let mut fault = outcome.bus_fault;
        if self.receives() && !soft_reset {
            if outcome.by_pio {
                fault |= send_pio(memory, issued.fis, outcome).is_err();
                self.interrupts |= interrupt::PIO_FIS;
            }
            if !outcome.by_pio || failed {
                fault |= send_register(memory, issued.fis, outcome, fis::INTERRUPTS).is_err();
                self.interrupts |= interrupt::REGISTER_FIS;
            }
        }
        if fault {
            self.interrupts |= interrupt::HOST_BUS;
        }
        if failed {
            // The bit stays, so that software finds the command.
            self.interrupts |= interrupt::TASK_FILE;
            self.halted = true;
        } else {
            self.issued &= !(1 << issued.slot);
        }
        self.soft_reset = *soft_reset;
    }

    /// Whether the last FIS held the drive in a software reset.
    pub(super) fn is_held(&self) -> bool {
        self.soft_reset
    }
}

fn send(memory: &GuestMemory, at: u64, bytes: &[u8; 20]) -> Result<(), BusFault> {
    memory.write(GuestPhysAddr(at), bytes).map_err(|_| BusFault)
}

fn registers_of(outcome: &Outcome, kind: u8, flags: u8) -> [u8; 20] {
    let lba = outcome.lba.to_le_bytes();
    let count = outcome.count.to_le_bytes();
    let mut bytes = [0; 20];
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (kind, flags, outcome.status, outcome.error);
    bytes[4..7].copy_from_slice(&lba[..3]);
    bytes[8..11].copy_from_slice(&lba[3..6]);
    bytes[12..14].copy_from_slice(&count);
    bytes
}

/// A register FIS, device to host (Serial ATA 3.3, 10.5.6).
fn send_register(
    memory: &GuestMemory,
    base: u64,
    outcome: &Outcome,
    flags: u8,
) -> Result<(), BusFault> {
    let bytes = registers_of(outcome, fis::REGISTER, flags);
    send(memory, base.wrapping_add(fis::REGISTER_OFFSET), &bytes)
}

/// A PIO setup FIS (Serial ATA 3.3, 10.5.11): the status while data are moved, and the one after.
fn send_pio(memory: &GuestMemory, base: u64, outcome: &Outcome) -> Result<(), BusFault> {
    const TO_HOST: u8 = 1 << 5;
    let mut bytes = registers_of(outcome, fis::PIO, fis::INTERRUPTS | TO_HOST);
    bytes[2] |= ata::DATA;
    bytes[15] = outcome.status;
    send(memory, base.wrapping_add(fis::PIO_OFFSET), &bytes)
}

/// Carries out a command of the list.
pub(super) fn carry_out(
    issued: Issued,
    held: bool,
    drive: &mut Drive,
    memory: &GuestMemory,
    goes_on: &dyn Fn() -> bool,
) -> Ended {
    let (outcome, soft_reset) = match work(&issued, held, drive, memory, goes_on) {
        Ok(done) => done,
        Err(fault) => (fault.into(), false),
    };
    Ended {
        issued,
        outcome,
        soft_reset,
    }
}

fn work(
    issued: &Issued,
    held: bool,
    drive: &mut Drive,
    memory: &GuestMemory,
    goes_on: &dyn Fn() -> bool,
) -> Result<(Outcome, bool), BusFault> {
    let read =
        |at: u64, into: &mut [u8]| memory.read(GuestPhysAddr(at), into).map_err(|_| BusFault);
    let at = issued
        .list
        .wrapping_add(u64::from(issued.slot) * list::HEADER_BYTES);
    let mut header = [0; 16];
    read(at, &mut header)?;
    let header = u128::from_le_bytes(header);
    let flags = header as u32;
    let table = (header >> 64) as u64 & !0x7f;
    let mut command = [0; 16];
    read(table, &mut command)?;
    let task = TaskFile::of(&command);
    if command[0] != fis::FROM_HOST {
        return Ok((Outcome::ABORTED, false));
    }
    if command[1] & fis::IS_COMMAND == 0 {
        // A change of the device control register: into a software reset, or out of it.
        let into = task.control & ata::SOFT_RESET != 0;
        if into {
            drive.reset();
        }
        let out = held && !into;
        let outcome = if out {
            Outcome::signature(drive.signature())
        } else {
            Outcome::DONE
        };
        return Ok((outcome, into));
    }
    let mut packet = [0; 16];
    if flags & list::PACKET != 0 {
        read(table.wrapping_add(list::PACKET_OFFSET), &mut packet)?;
    }
    let base = GuestPhysAddr(table.wrapping_add(list::REGIONS));
    let mut regions = Regions::new(memory, base, flags >> list::REGIONS_SHIFT);
    let outcome = drive.run(&task, &packet, &mut regions, goes_on);
    let moved = regions.moved.to_le_bytes();
    memory
        .write(GuestPhysAddr(at.wrapping_add(list::MOVED)), &moved)
        .map_err(|_| BusFault)?;
    Ok((outcome, false))
}
