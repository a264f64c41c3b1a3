//! Unix sockets without anything: what every other peer is compared with, and the pieces that they share.
//!
//! Best-known settings, found by trying: the default send buffer for small messages (with 4 MiB, a message of 64 bytes takes 30 % more
//! processor time when everything is on one processor: a long queue falls out of the cache), 4 MiB from 16 KiB on (30 % less across two
//! processors, though 20 % more on one; and a seqpacket socket can't carry 1 MiB without).

use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force, socket_send_buffer_size};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    recv, send, socket_with,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use strait_measure::{End, Load, Message, Outcome, Peer, Seat, patiently};

const LARGE: usize = 16 * 1024;
const SEND_BUFFER: usize = 4 << 20;
const BACKLOG: i32 = 128;

fn socket(kind: SocketType) -> Outcome<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// A listening socket at a path.
pub fn listener(kind: SocketType, path: &Path) -> Outcome<OwnedFd> {
    let listener = socket(kind)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The next connection to a listening socket, with room for this load.
pub fn next_connection(listener: &OwnedFd, load: &Load) -> Outcome<OwnedFd> {
    tuned(accept_with(listener, SocketFlags::CLOEXEC)?, load.bytes)
}

/// A connection to a path, with room for this load. Waits for whoever listens there.
pub fn connection(kind: SocketType, path: &Path, load: &Load) -> Outcome<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let open = || -> Outcome<OwnedFd> {
        let socket = socket(kind)?;
        connect(&socket, &address)?;
        Ok(socket)
    };
    tuned(patiently(open)?, load.bytes)
}

/// Gives a socket the send buffer that messages of this size want.
pub fn tuned(socket: OwnedFd, bytes: usize) -> Outcome<OwnedFd> {
    if bytes >= LARGE && socket_send_buffer_size(&socket)? < SEND_BUFFER {
        set_socket_send_buffer_size_force(&socket, SEND_BUFFER)
            .or_else(|_| set_socket_send_buffer_size(&socket, SEND_BUFFER))?;
    }
    Ok(socket)
}

/// The two kinds of Unix socket differ in how a message is told from the next.
pub trait Framing {
    const NAME: &str;
    const SOCKET: SocketType;

    fn new(load: &Load) -> Self;
    /// Writes a message where it is sent from.
    fn write(&mut self, message: Message);
    /// Sends what was written.
    fn put(&mut self, socket: &OwnedFd) -> Outcome<()>;
    /// Receives a message; false if the other side has closed.
    fn get(&mut self, socket: &OwnedFd) -> Outcome<bool>;
    /// The message that was received.
    fn payload(&self) -> &[u8];
}

/// A peer whose receivers listen and whose sender connects to each of them.
pub struct Direct<F>(F);

pub struct DirectEnd<F> {
    framing: F,
    load: Load,
    listener: Option<OwnedFd>,
    connections: Vec<OwnedFd>,
}

impl<F: Framing> Peer for Direct<F> {
    const NAME: &str = F::NAME;
    const HAS_SERVER: bool = false;
    type End = DirectEnd<F>;

    fn open(seat: &Seat) -> Outcome<Self::End> {
        let (mut listening, mut connections) = (None, Vec::new());
        if seat.is_sender() {
            for other in seat.others() {
                connections.push(connection(F::SOCKET, &seat.path("socket", other), &seat.load)?);
            }
        } else {
            listening = Some(listener(F::SOCKET, &seat.path("socket", seat.index))?);
        }
        Ok(DirectEnd { framing: F::new(&seat.load), load: seat.load, listener: listening, connections })
    }
}

impl<F: Framing> End for DirectEnd<F> {
    fn send(&mut self, message: Message) -> Outcome<()> {
        self.framing.write(message);
        self.connections.iter().try_for_each(|connection| self.framing.put(connection))
    }

    /// From whoever is connected; when that has closed, from the next who connects.
    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        loop {
            if let Some(connection) = self.connections.first()
                && self.framing.get(connection)?
            {
                return read(self.framing.payload());
            }
            let listener = self.listener.as_ref().ok_or("the other side closed")?;
            self.connections = vec![next_connection(listener, &self.load)?];
        }
    }
}

/// A packet is a message.
pub struct Packets(Vec<u8>, usize);

impl Framing for Packets {
    const NAME: &str = crate::BASELINE;
    const SOCKET: SocketType = SocketType::SEQPACKET;

    fn new(load: &Load) -> Self {
        Self(vec![0; load.bytes], 0)
    }

    fn write(&mut self, message: Message) {
        message.write(&mut self.0);
    }

    fn put(&mut self, socket: &OwnedFd) -> Outcome<()> {
        send(socket, &self.0, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn get(&mut self, socket: &OwnedFd) -> Outcome<bool> {
        let (_, length) = recv(socket, &mut *self.0, RecvFlags::TRUNC)?;
        self.1 = length;
        Ok(length > 0)
    }

    fn payload(&self) -> &[u8] {
        &self.0[..self.1.min(self.0.len())]
    }
}

/// Four bytes say how long the message behind them is.
pub struct Lengths {
    out: Vec<u8>,
    /// Filled by each read with whatever there is: many small messages, or a part of a large one.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    message: std::ops::Range<usize>,
}

const PREFIX: usize = 4;
const READ_AHEAD: usize = 64 * 1024;

impl Lengths {
    /// Takes the next whole message out of the buffer.
    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        let there = &self.buffer[self.start..self.end];
        let length = u32::from_le_bytes(*there.first_chunk::<PREFIX>()?) as usize;
        let begin = self.start + PREFIX;
        (there.len() >= PREFIX + length).then(|| {
            self.start = begin + length;
            begin..begin + length
        })
    }

    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}

impl Framing for Lengths {
    const NAME: &str = "uds-stream";
    const SOCKET: SocketType = SocketType::STREAM;

    fn new(load: &Load) -> Self {
        let mut out = vec![0; PREFIX + load.bytes];
        out[..PREFIX].copy_from_slice(&(load.bytes as u32).to_le_bytes());
        let buffer = vec![0; READ_AHEAD.max(PREFIX + load.bytes)];
        Self { out, buffer, start: 0, end: 0, message: 0..0 }
    }

    fn write(&mut self, message: Message) {
        message.write(&mut self.out[PREFIX..]);
    }

    fn put(&mut self, socket: &OwnedFd) -> Outcome<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            sent += send(socket.as_fd(), &self.out[sent..], SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    fn get(&mut self, socket: &OwnedFd) -> Outcome<bool> {
        loop {
            if let Some(message) = self.next() {
                self.message = message;
                return Ok(true);
            }
            self.make_room();
            let (_, length) = recv(socket, &mut self.buffer[self.end..], RecvFlags::empty())?;
            if length == 0 {
                return Ok(false);
            }
            self.end += length;
        }
    }

    fn payload(&self) -> &[u8] {
        &self.buffer[self.message.clone()]
    }
}
