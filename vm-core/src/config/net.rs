//! Network cards.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::choice::written_as_text;
use super::options::{self, FromOsStr, from_str_as_os_str};

/// A network card's hardware address, `52:54:00:12:34:56`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refuse = |problem| ConfigError::malformed("hardware address", text, problem);
        let octets: Option<Vec<u8>> = text
            .split(':')
            .map(|octet| match octet.len() {
                2 => u8::from_str_radix(octet, 16).ok(),
                _ => None,
            })
            .collect();
        let octets: [u8; 6] = octets
            .and_then(|octets| octets.try_into().ok())
            .ok_or_else(|| refuse("is not six bytes: write it as 52:54:00:12:34:56"))?;
        if octets[0] & 1 != 0 || octets == [0; 6] {
            return Err(refuse(
                "is not a card's: its first byte must be even, and not all be zero",
            ));
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What a card is plugged into.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetKind {
    /// The built-in NAT.
    #[default]
    User,
}

impl FromStr for NetKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "user" => Ok(Self::User),
            other => Err(ConfigError::unknown("network", other, &["user"])),
        }
    }
}

impl fmt::Display for NetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
        })
    }
}

/// A network card on the built-in NAT:
/// `user[,hostfwd=tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT]...[,pcap=FILE][,mac=ADDRESS][,hostname=NAME][,loss=PERCENT]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, begun by [[net]]")]
pub struct NetConfig {
    /// What the card is plugged into.
    #[serde(default)]
    pub kind: NetKind,
    /// Host ports that lead to the guest, in the form of the option.
    #[serde(default)]
    pub hostfwd: Vec<String>,
    /// File that records every frame.
    #[serde(default)]
    pub pcap: Option<PathBuf>,
    /// Hardware address; chosen by the card's number when there is none.
    #[serde(default)]
    pub mac: Option<MacAddress>,
    /// Name that the guest gets with its address.
    #[serde(default)]
    pub hostname: String,
    /// Frames of a hundred that the network loses in each direction, for tests.
    #[serde(default)]
    pub loss: u8,
}

const KEYS: [&str; 6] = ["user", "hostfwd", "pcap", "mac", "hostname", "loss"];

fn percent(text: &str) -> Result<u8, ConfigError> {
    text.parse()
        .map_err(|_| ConfigError::malformed("loss", text, "is no percentage: write 0 to 50"))
}

impl NetConfig {
    /// A card on the built-in NAT without anything special.
    pub fn user() -> Self {
        Self::default()
    }
}

impl FromOsStr for NetConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        let mut net = Self::user();
        let mut items = options::items(text).into_iter();
        match items.next() {
            Some((kind, _)) => net.kind = kind.to_string_lossy().parse()?,
            None => {
                return Err(ConfigError::Missing(
                    "no network is named: write --net user",
                ));
            }
        }
        for (key, value) in items {
            match key.to_str().unwrap_or_default() {
                "hostfwd" => net.hostfwd.push(options::text("hostfwd", value)?),
                "pcap" => net.pcap = Some(options::value("pcap", value)?.into()),
                "mac" => net.mac = Some(options::text("mac", value)?.parse()?),
                "hostname" => net.hostname = options::text("hostname", value)?,
                "loss" => net.loss = percent(&options::text("loss", value)?)?,
                _ => return Err(options::unknown("network option", &key, &KEYS)),
            }
        }
        Ok(net)
    }
}

from_str_as_os_str!(NetConfig);
written_as_text!(MacAddress NetKind);
