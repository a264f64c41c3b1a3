//! Which addresses a dial may end at.
//!
//! What a name resolves to is somebody else's word: the owner of any domain can make it resolve to an address inside (rebinding). So the final address is
//! judged, whatever name led to it. IPv6 addresses that embed an IPv4 address are judged by that one, because a translator on the way may deliver to it.
//!
//! Sources: the IANA special-purpose address registries (RFC 6890) and, for the embeddings, RFC 4291 (mapped, compatible), 6052 and 8215 (NAT64), 3056
//! (6to4), 4380 (Teredo) and 5214 (ISATAP).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To the public network.
    Public,
    /// Somewhere near, which a line of policy must name by the address. What that is, in words.
    Near(&'static str),
    /// Nobody may connect there, whatever policy says. What that is, in words.
    Never(&'static str),
}

type Row<A> = (A, u32, Reach);

const fn near(a: u8, b: u8, c: u8, d: u8, bits: u32, what: &'static str) -> Row<Ipv4Addr> {
    (Ipv4Addr::new(a, b, c, d), bits, Reach::Near(what))
}

const fn never(a: u8, b: u8, c: u8, d: u8, bits: u32, what: &'static str) -> Row<Ipv4Addr> {
    (Ipv4Addr::new(a, b, c, d), bits, Reach::Never(what))
}

/// Where cloud providers tell a machine who it is, with credentials.
const METADATA: &str = "where a cloud keeps this machine's credentials";
const NO_HOST: &str = "no address of a host";
const MULTICAST: &str = "multicast";
const PRIVATE: &str = "private";
const LOOPBACK: &str = "this machine's loopback";
const LINK_LOCAL: &str = "link-local, where clouds keep a machine's credentials";
const RESERVED: &str = "reserved";

/// The first row that covers an address says what it is.
const V4: &[Row<Ipv4Addr>] = &[
    never(0, 0, 0, 0, 8, NO_HOST),
    near(10, 0, 0, 0, 8, PRIVATE),
    never(100, 100, 100, 200, 32, METADATA),
    near(100, 64, 0, 0, 10, "shared by a provider's customers (carrier-grade NAT)"),
    near(127, 0, 0, 0, 8, LOOPBACK),
    // Azure's "wire server", in the midst of public addresses.
    never(168, 63, 129, 16, 32, METADATA),
    never(169, 254, 0, 0, 16, LINK_LOCAL),
    near(172, 16, 0, 0, 12, PRIVATE),
    never(192, 0, 0, 192, 32, METADATA),
    near(192, 0, 0, 0, 24, RESERVED),
    near(192, 0, 2, 0, 24, "for documentation"),
    near(192, 88, 99, 0, 24, RESERVED),
    near(192, 168, 0, 0, 16, PRIVATE),
    near(198, 18, 0, 0, 15, "for benchmarks"),
    near(198, 51, 100, 0, 24, "for documentation"),
    near(203, 0, 113, 0, 24, "for documentation"),
    never(224, 0, 0, 0, 4, MULTICAST),
    never(255, 255, 255, 255, 32, "broadcast"),
    near(240, 0, 0, 0, 4, RESERVED),
];

const V6: &[Row<Ipv6Addr>] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Reach::Never(NO_HOST)),
    (Ipv6Addr::LOCALHOST, 128, Reach::Near(LOOPBACK)),
    // Whatever Amazon has there: the metadata (::254), and the credentials of containers (::23).
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, Reach::Never(METADATA)),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128, Reach::Never(METADATA)),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Reach::Never(METADATA)),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Near(PRIVATE)),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Never(LINK_LOCAL)),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Reach::Near(PRIVATE)),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Reach::Never(MULTICAST)),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Reach::Near("for documentation")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Reach::Near("for documentation")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Near(RESERVED)),
    // Global unicast is 2000::/3; nothing else is routed.
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Reach::Public),
    (Ipv6Addr::UNSPECIFIED, 0, Reach::Near(RESERVED)),
];

/// How far an address leads.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => as_embedded(reach_v4(v4)),
            None => reach_v6(v6),
        },
    }
}

/// A translator's address is reached through the translator, which is near.
fn as_embedded(reach: Reach) -> Reach {
    match reach {
        Reach::Public => Reach::Near("an IPv4 address in the form of an IPv6 address"),
        other => other,
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let covers = |(base, bits, _): &&Row<Ipv4Addr>| (u32::from(*base) ^ u32::from(address)) >> (32 - bits) == 0;
    V4.iter().find(covers).map_or(Reach::Public, |row| row.2)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let differs = |base: Ipv6Addr| u128::from(base) ^ u128::from(address);
    let covers = |(base, bits, _): &&Row<Ipv6Addr>| differs(*base).checked_shr(128 - bits).unwrap_or(0) == 0;
    V6.iter().find(covers).map_or(Reach::Near(RESERVED), |row| row.2)
}

/// The IPv4 address that an IPv6 address stands for, if it does.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, .., y, z] = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match (a, b, c, &address.segments()[2..6]) {
        _ if matches!(address, Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST) => None,
        // Compatible, mapped, and what SIIT translates (RFC 7915).
        (0, 0, _, [0, 0, 0, 0 | 0xffff]) | (0, 0, _, [0, 0, 0xffff, 0]) => v4(y, z),
        (0x64, 0xff9b, 0, [0, 0, 0, 0]) => v4(y, z),
        (0x64, 0xff9b, 1, _) => v4(y, z),
        (0x2002, ..) => v4(b, c),
        // ISATAP: the last half says so, under any prefix.
        (.., [_, _, 0 | 0x200, 0x5efe]) => v4(y, z),
        // The server that a Teredo client hides behind is public; the client's own address is the last one, inverted.
        (0x2001, 0, ..) => v4(!y, !z),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "93.184.216.34",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "128.0.0.1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert_eq!(of(text), Reach::Public, "{text}");
        }
    }

    #[test]
    fn what_is_near_has_to_be_named() {
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.2.1",
            "198.19.0.1",
            "240.0.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "2001:db8::1",
            "4000::1",
            "100::1",
            "3fff::1",
            "2001:2::1",
        ] {
            assert!(matches!(of(text), Reach::Near(_)), "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn nobody_gets_to_metadata_or_no_host() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:42::42",
            "168.63.129.16",
        ] {
            assert!(matches!(of(text), Reach::Never(_)), "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn what_is_embedded_is_what_counts() {
        for text in [
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "2001:0:1:2:3:4:80ff:fffe",
            "::ffff:0:127.0.0.1",
            "2606:4700::5efe:127.0.0.1",
            "2606:4700::200:5efe:127.0.0.1",
        ] {
            assert_eq!(of(text), Reach::Near(LOOPBACK), "{text}");
        }
        for text in ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254"] {
            assert!(matches!(of(text), Reach::Never(_)), "{text}");
        }
        assert!(matches!(of("::ffff:1.1.1.1"), Reach::Near(_)));
    }

    proptest! {
        /// Whatever IPv4 address one dresses up, it gets no further by that.
        #[test]
        fn no_dress_leads_further(bits: u32) {
            let inner = Ipv4Addr::from(bits);
            let dressed = [inner.to_ipv6_mapped(), inner.to_ipv6_compatible(), Ipv6Addr::from(0x64_ff9b_u128 << 96 | u128::from(bits))];
            for address in dressed.into_iter().filter(|address| !matches!(*address, Ipv6Addr::LOCALHOST | Ipv6Addr::UNSPECIFIED)) {
                match reach_v4(inner) {
                    Reach::Public => prop_assert_ne!(reach(address.into()), Reach::Public),
                    other => prop_assert_eq!(reach(address.into()), other),
                }
            }
        }
    }
}
