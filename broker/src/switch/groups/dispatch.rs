//! A group's queue: what waits goes to whichever member is free first.

use super::{Group, Pick, Ticket, Waiting, is_piece, is_repeatable};
use crate::link::Event as Report;
use crate::switch::Switch;
use crate::switch::backlog::Blocked;
use crate::switch::parcels::bringing;
use crate::switch::port::Held;
use crate::switch::tap::Shown;
use strait_protocol::tap::Fate;
use strait_protocol::{FLAG_MORE, FLAG_PARCEL, Kind, RawHeader, Reason, ReserveError, WorldId};

impl Switch {
    pub(super) fn group(&mut self, id: WorldId) -> &mut Group {
        self.groups.get_mut(id).expect("groups stay for as long as the switch")
    }

    pub(super) fn pick(&mut self, id: WorldId, source: WorldId, needed: u32) -> Pick {
        match self.groups.get_mut(id) {
            Some(group) => group.pick(&mut self.ports, source, needed),
            None => Pick::Nobody,
        }
    }

    /// Something waits for a group: its members are looked at in each pass for as long as they have work, and the supervisor is told, once
    /// until one comes or goes, that they are too few.
    pub(in crate::switch) fn begin_to_wait(&mut self, id: WorldId) {
        if !self.group(id).was_wanted {
            // If there is no room in the link now, it is told when the next one has to wait.
            let is_told = self.link.try_send(&Report::Wanted { group: id.0 }, &[]).is_ok();
            self.group(id).was_wanted = is_told;
        }
        self.groups.members(id).into_iter().for_each(|slot| self.activate(slot));
    }

    /// Gives members what waits in the queue, as far as they are free; then the first of those who wait in line may look. Says whether
    /// anything moved.
    pub(in crate::switch) fn dispatch(&mut self, id: WorldId) -> bool {
        let mut moved = false;
        while let Some((ticket, pick)) = self.next(id) {
            self.give_next(id, ticket, pick);
            moved = true;
        }
        self.call_line(id);
        moved
    }

    /// The same for each group that a port is a member of.
    pub(in crate::switch) fn dispatch_for(&mut self, slot: usize) -> bool {
        let mut moved = false;
        for at in 0.. {
            let Some(id) = self.ports[slot].as_ref().and_then(|port| port.groups.get(at)).copied() else { break };
            moved |= self.group(id).is_waited_for() && self.dispatch(id);
        }
        moved
    }

    /// Whether something in the queue of a group that a port is a member of can go on.
    pub(in crate::switch) fn can_dispatch_for(&mut self, slot: usize) -> bool {
        let groups = self.ports[slot].as_ref().map_or_else(Vec::new, |port| port.groups.clone());
        groups.into_iter().any(|id| self.next(id).is_some())
    }

    /// Lets the first of those who wait in line look, if nothing is before it.
    pub(in crate::switch) fn call_line(&mut self, id: WorldId) {
        let group = self.group(id);
        let first = if group.queue.is_empty() { group.line.front().copied() } else { None };
        if let Some(slot) = first.and_then(|first| self.by_id.get(&first)).copied() {
            self.activate(slot);
        }
    }

    /// Whether the first of those who wait in line can go on.
    pub(in crate::switch) fn can_go_to_group(&mut self, slot: usize, blocked: &Blocked) -> bool {
        let port = self.port(slot);
        let (source, head) = (port.id, *port.endpoint.head());
        let can_keep = !is_repeatable(&head) || port.can_hold(Held::bytes_of(&head), blocked.on);
        can_keep
            && self.group(blocked.on).has_turn(source)
            && self.pick(blocked.on, source, blocked.needed) != Pick::Nobody
    }

    /// What is next in the queue, and to whom it goes. What has to wait is waited for; but what a member sent itself waits for another one, and
    /// lets what others sent pass.
    fn next(&mut self, id: WorldId) -> Option<(Ticket, Pick)> {
        let firsts = self.groups.firsts(id).into_iter();
        let mut picks = firsts.map(|(ticket, raw)| (ticket, self.pick(id, raw.source(), raw.stride())));
        picks.find(|(_, pick)| *pick != Pick::Nobody)
    }

    /// Gives what is next in the queue to a member, or ends it if it can be given to none.
    fn give_next(&mut self, id: WorldId, ticket: Ticket, pick: Pick) {
        let Pick::Member(receiver) = pick else { return self.turn_away(id, ticket, Reason::TooLarge) };
        let Some(waiting) = self.group(id).queue.remove(ticket) else { return };
        let raw = waiting.held.raw;
        let refused = self.put_waiting(&waiting, receiver);
        if refused == Ok(()) {
            self.is_taken(id, waiting, receiver);
            return self.send_after(id, &raw, receiver);
        }
        self.group(id).queue.insert(ticket, waiting);
        if let Err(Some(reason)) = refused {
            self.turn_away(id, ticket, reason);
        }
    }

    /// Puts what waited into a member's inbox, which was found to have room. Otherwise its sender is to be told why not; or nothing, if the member
    /// is doomed from now on.
    fn put_waiting(&mut self, waiting: &Waiting, receiver: usize) -> Result<(), Option<Reason>> {
        let Held { raw, payload, .. } = &waiting.held;
        let brought = match &waiting.parcel {
            Some(parcel) => {
                (FLAG_PARCEL, self.give_parcel(raw.source(), parcel, receiver).map_err(|why| Some(why.into()))?)
            }
            None => (0, 0),
        };
        let raw = bringing(*raw, brought);
        match self.port(receiver).put(&raw, payload) {
            Ok(_) => {
                self.see_given(receiver, &raw, Fate::Delivered, payload);
                Ok(())
            }
            Err(ReserveError::Corrupt(corrupt)) => {
                self.quarantine(receiver, &corrupt);
                Err(None)
            }
            Err(_) => Err(Some(Reason::TooLarge)),
        }
    }

    /// What waited is with a member from here on.
    fn is_taken(&mut self, id: WorldId, waiting: Waiting, receiver: usize) {
        let raw = waiting.held.raw;
        self.activate(receiver);
        self.touch(receiver);
        self.is_given(raw.source(), &raw, receiver);
        if raw.kind() == Kind::Request {
            self.assign(id, (raw.source(), raw.correlation()), receiver);
        }
        match self.group(id).jobs.get_mut(&(raw.source(), raw.correlation())) {
            Some(job) if waiting.is_repeatable => job.kept = Some(waiting),
            _ => self.let_wait_no_more(id, waiting),
        }
    }

    /// A stream has begun at a member: what else of it is in the queue goes there too, and is held for it.
    fn send_after(&mut self, id: WorldId, first: &RawHeader, receiver: usize) {
        if !is_piece(first) || first.flags() & FLAG_MORE == 0 {
            return;
        }
        for ticket in self.group(id).queue.pieces((first.source(), first.stream())) {
            let Some(waiting) = self.group(id).queue.remove(ticket) else { return };
            let raw = waiting.held.raw;
            self.is_given(raw.source(), &raw, receiver);
            if raw.kind() == Kind::Request {
                self.assign(id, (raw.source(), raw.correlation()), receiver);
            }
            self.hold_for(id, waiting.held, receiver);
        }
    }

    /// Has a record wait for a member. What the dead left is charged to that from now on, or lost if it can't pay.
    fn hold_for(&mut self, id: WorldId, mut held: Held, receiver: usize) {
        let bytes = held.bytes();
        if held.charged == id {
            self.group(id).held_bytes -= bytes;
            let port = self.port(receiver);
            if !port.can_charge(bytes) {
                return;
            }
            port.charge(bytes, port.id);
            held.charged = port.id;
        }
        self.see_given(receiver, &held.raw, Fate::Held, &held.payload);
        self.port(receiver).held.push_back(held);
    }

    /// Shows a record that has left the queue to those who tap.
    fn see_given(&mut self, receiver: usize, raw: &RawHeader, fate: Fate, payload: &[u8]) {
        let sender = self.by_id.get(&raw.source()).and_then(|slot| self.ports[*slot].as_ref());
        let Some(target) = &self.ports[receiver] else { return };
        let taps = target.taps | sender.map_or(0, |sender| sender.taps);
        if taps != 0 {
            let is_shown = target.shows_payload && sender.is_some_and(|sender| sender.shows_payload);
            let shown = if is_shown { Shown::Held(payload) } else { Shown::Nothing };
            self.taps.see(taps, raw, fate, shown);
        }
    }
}
