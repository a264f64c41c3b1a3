//! Two honest worlds among five that misbehave, each in its own way: nothing of theirs is lost, and the switch's memory is bounded. (How much they
//! feel of it: `cargo xtask soak --mix`.)

use std::time::Duration;
use strait_tests::mix::run;

/// The budgets of all worlds there, twice: what frees memory may keep it for a while.
const BOUND_KIB: u64 = 10 * 256 * 2 + 8192;

#[test]
fn the_honest_lose_nothing_among_the_misbehaving() {
    // A round trip that went wrong, or a number that the sink missed, would have ended a world that is asked at the end.
    let outcome = run(Duration::from_secs(3), 1).unwrap();
    println!("{outcome:?}");
    for measured in [outcome.alone, outcome.burdened, outcome.disturbed] {
        assert!(measured.trips > 10, "{measured:?}");
    }
    assert!(outcome.quarantined > 0 && outcome.flooded > 0, "{outcome:?}");
    let grown = outcome.switch.most.own_kib - outcome.switch.start.own_kib;
    assert!(grown < BOUND_KIB, "the switch has grown by {grown} KiB");
}
