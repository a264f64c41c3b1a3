//! A look into the switch's own books: what it holds is what it has charged, and within the budgets.

use crate::switch::Switch;
use crate::switch::port::Held;
use strait_protocol::Header;

/// Receivers that a multicast record of a script has at most.
const RECEIVERS: u64 = 8;

/// What may be held on one account: its budget or, if nothing is on it, one record of any size; then the notices of requests that end
/// while their asker reads nothing, those of what lay in an inbox and was given back, and those of the record that was being taken: one for each
/// receiver of a multicast record.
fn bound(budget_bytes: u64, told: u64, largest: u64) -> u64 {
    budget_bytes.max(largest + Held::KEEPING) + (told + RECEIVERS) * (u64::from(Header::BYTES) + Held::KEEPING)
}

/// Checks every account. `told` is how many notices a world can have got beyond its budget: of requests that were open, and of what was given back.
pub(super) fn check(switch: &Switch, told: u64, largest: u64) {
    for port in switch.ports.iter().flatten() {
        let charged = |held: &&Held| held.charged == port.id;
        let for_worlds = switch.ports.iter().flatten().flat_map(|other| &other.held);
        let all = for_worlds.chain(switch.groups.held());
        let held: u64 = all.filter(charged).map(|held| held.bytes()).sum();
        assert_eq!(port.held_bytes, held, "the account of {}", port.id);
        assert_eq!(port.retained_bytes, switch.retained_bytes(port.id), "what is kept for {}", port.id);
        assert!(port.retained_bytes <= port.budget_bytes / 4, "{} is kept for {}", port.retained_bytes, port.id);
        let bound = bound(port.budget_bytes, told, largest);
        assert!(held <= bound, "{held} bytes are held for {}, which may have {bound}", port.id);
        let paid_by_nobody = |held: &&Held| !switch.by_id.contains_key(&held.charged);
        assert_eq!(port.held.iter().filter(paid_by_nobody).count(), 0, "on nobody's account, for {}", port.id);
    }
    switch.groups.check(|id| switch.by_id.contains_key(&id));
}
