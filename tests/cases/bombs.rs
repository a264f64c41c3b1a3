//! A world that takes all it can of memory, processes, disk, files, processors and starts (rows 51 to 54 and 60 of the list of escapes): its
//! neighbours go on, have everything that it takes, and lose nothing; and others start as before. (How much they feel of it:
//! `cargo xtask soak --bombs`.)

use std::time::Duration;
use strait_broker::WorldId;
use strait_tests::bombs::{Bombs, KINDS, Pair};
use strait_tests::{Stage, payload_of};

const WHILE: Duration = Duration::from_millis(700);
/// Longer than it takes to see who burns: two seconds until the kernel tells of pressure, and two looks.
const UNTIL_SEEN: Duration = Duration::from_secs(4);

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

#[test]
fn who_talks_stays_in_one_group_of_the_scheduler_and_who_burns_leaves_it() {
    let mut pair = Pair::new();
    let worlds = ["echo", "timer"].map(|name| pair.stage.client().resolve(name).unwrap());
    let Some(turns) = scheduling_group(&mut pair.stage, worlds[0]).filter(|group| group.ends_with("/turns")) else {
        println!(
            "skipped: only root, with version 1's cpu controller, has groups of the scheduler to move anybody between"
        );
        return;
    };
    // One of the three that take turns here has a processor to itself, where there are several.
    pair.alone(UNTIL_SEEN).unwrap();
    assert_eq!(worlds.map(|world| scheduling_group(&mut pair.stage, world)), [(); 2].map(|()| Some(turns.clone())));
    let mut bombs = Bombs::of("burn");
    bombs.keep_going(&mut pair.stage, UNTIL_SEEN).unwrap();
    let bomb = pair.stage.client().resolve("bomb-burn-1").unwrap();
    assert_ne!(scheduling_group(&mut pair.stage, bomb), Some(turns.clone()));
    assert_eq!(worlds.map(|world| scheduling_group(&mut pair.stage, world)), [(); 2].map(|()| Some(turns.clone())));
    bombs.end(&mut pair.stage).unwrap();
}

/// That of a world's program, by the hierarchy of version 1 that has the cpu controller.
fn scheduling_group(stage: &mut Stage, world: WorldId) -> Option<String> {
    let payload = payload_of(stage.pid(world))?;
    let text = std::fs::read_to_string(format!("/proc/{payload}/cgroup")).ok()?;
    text.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|controller| controller == "cpu").then(|| group.to_owned())
    })
}
