//! A CD/DVD drive behind PACKET commands (ACS-4, 7.18; MMC-6; SPC-4).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::drive::{Outcome, TaskFile, put_text};
use super::regions::Regions;
use super::spec::ata;
use crate::block::BlockBackend;

/// Bytes of a sector.
const SECTOR_BYTES: u64 = 2048;
/// Sectors that are moved at once.
const BOUNCE_SECTORS: u64 = 128;
/// Frames before the first sector of a disc: two seconds of 75.
const LEAD_IN: u64 = 150;
/// Discs with more sectors are DVDs.
const CD_SECTORS: u64 = 80 * 60 * 75;

/// Sense key, additional code, and its qualifier (SPC-4, 4.5.6).
type Sense = (u8, u8, u8);
const NO_SENSE: Sense = (0, 0, 0);
const NO_MEDIUM: Sense = (2, 0x3a, 0);
const UNREADABLE: Sense = (3, 0x11, 0);
const BAD_COMMAND: Sense = (5, 0x20, 0);
const BAD_ADDRESS: Sense = (5, 0x21, 0);
const BAD_FIELD: Sense = (5, 0x24, 0);
const MEDIUM_CHANGED: Sense = (6, 0x28, 0);

/// What a guest can change or has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    sense: Sense,
    /// The medium was changed, and nobody was told yet.
    changed: bool,
    locked: bool,
    /// GET EVENT STATUS NOTIFICATION has a new medium to tell of.
    event: bool,
}

impl State {
    const POWER_ON: Self = Self {
        sense: NO_SENSE,
        changed: false,
        locked: false,
        event: false,
    };
}

/// The drive, with a disc or without.
pub(super) struct Optical {
    medium: Option<Arc<dyn BlockBackend>>,
    serial: String,
    pub(super) state: State,
}

/// What a packet has as answer: data, or why not.
type Answer = Result<Vec<u8>, Sense>;

fn big(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// Minutes, seconds and frames of an address.
fn msf(lba: u64) -> [u8; 3] {
    let frames = lba + LEAD_IN;
    [frames / 75 / 60, frames / 75 % 60, frames % 75].map(|part| part as u8)
}

impl Optical {
    pub(super) fn new(medium: Option<Arc<dyn BlockBackend>>, serial: &str) -> Self {
        Self {
            medium,
            serial: serial.to_owned(),
            state: State::POWER_ON,
        }
    }

    pub(super) fn reset(&mut self) {
        self.state = State {
            changed: self.state.changed,
            ..State::POWER_ON
        };
    }

    /// Puts a disc in, or takes it out; the guest is told.
    pub(super) fn set_medium(&mut self, medium: Option<Arc<dyn BlockBackend>>) {
        self.medium = medium;
        self.state.changed = true;
        self.state.event = true;
    }

    /// Whether the guest keeps the disc from being taken out.
    pub(super) fn is_locked(&self) -> bool {
        self.state.locked
    }

    fn sectors(&self) -> Result<u64, Sense> {
        let medium = self.medium.as_ref().ok_or(NO_MEDIUM)?;
        Ok(medium.len() / SECTOR_BYTES)
    }

    pub(super) fn run(
        &mut self,
        task: &TaskFile,
        packet: &[u8; 16],
        regions: &mut Regions<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Outcome {
        match task.command {
            ata::PACKET => self.packet(task, packet, regions, goes_on),
            ata::IDENTIFY_PACKET => match regions.write(&self.identify()) {
                Ok(()) => Outcome::PIO,
                Err(fault) => fault.into(),
            },
            // What tells a packet device from a disk (ACS-4, 7.13.4).
            ata::IDENTIFY => Outcome {
                lba: u64::from(ata::PACKET_SIGNATURE >> 8),
                count: 1,
                ..Outcome::ABORTED
            },
            ata::DEVICE_RESET => {
                self.reset();
                Outcome::signature(ata::PACKET_SIGNATURE)
            }
            // SET FEATURES, STANDBY, IDLE, both immediate, SLEEP
            0xef | 0xe0..=0xe3 | 0xe6 => Outcome::DONE,
            0xe5 => Outcome {
                count: 0xff,
                ..Outcome::DONE
            },
            _ => Outcome::ABORTED,
        }
    }

    /// A packet's status goes with its data, by DMA or PIO alike.
    fn packet(
        &mut self,
        task: &TaskFile,
        packet: &[u8; 16],
        regions: &mut Regions<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Outcome {
        let by_pio = task.features & 1 == 0;
        // INQUIRY, REQUEST SENSE and event notification come through whatever there is to tell (SAM-5, 5.14).
        if !matches!(packet[0], 0x03 | 0x12 | 0x4a) && std::mem::take(&mut self.state.changed) {
            return self.check(MEDIUM_CHANGED);
        }
        let moved = match packet[0] {
            0x28 | 0xa8 | 0xbe => self.read(packet, regions, goes_on),
            _ => self
                .answer(packet)
                .map(|data| regions.write(&data).map(|()| !data.is_empty())),
        };
        match moved {
            Ok(Ok(data)) => {
                if packet[0] != 0x03 {
                    self.state.sense = NO_SENSE;
                }
                Outcome {
                    by_pio: by_pio && data,
                    // Interrupt reason: the command is done (MMC-6, A.3).
                    count: 3,
                    ..Outcome::DONE
                }
            }
            Ok(Err(fault)) => fault.into(),
            Err(sense) => self.check(sense),
        }
    }

    /// CHECK CONDITION: the sense key is in the error register.
    fn check(&mut self, sense: Sense) -> Outcome {
        self.state.sense = sense;
        Outcome {
            count: 3,
            ..Outcome::failed(sense.0 << 4 | ata::ABORTED)
        }
    }

    fn read(
        &self,
        packet: &[u8; 16],
        regions: &mut Regions<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Result<bool, super::regions::BusFault>, Sense> {
        let medium = self.medium.as_ref().ok_or(NO_MEDIUM)?;
        let lba = big(&packet[2..6]);
        let count = match packet[0] {
            0x28 => big(&packet[7..9]),
            0xa8 => big(&packet[6..10]),
            _ => {
                // READ CD: the user data of data sectors only.
                let kind = packet[1] >> 2 & 7;
                let wanted = packet[9] & 0xf8;
                if !matches!(kind, 0 | 2 | 4) || !matches!(wanted, 0 | 0x10) {
                    return Err(BAD_FIELD);
                }
                if wanted == 0 { 0 } else { big(&packet[6..9]) }
            }
        };
        if lba + count > self.sectors()? {
            return Err(BAD_ADDRESS);
        }
        let mut bounce = vec![0; (count.min(BOUNCE_SECTORS) * SECTOR_BYTES) as usize];
        let mut done = 0;
        while done < count {
            let sectors = (count - done).min(BOUNCE_SECTORS);
            let part = &mut bounce[..(sectors * SECTOR_BYTES) as usize];
            if !goes_on() {
                return Err(UNREADABLE);
            }
            medium
                .read_at((lba + done) * SECTOR_BYTES, part)
                .map_err(|_| UNREADABLE)?;
            if let Err(fault) = regions.write(part) {
                return Ok(Err(fault));
            }
            done += sectors;
        }
        Ok(Ok(count != 0))
    }

    /// What all other packets answer, cut to what they allow.
    fn answer(&mut self, packet: &[u8; 16]) -> Answer {
        let (mut data, room) = match packet[0] {
            // TEST UNIT READY
            0x00 => (self.sectors().map(|_| Vec::new())?, 0),
            // REQUEST SENSE
            0x03 => (self.request_sense(), packet[4].into()),
            // INQUIRY
            0x12 => (self.inquiry(packet)?, big(&packet[3..5])),
            // START STOP UNIT: the tray is the user's.
            0x1b => (Vec::new(), 0),
            // PREVENT ALLOW MEDIUM REMOVAL
            0x1e => {
                self.state.locked = packet[4] & 1 != 0;
                (Vec::new(), 0)
            }
            // READ CAPACITY
            0x25 => {
                let last = self.sectors()?.saturating_sub(1) as u32;
                let mut data = last.to_be_bytes().to_vec();
                data.extend((SECTOR_BYTES as u32).to_be_bytes());
                (data, 8)
            }
            // READ TOC/PMA/ATIP
            0x43 => (self.contents(packet)?, big(&packet[7..9])),
            // GET CONFIGURATION
            0x46 => (self.configuration(), big(&packet[7..9])),
            // GET EVENT STATUS NOTIFICATION
            0x4a => (self.event(packet)?, big(&packet[7..9])),
            // READ DISC INFORMATION
            0x51 => {
                self.sectors()?;
                let mut data = vec![0; 34];
                data[..9].copy_from_slice(&[0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0]);
                (data, big(&packet[7..9]))
            }
            // READ TRACK INFORMATION
            0x52 => {
                let sectors = self.sectors()? as u32;
                let mut data = vec![0; 36];
                data[..8].copy_from_slice(&[0, 34, 1, 1, 0, 4, 1, 0]);
                data[24..28].copy_from_slice(&sectors.to_be_bytes());
                (data, big(&packet[7..9]))
            }
            // MODE SENSE (6) and (10)
            0x1a => (self.mode_page(packet, 4)?, packet[4].into()),
            0x5a => (self.mode_page(packet, 8)?, big(&packet[7..9])),
            // MECHANISM STATUS
            0xbd => (vec![0, 0, 0, 0, 0, 1, 0, 0], big(&packet[8..10])),
            // SET CD SPEED, SYNCHRONIZE CACHE, SEEK
            0xbb | 0x35 | 0x2b => (Vec::new(), 0),
            _ => return Err(BAD_COMMAND),
        };
        data.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        Ok(data)
    }

    fn request_sense(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.state.changed) {
            self.state.sense = MEDIUM_CHANGED;
        }
        let (key, code, qualifier) = std::mem::replace(&mut self.state.sense, NO_SENSE);
        let mut data = vec![0; 18];
        (data[0], data[2], data[7]) = (0x70, key, 10);
        (data[12], data[13]) = (code, qualifier);
        data
    }

    fn inquiry(&self, packet: &[u8; 16]) -> Answer {
        if packet[1] & 1 != 0 {
            return Err(BAD_FIELD);
        }
        let mut data = vec![0x05, 0x80, 0x05, 0x21, 31, 0, 0, 0];
        data.extend(b"VIRTUAL CD-ROM          1.0 ");
        Ok(data)
    }

    fn contents(&self, packet: &[u8; 16]) -> Answer {
        let sectors = self.sectors()?;
        let by_time = packet[1] & 2 != 0;
        let address = |lba: u64| -> [u8; 4] {
            if by_time {
                let [minutes, seconds, frames] = msf(lba);
                [0, minutes, seconds, frames]
            } else {
                (lba as u32).to_be_bytes()
            }
        };
        // Older packets have the format in their last byte (MMC-6, 6.25.2.5).
        let format = if packet[2] & 0xf != 0 {
            packet[2] & 0xf
        } else {
            packet[9] >> 6
        };
        let mut data = vec![0, 0, 1, 1];
        let mut track = |number: u8, lba: u64| {
            data.extend([0, 0x14, number, 0]);
            data.extend(address(lba));
        };
        match (format, packet[6]) {
            (0, 0..=1) => {
                track(1, 0);
                track(0xaa, sectors);
            }
            (0, 0xaa) => track(0xaa, sectors),
            (1, _) => track(1, 0),
            (2, _) => {
                for (point, [minutes, seconds, frames]) in [
                    (0xa0, [1, 0, 0]),
                    (0xa1, [1, 0, 0]),
                    (0xa2, msf(sectors)),
                    (1, msf(0)),
                ] {
                    data.extend([1, 0x14, 0, point, 0, 0, 0, 0, minutes, seconds, frames]);
                }
            }
            _ => return Err(BAD_FIELD),
        }
        let length = (data.len() - 2) as u16;
        data[..2].copy_from_slice(&length.to_be_bytes());
        Ok(data)
    }

    /// The profile, and the features of a drive that reads (MMC-6, 5.3).
    fn configuration(&self) -> Vec<u8> {
        let profile: u16 = match self.sectors() {
            Ok(sectors) if sectors > CD_SECTORS => 0x10,
            Ok(_) => 0x08,
            Err(_) => 0,
        };
        let mut data = vec![0; 6];
        data.extend(profile.to_be_bytes());
        // Profile list: DVD-ROM and CD-ROM.
        data.extend([0, 0, 3, 8]);
        for known in [0x10u16, 0x08] {
            data.extend(known.to_be_bytes());
            data.extend([u8::from(known == profile), 0]);
        }
        // Core (SATA), removable medium with a tray.
        data.extend([0, 1, 0x0b, 8, 0, 0, 0, 8, 1, 0, 0, 0]);
        data.extend([0, 3, 3, 4, 0x29, 0, 0, 0]);
        let length = (data.len() - 4) as u32;
        data[..4].copy_from_slice(&length.to_be_bytes());
        data
    }

    fn event(&mut self, packet: &[u8; 16]) -> Answer {
        // Only by asking.
        if packet[1] & 1 == 0 {
            return Err(BAD_FIELD);
        }
        const MEDIA_CLASS: u8 = 1 << 4;
        if packet[4] & MEDIA_CLASS == 0 {
            return Ok(vec![0, 2, 0x80, MEDIA_CLASS]);
        }
        let present = self.medium.is_some();
        let event = match (std::mem::take(&mut self.state.event), present) {
            (false, _) => 0,
            (true, true) => 2,
            (true, false) => 3,
        };
        Ok(vec![
            0,
            6,
            4,
            MEDIA_CLASS,
            event,
            if present { 2 } else { 0 },
            0,
            0,
        ])
    }

    fn mode_page(&self, packet: &[u8; 16], header: usize) -> Answer {
        let page: &[u8] = match packet[2] & 0x3f {
            // Read error recovery.
            0x01 => &[0x01, 6, 0, 5, 0, 0, 0, 0],
            // CD audio control.
            0x0e => &[0x0e, 14, 4, 0, 0, 0, 0, 75, 1, 255, 2, 255, 0, 0, 0, 0],
            // Capabilities: reads CD-R and DVD, a tray that locks and ejects.
            0x2a => &[
                0x2a, 18, 0x3b, 0, 0x70, 0x60, 0x29, 0, 0x02, 0xc2, 0, 2, 2, 0, 2, 0xc2, 0, 0, 0, 0,
            ],
            0x3f => &[0x01, 6, 0, 5, 0, 0, 0, 0],
            _ => return Err(BAD_FIELD),
        };
        let mut data = vec![0; header];
        data.extend(page);
        if header == 4 {
            data[0] = (data.len() - 1) as u8;
        } else {
            let length = (data.len() - 2) as u16;
            data[..2].copy_from_slice(&length.to_be_bytes());
        }
        Ok(data)
    }

    /// IDENTIFY PACKET DEVICE data (ACS-4, 7.14.6).
    fn identify(&self) -> [u8; ata::IDENTIFY_BYTES] {
        let mut bytes = [0; ata::IDENTIFY_BYTES];
        put_text(&mut bytes[20..40], &self.serial);
        put_text(&mut bytes[46..54], "1.0");
        put_text(&mut bytes[54..94], "VIRTUAL CD-ROM");
        // A CD device with packets of 12 bytes, DMA; versions and modes as of the disk.
        for (word, value) in [
            (0, 0x85c0u16),
            (49, 0x0f00),
            (53, 0x0006),
            (63, 0x0007),
            (64, 0x0003),
            (65, 120),
            (66, 120),
            (67, 120),
            (68, 120),
            (76, 0x000e),
            (80, 0x01f0),
            (82, 0x4210),
            (83, 0x4000),
            (84, 0x4000),
            (85, 0x4210),
            (87, 0x4000),
            (88, 0x203f),
            (222, 0x107f),
        ] {
            bytes[2 * word..2 * word + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}
