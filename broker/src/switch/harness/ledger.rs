//! The oracle: what honest worlds sent, and what has become of each record.

use super::entries::{Sent, Share, World};
use super::heirs::Heirs;
use super::mark::{MAX_RECORDS, Mark};
use super::stage::GROUP;
use super::topics::Topics;
use crate::switch::groups::MAX_DELIVERIES;
use std::time::{Duration, Instant};
use strait_protocol::layout::RECORD_ALIGN;
use strait_protocol::tap::{Sight, Sights, sight_stride};
use strait_protocol::{FIRST_FLAG_OF_WORLDS, FLAG_REPEATABLE, Header, Kind, RawHeader, Reason, SliceSize, WorldId};

/// The payload that every member's inbox takes.
const MEMBERS_PAYLOAD: u32 = SliceSize::MIN.ring_bytes() - Header::BYTES;

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
}

/// What a tap shows is whole, and was sent by somebody to somebody.
fn judge_sights(sights: Sights<'_>, bytes: usize) {
    let whole = |sight: Sight<'_>| {
        assert!(sight.header.source != WorldId::SWITCH && sight.header.sequence > 0, "{sight:?}");
        sight_stride(sight.payload.len())
    };
    assert_eq!(sights.map(whole).sum::<usize>(), bytes, "a batch has sights and nothing else");
}
