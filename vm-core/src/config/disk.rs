//! Disks.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ConfigError, options};

/// How a disk's bytes lie in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// One after the other.
    #[default]
    Raw,
}

/// A disk: `file=PATH[,format=raw][,readonly][,snapshot=on][,serial=TEXT]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl FromStr for DiskConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut disk = Self::raw("");
        for (number, (key, value)) in options::items(text).into_iter().enumerate() {
            match key.as_str() {
                "file" => disk.file = options::value("file", value)?.into(),
                "format" => match options::value("format", value)?.as_str() {
                    "raw" => disk.format = DiskFormat::Raw,
                    "qcow2" => {
                        return Err(ConfigError::NotBuilt(
                            "this program has no disk format 'qcow2': convert the image to raw"
                                .to_owned(),
                        ));
                    }
                    other => return Err(ConfigError::unknown("disk format", other, &["raw"])),
                },
                "readonly" => disk.readonly = options::switch("readonly", value.as_deref())?,
                "snapshot" => disk.snapshot = options::switch("snapshot", value.as_deref())?,
                "serial" => disk.serial = options::value("serial", value)?,
                // A path alone is what most people try first.
                path if number == 0 && value.is_none() => disk.file = path.into(),
                other => return Err(ConfigError::unknown("disk option", other, &KEYS)),
            }
        }
        disk.check()?;
        Ok(disk)
    }
}
