//! A look into the groups' books, for the harness.

use super::Groups;
use crate::switch::port::Held;
use strait_protocol::{WorldId, stride};

impl Groups {
    /// All that is held for groups.
    pub(in crate::switch) fn held(&self) -> impl Iterator<Item = &Held> {
        self.0.values().flat_map(|group| {
            let kept = group.jobs.values().filter_map(|job| job.kept.as_ref());
            group.queue.iter().map(|(_, waiting)| waiting).chain(kept).map(|waiting| &waiting.held)
        })
    }

    /// Looks into the books: what the groups pay for is what they hold, nothing is on nobody's account, and each request of a member is counted.
    pub(in crate::switch) fn check(&self, is_there: impl Fn(WorldId) -> bool) {
        for (id, group) in &self.0 {
            let of_group: u64 = group
                .queue
                .iter()
                .map(|(_, waiting)| &waiting.held)
                .filter(|h| h.charged == *id)
                .map(Held::bytes)
                .sum();
            assert_eq!(of_group, group.held_bytes, "the account of group {id}");
            let one = stride(group.max_payload) + Held::KEEPING;
            assert!(of_group <= group.budget_bytes.max(one), "{of_group} bytes are held for group {id}");
            for member in &group.members {
                let requests = group.jobs.values().filter(|job| job.member == Some(member.id)).count();
                assert_eq!(requests, member.requests as usize, "the requests of {}", member.id);
                assert!(is_there(member.id), "{} is a member and gone", member.id);
            }
        }
        for held in self.held() {
            assert!(self.contains(held.charged) || is_there(held.charged), "on nobody's account: {:?}", held.raw);
        }
    }
}
