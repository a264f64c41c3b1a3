//! A world may not send to a group any more: its grant was revoked.

use super::{Groups, Ticket};
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
            let queued = group.queue.iter().filter(|(_, waiting)| waiting.held.raw.source() == world);
            let queued: Vec<Ticket> = queued.map(|(ticket, _)| *ticket).collect();
            let asked: Vec<Key> = group.jobs.keys().filter(|key| key.0 == world).copied().collect();
            queued.into_iter().for_each(|ticket| self.turn_away(id, ticket, Reason::Refused));
            for key in asked {
                if let Some(kept) = self.group(id).jobs.get_mut(&key).and_then(|job| job.kept.take()) {
                    self.let_wait_no_more(id, kept);
                }
            }
        }
    }
}
