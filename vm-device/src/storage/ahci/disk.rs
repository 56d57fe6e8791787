//! An ATA disk (ACS-4).

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::drive::{Outcome, TaskFile, put_text};
use super::regions::Regions;
use super::spec::ata;
use crate::block::{BlockBackend, SECTOR_BYTES};
use crate::host_room::HostRoom;

/// Bytes that move between host and guest at once.
const BOUNCE_BYTES: usize = 0x4_0000;
/// Sectors that a multiple command moves at a time.
const MULTIPLE: u8 = 16;

/// What a guest can change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Writes may stay volatile until a flush.
    write_cache: bool,
    /// Sectors of a multiple command; zero for none.
    multiple: u8,
}

impl State {
    const POWER_ON: Self = Self {
        write_cache: true,
        multiple: MULTIPLE,
    };
}

/// A disk.
pub(super) struct Disk {
    backend: Arc<dyn BlockBackend>,
    room: HostRoom,
    serial: String,
    pub(super) state: State,
}

/// Which way data go, and how addresses come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Write,
    /// Written for good before it ends.
    WriteThrough,
    Verify,
}

/// A command that moves sectors: its code, what it does, 48 bits of address, by PIO.
type Row = (u8, Kind, bool, bool);

/// Commands that move sectors (ACS-4, 7).
#[rustfmt::skip]
const MOVES: [Row; 17] = [
    (0x20, Kind::Read, false, true),          // READ SECTOR(S)
    (0x21, Kind::Read, false, true),          // the same without retries
    (0x24, Kind::Read, true, true),           // READ SECTOR(S) EXT
    (0x25, Kind::Read, true, false),          // READ DMA EXT
    (0x29, Kind::Read, true, true),           // READ MULTIPLE EXT
    (0x30, Kind::Write, false, true),         // WRITE SECTOR(S)
    (0x34, Kind::Write, true, true),          // WRITE SECTOR(S) EXT
    (0x35, Kind::Write, true, false),         // WRITE DMA EXT
    (0x39, Kind::Write, true, true),          // WRITE MULTIPLE EXT
    (0x3d, Kind::WriteThrough, true, false),  // WRITE DMA FUA EXT
    (0x40, Kind::Verify, false, true),        // READ VERIFY SECTOR(S)
    (0x42, Kind::Verify, true, true),         // READ VERIFY SECTOR(S) EXT
    (0xc4, Kind::Read, false, true),          // READ MULTIPLE
    (0xc5, Kind::Write, false, true),         // WRITE MULTIPLE
    (0xc8, Kind::Read, false, false),         // READ DMA
    (0xca, Kind::Write, false, false),        // WRITE DMA
    (0xce, Kind::WriteThrough, true, true),   // WRITE MULTIPLE FUA EXT
];

impl Disk {
    pub(super) fn new(backend: Arc<dyn BlockBackend>, serial: &str, room: HostRoom) -> Self {
        Self {
            backend,
            room,
            serial: serial.to_owned(),
            state: State::POWER_ON,
        }
    }

    pub(super) fn reset(&mut self) {
        self.state = State::POWER_ON;
    }

    fn sectors(&self) -> u64 {
        self.backend.len() / SECTOR_BYTES
    }

    pub(super) fn run(
        &mut self,
        task: &TaskFile,
        regions: &mut Regions<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Outcome {
        if let Some(&(_, kind, wide, by_pio)) = MOVES.iter().find(|row| row.0 == task.command) {
            let outcome = self.transfer(task, kind, wide, regions, goes_on);
            let is_read = kind == Kind::Read && outcome.status & ata::ERROR == 0;
            return Outcome {
                by_pio: by_pio && is_read,
                ..outcome
            };
        }
        match task.command {
            ata::IDENTIFY => match regions.write(&self.identify()) {
                Ok(()) => Outcome::PIO,
                Err(fault) => fault.into(),
            },
            // DATA SET MANAGEMENT
            0x06 if task.features & 1 != 0 => self.trim(task, regions),
            // FLUSH CACHE, FLUSH CACHE EXT
            0xe7 | 0xea => self.flush(),
            // SET FEATURES
            0xef => self.set_feature(task.features as u8),
            // SET MULTIPLE MODE
            0xc6 => {
                let count = task.count as u8;
                if count > MULTIPLE || !(count == 0 || count.is_power_of_two()) {
                    return Outcome::ABORTED;
                }
                self.state.multiple = count;
                Outcome::DONE
            }
            // CHECK POWER MODE: active.
            0xe5 => Outcome {
                count: 0xff,
                ..Outcome::DONE
            },
            // READ NATIVE MAX ADDRESS (EXT)
            0x27 | 0xf8 => Outcome {
                lba: self.sectors().saturating_sub(1),
                ..Outcome::DONE
            },
            // STANDBY, IDLE, both immediate, SLEEP; INITIALIZE DEVICE PARAMETERS, RECALIBRATE, SECURITY FREEZE LOCK
            0xe0..=0xe3 | 0xe6 | 0x91 | 0x10 | 0xf5 => Outcome::DONE,
            _ => Outcome::ABORTED,
        }
    }

    fn transfer(
        &self,
        task: &TaskFile,
        kind: Kind,
        wide: bool,
        regions: &mut Regions<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Outcome {
        let (lba, count) = if wide {
            (
                task.lba,
                if task.count == 0 {
                    0x1_0000
                } else {
                    task.count.into()
                },
            )
        } else {
            let count = task.count & 0xff;
            (task.lba28(), if count == 0 { 0x100 } else { count.into() })
        };
        if lba
            .checked_add(count)
            .is_none_or(|end| end > self.sectors())
        {
            return Outcome::failed(ata::NOT_FOUND | ata::ABORTED);
        }
        if kind == Kind::Verify {
            return Outcome::DONE;
        }
        let (mut offset, mut left) = (lba * SECTOR_BYTES, (count * SECTOR_BYTES) as usize);
        let mut bounce = vec![0; left.min(BOUNCE_BYTES)];
        while left > 0 {
            let part = &mut bounce[..left.min(BOUNCE_BYTES)];
            if !goes_on() {
                return Outcome::ABORTED;
            }
            let moved = if kind == Kind::Read {
                self.backend
                    .read_at(offset, part)
                    .map(|()| regions.write(part))
            } else {
                match regions.read(part) {
                    Ok(bytes) if bytes < part.len() => return Outcome::ABORTED,
                    Err(fault) => return fault.into(),
                    Ok(_) => self.write(offset, part, goes_on).map(Ok),
                }
            };
            match moved {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => return fault.into(),
                Err(_) if kind == Kind::Read => return Outcome::failed(ata::UNCORRECTABLE),
                Err(_) => return Outcome::ABORTED,
            }
            offset += part.len() as u64;
            left -= part.len();
        }
        let durable = kind == Kind::WriteThrough || kind == Kind::Write && !self.state.write_cache;
        if durable { self.flush() } else { Outcome::DONE }
    }

    fn write(&self, offset: u64, part: &[u8], goes_on: &dyn Fn() -> bool) -> io::Result<()> {
        let wait = |time| {
            std::thread::sleep(time);
            goes_on()
        };
        self.room
            .await_room(wait, || self.backend.write_at(offset, part))
    }

    fn flush(&self) -> Outcome {
        match self.backend.flush() {
            Ok(()) => Outcome::DONE,
            Err(_) => Outcome::ABORTED,
        }
    }

    fn trim(&self, task: &TaskFile, regions: &mut Regions<'_>) -> Outcome {
        for _ in 0..task.count.min(8) {
            let mut block = [0; ata::TRIM_BLOCK_BYTES];
            match regions.read(&mut block) {
                Ok(bytes) if bytes == block.len() => {}
                Ok(_) => return Outcome::ABORTED,
                Err(fault) => return fault.into(),
            }
            for range in block.as_chunks().0 {
                let range = u64::from_le_bytes(*range);
                let (lba, count) = (range & 0xffff_ffff_ffff, range >> 48);
                if count == 0 {
                    continue;
                }
                if lba + count > self.sectors() {
                    return Outcome::failed(ata::NOT_FOUND | ata::ABORTED);
                }
                let done = self
                    .backend
                    .discard(lba * SECTOR_BYTES, count * SECTOR_BYTES);
                if done.is_err() {
                    return Outcome::ABORTED;
                }
            }
        }
        Outcome::DONE
    }

    fn set_feature(&mut self, feature: u8) -> Outcome {
        match feature {
            0x02 => self.state.write_cache = true,
            0x82 => {
                self.state.write_cache = false;
                return self.flush();
            }
            // Transfer mode, power management, look-ahead, reverting at resets: all alike here.
            0x03 | 0x05 | 0x55 | 0x66 | 0x85 | 0xaa | 0xcc => {}
            _ => return Outcome::ABORTED,
        }
        Outcome::DONE
    }

    /// IDENTIFY DEVICE data (ACS-4, 7.13.6).
    fn identify(&self) -> [u8; ata::IDENTIFY_BYTES] {
        let mut bytes = [0; ata::IDENTIFY_BYTES];
        let sectors = self.sectors();
        let cylinders = (sectors / (16 * 63)).min(16_383) as u16;
        let words = |bytes: &mut [u8; 512], list: &[(usize, u16)]| {
            for &(word, value) in list {
                bytes[2 * word..2 * word + 2].copy_from_slice(&value.to_le_bytes());
            }
        };
        put_text(&mut bytes[20..40], &self.serial);
        put_text(&mut bytes[46..54], "1.0");
        put_text(&mut bytes[54..94], "VIRTUAL DISK");
        let block_sectors = self.backend.physical_block_bytes() / SECTOR_BYTES;
        let cache = if self.state.write_cache { 1 << 5 } else { 0 };
        let writable = u16::from(!self.backend.read_only());
        words(
            &mut bytes,
            &[
                (0, 0x0040),
                (1, cylinders),
                (3, 16),
                (6, 63),
                (47, 0x8000 | u16::from(MULTIPLE)),
                (49, 0x0f00),
                (50, 0x4000),
                (53, 0x0007),
                (54, cylinders),
                (55, 16),
                (56, 63),
                (59, 0x0100 | u16::from(self.state.multiple)),
                (63, 0x0007),
                (64, 0x0003),
                (65, 120),
                (66, 120),
                (67, 120),
                (68, 120),
                (76, 0x000e),
                (80, 0x01f0),
                // Write cache, look-ahead not; flushes, 48 bits.
                (82, 1 << 5),
                (83, 0x7400),
                (84, 0x4040),
                (85, cache),
                (86, 0x3400),
                (87, 0x4040),
                (88, 0x203f),
                (105, 8),
                (106, 0x6000 | block_sectors.ilog2() as u16),
                (169, writable),
                // No rotation.
                (217, 1),
                (222, 0x107f),
            ],
        );
        let narrow = sectors.min(0xfff_ffff) as u32;
        bytes[120..124].copy_from_slice(&narrow.to_le_bytes());
        let geometry = u32::from(cylinders) * 16 * 63;
        bytes[114..118].copy_from_slice(&geometry.to_le_bytes());
        bytes[200..208].copy_from_slice(&sectors.to_le_bytes());
        bytes[510] = 0xa5;
        let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        bytes[511] = sum.wrapping_neg();
        bytes
    }
}
