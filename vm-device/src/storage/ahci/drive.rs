//! What is connected to a port: what commands come as, and how they end.

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::optical::Optical;
use super::regions::{BusFault, Regions};
use super::spec::ata;

/// A command as the host sends it (Serial ATA 3.3, 10.5.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TaskFile {
    pub(super) command: u8,
    pub(super) features: u16,
    pub(super) lba: u64,
    pub(super) device: u8,
    pub(super) count: u16,
    pub(super) control: u8,
}

impl TaskFile {
    /// Of the first 16 bytes of a register FIS.
    pub(super) fn of(fis: &[u8; 16]) -> Self {
        let wide = |low: usize, high: usize| u16::from(fis[low]) | u16::from(fis[high]) << 8;
        let lba = [4, 5, 6, 8, 9, 10].into_iter().rev();
        Self {
            command: fis[2],
            features: wide(3, 11),
            lba: lba.fold(0, |lba, at| lba << 8 | u64::from(fis[at])),
            device: fis[7],
            count: wide(12, 13),
            control: fis[15],
        }
    }

    /// The address of a command with 28 bits of it.
    pub(super) fn lba28(&self) -> u64 {
        self.lba & 0xff_ffff | u64::from(self.device & 0xf) << 24
    }
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) status: u8,
    pub(super) error: u8,
    pub(super) count: u16,
    pub(super) lba: u64,
    /// Data came by PIO: a setup FIS tells of them.
    pub(super) by_pio: bool,
    /// Memory could not be accessed.
    pub(super) bus_fault: bool,
}

impl Outcome {
    pub(super) const DONE: Self = Self {
        status: ata::READY,
        error: 0,
        count: 0,
        lba: 0,
        by_pio: false,
        bus_fault: false,
    };

    pub(super) const PIO: Self = Self {
        by_pio: true,
        ..Self::DONE
    };

    pub(super) const fn failed(error: u8) -> Self {
        Self {
            status: ata::READY | ata::ERROR,
            error,
            ..Self::DONE
        }
    }

    pub(super) const ABORTED: Self = Self::failed(ata::ABORTED);

    /// After a reset: the signature of the device.
    pub(super) const fn signature(signature: u32) -> Self {
        Self {
            error: ata::DIAGNOSTICS_PASSED,
            count: signature as u16 & 0xff,
            lba: signature as u64 >> 8,
            ..Self::DONE
        }
    }
}

impl From<BusFault> for Outcome {
    fn from(_: BusFault) -> Self {
        Self {
            bus_fault: true,
            ..Self::ABORTED
        }
    }
}

/// What a drive remembers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum DriveState {
    Disk(super::disk::State),
    Optical(super::optical::State),
}

/// A drive.
pub(super) enum Drive {
    Disk(Disk),
    Optical(Optical),
}

impl Drive {
    pub(super) fn signature(&self) -> u32 {
        match self {
            Self::Disk(_) => ata::DISK_SIGNATURE,
            Self::Optical(_) => ata::PACKET_SIGNATURE,
        }
    }

    /// Carries a command out. `goes_on` says whether one that takes long goes on after so many bytes.
    pub(super) fn run(
        &mut self,
        task: &TaskFile,
        packet: &[u8; 16],
        regions: &mut Regions<'_>,
        goes_on: &dyn Fn() -> bool,
    ) -> Outcome {
        match self {
            Self::Disk(disk) => disk.run(task, regions, goes_on),
            Self::Optical(optical) => optical.run(task, packet, regions, goes_on),
        }
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Disk(disk) => disk.reset(),
            Self::Optical(optical) => optical.reset(),
        }
    }
}

/// Puts text into an identification: characters in pairs of swapped bytes, blanks at the end (ACS-4, 3.4.9).
pub(super) fn put_text(words: &mut [u8], text: &str) {
    words.fill(b' ');
    for (at, byte) in text.bytes().enumerate().take(words.len()) {
        words[at ^ 1] = if byte.is_ascii_graphic() { byte } else { b' ' };
    }
}
