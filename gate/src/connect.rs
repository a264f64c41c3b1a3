//! One address: connected to, or not, by a deadline.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A socket for this address, that waits for nothing.
pub(crate) fn socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
}

/// Sends the first packet.
pub(crate) fn begin(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    match rustix::net::connect(socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Waits until it is connected.
pub(crate) fn finish(socket: &OwnedFd, deadline: Instant) -> Result<(), Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(Errno::TIMEDOUT);
        }
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&left)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return sockopt::socket_error(socket)?,
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether an address is one of this machine's own: only those can be bound. Nothing is sent.
pub(crate) fn is_own(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn an_address_answers_or_refuses_or_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let one = socket(address).unwrap();
        begin(&one, address).unwrap();
        assert_eq!(finish(&one, Instant::now() + LONG), Ok(()));
        drop(listener);
        let other = socket(address).unwrap();
        let refused = begin(&other, address).and_then(|()| finish(&other, Instant::now() + LONG));
        assert_eq!(refused, Err(Errno::CONNREFUSED));
        assert_eq!(finish(&other, Instant::now()), Err(Errno::TIMEDOUT));
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own("127.0.0.1:1".parse().unwrap()));
        assert!(!is_own("192.0.2.1:1".parse().unwrap()));
    }
}
