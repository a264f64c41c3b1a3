//! A stand-in for the broker: one world's connection, with the test as the switch. No policy, no stamping.

#![allow(dead_code, clippy::allow_attributes, reason = "each test takes what it needs of this")]

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_memory::{ReadOnly, SliceFile, Writable};
use strait_protocol::handshake::{self, Welcome};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{Endpoint, Header, Kind, RawHeader, SliceMemory, SliceSize, WorldId};
use strait_sys::{socket, wake};

/// The world's id.
pub const WORLD: WorldId = WorldId(77);
/// Whom the switch speaks for.
pub const PEER: WorldId = WorldId(16);

pub struct Switch {
    endpoint: Endpoint<Writable, ReadOnly>,
    outbox: SliceFile,
    wakeup: OwnedFd,
    _lane: OwnedFd,
    socket: OwnedFd,
}

impl Switch {
    /// The switch, and the connection that a world finds at descriptor 3, with its welcome already in it.
    pub fn new(size: SliceSize) -> (Self, OwnedFd) {
        let (ours, theirs) = socket::pair().unwrap();
        let (read, wakeup) = wake::bell_pipe().unwrap();
        let (giving, taking) = socket::lane(0).unwrap();
        let bell = wake::eventfd().unwrap();
        let outbox = SliceFile::create("outbox", size).unwrap();
        let inbox = SliceFile::create("inbox", size).unwrap();
        let endpoint = Endpoint::new(Writable::map(&inbox).unwrap(), ReadOnly::map(&outbox).unwrap());
        inbox.seal_writes().unwrap();
        let welcome = Welcome { id: WORLD, name: "echo".parse().unwrap(), outbox: size, inbox: size, links: false };
        let descriptors = [outbox.as_fd(), inbox.as_fd(), bell.as_fd(), read.as_fd(), taking.as_fd()];
        socket::send(ours.as_fd(), &welcome.encode(), &descriptors).unwrap();
        (Self { endpoint, outbox, wakeup, _lane: giving, socket: ours }, theirs)
    }

    /// Waits until the world has mapped its slices.
    pub fn finish_handshake(&self) {
        let mut buffer = [0; handshake::MAX_BYTES];
        let (length, _) = socket::receive(self.socket.as_fd(), &mut buffer).unwrap();
        assert!(handshake::is_mapped(&buffer[..length]));
        assert!(self.outbox.is_sealed());
    }

    /// Puts a record into the world's inbox. The length is filled in.
    pub fn deliver(&mut self, header: Header, payload: &[u8]) {
        assert!(self.try_deliver(header, payload), "the inbox is full");
    }

    /// The same, if there is room.
    pub fn try_deliver(&mut self, header: Header, payload: &[u8]) -> bool {
        let Ok(slot) = self.endpoint.reserve(payload.len()) else { return false };
        self.endpoint.mine_mut().bytes_mut(slot.payload_offset(), payload.len()).copy_from_slice(payload);
        self.endpoint.commit(&slot, &RawHeader::from(&Header { length: slot.payload_bytes(), ..header }));
        self.endpoint.publish();
        self.ring(Event::DATA);
        true
    }

    /// The next record of the world. Gives it ten seconds.
    pub fn take(&mut self) -> (Header, Vec<u8>) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(record) = self.try_take() {
                return record;
            }
            assert!(Instant::now() < end, "the world says nothing");
            wake::yield_now();
        }
    }

    /// The next record of the world, if there is one.
    pub fn try_take(&mut self) -> Option<(Header, Vec<u8>)> {
        let incoming = self.endpoint.peek().unwrap()?;
        let mut payload = vec![0; incoming.raw.length() as usize];
        self.endpoint.theirs().copy_out(incoming.payload_offset(), &mut payload);
        self.endpoint.advance(&incoming);
        let event = self.endpoint.release();
        self.ring(event);
        Some((incoming.raw.header(), payload))
    }

    fn ring(&mut self, event: Event) {
        match self.endpoint.ring_for(event) {
            Some(Via::Futex) => wake::futex_wake(&self.endpoint.mine().control().bell),
            Some(Via::Fd) => wake::ring_pipe(self.wakeup.as_fd()),
            None => {}
        }
    }
}

/// A request as the switch would deliver it.
pub fn request(source: WorldId, correlation: u64) -> Header {
    Header { source, correlation, sequence: correlation, tag: 9, ..Header::new(Kind::Request, WORLD, 0) }
}

/// A request of the control service to end.
pub fn shutdown_notice() -> Header {
    let mut header = request(WorldId::CONTROL, 5);
    (header.code, header.timeout_ms) = (strait_protocol::control::Wanted::Shutdown as u16, 3000);
    header
}
