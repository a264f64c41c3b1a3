//! Ending a connection that is another process's by now, and asking whether anybody has it still: `sock_diag(7)`.

use crate::Connection;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use std::net::{IpAddr, SocketAddr};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Linux 4.9, where the kernel was built with `CONFIG_INET_DIAG_DESTROY`; takes `CAP_NET_ADMIN`.
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
/// Of `struct nlmsghdr` and of `struct inet_diag_req_v2`, in bytes.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = 56;
/// Where `struct inet_diag_msg` says how many bytes aren't sent or not acknowledged, and the inode.
const UNSENT_AT: usize = HEADER_BYTES + 60;
const INODE_AT: usize = HEADER_BYTES + 68;

/// Ends a connection at once, whoever holds its descriptors: they get `ECONNABORTED`, the other side a reset. One that is gone already is no error.
pub fn destroy(connection: &Connection) -> Result<(), Errno> {
    match exchange(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, connection) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether any process holds it still. What only the kernel has left to close isn't held. Takes no privilege.
pub fn is_held(connection: &Connection) -> Result<bool, Errno> {
    Ok(look(connection)?.is_some_and(|found| found.is_held))
}

/// Whether nobody holds it and nothing of what was written to it is still to come to the other side.
pub fn is_over(connection: &Connection) -> Result<bool, Errno> {
    Ok(look(connection)?.is_none_or(|found| !found.is_held && !found.has_unsent))
}

/// What the kernel says of a connection.
struct Found {
    is_held: bool,
    has_unsent: bool,
}

fn look(connection: &Connection) -> Result<Option<Found>, Errno> {
    match exchange(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, connection) {
        Ok(answer) => {
            let is_set = |at: usize| answer.get(at..at + 4).is_some_and(|word| word != [0; 4]);
            Ok(Some(Found { is_held: is_set(INODE_AT), has_unsent: is_set(UNSENT_AT) }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn exchange(kind: u16, flags: u16, connection: &Connection) -> Result<Vec<u8>, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    sendto(&socket, &request(kind, flags, connection), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 4096];
    // The kernel has answered by the time that `sendto` returns.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    answer.truncate(length);
    let word = |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match (kind, word(HEADER_BYTES)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(answer),
        (Some(NLMSG_ERROR), Some(code)) => Err(Errno::from_raw_os_error(-code)),
        (Some(SOCK_DIAG_BY_FAMILY), _) => Ok(answer),
        _ => Err(Errno::PROTO),
    }
}

fn request(kind: u16, flags: u16, connection: &Connection) -> Vec<u8> {
    let family = if connection.local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let length = (HEADER_BYTES + REQUEST_BYTES) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend([kind, flags].map(u16::to_ne_bytes).concat());
    // Sequence and sender: one question to a socket.
    bytes.extend([0; 8]);
    let tcp = rustix::net::ipproto::TCP.as_raw().get() as u8;
    bytes.extend([family.as_raw() as u8, tcp, 0, 0]);
    // In any state.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend([connection.local.port(), connection.peer.port()].map(u16::to_be_bytes).concat());
    bytes.extend([connection.local, connection.peer].map(octets).concat());
    // On any interface.
    bytes.extend([0; 4]);
    bytes.extend([connection.cookie as u32, (connection.cookie >> 32) as u32].map(u32::to_ne_bytes).concat());
    bytes
}

fn octets(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(v4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.octets());
            octets
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn connected(address: &str) -> (TcpStream, TcpStream, Connection) {
        let listener = TcpListener::bind(address).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        let cookie = sockopt::socket_cookie(&ours).unwrap();
        let connection = Connection { local: ours.local_addr().unwrap(), peer: ours.peer_addr().unwrap(), cookie };
        (ours, theirs, connection)
    }

    #[test]
    fn who_holds_a_connection_is_seen() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (ours, theirs, connection) = connected(address);
            let other = ours.try_clone().unwrap();
            drop(ours);
            assert!(is_held(&connection).unwrap());
            drop(other);
            assert!(!is_held(&connection).unwrap(), "only the kernel has it");
            drop(theirs);
            assert!(!is_held(&connection).unwrap());
        }
    }

    /// What was written and not read yet comes to the other side though nobody holds the connection any more.
    #[test]
    fn a_connection_with_something_left_to_send_is_not_over() {
        let (mut ours, mut theirs, connection) = connected("127.0.0.1:0");
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[1; 64 * 1024]).is_ok() {}
        drop(ours);
        assert!(!is_held(&connection).unwrap() && !is_over(&connection).unwrap());
        std::io::copy(&mut theirs, &mut std::io::sink()).unwrap();
        drop(theirs);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !is_over(&connection).unwrap() {
            assert!(std::time::Instant::now() < end, "it never ends");
        }
    }

    #[test]
    fn a_connection_is_ended_for_all_who_hold_it() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (mut ours, mut theirs, connection) = connected(address);
            let another = Connection { cookie: connection.cookie + 1, ..connection };
            assert_eq!(destroy(&another), Ok(()), "there is no such connection");
            ours.write_all(b"x").unwrap();
            if !rustix::process::geteuid().is_root() {
                eprintln!("skipped: ending a connection takes CAP_NET_ADMIN");
                assert_eq!(destroy(&connection), Err(Errno::PERM));
                return;
            }
            destroy(&connection).unwrap();
            assert_eq!(ours.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionAborted);
            let mut rest = Vec::new();
            assert_eq!(theirs.read_to_end(&mut rest).unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(destroy(&connection), Ok(()), "it is gone");
        }
    }
}
