//! The oracle: what honest worlds sent, and what has become of each record.

use super::heirs::Heirs;
use super::mark::{MAX_RECORDS, MAX_WORLDS, Mark};
use super::stage::GROUP;
use super::topics::Topics;
use crate::switch::groups::MAX_DELIVERIES;
use std::time::{Duration, Instant};
use strait_protocol::layout::RECORD_ALIGN;
use strait_protocol::tap::{Sight, Sights, sight_stride};
use strait_protocol::{
    FIRST_FLAG_OF_WORLDS, FLAG_MORE, FLAG_REPEATABLE, Header, Kind, Name, Pattern, RawHeader, Reason, SliceSize,
    WorldId,
};

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
    send: Vec<Pattern>,
    pub sent: Vec<Sent>,
    /// Requests that it has read: the index of who asked, and the header.
    pub asked: Vec<Header>,
    /// Of each other world: the sequence of the last record from it.
    heard: [u64; MAX_WORLDS],
    /// The same of what was sent to the group, for the first time and whole.
    heard_by_group: [u64; MAX_WORLDS],
    /// Of each other world: whether a notice has said that it died.
    knows_dead: [bool; MAX_WORLDS],
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
    fn may_reach(&self, other: &Self, header: &Header) -> bool {
        match header.destination == GROUP {
            true => self.may_send_to_group() && other.was_member,
            false => self.may_send_to(other) || other.is_asked_for(header),
        }
    }

    fn may_send_to_group(&self) -> bool {
        self.send.iter().any(|pattern| pattern.covers(&group_name()))
    }

    fn request(&self, correlation: u64) -> Option<&Sent> {
        let is_it = |sent: &&Sent| sent.header.kind == Kind::Request && sent.header.correlation == correlation;
        self.sent.iter().find(is_it)
    }

    fn has_ended(&self, correlation: u64) -> bool {
        self.request(correlation).is_some_and(|request| request.has_ended || self.is_former(request.index()))
    }

    /// Whether a record is the answer, or a piece of it, to a request of this world that hasn't ended: it needs no policy.
    fn is_asked_for(&self, header: &Header) -> bool {
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
    deadline: Instant,
    /// Of a request: whether it has ended.
    has_ended: bool,
    /// Two of its addresses came to stand for the same world: which of them came to which end isn't known any more, only how many did.
    pub is_mingled: bool,
    mingled_ends: usize,
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
    fn ends_mingled(&mut self) -> bool {
        self.mingled_ends += usize::from(self.is_mingled);
        assert!(self.mingled_ends <= self.to.len(), "more ends than receivers: {:?}", self.header);
        self.is_mingled
    }

    fn is_repeatable(&self) -> bool {
        let to_group = self.to.iter().any(|copy| copy.receiver == GROUP);
        to_group && self.header.kind == Kind::Request && self.header.flags & FLAG_REPEATABLE != 0
    }
}

/// The payload that every member's inbox takes.
const MEMBERS_PAYLOAD: u32 = SliceSize::MIN.ring_bytes() - Header::BYTES;

/// What one receiver is to get.
pub(super) struct Share {
    /// The address.
    pub receiver: WorldId,
    /// Whom that has stood for since it was sent.
    pub may_go_to: Vec<WorldId>,
    /// Who has got it, and in which of its lives.
    delivered_to: Option<(usize, usize)>,
    /// How often, if it may be repeated.
    deliveries: u32,
    pub is_noticed: bool,
    /// Its sender was told that its time is over; or it may be in a hostile inbox.
    may_be_over: bool,
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

#[derive(Default)]
pub(super) struct Ledger {
    pub worlds: Vec<World>,
    pub topics: Topics,
    pub heirs: Heirs,
}

impl Ledger {
    pub(super) fn index(&self, id: WorldId) -> Option<usize> {
        self.worlds.iter().position(|world| world.id == id)
    }

    // --- sending ---

    /// The header and payload of a world's next record, to be written down if it is published. `None` when it has said enough.
    pub(super) fn next(&self, from: usize, kind: Kind, to: &[WorldId], bytes: u32) -> Option<(Header, Vec<u8>)> {
        let sequence = self.worlds[from].sent.len() as u64 + 1;
        let of_one = |id: &WorldId| if *id == GROUP { u16::MAX } else { self.index(*id).map_or(0, |world| 1 << world) };
        let receivers = match to {
            [topic] if topic.is_topic() => self.audience(*topic),
            _ => to.iter().map(of_one).fold(0, |bits, one| bits | one),
        };
        let mark = Mark::new(from, receivers, sequence);
        let mut payload = Vec::new();
        let mut header = Header::new(kind, *to.first()?, 0);
        if kind == Kind::Multicast {
            payload.extend(to.iter().flat_map(|id| id.0.to_le_bytes()));
            payload.resize(payload.len().next_multiple_of(RECORD_ALIGN as usize), 0);
            header.destination = WorldId(to.len() as u64);
        }
        payload.extend(mark.payload(bytes as usize));
        header.length = payload.len() as u32;
        (header.sequence, header.tag) = (sequence, mark.word());
        (sequence <= MAX_RECORDS as u64).then_some((header, payload))
    }

    pub(super) fn write_down(&mut self, from: usize, header: Header, to: &[WorldId], bytes: u32, now: Instant) {
        let deadline = now + Duration::from_millis(u64::from(header.timeout_ms));
        let copy = |id: &WorldId| Share {
            receiver: *id,
            may_go_to: vec![*id],
            delivered_to: None,
            deliveries: 0,
            is_noticed: false,
            may_be_over: false,
            may_be_lost: false,
        };
        let to = to.iter().map(copy).collect();
        let mut sent = Sent { header, bytes, to, deadline, has_ended: false, is_mingled: false, mingled_ends: 0 };
        if !sent.is_reply() {
            self.heirs.address(&mut sent, true);
        }
        self.worlds[from].sent.push(sent);
    }

    // --- receiving ---

    /// Judges what an honest world has read.
    pub(super) fn judge(&mut self, me: usize, header: &Header, payload: &[u8], now: Instant) {
        let is_by_group = header.destination == GROUP;
        assert!(is_by_group || header.destination == self.worlds[me].id, "the address of {header:?}");
        if let Some(sights) = Sights::of(header, payload) {
            return judge_sights(sights, payload.len());
        }
        if header.kind == Kind::Notice && header.source.is_topic() {
            return self.judge_unpublished(me, header);
        }
        if header.kind == Kind::Notice {
            return self.judge_notice(me, header, now);
        }
        let source = self.index(header.source).unwrap_or_else(|| panic!("nobody is the source of {header:?}"));
        if RawHeader::from(header).topic().is_some() {
            return self.judge_published(me, source, header, payload);
        }
        let is_repeated = is_by_group && header.kind == Kind::Request && header.flags & FLAG_REPEATABLE != 0;
        let known = if is_repeated { FLAG_REPEATABLE } else { 0 };
        assert_eq!(header.flags & (FIRST_FLAG_OF_WORLDS - 1), known, "flags of the switch in {header:?}");
        // What it left for the group may come late, since it waits for a member.
        assert!(is_by_group || !self.worlds[me].knows_dead[source], "after the notice of its death: {header:?}");
        self.judge_order(me, source, header, is_repeated);
        if self.worlds[source].is_honest {
            self.judge_copy(source, me, header, payload);
        }
        let is_allowed = self.worlds[source].may_reach(&self.worlds[me], header);
        assert!(is_allowed, "past its policy: {header:?}");
        match header.kind {
            Kind::Reply => self.end(me, header.correlation, Some((source, header.sequence))),
            Kind::Request => self.worlds[me].asked.push(*header),
            _ => {}
        }
    }

    /// The same of what a life has left that means nothing to the next one. That gets the rest, which came before some of this.
    pub(super) fn judge_left(&mut self, me: usize, header: &Header, payload: &[u8], now: Instant) {
        let World { heard, heard_by_group, knows_dead, .. } = self.worlds[me];
        self.judge(me, header, payload, now);
        let world = &mut self.worlds[me];
        (world.heard, world.heard_by_group, world.knows_dead) = (heard, heard_by_group, knows_dead);
    }

    /// What comes directly comes in order, and so does what comes by way of the group, if it comes for the first time and isn't a piece, which
    /// goes past what waits.
    fn judge_order(&mut self, me: usize, source: usize, header: &Header, is_repeated: bool) {
        let is_by_group = header.destination == GROUP;
        if is_repeated || is_by_group && header.stream != 0 {
            return;
        }
        let world = &mut self.worlds[me];
        let heard = if is_by_group { &mut world.heard_by_group } else { &mut world.heard };
        let last = std::mem::replace(&mut heard[source], header.sequence);
        // A multicast record may name the same receiver twice, which then gets it twice. Honest ones here don't, unless by two addresses.
        let may_come_twice = header.sequence == last && self.may_come_twice(source, me, header);
        assert!(header.sequence > last || may_come_twice, "after record {last}: {header:?}");
    }

    fn may_come_twice(&self, source: usize, me: usize, header: &Header) -> bool {
        let (source, id) = (&self.worlds[source], self.worlds[me].id);
        let sent = source.sent.get(header.sequence as usize - 1);
        !source.is_honest || sent.is_some_and(|sent| sent.to.iter().filter(|copy| copy.can_go_to(id)).count() > 1)
    }

    /// A record of an honest world arrived: is it what was sent, to whom, and for the first time?
    fn judge_copy(&mut self, source: usize, me: usize, header: &Header, payload: &[u8]) {
        let (id, index) = (header.destination, header.sequence as usize - 1);
        let lives: Vec<_> = self.worlds.iter().map(|world| (world.is_alive, world.lives.len())).collect();
        let is_over = |(world, life): (usize, usize)| !lives[world].0 || lives[world].1 > life;
        let sent = self.worlds[source].sent.get_mut(index).unwrap_or_else(|| panic!("never sent: {header:?}"));
        let kind = if sent.header.kind == Kind::Multicast { Kind::Message } else { sent.header.kind };
        // The switch's own flags were looked at.
        let flags = |header: &Header| header.flags & !(FIRST_FLAG_OF_WORLDS - 1);
        assert_eq!((header.kind, flags(header)), (kind, flags(&sent.header)), "{header:?}");
        assert_eq!((header.correlation, header.tag), (sent.header.correlation, sent.header.tag), "{header:?}");
        let mark = Mark::of(header.tag).expect("honest worlds mark what they send");
        assert_eq!(payload, mark.payload(sent.bytes as usize), "the payload of {header:?}");
        let may_repeat = sent.is_repeatable();
        if sent.ends_mingled() {
            return;
        }
        let copy = sent.copy_for(id).unwrap_or_else(|| panic!("not to {id}: {header:?}"));
        let is_first = copy.delivered_to.is_none_or(|before| may_repeat && is_over(before));
        assert!(is_first, "twice: {header:?}");
        assert!(!copy.is_noticed, "after the notice that it wasn't delivered: {header:?}");
        copy.delivered_to = Some((me, lives[me].1));
        copy.deliveries += 1;
        assert!(copy.deliveries <= MAX_DELIVERIES, "given to one member after the other: {header:?}");
    }

    /// What honest worlds wrote lies in the inbox of a hostile one: it was for that.
    pub(super) fn sees(&mut self, hostile: usize, marks: impl Iterator<Item = Mark>) {
        marks.for_each(|mark| self.is_seen(hostile, mark));
    }

    fn is_seen(&mut self, hostile: usize, mark: Mark) {
        let is_for_it = mark.is_for(hostile) || self.heirs.has_any();
        assert!(is_for_it, "{mark:?} lies in the inbox of world {hostile}");
        let life = self.worlds[hostile].lives.len();
        let (id, was_member) = (self.worlds[hostile].id, self.worlds[hostile].was_member);
        let (source, sequence) = mark.record();
        let sent = self.worlds[source].sent.get_mut(sequence - 1).unwrap_or_else(|| panic!("never sent: {mark:?}"));
        let copies = sent.to.iter().filter(|copy| copy.can_go_to(id) || was_member && copy.receiver == GROUP).count();
        let is_its = |copy: &&mut Share| copy.can_go_to(id) || was_member && copy.receiver == GROUP;
        // Whom a topic is for was looked at above.
        let is_for_it = sent.to.iter_mut().any(|copy| copy.receiver.is_topic() || is_its(&copy));
        assert!(is_for_it, "{mark:?} lies in the inbox of world {hostile}");
        for copy in sent.to.iter_mut().filter(is_its) {
            // If it was to get it in several ways, it isn't known in which it did.
            match copies > 1 {
                true => (copy.may_be_over, copy.may_be_lost) = (true, true),
                false => copy.delivered_to = copy.delivered_to.or(Some((hostile, life))),
            }
        }
    }

    fn judge_notice(&mut self, me: usize, header: &Header, now: Instant) {
        let reason = Reason::from_code(header.code).unwrap_or_else(|| panic!("no reason: {header:?}"));
        let kind = RawHeader::from(header).ends_request(header.correlation);
        let receiver = self.index(header.source);
        let is_of_group = header.source == GROUP;
        let is_alive = is_of_group || receiver.is_some_and(|world| self.worlds[world].is_alive);
        let is_allowed = receiver.is_some_and(|world| self.worlds[me].may_send_to(&self.worlds[world]))
            || is_of_group && self.worlds[me].may_send_to_group();
        let has_lost = |world: &World| !world.is_alive || !world.lives.is_empty();
        let a_member_died = self.worlds.iter().any(|world| world.was_member && has_lost(world));
        let a_life_ended = receiver.is_some_and(|world| has_lost(&self.worlds[world]));
        let a_life_ended_before = receiver.is_some_and(|world| !self.worlds[world].lives.is_empty());
        let concerned = |world: &World| world.id == header.source || is_of_group && world.was_member;
        let was_given_back = self.worlds.iter().any(|world| concerned(world) && world.has_given_back);
        let honest: Vec<bool> = self.worlds.iter().map(|world| world.is_honest).collect();
        let is_former = self.worlds[me].is_former(header.sequence.wrapping_sub(1) as usize);
        let inbox_payload = receiver.map_or(MEMBERS_PAYLOAD, |world| self.worlds[world].inbox_payload);
        let sent = self.worlds[me].sent.get_mut(header.sequence.wrapping_sub(1) as usize);
        let sent = sent.unwrap_or_else(|| panic!("about nothing that was sent: {header:?}"));
        assert_eq!((header.correlation, header.tag), (sent.header.correlation, sent.header.tag));
        assert_eq!(kind, sent.header.kind == Kind::Request, "{header:?}");
        assert!(!kind || !is_former, "what a life asked that is over: {header:?}");
        let is_reply = sent.header.kind == Kind::Reply;
        let holds = match reason {
            Reason::NoSuchWorld => !is_alive,
            Reason::Refused => !is_allowed && !is_reply,
            Reason::DeliveryLimit => is_of_group && sent.is_repeatable() && a_member_died,
            Reason::Died if is_of_group => a_member_died && !sent.is_repeatable(),
            Reason::Died => !is_alive || kind && a_life_ended,
            Reason::CantStart => was_given_back,
            Reason::Deadline => kind && now >= sent.deadline,
            Reason::TooLarge => sent.bytes > inbox_payload,
            Reason::NoSuchRequest => is_reply,
            Reason::Quota => true,
            // Not the switch's to say.
            _ => false,
        };
        assert!(holds, "{reason:?} isn't so: {header:?}");
        if sent.ends_mingled() {
            return;
        }
        let copy = sent.copy_for(header.source).unwrap_or_else(|| panic!("not to {}: {header:?}", header.source));
        assert!(!copy.is_noticed, "twice: {header:?}");
        // A request whose time is over may yet be read by who was asked.
        copy.is_noticed = reason != Reason::Deadline;
        copy.may_be_over |= reason == Reason::Deadline;
        // A hostile world may not have taken what lay in its inbox.
        let may_be_untaken = reason == Reason::CantStart && copy.delivered_to.is_some_and(|(world, _)| !honest[world]);
        assert!(kind || !copy.is_delivered() || may_be_untaken, "of what was delivered: {header:?}");
        if kind {
            self.end(me, header.correlation, None);
        }
        // Of a request it may be about a life that ended, after which others began.
        if reason == Reason::Died
            && !(is_alive || kind && a_life_ended_before)
            && let Some(dead) = receiver
        {
            self.worlds[me].knows_dead[dead] = true;
        }
    }

    /// A request of `me` is over: it was one, went to who answers, and wasn't over before.
    fn end(&mut self, me: usize, correlation: u64, reply: Option<(usize, u64)>) {
        let replier = reply.map(|(world, sequence)| {
            let it = &self.worlds[world];
            (it.id, (world, it.life_of(sequence as usize - 1)), it.is_honest)
        });
        let life_began = self.worlds[me].lives.last().copied().unwrap_or(0);
        let is_it = |sent: &&mut Sent| sent.header.kind == Kind::Request && sent.header.correlation == correlation;
        let sent = self.worlds[me].sent.iter_mut().find(is_it);
        let sent = sent.unwrap_or_else(|| panic!("the end of request {correlation}, which was never made"));
        assert!(sent.index() >= life_began, "of a life that is over: {:?}", sent.header);
        // Of a hostile one it isn't known what it has taken.
        let asked = &sent.to[0];
        let may_answer = |(id, life, is_honest): (WorldId, (usize, usize), bool)| match is_honest {
            true => asked.delivered_to == Some(life),
            false => asked.receiver == GROUP || asked.can_go_to(id),
        };
        assert!(replier.is_none_or(may_answer), "{replier:?} answers {:?}", sent.header);
        assert!(!std::mem::replace(&mut sent.has_ended, true), "ends twice: {:?}", sent.header);
    }

    // --- the end ---

    /// Requests of honest worlds that haven't ended.
    pub(super) fn open_requests(&self) -> usize {
        let living = self.worlds.iter().filter(|world| world.is_honest && world.is_alive);
        let is_open = |sent: &&Sent| sent.header.kind == Kind::Request && !sent.has_ended;
        let of_life =
            |world: &'_ World| world.sent[world.lives.last().copied().unwrap_or(0)..].iter().filter(is_open).count();
        living.map(of_life).sum()
    }

    /// After everything was read and every deadline has passed: each record between honest worlds has come to one end.
    pub(super) fn is_balanced(&self) {
        self.topics_are_balanced();
        for (me, world) in self.worlds.iter().enumerate().filter(|(_, world)| world.is_honest) {
            for sent in &world.sent {
                let may_be_open = !world.is_alive || sent.header.kind != Kind::Request || world.is_former(sent.index());
                assert!(may_be_open || sent.has_ended, "never ended: {:?}", sent.header);
                for copy in &sent.to {
                    self.has_arrived(me, sent, copy);
                }
            }
        }
    }

    /// What went to the group: the dead may leave more than it can pay for, and nobody is left to be told.
    fn has_come_to_the_group(&self, from: usize, sent: &Sent, copy: &Share) {
        let world = &self.worlds[from];
        let was_taken =
            self.worlds.iter().any(|world| world.was_member && !world.is_honest) && cfg!(feature = "racing");
        // Of a hostile one it isn't known what it asks: a piece may look like one of an answer to a life that is over.
        let may_be_answer = |world: &World| world.was_member && !world.is_honest && !world.lives.is_empty();
        let was_dropped = sent.header.flags & FLAG_MORE != 0 && self.worlds.iter().any(may_be_answer);
        let has_ended = !copy.is_open() || copy.may_be_over || was_taken || was_dropped;
        // What a life asked ends with it.
        let is_moot =
            !world.is_alive || copy.may_be_lost || world.is_former(sent.index()) && sent.header.kind == Kind::Request;
        assert!(has_ended || is_moot, "neither delivered nor told: {:?}", sent.header);
    }

    fn has_arrived(&self, from: usize, sent: &Sent, copy: &Share) {
        if sent.is_mingled {
            return;
        }
        if copy.receiver == GROUP {
            return self.has_come_to_the_group(from, sent, copy);
        }
        let targets: Vec<usize> = copy.may_go_to.iter().filter_map(|id| self.index(*id)).collect();
        let is_settled = !copy.is_open() || copy.may_be_lost || targets.is_empty();
        let is_excused = |target: usize| self.is_excused(&self.worlds[from], sent, &self.worlds[target]);
        assert!(is_settled || targets.into_iter().any(is_excused), "neither delivered nor told: {:?}", sent.header);
    }

    /// Whether a record may be neither delivered to this world nor told of.
    fn is_excused(&self, world: &World, sent: &Sent, target: &World) -> bool {
        // A hostile world may take a record and have it written over within one step.
        let may_be_unseen = !target.is_honest && cfg!(feature = "racing");
        // Between two that are gone nobody is left to be told; and of a request it is told that it ended, unless who asked is over.
        let is_request = sent.header.kind == Kind::Request;
        let is_moot =
            !target.is_alive && (!world.is_alive || is_request) || is_request && world.is_former(sent.index());
        // The notice of its asker's death needn't be told to who answers; what becomes of its answer when the request is over must, unless it waited
        // for a life that is over.
        let is_answer = sent.is_reply() || sent.is_piece();
        let asker_was_told = sent.is_reply() && (!target.is_alive || target.has_ended(sent.header.correlation));
        // Nor is a request given to the next life that nobody waits for.
        let is_late = is_request && (sent.has_ended || !world.is_alive) && !target.lives.is_empty();
        let is_of_former = is_answer && !target.lives.is_empty();
        // What is given back to one that is gone is told to nobody.
        let is_left = !world.is_alive
            && (target.has_given_back || !world.may_send_to(target) || sent.bytes > target.inbox_payload);
        may_be_unseen || is_moot || asker_was_told || is_of_former || is_late || is_left
    }
}

/// What a tap shows is whole, and was sent by somebody to somebody.
fn judge_sights(sights: Sights<'_>, bytes: usize) {
    let whole = |sight: Sight<'_>| {
        assert!(sight.header.source != WorldId::SWITCH && sight.header.sequence > 0, "{sight:?}");
        sight_stride(sight.payload.len())
    };
    assert_eq!(sights.map(whole).sum::<usize>(), bytes, "a batch has sights and nothing else");
}
