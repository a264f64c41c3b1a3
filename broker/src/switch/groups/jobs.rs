//! Requests to a group, from when they are open to their end.

use super::{Group, Job, MAX_DELIVERIES, Ticket, Waiting};
use crate::switch::Switch;
use crate::switch::port::Port;
use crate::switch::requests::{Key, Open};
use strait_protocol::{FLAG_REPEATABLE, Kind, Reason, WorldId};

impl Switch {
    /// A request to a group is open: with a member, or in the queue.
    pub(in crate::switch) fn begin_job(&mut self, id: WorldId, key: Key, to: WorldId) {
        let group = self.group(id);
        let ticket = group.ticket();
        group.jobs.insert(key, Job { ticket, member: None, deliveries: 0, kept: None });
        if to != id {
            group.assign(key, to);
        }
    }

    /// A request that waited in the queue is with a member.
    pub(super) fn assign(&mut self, id: WorldId, key: Key, receiver: usize) {
        let to = self.port(receiver).id;
        self.requests.pass_on(key, to);
        self.group(id).assign(key, to);
    }

    /// A request to a group has ended: its member is free for the next, and nothing is kept of it.
    pub(in crate::switch) fn end_job(&mut self, id: WorldId, key: Key) {
        let group = self.group(id);
        let Some(job) = group.jobs.remove(&key) else { return };
        let queued = if job.member.is_none() { group.queue.remove(job.ticket) } else { None };
        for waiting in queued.into_iter().chain(job.kept) {
            self.let_wait_no_more(id, waiting);
        }
        let group = self.group(id);
        let member = job.member.and_then(|member| group.member(member));
        let slot = member.map(|member| {
            member.requests -= 1;
            member.slot
        });
        match slot {
            Some(slot) if group.is_waited_for() => self.activate(slot),
            Some(_) => {}
            None => self.call_line(id),
        }
    }

    /// A member died with a request: it goes back to its place in the queue if it may be repeated. Otherwise, why it ends with that.
    pub(in crate::switch) fn repeat(&mut self, id: WorldId, key: Key, open: Open) -> Result<(), Reason> {
        let group = self.group(id);
        let Some(job) = group.jobs.get_mut(&key) else { return Err(Reason::Died) };
        if job.kept.is_some() && job.deliveries >= MAX_DELIVERIES {
            return Err(Reason::DeliveryLimit);
        }
        let Some(mut kept) = job.kept.take() else { return Err(Reason::Died) };
        (job.member, kept.held.raw) = (None, kept.held.raw.with_flags(FLAG_REPEATABLE));
        let ticket = job.ticket;
        group.queue.insert(ticket, kept);
        self.requests.insert(key, Open { to: id, ..open });
        Ok(())
    }

    /// What a member that is gone hadn't begun with didn't end it: that doesn't count.
    pub(in crate::switch) fn forgive_unread(&mut self, gone: &mut Port) {
        if self.requests.owed_by(gone.id) == 0 {
            return;
        }
        let (unread, _) = gone.endpoint.left_behind(|offset| gone.starts.contains(offset));
        for raw in unread.iter().map(|record| &record.raw).filter(|raw| raw.kind() == Kind::Request) {
            let group = self.groups.get_mut(raw.destination());
            let job = group.and_then(|group| group.jobs.get_mut(&(raw.source(), raw.correlation())));
            if let Some(job) = job.filter(|job| job.member == Some(gone.id)) {
                job.deliveries = job.deliveries.saturating_sub(1);
            }
        }
    }

    /// What is in the queue goes to nobody: its sender is told why.
    pub(super) fn turn_away(&mut self, id: WorldId, ticket: Ticket, reason: Reason) {
        let Some(waiting) = self.group(id).queue.get(ticket) else { return };
        let header = waiting.held.raw.header();
        let key = (header.source, header.correlation);
        if header.kind == Kind::Request
            && let Some(open) = self.requests.answer(key, id)
        {
            return self.end_request(key, &open, reason);
        }
        let Some(waiting) = self.group(id).queue.remove(ticket) else { return };
        self.let_wait_no_more(id, waiting);
        if let Some(slot) = self.by_id.get(&header.source).copied() {
            self.refuse(slot, &header, reason);
        }
    }

    /// Nothing waits any more: who was charged for it is not.
    pub(super) fn let_wait_no_more(&mut self, id: WorldId, waiting: Waiting) {
        let Waiting { held, parcel, .. } = waiting;
        match held.charged == id {
            true => self.group(id).held_bytes -= held.bytes(),
            false => self.uncharge(held.charged, id, held.bytes()),
        }
        if let Some(parcel) = parcel {
            self.unpin(held.raw.source(), parcel);
        }
    }
}

impl Group {
    fn assign(&mut self, key: Key, to: WorldId) {
        if let Some(job) = self.jobs.get_mut(&key) {
            job.member = Some(to);
            job.deliveries += 1;
        }
        if let Some(member) = self.member(to) {
            member.requests += 1;
        }
    }
}
