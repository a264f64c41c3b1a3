//! What the rogue actor is told to do, and what it reports.

use serde::{Deserialize, Serialize};

/// One attempt; the numbers are those of the list of escapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Tries to become a writer of its inbox and to reopen its outbox, in every way the kernel has. Reports each error.
    Slices,
    /// 61: a record to this world with a forged source, sequence number and flags.
    Forge { to: u64 },
    /// 61: a record of a kind that only the switch makes.
    ForgeNotice { to: u64 },
    /// 62: a record header whose length says this while one record is published.
    Length { to: u64, length: u32 },
    /// 63: the producer cursor is set to this.
    Produced { cursor: u64 },
    /// 64: the consumer cursor is set to this, and then the inbox is filled with notices.
    Consumed { cursor: u64 },
    /// 65: records to this world, rewritten again and again while the switch looks at them.
    Rewrite { to: u64, records: u32 },
    /// 69: looks for these bytes in every slice that it has mapped. (As JSON they are numbers: the order itself isn't found.)
    Search { needle: Vec<u8> },
    /// So many first pieces of streams that never go on, to this world.
    Streams { to: u64, streams: u32, bytes: u32 },
    /// A record that says it is several messages, with these bytes in it.
    Packed { to: u64, bytes: Vec<u8> },
    /// Asks the switch for a parcel of its own and tries to become a second writer of it, and of one that the host has sent. Reports each
    /// error.
    Parcels,
    /// Asks the switch for parcels, again and again, and never takes them from its lane. Reports the codes of the answers.
    LeaveLane { times: u32 },
    /// Takes part in the direct link that the host makes, and then writes what can't be true to it.
    OverLink { lie: Lie },
    /// Sends bytes and descriptors to the switch over its lane. Reports the error.
    SendOverLane,
    /// 66: so many rings of its bell, with nothing to show for them.
    Bell { rings: u64 },
    /// 67 and 68: so many records, nothing that comes being read: to this world, or to as many that follow.
    Press { to: u64, receivers: u64, records: u64, bytes: u32, asks: bool },
    /// Its control words and its ring, at random, until it is ended.
    Scribble { seed: u64 },
    /// 70: bytes for the control service that are no request.
    Control { bytes: Vec<u8> },
}

/// What is written to a direct link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// A record that says it is from somebody else, for somebody else, with every flag.
    Forge,
    /// A record of this kind.
    Kind { kind: u8 },
    /// A record that says it is this long.
    Length { length: u32 },
    /// The producer cursor is set to this.
    Produced { cursor: u64 },
    /// The consumer cursor is set to this.
    Consumed { cursor: u64 },
    /// Records that are rewritten while they are read.
    Rewrite { records: u32 },
    /// The link is said to end at this place.
    Close { place: u64 },
    /// The slice is said to be sealed and isn't.
    Unsealed,
}

/// What came of one way to write: the call, and what the kernel answered (`None`: it worked).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    pub call: String,
    pub error: Option<i32>,
}

/// What could be set of a connection of the host's network, so that its bytes go elsewhere, it tells of the host, or its close takes long: what came of each attempt.
pub fn bend(connection: &std::net::TcpStream) -> String {
    // A loose source route by one address (RFC 791), and a longer linger than anybody waits.
    let (route, linger) = ([131, 7, 4, 127, 0, 0, 2, 0], [1u32, 60_000].map(u32::to_ne_bytes).concat());
    let socket = std::os::fd::AsRawFd::as_raw_fd(connection);
    let set = |level: i32, option: i32, value: &[u8]| {
        strait_escapes::call!(libc::SYS_setsockopt, socket, level, option, value, value.len())
    };
    [
        ("a source route", set(libc::SOL_IP, libc::IP_OPTIONS, &route)),
        ("an interface", set(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"lo\0")),
        ("an interface by number", set(libc::SOL_SOCKET, SO_BINDTOIFINDEX, &1u32.to_ne_bytes())),
        ("a long close", set(libc::SOL_SOCKET, libc::SO_LINGER, &linger)),
        ("delay", set(libc::SOL_TCP, libc::TCP_NODELAY, &1u32.to_ne_bytes())),
        ("keep", set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1u32.to_ne_bytes())),
    ]
    .map(|(what, tried)| format!("{what}: {}", strait_escapes::Outcome::from(tried)))
    .join(", ")
}

/// `asm-generic/socket.h`.
const SO_BINDTOIFINDEX: i32 = 62;
