//! A world may not send to a group any more, since its grant was revoked; or goes on without knowing what it sent.

use super::{Groups, Waiting};
use crate::switch::Switch;
use crate::switch::port::Port;
use crate::switch::requests::Key;
use strait_protocol::{Reason, WorldId};

impl Groups {
    /// Whether a world may send to what may be a group. `None`: it is none.
    pub(in crate::switch) fn may_send(&self, sender: &Port, to: WorldId) -> Option<bool> {
        Some(sender.reach.sends_to(to, &self.0.get(&to)?.name))
    }

    fn closed_to(&self, sender: &Port) -> Vec<WorldId> {
        self.0.keys().filter(|id| self.may_send(sender, **id) == Some(false)).copied().collect()
    }
}

impl Switch {
    /// Returns what a world has in the queues of groups that it may not send to, and forgets what was kept to be given to another member.
    pub(in crate::switch) fn return_queued(&mut self, world: WorldId) {
        let sender = self.by_id.get(&world).and_then(|slot| self.ports[*slot].as_ref());
        for id in sender.map_or_else(Vec::new, |sender| self.groups.closed_to(sender)) {
            let group = self.group(id);
            let queued = group.queue.tickets(|waiting| waiting.held.raw.source() == world);
            let asked: Vec<Key> = group.jobs.keys().filter(|key| key.0 == world).copied().collect();
            queued.into_iter().for_each(|ticket| self.turn_away(id, ticket, Reason::Refused));
            for key in asked {
                if let Some(kept) = self.group(id).jobs.get_mut(&key).and_then(|job| job.kept.take()) {
                    self.let_wait_no_more(id, kept);
                }
            }
        }
    }

    /// A life of a world is over: what it asked of groups is ended, and what brings a parcel goes with its holder. Its other messages wait on, but
    /// no streams are open for its next life to go on with.
    pub(in crate::switch) fn end_life_in_groups(&mut self, world: WorldId) {
        let ids: Vec<WorldId> = self.groups.0.keys().copied().collect();
        for id in ids {
            let group = self.group(id);
            group.streams.remove(&world);
            let asked: Vec<Key> = group.jobs.keys().filter(|key| key.0 == world).copied().collect();
            asked.into_iter().for_each(|key| self.end_job(id, key));
            let queue = &mut self.group(id).queue;
            let is_gone = |waiting: &Waiting| waiting.held.raw.source() == world && waiting.parcel.is_some();
            let gone: Vec<Waiting> = queue.tickets(is_gone).into_iter().filter_map(|at| queue.remove(at)).collect();
            gone.into_iter().for_each(|waiting| self.let_wait_no_more(id, waiting));
            self.call_line(id);
        }
    }
}
