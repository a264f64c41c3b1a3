//! A lane: by it the switch hands descriptors to one world, and never takes any.
//!
//! The supervisor made it so that the switch can't receive from it (`strait_sys::socket::lane`). What a world doesn't take fills the
//! kernel's queue, which is short; then that world is handed nothing more, and nobody waits.

use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use strait_protocol::exchange::{Note, Refusal};
use strait_sys::socket;

#[derive(Debug)]
pub(super) struct Lane(OwnedFd);

impl Lane {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Hands descriptors over, with a note of what they are. Never waits.
    pub(super) fn give(&self, note: &Note, descriptors: &[BorrowedFd<'_>]) -> Result<(), Refusal> {
        match socket::try_send(self.0.as_fd(), &note.encode(), descriptors) {
            Ok(()) => Ok(()),
            // The kernel also counts what one user has in flight altogether: RLIMIT_NOFILE of the switch, `unix(7)`.
            Err(Errno::NOBUFS | Errno::NOMEM | Errno::TOOMANYREFS) => Err(Refusal::Exhausted),
            // Full; or its world has closed it, and so has no room either.
            Err(_) => Err(Refusal::LaneFull),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_protocol::exchange::Handed;

    #[test]
    fn an_unread_lane_is_full_and_a_read_one_is_not() {
        let (giving, taking) = socket::lane(0).unwrap();
        let lane = Lane::new(giving);
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let note = Note { what: Handed::Parcel, number: 7, bytes: 4096 };
        let given = (0..1000).take_while(|_| lane.give(&note, &[file.as_fd()]).is_ok()).count();
        assert!((2..100).contains(&given), "{given}");
        assert_eq!(lane.give(&note, &[file.as_fd()]), Err(Refusal::LaneFull));
        for _ in 0..given {
            let mut buffer = [0; 16];
            let (length, files) = socket::try_receive(taking.as_fd(), &mut buffer).unwrap();
            assert_eq!((Note::decode(&buffer[..length]), files.len()), (Some(note), 1));
        }
        assert_eq!(lane.give(&note, &[file.as_fd()]), Ok(()));
        drop(taking);
        assert_eq!(lane.give(&note, &[file.as_fd()]), Err(Refusal::LaneFull));
    }
}
