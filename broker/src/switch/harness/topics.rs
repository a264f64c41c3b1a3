//! The oracle of topics: who may publish, who subscribes, and what each subscription is owed.

use super::entries::Sent;
use super::ledger::Ledger;
use super::mark::{MAX_WORLDS, Mark};
use crate::link::Subscription;
use std::collections::{HashMap, HashSet};
use strait_protocol::{FIRST_FLAG_OF_WORLDS, FLAG_RETAIN, FLAG_TOPIC, Header, Kind, RawHeader, Reason, WorldId};

/// Topics of a script. Hostile worlds have to do with the first alone.
pub(super) const TOPICS: [WorldId; 2] = [WorldId::topic(1), WorldId::topic(2)];
/// A bit of the tag that honest records have every other time.
const FILTER: u64 = 1 << 32;

/// A subscription of an honest world.
struct Subscribed {
    world: usize,
    topic: WorldId,
    subscription: Subscription,
    is_live: bool,
    /// Of each publisher: how much it had published when this began.
    since: Vec<usize>,
    /// What it got: from whom, and which record.
    got: HashSet<(usize, u64)>,
    /// Of each publisher: the last it got.
    last: [u64; MAX_WORLDS],
    missed: u64,
}

impl Subscribed {
    fn wants(&self, tag: u64) -> bool {
        tag & self.subscription.tag_mask == self.subscription.tag
    }
}

#[derive(Default)]
pub(super) struct Topics {
    subscribed: Vec<Subscribed>,
    /// Who may publish where, and how much it had published when that began.
    publishers: Vec<(usize, WorldId, usize)>,
    /// Who ever might.
    ever: HashSet<(usize, WorldId)>,
    /// How much it had published when what waited of it was withdrawn.
    withdrawn: HashMap<(usize, WorldId), usize>,
}

impl Ledger {
    /// The receivers of what is published, as far as can be said: anybody, or of the second topic no hostile world.
    pub(super) fn audience(&self, topic: WorldId) -> u16 {
        let hostile = self.worlds.iter().enumerate().filter(|(_, world)| !world.is_honest);
        let hostile = hostile.fold(0, |bits, (index, _)| bits | 1u16 << index);
        if topic == TOPICS[0] { u16::MAX } else { !hostile }
    }

    /// Whether anybody ever opened it: nothing closes one here.
    pub(super) fn is_open(&self, topic: WorldId) -> bool {
        self.topics.ever.iter().any(|(_, what)| *what == topic)
    }

    pub(super) fn opens(&mut self, world: usize, topic: WorldId) {
        if !self.topics.publishers.iter().any(|(who, what, _)| (*who, *what) == (world, topic)) {
            self.topics.publishers.push((world, topic, self.worlds[world].sent.len()));
            self.topics.ever.insert((world, topic));
        }
    }

    pub(super) fn leaves(&mut self, world: usize, topic: WorldId) {
        self.topics.publishers.retain(|(who, what, _)| (*who, *what) != (world, topic));
    }

    /// What a world published on a topic and waits goes to nobody.
    pub(super) fn withdraws(&mut self, world: usize, topic: WorldId) {
        self.topics.withdrawn.insert((world, topic), self.worlds[world].sent.len());
    }

    fn may_be_withdrawn(&self, world: usize, sent: &Sent) -> bool {
        let until = self.topics.withdrawn.get(&(world, sent.header.destination));
        until.is_some_and(|until| sent.index() < *until)
    }

    /// A life of a world is over.
    pub(super) fn leaves_topics(&mut self, world: usize) {
        TOPICS.iter().for_each(|topic| self.leaves(world, *topic));
        self.topics.subscribed.iter_mut().filter(|own| own.world == world).for_each(|own| own.is_live = false);
    }

    /// A world subscribes, `how` it likes. Returns what the switch is to be told.
    pub(super) fn subscribes(&mut self, world: usize, topic: WorldId, how: u8) -> Subscription {
        let number = self.topics.subscribed.len() as u32 + 1;
        let (tag_mask, tag) = [(0, 0), (FILTER, FILTER)][usize::from(how >> 2 & 1)];
        let (newest, retained) = (how & 1 == 1, how >> 1 & 1 == 1);
        let subscription = Subscription { world: self.worlds[world].id.0, number, newest, retained, tag_mask, tag };
        self.topics.subscribed.push(Subscribed {
            world,
            topic,
            subscription: subscription.clone(),
            is_live: true,
            since: self.worlds.iter().map(|world| world.sent.len()).collect(),
            got: HashSet::new(),
            last: [0; MAX_WORLDS],
            missed: 0,
        });
        subscription
    }

    /// One of a world's subscriptions ends: its number.
    pub(super) fn unsubscribes(&mut self, world: usize, which: u8) -> Option<u32> {
        let own = |subscribed: &&mut Subscribed| subscribed.world == world && subscribed.is_live;
        let count = self.topics.subscribed.iter_mut().filter(own).count();
        let subscribed = self.topics.subscribed.iter_mut().filter(own).nth(usize::from(which) % count.max(1))?;
        subscribed.is_live = false;
        Some(subscribed.subscription.number)
    }

    /// A world has read a message that came by a topic.
    pub(super) fn judge_published(&mut self, me: usize, source: usize, header: &Header, payload: &[u8]) {
        let (topic, number) = RawHeader::from(header).topic().expect("looked at by the caller");
        let is_kept = header.flags & FLAG_RETAIN != 0;
        assert_eq!(header.flags & (FIRST_FLAG_OF_WORLDS - 1) & !FLAG_RETAIN, FLAG_TOPIC, "{header:?}");
        assert!(self.topics.ever.contains(&(source, topic)), "published without leave: {header:?}");
        if self.worlds[source].is_honest {
            let sent = &self.worlds[source].sent[header.sequence as usize - 1];
            assert_eq!(sent.header.destination, topic, "{header:?}");
            assert_eq!((header.kind, header.tag), (Kind::Message, sent.header.tag), "{header:?}");
            assert!(!is_kept || sent.header.flags & FLAG_RETAIN != 0, "never to be kept: {header:?}");
            let mark = Mark::of(header.tag).expect("honest worlds mark what they send");
            assert_eq!(payload, mark.payload(sent.bytes as usize), "the payload of {header:?}");
        }
        let is_it = |s: &&mut Subscribed| s.world == me && s.topic == topic && s.subscription.number == number;
        let mine = self.topics.subscribed.iter_mut().find(is_it);
        let mine = mine.unwrap_or_else(|| panic!("nobody subscribed to {header:?}"));
        assert!(mine.wants(header.tag), "filtered: {header:?}");
        mine.missed += u64::from(header.timeout_ms);
        if is_kept {
            assert!(mine.subscription.retained, "what was kept isn't wanted: {header:?}");
            assert!(mine.got.is_empty(), "what was kept comes first: {header:?}");
            return;
        }
        let last = std::mem::replace(&mut mine.last[source], header.sequence);
        assert!(header.sequence > last, "after {last}: {header:?}");
        mine.got.insert((source, header.sequence));
    }

    /// What was published went nowhere: for a reason that is so?
    pub(super) fn judge_unpublished(&mut self, me: usize, header: &Header) {
        let index = header.sequence.wrapping_sub(1) as usize;
        let since = self.topics.publishers.iter().find(|(who, what, _)| (*who, *what) == (me, header.source));
        let sent = self.worlds[me].sent.get_mut(index);
        let sent = sent.unwrap_or_else(|| panic!("about nothing that was sent: {header:?}"));
        assert_eq!((sent.header.destination, sent.header.tag), (header.source, header.tag), "{header:?}");
        let holds = match Reason::from_code(header.code) {
            Some(Reason::Refused) => since.is_none_or(|(_, _, since)| index < *since),
            Some(Reason::Quota) => sent.header.flags & FLAG_RETAIN != 0 && sent.bytes > 0,
            _ => false,
        };
        assert!(holds, "it isn't so: {header:?}");
        assert!(!std::mem::replace(&mut sent.to[0].is_noticed, true), "twice: {header:?}");
    }

    /// At the end: each subscription of a world that is there got, or knows that it missed, whatever was published by those who are there.
    pub(super) fn topics_are_balanced(&self) {
        for mine in self.topics.subscribed.iter().filter(|mine| mine.is_live && self.worlds[mine.world].is_alive) {
            let owed = self.owed(mine, true);
            let got = mine.got.len() as u64;
            let fits = |sent: &Sent| sent.bytes <= self.worlds[mine.world].inbox_payload;
            for (source, sent) in owed.iter().filter(|(_, sent)| !mine.subscription.newest && fits(sent)) {
                let is_there = mine.got.contains(&(*source, sent.header.sequence));
                // It waits on its own account, if it was kept and is delivered late, and that may be full.
                assert!(
                    is_there || self.may_be_withdrawn(*source, sent),
                    "subscription {} lost {:?}",
                    mine.subscription.number,
                    sent.header
                );
            }
            let unfit = owed.iter().rev().take_while(|(_, sent)| !fits(sent)).count() as u64;
            // Its publisher lost the leave for it, and nobody counts that.
            let is_withdrawn = |(source, sent): &&(usize, &Sent)| {
                !mine.got.contains(&(*source, sent.header.sequence)) && self.may_be_withdrawn(*source, sent)
            };
            let withdrawn = owed.iter().filter(is_withdrawn).count() as u64;
            assert!(
                got + mine.missed + unfit + withdrawn + self.unsaid(mine) >= owed.len() as u64,
                "{got} and {} missed of {}",
                mine.missed,
                owed.len()
            );
            let publishers = || self.topics.ever.iter().filter(|(_, what)| *what == mine.topic);
            let has_hostile = publishers().any(|(who, _)| !self.worlds[*who].is_honest);
            // One of each that had to leave the topic may have gone to some of its subscribers before it was refused, as its publisher was told.
            let refused = self.refused(mine.topic).min(publishers().count());
            // And the value that was kept is missed by who has no room for it.
            let kept = usize::from(mine.subscription.retained);
            let most = (self.owed(mine, false).len() + refused + kept) as u64;
            assert!(has_hostile || got + mine.missed <= most, "{got} and {} missed of {most}", mine.missed);
        }
    }

    /// How many messages for a topic honest worlds were told of that they were not published.
    fn refused(&self, topic: WorldId) -> usize {
        let sent = self.worlds.iter().filter(|world| world.is_honest).flat_map(|world| &world.sent);
        sent.filter(|sent| sent.header.destination == topic && sent.to[0].is_noticed).count()
    }

    /// What was missed after the last that a subscription got: nothing has told it yet.
    fn unsaid(&self, mine: &Subscribed) -> u64 {
        let behind = |(source, sent): &&(usize, &Sent)| sent.header.sequence > mine.last[*source];
        self.owed(mine, true).iter().filter(behind).count() as u64
    }

    /// What honest worlds published on a subscription's topic, that it wants: since it began by those that are still there, or ever by anybody.
    fn owed<'a>(&'a self, mine: &Subscribed, is_certain: bool) -> Vec<(usize, &'a Sent)> {
        let mut owed = Vec::new();
        for (source, world) in self.worlds.iter().enumerate() {
            let since = mine.since.get(source).copied().unwrap_or(0);
            let is_concerned = world.is_honest && source != mine.world && (world.is_alive || !is_certain);
            // Of what a life leaves, some may find no room.
            let began = world.lives.last().copied().unwrap_or(0);
            let sent = world.sent.iter().skip(if is_certain { since.max(began) } else { 0 });
            let is_owed = |sent: &&Sent| {
                sent.header.destination == mine.topic && mine.wants(sent.header.tag) && !sent.to[0].is_noticed
            };
            owed.extend(sent.filter(is_owed).filter(|_| is_concerned).map(|sent| (source, sent)));
        }
        owed
    }
}
