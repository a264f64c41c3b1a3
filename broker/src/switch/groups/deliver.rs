//! A record for a group, out of its sender's outbox: to a member at once, or into the queue.

use super::{Pick, Ticket, Waiting, is_piece, is_repeatable};
use crate::switch::Switch;
use crate::switch::backlog::Payload;
use crate::switch::deliver::{MAX_OPEN_REQUESTS, Outcome};
use crate::switch::parcels::Parcel;
use crate::switch::port::Held;
use std::rc::Rc;
use strait_protocol::{FLAG_MARK, FLAG_MORE, FLAG_PARCEL, Kind, RawHeader, Reason, WorldId};

impl Switch {
    /// Judges a record for a group whose payload is `at` a place in its sender's outbox and, if a member can take it, moves it there.
    pub(in crate::switch) fn deliver_to_group(&mut self, slot: usize, raw: &RawHeader, at: u32) -> Outcome {
        let (id, source) = (raw.destination(), self.port(slot).id);
        if let Err(reason) = self.admit(slot, raw) {
            return Outcome::Refused(reason);
        }
        // An asker that uses a correlation id twice gets one answer for both: its own confusion.
        if raw.kind() == Kind::Request && self.requests.contains((source, raw.correlation())) {
            return Outcome::Taken;
        }
        if let Some(member) = self.group(id).bound(source, raw) {
            return self.deliver_piece(slot, raw, at, member);
        }
        let can_keep = !is_repeatable(raw) || self.port(slot).can_hold(Held::bytes_of(raw), id);
        while can_keep && self.group(id).has_turn(source) {
            let receiver = match self.pick(id, source, raw.stride()) {
                Pick::Member(receiver) => receiver,
                Pick::TooLarge => return Outcome::Refused(Reason::TooLarge),
                Pick::Nobody => break,
            };
            match self.hand_over(slot, receiver, raw, at, 0) {
                Outcome::Taken => {
                    self.is_given(source, raw, receiver);
                    self.keep(slot, raw, at);
                    return Outcome::Taken;
                }
                // It was found corrupt just now: another one may do.
                Outcome::Refused(Reason::NoSuchWorld) if self.port(receiver).is_doomed => {}
                Outcome::Refused(reason) => return Outcome::Refused(reason),
                Outcome::Blocked(_) => break,
            }
        }
        Outcome::Blocked(id)
    }

    /// Whether a world may have a record taken for a group.
    fn admit(&mut self, slot: usize, raw: &RawHeader) -> Result<(), Reason> {
        let id = raw.destination();
        let Some(group) = self.groups.get_mut(id) else { return Err(Reason::NoSuchWorld) };
        let Some(sender) = &self.ports[slot] else { return Err(Reason::NoSuchWorld) };
        match raw.kind() {
            Kind::Reply => Err(Reason::NoSuchRequest),
            _ if !sender.reach.sends_to(id, &group.name) => Err(Reason::Refused),
            Kind::Request if sender.open_requests >= MAX_OPEN_REQUESTS => Err(Reason::Quota),
            _ if raw.length() > group.max_payload => Err(Reason::TooLarge),
            _ if raw.brings() && raw.flags() & FLAG_MARK != 0 => Err(Reason::Unlinked),
            _ if !group.can_begin_stream(sender.id, raw) => Err(Reason::Quota),
            _ => Ok(()),
        }
    }

    /// A piece goes where the one before it went; if that member is gone, nowhere.
    fn deliver_piece(&mut self, slot: usize, raw: &RawHeader, at: u32, member: WorldId) -> Outcome {
        let source = self.port(slot).id;
        let receiver = self.by_id.get(&member).copied();
        let outcome = receiver.map(|receiver| (receiver, self.hand_over(slot, receiver, raw, at, 0)));
        match outcome {
            Some((receiver, Outcome::Taken)) => {
                self.is_given(source, raw, receiver);
                Outcome::Taken
            }
            None | Some((_, Outcome::Refused(Reason::NoSuchWorld))) => {
                self.group(raw.destination()).bind(source, raw, member);
                Outcome::Refused(Reason::Died)
            }
            Some((_, other)) => other,
        }
    }

    /// Counts a record of `source` that lies in a member's inbox, or is held for it.
    pub(in crate::switch) fn is_given(&mut self, source: WorldId, raw: &RawHeader, receiver: usize) {
        let Some(port) = &self.ports[receiver] else { return };
        let Some(group) = self.groups.get_mut(raw.destination()) else { return };
        let (id, end) = (port.id, port.endpoint.written());
        group.bind(source, raw, id);
        if let Some(member) = group.member(id) {
            member.taken += 1;
            if raw.kind() == Kind::Message && !(is_piece(raw) && raw.flags() & FLAG_MORE != 0) {
                member.unread.push_back(end);
            }
        }
    }

    /// Keeps a copy of a request that was just given to a member and may be given to another.
    fn keep(&mut self, slot: usize, raw: &RawHeader, at: u32) {
        let (id, source) = (raw.destination(), self.port(slot).id);
        if !is_repeatable(raw) {
            return;
        }
        let stamped = raw.stamped(source, self.port(slot).sequence + 1);
        // Found good when it was handed on, a moment ago.
        let Ok(parcel) = self.pin(slot, raw) else { return };
        let stamped = with_parcel(stamped, &parcel);
        let payload = Payload::At(at).take(self.port(slot), stamped.length());
        let held = Held { raw: stamped, payload, charged: source, parcel: None };
        self.charge(slot, held.bytes(), id);
        if let Some(job) = self.group(id).jobs.get_mut(&(source, raw.correlation())) {
            job.kept = Some(Waiting { held, parcel, is_repeatable: true });
        }
    }

    fn charge(&mut self, slot: usize, bytes: u64, receiver: WorldId) {
        let port = self.port(slot);
        if port.charge(bytes, receiver) {
            port.stop(receiver);
        }
    }

    /// Takes a record that nobody can have now out of its sender's outbox and puts it at the end of the queue. What a dead world leaves is
    /// charged to the group, and lost beyond its budget: requests, since nobody is left to be answered, and what brings a parcel, which goes
    /// with its holder.
    pub(in crate::switch) fn queue(&mut self, slot: usize, raw: &RawHeader, payload: &mut Payload) {
        let id = raw.destination();
        let sender = self.port(slot);
        let (source, is_leaving) = (sender.id, sender.is_leaving);
        let stamped = raw.stamped(source, sender.sequence + 1);
        let bytes = Held::bytes_of(&stamped);
        if is_leaving && (raw.parcel() != 0 || raw.kind() == Kind::Request || !self.group(id).can_charge(bytes)) {
            return;
        }
        let parcel = match self.pin(slot, raw) {
            Ok(parcel) => parcel,
            Err(reason) => return self.refuse(slot, &stamped.header(), reason),
        };
        let stamped = with_parcel(stamped, &parcel);
        let payload = payload.take(self.port(slot), stamped.length());
        let charged = if is_leaving { id } else { source };
        match is_leaving {
            true => self.group(id).held_bytes += bytes,
            false => self.charge(slot, bytes, id),
        }
        let ticket = self.ticket(id, &stamped);
        let held = Held { raw: stamped, payload, charged, parcel: None };
        self.group(id).queue.insert(ticket, Waiting { held, parcel, is_repeatable: is_repeatable(raw) });
        self.begin_to_wait(id);
    }

    /// A place at the end of the queue. Of a request, which with this is open, its own.
    fn ticket(&mut self, id: WorldId, stamped: &RawHeader) -> Ticket {
        if stamped.kind() == Kind::Request {
            self.open_request(&stamped.header(), id, Some(id));
        }
        let key = (stamped.source(), stamped.correlation());
        let group = self.group(id);
        match group.jobs.get(&key).filter(|_| stamped.kind() == Kind::Request) {
            Some(job) => job.ticket,
            None => group.ticket(),
        }
    }
}

/// What waits with a parcel, whose number is no stream's.
fn with_parcel(stamped: RawHeader, parcel: &Option<Rc<Parcel>>) -> RawHeader {
    if parcel.is_some() { stamped.with_flags(FLAG_PARCEL) } else { stamped }
}
