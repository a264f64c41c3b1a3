//! A world that takes all it can of memory, processes, disk, files and processors: its neighbours lose nothing, and others start as before. (How much
//! they feel of it: `cargo xtask soak --bombs`.)

use std::time::Duration;
use strait_tests::bombs::{KINDS, Pair};

#[test]
fn a_bomb_of_any_kind_harms_its_own_world_alone() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root has control groups on every machine");
        return;
    }
    let mut pair = Pair::new();
    for kind in KINDS {
        // A round trip that went wrong would have ended the timer, and asking it would fail.
        let felt = pair.beside(kind, Duration::from_millis(700)).unwrap();
        assert!(felt.first.trips + felt.then.trips > 10, "{kind}: {felt:?}");
        let name = format!("newcomer-{kind}");
        let newcomer = pair.stage.add(&name, &["echo"], &[]);
        assert_eq!(pair.stage.ask(newcomer, b"well?"), b"well?", "{kind}");
        pair.stage.client().stop(&name, Duration::from_secs(10), "").unwrap();
    }
}
