//! An honest world: it keeps every rule of the protocol, and its every step is one of the script's.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use strait_memory::{Inbox, Writable};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{Endpoint, Header, RawHeader, ReserveError, SliceMemory};
use strait_sys::wake;

pub(super) struct Honest {
    endpoint: Endpoint<Writable, Inbox>,
    bell: OwnedFd,
    wakeup: OwnedFd,
    asleep: Option<Sleep>,
}

/// What it waits for, and what its futex word was.
#[derive(Clone, Copy)]
struct Sleep {
    until: Event,
    via: Via,
    bell: u32,
}

impl Honest {
    pub(super) fn new(outbox: Writable, inbox: Inbox, bell: OwnedFd, wakeup: OwnedFd) -> Self {
        Self { endpoint: Endpoint::new(outbox, inbox), bell, wakeup, asleep: None }
    }

    /// Whether it can do something: it is awake, or was rung and is awake from now on.
    pub(super) fn is_up(&mut self) -> bool {
        if self.is_rung() {
            self.wake();
        }
        self.asleep.is_none()
    }

    /// Publishes a record if there is room.
    pub(super) fn put(&mut self, header: &Header, payload: &[u8]) -> bool {
        match self.endpoint.reserve(payload.len()) {
            Ok(slot) => {
                self.endpoint.mine_mut().bytes_mut(slot.payload_offset(), payload.len()).copy_from_slice(payload);
                self.endpoint.commit(&slot, &RawHeader::from(header));
                self.endpoint.publish();
                self.ring(Event::DATA);
                true
            }
            Err(ReserveError::Corrupt(corrupt)) => panic!("the switch: {corrupt}"),
            Err(_) => false,
        }
    }

    /// Reads the next record, which stays unreleased.
    pub(super) fn read(&mut self) -> Option<(Header, Vec<u8>)> {
        let incoming = self.endpoint.peek().unwrap_or_else(|corrupt| panic!("the switch: {corrupt}"))?;
        let bytes = incoming.raw.length() as usize;
        let payload = self.endpoint.theirs().bytes(incoming.payload_offset(), bytes).to_vec();
        self.endpoint.note_taken(incoming.raw.stride());
        self.endpoint.advance(&incoming);
        Some((incoming.raw.header(), payload))
    }

    pub(super) fn release(&mut self) {
        if self.endpoint.unreleased() > 0 {
            let event = self.endpoint.release();
            self.ring(event);
        }
    }

    /// What is left in an inbox that is no longer its own, or anybody's; and whether that had no room for a notice.
    pub(super) fn leave(mut self) -> (Vec<(Header, Vec<u8>)>, bool) {
        let ring_bytes = u64::from(self.endpoint.theirs().ring_bytes());
        let released = self.endpoint.read_to() - u64::from(self.endpoint.unreleased());
        let left = std::iter::from_fn(|| self.read()).collect();
        (left, self.endpoint.read_to() - released + u64::from(Header::BYTES) > ring_bytes)
    }

    /// Whether the switch has taken and given back all that it sent.
    pub(super) fn is_drained(&mut self) -> bool {
        self.endpoint.is_drained().expect("the switch's cursor")
    }

    fn ring(&mut self, event: Event) {
        if self.endpoint.ring_for(event).is_some() {
            wake::ring(self.bell.as_fd());
        }
    }

    /// Goes to sleep unless what it would wait for is there.
    pub(super) fn sleep(&mut self, until: Event, via: Via) {
        // Who waits has nothing left to read, and has given back what it read.
        self.release();
        wake::drain_pipe(self.wakeup.as_fd());
        let bell = self.endpoint.arm(until, via);
        self.asleep = Some(Sleep { until, via, bell });
        if self.has_cause() {
            self.wake();
        }
    }

    pub(super) fn wake(&mut self) {
        if self.asleep.take().is_some() {
            self.endpoint.disarm();
        }
    }

    fn is_rung(&self) -> bool {
        self.asleep.is_some_and(|sleep| match sleep.via {
            Via::Futex => self.endpoint.theirs().control().bell.load(std::sync::atomic::Ordering::SeqCst) != sleep.bell,
            Via::Fd => wake::wait_readable(self.wakeup.as_fd(), Some(Duration::ZERO)).expect("poll"),
        })
    }

    /// Whether what it waits for is there: data, or an outbox with nothing in it.
    fn has_cause(&mut self) -> bool {
        let until = self.asleep.map_or(Event::NONE, |sleep| sleep.until);
        let data = until.meets(Event::DATA) && self.endpoint.hear_produced().expect("the switch's cursor");
        data || until.meets(Event::ROOM) && self.is_drained()
    }

    /// Asleep, with what it waits for there, and nobody has rung: it would sleep forever.
    pub(super) fn has_overslept(&mut self) -> bool {
        self.has_cause() && !self.is_rung()
    }
}
