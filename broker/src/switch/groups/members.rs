//! Who belongs to a group, and what is left to it.

use super::{Group, Member, Waiting};
use crate::link::{GroupCount, GroupPassport, MemberCount};
use crate::switch::Switch;
use crate::switch::parcels::Parcel;
use std::collections::VecDeque;
use std::rc::Rc;
use strait_protocol::{Kind, NameError, Reason, WorldId};

impl Switch {
    pub(in crate::switch) fn make_group(&mut self, passport: &GroupPassport) -> Result<(), NameError> {
        let group = Group::new(passport)?;
        self.groups.0.entry(WorldId(passport.id)).or_insert(group);
        Ok(())
    }

    /// A world is given records of the group from now on. What waits goes on at once.
    pub(in crate::switch) fn join(&mut self, id: WorldId, world: WorldId) {
        let Some(slot) = self.by_id.get(&world).copied() else { return };
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.member(world).is_some() {
            return;
        }
        group.add(world, slot);
        self.port(slot).groups.push(id);
        self.look_at_group(id);
        self.publish_touched();
    }

    /// A world is given no more of the group's records, and ends what it has.
    pub(in crate::switch) fn leave(&mut self, id: WorldId, world: WorldId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.members.retain(|member| member.id != world);
        group.was_wanted = false;
        if let Some(slot) = self.by_id.get(&world).copied() {
            self.port(slot).groups.retain(|group| *group != id);
        }
        self.look_at_group(id);
    }

    /// No member comes up: what waits in the queue goes back to its senders, and the supervisor is told of the next that waits.
    pub(in crate::switch) fn give_up(&mut self, id: WorldId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.was_wanted = false;
        for ticket in group.queue.tickets(|_| true) {
            self.turn_away(id, ticket, Reason::CantStart);
        }
        self.call_line(id);
        self.publish_touched();
    }

    /// After something changed for a group: gives on what can go on, and says so if something can't.
    pub(in crate::switch) fn look_at_group(&mut self, id: WorldId) {
        self.dispatch(id);
        if self.group(id).is_waited_for() {
            self.begin_to_wait(id);
        }
    }

    /// A world is gone: the messages that it left in queues are charged to the groups. What they can't pay for is lost, and what brings a parcel,
    /// which goes with its holder.
    pub(in crate::switch) fn leave_to_groups(&mut self, gone: WorldId) {
        let ids: Vec<WorldId> = self.groups.0.keys().copied().collect();
        for id in ids {
            let group = self.group(id);
            group.streams.remove(&gone);
            for parcel in group.inherit(id, gone) {
                self.let_go(parcel);
            }
            self.call_line(id);
        }
    }

    pub(in crate::switch) fn count_group(&mut self, id: WorldId) -> Option<GroupCount> {
        let group = self.groups.get_mut(id)?;
        let mut members = Vec::new();
        for member in &mut group.members {
            let Some(port) = &mut self.ports[member.slot] else { continue };
            // A cursor that can't be true is found again when something is put there.
            let _ = port.endpoint.room();
            members.push(MemberCount { id: member.id.0, load: member.load(port.consumed()), taken: member.taken });
        }
        let waiting = (group.queue.len() + group.line.len()) as u64;
        Some(GroupCount { id: id.0, waiting, members })
    }
}

impl Group {
    fn add(&mut self, world: WorldId, slot: usize) {
        // It may have been a member before, and have something to do yet.
        let requests = self.jobs.values().filter(|job| job.member == Some(world)).count() as u32;
        self.members.push(Member { id: world, slot, requests, unread: VecDeque::new(), taken: 0 });
        self.was_wanted = false;
    }

    /// Takes over what a world that is gone left in the queue, as long as the budget lasts. Its requests are ended elsewhere.
    fn inherit(&mut self, id: WorldId, gone: WorldId) -> Vec<Rc<Parcel>> {
        let mut lost = Vec::new();
        let is_left = |waiting: &Waiting| waiting.held.charged == gone && waiting.held.raw.kind() != Kind::Request;
        for ticket in self.queue.tickets(is_left) {
            let Some(waiting) = self.queue.get_mut(ticket) else { continue };
            let bytes = waiting.held.bytes();
            if waiting.parcel.is_none() && (self.held_bytes == 0 || self.held_bytes + bytes <= self.budget_bytes) {
                waiting.held.charged = id;
                self.held_bytes += bytes;
            } else if let Some(waiting) = self.queue.remove(ticket) {
                lost.extend(waiting.parcel);
            }
        }
        lost
    }
}
