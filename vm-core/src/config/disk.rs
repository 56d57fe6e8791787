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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DiskFormat {
    /// One after the other.
    #[default]
    Raw,
}

impl FromStr for DiskFormat {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "raw" => Ok(Self::Raw),
            "qcow2" => Err(ConfigError::NotBuilt(
                "this program has no disk format 'qcow2': convert the image to raw".to_owned(),
            )),
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

/// A disk: `file=PATH[,format=raw][,readonly][,snapshot=on][,serial=TEXT]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, begun by [[disk]], with file = \"PATH\""
)]
pub struct DiskConfig {
    /// The image file or host block device.
    pub file: PathBuf,
    /// Its format.
    #[serde(default)]
    pub format: DiskFormat,
    /// Whether the guest cannot write.
    #[serde(default)]
    pub readonly: bool,
    /// Whether what the guest writes is thrown away at the end.
    #[serde(default)]
    pub snapshot: bool,
    /// Serial number that the guest sees, at most 20 bytes.
    #[serde(default)]
    pub serial: String,
}

/// Most bytes of a serial number (VIRTIO 1.3, 5.2.6, VIRTIO_BLK_T_GET_ID).
const SERIAL_BYTES: usize = 20;
const KEYS: [&str; 5] = ["file", "format", "readonly", "snapshot", "serial"];

impl DiskConfig {
    /// A writable raw image.
    pub fn raw(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            format: DiskFormat::Raw,
            readonly: false,
            snapshot: false,
            serial: String::new(),
        }
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
        Ok(())
    }
}

impl FromOsStr for DiskConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        let mut disk = Self::raw("");
        for (number, (key, value)) in options::items(text).into_iter().enumerate() {
            match key.to_str().unwrap_or_default() {
                "file" => disk.file = options::value("file", value)?.into(),
                "format" => disk.format = options::text("format", value)?.parse()?,
                "readonly" => disk.readonly = options::switch("readonly", value.as_deref())?,
                "snapshot" => disk.snapshot = options::switch("snapshot", value.as_deref())?,
                "serial" => disk.serial = options::text("serial", value)?,
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
written_as_text!(DiskFormat);
