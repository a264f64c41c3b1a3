//! Sockets: a way out by themselves, or by what they carry.

use crate::call;
use crate::ground::Ground;
use crate::outcome::{Outcome, Tried};
use crate::raw::send_control;
use crate::row::{Attempt, Row};
use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};

const REFUSED: &[&str] = &["EPERM"];

pub const FAMILIES: Row = Row::new(
    4,
    "socket INET, INET6, NETLINK, PACKET",
    REFUSED,
    &[
        Attempt::new("INET", |_| socket(AF_INET, SOCK_STREAM)),
        Attempt::new("INET datagram", |_| socket(AF_INET, SOCK_DGRAM)),
        Attempt::new("INET6", |_| socket(AF_INET6, SOCK_STREAM)).unless("EAFNOSUPPORT", "IPv6"),
        Attempt::new("NETLINK", |_| socket(AF_NETLINK, SOCK_RAW)),
        Attempt::new("PACKET", |_| socket(AF_PACKET, SOCK_RAW))
            .unless("EAFNOSUPPORT", "packet sockets (CONFIG_PACKET)"),
    ],
);

pub const VSOCK: Row = Row::new(
    5,
    "socket AF_VSOCK",
    REFUSED,
    &[Attempt::new("VSOCK", |_| socket(libc::AF_VSOCK, SOCK_STREAM))
        .unless("EAFNOSUPPORT", "AF_VSOCK (CONFIG_VSOCKETS)")],
);

pub const ALG: Row = Row::new(
    6,
    "socket AF_ALG",
    REFUSED,
    &[Attempt::new("ALG", |_| socket(libc::AF_ALG, SOCK_SEQPACKET))
        .unless("EAFNOSUPPORT", "AF_ALG (CONFIG_CRYPTO_USER_API)")],
);

pub const UNIX: Row = Row::new(
    7,
    "socket AF_UNIX, to a path and abstract",
    REFUSED,
    &[
        Attempt::new("to a path in a bind", |ground| connect(&path_address(&ground.in_ro("stream")))),
        Attempt::new("abstract", |ground| connect(&abstract_address(&ground.abstract_name))),
        Attempt::new("a name of its own", |_| {
            let socket = socket(AF_UNIX, SOCK_STREAM)?;
            call!(libc::SYS_bind, socket, &abstract_address("strait-escape")[..], 2 + 1 + 13)
        }),
    ],
);

pub const DATAGRAM: Row = Row::new(
    8,
    "socketpair DGRAM and sendto a path",
    REFUSED,
    &[Attempt::new("to a path in a bind", |ground| send_to(&path_address(&ground.in_ro("datagram"))))],
);

pub const CREDENTIALS: Row = Row::new(
    48,
    "forged SCM_CREDENTIALS pid or uid",
    &["EPERM", "EINVAL"],
    &[
        Attempt::new("pid 1", |_| credentials([1, user()?, user()?])),
        Attempt::new("uid 0", |_| {
            let pid = std::process::id();
            // Root forges somebody else.
            credentials(if user()? == 0 { [pid, 1, 1] } else { [pid, 0, 0] })
        }),
        Attempt::new("the victim's pid", |ground: &Ground| credentials([ground.victim as u32, user()?, user()?]))
            .held(&["EPERM", "ESRCH"]),
    ],
);

fn socket(family: i32, kind: i32) -> Tried {
    call!(libc::SYS_socket, family, kind | libc::SOCK_CLOEXEC, 0)
}

/// `struct sockaddr_un` (`unix(7)`): family and path, cut at its end.
fn path_address(path: &str) -> Vec<u8> {
    [&(AF_UNIX as u16).to_ne_bytes()[..], path.as_bytes(), &[0]].concat()
}

fn abstract_address(name: &str) -> Vec<u8> {
    [&(AF_UNIX as u16).to_ne_bytes()[..], &[0], name.as_bytes()].concat()
}

fn connect(address: &[u8]) -> Tried {
    let socket = socket(AF_UNIX, SOCK_STREAM)?;
    call!(libc::SYS_connect, socket, address, address.len())
}

fn pair(kind: i32) -> Result<[u32; 2], Outcome> {
    let mut ends = [0; 8];
    call!(libc::SYS_socketpair, AF_UNIX, kind, 0, &mut ends[..])?;
    let end = |at: usize| u32::from_ne_bytes([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]]);
    Ok([end(0), end(4)])
}

/// One end of a pair of datagram sockets may send to anybody (`connect(2)`: the association can be changed).
fn send_to(address: &[u8]) -> Tried {
    let [socket, _] = pair(SOCK_DGRAM)?;
    call!(libc::SYS_sendto, socket, &b"x"[..], 1, 0, address, address.len())
}

/// Sends `struct ucred` (`unix(7)`): pid, uid, gid.
fn credentials(forged: [u32; 3]) -> Tried {
    let [socket, _other] = pair(SOCK_STREAM)?;
    let bytes: Vec<u8> = forged.iter().flat_map(|word| word.to_ne_bytes()).collect();
    send_control(socket as i32, libc::SCM_CREDENTIALS, &bytes)
}

fn user() -> Result<u32, Outcome> {
    call!(libc::SYS_geteuid).map(|user| user as u32)
}
