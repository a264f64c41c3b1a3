//! One record at a time: judged, stamped, moved; or its sender is told why not.

use super::Switch;
use super::backlog::Payload;
use super::parcels::bringing;
use super::port::Port;
use strait_protocol::tap::Fate;
use strait_protocol::{
    Corrupt, FLAG_MORE, FLAG_TOPIC, Kind, MAX_RECEIVERS, RawHeader, Reason, ReserveError, SliceMemory, WorldId,
};

/// Records taken from one port before the next one has its turn, and bytes of ring. After that many bytes it is also time to show the receiver
/// what is there and to give the sender its ring back: both work while the next are copied.
const BATCH: u32 = 128;
const BATCH_BYTES: u32 = 16 * 1024;
/// Bytes of ring that what a dead world published on topics may be copied to, in outboxes of its own: a full one could be for any number of subscribers,
/// and all others wait meanwhile.
const LAST_OUTBOXES: u32 = 16;
/// Requests that one world may have open.
pub(super) const MAX_OPEN_REQUESTS: u32 = 1024;

/// What became of a record.
pub(super) enum Outcome {
    /// It is with its receiver, or held for it.
    Taken,
    /// Its receiver has no room.
    Blocked(WorldId),
    /// It goes nowhere; its sender is told.
    Refused(Reason),
}

/// What is left of a port's turn.
pub(super) struct Turn {
    records: u32,
    bytes: u32,
}

impl Turn {
    pub(super) fn spend(&mut self, bytes: u32) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn is_over(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    /// Whether not even one that is alone in its turn may go on.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0
    }
}

impl Switch {
    /// Takes up to a batch of records from one port. Says whether anything moved.
    pub(super) fn serve(&mut self, slot: usize) -> bool {
        if self.ports[slot].as_ref().is_none_or(|port| port.is_doomed) {
            return false;
        }
        let mut moved = self.flush_held(slot);
        let mut turn = Turn { records: BATCH, bytes: BATCH_BYTES };
        while !turn.is_over() {
            match self.serve_one(slot, &mut turn) {
                Ok(true) => moved = true,
                Ok(false) => break,
                Err(corrupt) => {
                    self.quarantine(slot, &corrupt);
                    return true;
                }
            }
        }
        self.stint.work(BATCH - turn.records, BATCH_BYTES - turn.bytes);
        moved |= self.dispatch_for(slot);
        // A multicast record that waits for one receiver may have reached others.
        moved |= !self.touched.is_empty();
        if moved {
            self.release(slot);
            self.publish_touched();
        }
        moved
    }

    /// Takes one record, and those that follow it to the same place. False if there is none, or none that can be taken now.
    fn serve_one(&mut self, slot: usize, turn: &mut Turn) -> Result<bool, Corrupt> {
        let Some(port) = &mut self.ports[slot] else { return Ok(false) };
        if port.held_bytes > port.budget_bytes && !port.is_leaving {
            self.leave_line(slot);
            return Ok(false);
        }
        if !port.endpoint.fetch()? {
            return Ok(false);
        }
        let (raw, at) = (*port.endpoint.head(), port.endpoint.head_payload());
        turn.spend(raw.stride());
        if raw.kind() == Kind::Multicast {
            let copies = raw.destination().0.min(u64::from(MAX_RECEIVERS)) as u32;
            turn.spend(raw.stride().saturating_mul(copies));
            return self.multicast(slot, &raw, at);
        }
        if raw.destination().is_topic() {
            return self.publish(slot, &raw, at, turn);
        }
        let raw = if self.forwards.is_empty() { raw } else { self.readdressed(slot, &raw) };
        match self.deliver(slot, &raw, at)? {
            Outcome::Taken => {
                let stays = self.step(slot, raw.stride());
                if stays && raw.kind() == Kind::Message {
                    self.follow(slot, turn)?;
                }
                Ok(stays)
            }
            Outcome::Refused(reason) => {
                let stays = self.step(slot, raw.stride());
                if stays {
                    self.tell(slot, &raw.header(), reason);
                }
                Ok(stays)
            }
            Outcome::Blocked(receiver) => {
                if !self.makes_way(slot, &raw, receiver, raw.destination(), false)? {
                    return Ok(false);
                }
                let account = self.account(slot, &raw, receiver);
                let _ = self.hold(slot, &raw, receiver, account, &mut Payload::At(at), 0);
                Ok(self.step_held(slot, receiver, raw.stride()))
            }
        }
    }

    /// Moves the messages that follow one that was just delivered, as long as they are for the same receiver and it has room: the
    /// verdict on the first holds for them, and what was looked up once is at hand. Anything else is left to `serve_one`.
    fn follow(&mut self, slot: usize, turn: &mut Turn) -> Result<(), Corrupt> {
        let Some((id, receiver)) = self.ports[slot].as_ref().and_then(|port| port.last_route) else { return Ok(()) };
        // What went there belonged to the old version itself; the next may not.
        if self.is_forwarded(id) {
            return Ok(());
        }
        let Ok([Some(sender), Some(target)]) = self.ports.get_disjoint_mut([slot, receiver]) else { return Ok(()) };
        // Not touched: the record before these went elsewhere, or was refused. (Others may wait in line: they have their turn when this is over.)
        if target.id != id || !target.is_touched || !target.held.is_empty() {
            return Ok(());
        }
        let (taps, mut unseen) = (sender.taps | target.taps, 0);
        while !turn.is_over() && sender.endpoint.fetch()? {
            let raw = sender.endpoint.head();
            if raw.kind() != Kind::Message || raw.destination() != id || raw.brings() {
                break;
            }
            let stamped = raw.stamped(sender.id, sender.sequence + 1);
            let from = sender.endpoint.theirs();
            let Ok(at) = target.take_over(from, sender.endpoint.head_payload(), &stamped) else { break };
            if self.taps.has_place(taps) {
                self.taps.see(taps, &stamped, Fate::Delivered, target.shown(sender, at));
            } else {
                unseen += 1;
            }
            sender.endpoint.pass(stamped.stride());
            sender.sequence += 1;
            turn.spend(stamped.stride());
        }
        if taps != 0 {
            self.taps.miss(taps, unseen);
        }
        Ok(())
    }

    /// Steps past a record. False if its world is gone by now: delivering to one hostile world can bring another one's
    /// corruption to light.
    pub(super) fn step(&mut self, slot: usize, bytes: u32) -> bool {
        if self.ports[slot].as_ref().is_some_and(|port| port.blocked.is_some()) {
            self.leave_line(slot);
        }
        let Some(port) = &mut self.ports[slot] else { return false };
        port.endpoint.pass(bytes);
        port.sequence += 1;
        port.served = 0;
        port.empty_rings = 0;
        true
    }

    /// Steps past a record that was held for a receiver: what is known of those behind it stays known, and its place in line is for the next one. If
    /// there is none, or it was another line that its sender stood in, others mustn't wait behind it there.
    fn step_held(&mut self, slot: usize, receiver: WorldId, bytes: u32) -> bool {
        let Some(port) = &mut self.ports[slot] else { return false };
        if let Some(blocked) = &mut port.blocked {
            blocked.looked_past = blocked.looked_past.saturating_sub(bytes);
        }
        port.endpoint.pass(bytes);
        port.sequence += 1;
        if port.endpoint.is_caught_up() || port.blocked.is_some_and(|blocked| blocked.on != receiver) {
            self.leave_line(slot);
        }
        true
    }

    pub(super) fn port(&mut self, slot: usize) -> &mut Port {
        self.ports[slot].as_mut().expect("a slot in use")
    }

    /// Judges a record whose payload is `at` a place in its sender's outbox and, if its receiver has room, moves it.
    pub(super) fn deliver(&mut self, slot: usize, raw: &RawHeader, at: u32) -> Result<Outcome, Corrupt> {
        if raw.kind() == Kind::Notice {
            return Err(Corrupt::Forged);
        }
        let receiver = match self.route(slot, raw) {
            Ok(receiver) => receiver,
            Err(Reason::NoSuchWorld) => return Ok(self.deliver_elsewhere(slot, raw, at)),
            Err(reason) => return Ok(Outcome::Refused(reason)),
        };
        Ok(self.hand_over(slot, receiver, raw, at, 0))
    }

    /// The same with a record for something that is no world.
    #[cold]
    fn deliver_elsewhere(&mut self, slot: usize, raw: &RawHeader, at: u32) -> Outcome {
        match raw.destination() {
            WorldId::SWITCH => {
                self.take_own(slot, raw, at);
                Outcome::Taken
            }
            id if self.groups.contains(id) => self.deliver_to_group(slot, raw, at),
            _ => Outcome::Refused(Reason::NoSuchWorld),
        }
    }

    /// Moves a record that may go there to its receiver, if that has room, with the flags that the switch adds.
    #[inline]
    pub(super) fn hand_over(&mut self, slot: usize, receiver: usize, raw: &RawHeader, at: u32, flags: u8) -> Outcome {
        let brought = match self.brought_by(slot, receiver, raw, flags & FLAG_TOPIC != 0) {
            Ok(brought) => brought,
            Err(outcome) => return outcome,
        };
        let [Some(sender), Some(target)] =
            self.ports.get_disjoint_mut([slot, receiver]).expect("two worlds, two slots")
        else {
            unreachable!("a route leads to a port in use");
        };
        if raw.length() > target.endpoint.max_payload() {
            return Outcome::Refused(Reason::TooLarge);
        }
        if !target.has_turn(sender.id) {
            return Outcome::Blocked(target.id);
        }
        let stamped = bringing(raw.stamped(sender.id, sender.sequence + 1).with_flags(flags), brought);
        match target.take_over(sender.endpoint.theirs(), at, &stamped) {
            Ok(at) => {
                let taps = sender.taps | target.taps;
                if taps != 0 {
                    self.taps.see(taps, &stamped, Fate::Delivered, target.shown(sender, at));
                }
            }
            Err(ReserveError::TooLarge { .. } | ReserveError::Full) => return Outcome::Blocked(target.id),
            Err(ReserveError::Corrupt(corrupt)) => {
                // The receiver's fault, not the sender's, whose record then has no receiver any more.
                self.quarantine(receiver, &corrupt);
                return Outcome::Refused(Reason::NoSuchWorld);
            }
        }
        self.note(receiver, &stamped);
        Outcome::Taken
    }

    /// After a record was delivered or held: its receiver has a turn in this pass, and a request is open or answered.
    #[inline]
    pub(super) fn note(&mut self, receiver: usize, stamped: &RawHeader) {
        self.activate(receiver);
        self.touch(receiver);
        match stamped.kind() {
            Kind::Request => {
                let (to, addressed) = (self.port(receiver).id, stamped.destination());
                self.open_request(&stamped.header(), to, (addressed != to).then_some(addressed));
            }
            Kind::Reply => self.close_request(&stamped.header()),
            Kind::Message | Kind::Notice | Kind::Multicast => {}
        }
    }

    /// Where a record may go: the receiver's slot, or why nowhere.
    #[inline]
    fn route(&mut self, slot: usize, raw: &RawHeader) -> Result<usize, Reason> {
        let (kind, destination) = (raw.kind(), raw.destination());
        let sender = self.ports[slot].as_ref().expect("a slot in use");
        if let Some((id, receiver)) = sender.last_route
            && id == destination
            && kind == Kind::Message
            && self.ports[receiver].as_ref().is_some_and(|port| port.id == id)
        {
            return Ok(receiver);
        }
        let receiver = *self.by_id.get(&destination).ok_or(Reason::NoSuchWorld)?;
        let target = self.ports[receiver].as_ref().expect("ids lead to slots in use");
        match kind {
            Kind::Reply if !self.requests.is_open((target.id, raw.correlation()), sender.id) => {
                return Err(Reason::NoSuchRequest);
            }
            Kind::Reply => {}
            _ if receiver == slot => return Err(Reason::Refused),
            _ if !sender.may_send_to(target) => {
                // No route is remembered for what may come only as long as the request is open.
                return if self.is_of_reply(sender, target, raw) { Ok(receiver) } else { Err(Reason::Refused) };
            }
            Kind::Request if sender.open_requests >= MAX_OPEN_REQUESTS => return Err(Reason::Quota),
            _ => {}
        }
        if kind != Kind::Reply {
            self.port(slot).last_route = Some((destination, receiver));
        }
        Ok(receiver)
    }

    /// A large reply comes in pieces: who was asked may answer, at whatever length.
    pub(super) fn is_of_reply(&self, sender: &Port, target: &Port, raw: &RawHeader) -> bool {
        raw.kind() == Kind::Message
            && raw.flags() & FLAG_MORE != 0
            && self.requests.is_open((target.id, raw.correlation()), sender.id)
    }

    /// Delivers everything a world published before it died. What finds no room is held on its receiver's account.
    pub(super) fn drain(&mut self, slot: usize) {
        // What is there now and no more: a host program may have hung up and go on writing.
        let Some(port) = &mut self.ports[slot] else { return };
        port.is_leaving = true;
        if port.endpoint.hear_produced().is_err() {
            return;
        }
        let mut bytes = port.endpoint.theirs().ring_bytes().saturating_mul(LAST_OUTBOXES);
        while self.ports[slot].as_ref().is_some_and(|port| !port.endpoint.is_caught_up()) {
            // One at a time, so that the look whether it was the last comes between any two.
            let mut turn = Turn { records: 1, bytes };
            match self.serve_one(slot, &mut turn) {
                Ok(true) => bytes = turn.bytes,
                Ok(false) | Err(_) => break,
            }
        }
        self.publish_touched();
    }
}
