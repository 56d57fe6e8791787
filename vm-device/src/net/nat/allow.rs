//! What a restricted guest may reach: addresses, and names as far as the network's own name server has told their
//! addresses.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::config::NatError;

/// Addresses of each name that are remembered; the oldest gives way.
const PINS_MAX: usize = 64;

/// One thing that a restricted guest may reach, by connections and datagrams. Text form `HOST:PORT`, where HOST is a
/// name, an address or a network (`192.0.2.0/24`; IPv6 in brackets), and PORT a number, a range (`80-90`) or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    host: Host,
    ports: RangeInclusive<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// The addresses that the first `bits` bits of this one lead.
    Network { address: IpAddr, bits: u8 },
    /// In lower case, without a dot at the end.
    Name(String),
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let network = bare.unwrap_or(text);
        let (address, bits) = match network.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (network, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), str::parse);
            return match bits {
                Ok(bits) if bits <= most => Ok(Self::Network { address, bits }),
                _ => Err("the network's prefix is too long or no number"),
            };
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let name = normal(text);
        if name.is_empty() || name.len() > 253 || !name.chars().all(letter) {
            return Err("the host is neither a name nor an address");
        }
        Ok(Self::Name(name))
    }
}

impl FromStr for Allow {
    type Err = NatError;

    fn from_str(text: &str) -> Result<Self, NatError> {
        let wrong = |reason| NatError::AllowSyntax {
            text: text.to_owned(),
            reason,
        };
        let (host, ports) = text
            .rsplit_once(':')
            .ok_or_else(|| wrong("the `:` before the port is missing"))?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(wrong("an IPv6 address is written in brackets"));
        }
        let ports = match ports {
            "*" => 1..=u16::MAX,
            ports => super::forward::ports(ports).map_err(wrong)?,
        };
        Ok(Self {
            host: Host::parse(host).map_err(wrong)?,
            ports,
        })
    }
}

/// A name as it is compared: in lower case, without a dot at the end.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// What the guest may reach.
pub(super) struct AllowList {
    restricted: bool,
    rules: Vec<Rule>,
}

struct Rule {
    allow: Allow,
    /// What the name server told as the addresses of the rule's name, the newest last.
    pins: VecDeque<IpAddr>,
}

impl AllowList {
    pub(super) fn new(restricted: bool, allow: Vec<Allow>) -> Self {
        let rule = |allow| Rule {
            allow,
            pins: VecDeque::new(),
        };
        Self {
            restricted,
            rules: allow.into_iter().map(rule).collect(),
        }
    }

    pub(super) fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// Whether the guest may send to `to`, an address as the guest knows it.
    pub(super) fn permits(&self, to: SocketAddr) -> bool {
        !self.restricted
            || self
                .rules
                .iter()
                .any(|rule| rule.allow.ports.contains(&to.port()) && rule.holds(to.ip()))
    }

    /// Whether the guest may ask for the addresses of `name`.
    pub(super) fn permits_name(&self, name: &str) -> bool {
        let name = normal(name);
        !self.restricted || self.rules.iter().any(|rule| rule.is_for(&name))
    }

    /// Notes what the guest is told about `name`: from now on it may go there.
    pub(super) fn pin(&mut self, name: &str, addresses: impl Iterator<Item = IpAddr> + Clone) {
        let name = normal(name);
        for rule in self.rules.iter_mut().filter(|rule| rule.is_for(&name)) {
            for address in addresses.clone() {
                rule.pins.retain(|pin| *pin != address);
                if rule.pins.len() >= PINS_MAX {
                    rule.pins.pop_front();
                }
                rule.pins.push_back(address);
            }
        }
    }
}

impl Rule {
    fn is_for(&self, name: &str) -> bool {
        matches!(&self.allow.host, Host::Name(own) if own == name)
    }

    fn holds(&self, address: IpAddr) -> bool {
        match self.allow.host {
            Host::Network {
                address: first,
                bits,
            } => match (first, address) {
                (IpAddr::V4(a), IpAddr::V4(b)) => same(
                    u128::from(u32::from(a)) << 96,
                    u128::from(u32::from(b)) << 96,
                    bits,
                ),
                (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), bits),
                _ => false,
            },
            Host::Name(_) => self.pins.contains(&address),
        }
    }
}

/// Whether the first bits of two numbers agree.
fn same(a: u128, b: u128, bits: u8) -> bool {
    (a ^ b).leading_zeros() >= u32::from(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(rules: &[&str]) -> AllowList {
        let rules = rules.iter().map(|text| text.parse().unwrap());
        AllowList::new(true, rules.collect())
    }

    fn to(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn permits_only_what_a_rule_names() {
        let access = access(&["192.0.2.0/24:80-90", "[2001:db8::/32]:443", "10.0.2.2:*"]);
        for inside in [
            "192.0.2.7:80",
            "192.0.2.255:90",
            "[2001:db8::1]:443",
            "10.0.2.2:1",
        ] {
            assert!(access.permits(to(inside)), "{inside}");
        }
        for outside in [
            "192.0.3.7:80",
            "192.0.2.7:91",
            "[2001:db9::1]:443",
            "10.0.2.3:53",
        ] {
            assert!(!access.permits(to(outside)), "{outside}");
        }
        assert!(AllowList::new(false, Vec::new()).permits(to("192.0.3.7:80")));
    }

    #[test]
    fn permits_addresses_of_a_name_once_they_were_told() {
        let mut access = access(&["Deb.example.:80"]);
        assert!(access.permits_name("deb.EXAMPLE"));
        assert!(!access.permits_name("sub.deb.example"));
        assert!(!access.permits(to("192.0.2.1:80")));
        let addresses: [IpAddr; 1] = ["192.0.2.1".parse().unwrap()];
        access.pin("deb.example", addresses.into_iter());
        access.pin("other.example", ["192.0.2.2".parse().unwrap()].into_iter());
        assert!(access.permits(to("192.0.2.1:80")));
        assert!(!access.permits(to("192.0.2.1:81")));
        assert!(!access.permits(to("192.0.2.2:80")));
    }

    #[test]
    fn pin_flood_stays_bounded() {
        let mut access = access(&["a.example:80"]);
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        access.pin("a.example", (1..10_000).map(address));
        assert_eq!(access.rules[0].pins.len(), PINS_MAX);
    }

    #[test]
    fn allow_malformed_text_names_the_wrong_part() {
        for (text, part) in [
            ("deb.example", "`:`"),
            ("deb.example:", "port"),
            ("deb.example:0", "port"),
            ("deb.example:90-80", "port"),
            ("2001:db8::1:80", "brackets"),
            ("192.0.2.0/33:80", "prefix"),
            ("two words:80", "host"),
            (":80", "host"),
        ] {
            let message = text.parse::<Allow>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
