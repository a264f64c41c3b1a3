//! Which places in the network a world may connect to: by the lines of its policy, and by what it was granted.
//!
//! A name is allowed by a line that names it; where that leads is judged when it is resolved. An address that isn't public must be named itself:
//! `network = ["db.internal:5432", "10.0.0.5:5432"]`.

use super::{Line, Policy, Resource, Verdict};
use crate::config::ConfigError;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use strait_gate::Host;
use strait_gate::address::{Reach, reach};

/// The longest name, and the longest part of one, in bytes (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;
/// Places of one world's configuration: the gate is told of all addresses among them in one message.
const MAX_PLACES: usize = 1024;

/// A place, or many: `example.com:443`, `*.example.com:*`, `10.0.0.5:5432`, `[fd00::5]:5432`. In canonical form: names in lower case, without a dot
/// at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    hosts: Hosts,
    /// `None` is any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    One(Host),
    /// All names below this one, but not itself.
    Below(String),
}

impl Place {
    pub(super) fn covers(&self, asked: &Self) -> bool {
        let host = match (&self.hosts, &asked.hosts) {
            (Hosts::Below(all), Hosts::One(Host::Name(some))) => is_below(all, some),
            (Hosts::Below(all), Hosts::Below(some)) => all == some || is_below(all, some),
            (one, other) => one == other,
        };
        host && (self.port.is_none() || self.port == asked.port)
    }

    /// The host and port, if it is one place.
    pub(crate) fn one(&self) -> Option<(&Host, u16)> {
        match (&self.hosts, self.port) {
            (Hosts::One(host), Some(port)) => Some((host, port)),
            _ => None,
        }
    }

    /// Whether it is only known when it is resolved where this leads.
    pub(super) fn is_by_name(&self) -> bool {
        !matches!(self.hosts, Hosts::One(Host::Address(_)))
    }

    /// The address that this names at a port.
    fn address(&self, at: u16) -> Option<IpAddr> {
        match self.hosts {
            Hosts::One(Host::Address(address)) if self.port.is_none_or(|port| port == at) => Some(address),
            _ => None,
        }
    }
}

fn is_below(all: &str, some: &str) -> bool {
    some.strip_suffix(all).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) =
            text.rsplit_once(':').ok_or("a place in the network is HOST:PORT, such as `example.com:443`")?;
        let port = match port {
            "*" => None,
            _ => Some(read_port(port).ok_or_else(|| format!("`{port}` is no port: 1 to 65535, or `*` for any"))?),
        };
        let hosts = match host.strip_prefix("*.") {
            Some(all) => Hosts::Below(name(all)?),
            None => Hosts::One(self::host(host)?),
        };
        if let Hosts::One(Host::Address(address)) = hosts
            && let Reach::Never(what) = reach(address)
        {
            return Err(format!("{address} is {what}: nobody may connect there"));
        }
        Ok(Self { hosts, port })
    }
}

fn read_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

fn host(text: &str) -> Result<Host, String> {
    if let Some(inside) = text.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
        return address.map(|v6| Host::Address(v6.into())).ok_or_else(|| format!("`{text}` is no IPv6 address"));
    }
    match text.parse() {
        Ok(v4) => Ok(Host::Address(IpAddr::V4(v4))),
        Err(_) => name(text).map(Host::Name),
    }
}

/// A name in canonical form. What a resolver could take for a number isn't one (`127.1`, `0x7f000001`): it would be an address that nobody judged
/// by its text.
fn name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    match name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label) && !is_number {
        true => Ok(name),
        false => Err(format!(
            "`{text}` is no host: a name in ASCII such as `example.com`, an IPv4 address in full, or an IPv6 address in []"
        )),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Below(name) => write!(f, "*.{name}")?,
            Hosts::One(Host::Name(name)) => f.write_str(name)?,
            Hosts::One(Host::Address(IpAddr::V4(v4))) => write!(f, "{v4}")?,
            Hosts::One(Host::Address(IpAddr::V6(v6))) => write!(f, "[{v6}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

/// The places of a policy. Without a grant's number one is there for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(Vec<(Option<u64>, Place)>);

impl Places {
    pub(super) fn new(texts: &[String]) -> Result<Self, ConfigError> {
        let place = |text: &String| text.parse().map_err(|why| ConfigError::Place { text: text.clone(), why });
        if let Some(text) = texts.get(MAX_PLACES) {
            return Err(ConfigError::Place {
                text: text.clone(),
                why: format!("there are {MAX_PLACES} places before it, which is the most"),
            });
        }
        texts.iter().map(|text| Ok((None, place(text)?))).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn grant(&mut self, number: u64, place: Place) {
        self.0.push((Some(number), place));
    }

    pub(super) fn revoke(&mut self, number: u64) {
        self.0.retain(|(grant, _)| *grant != Some(number));
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.iter().map(line)
    }

    pub(super) fn line(&self, asked: &Place) -> Option<Line> {
        self.0.iter().find(|(_, place)| place.covers(asked)).map(line)
    }
}

fn line((grant, place): &(Option<u64>, Place)) -> Line {
    match grant {
        Some(number) => Line::Grant { number: *number, what: format!("network {place}") },
        None => Line::Key { key: "network", value: place.to_string() },
    }
}

impl Policy {
    /// Whether it may dial a place. That isn't the whole answer: the address it leads to is judged too, [`dials`](Self::dials).
    pub(crate) fn dial(&self, asked: &Place) -> Verdict {
        let missing = || self.missing("network", &asked.to_string(), &Resource::Network(asked.clone()));
        self.places.line(asked).ok_or_else(missing)
    }

    /// The addresses that its lines name at a port: it may connect to these, public or not.
    pub(crate) fn named_addresses(&self, port: u16) -> Vec<IpAddr> {
        self.places.0.iter().filter_map(|(_, place)| place.address(port)).collect()
    }

    /// Whether a connection that a dial led to may go on.
    pub(crate) fn dials(&self, asked: &Place, peer: SocketAddr, was_named: bool) -> bool {
        self.dial(asked).is_ok() && (!was_named || self.named_addresses(peer.port()).contains(&peer.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(network: &[&str]) -> Policy {
        let texts: Vec<String> = network.iter().map(ToString::to_string).collect();
        Policy { places: Places::new(&texts).unwrap(), ..Policy::default() }
    }

    #[test]
    fn places_have_one_form() {
        for (text, canonical) in [
            ("example.com:443", "example.com:443"),
            ("EXAMPLE.Com.:443", "example.com:443"),
            ("*.Example.com:*", "*.example.com:*"),
            ("localhost:1", "localhost:1"),
            ("_sip.a-b.example:5060", "_sip.a-b.example:5060"),
            ("10.0.0.5:5432", "10.0.0.5:5432"),
            ("[fd00:0::5]:5432", "[fd00::5]:5432"),
            ("xn--bcher-kva.example:80", "xn--bcher-kva.example:80"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_could_be_taken_for_another_place_is_none() {
        let long = format!("{}.example:1", "a".repeat(64));
        let longer = format!("{}example:1", "a.".repeat(124));
        for text in [
            "127.1:80",
            "2130706433:80",
            "0x7f000001:80",
            "0x7f.1:80",
            "0177.0.0.1:80",
            "127.0.0.1.:80",
            "1.2.3.4.5:80",
            "a.0x1:80",
            "a.1:80",
            "example.com",
            "example.com:",
            "example.com:0",
            "example.com:080",
            "example.com:65536",
            "example.com:+80",
            ":80",
            ".:80",
            "a..b:80",
            "-a:80",
            "[::1:80",
            "[[::1]]:80",
            "[fe80::1%eth0]:80",
            "::1:80",
            "[127.0.0.1]:80",
            "b\u{fc}cher.example:80",
            "a\u{3002}b:80",
            "a\0b:80",
            "a b:80",
            "*.*.a:1",
            "*:80",
            "a.*:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            &long,
            &longer,
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn lines_cover_places() {
        let of = |text: &str| text.parse::<Place>().unwrap();
        let policy = policy(&["*.example.com:443", "db.internal:5432", "10.0.0.5:5432", "[fd00::5]:*"]);
        for (place, is_covered) in [
            ("a.example.com:443", true),
            ("a.b.Example.com.:443", true),
            ("example.com:443", false),
            ("evilexample.com:443", false),
            ("a.example.com:80", false),
            ("db.internal:5432", true),
            ("10.0.0.5:5432", true),
            ("10.0.0.5:5433", false),
            ("[fd00::5]:1", true),
        ] {
            assert_eq!(policy.dial(&of(place)).is_ok(), is_covered, "{place}");
        }
        assert_eq!(policy.named_addresses(5432), ["10.0.0.5", "fd00::5"].map(|text| text.parse::<IpAddr>().unwrap()));
        let peer = "10.0.0.5:5432".parse().unwrap();
        assert!(policy.dials(&of("db.internal:5432"), peer, true));
        assert!(!policy.dials(&of("db.internal:5432"), "10.0.0.6:5432".parse().unwrap(), true));
    }
}
