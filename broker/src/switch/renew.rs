//! The next life of a world: the same id, name and accounts, with fresh slices.
//!
//! Slices that a process has had are not for anybody after it, and be it the same program once more. So a life ends as a world does: what it
//! published is delivered, what it asked is forgotten, its links and parcels are let go, and who waits for its answer is told that it died. But
//! what it hadn't taken out of its inbox, and what is held for it, is for the next life: in the order in which it came, before anything younger. Or,
//! if there is to be no next life for now, it goes back to its senders.

use super::Switch;
use super::parcels::Holdings;
use super::port::{AttachError, Held, Port};
use super::requests::Key;
use super::waiting::listen;
use crate::link::{Event as Report, Passport};
use rustix::event::epoll;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use strait_protocol::{FLAG_MARK, FLAG_MORE, Kind, RawHeader, Reason, SliceMemory, WorldId};

/// Stands for whichever member of a group has a request.
const ANY_MEMBER: WorldId = WorldId::SWITCH;

/// A record that a life has left unread.
#[derive(Debug)]
struct Left {
    record: Held,
    /// It lay in the inbox: it is on nobody's account.
    is_delivered: bool,
}

impl Switch {
    /// Ends one life of a world and makes ready for the next. With `gives_back`, nothing waits for that: senders are told
    /// [`Reason::CantStart`].
    pub(super) fn renew(
        &mut self,
        passport: &Passport,
        descriptors: Vec<OwnedFd>,
        gives_back: bool,
    ) -> Result<Report, AttachError> {
        let mut other = Port::new(passport, descriptors)?;
        let id = other.id;
        let Some(slot) = self.by_id.get(&id).copied() else {
            // It was quarantined, and with that forgotten.
            return self.attach(other).map(|()| Report::Renewed { id: id.0, has_taken: false, sequence: 0 });
        };
        listen(&self.epoll, &other, slot).map_err(AttachError::Epoll)?;
        self.drain(slot);
        self.publish_touched();
        self.leave_line(slot);
        // As long as what it asked and holds is still its own.
        std::mem::take(&mut self.port(slot).groups).into_iter().for_each(|group| self.leave(group, id));
        self.end_life_in_groups(id);
        self.drop_links(id);
        self.untap(id);
        self.port(slot).swap_life(&mut other);
        let _ = epoll::delete(&self.epoll, &other.bell);
        self.doomed.retain(|(_, doomed, _)| *doomed != id);
        self.leave_topics(&other);
        let has_taken = self.settle_life(slot, &mut other, gives_back);
        let sequence = self.port(slot).sequence;
        self.resume(slot);
        Ok(Report::Renewed { id: id.0, has_taken, sequence })
    }

    /// Sees to what a life has left: `former` has its slices and parcels.
    fn settle_life(&mut self, slot: usize, former: &mut Port, gives_back: bool) -> bool {
        let (left, has_taken) = self.take_left(slot, former);
        let ended = self.ended_in(&left);
        let mut waiting = HashSet::new();
        for left in left {
            match gives_back {
                true => {
                    self.send_back(slot, &left, Reason::CantStart);
                    left.record.parcel.into_iter().for_each(|parcel| self.let_go(parcel));
                }
                false => waiting.extend(self.hand_down(slot, &mut former.holdings, left, &ended)),
            }
        }
        former.holdings.drain().for_each(|parcel| self.let_go(parcel));
        self.forgive_unread(former);
        let ended = self.requests.outlive(former.id, &waiting);
        self.end_requests(former.id, ended);
        has_taken
    }

    /// What a life has left in its inbox, and what is held for it, in order; and whether it had taken anything.
    fn take_left(&mut self, slot: usize, former: &mut Port) -> (Vec<Left>, bool) {
        let (unread, has_taken) = former.endpoint.left_behind(|offset| former.starts.contains(offset));
        let mut left = Vec::with_capacity(unread.len());
        for record in unread {
            let mut payload = vec![0; record.raw.length() as usize];
            former.endpoint.mine().copy_out(record.payload_offset(), &mut payload);
            let record = Held { raw: record.raw, payload: payload.into(), charged: former.id, parcel: None };
            left.push(Left { record, is_delivered: true });
        }
        let held = std::mem::take(&mut self.port(slot).held);
        left.extend(held.into_iter().map(|record| Left { record, is_delivered: false }));
        (left, has_taken)
    }

    /// The requests of a life whose ends it hasn't read, by who was to answer and correlation.
    fn ended_in(&self, left: &[Left]) -> HashSet<Key> {
        let raws = left.iter().map(|left| &left.record.raw);
        let ends = raws.filter(|raw| raw.kind() == Kind::Reply || raw.ends_request(raw.correlation()));
        let by = |id: WorldId| if self.groups.contains(id) { ANY_MEMBER } else { id };
        ends.map(|raw| (by(raw.source()), raw.correlation())).collect()
    }

    /// Gives a record to the next life: what was in the inbox has room in the new one, what was held is held. Returns the request
    /// that it is, if it is one.
    fn hand_down(&mut self, slot: usize, parcels: &mut Holdings, left: Left, ended: &HashSet<Key>) -> Option<Key> {
        if !self.outlives(slot, &left.record.raw, ended) {
            self.forgo(slot, &left);
            // Nothing is counted any more: what it was counted among has gone with the last life.
            left.record.parcel.into_iter().for_each(|parcel| self.let_go(parcel));
            return None;
        }
        let raw = match self.bring_again(slot, parcels, &left.record.raw) {
            Ok(raw) => raw,
            Err(reason) => {
                self.send_back(slot, &left, reason);
                return None;
            }
        };
        if !left.is_delivered {
            self.port(slot).held.push_back(Held { raw, ..left.record });
        } else if self.port(slot).put(&raw, &left.record.payload).is_err() {
            // Only into an inbox that is smaller than the last one.
            self.send_back(slot, &left, Reason::TooLarge);
            return None;
        }
        (raw.kind() == Kind::Request).then(|| (raw.header().source, raw.correlation()))
    }

    /// Whether a record means anything to a life that it wasn't sent to. Not an answer to the last one, nor what the control service
    /// told that one to do, nor what nobody waits for any more.
    fn outlives(&self, slot: usize, raw: &RawHeader, ended: &HashSet<Key>) -> bool {
        let id = self.ports[slot].as_ref().map_or(WorldId::SWITCH, |port| port.id);
        let source = raw.header().source;
        match raw.kind() {
            Kind::Request => source != WorldId::CONTROL && self.requests.waits_for((source, raw.correlation()), id),
            // Of a link, or of a subscription, that has ended with the last life.
            Kind::Message if raw.flags() & FLAG_MARK != 0 || raw.topic().is_some() => false,
            // A piece of an answer: what ends that comes behind it, if it came.
            Kind::Message if raw.flags() & FLAG_MORE != 0 => {
                let is_ended = [source, ANY_MEMBER].iter().any(|who| ended.contains(&(*who, raw.correlation())));
                !is_ended && !self.requests.is_open((id, raw.correlation()), source)
            }
            Kind::Message => true,
            Kind::Reply | Kind::Notice | Kind::Multicast => false,
        }
    }

    /// Tells the sender of a record that is left that it goes nowhere.
    fn send_back(&mut self, slot: usize, left: &Left, reason: Reason) {
        self.forgo(slot, left);
        let (header, id) = (left.record.raw.header(), self.port(slot).id);
        let key = (header.source, header.correlation);
        match header.kind {
            Kind::Request => {
                if let Some(open) = self.requests.answer(key, id) {
                    self.end_request(key, &open, reason);
                }
            }
            // Who publishes is told of no subscriber.
            Kind::Message if header.flags & FLAG_MARK == 0 && left.record.raw.topic().is_none() => {
                if let Some(sender) = self.by_id.get(&header.source).copied() {
                    self.notify(sender, &header, reason);
                }
            }
            _ => {}
        }
    }

    fn forgo(&mut self, slot: usize, left: &Left) {
        if !left.is_delivered {
            let (record, id) = (&left.record, self.port(slot).id);
            self.uncharge(record.charged, record.window(id), record.bytes());
        }
    }

    /// Shows what was handed down, and lets those go on who wait for room. What others may send there is judged anew.
    fn resume(&mut self, slot: usize) {
        let id = self.port(slot).id;
        for port in self.ports.iter_mut().flatten() {
            port.last_route = port.last_route.filter(|(route, _)| *route != id);
        }
        self.active.retain(|other| *other != slot);
        self.port(slot).is_active = false;
        self.activate(slot);
        self.touch(slot);
        self.publish_touched();
        self.call_next(slot);
        self.bury();
    }
}
