//! `SOCK_SEQPACKET` connections: messages with descriptors, and who the kernel says is on the other end.

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The most descriptors in one message here (the kernel's own limit is 253, `SCM_MAX_FD` in `unix(7)`).
pub const MAX_DESCRIPTORS: usize = 8;

/// A connected pair.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A pair by which one side hands descriptors to another that may be hostile: the giving end first.
///
/// The giving end takes nothing: what the other side sends is `EPIPE` there (`shutdown(2)`), so that no descriptor of its choice ever
/// comes in. `queue_bytes` bounds what may lie unread in between, by the kernel's own count of what a message costs it; 0 is the
/// least that the kernel has, six messages on Linux 6.18.
pub fn lane(queue_bytes: usize) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (giving, taking) = pair()?;
    net::shutdown(&giving, net::Shutdown::Read)?;
    net::sockopt::set_socket_send_buffer_size(&giving, queue_bytes)?;
    Ok((giving, taking))
}

/// A listener at a path that doesn't exist yet. Nonblocking. Who connects can't send descriptors, until [`take_descriptors`] says so of the
/// connection.
pub fn listen(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    take_descriptors(socket.as_fd(), false)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    net::listen(&socket, 128)?;
    Ok(socket)
}

/// The listener that a service manager started this process with, if it did: descriptor 3, of one, `sd_listen_fds(3)`. Only the first call
/// gets it. It is made what [`listen`] makes; anything else that is there is left as it is.
pub fn inherited_listener() -> Option<OwnedFd> {
    static WAS_TAKEN: AtomicBool = AtomicBool::new(false);
    const FIRST: RawFd = 3;
    let is = |key, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if !is("LISTEN_FDS", "1") || !is("LISTEN_PID", &std::process::id().to_string()) {
        return None;
    }
    // SAFETY: looked at for as long as this function runs, before anybody else could know of it; it is found out here whether it is open.
    let there = unsafe { BorrowedFd::borrow_raw(FIRST) };
    let is_listener = net::sockopt::socket_acceptconn(there).unwrap_or(false)
        && net::sockopt::socket_type(there).is_ok_and(|kind| kind == SocketType::SEQPACKET);
    if !is_listener || WAS_TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    rustix::io::fcntl_setfd(there, rustix::io::FdFlags::CLOEXEC).ok()?;
    rustix::io::ioctl_fionbio(there, true).ok()?;
    take_descriptors(there, false).ok()?;
    // SAFETY: it is open, and by `LISTEN_PID` it was left open for this process; nobody takes it a second time.
    Some(unsafe { OwnedFd::from_raw_fd(FIRST) })
}

/// Where a listener listens, if that is a path.
pub fn path_of(listener: BorrowedFd<'_>) -> Option<PathBuf> {
    let address = SocketAddrUnix::try_from(net::getsockname(listener).ok()?).ok()?;
    address.path().map(|path| PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

/// Whether the other end may send descriptors (`SO_PASSRIGHTS`, Linux 6.16): if not, trying is `EPERM` there. Connections to a listener begin
/// as it is.
///
/// One that may be anything isn't harmless even if it is closed at once: the last close of a TCP socket with `SO_LINGER` waits as long as
/// its maker likes. Older kernels can't refuse, and nothing changes there.
pub fn take_descriptors(socket: BorrowedFd<'_>, takes: bool) -> Result<(), Errno> {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let takes = libc::c_int::from(takes);
    let length = size_of_val(&takes) as libc::socklen_t;
    // SAFETY: `takes` is a live local, and `length` is its size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const takes).cast(), length)
    };
    match result {
        0 => Ok(()),
        _ => match last_error() {
            Errno::NOPROTOOPT => Ok(()),
            error => Err(error),
        },
    }
}

/// A connection to the listener at a path.
pub fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The next waiting connection; `EAGAIN` when there is none.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    net::accept_with(listener, SocketFlags::CLOEXEC)
}

/// Sends one message. Fails with `EPIPE` instead of raising a signal.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    send_flags(socket, bytes, descriptors, SendFlags::NOSIGNAL)
}

/// Sends one message, or fails with `EAGAIN` where it would have to wait, whatever the socket's own flags say.
pub fn try_send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    send_flags(socket, bytes, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

fn send_flags(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(fits, "more than {MAX_DESCRIPTORS} descriptors in one message");
    }
    net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags).map(drop)
}

/// Receives one message of at most `buffer.len()` bytes and its descriptors. Length 0: the other end is closed.
///
/// A message that is longer, or that came with more descriptors than [`MAX_DESCRIPTORS`], is `EMSGSIZE`; the kernel and
/// this function close what came with it.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    receive_flags(socket, buffer, RecvFlags::empty())
}

/// The same in a buffer as long as the message, of `most` bytes at most: a long one that was used before is cleared, page by page, for whoever has it
/// next.
pub fn receive_whole(socket: BorrowedFd<'_>, most: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::CMSG_CLOEXEC;
    // Without room for descriptors the kernel makes none.
    let look = || net::recvmsg(socket, &mut [], &mut RecvAncillaryBuffer::default(), flags);
    let mut buffer = vec![0; rustix::io::retry_on_intr(look)?.bytes.min(most)];
    let (length, descriptors) = rustix::io::retry_on_intr(|| receive(socket, &mut buffer))?;
    buffer.truncate(length);
    Ok((buffer, descriptors))
}

/// The same, or `EAGAIN` where it would have to wait, whatever the socket's own flags say.
pub fn try_receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    receive_flags(socket, buffer, RecvFlags::DONTWAIT)
}

fn receive_flags(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message =
        net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().flat_map(|part| match part {
        RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    match message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        true => Err(Errno::MSGSIZE),
        false => Ok((message.bytes, descriptors)),
    }
}

/// The process that made a connection, as the kernel recorded it then.
#[derive(Debug)]
pub struct Peer {
    /// Its pid, as seen from here.
    pub pid: i32,
    /// Its effective uid, as seen from here.
    pub uid: u32,
    /// Names that very process for ever, not whoever gets its pid next.
    pub pidfd: OwnedFd,
}

/// Asks the kernel who is on the other end (`SO_PEERCRED` and `SO_PEERPIDFD`, `unix(7)`; Linux 6.5).
pub fn peer(socket: BorrowedFd<'_>) -> Result<Peer, Errno> {
    let credentials = net::sockopt::socket_peercred(socket)?;
    let pidfd = peer_pidfd(socket)?;
    Ok(Peer { pid: credentials.pid.as_raw_nonzero().get(), uid: credentials.uid.as_raw(), pidfd })
}

fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = size_of_val(&fd) as libc::socklen_t;
    // SAFETY: `fd` and `length` are live locals, and `length` is the size of `fd`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, (&raw mut fd).cast(), &raw mut length)
    };
    match (result, fd) {
        // SAFETY: the kernel has just made this descriptor for us; nobody else knows its number.
        (0, fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_error()),
    }
}

/// Whether two pidfds name the same process. Exact on Linux 6.9 and later, where each process has an inode of its own
/// that is never reused (`pidfs`).
pub fn same_process(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Which numbers are adopted.
static ADOPTED: AtomicU64 = AtomicU64::new(0);

/// Adopts a descriptor that whoever started this process left open at a number agreed upon. Fails with `EBADF` if there is none.
///
/// Numbers 3 to 63, and each once in the life of the process: a second adoption would close it under the first.
pub fn adopt(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD touches nothing; it only says whether the number is open.
    if !(3..64).contains(&number) || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(Errno::BADF);
    }
    let bit = 1 << number;
    if ADOPTED.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(Errno::BUSY);
    }
    // SAFETY: open, as just checked, by agreement ours, and not adopted before.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Gives back what was [adopted](adopt): it stays open at its number, and can be adopted again.
pub fn give_back(fd: OwnedFd) {
    let number = fd.into_raw_fd();
    ADOPTED.fetch_and(!(1 << number.clamp(0, 63)), Ordering::Relaxed);
}

/// The bytes of the next message, which stays where it is. Waits for it.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // Without room for descriptors the kernel makes none.
    let flags = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC;
    rustix::io::retry_on_intr(|| net::recv(socket, &mut *buffer, flags)).map(|(length, _)| length)
}

pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_travel_with_bytes() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(a.as_fd(), b"pipe", &[write.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let (length, fds) = receive(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"pipe"[..], 1));
        drop((write, fds));
        assert_eq!(rustix::io::read(&read, &mut buffer).unwrap(), 0, "no copy of the write end is left");
        assert_eq!(try_receive(b.as_fd(), &mut buffer).unwrap_err(), Errno::AGAIN);
        drop(a);
        assert_eq!(receive(b.as_fd(), &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn a_long_message_is_refused_and_its_descriptors_closed() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(a.as_fd(), &[0; 64], &[write.as_fd()]).unwrap();
        assert_eq!(receive(b.as_fd(), &mut [0; 16]).unwrap_err(), Errno::MSGSIZE);
        drop(write);
        assert_eq!(rustix::io::read(&read, &mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_message_is_as_long_as_it_is() {
        let (a, b) = pair().unwrap();
        let (read, _write) = rustix::pipe::pipe().unwrap();
        send(a.as_fd(), &[7; 5000], &[read.as_fd()]).unwrap();
        send(a.as_fd(), &[8; 17], &[]).unwrap();
        let (bytes, fds) = receive_whole(b.as_fd(), 5000).unwrap();
        assert_eq!((bytes, fds.len()), (vec![7; 5000], 1));
        assert_eq!(receive_whole(b.as_fd(), 16).unwrap_err(), Errno::MSGSIZE);
        drop(a);
        let (bytes, fds) = receive_whole(b.as_fd(), 16).unwrap();
        assert!(bytes.is_empty() && fds.is_empty(), "its other end is closed");
    }

    #[test]
    fn a_lane_goes_one_way_and_is_bounded() {
        let (giving, taking) = lane(0).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert_eq!(try_send(taking.as_fd(), b"mine", &[write.as_fd()]).unwrap_err(), Errno::PIPE);
        let given = (0..1000).take_while(|_| try_send(giving.as_fd(), b"yours", &[read.as_fd()]).is_ok()).count();
        assert!((2..100).contains(&given), "{given}");
        assert_eq!(try_send(giving.as_fd(), b"yours", &[read.as_fd()]), Err(Errno::AGAIN));
        let (length, fds) = try_receive(taking.as_fd(), &mut [0; 16]).unwrap();
        assert_eq!((length, fds.len()), (5, 1));
        // The positive control: without the shutdown, what the taking side sends arrives.
        let (one, other) = pair().unwrap();
        try_send(other.as_fd(), b"mine", &[write.as_fd()]).unwrap();
        assert_eq!(try_receive(one.as_fd(), &mut [0; 16]).unwrap().1.len(), 1);
    }

    #[test]
    fn who_takes_no_descriptors_is_sent_none() {
        let (a, b) = pair().unwrap();
        for (takes, sent) in [(true, Ok(())), (false, Err(Errno::PERM)), (true, Ok(()))] {
            take_descriptors(b.as_fd(), takes).unwrap();
            assert_eq!(send(a.as_fd(), b"mine", &[a.as_fd()]), sent);
        }
        send(a.as_fd(), b"words", &[]).unwrap();
        let taken = [(); 3].map(|()| try_receive(b.as_fd(), &mut [0; 16]).unwrap());
        assert_eq!(taken.map(|(length, fds)| (length, fds.len())), [(4, 1), (4, 1), (5, 0)]);
    }

    #[test]
    fn the_kernel_names_the_peer() {
        let (a, _b) = pair().unwrap();
        let peer = peer(a.as_fd()).unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
        let me = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
        assert!(same_process(peer.pidfd.as_fd(), me.as_fd()).unwrap());
    }
}
