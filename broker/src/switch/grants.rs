//! Grants: what a world may reach for a while, and the end of that.
//!
//! A record is judged when it is taken out of its sender's outbox. So what is still there when a grant is revoked is refused by itself; what was
//! taken and waits for its receiver is judged again here, and goes back. Direct links that nothing allows any more end, which takes as long as their
//! sides take to say that they write nothing more. Then the supervisor is told that the grant is over.
//!
//! What a world publishes on a topic goes by the policy of topics, and is left alone.
//!
//! What was delivered before stays delivered, and may be answered. A record that brings a parcel counts as delivered from the moment
//! that its receiver was handed the memory.

use super::Switch;
use super::port::{Held, Port};
use crate::link::Event as Report;
use crate::policy::Way;
use std::collections::VecDeque;
use strait_protocol::{FLAG_MARK, Kind, Pattern, RawHeader, Reason, WorldId};

/// A grant that is revoked, whose links have not ended yet.
#[derive(Debug)]
pub(super) struct Revoking {
    grant: u64,
    links: Vec<u32>,
    is_late: bool,
}

impl Switch {
    pub(super) fn permit(&mut self, grant: u64, world: WorldId, way: Way, to: Pattern) {
        if let Some(slot) = self.by_id.get(&world).copied() {
            self.port(slot).reach.permit(grant, way, to);
        }
        // If the supervisor is gone, the link says so at the next look.
        let _ = self.link.send(&Report::Permitted { grant }, &[]);
    }

    pub(super) fn revoke(&mut self, grant: u64, world: WorldId) {
        let mut links = Vec::new();
        if let Some(slot) = self.by_id.get(&world).copied() {
            self.port(slot).reach.revoke(grant);
            self.forget_routes();
            self.give_back_held(world);
            self.return_queued(world);
            self.unblock(world);
            self.publish_touched();
            links = self.links_without_leave(world);
        }
        self.revoking.push(Revoking { grant, links: links.clone(), is_late: false });
        for number in links {
            self.end_link(number, world);
        }
        self.publish_touched();
        self.report_revoked();
    }

    /// Verdicts that were remembered may not hold any more.
    fn forget_routes(&mut self) {
        self.ports.iter_mut().flatten().for_each(|port| port.last_route = None);
    }

    /// Returns to their senders the records that were taken from or for a world, wait for room, and would be refused by now.
    fn give_back_held(&mut self, world: WorldId) {
        for slot in 0..self.ports.len() {
            let Some(port) = &mut self.ports[slot] else { continue };
            let id = port.id;
            let held = std::mem::take(&mut port.held);
            let (refused, kept): (VecDeque<Held>, _) =
                held.into_iter().partition(|held| self.is_without_leave(slot, world, held));
            self.port(slot).held = kept;
            if !refused.is_empty() {
                self.close_ranks(slot);
            }
            refused.iter().for_each(|held| self.return_held(id, held));
        }
    }

    fn is_without_leave(&self, receiver: usize, world: WorldId, held: &Held) -> bool {
        let (Some(target), source) = (&self.ports[receiver], held.raw.header().source) else { return false };
        let concerned = source == world || target.id == world;
        let sender = self.by_id.get(&source).and_then(|slot| self.ports[*slot].as_ref());
        concerned
            && matches!(held.raw.kind(), Kind::Message | Kind::Request)
            && held.raw.parcel() == 0
            && held.raw.topic().is_none()
            && sender.is_some_and(|sender| !self.may_go(sender, target, &held.raw))
    }

    /// Whether a record that was taken would be taken now.
    fn may_go(&self, sender: &Port, target: &Port, raw: &RawHeader) -> bool {
        let by_group = self.groups.may_send(sender, raw.destination());
        by_group.unwrap_or_else(|| sender.may_send_to(target) || self.is_of_reply(sender, target, raw))
    }

    fn return_held(&mut self, receiver: WorldId, held: &Held) {
        let header = held.raw.header();
        self.uncharge(held.charged, held.window(receiver), held.bytes());
        let reason = if header.flags & FLAG_MARK != 0 { Reason::Unlinked } else { Reason::Refused };
        if header.kind == Kind::Request {
            let key = (header.source, header.correlation);
            if let Some(open) = self.requests.answer(key, receiver) {
                self.end_request(key, &open, reason);
            }
        } else if let Some(slot) = self.by_id.get(&header.source).copied() {
            self.refuse(slot, &header, reason);
        }
    }

    /// Senders that wait for a receiver which they may not reach any more need no turn: what they wait with is judged again.
    fn unblock(&mut self, world: WorldId) {
        for slot in 0..self.ports.len() {
            let Some(port) = &self.ports[slot] else { continue };
            let Some(blocked) = port.blocked else { continue };
            let target = self.by_id.get(&blocked.on).and_then(|slot| self.ports[*slot].as_ref());
            let concerned = (port.id == world || blocked.on == world) && !blocked.window.is_topic();
            let by_group = self.groups.may_send(port, blocked.on);
            let may_send = by_group.unwrap_or_else(|| target.is_none_or(|target| port.may_send_to(target)));
            if concerned && !may_send {
                self.leave_line(slot);
                self.activate(slot);
            }
        }
    }

    /// The links of a world that policy doesn't allow any more.
    fn links_without_leave(&self, world: WorldId) -> Vec<u32> {
        let port = |id: &WorldId| self.by_id.get(id).and_then(|slot| self.ports[*slot].as_ref());
        let is_allowed = |ids: [WorldId; 2]| match ids.each_ref().map(port) {
            [Some(one), Some(other)] => one.may_link_with(other),
            _ => false,
        };
        self.links.of(world).into_iter().filter(|number| !self.links.ids(*number).is_some_and(is_allowed)).collect()
    }

    /// A link is gone; `is_late`: one of its sides did not say in time that it writes nothing more.
    pub(super) fn link_is_gone(&mut self, number: u32, is_late: bool) {
        for revoking in &mut self.revoking {
            let before = revoking.links.len();
            revoking.links.retain(|other| *other != number);
            revoking.is_late |= is_late && revoking.links.len() < before;
        }
        self.report_revoked();
    }

    /// Tells the supervisor of the grants under which nothing goes on any more.
    fn report_revoked(&mut self) {
        while let Some(at) = self.revoking.iter().position(|revoking| revoking.links.is_empty()) {
            let Revoking { grant, is_late, .. } = self.revoking.swap_remove(at);
            // If the supervisor is gone, the link says so at the next look.
            let _ = self.link.send(&Report::Revoked { grant, is_late }, &[]);
        }
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
