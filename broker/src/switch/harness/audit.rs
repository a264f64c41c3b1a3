//! A look into the switch's own books: what it holds is what it has charged, and within the budgets.

use super::super::Switch;
use strait_protocol::Header;

/// What may be held past a budget: one record (an account with nothing on it takes any), the requests of its own that end while it reads
/// nothing, and the notice of the record that was being taken.
fn slack(open_requests: u64, largest: u64) -> u64 {
    largest + (open_requests + 1) * u64::from(Header::BYTES)
}

/// Checks every account. `asked` is how many requests a world can have had open.
pub(super) fn check(switch: &Switch, asked: u64, largest: u64) {
    for port in switch.ports.iter().flatten() {
        let charged = |held: &&super::super::port::Held| held.charged == port.id;
        let held: u64 =
            switch.ports.iter().flatten().flat_map(|other| &other.held).filter(charged).map(|held| held.bytes()).sum();
        assert_eq!(port.held_bytes, held, "the account of {}", port.id);
        let bound = port.budget_bytes + slack(asked, largest);
        assert!(held <= bound, "{held} bytes are held for {}, which may have {bound}", port.id);
        let paid_by_nobody = |held: &&super::super::port::Held| !switch.by_id.contains_key(&held.charged);
        assert_eq!(port.held.iter().filter(paid_by_nobody).count(), 0, "on nobody's account, for {}", port.id);
    }
}
