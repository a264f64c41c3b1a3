//! The world's end of its lane: what the switch handed over, in the order it did.

use crate::error::{Error, call};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use strait_protocol::exchange::{self, Handed, Note};
use strait_sys::socket;

/// Connections that wait for who dialled.
const MAX_UNCLAIMED: usize = 64;

/// Descriptors that the switch handed over and nobody has asked for yet.
#[derive(Debug)]
pub(crate) struct Lane {
    socket: OwnedFd,
    /// Taken out of the way of something that was asked for first.
    taken: VecDeque<(Note, Vec<OwnedFd>)>,
}

impl Lane {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, taken: VecDeque::new() }
    }

    /// What the switch handed over under this number. It did so before it said so: there is nothing to wait for.
    pub(crate) fn take(&mut self, what: Handed, number: u32) -> Result<(Note, Vec<OwnedFd>), Error> {
        let is_it = |note: &Note| note.what == what && note.number == number;
        if let Some(at) = self.taken.iter().position(|(note, _)| is_it(note)) {
            return Ok(self.taken.remove(at).expect("just found"));
        }
        loop {
            let (note, descriptors) = self.receive()?;
            if is_it(&note) {
                return Ok((note, descriptors));
            }
            self.keep((note, descriptors));
        }
    }

    /// Closes what was handed over for a link that is gone.
    pub(crate) fn discard(&mut self, link: u32) {
        while let Ok(handed) = self.receive() {
            self.keep(handed);
        }
        self.taken.retain(|(note, _)| !matches!(note.what, Handed::LinkIn | Handed::LinkOut) || note.number != link);
    }

    /// Puts aside what came while something else was looked for. A connection that came too late for who dialled is asked for by nobody: of many, the oldest is
    /// closed.
    fn keep(&mut self, handed: (Note, Vec<OwnedFd>)) {
        self.taken.push_back(handed);
        let is_connection = |(note, _): &(Note, Vec<OwnedFd>)| note.what == Handed::Connection;
        if self.taken.iter().filter(|handed| is_connection(handed)).count() > MAX_UNCLAIMED
            && let Some(oldest) = self.taken.iter().position(is_connection)
        {
            self.taken.remove(oldest);
        }
    }

    fn receive(&mut self) -> Result<(Note, Vec<OwnedFd>), Error> {
        let mut buffer = [0; exchange::BYTES];
        let (length, descriptors) = match socket::try_receive(self.socket.as_fd(), &mut buffer) {
            Err(Errno::AGAIN) => return Err(Error::Unexpected),
            Ok((0, _)) => return Err(Error::BrokerGone),
            other => other.map_err(call("recvmsg"))?,
        };
        Ok((Note::decode(&buffer[..length]).ok_or(Error::Unexpected)?, descriptors))
    }
}
