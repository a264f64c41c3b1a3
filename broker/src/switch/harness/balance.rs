//! The end of the ledger: each record has come to one end, or there is a reason why nobody saw it.

use super::entries::{Sent, Share, World};
use super::ledger::Ledger;
use super::stage::GROUP;
use strait_protocol::{FLAG_MORE, Kind};

impl Ledger {
    /// Requests of honest worlds that haven't ended.
    pub(super) fn open_requests(&self) -> usize {
        let living = self.worlds.iter().filter(|world| world.is_honest && world.is_alive);
        let is_open = |sent: &&Sent| sent.header.kind == Kind::Request && !sent.has_ended;
        let of_life =
            |world: &'_ World| world.sent[world.lives.last().copied().unwrap_or(0)..].iter().filter(is_open).count();
        living.map(of_life).sum()
    }

    /// After everything was read and every deadline has passed: each record between honest worlds has come to one end.
    pub(super) fn is_balanced(&self) {
        self.topics_are_balanced();
        for (me, world) in self.worlds.iter().enumerate().filter(|(_, world)| world.is_honest) {
            for sent in &world.sent {
                let may_be_open = !world.is_alive || sent.header.kind != Kind::Request || world.is_former(sent.index());
                assert!(may_be_open || sent.has_ended, "never ended: {:?}", sent.header);
                for copy in &sent.to {
                    self.has_arrived(me, sent, copy);
                }
            }
        }
    }

    /// What went to the group: the dead may leave more than it can pay for, and nobody is left to be told.
    fn has_come_to_the_group(&self, from: usize, sent: &Sent, copy: &Share) {
        let world = &self.worlds[from];
        let was_taken =
            self.worlds.iter().any(|world| world.was_member && !world.is_honest) && cfg!(feature = "racing");
        // Of a hostile one it isn't known what it asks: a piece may look like one of an answer to a life that is over.
        let may_be_answer = |world: &World| world.was_member && !world.is_honest && !world.lives.is_empty();
        let was_dropped = sent.header.flags & FLAG_MORE != 0 && self.worlds.iter().any(may_be_answer);
        let has_ended = !copy.is_open() || copy.may_be_over || was_taken || was_dropped;
        // What a life asked ends with it.
        let is_moot =
            !world.is_alive || copy.may_be_lost || world.is_former(sent.index()) && sent.header.kind == Kind::Request;
        assert!(has_ended || is_moot, "neither delivered nor told: {:?}", sent.header);
    }

    fn has_arrived(&self, from: usize, sent: &Sent, copy: &Share) {
        if sent.is_mingled {
            return;
        }
        if copy.receiver == GROUP {
            return self.has_come_to_the_group(from, sent, copy);
        }
        let targets: Vec<usize> = copy.may_go_to.iter().filter_map(|id| self.index(*id)).collect();
        let is_settled = !copy.is_open() || copy.may_be_lost || targets.is_empty();
        let is_excused = |target: usize| self.is_excused(&self.worlds[from], sent, &self.worlds[target]);
        assert!(is_settled || targets.into_iter().any(is_excused), "neither delivered nor told: {:?}", sent.header);
    }

    /// Whether a record may be neither delivered to this world nor told of.
    fn is_excused(&self, world: &World, sent: &Sent, target: &World) -> bool {
        // A hostile world may take a record and have it written over within one step.
        let may_be_unseen = !target.is_honest && cfg!(feature = "racing");
        // Between two that are gone nobody is left to be told; and of a request it is told that it ended, unless who asked is over.
        let is_request = sent.header.kind == Kind::Request;
        let is_moot =
            !target.is_alive && (!world.is_alive || is_request) || is_request && world.is_former(sent.index());
        // The notice of its asker's death needn't be told to who answers; what becomes of its answer when the request is over must, unless it waited
        // for a life that is over.
        let is_answer = sent.is_reply() || sent.is_piece();
        let asker_was_told = sent.is_reply() && (!target.is_alive || target.has_ended(sent.header.correlation));
        // Nor is a request given to the next life that nobody waits for.
        let is_late = is_request && (sent.has_ended || !world.is_alive) && !target.lives.is_empty();
        let is_of_former = is_answer && !target.lives.is_empty();
        // What is given back to one that is gone is told to nobody.
        let is_left = !world.is_alive
            && (target.has_given_back || !world.may_send_to(target) || sent.bytes > target.inbox_payload);
        may_be_unseen || is_moot || asker_was_told || is_of_former || is_late || is_left
    }
}
