//! What is written down in the ledger: worlds, what honest ones sent, and what of it each receiver is to get.

use super::mark::MAX_WORLDS;
use super::stage::GROUP;
use std::time::Instant;
use strait_protocol::{FLAG_MORE, FLAG_REPEATABLE, Header, Kind, Name, Pattern, WorldId};

/// A world that was ever attached.
pub(super) struct World {
    pub id: WorldId,
    pub name: Name,
    pub is_honest: bool,
    pub is_alive: bool,
    /// It was ever a member of the group.
    pub was_member: bool,
    pub inbox_payload: u32,
    pub budget_bytes: u64,
    pub send: Vec<Pattern>,
    pub sent: Vec<Sent>,
    /// Requests that it has read: the index of who asked, and the header.
    pub asked: Vec<Header>,
    /// Of each other world: the sequence of the last record from it.
    pub heard: [u64; MAX_WORLDS],
    /// The same of what was sent to the group, for the first time and whole.
    pub heard_by_group: [u64; MAX_WORLDS],
    /// Of each other world: whether a notice has said that it died.
    pub knows_dead: [bool; MAX_WORLDS],
    /// Of each life that is over: how much it had sent by then.
    pub lives: Vec<usize>,
    /// At the end of one, what waited for it went back to its senders.
    pub has_given_back: bool,
}

impl World {
    pub(super) fn new(id: WorldId, name: Name, is_honest: bool, send: Vec<Pattern>) -> Self {
        Self {
            id,
            name,
            is_honest,
            is_alive: true,
            was_member: false,
            inbox_payload: 0,
            budget_bytes: 0,
            send,
            sent: Vec::new(),
            asked: Vec::new(),
            heard: [0; MAX_WORLDS],
            heard_by_group: [0; MAX_WORLDS],
            knows_dead: [false; MAX_WORLDS],
            lives: Vec::new(),
            has_given_back: false,
        }
    }

    pub(super) fn may_send_to(&self, other: &Self) -> bool {
        self.id != other.id && self.send.iter().any(|pattern| pattern.covers(&other.name))
    }

    /// In which of its lives it sent a record.
    pub(super) fn life_of(&self, index: usize) -> usize {
        self.lives.iter().filter(|end| **end <= index).count()
    }

    /// Whether a life that is over sent it.
    pub(super) fn is_former(&self, index: usize) -> bool {
        self.life_of(index) < self.lives.len()
    }

    /// Policy on whom this world may reach. Everybody may be reached through the group.
    pub(super) fn may_reach(&self, other: &Self, header: &Header) -> bool {
        match header.destination == GROUP {
            true => self.may_send_to_group() && other.was_member,
            false => self.may_send_to(other) || other.is_asked_for(header),
        }
    }

    pub(super) fn may_send_to_group(&self) -> bool {
        self.send.iter().any(|pattern| pattern.covers(&group_name()))
    }

    pub(super) fn request(&self, correlation: u64) -> Option<&Sent> {
        let is_it = |sent: &&Sent| sent.header.kind == Kind::Request && sent.header.correlation == correlation;
        self.sent.iter().find(is_it)
    }

    pub(super) fn has_ended(&self, correlation: u64) -> bool {
        self.request(correlation).is_some_and(|request| request.has_ended || self.is_former(request.index()))
    }

    /// Whether a record is the answer, or a piece of it, to a request of this world that hasn't ended: it needs no policy.
    pub(super) fn is_asked_for(&self, header: &Header) -> bool {
        let is_answer = header.kind == Kind::Reply || header.kind == Kind::Message && header.flags & FLAG_MORE != 0;
        // The end of a request by way of the group says by itself who may answer.
        let was_asked = |copy: &Share| copy.can_go_to(header.source) || copy.receiver == GROUP;
        let is_open = |request: &Sent| !request.has_ended && request.to.iter().any(was_asked);
        is_answer && self.request(header.correlation).is_some_and(is_open)
    }
}

/// A record that an honest world published.
pub(super) struct Sent {
    pub header: Header,
    /// Bytes of payload for each receiver.
    pub bytes: u32,
    /// Of what is published: one, for the topic.
    pub to: Vec<Share>,
    pub deadline: Instant,
    /// Of a request: whether it has ended.
    pub has_ended: bool,
    /// Two of its addresses came to stand for the same world: which of them came to which end isn't known any more, only how many did.
    pub is_mingled: bool,
    pub mingled_ends: usize,
}

impl Sent {
    /// Which of its sender's records it is.
    pub(super) fn index(&self) -> usize {
        self.header.sequence as usize - 1
    }

    /// Whether a newer version never gets it in the place of who it is for: it belongs to a request of that one.
    pub(super) fn is_reply(&self) -> bool {
        self.header.kind == Kind::Reply
    }

    /// A piece of an answer.
    pub(super) fn is_piece(&self) -> bool {
        self.header.kind == Kind::Message && self.header.flags & FLAG_MORE != 0 && self.header.destination != GROUP
    }

    /// One of the shares comes to its end. False if it isn't known which.
    pub(super) fn ends_mingled(&mut self) -> bool {
        self.mingled_ends += usize::from(self.is_mingled);
        assert!(self.mingled_ends <= self.to.len(), "more ends than receivers: {:?}", self.header);
        self.is_mingled
    }

    pub(super) fn is_repeatable(&self) -> bool {
        let to_group = self.to.iter().any(|copy| copy.receiver == GROUP);
        to_group && self.header.kind == Kind::Request && self.header.flags & FLAG_REPEATABLE != 0
    }
}

/// What one receiver is to get.
pub(super) struct Share {
    /// The address.
    pub receiver: WorldId,
    /// Whom that has stood for since it was sent.
    pub may_go_to: Vec<WorldId>,
    /// Who has got it, and in which of its lives.
    pub delivered_to: Option<(usize, usize)>,
    /// How often, if it may be repeated.
    pub deliveries: u32,
    pub is_noticed: bool,
    /// Its sender was told that its time is over; or it may be in a hostile inbox.
    pub may_be_over: bool,
    /// Its sender's life is over, and who was to get it couldn't pay for it, or what its sender was told went with that life.
    pub may_be_lost: bool,
}

impl Share {
    pub(super) fn can_go_to(&self, id: WorldId) -> bool {
        self.may_go_to.contains(&id)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_delivered() && !self.is_noticed
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.delivered_to.is_some()
    }
}

fn group_name() -> Name {
    "pool".parse().expect("a name")
}
