//! Ten seconds of the soak (`cargo xtask soak` goes on for longer): 50 worlds, every kind of message, pauses, deaths.

use std::time::Duration;
use strait_tests::soak::{Plan, run};

#[test]
fn everything_sent_is_received_once_in_order_or_told_of() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let plan = Plan { time: Duration::from_secs(10), worlds: 50, seed };
    let outcome = run(&plan, |_| true).unwrap();
    println!("seed {seed}: {:?}", outcome.progress);
    let complaints = outcome.complaints();
    assert!(complaints.is_empty(), "seed {seed}: {}", complaints.join("\n"));
    let tally = outcome.progress.tally;
    assert!(tally.received > 1000 && tally.replied > 10 && outcome.progress.deaths > 0, "{tally:?}");
}
