//! The oracle of what belongs to more than one process: new versions that take what is sent to old ones, and the lives of one world.

use super::entries::{Sent, Share};
use super::ledger::Ledger;
use super::stage::{GROUP, GROUP_BUDGET};
use crate::switch::port::Held;
use std::collections::HashMap;
use strait_protocol::{FLAG_TOPIC, Header, Kind, WorldId, stride};

/// For whom an address stands, if not for the world of that id.
#[derive(Default)]
pub(super) struct Heirs {
    of: HashMap<WorldId, WorldId>,
    has_any: bool,
}

impl Heirs {
    /// Whether any address ever stood for another world.
    pub(super) fn has_any(&self) -> bool {
        self.has_any
    }

    /// A record that is under way may go to whom its addresses stand for now. What `is_new` goes nowhere else, unless it is a piece of an answer, which
    /// is for the world that asked for as long as that waits for it.
    pub(super) fn address(&self, sent: &mut Sent, is_new: bool) {
        let stays = !is_new || sent.is_piece();
        for copy in sent.to.iter_mut().filter(|copy| copy.is_open()) {
            let heir = self.of.get(&copy.receiver).copied().unwrap_or(copy.receiver);
            copy.may_go_to.retain(|id| stays && *id != heir);
            copy.may_go_to.push(heir);
        }
        let shares = |id: &WorldId| sent.to.iter().filter(|copy| copy.can_go_to(*id)).count() > 1;
        sent.is_mingled |= sent.to.iter().flat_map(|copy| &copy.may_go_to).any(shares);
    }
}

impl Sent {
    /// The share of this record that a world gets, or that its sender is told of.
    pub(super) fn copy_for(&mut self, id: WorldId) -> Option<&mut Share> {
        self.to.iter_mut().find(|copy| copy.can_go_to(id))
    }
}

impl Ledger {
    // --- versions ---

    /// What is sent to one world goes to another from now on.
    pub(super) fn forwards(&mut self, from: WorldId, to: WorldId) {
        if from != to {
            self.heirs.of.values_mut().filter(|heir| **heir == from).for_each(|heir| *heir = to);
            self.heirs.of.insert(from, to);
            self.heirs.of.remove(&to);
            self.heirs.has_any = true;
            self.readdress();
        }
    }

    fn readdress(&mut self) {
        for sent in self.worlds.iter_mut().flat_map(|world| &mut world.sent).filter(|sent| !sent.is_reply()) {
            self.heirs.address(sent, false);
        }
    }

    // --- ends ---

    /// A world is gone.
    pub(super) fn dies(&mut self, dead: usize) {
        let id = self.worlds[dead].id;
        self.worlds[dead].is_alive = false;
        self.heirs.of.retain(|_, heir| *heir != id);
        self.readdress();
    }

    /// A life of a world ends, while the switch holds `held` bytes on the account of each: what of its records may be lost, because who is to get it
    /// can't pay for it.
    pub(super) fn leaves_behind(&mut self, leaving: usize, held: impl Fn(WorldId) -> u64) {
        let publishes = self.worlds[leaving].sent.iter().any(|sent| sent.header.destination.is_topic());
        let of_group = (self.worlds.len(), GROUP, GROUP_BUDGET);
        let of_worlds = self.worlds.iter().enumerate().map(|(heir, world)| (heir, world.id, world.budget_bytes));
        for (heir, id, budget_bytes) in of_worlds.chain([of_group]).collect::<Vec<_>>() {
            let notices = (64 + Held::KEEPING) * self.open_copies(heir, self.worlds[leaving].id).count() as u64;
            let left: u64 = self.open_copies(leaving, id).map(|bytes| bytes + Held::KEEPING).sum();
            if publishes || held(id) + notices + left > budget_bytes {
                let copies = self.worlds[leaving].sent.iter_mut().flat_map(|sent| &mut sent.to);
                copies.filter(|copy| copy.can_go_to(id) && copy.is_open()).for_each(|copy| copy.may_be_lost = true);
            }
        }
    }

    /// The sizes of the records on their way from one world to another.
    fn open_copies(&self, from: usize, to: WorldId) -> impl Iterator<Item = u64> {
        let is_open = move |copy: &Share| copy.can_go_to(to) && copy.is_open();
        let sent = self.worlds.get(from).into_iter().flat_map(|world| &world.sent);
        sent.filter(move |sent| sent.to.iter().any(is_open)).map(|sent| stride(sent.bytes))
    }

    /// What a life was told it may not have read, and be it that something didn't arrive.
    pub(super) fn misses_its_notices(&mut self, world: usize) {
        let copies = self.worlds[world].sent.iter_mut().flat_map(|sent| &mut sent.to);
        copies.filter(|copy| copy.is_open()).for_each(|copy| copy.may_be_lost = true);
    }

    /// The next life of a world begins.
    pub(super) fn begins_anew(&mut self, world: usize) {
        self.leaves_topics(world);
        let world = &mut self.worlds[world];
        world.lives.push(world.sent.len());
    }
}

/// Whether a record means nothing to the next life of its receiver, and so is never seen again if that hasn't read it.
pub(super) fn ends_with_life(header: &Header) -> bool {
    matches!(header.kind, Kind::Notice | Kind::Reply) || header.kind == Kind::Message && header.flags & FLAG_TOPIC != 0
}
