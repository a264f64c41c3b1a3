//! Groups: an address whose records go to whichever of its members has the least to do.
//!
//! A record is bound to a member as late as possible: when a member takes fewer requests and messages than it may have at once
//! ([`Group::outstanding`]), and has room. Until then it waits for the *group*: in its sender's outbox or, taken out, in the group's
//! queue, on its sender's account and in its window for the group, first come first served. A request counts until it ends, a message
//! until its member has given back its ring.
//!
//! All pieces of one stream go to the same member: to whom the first one went. A request that its sender calls repeatable is kept until
//! it ends, on the sender's account, and given to another member if the one that has it dies, but to no more than [`MAX_DELIVERIES`].
//!
//! What is not promised: an order between what goes to a group and what goes to its member directly, or between members.

#[cfg(any(test, feature = "racing"))]
mod audit;
mod deliver;
mod dispatch;
mod jobs;
mod leave;
mod members;
mod queue;

use super::parcels::Parcel;
use super::port::{Held, Port};
use super::requests::Key;
use crate::link::GroupPassport;
use queue::Queue;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use strait_protocol::{FLAG_MORE, Header, Name, NameError, RawHeader, WorldId};

/// Members that a repeatable request is given to, one after the other's death: what kills each would kill all of a pool until its deadline.
pub(super) const MAX_DELIVERIES: u32 = 3;
/// Streams to one group that one world may have begun and not ended.
const MAX_STREAMS: usize = 64;

/// A record's place in a group's order: what is given to another member keeps it.
type Ticket = u64;

#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<WorldId, Group>);

#[derive(Debug)]
pub(super) struct Group {
    name: Name,
    /// Requests and messages that one member may have at once.
    outstanding: u32,
    max_payload: u32,
    members: Vec<Member>,
    queue: Queue,
    /// Senders whose next record waits in their outbox, who came first in front.
    pub line: VecDeque<WorldId>,
    /// Requests that haven't ended.
    jobs: HashMap<Key, Job>,
    /// To which member the pieces of a stream go, by source and number.
    streams: HashMap<WorldId, HashMap<u32, WorldId>>,
    tickets: Ticket,
    /// What is held on the account of the group itself: what the dead left for it.
    held_bytes: u64,
    budget_bytes: u64,
    /// The supervisor knows that there are too few members; until one comes or goes it isn't told again.
    was_wanted: bool,
}

/// A record in the queue of a group, or kept for the case that its member dies.
#[derive(Debug)]
struct Waiting {
    held: Held,
    /// What comes with it. Its sender's hold on it lasts as long as this.
    parcel: Option<Rc<Parcel>>,
    is_repeatable: bool,
}

/// A request that hasn't ended.
#[derive(Debug)]
struct Job {
    ticket: Ticket,
    /// Who has it, if it isn't in the queue.
    member: Option<WorldId>,
    /// How many had it.
    deliveries: u32,
    /// The request itself, if it may be given to another.
    kept: Option<Waiting>,
}

#[derive(Debug)]
struct Member {
    id: WorldId,
    slot: usize,
    requests: u32,
    /// Where in its inbox the messages end that it hasn't given back.
    unread: VecDeque<u64>,
    /// Records that it was given.
    taken: u64,
}

/// Who gets a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    /// The member in this slot.
    Member(usize),
    /// Nobody now.
    Nobody,
    /// Nobody ever: it is larger than the inbox of each.
    TooLarge,
}

impl Member {
    /// What it has to do, when it has released `consumed` bytes of its inbox.
    fn load(&mut self, consumed: u64) -> u32 {
        while self.unread.front().is_some_and(|end| *end <= consumed) {
            self.unread.pop_front();
        }
        self.requests + self.unread.len() as u32
    }
}

impl Groups {
    pub(super) fn contains(&self, id: WorldId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn get_mut(&mut self, id: WorldId) -> Option<&mut Group> {
        self.0.get_mut(&id)
    }

    /// The slots of a group's members.
    pub(super) fn members(&self, id: WorldId) -> Vec<usize> {
        self.0.get(&id).map_or_else(Vec::new, |group| group.members.iter().map(|member| member.slot).collect())
    }

    /// The first in the queue of a group that a world sent which is no member, and before it the first of each member.
    fn firsts(&self, id: WorldId) -> Vec<(Ticket, RawHeader)> {
        let mut firsts: Vec<(Ticket, RawHeader)> = Vec::new();
        let Some(group) = self.0.get(&id) else { return firsts };
        for (ticket, waiting) in group.queue.iter() {
            let raw = waiting.held.raw;
            if firsts.iter().all(|(_, first)| first.source() != raw.source()) {
                firsts.push((*ticket, raw));
            }
            if group.members.iter().all(|member| member.id != raw.source()) {
                break;
            }
        }
        firsts
    }

    /// Whether something waits in the queue of one of these groups.
    pub(super) fn keep_waiting(&self, groups: &[WorldId]) -> bool {
        groups.iter().any(|id| self.0.get(id).is_some_and(|group| !group.queue.is_empty()))
    }
}

impl Group {
    pub(super) fn new(passport: &GroupPassport) -> Result<Self, NameError> {
        Ok(Self {
            name: passport.name.parse()?,
            outstanding: passport.outstanding.max(1),
            max_payload: passport.max_payload,
            members: Vec::new(),
            queue: Queue::default(),
            line: VecDeque::new(),
            jobs: HashMap::new(),
            streams: HashMap::new(),
            tickets: 0,
            held_bytes: 0,
            budget_bytes: passport.budget_bytes,
            was_wanted: false,
        })
    }

    /// Whether a sender may have its record given to a member now, as far as others are concerned: nobody waits longer.
    fn has_turn(&self, sender: WorldId) -> bool {
        self.queue.is_empty() && self.line.front().is_none_or(|first| *first == sender)
    }

    fn is_waited_for(&self) -> bool {
        !self.queue.is_empty() || !self.line.is_empty()
    }

    fn can_charge(&self, bytes: u64) -> bool {
        self.held_bytes == 0 || self.held_bytes + bytes <= self.budget_bytes
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    fn member(&mut self, id: WorldId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// The least loaded member that can take a record of `needed` bytes of ring; of several the one with the most room. A world doesn't get
    /// its own.
    fn pick(&mut self, ports: &mut [Option<Port>], source: WorldId, needed: u32) -> Pick {
        let (mut best, mut largest) = (None, None);
        for member in self.members.iter_mut() {
            let Some(port) = ports[member.slot].as_mut().filter(|port| !port.is_doomed) else { continue };
            largest = largest.max(Some(port.endpoint.max_payload() + Header::BYTES));
            // A cursor that can't be true is found again, and acted on, when something is put there.
            let room = port.endpoint.room().unwrap_or(u32::MAX);
            let load = member.load(port.consumed());
            if member.id == source || load >= self.outstanding || room < needed || !port.has_turn(source) {
                continue;
            }
            let rank = (load, Reverse(room));
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, member.slot));
            }
        }
        match best {
            Some((_, slot)) => Pick::Member(slot),
            None if largest.is_some_and(|largest| needed > largest) => Pick::TooLarge,
            None => Pick::Nobody,
        }
    }

    // --- streams ---

    /// Whose stream a piece belongs to, if the first one was given to somebody.
    fn bound(&self, source: WorldId, raw: &RawHeader) -> Option<WorldId> {
        if !is_piece(raw) {
            return None;
        }
        self.streams.get(&source)?.get(&raw.stream()).copied()
    }

    fn can_begin_stream(&self, source: WorldId, raw: &RawHeader) -> bool {
        let begun = || self.streams.get(&source).map_or(0, HashMap::len);
        !is_piece(raw) || raw.flags() & FLAG_MORE == 0 || begun() < MAX_STREAMS
    }

    /// A piece goes to a member: the next ones go there too, until the last one went.
    fn bind(&mut self, source: WorldId, raw: &RawHeader, member: WorldId) {
        if !is_piece(raw) {
            return;
        }
        if raw.flags() & FLAG_MORE != 0 {
            self.streams.entry(source).or_default().insert(raw.stream(), member);
        } else if let Some(of_source) = self.streams.get_mut(&source) {
            of_source.remove(&raw.stream());
            if of_source.is_empty() {
                self.streams.remove(&source);
            }
        }
    }
}

/// Whether a record is one piece of a stream.
fn is_piece(raw: &RawHeader) -> bool {
    raw.stream() != 0 && !raw.brings()
}

/// Whether a request may be given to a second member: its sender says so, and it is whole.
fn is_repeatable(raw: &RawHeader) -> bool {
    raw.asks_to_be_repeated() && !is_piece(raw)
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
