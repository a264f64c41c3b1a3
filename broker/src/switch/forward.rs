//! New versions beside old ones: what is sent to the old world's id goes to the new one from now on.
//!
//! The old one finishes: it gets the answers to what it asked, and gives those it owes; what it was sent before is its own. So the order holds for each sender, but
//! for a payload in pieces that was under way, of which the new version gets the end and its sender is told that it didn't arrive whole.
//! What the system's services say is for the world that they name.

use super::Switch;
use strait_protocol::{Kind, RawHeader, WorldId};

impl Switch {
    pub(super) fn forward(&mut self, from: WorldId, to: WorldId) {
        if from == to || !self.by_id.contains_key(&to) {
            return;
        }
        // Whoever was the old one's predecessor has this successor now.
        self.forwards.values_mut().filter(|heir| **heir == from).for_each(|heir| *heir = to);
        self.forwards.insert(from, to);
        for port in self.ports.iter_mut().flatten() {
            port.last_route = port.last_route.filter(|(route, _)| *route != from);
        }
        if let Some(slot) = self.by_id.get(&from).copied() {
            let waiters = std::mem::take(&mut self.port(slot).waiters);
            self.let_go_on(&waiters);
        }
    }

    /// A world is gone: nothing goes there instead of to another.
    pub(super) fn forget_forwards(&mut self, gone: WorldId) {
        self.forwards.retain(|_, to| *to != gone);
    }

    /// Who gets what is sent to this id.
    pub(super) fn heir_of(&self, id: WorldId) -> WorldId {
        self.forwards.get(&id).copied().unwrap_or(id)
    }

    /// A record as it is addressed now.
    #[cold]
    pub(super) fn readdressed(&self, slot: usize, raw: &RawHeader) -> RawHeader {
        let old = raw.destination();
        let heir = self.heir_of(old);
        let is_for_old = || {
            let sender = self.ports[slot].as_ref().expect("a slot in use");
            let target = self.by_id.get(&old).and_then(|slot| self.ports[*slot].as_ref());
            sender.id < WorldId::FIRST
                || raw.kind() == Kind::Reply
                || raw.mark() != 0
                || target.is_some_and(|target| self.is_of_reply(sender, target, raw))
        };
        if heir == old || is_for_old() { *raw } else { raw.readdressed(heir) }
    }
}
