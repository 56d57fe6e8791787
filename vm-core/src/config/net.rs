//! Network cards.

use std::ffi::{OsStr, OsString};
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
    /// Nothing: there is no card at all, not even where one is given by default.
    None,
}

impl FromStr for NetKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "user" => Ok(Self::User),
            "none" => Ok(Self::None),
            other => Err(ConfigError::unknown("network", other, &["user", "none"])),
        }
    }
}

impl fmt::Display for NetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::None => "none",
        })
    }
}

/// A network card on the built-in NAT: `user[,KEY=VALUE]...`, or `none`. The keys are the fields below.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table, begun by [[net]]")]
pub struct NetConfig {
    /// What the card is plugged into.
    #[serde(default)]
    pub kind: NetKind,
    /// The guest's IPv4 network, `ADDRESS/PREFIX`; empty: 10.0.2.0/24.
    #[serde(default)]
    pub net: String,
    /// Whether the guest has IPv6; `None`: where the host has a way to the IPv6 Internet.
    #[serde(default)]
    pub ipv6: Option<bool>,
    /// Largest packet in bytes; `None`: 1500.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// Name servers to ask, `ADDRESS` or `ADDRESS:PORT`; none: the host's.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Whether the guest reaches only what `allow` names; `None`: when that names something.
    #[serde(default)]
    pub restrict: Option<bool>,
    /// What a restricted guest reaches all the same, `HOST:PORT`.
    #[serde(default)]
    pub allow: Vec<String>,
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
    /// PCI slot, 1 to 31; `None`: the one that cards have.
    #[serde(default)]
    pub slot: Option<u8>,
}

const KEYS: [&str; 12] = [
    "net", "ipv6", "mtu", "dns", "restrict", "allow", "hostfwd", "pcap", "mac", "hostname", "loss",
    "slot",
];

fn number<T: FromStr>(
    key: &'static str,
    value: Option<OsString>,
    expected: &str,
) -> Result<T, ConfigError> {
    let text = options::text(key, value)?;
    text.parse()
        .map_err(|_| ConfigError::malformed(key, &text, expected.to_owned()))
}

impl NetConfig {
    /// A card on the built-in NAT without anything special.
    pub fn user() -> Self {
        Self::default()
    }

    /// No card.
    pub fn none() -> Self {
        Self {
            kind: NetKind::None,
            ..Self::default()
        }
    }

    /// Whether the guest reaches only what is named.
    pub fn is_restricted(&self) -> bool {
        self.restrict.unwrap_or(!self.allow.is_empty())
    }

    fn set(&mut self, key: &OsStr, value: Option<OsString>) -> Result<(), ConfigError> {
        let switch =
            |what, value: Option<OsString>| options::switch(what, value.as_deref()).map(Some);
        match key.to_str().unwrap_or_default() {
            "net" => self.net = options::text("net", value)?,
            "ipv6" => self.ipv6 = switch("ipv6", value)?,
            "mtu" => {
                self.mtu = Some(number(
                    "mtu",
                    value,
                    "is no number of bytes: write 576 to 65520",
                )?);
            }
            "dns" => self.dns.push(options::text("dns", value)?),
            "restrict" => self.restrict = switch("restrict", value)?,
            "allow" => self.allow.push(options::text("allow", value)?),
            "hostfwd" => self.hostfwd.push(options::text("hostfwd", value)?),
            "pcap" => self.pcap = Some(options::value("pcap", value)?.into()),
            "mac" => self.mac = Some(options::text("mac", value)?.parse()?),
            "hostname" => self.hostname = options::text("hostname", value)?,
            "loss" => self.loss = number("loss", value, "is no percentage: write 0 to 50")?,
            "slot" => self.slot = Some(options::slot(value)?),
            _ => return Err(options::unknown("network option", key, &KEYS)),
        }
        Ok(())
    }
}

impl FromOsStr for NetConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        let mut items = options::items(text).into_iter();
        let mut net = match items.next() {
            Some((kind, _)) => Self {
                kind: kind.to_string_lossy().parse()?,
                ..Self::user()
            },
            None => {
                return Err(ConfigError::Missing(
                    "no network is named: write --net user",
                ));
            }
        };
        for (key, value) in items {
            if net.kind == NetKind::None {
                return Err(ConfigError::malformed(
                    "network",
                    &text.to_string_lossy(),
                    "has options, but none is no card: write none alone",
                ));
            }
            net.set(&key, value)?;
        }
        Ok(net)
    }
}

from_str_as_os_str!(NetConfig);
written_as_text!(MacAddress NetKind);
