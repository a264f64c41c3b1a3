//! A world that takes all it can of memory, processes, disk, files, processors and starts (rows 51 to 54 and 60 of the list of escapes): its
//! neighbours go on, have everything that it takes, and lose nothing; and others start as before. (How much they feel of it:
//! `cargo xtask soak --bombs`.)

use std::time::Duration;
use strait_tests::bombs::{Bombs, KINDS, Pair};

const WHILE: Duration = Duration::from_millis(700);

#[test]
fn a_bomb_of_any_kind_harms_its_own_world_alone() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root has control groups on every machine");
        return;
    }
    let mut pair = Pair::new();
    let neighbour = pair.stage.add("neighbour", &["neighbour"], &[]);
    let unharmed = pair.stage.row(neighbour);
    for kind in KINDS {
        let mut bombs = Bombs::of(kind);
        bombs.keep_going(&mut pair.stage, WHILE).unwrap();
        assert_eq!(pair.stage.ask(neighbour, b"well?"), b"", "{kind}: what the neighbour lacks");
        bombs.keep_going(&mut pair.stage, WHILE).unwrap();
        // A round trip that went wrong would have ended the timer, and asking it would fail.
        assert!(pair.figures().unwrap().trips > 10, "{kind}");
        let name = format!("newcomer-{kind}");
        let newcomer = pair.stage.add(&name, &["echo"], &[]);
        assert_eq!(pair.stage.ask(newcomer, b"well?"), b"well?", "{kind}");
        bombs.end(&mut pair.stage).unwrap();
        pair.stage.client().stop(&name, Duration::from_secs(10), "").unwrap();
    }
    assert_eq!(pair.stage.row(neighbour).pid, unharmed.pid, "it is the process that it was");
}
