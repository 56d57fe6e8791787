//! Ports of the virtio console that programs in the guest find by name.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use super::options::{self, FromOsStr, from_str_as_os_str};
use super::{ConfigError, SerialConfig};

/// A named port: `name=NAME,to=file:PATH|unix:PATH|pty|null`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, begun by [[port]], with name and to"
)]
pub struct PortConfig {
    /// What programs in the guest find it by, as `org.qemu.guest_agent.0`.
    pub name: String,
    /// What it is connected to; the terminal is for consoles.
    pub to: SerialConfig,
}

const KEYS: [&str; 2] = ["name", "to"];
/// Longest name: Linux makes a file of it.
const NAME_MAX_BYTES: usize = 64;

impl PortConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what| Err(ConfigError::malformed("port name", &self.name, what));
        let odd = |c: char| !c.is_ascii_alphanumeric() && !"._-+:@".contains(c);
        if self.name.is_empty() {
            return wrong("is empty: write name=org.example.agent");
        }
        if self.name.len() > NAME_MAX_BYTES {
            return wrong("is too long: 64 characters are the most");
        }
        if self.name.contains(odd) || self.name.starts_with('.') {
            return wrong("is no file's name: letters, digits and . _ - + : @ make one");
        }
        if self.to == SerialConfig::Stdio {
            return Err(ConfigError::malformed(
                "port",
                &self.name,
                "cannot have the terminal: connect it to unix:PATH, pty, file:PATH or null",
            ));
        }
        Ok(())
    }
}

impl FromOsStr for PortConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        let (mut name, mut to) = (None, None);
        for (key, value) in options::items(text) {
            match key.to_str().unwrap_or_default() {
                "name" => name = Some(options::text("name", value)?),
                "to" => to = Some(SerialConfig::from_os_str(&options::value("to", value)?)?),
                _ => return Err(options::unknown("port option", &key, &KEYS)),
            }
        }
        let (Some(name), Some(to)) = (name, to) else {
            return Err(ConfigError::Missing(
                "a port needs a name and what it is connected to: write name=NAME,to=unix:PATH",
            ));
        };
        let port = Self { name, to };
        port.check()?;
        Ok(port)
    }
}

from_str_as_os_str!(PortConfig);
