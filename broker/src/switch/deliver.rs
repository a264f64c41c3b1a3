//! One record at a time: judged, stamped, moved; or its sender is told why not.

use super::Switch;
use super::parcels::bringing;
use super::port::{Held, Port};
use super::requests::{Key, Open};
use std::time::{Duration, Instant};
use strait_protocol::wait::Event;
use strait_protocol::{Corrupt, FLAG_MORE, Header, Incoming, Kind, RawHeader, Reason, ReserveError, WorldId};

/// Records taken from one port before the next one has its turn.
const BATCH: u32 = 128;
/// Records looked at in one go behind one that can't go on.
const LOOK_AHEAD: u32 = 1024;
/// Requests that one world may have open.
const MAX_OPEN_REQUESTS: u32 = 1024;

/// What became of the record at the head of an outbox.
pub(super) enum Outcome {
    /// It is with its receiver, or held for it.
    Taken,
    /// Its receiver has no room.
    Blocked(WorldId),
    /// It goes nowhere; its sender is told.
    Refused(Reason),
}

impl Switch {
    /// Takes up to a batch of records from one port. Says whether anything moved.
    pub(super) fn serve(&mut self, slot: usize) -> bool {
        if self.ports[slot].as_ref().is_none_or(|port| port.is_doomed) {
            return false;
        }
        let mut moved = self.flush_held(slot);
        let mut left = BATCH;
        while left > 0 {
            match self
                .serve_one(slot)
                .and_then(|taken| Ok((taken, if taken { self.follow(slot, left - 1)? } else { 0 })))
            {
                Ok((true, followed)) => {
                    moved = true;
                    left -= 1 + followed;
                }
                Ok((false, _)) => break,
                Err(corrupt) => {
                    self.quarantine(slot, &corrupt);
                    return true;
                }
            }
        }
        if moved {
            self.release(slot);
            self.publish_touched();
        }
        moved
    }

    /// Takes one record. False if there is none, or none that can be taken now.
    fn serve_one(&mut self, slot: usize) -> Result<bool, Corrupt> {
        let Some(port) = &mut self.ports[slot] else { return Ok(false) };
        if port.held_bytes > port.budget_bytes {
            return Ok(false);
        }
        let Some(incoming) = port.endpoint.peek()? else { return Ok(false) };
        let outcome = match self.deliver(slot, &incoming)? {
            Outcome::Blocked(receiver) if !self.must_hold(slot, &incoming, receiver)? => return Ok(false),
            Outcome::Blocked(receiver) => {
                let account = self.account(slot, &incoming.raw);
                self.hold(slot, &incoming, receiver, account);
                return Ok(self.step_held(slot, &incoming));
            }
            other => other,
        };
        if !self.step(slot, &incoming) {
            return Ok(false);
        }
        if let Outcome::Refused(reason) = outcome {
            self.tell(slot, &incoming.raw.header(), reason);
        }
        Ok(true)
    }

    /// Moves the messages that follow one that was just delivered, as long as they are for the same receiver and it has room: the
    /// verdict on the first holds for them, and what was looked up once is at hand. Anything else is left to `serve_one`.
    fn follow(&mut self, slot: usize, at_most: u32) -> Result<u32, Corrupt> {
        let Some((id, receiver)) = self.ports[slot].as_ref().and_then(|port| port.last_route) else { return Ok(0) };
        let Ok([Some(sender), Some(target)]) = self.ports.get_disjoint_mut([slot, receiver]) else { return Ok(0) };
        // Not touched: the record before these went elsewhere, or was refused.
        if target.id != id || !target.is_touched || !target.held.is_empty() {
            return Ok(0);
        }
        let mut taken = 0;
        while taken < at_most {
            let Some(incoming) = sender.endpoint.peek()? else { break };
            let raw = &incoming.raw;
            if raw.kind() != Kind::Message || raw.destination() != id || raw.brings() {
                break;
            }
            let stamped = raw.stamped(sender.id, sender.sequence + 1);
            if target.take_over(sender.endpoint.theirs(), &incoming, &stamped).is_err() {
                break;
            }
            sender.endpoint.advance(&incoming);
            sender.sequence += 1;
            taken += 1;
        }
        Ok(taken)
    }

    /// Steps past a record. False if its world is gone by now: delivering to one hostile world can bring another one's
    /// corruption to light.
    fn step(&mut self, slot: usize, incoming: &Incoming) -> bool {
        let Some(port) = &mut self.ports[slot] else { return false };
        port.endpoint.advance(incoming);
        port.sequence += 1;
        port.blocked_on = None;
        port.looked_past = 0;
        true
    }

    /// Steps past a record that was held: what is known of those behind it stays known.
    fn step_held(&mut self, slot: usize, incoming: &Incoming) -> bool {
        let Some(port) = &self.ports[slot] else { return false };
        let (blocked_on, looked_past) = (port.blocked_on, port.looked_past.saturating_sub(incoming.raw.stride()));
        let steps = self.step(slot, incoming);
        if let Some(port) = &mut self.ports[slot] {
            (port.blocked_on, port.looked_past) = (blocked_on, looked_past);
        }
        steps
    }

    pub(super) fn port(&mut self, slot: usize) -> &mut Port {
        self.ports[slot].as_mut().expect("a slot in use")
    }

    /// Judges a record and, if its receiver has room, moves it.
    fn deliver(&mut self, slot: usize, incoming: &Incoming) -> Result<Outcome, Corrupt> {
        let raw = &incoming.raw;
        if matches!(raw.kind(), Kind::Notice | Kind::Multicast) {
            return Err(Corrupt::Forged);
        }
        let receiver = match self.route(slot, raw) {
            Ok(receiver) => receiver,
            Err(Reason::NoSuchWorld) if raw.destination() == WorldId::SWITCH => {
                self.take_own(slot, incoming);
                return Ok(Outcome::Taken);
            }
            Err(reason) => return Ok(Outcome::Refused(reason)),
        };
        let brought = match self.brought_by(slot, receiver, raw) {
            Ok(brought) => brought,
            Err(outcome) => return Ok(outcome),
        };
        let [Some(sender), Some(target)] =
            self.ports.get_disjoint_mut([slot, receiver]).expect("two worlds, two slots")
        else {
            unreachable!("a route leads to a port in use");
        };
        if raw.length() > target.endpoint.max_payload() {
            return Ok(Outcome::Refused(Reason::TooLarge));
        }
        if !target.held.is_empty() {
            return Ok(Outcome::Blocked(target.id));
        }
        let stamped = bringing(raw.stamped(sender.id, sender.sequence + 1), brought);
        match target.take_over(sender.endpoint.theirs(), incoming, &stamped) {
            Ok(()) => {}
            Err(ReserveError::TooLarge { .. } | ReserveError::Full) => return Ok(Outcome::Blocked(target.id)),
            Err(ReserveError::Corrupt(corrupt)) => {
                // The receiver's fault, not the sender's, whose record then has no receiver any more.
                self.quarantine(receiver, &corrupt);
                return Ok(Outcome::Refused(Reason::NoSuchWorld));
            }
        }
        self.note(receiver, &stamped);
        Ok(Outcome::Taken)
    }

    /// After a record was delivered or held: its receiver has a turn in this pass, and a request is open or answered.
    #[inline]
    fn note(&mut self, receiver: usize, stamped: &RawHeader) {
        self.activate(receiver);
        self.touch(receiver);
        match stamped.kind() {
            Kind::Request => self.open_request(&stamped.header()),
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
            // A large reply comes in pieces: who was asked may answer, at whatever length. No route is remembered for what may come only as long as
            // the request is open.
            Kind::Message
                if raw.flags() & FLAG_MORE != 0
                    && self.requests.is_open((target.id, raw.correlation()), sender.id)
                    && !sender.may_send_to(target.id, &target.name) =>
            {
                return Ok(receiver);
            }
            _ if receiver == slot || !sender.may_send_to(target.id, &target.name) && !sender.may_link_with(target) => {
                return Err(Reason::Refused);
            }
            Kind::Request if sender.open_requests >= MAX_OPEN_REQUESTS => return Err(Reason::Quota),
            _ => {}
        }
        if kind != Kind::Reply {
            self.port(slot).last_route = Some((destination, receiver));
        }
        Ok(receiver)
    }

    // --- receivers without room ---

    /// Whether a record that can't go on must make way: something for another receiver is behind it, and its sender has budget
    /// left. A reply always makes way, so that no server waits for a client that doesn't read.
    ///
    /// Each byte behind it is looked at once, whatever becomes of the records before it, and a bounded number of records at a time.
    fn must_hold(&mut self, slot: usize, head: &Incoming, receiver: WorldId) -> Result<bool, Corrupt> {
        if head.raw.kind() == Kind::Reply {
            return Ok(true);
        }
        let port = self.port(slot);
        if port.blocked_on != Some(receiver) {
            port.blocked_on = Some(receiver);
            port.looked_past = 0;
        }
        port.looked_past = port.looked_past.max(head.raw.stride());
        // Before anything else: a cursor that can't be true must be found here, whoever pays.
        port.endpoint.hear_produced()?;
        if !port.can_charge(u64::from(head.raw.stride())) {
            return Ok(false);
        }
        for _ in 0..LOOK_AHEAD {
            match port.endpoint.peek_past(port.looked_past)? {
                None => return Ok(false),
                Some(next) if next.destination() != receiver => return Ok(true),
                Some(next) => port.looked_past += next.stride(),
            }
        }
        Ok(false)
    }

    /// Who pays for a record that is held: its sender; of a reply, who asked for it, so that no server can be stopped by
    /// clients that don't read its answers.
    fn account(&self, slot: usize, raw: &RawHeader) -> usize {
        match raw.kind() {
            Kind::Reply => self.by_id.get(&raw.destination()).copied().unwrap_or(slot),
            _ => slot,
        }
    }

    fn hold(&mut self, slot: usize, incoming: &Incoming, receiver: WorldId, account: usize) {
        let receiver = self.by_id[&receiver];
        let sender = self.port(slot);
        let mut raw = incoming.raw.stamped(sender.id, sender.sequence + 1);
        let bytes = u64::from(raw.stride());
        if raw.kind() == Kind::Reply && !self.port(account).can_charge(bytes) {
            let header = raw.header();
            self.close_request(&header);
            let asked = Header { kind: Kind::Request, destination: header.source, ..header };
            return self.notify(receiver, &asked, Reason::Quota);
        }
        match self.bring(slot, receiver, &incoming.raw) {
            Ok(brought) => raw = bringing(raw, brought),
            Err(reason) => return self.notify(slot, &raw.header(), reason),
        }
        let payload = self.port(slot).copy_out(incoming);
        let charged = self.port(account).id;
        self.port(account).held_bytes += bytes;
        self.port(receiver).held.push_back(Held { raw, payload, charged });
        self.note(receiver, &raw);
    }

    /// Moves what was held for a port into its inbox, as far as there is room.
    fn flush_held(&mut self, slot: usize) -> bool {
        let mut moved = false;
        while let Some(port) = &mut self.ports[slot] {
            let Some(first) = port.held.pop_front() else { break };
            match port.put(&first.raw, &first.payload) {
                Ok(()) => {
                    moved = true;
                    self.uncharge(first.charged, first.bytes());
                }
                Err(error) => {
                    // Also if its world is at fault: what is held is uncharged and told when that is forgotten.
                    port.held.push_front(first);
                    if let ReserveError::Corrupt(corrupt) = error {
                        self.quarantine(slot, &corrupt);
                        return true;
                    }
                    break;
                }
            }
        }
        if moved {
            self.touch(slot);
        }
        moved
    }

    pub(super) fn uncharge(&mut self, account: WorldId, bytes: u64) {
        if let Some(slot) = self.by_id.get(&account).copied() {
            let port = self.port(slot);
            let waits = port.held_bytes > port.budget_bytes || port.blocked_on.is_some();
            port.held_bytes -= bytes;
            if waits {
                self.activate(slot);
            }
        }
    }

    /// Whether a port that is about to be left alone has something to do after all.
    pub(super) fn has_work(&mut self, slot: usize) -> bool {
        let Some(port) = &mut self.ports[slot] else { return false };
        if let Some(first) = port.held.front()
            && port.endpoint.room().is_ok_and(|room| room < first.raw.stride())
        {
            return self.has_unseen(slot);
        }
        !self.port(slot).held.is_empty() || self.has_unseen(slot)
    }

    /// Whether the outbox has a record that can be taken, or that was not looked at.
    fn has_unseen(&mut self, slot: usize) -> bool {
        let port = self.port(slot);
        if port.held_bytes > port.budget_bytes {
            return false;
        }
        // A cursor that can't be true is work: the next pass finds it again and acts on it.
        let Ok(data) = port.endpoint.hear_produced() else { return true };
        let Some(receiver) = port.blocked_on else { return data };
        let unlooked = !matches!(port.endpoint.peek_past(port.looked_past), Ok(None));
        let head = match port.endpoint.peek() {
            Ok(Some(head)) => head,
            // What was blocked was held, and nothing is behind it.
            Ok(None) => return false,
            Err(_) => return true,
        };
        if head.raw.kind() == Kind::Reply || unlooked && port.can_charge(u64::from(head.raw.stride())) {
            return true;
        }
        let needed = head.raw.stride();
        match self.by_id.get(&receiver).copied() {
            None => true,
            Some(receiver) => {
                let target = self.port(receiver);
                target.held.is_empty() && target.endpoint.room().is_ok_and(|room| room >= needed)
            }
        }
    }

    // --- the end of a world ---

    /// Delivers everything a world published before it died. What finds no room is held, whatever its budget: it is at most a ring.
    pub(super) fn drain(&mut self, slot: usize) {
        // What is there now and no more: a host program may have hung up and go on writing.
        let Some(Ok(_)) = self.ports[slot].as_mut().map(|port| port.endpoint.hear_produced()) else { return };
        while let Some(port) = &mut self.ports[slot]
            && !port.endpoint.is_caught_up()
        {
            let Ok(Some(incoming)) = port.endpoint.peek() else { break };
            match self.deliver(slot, &incoming) {
                Err(_) => break,
                Ok(Outcome::Blocked(receiver)) => self.bequeath(slot, &incoming, receiver),
                Ok(_) => {}
            }
            self.step(slot, &incoming);
        }
        self.publish_touched();
    }

    /// What a dead world leaves to a receiver without room is held on the receiver's account, since there is no other any more. Beyond
    /// its budget it is lost, and nobody is left to be told.
    fn bequeath(&mut self, slot: usize, incoming: &Incoming, receiver: WorldId) {
        let account = self.by_id[&receiver];
        if self.port(account).can_charge(u64::from(incoming.raw.stride())) {
            self.hold(slot, incoming, receiver, account);
        }
    }

    /// The same for what was held before its sender died.
    pub(super) fn inherit(&mut self, gone: WorldId) {
        for port in self.ports.iter_mut().flatten() {
            let (id, mut inherited) = (port.id, 0);
            let room = port.budget_bytes.saturating_sub(port.held_bytes);
            port.held.retain_mut(|held| {
                if held.charged != gone {
                    return true;
                }
                held.charged = id;
                inherited += held.bytes();
                let fits = inherited <= room;
                inherited -= if fits { 0 } else { held.bytes() };
                fits
            });
            port.held_bytes += inherited;
        }
    }

    // --- requests ---

    fn open_request(&mut self, stamped: &Header) {
        let timeout = Duration::from_millis(u64::from(stamped.timeout_ms.max(1)));
        let (key, to) = ((stamped.source, stamped.correlation), stamped.destination);
        let open = Open { to, deadline: Instant::now() + timeout, sequence: stamped.sequence, tag: stamped.tag };
        // An asker that uses a correlation id twice gets one answer for both: its own confusion.
        if self.requests.insert(key, open) {
            let slot = self.by_id[&stamped.source];
            self.port(slot).open_requests += 1;
        }
    }

    fn close_request(&mut self, stamped: &Header) {
        if self.requests.answer((stamped.destination, stamped.correlation), stamped.source) {
            self.asker_is_answered(stamped.destination);
        }
    }

    fn asker_is_answered(&mut self, asker: WorldId) {
        if let Some(slot) = self.by_id.get(&asker).copied() {
            self.port(slot).open_requests -= 1;
        }
    }

    /// Ends an open request without an answer.
    pub(super) fn end_request(&mut self, key: Key, open: &Open, reason: Reason) {
        self.asker_is_answered(key.0);
        if let Some(slot) = self.by_id.get(&key.0).copied() {
            let mut request = Header::new(Kind::Request, open.to, 0);
            (request.correlation, request.sequence, request.tag) = (key.1, open.sequence, open.tag);
            self.notify(slot, &request, reason);
        }
    }

    // --- notices ---

    /// Tells a sender what became of the record that was just taken from it.
    fn tell(&mut self, slot: usize, header: &Header, reason: Reason) {
        if let Some(port) = &self.ports[slot] {
            let failed = Header { sequence: port.sequence, ..*header };
            self.notify(slot, &failed, reason);
        }
    }

    /// Tells the sender of a message that was held that its receiver died. (Of a request it is told as its asker.)
    pub(super) fn tell_lost(&mut self, header: &Header) {
        if header.kind == Kind::Message
            && let Some(slot) = self.by_id.get(&header.source).copied()
        {
            self.notify(slot, header, Reason::Died);
        }
    }

    /// Puts a notice into an inbox, or holds it on its receiver's own account: who doesn't read what became of its records is
    /// not read either, once over budget.
    fn notify(&mut self, slot: usize, about: &Header, reason: Reason) {
        let port = self.port(slot);
        let mut notice = Header::new(Kind::Notice, port.id, 0);
        notice.source = about.destination;
        notice.code = reason as u16;
        notice.flags = about.kind as u8;
        (notice.correlation, notice.sequence, notice.tag) = (about.correlation, about.sequence, about.tag);
        notice.stream = about.stream;
        let raw = RawHeader::from(&notice);
        let put = if port.held.is_empty() { port.put(&raw, &[]) } else { Err(ReserveError::Full) };
        match put {
            Ok(()) => {}
            Err(ReserveError::Corrupt(corrupt)) => return self.quarantine(slot, &corrupt),
            Err(_) => {
                let held = Held { raw, payload: Box::default(), charged: port.id };
                port.held_bytes += held.bytes();
                port.held.push_back(held);
            }
        }
        self.activate(slot);
        self.touch(slot);
    }

    // --- publishing ---

    pub(super) fn touch(&mut self, slot: usize) {
        let port = self.port(slot);
        if !port.is_touched {
            port.is_touched = true;
            self.touched.push(slot);
        }
    }

    /// Gives a world its ring back.
    fn release(&mut self, slot: usize) {
        if let Some(port) = &mut self.ports[slot]
            && port.endpoint.unreleased() > 0
        {
            let event = port.endpoint.release();
            port.ring(event);
        }
    }

    /// Shows receivers what was committed to their inboxes, and wakes those who sleep for it.
    pub(super) fn publish_touched(&mut self) {
        while let Some(slot) = self.touched.pop() {
            if let Some(port) = &mut self.ports[slot]
                && port.is_touched
            {
                port.is_touched = false;
                if port.endpoint.publish() {
                    port.ring(Event::DATA);
                }
            }
        }
    }
}
