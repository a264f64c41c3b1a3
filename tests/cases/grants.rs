//! What worlds ask for beyond their policy: who decides, when it takes effect, and that it ends at once.

use std::thread::sleep;
use std::time::{Duration, Instant};
use strait_broker::{Error, Role, World, WorldId};
use strait_tests::{Stage, actor};

fn obedient(ask: &[&str]) -> World {
    let mut world = actor(&["obedient"], &[]);
    world.ask = ask.iter().map(ToString::to_string).collect();
    world
}

fn judge() -> World {
    let mut world = actor(&["judge"], &[]);
    world.role = Some(Role::Control);
    world
}

/// What a test says to obedient worlds.
trait Orders {
    /// Tells an obedient world something and returns what came of it.
    fn tell(&mut self, world: WorldId, order: &str) -> String;
    /// Tells it without waiting for the answer.
    fn begin(&mut self, world: WorldId, order: &str) -> u64;
    /// What came of it.
    fn end(&mut self, correlation: u64) -> String;
    /// The number of the only question that waits.
    fn question(&mut self) -> u64;
}

impl Orders for Stage {
    fn tell(&mut self, world: WorldId, order: &str) -> String {
        String::from_utf8(self.ask(world, order.as_bytes())).unwrap()
    }

    fn begin(&mut self, world: WorldId, order: &str) -> u64 {
        self.client().start_request(world, order.as_bytes(), Duration::from_secs(20)).unwrap()
    }

    fn end(&mut self, correlation: u64) -> String {
        let (header, payload) = self.receive();
        assert_eq!(header.correlation, correlation);
        String::from_utf8(payload).unwrap()
    }

    fn question(&mut self) -> u64 {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match &self.client().requests().unwrap()[..] {
                [only] => return only.number,
                [] if Instant::now() < end => sleep(Duration::from_millis(5)),
                others => panic!("{others:?}"),
            }
        }
    }
}

#[test]
fn a_world_asks_only_for_what_it_may() {
    let mut stage = Stage::new();
    let world = stage.host.spawn("asker", &obedient(&["send echo", "network *.example.com:443"])).unwrap();
    let refusal = stage.tell(world, "ask send other");
    assert_eq!(refusal, "policy doesn't let you: it takes `ask = [\"send other\"]`");
    assert!(stage.tell(world, "ask network example.com:443").starts_with("policy doesn't let you"));
    assert!(stage.tell(world, "ask network 169.254.169.254:80").contains("nobody may connect there"));
    assert!(stage.tell(world, "ask gold").starts_with("`gold` can't be asked for: there are `send NAME`"));
    assert_eq!(stage.tell(world, "ask memory 1G"), "policy doesn't let you: it takes `ask = [\"memory 1 GiB\"]`");
    let why = stage.tell(world, "send echo");
    assert_eq!(why, "policy doesn't let you: it takes `send = [\"echo\"]`, which you may ask for");
    assert!(stage.client().requests().unwrap().is_empty());
}

#[test]
fn a_person_grants_and_revokes_or_nobody_does() {
    let mut stage = Stage::new();
    stage.add("echo", &["echo"], &[]);
    let world = stage.host.spawn("asker", &obedient(&["send echo"])).unwrap();
    assert_eq!(stage.tell(world, "ask send echo"), "denied: nobody decided by the deadline");
    let asked = stage.begin(world, "ask send echo because of a test");
    let number = stage.question();
    let question = stage.client().requests().unwrap().remove(0);
    assert_eq!((&*question.name, &*question.resource, &*question.reason), ("asker", "send echo", "of a test"));
    assert!(question.id == world.0 && question.left_ms <= 2000);
    stage.client().deny(number, "not today").unwrap();
    assert_eq!(stage.end(asked), "denied: not today");
    let asked = stage.begin(world, "ask send echo");
    let number = stage.question();
    let granted = stage.client().grant(number, None).unwrap();
    assert_eq!((granted.number, granted.id, granted.left_ms), (number, world.0, None));
    assert_eq!(stage.end(asked), format!("granted {number} by host"));
    assert_eq!(stage.tell(world, "send echo"), "it answered");
    assert_eq!(stage.tell(world, "ask send echo"), format!("granted {number} by host"), "the same one");
    assert_eq!(stage.client().grants().unwrap().len(), 1);
    let (allowed, why) = stage.client().judge("asker", "echo").unwrap();
    assert!(allowed && why == format!("`asker` may: grant {number}: send echo"), "{why}");
    stage.client().revoke(number).unwrap();
    assert!(stage.tell(world, "send echo").ends_with("policy doesn't allow sending to it"));
    assert!(matches!(stage.client().revoke(number), Err(Error::Refused(why)) if why.starts_with("there is no grant")));
    assert!(matches!(stage.client().deny(number, ""), Err(Error::Refused(why)) if why.starts_with("no request")));
}

#[test]
fn a_grant_expires() {
    let mut stage = Stage::new();
    stage.add("echo", &["echo"], &[]);
    let world = stage.host.spawn("asker", &obedient(&["send echo"])).unwrap();
    let asked = stage.begin(world, "ask send echo");
    let number = stage.question();
    let granted = stage.client().grant(number, Some(Duration::from_millis(300))).unwrap();
    assert!(granted.left_ms.is_some_and(|left| left <= 300));
    stage.end(asked);
    assert_eq!(stage.tell(world, "send echo"), "it answered");
    sleep(Duration::from_millis(400));
    assert!(stage.tell(world, "send echo").ends_with("policy doesn't allow sending to it"));
    assert!(stage.client().grants().unwrap().is_empty());
}

#[test]
fn the_control_world_decides_and_commands() {
    let mut stage = Stage::new();
    stage.add("echo", &["echo"], &[]);
    let judge_id = stage.host.spawn("judge", &judge()).unwrap();
    let world = stage.host.spawn("asker", &obedient(&["send echo", "stop victim", "start x"])).unwrap();
    let second = stage.host.spawn("usurper", &judge()).unwrap_err();
    assert_eq!(second.to_string(), "`judge` has the role `control` already: stop it first");
    assert!(stage.tell(world, "ask send echo").ends_with(" by judge"));
    assert_eq!(stage.tell(world, "send echo"), "it answered");
    assert_eq!(stage.tell(world, "ask start x because never"), "denied: asker may not");
    // A command under a grant, and without one.
    stage.add("victim", &["echo"], &[]);
    assert!(stage.tell(world, "stop victim").contains("which you may ask for"));
    assert!(stage.tell(world, "ask stop victim because shortly").ends_with(" by judge"));
    assert_eq!(stage.tell(world, "stop victim"), "Some(0)");
    sleep(Duration::from_millis(300));
    assert!(stage.tell(world, "stop victim").contains("which you may ask for"));
    // The control world may command anything, unasked.
    stage.add("other", &["echo"], &[]);
    assert_eq!(stage.tell(judge_id, "stop other"), "Some(0)");
}

#[test]
fn what_the_control_world_leaves_waits_for_a_person() {
    let mut stage = Stage::new();
    stage.add("echo", &["echo"], &[]);
    let world = stage.host.spawn("asker", &obedient(&["send echo"])).unwrap();
    for reason in ["leave", "die", "silence"] {
        let id = stage.host.spawn("judge", &judge()).unwrap();
        let asked = stage.begin(world, &format!("ask send echo because {reason}"));
        let number = stage.question();
        if reason == "die" {
            assert_eq!(stage.client().wait(id, None).unwrap().code, Some(1));
        }
        stage.client().grant(number, None).unwrap();
        assert!(stage.end(asked).ends_with(" by host"), "{reason}");
        stage.client().revoke(number).unwrap();
        if reason != "die" {
            stage.client().stop("judge", Duration::from_secs(5), "next").unwrap();
        }
    }
    // One that comes later gets what waits.
    let asked = stage.begin(world, "ask send echo");
    stage.question();
    stage.host.spawn("judge", &judge()).unwrap();
    assert!(stage.end(asked).ends_with(" by judge"));
}

#[test]
fn questions_and_grants_end_with_their_world() {
    let mut stage = Stage::new();
    stage.add("echo", &["echo"], &[]);
    let world = stage.host.spawn("asker", &obedient(&["send echo", "stop echo"])).unwrap();
    let asked = stage.begin(world, "ask send echo");
    let number = stage.question();
    stage.client().grant(number, None).unwrap();
    stage.end(asked);
    stage.begin(world, "ask stop echo");
    stage.question();
    stage.client().stop("asker", Duration::ZERO, "enough").unwrap();
    assert!(stage.client().requests().unwrap().is_empty() && stage.client().grants().unwrap().is_empty());
    let again = stage.host.spawn("asker", &obedient(&["send echo"])).unwrap();
    assert!(stage.tell(again, "send echo").starts_with("policy doesn't let you"), "a name inherits nothing");
}

/// Three worlds send as fast as they can under grants of their own. From the moment that `revoke` returns, the switch delivers nothing of
/// theirs any more.
#[test]
fn nothing_goes_through_after_revoke_returns() {
    let mut stage = Stage::new();
    let sink = stage.add("sink", &["sink"], &["host"]);
    for round in 0..10 {
        let senders: Vec<_> = (0..3)
            .map(|n| {
                let mut world = actor(&["insister", "sink"], &[]);
                world.ask = vec!["send sink".into()];
                stage.host.spawn(&format!("sender-{round}-{n}"), &world).unwrap()
            })
            .collect();
        let grants: Vec<u64> = senders
            .iter()
            .map(|sender| {
                let asked = stage.begin(*sender, "ask send sink");
                let number = stage.question();
                stage.client().grant(number, None).unwrap();
                stage.end(asked);
                number
            })
            .collect();
        let before = stage.row(sink).counters.received;
        while stage.row(sink).counters.received < before + 1000 {
            sleep(Duration::from_millis(1));
        }
        for grant in grants {
            stage.client().revoke(grant).unwrap();
        }
        let after = stage.row(sink).counters;
        sleep(Duration::from_millis(50));
        let later = stage.row(sink).counters;
        assert_eq!((after.received, after.held_records), (later.received, 0), "round {round}");
        // They still try: that is what is refused.
        let end = Instant::now() + Duration::from_secs(60);
        while stage.row(senders[0]).counters.denied == 0 {
            assert!(Instant::now() < end, "round {round}");
            sleep(Duration::from_millis(1));
        }
        for sender in senders {
            let name = stage.row(sender).name;
            stage.client().stop(&name, Duration::from_secs(5), "next round").unwrap();
        }
    }
}

/// The same of direct links, which the switch has no part in.
#[test]
fn no_link_is_left_after_revoke_returns() {
    let mut stage = Stage::new();
    let mut counter = actor(&["sink"], &[]);
    counter.link = vec!["linker".into()];
    let peer = stage.host.spawn("peer", &counter).unwrap();
    let mut linker = actor(&["asking-linker", "peer"], &[]);
    linker.ask = vec!["link peer".into()];
    for _ in 0..3 {
        let id = stage.host.spawn("linker", &linker).unwrap();
        let number = stage.question();
        stage.client().grant(number, None).unwrap();
        while stage.row(id).counters.linked_bytes < 1 << 20 {
            sleep(Duration::from_millis(1));
        }
        stage.client().revoke(number).unwrap();
        assert_eq!(stage.row(peer).counters.links, 0);
        let bytes = stage.row(id).counters.linked_bytes;
        sleep(Duration::from_millis(50));
        assert_eq!(stage.row(id).counters.linked_bytes, bytes);
        assert_eq!(stage.row(id).counters.links, 0);
        stage.client().stop("linker", Duration::ZERO, "again").unwrap();
    }
}

#[test]
fn memory_is_granted_and_taken_back() {
    let mut stage = Stage::new();
    let mut world = obedient(&["memory 256 MiB", "cpu 1"]);
    world.limits.memory = Some(64 << 20);
    let Ok(id) = stage.host.spawn("hungry", &world) else {
        println!("skipped: this machine doesn't limit memory");
        return;
    };
    assert_eq!(stage.tell(id, "ask memory 32M"), "granted 0 by limits.memory = \"64 MiB\"");
    assert_eq!(stage.tell(id, "ask cpu 1"), "granted 0 by no limit on its processor time");
    let asked = stage.begin(id, "ask memory 256M");
    let number = stage.question();
    stage.client().grant(number, None).unwrap();
    stage.end(asked);
    assert_eq!(stage.tell(id, "touch 134217728"), "touched 134217728");
    stage.client().revoke(number).unwrap();
    assert!(stage.row(id).state == "ready", "it gave the memory back in time");
    // Without a grant the same is too much.
    stage.begin(id, "touch 134217728");
    let ended = stage.client().wait(id, Some(Duration::from_secs(20))).unwrap();
    assert!(ended.note.contains("memory"), "{ended:?}");
}

#[test]
fn processor_time_is_granted_and_taken_back() {
    let mut stage = Stage::new();
    let mut world = obedient(&["cpu 2"]);
    world.limits.cpu = Some(250);
    let Ok(id) = stage.host.spawn("slow", &world) else {
        println!("skipped: this machine doesn't limit processor time");
        return;
    };
    assert_eq!(stage.tell(id, "ask cpu 0.1"), "granted 0 by limits.cpu = 0.25");
    assert_eq!(stage.tell(id, "ask cpu 3"), "policy doesn't let you: it takes `ask = [\"cpu 3\"]`");
    let quota = |stage: &mut Stage| {
        let report: serde_json::Value = serde_json::from_str(&stage.client().inspect("slow").unwrap()).unwrap();
        let in_force = report.to_string();
        ["25000", "150000"].into_iter().find(|quota| in_force.contains(&format!("\"{quota}"))).map(str::to_owned)
    };
    assert_eq!(quota(&mut stage).as_deref(), Some("25000"));
    let asked = stage.begin(id, "ask cpu 1.5");
    let number = stage.question();
    stage.client().grant(number, None).unwrap();
    stage.end(asked);
    assert_eq!(quota(&mut stage).as_deref(), Some("150000"));
    stage.client().revoke(number).unwrap();
    assert_eq!(quota(&mut stage).as_deref(), Some("25000"));
}
