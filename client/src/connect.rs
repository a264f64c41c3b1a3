//! Becoming a party: the handshake of `strait_protocol::handshake`, from the client's side.

use crate::error::{Error, call};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use strait_memory::{Inbox, SliceFile, Writable};
use strait_protocol::handshake::{self, Checkpoint, HandshakeError, Hello, Welcome};
use strait_protocol::{Endpoint, Name};
use strait_sys::socket;

/// What the handshake leaves behind.
pub(crate) struct Connection {
    pub welcome: Welcome,
    pub endpoint: Endpoint<Writable, Inbox>,
    /// Rings the switch.
    pub bell: OwnedFd,
    /// Rung by the switch.
    pub wakeup: OwnedFd,
    /// By which the switch hands descriptors over.
    pub lane: OwnedFd,
    /// Its end is the end of the broker.
    pub socket: OwnedFd,
}

/// Takes up the connection that the jail made for this world.
pub(crate) fn open() -> Result<Connection, Error> {
    welcome(world()?)
}

/// The connection that the jail made.
pub(crate) fn world() -> Result<OwnedFd, Error> {
    let socket = socket::adopt(handshake::WORLD_FD).map_err(|_| Error::NotAWorld)?;
    rustix::net::sockopt::socket_type(&socket).map_err(|_| Error::NotAWorld)?;
    Ok(socket)
}

/// Connects to the broker's socket and asks for a name.
pub(crate) fn attach(path: &Path, name: Name) -> Result<Connection, Error> {
    let unreachable = |errno| Error::Unreachable { path: path.display().to_string(), errno };
    let socket = socket::connect(path).map_err(unreachable)?;
    greet(socket, name)
}

fn greet(socket: OwnedFd, name: Name) -> Result<Connection, Error> {
    match socket::send(socket.as_fd(), &Hello { name }.encode(), &[]) {
        // It was refused before it could say anything. Why lies there to be read.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => welcome(socket),
        Err(errno) => Err(call("sendmsg")(errno)),
    }
}

/// Takes up a connection on which the supervisor was told to expect us.
pub(crate) fn adopt(socket: OwnedFd) -> Result<Connection, Error> {
    welcome(socket)
}

fn welcome(socket: OwnedFd) -> Result<Connection, Error> {
    let mut buffer = [0; handshake::MAX_BYTES];
    let (mut length, mut descriptors) = hear(&socket, &mut buffer)?;
    if handshake::wanted_image(&buffer[..length]).is_some() {
        let answer = Checkpoint::Failed("the program opened its connection without a checkpoint".into());
        socket::send(socket.as_fd(), &answer.encode(), &[]).map_err(call("sendmsg"))?;
        (length, descriptors) = hear(&socket, &mut buffer)?;
    }
    if length == 0 {
        return Err(Error::BrokerGone);
    }
    let welcome = Welcome::decode(&buffer[..length])?;
    let [outbox, inbox, bell, wakeup, lane]: [OwnedFd; handshake::DESCRIPTORS] =
        descriptors.try_into().map_err(|_| HandshakeError::Malformed)?;
    let file = SliceFile::adopt(outbox, welcome.outbox)?;
    let outbox = Writable::map(&file)?;
    file.seal_writes()?;
    let inbox = Inbox::map(&SliceFile::adopt(inbox, welcome.inbox)?)?;
    socket::send(socket.as_fd(), &handshake::mapped(), &[]).map_err(call("sendmsg"))?;
    Ok(Connection { welcome, endpoint: Endpoint::new(outbox, inbox), bell, wakeup, lane, socket })
}

/// What the supervisor says next. If it has closed its end with something unread, the kernel tells that first, and what was said before that
/// afterwards.
fn hear(socket: &OwnedFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Error> {
    let heard = match socket::receive(socket.as_fd(), buffer) {
        Err(Errno::CONNRESET) => socket::receive(socket.as_fd(), buffer),
        other => other,
    };
    heard.map_err(call("recvmsg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told_why(end: Result<Connection, Error>) {
        match end.err() {
            Some(Error::Handshake(HandshakeError::Refused(why))) => assert_eq!(why, "not today"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_refused_is_told_why_whenever_the_other_end_was_closed() {
        let name: Name = "cli/1".parse().unwrap();
        let refuse = |socket: &OwnedFd| socket::send(socket.as_fd(), &handshake::refusal("not today"), &[]).unwrap();
        // Before the first word.
        let (ours, theirs) = socket::pair().unwrap();
        refuse(&theirs);
        drop(theirs);
        is_told_why(greet(ours, name.clone()));
        // With that word unread, which resets the connection.
        let (ours, theirs) = socket::pair().unwrap();
        socket::send(ours.as_fd(), &Hello { name }.encode(), &[]).unwrap();
        refuse(&theirs);
        drop(theirs);
        is_told_why(welcome(ours));
    }
}
