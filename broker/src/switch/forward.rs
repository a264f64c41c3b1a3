//! New versions beside old ones: what is sent to the old world's id goes to the new one from now on.
//!
//! The old one finishes: it gets the answers to what it asked, and gives those it owes; what it was sent before is its own. So the order holds for each sender, but
//! for a payload in pieces that was under way, of which the new version gets the end and its sender is told that it didn't arrive whole.
//! What the system's services say is for the world that they name.
//!
//! Nobody can say who still knows the id of a version that is gone. So those of the last [`MAX_FORMERS`] that a world came in the place of go on to
//! stand for it, as long as it is there; to who sends to an older one there is no such world, and the name says which there is.

use super::Switch;
use std::collections::HashMap;
use strait_protocol::wait::Event;
use strait_protocol::{Kind, RawHeader, WorldId};

/// Versions that are gone whose ids stand for one world.
const MAX_FORMERS: usize = 16;

impl Switch {
    /// False if there is no such new version, or no more: then the old one goes on as before.
    pub(super) fn forward(&mut self, from: WorldId, to: WorldId) -> bool {
        if from == to || !self.by_id.contains_key(&to) {
            return false;
        }
        // Whoever was the old one's predecessor has this successor now; and the new one gets what is its own.
        self.forwards.values_mut().filter(|heir| **heir == from).for_each(|heir| *heir = to);
        self.forwards.insert(from, to);
        self.forwards.remove(&to);
        for port in self.ports.iter_mut().flatten() {
            port.last_route = port.last_route.filter(|(route, _)| *route != from);
        }
        self.stop_for_heir(from, to);
        match self.by_id.get(&from).copied() {
            Some(slot) => {
                let waiters = std::mem::take(&mut self.port(slot).waiters);
                self.let_go_on(&waiters);
            }
            None => self.note_former(from),
        }
        self.forget_formers(to);
        true
    }

    /// A world is gone whose address stands for another one.
    fn note_former(&mut self, gone: WorldId) {
        if !self.formers.contains(&gone) {
            self.formers.push(gone);
        }
    }

    /// Those that are gone longest.
    fn forget_formers(&mut self, heir: WorldId) {
        let gone: Vec<WorldId> = self.formers.iter().copied().filter(|id| self.heir_of(*id) == heir).collect();
        for former in gone.iter().take(gone.len().saturating_sub(MAX_FORMERS)) {
            self.forwards.remove(former);
            self.formers.retain(|gone| gone != former);
            for port in self.ports.iter_mut().flatten() {
                if port.go_on(*former) {
                    port.ring(Event::ROOM);
                }
            }
        }
    }

    /// Whoever was told to send nothing to the old version may, unless the new one has no room either.
    fn stop_for_heir(&mut self, from: WorldId, to: WorldId) {
        for port in self.ports.iter_mut().flatten() {
            let is_stopped = port.is_stopped(to);
            for former in formers(&self.forwards, to).chain([from]) {
                if is_stopped {
                    port.stop(former);
                } else if port.go_on(former) {
                    port.ring(Event::ROOM);
                }
            }
        }
    }

    /// Tells a world to send nothing to a receiver for now, by whichever address it knows it.
    pub(super) fn stop(&mut self, slot: usize, receiver: WorldId) {
        let Some(port) = &mut self.ports[slot] else { return };
        port.stop(receiver);
        formers(&self.forwards, receiver).for_each(|former| port.stop(former));
    }

    /// Tells it to go on.
    pub(super) fn go_on(&mut self, slot: usize, receiver: WorldId) {
        let Some(port) = &mut self.ports[slot] else { return };
        let told = formers(&self.forwards, receiver).filter(|former| port.go_on(*former)).count();
        if port.go_on(receiver) || told > 0 {
            port.ring(Event::ROOM);
        }
    }

    /// A world is gone: nothing goes there instead of to another.
    pub(super) fn forget_forwards(&mut self, gone: WorldId) {
        self.forwards.retain(|_, to| *to != gone);
        self.formers.retain(|former| self.forwards.contains_key(former));
        if self.is_forwarded(gone) {
            self.note_former(gone);
        }
    }

    /// Who gets what is sent to this id.
    pub(super) fn heir_of(&self, id: WorldId) -> WorldId {
        self.forwards.get(&id).copied().unwrap_or(id)
    }

    /// Whether what is sent to this id goes to another world.
    pub(super) fn is_forwarded(&self, id: WorldId) -> bool {
        self.forwards.contains_key(&id)
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

/// The older versions whose addresses stand for this world.
fn formers(forwards: &HashMap<WorldId, WorldId>, heir: WorldId) -> impl Iterator<Item = WorldId> {
    forwards.iter().filter(move |(_, to)| **to == heir).map(|(from, _)| *from)
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
