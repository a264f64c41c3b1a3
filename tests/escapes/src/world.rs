//! The probe as a world of a broker: as much of it as a rogue needs.

use crate::call;
use crate::outcome::Outcome;
use crate::raw::owned;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;
use strait_protocol::handshake::{self, Welcome};
use strait_sys::socket;

/// What a world is given by its broker, as bare descriptors.
#[derive(Debug)]
pub struct Slices {
    /// Descriptor 3: the connection to the supervisor.
    pub connection: Option<OwnedFd>,
    /// The slice that this world writes; sealed.
    pub outbox: OwnedFd,
    /// The slice that the switch writes.
    pub inbox: OwnedFd,
    /// The eventfd by which the switch is woken.
    pub bell: OwnedFd,
    /// The eventfd by which this world is woken.
    pub wakeup: OwnedFd,
    /// The socket that descriptors come through.
    pub lane: Option<OwnedFd>,
}

impl Slices {
    /// Takes them from the connection, and says that they are mapped, upon which the supervisor seals them.
    pub fn receive() -> Result<Self, Outcome> {
        let wrong = |errno: i32| Outcome::Errno(errno);
        let connection = socket::adopt(handshake::WORLD_FD).map_err(|errno| wrong(errno.raw_os_error()))?;
        let mut buffer = [0; handshake::MAX_BYTES];
        let received = socket::receive(connection.as_fd(), &mut buffer);
        let (length, descriptors) = received.map_err(|errno| wrong(errno.raw_os_error()))?;
        Welcome::decode(&buffer[..length]).map_err(|_| Outcome::Word("no-welcome"))?;
        let all: [OwnedFd; handshake::DESCRIPTORS] =
            descriptors.try_into().map_err(|_| Outcome::Word("other-descriptors"))?;
        let [outbox, inbox, bell, wakeup, lane] = all;
        let sent = socket::send(connection.as_fd(), &handshake::mapped(), &[]);
        sent.map_err(|errno| wrong(errno.raw_os_error()))?;
        // The supervisor seals the outbox when it hears that.
        std::thread::sleep(Duration::from_millis(50));
        Ok(Self { connection: Some(connection), outbox, inbox, bell, wakeup, lane: Some(lane) })
    }

    /// The same as a naive broker would make it: no seal, and anybody's mode.
    pub fn unsealed() -> Result<Self, Outcome> {
        let (outbox, inbox) = (memory_file()?, memory_file()?);
        let path = format!("/proc/self/fd/{}", inbox.as_raw_fd());
        let inbox = owned(crate::raw::open(&path, libc::O_RDONLY)?);
        let bell = || call!(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC).map(owned);
        Ok(Self { connection: None, outbox, inbox, bell: bell()?, wakeup: bell()?, lane: None })
    }
}

fn memory_file() -> Result<OwnedFd, Outcome> {
    let file = owned(call!(libc::SYS_memfd_create, c"slice", libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC)?);
    call!(libc::SYS_ftruncate, file.as_raw_fd(), 65536)?;
    Ok(file)
}
