//! A port: what the switch keeps for one world.

use super::lane::Lane;
use super::parcels::Holdings;
use crate::link::{Count, Passport};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use strait_memory::{ReadOnly, SliceError, SliceFile, Writable, transfer};
use strait_protocol::handshake::DESCRIPTORS;
use strait_protocol::wait::{Event, Via};
use strait_protocol::{
    Endpoint, Incoming, Name, NameError, Pattern, RawHeader, ReserveError, SliceMemory, SliceSize, SliceSizeError,
    WorldId, WritableMemory,
};
use strait_sys::wake;

/// A record that waits outside of any slice, because its receiver's inbox is full.
#[derive(Debug)]
pub(crate) struct Held {
    pub raw: RawHeader,
    pub payload: Box<[u8]>,
    /// On whose account.
    pub charged: WorldId,
}

impl Held {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.raw.stride())
    }
}

/// Why a world can't be attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("a world comes with {DESCRIPTORS} descriptors, not {0}")]
    Descriptors(usize),
    #[error(transparent)]
    Slice(#[from] SliceError),
    #[error(transparent)]
    Size(#[from] SliceSizeError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0} is attached already")]
    Twice(WorldId),
    #[error("epoll_ctl: {0}")]
    Epoll(rustix::io::Errno),
}

#[derive(Debug)]
pub(crate) struct Port {
    pub id: WorldId,
    pub name: Name,
    /// The world's slices: its inbox is ours to write, its outbox is hostile.
    pub endpoint: Endpoint<Writable, ReadOnly>,
    /// Rung by the world (we only watch it).
    pub bell: OwnedFd,
    /// Rung by us.
    wakeup: OwnedFd,
    pub lane: Lane,
    pub holdings: Holdings,
    send: Vec<Pattern>,
    link: Vec<Pattern>,
    /// Bytes that it says it has written to links that are gone.
    pub linked_bytes: u64,
    /// Where the last record went, so that a stream to one place is looked up once.
    pub last_route: Option<(WorldId, usize)>,
    /// The receiver for which this world's next record waits.
    pub blocked_on: Option<WorldId>,
    /// Bytes of outbox behind the blocked record that are known to be for the same receiver.
    pub looked_past: u32,
    /// Records for this world that found its inbox full, in order.
    pub held: VecDeque<Held>,
    /// Bytes held anywhere on this world's account, and how many may be.
    pub held_bytes: u64,
    pub budget_bytes: u64,
    pub open_requests: u32,
    /// Records taken from it: the sequence number of the last one.
    pub sequence: u64,
    pub received: u64,
    /// Passes without work; an active port is looked at in each pass.
    pub idle_passes: u32,
    pub is_active: bool,
    /// Something was committed to its inbox in this pass.
    pub is_touched: bool,
    /// Somebody waits for room in its inbox.
    pub is_awaited: bool,
    /// It wrote what can't be true, and is about to be forgotten.
    pub is_doomed: bool,
}

impl Port {
    pub(crate) fn new(passport: &Passport, descriptors: Vec<OwnedFd>) -> Result<Self, AttachError> {
        let count = descriptors.len();
        let [outbox, inbox, bell, wakeup, lane]: [OwnedFd; DESCRIPTORS] =
            descriptors.try_into().map_err(|_| AttachError::Descriptors(count))?;
        let outbox = SliceFile::adopt(outbox, SliceSize::new(passport.outbox_bytes.into())?)?;
        let inbox = SliceFile::adopt(inbox, SliceSize::new(passport.inbox_bytes.into())?)?;
        Ok(Self {
            id: WorldId(passport.id),
            name: passport.name.parse()?,
            endpoint: Endpoint::new(Writable::map(&inbox)?, ReadOnly::map(&outbox)?),
            bell,
            wakeup,
            lane: Lane::new(lane),
            holdings: Holdings::new(passport.parcel_count, passport.parcel_bytes),
            send: passport.send.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            link: passport.link.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            linked_bytes: 0,
            last_route: None,
            blocked_on: None,
            looked_past: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            budget_bytes: passport.budget_bytes,
            open_requests: 0,
            sequence: 0,
            received: 0,
            idle_passes: 0,
            is_active: false,
            is_touched: false,
            is_awaited: false,
            is_doomed: false,
        })
    }

    /// Policy: whether this world may send to a world of that name. Everyone may ask the control service, which judges
    /// for itself.
    pub(crate) fn may_send_to(&self, id: WorldId, name: &Name) -> bool {
        id == WorldId::CONTROL || self.send.iter().any(|pattern| pattern.covers(name))
    }

    /// Policy: whether these two may have a direct link. Both must name the other; then they may also send to each other.
    pub(crate) fn may_link_with(&self, other: &Self) -> bool {
        let covers = |one: &Self, other: &Self| one.link.iter().any(|pattern| pattern.covers(&other.name));
        covers(self, other) && covers(other, self)
    }

    /// Whether the switch may hold so much more on this world's account. One record may always be held.
    pub(crate) fn can_charge(&self, bytes: u64) -> bool {
        self.held_bytes == 0 || self.held_bytes + bytes <= self.budget_bytes
    }

    /// Puts a record into the inbox if there is room and nothing waits before it.
    pub(crate) fn put(&mut self, header: &RawHeader, payload: &[u8]) -> Result<(), ReserveError> {
        let slot = self.endpoint.reserve(payload.len())?;
        self.endpoint.mine_mut().copy_in(slot.payload_offset(), payload);
        self.endpoint.commit(&slot, header);
        self.received += 1;
        Ok(())
    }

    /// Moves a record's payload from another world's outbox straight into the inbox.
    pub(crate) fn take_over(
        &mut self,
        from: &ReadOnly,
        incoming: &Incoming,
        header: &RawHeader,
    ) -> Result<(), ReserveError> {
        let bytes = header.length() as usize;
        let slot = self.endpoint.reserve(bytes)?;
        transfer(from, incoming.payload_offset(), self.endpoint.mine_mut(), slot.payload_offset(), bytes);
        self.endpoint.commit(&slot, header);
        self.received += 1;
        Ok(())
    }

    /// Takes a record out of the outbox into memory of our own.
    pub(crate) fn copy_out(&self, incoming: &Incoming) -> Box<[u8]> {
        let mut payload = vec![0; incoming.raw.length() as usize].into_boxed_slice();
        self.endpoint.theirs().copy_out(incoming.payload_offset(), &mut payload);
        payload
    }

    /// Takes a record of known length out of the outbox.
    pub(crate) fn copy_out_into(&self, incoming: &Incoming, payload: &mut [u8]) {
        self.endpoint.theirs().copy_out(incoming.payload_offset(), payload);
    }

    /// Wakes the world if it sleeps for what happened.
    pub(crate) fn ring(&mut self, event: Event) {
        match self.endpoint.ring_for(event) {
            Some(Via::Futex) => wake::futex_wake(&self.endpoint.mine().control().bell),
            Some(Via::Fd) => wake::ring_pipe(self.wakeup.as_fd()),
            None => {}
        }
    }

    pub(crate) fn count(&self, (links, bytes): (u32, u64)) -> Count {
        Count {
            links,
            linked_bytes: self.linked_bytes.saturating_add(bytes),
            id: self.id.0,
            sent: self.sequence,
            received: self.received,
            held_bytes: self.held_bytes,
            parcels: self.holdings.count(),
        }
    }
}
