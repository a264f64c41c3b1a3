//! Topics: who may publish on which, and who gets what is published.
//!
//! Nothing is matched here. The control service knows the names and the patterns; it says which subscriptions a topic has when somebody opens
//! the one or makes the other. To publish is to look up one id and to walk down one list.
//!
//! A *lossless* subscriber without room is served as a receiver of multicast is: the message is held on its publisher's account, in a window that
//! all slow subscribers of the topic share, and the publisher is told not to publish there for now. A *newest-wins* one costs its publisher nothing:
//! one value waits for it, on its own account, and the next takes that one's place. What a subscriber misses is counted in the next that it gets.
//!
//! A parcel that a message brings is handed over with that message and not before, so that what makes way or is forgone takes its parcel with it. It is
//! charged to the subscriber from when it waits; one that holds as much as it may misses it.

use super::Switch;
use super::backlog::Payload;
use super::deliver::{Outcome, Turn};
use super::parcels::Parcel;
use super::port::{Held, Port};
use crate::link::Subscription;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use strait_protocol::{
    Corrupt, FLAG_MORE, FLAG_RETAIN, FLAG_TOPIC, Header, Kind, RawHeader, Reason, ReserveError, WorldId,
};

/// All topics that are open.
#[derive(Debug, Default)]
pub(super) struct Topics {
    open: HashMap<WorldId, Topic>,
    /// Subscribers ever: the last one's serial number.
    subscribed: u64,
}

#[derive(Debug, Default)]
struct Topic {
    publishers: Vec<WorldId>,
    /// By serial number, which is never given twice: a publisher that had to wait in the middle knows where to go on.
    subscribers: BTreeMap<u64, Subscriber>,
    retained: Option<Retained>,
}

/// One subscription to one topic.
#[derive(Debug)]
struct Subscriber {
    world: WorldId,
    slot: usize,
    subscription: Subscription,
    /// Messages that it didn't get since the last that it did.
    missed: u32,
    /// Where the value that waits for it was put among what is held for its world; see [`Port::keep`].
    seat: Option<u64>,
}

/// The last value of a topic that was to be kept.
#[derive(Debug)]
struct Retained {
    raw: RawHeader,
    payload: Rc<[u8]>,
}

impl Topics {
    /// Takes a subscription out of the topics that it meets.
    fn forget(&mut self, met: &BTreeMap<WorldId, u64>) {
        for (topic, serial) in met {
            if let Some(open) = self.open.get_mut(topic) {
                open.subscribers.remove(serial);
            }
        }
    }
}

impl Retained {
    fn bytes(&self) -> u64 {
        Held::bytes_of(&self.raw)
    }
}

impl Subscriber {
    fn wants(&self, raw: &RawHeader) -> bool {
        raw.tag() & self.subscription.tag_mask == self.subscription.tag
    }

    fn miss(&mut self) {
        self.missed = self.missed.saturating_add(1);
    }
}

impl Switch {
    // --- what the control service says ---

    pub(super) fn open_topic(&mut self, topic: WorldId, publisher: WorldId) {
        let open = self.topics.open.entry(topic).or_default();
        if let Some(slot) = self.by_id.get(&publisher).copied()
            && !open.publishers.contains(&publisher)
        {
            open.publishers.push(publisher);
            self.port(slot).topics.insert(topic);
        }
    }

    pub(super) fn leave_topic(&mut self, topic: WorldId, publisher: WorldId) {
        let Some(open) = self.topics.open.get_mut(&topic) else { return };
        open.publishers.retain(|other| *other != publisher);
        if let Some(slot) = self.by_id.get(&publisher).copied() {
            self.port(slot).topics.remove(&topic);
        }
        let Some(open) = self.topics.open.get_mut(&topic) else { return };
        if let Some(retained) = open.retained.take_if(|retained| retained.raw.source() == publisher) {
            self.give_back(&retained);
        }
    }

    pub(super) fn close_topic(&mut self, topic: WorldId) {
        let Some(open) = self.topics.open.remove(&topic) else { return };
        open.retained.iter().for_each(|retained| self.give_back(retained));
        for world in open.publishers {
            if let Some(slot) = self.by_id.get(&world).copied() {
                self.port(slot).topics.remove(&topic);
            }
        }
        for Subscriber { slot, subscription, .. } in open.subscribers.values() {
            if let Some(met) = self.port(*slot).subscriptions.get_mut(&subscription.number) {
                met.remove(&topic);
            }
        }
    }

    /// Adds each of the subscriptions to each of the topics.
    pub(super) fn subscribe(&mut self, subscriptions: &[Subscription], topics: &[u32]) {
        for topic in topics.iter().map(|number| WorldId::topic(*number)) {
            for subscription in subscriptions {
                self.subscribe_one(topic, subscription);
            }
        }
        self.publish_touched();
        self.bury();
    }

    fn subscribe_one(&mut self, topic: WorldId, subscription: &Subscription) {
        let world = WorldId(subscription.world);
        let Some(slot) = self.by_id.get(&world).copied() else { return };
        if !self.topics.open.contains_key(&topic) {
            return;
        }
        self.topics.subscribed += 1;
        let (serial, subscription) = (self.topics.subscribed, subscription.clone());
        let met = self.port(slot).subscriptions.entry(subscription.number).or_default();
        // Said twice, it is one: the other would outlive its world, in a slot that is another's by then.
        if *met.entry(topic).or_insert(serial) != serial {
            return;
        }
        let Some(open) = self.topics.open.get(&topic) else { return };
        let mut subscriber = Subscriber { world, slot, subscription, missed: 0, seat: None };
        let kept =
            open.retained.as_ref().filter(|kept| subscriber.subscription.retained && subscriber.wants(&kept.raw));
        let kept = kept.map(|kept| {
            let raw = kept.raw.by_topic(world, subscriber.subscription.number, 0);
            (raw.with_flags(FLAG_TOPIC | FLAG_RETAIN), kept.payload.clone())
        });
        if let Some((raw, payload)) = kept
            && !self.put_or_keep(slot, (raw, payload), None, &mut subscriber.seat)
        {
            subscriber.miss();
        }
        if let Some(open) = self.topics.open.get_mut(&topic) {
            open.subscribers.insert(serial, subscriber);
        }
    }

    pub(super) fn unsubscribe(&mut self, world: WorldId, number: u32) {
        let Some(slot) = self.by_id.get(&world).copied() else { return };
        let met = self.port(slot).subscriptions.remove(&number).unwrap_or_default();
        self.topics.forget(&met);
        self.forgo_held(slot, |held| held.topic().is_some_and(|(_, other)| other == number));
        // Who waits to publish for it needn't any more.
        let publishes = |waiter: &WorldId| {
            let waiter = self.by_id.get(waiter).and_then(|slot| self.ports[*slot].as_ref());
            waiter.and_then(|port| port.blocked).is_some_and(|blocked| blocked.window.is_topic())
        };
        let Some(port) = &self.ports[slot] else { return };
        let (gone, left) = port.waiters.iter().partition(|waiter| publishes(waiter));
        self.port(slot).waiters = left;
        self.let_go_on(&gone);
        self.call_next(slot);
    }

    /// What is held for a world and was published on topics, as far as nobody is to get it any more: who published it could not go on for as
    /// long as that world reads nothing. A subscription that goes on is told by its next.
    fn forgo_held(&mut self, slot: usize, is_gone: impl Fn(&RawHeader) -> bool) {
        let port = self.port(slot);
        if !port.held.iter().any(|held| is_gone(&held.raw)) {
            return;
        }
        let (id, held) = (port.id, std::mem::take(&mut port.held));
        let (gone, kept): (VecDeque<Held>, _) = held.into_iter().partition(|held| is_gone(&held.raw));
        self.port(slot).held = kept;
        for held in gone {
            self.uncharge(held.charged, held.window(id), held.bytes());
            self.miss(slot, &held.raw);
            if let Some(parcel) = held.parcel {
                self.bring_never(slot, held.raw.source(), parcel);
            }
        }
        self.close_ranks(slot);
    }

    /// A world is not to get after all what was held for one of its subscriptions.
    pub(super) fn miss(&mut self, slot: usize, held: &RawHeader) {
        let Some((topic, number)) = held.topic() else { return };
        let met = self.port(slot).subscriptions.get(&number);
        let Some(serial) = met.and_then(|met| met.get(&topic)).copied() else { return };
        let open = self.topics.open.get_mut(&topic);
        if let Some(subscriber) = open.and_then(|open| open.subscribers.get_mut(&serial)) {
            subscriber.missed = subscriber.missed.saturating_add(held.missed());
            subscriber.miss();
        }
    }

    /// What a world published on a topic that it may not publish on any more, and that waits for room, goes to nobody; what is in its outbox is
    /// refused when its turn comes.
    pub(super) fn withdraw(&mut self, topic: WorldId, publisher: WorldId) {
        let is_of = |raw: &RawHeader| {
            raw.header().source == publisher && raw.topic().is_some_and(|(published_on, _)| published_on == topic)
        };
        for slot in 0..self.ports.len() {
            if self.ports[slot].is_some() {
                self.forgo_held(slot, is_of);
            }
        }
        if let Some(slot) = self.by_id.get(&publisher).copied()
            && self.port(slot).blocked.is_some_and(|blocked| blocked.window.is_topic())
        {
            self.leave_line(slot);
            self.activate(slot);
        }
    }

    /// Tells subscribers what the control service has to say on a topic of its own.
    pub(super) fn announce(&mut self, topic: WorldId, subscribers: &[(u64, u32)], payload: &[u8]) {
        let header = Header { source: WorldId::CONTROL, ..Header::new(Kind::Message, topic, payload.len() as u32) };
        let (raw, payload) = (RawHeader::from(&header), Rc::<[u8]>::from(payload));
        for (world, number) in subscribers {
            let Some(slot) = self.by_id.get(&WorldId(*world)).copied() else { continue };
            let missed = self.port(slot).unannounced;
            let raw = raw.by_topic(WorldId(*world), *number, missed).with_flags(FLAG_TOPIC);
            let is_given = self.put_or_keep(slot, (raw, payload.clone()), None, &mut None);
            self.port(slot).unannounced = if is_given { 0 } else { missed.saturating_add(1) };
        }
        self.publish_touched();
        self.bury();
    }

    /// Forgets what a world that is gone published, kept, and subscribed to.
    pub(super) fn leave_topics(&mut self, gone: &Port) {
        for topic in &gone.topics {
            self.leave_topic(*topic, gone.id);
        }
        gone.subscriptions.values().for_each(|met| self.topics.forget(met));
    }

    // --- publishing ---

    /// Gives the message at the head of an outbox to the subscribers of its topic, from where it left off. False if it isn't through: it has
    /// to wait for one of them, or its turn is over.
    pub(super) fn publish(&mut self, slot: usize, raw: &RawHeader, at: u32, turn: &mut Turn) -> Result<bool, Corrupt> {
        let mut verdict = self.may_publish(slot, raw)?;
        if raw.parcel() != 0 && verdict.is_ok() {
            verdict = self.port(slot).holdings.sendable(raw.parcel()).map(drop);
        }
        if let Err(reason) = verdict {
            let stays = self.step(slot, raw.stride());
            if stays {
                self.tell(slot, &raw.header(), reason);
            }
            return Ok(stays);
        }
        let topic = raw.destination();
        let mut payload = Payload::At(at);
        let mut subscribers = self.topics.open.get_mut(&topic).map(|t| std::mem::take(&mut t.subscribers));
        let is_through =
            self.fan_out(slot, (raw, at), subscribers.as_mut().unwrap_or(&mut BTreeMap::new()), &mut payload, turn);
        if let (Some(open), Some(subscribers)) = (self.topics.open.get_mut(&topic), subscribers) {
            open.subscribers = subscribers;
        }
        if !is_through? {
            return Ok(false);
        }
        if raw.flags() & FLAG_RETAIN != 0 {
            self.retain(slot, raw, &mut payload);
        }
        Ok(self.step(slot, raw.stride()))
    }

    fn may_publish(&self, slot: usize, raw: &RawHeader) -> Result<Result<(), Reason>, Corrupt> {
        if raw.kind() == Kind::Notice {
            return Err(Corrupt::Forged);
        }
        let port = self.ports[slot].as_ref().expect("a slot in use");
        let open = self.topics.open.get(&raw.destination()).filter(|open| open.publishers.contains(&port.id));
        Ok(match open {
            None => Err(Reason::Refused),
            Some(_) if raw.kind() != Kind::Message => Err(Reason::Refused),
            // What is kept for those who come later is kept in memory of our own.
            Some(_) if raw.parcel() != 0 && raw.flags() & FLAG_RETAIN != 0 => Err(Reason::NotByTopic),
            Some(_) if raw.stream() != raw.parcel() || raw.flags() & FLAG_MORE != 0 => Err(Reason::NotByTopic),
            Some(open) if raw.flags() & FLAG_RETAIN != 0 && !port.can_retain(raw, open.kept_by(port.id)) => {
                Err(Reason::Quota)
            }
            Some(_) => Ok(()),
        })
    }

    fn fan_out(
        &mut self,
        slot: usize,
        (raw, at): (&RawHeader, u32),
        subscribers: &mut BTreeMap<u64, Subscriber>,
        payload: &mut Payload,
        turn: &mut Turn,
    ) -> Result<bool, Corrupt> {
        let (id, served) = (self.port(slot).id, self.port(slot).served);
        for (nth, (serial, subscriber)) in subscribers.range_mut(served + 1..).enumerate() {
            // One in each turn at least: the record itself may be longer than that. In the last one all, as long as it lasts.
            match self.port(slot).is_leaving {
                true if turn.is_spent() => return Ok(true),
                false if nth > 0 && turn.is_over() => {
                    self.leave_line(slot);
                    return Ok(false);
                }
                _ => turn.spend(Header::BYTES),
            }
            // Nobody hears itself.
            if subscriber.world != id && subscriber.wants(raw) {
                turn.spend(raw.stride());
                if !self.give(slot, (raw, at), subscriber, payload)? {
                    return Ok(false);
                }
            }
            self.port(slot).served = *serial;
        }
        Ok(true)
    }

    /// Gives a message to one subscriber, now or later. False if its publisher has to wait.
    fn give(
        &mut self,
        slot: usize,
        (raw, at): (&RawHeader, u32),
        subscriber: &mut Subscriber,
        payload: &mut Payload,
    ) -> Result<bool, Corrupt> {
        let one = raw.by_topic(subscriber.world, subscriber.subscription.number, subscriber.missed);
        match self.hand_over(slot, subscriber.slot, &one, at, FLAG_TOPIC) {
            Outcome::Taken => {}
            // Larger than its inbox, or it is gone in a moment.
            Outcome::Refused(_) => {
                subscriber.miss();
                return Ok(true);
            }
            Outcome::Blocked(_) if subscriber.subscription.newest => {
                self.keep_newest(slot, subscriber, &one, payload);
                return Ok(true);
            }
            Outcome::Blocked(receiver) => {
                if !self.makes_way(slot, &one, receiver, raw.destination(), true)? {
                    return Ok(false);
                }
                let account = self.account(slot, &one, receiver);
                if account != slot && !self.port(account).can_charge(Held::bytes_of(&one)) {
                    subscriber.miss();
                    return Ok(true);
                }
                if !self.hold(slot, &one, receiver, account, payload, FLAG_TOPIC) {
                    subscriber.miss();
                    return Ok(true);
                }
            }
        }
        subscriber.missed = 0;
        Ok(true)
    }

    fn keep_newest(&mut self, slot: usize, subscriber: &mut Subscriber, one: &RawHeader, payload: &mut Payload) {
        let sender = self.port(slot);
        let raw = one.stamped(sender.id, sender.sequence + 1).with_flags(FLAG_TOPIC);
        let payload = payload.take(sender, raw.length());
        // What waits makes way with what it brings, before it is looked whether there is room for this.
        let before = self.parcel_at(subscriber, &raw);
        if let Some((from, parcel)) = &before {
            self.port(subscriber.slot).holdings.end_wait(*from, parcel);
        }
        let freed = before.as_ref().map_or(0, |(_, parcel)| parcel.charge());
        let parcel = self.bring_later(slot, subscriber.slot, one, freed);
        let is_kept = parcel.is_ok_and(|parcel| {
            self.see_held(slot, subscriber.slot, &raw, &payload);
            let is_kept = self.put_or_keep(subscriber.slot, (raw, payload), parcel.clone(), &mut subscriber.seat);
            if let (false, Some(parcel)) = (is_kept, parcel) {
                self.bring_never(subscriber.slot, raw.source(), parcel);
            }
            is_kept
        });
        if is_kept {
            subscriber.missed = 0;
            before.into_iter().for_each(|(_, parcel)| self.let_go(parcel));
        } else {
            subscriber.miss();
            let holdings = &mut self.port(subscriber.slot).holdings;
            before.iter().for_each(|(from, parcel)| holdings.begin_to_wait(*from, parcel));
        }
    }

    /// What the value brings, and from whom, that waits for a subscriber and would make way for this one.
    fn parcel_at(&mut self, subscriber: &Subscriber, raw: &RawHeader) -> Option<(WorldId, Rc<Parcel>)> {
        let port = self.port(subscriber.slot);
        let waiting = &port.held[port.place_of(subscriber.seat, raw.topic())?];
        Some((waiting.raw.source(), waiting.parcel.clone()?))
    }

    /// Gives a world something from memory of our own, behind whatever waits for it and on its own account; `seat` is that of a value whose place
    /// it may take. False if its account has no room.
    fn put_or_keep(
        &mut self,
        slot: usize,
        (raw, payload): (RawHeader, Rc<[u8]>),
        parcel: Option<Rc<Parcel>>,
        seat: &mut Option<u64>,
    ) -> bool {
        let port = self.port(slot);
        let (fits, goes_now) = (raw.length() <= port.endpoint.max_payload(), port.held.is_empty() && parcel.is_none());
        if !fits {
            return false;
        }
        let put = if goes_now { port.put(&raw, &payload) } else { Err(ReserveError::Full) };
        let is_given = match put {
            Ok(()) => true,
            Err(ReserveError::Corrupt(corrupt)) => {
                self.quarantine(slot, &corrupt);
                return false;
            }
            Err(_) => {
                let held = Held { raw, payload, charged: port.id, parcel };
                port.keep(held, seat)
            }
        };
        self.activate(slot);
        self.touch(slot);
        is_given
    }

    // --- the last value ---

    /// Keeps a message, which [`may_publish`](Self::may_publish), in the place of the one before it. One without a payload takes its place, too.
    fn retain(&mut self, slot: usize, raw: &RawHeader, payload: &mut Payload) {
        let sender = self.port(slot);
        let raw_kept = raw.stamped(sender.id, sender.sequence + 1);
        let kept = (raw.length() > 0).then(|| Retained { raw: raw_kept, payload: payload.take(sender, raw.length()) });
        if let Some(kept) = &kept {
            sender.retained_bytes += kept.bytes();
        }
        let Some(open) = self.topics.open.get_mut(&raw.destination()) else { return };
        if let Some(before) = std::mem::replace(&mut open.retained, kept) {
            self.give_back(&before);
        }
    }

    /// A value is kept no longer: its publisher, if there still is one, may keep another.
    fn give_back(&mut self, retained: &Retained) {
        if let Some(slot) = self.by_id.get(&retained.raw.source()).copied() {
            self.port(slot).retained_bytes -= retained.bytes();
        }
    }

    /// Bytes kept on each account, for the audit.
    #[cfg(any(test, feature = "racing"))]
    pub(super) fn retained_bytes(&self, world: WorldId) -> u64 {
        let kept = self.topics.open.values().filter_map(|open| open.retained.as_ref());
        kept.filter(|kept| kept.raw.source() == world).map(Retained::bytes).sum()
    }
}

impl Topic {
    /// Bytes that this world pays for the value that is kept.
    fn kept_by(&self, world: WorldId) -> u64 {
        self.retained.as_ref().filter(|kept| kept.raw.source() == world).map_or(0, Retained::bytes)
    }
}
