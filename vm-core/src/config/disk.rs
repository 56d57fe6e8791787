//! Disks.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::choice::written_as_text;
use super::options::{self, FromOsStr, from_str_as_os_str};

/// How a disk's bytes lie in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DiskFormat {
    /// One after the other.
    Raw,
}

impl FromStr for DiskFormat {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "raw" => Ok(Self::Raw),
            "qcow2" | "vmdk" | "vdi" | "vhdx" | "vpc" | "qed" => {
                Err(ConfigError::NotBuilt(format!(
                    "this program has no disk format '{text}': convert the image with 'qemu-img convert -O raw'"
                )))
            }
            other => Err(ConfigError::unknown("disk format", other, &["raw"])),
        }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
        })
    }
}

/// What happens to a guest that writes when the host has no room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnFull {
    /// The write waits for room, and with it the disk.
    #[default]
    Pause,
    /// The write fails.
    Report,
}

impl FromStr for OnFull {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "pause" => Ok(Self::Pause),
            "report" => Ok(Self::Report),
            other => Err(ConfigError::unknown("on-full", other, &["pause", "report"])),
        }
    }
}

impl fmt::Display for OnFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::Report => "report",
        })
    }
}

/// What a disk is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DiskBus {
    /// It is a virtio device.
    #[default]
    Virtio,
    /// The SATA controller of a PC.
    Ahci,
    /// It is an NVM Express controller's.
    Nvme,
}

impl DiskBus {
    /// Every choice.
    pub const WORDS: [&str; 3] = ["virtio", "ahci", "nvme"];
}

impl FromStr for DiskBus {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "virtio" => Ok(Self::Virtio),
            "ahci" | "sata" => Ok(Self::Ahci),
            "nvme" => Ok(Self::Nvme),
            other => Err(ConfigError::unknown("disk bus", other, &Self::WORDS)),
        }
    }
}

impl fmt::Display for DiskBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virtio => "virtio",
            Self::Ahci => "ahci",
            Self::Nvme => "nvme",
        })
    }
}

/// What holds a disk's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DiskMedia {
    /// A disk.
    #[default]
    Disk,
    /// A disc in a CD/DVD drive.
    Cdrom,
}

impl FromStr for DiskMedia {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "disk" => Ok(Self::Disk),
            "cdrom" => Ok(Self::Cdrom),
            other => Err(ConfigError::unknown(
                "disk media",
                other,
                &["disk", "cdrom"],
            )),
        }
    }
}

impl fmt::Display for DiskMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Cdrom => "cdrom",
        })
    }
}

/// A disk: `[file=]PATH[,format=raw][,readonly][,snapshot=on][,serial=TEXT][,on-full=pause|report][,slot=NUMBER][,bus=virtio|ahci|nvme][,media=disk|cdrom]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, begun by [[disk]], with file = \"PATH\""
)]
pub struct DiskConfig {
    /// The image file or host block device.
    pub file: PathBuf,
    /// Its format. When there is none the file is taken as raw, unless it looks like something else.
    #[serde(default)]
    pub format: Option<DiskFormat>,
    /// Whether the guest cannot write.
    #[serde(default)]
    pub readonly: bool,
    /// Whether what the guest writes is thrown away at the end.
    #[serde(default)]
    pub snapshot: bool,
    /// Serial number that the guest sees, at most 20 bytes.
    #[serde(default)]
    pub serial: String,
    /// What happens when the host has no room for what the guest writes.
    #[serde(default)]
    pub on_full: OnFull,
    /// PCI slot, 1 to 31; `None`: the one that disks have.
    #[serde(default)]
    pub slot: Option<u8>,
    /// What it is connected to.
    #[serde(default)]
    pub bus: DiskBus,
    /// Whether it is a disk or a disc.
    #[serde(default)]
    pub media: DiskMedia,
}

/// Most bytes of a serial number (VIRTIO 1.3, 5.2.6, VIRTIO_BLK_T_GET_ID).
const SERIAL_BYTES: usize = 20;
const KEYS: [&str; 9] = [
    "file", "format", "readonly", "snapshot", "serial", "on-full", "slot", "bus", "media",
];

impl DiskConfig {
    /// A writable raw image, refused when it looks like something else.
    pub fn raw(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            format: None,
            readonly: false,
            snapshot: false,
            serial: String::new(),
            on_full: OnFull::default(),
            slot: None,
            bus: DiskBus::default(),
            media: DiskMedia::default(),
        }
    }

    /// A disc in a CD/DVD drive.
    pub fn cdrom(file: impl Into<PathBuf>) -> Self {
        Self {
            bus: DiskBus::Ahci,
            media: DiskMedia::Cdrom,
            ..Self::raw(file)
        }
    }

    /// Whether the guest can never write to it, whatever else is said.
    pub fn is_readonly(&self) -> bool {
        self.readonly || self.media == DiskMedia::Cdrom
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.file.as_os_str().is_empty() {
            return Err(ConfigError::Missing(
                "a disk without a file: write file=PATH",
            ));
        }
        if self.serial.len() > SERIAL_BYTES {
            return Err(ConfigError::malformed(
                "disk serial number",
                &self.serial,
                format!("is longer than {SERIAL_BYTES} bytes: shorten it"),
            ));
        }
        if self.media == DiskMedia::Cdrom && self.bus != DiskBus::Ahci {
            return Err(ConfigError::Missing(
                "CD/DVD drives are on the SATA controller only: write media=cdrom,bus=ahci",
            ));
        }
        if self.slot.is_some() && self.bus == DiskBus::Ahci {
            return Err(ConfigError::Missing(
                "slot= names a slot of the PCI bus, where a disk with bus=ahci is not: leave one of them out",
            ));
        }
        Ok(())
    }
}

impl FromOsStr for DiskConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        let mut disk = Self::raw("");
        for (number, (key, value)) in options::items(text).into_iter().enumerate() {
            match key.to_str().unwrap_or_default() {
                "file" => disk.file = options::value("file", value)?.into(),
                "format" => disk.format = Some(options::text("format", value)?.parse()?),
                "readonly" => disk.readonly = options::switch("readonly", value.as_deref())?,
                "snapshot" => disk.snapshot = options::switch("snapshot", value.as_deref())?,
                "serial" => disk.serial = options::text("serial", value)?,
                "on-full" => disk.on_full = options::text("on-full", value)?.parse()?,
                "slot" => disk.slot = Some(options::slot(value)?),
                "bus" => disk.bus = options::text("bus", value)?.parse()?,
                "media" => {
                    disk.media = options::text("media", value)?.parse()?;
                    // Where such drives are, unless another bus is named.
                    if disk.media == DiskMedia::Cdrom && disk.bus == DiskBus::default() {
                        disk.bus = DiskBus::Ahci;
                    }
                }
                // A path alone is what most people try first.
                _ if number == 0 && value.is_none() => disk.file = key.into(),
                _ => return Err(options::unknown("disk option", &key, &KEYS)),
            }
        }
        disk.check()?;
        Ok(disk)
    }
}

from_str_as_os_str!(DiskConfig);
written_as_text!(DiskFormat OnFull DiskBus DiskMedia);
