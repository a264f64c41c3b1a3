//! Topics between real worlds: who gets what, who may, what a slow one costs, and who is there.

use std::time::{Duration, Instant};
use strait_broker::{Error, SubscribeOptions, WorldId};
use strait_tests::{LONG, Stage, actor, kill_payload};

/// A world that publishes and subscribes as it is told, and may do so as this says.
fn party(stage: &mut Stage, name: &str, publish: &[&str], subscribe: &[&str]) -> WorldId {
    let mut world = actor(&["party"], &[]);
    world.publish = publish.iter().map(ToString::to_string).collect();
    world.subscribe = subscribe.iter().map(ToString::to_string).collect();
    stage.host.spawn(name, &world).expect("a world")
}

fn order(stage: &mut Stage, world: WorldId, order: &str) -> Result<String, String> {
    let reply = stage.client().request(world, order.as_bytes(), LONG).expect("an answer");
    let said = String::from_utf8(reply.payload).unwrap();
    if reply.header.code == 0 { Ok(said) } else { Err(said) }
}

/// Waits until a world has heard this.
fn hears(stage: &mut Stage, world: WorldId, expected: &str) {
    let end = Instant::now() + LONG;
    loop {
        let heard = order(stage, world, "heard").unwrap();
        if heard == expected {
            return;
        }
        assert!(Instant::now() < end, "{heard:?} is not {expected:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_subscribes_gets_what_is_published() {
    let mut stage = Stage::new();
    let sensor = party(&mut stage, "sensor", &["sensors.>"], &["sensors.>"]);
    let display = party(&mut stage, "display", &[], &["sensors.>"]);
    let odd = party(&mut stage, "odd", &[], &["sensors.*.temp"]);
    // Before the topics are there, and after.
    order(&mut stage, display, "subscribe sensors.*.temp").unwrap();
    order(&mut stage, sensor, "subscribe sensors.>").unwrap();
    order(&mut stage, sensor, "publish sensors.kitchen.temp 10").unwrap();
    let filtered = order(&mut stage, odd, "odd sensors.*.temp").unwrap();
    order(&mut stage, sensor, "publish sensors.kitchen.temp 10").unwrap();
    order(&mut stage, sensor, "publish sensors.hall.temp 3").unwrap();
    order(&mut stage, sensor, "publish sensors.hall.humidity 3").unwrap();
    hears(&mut stage, display, "sensors.hall.temp 3 0 2\nsensors.kitchen.temp 20 0 9");
    hears(&mut stage, odd, "sensors.hall.temp 1 0 1\nsensors.kitchen.temp 5 0 9");
    // Nobody hears itself, nor what it has ended.
    hears(&mut stage, sensor, "");
    order(&mut stage, odd, &format!("end {filtered}")).unwrap();
    order(&mut stage, sensor, "publish sensors.hall.temp 8").unwrap();
    hears(&mut stage, display, "sensors.hall.temp 11 0 7\nsensors.kitchen.temp 20 0 9");
    hears(&mut stage, odd, "sensors.hall.temp 1 0 1\nsensors.kitchen.temp 5 0 9");
    assert!(order(&mut stage, sensor, "retain-large sensors.hall.temp").unwrap_err().contains("1048576"));
}

#[test]
fn what_is_long_comes_whole_to_each_and_the_newest_to_who_is_slow() {
    let mut stage = Stage::new();
    let camera = party(&mut stage, "camera", &["frames.>"], &[]);
    let [screen, recorder, sleeper] =
        ["screen", "recorder", "sleeper"].map(|name| party(&mut stage, name, &[], &["frames.>"]));
    order(&mut stage, screen, "subscribe frames.*").unwrap();
    order(&mut stage, recorder, "subscribe frames.*").unwrap();
    // More than the switch hands over ahead, to one that doesn't take up anything for now: it is waited for, and gets all.
    let sleeping = stage.client().start_request(recorder, b"sleep 500", LONG).unwrap();
    order(&mut stage, camera, "large frames.a 200000 20").unwrap();
    assert_eq!(stage.receive().0.correlation, sleeping);
    hears(&mut stage, screen, "frames.a 20 0 200000 bytes, true");
    hears(&mut stage, recorder, "frames.a 20 0 200000 bytes, true");
    // Of 64 MiB that it may hold one sender gets half: what one that sleeps can't hold it misses, and the others get all the same.
    order(&mut stage, sleeper, "newest frames.b").unwrap();
    let sleeping = stage.client().start_request(sleeper, b"sleep 500", LONG).unwrap();
    for n in 0..12 {
        order(&mut stage, camera, "large frames.b 4000000 1").unwrap();
        hears(
            &mut stage,
            screen,
            &format!("frames.a 20 0 200000 bytes, true\nframes.b {} 0 4000000 bytes, true", n + 1),
        );
    }
    assert_eq!(stage.receive().0.correlation, sleeping);
    order(&mut stage, camera, "publish frames.b 1").unwrap();
    let end = Instant::now() + LONG;
    let heard = loop {
        let heard = order(&mut stage, sleeper, "heard").unwrap();
        if heard.ends_with(" 0") {
            break heard;
        }
        assert!(Instant::now() < end, "{heard}");
    };
    let numbers: Vec<u64> = heard.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers[0] + numbers[1], 13, "{heard}");
}

#[test]
fn policy_has_both_sides() {
    let mut stage = Stage::new();
    let one = party(&mut stage, "one", &["a.*"], &["b.>"]);
    for (what, line) in [
        ("publish b.c 1", "publish = [\"b.c\"]"),
        ("publish a.b.c 1", "publish = [\"a.b.c\"]"),
        ("subscribe a.*", "subscribe = [\"a.*\"]"),
        ("subscribe >", "subscribe = [\">\"]"),
        ("subscribe strait.worlds.>", "subscribe = [\"strait.worlds.>\"]"),
        ("publish strait.worlds.ended.one 1", "belong to the system"),
    ] {
        let why = order(&mut stage, one, what).unwrap_err();
        assert!(why.contains(line), "{what}: {why}");
    }
    order(&mut stage, one, "publish a.b 1").unwrap();
    order(&mut stage, one, "subscribe b.*.c").unwrap();
    let host = stage.client();
    // The id of a topic is no way round policy: the host knows one that it hasn't opened.
    let theirs = host.subscribe("a.b", &SubscribeOptions::default()).map(|_| WorldId::topic(1)).unwrap();
    host.send(theirs, b"forged").unwrap();
    let record = host.receive(Some(LONG)).unwrap().unwrap();
    assert_eq!(record.notice(), Some(strait_broker::Reason::Refused));
    assert!(matches!(host.topic_name(WorldId::topic(99)), Err(Error::Refused(_))));
}

#[test]
fn a_slow_subscriber_holds_up_its_topic_or_misses_values_and_knows() {
    let mut stage = Stage::new();
    let source = party(&mut stage, "source", &["fast.>"], &[]);
    let newest = party(&mut stage, "newest", &[], &["fast.>"]);
    let lossless = party(&mut stage, "lossless", &[], &["fast.b"]);
    order(&mut stage, newest, "newest fast.a").unwrap();
    // It doesn't read while it sleeps, and holds nobody up.
    let sleeping = stage.client().start_request(newest, b"sleep 3000", LONG).unwrap();
    let began = Instant::now();
    order(&mut stage, source, "publish fast.a 20000").unwrap();
    assert!(began.elapsed() < Duration::from_millis(2900), "{:?}", began.elapsed());
    assert_eq!(stage.receive().0.correlation, sleeping);
    let end = Instant::now() + LONG;
    let heard = loop {
        let heard = order(&mut stage, newest, "heard").unwrap();
        // The last value is there at the end, whatever was missed.
        if heard.ends_with(" 19999") {
            break heard;
        }
        assert!(Instant::now() < end, "{heard}");
    };
    let numbers: Vec<u64> = heard.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers[0] + numbers[1], 20000, "{heard}");
    assert!(numbers[1] > 0, "nothing was missed: {heard}");
    // A lossless one is waited for, and gets all.
    order(&mut stage, lossless, "subscribe fast.b").unwrap();
    let sleeping = stage.client().start_request(lossless, b"sleep 1000", LONG).unwrap();
    let publishing = stage.client().start_request(source, b"publish fast.b 20000", LONG).unwrap();
    assert_eq!([stage.receive().0.correlation, stage.receive().0.correlation], [sleeping, publishing]);
    hears(&mut stage, lossless, "fast.b 20000 0 19999");
}

#[test]
fn a_topics_last_value_waits_for_who_comes_later() {
    let mut stage = Stage::new();
    let source = party(&mut stage, "source", &[">"], &[]);
    order(&mut stage, source, "retain state.a first").unwrap();
    order(&mut stage, source, "retain state.a second").unwrap();
    order(&mut stage, source, "retain state.b gone").unwrap();
    order(&mut stage, source, "retain state.b").unwrap();
    let late = party(&mut stage, "late", &[], &[">"]);
    order(&mut stage, late, "retained state.*").unwrap();
    hears(&mut stage, late, "state.a 1 0 second");
    let indifferent = party(&mut stage, "indifferent", &[], &[">"]);
    order(&mut stage, indifferent, "subscribe state.*").unwrap();
    // What is kept is bounded: 64 KiB of a budget of 256.
    let text = "x".repeat(30_000);
    order(&mut stage, source, &format!("retain state.c {text}")).unwrap();
    order(&mut stage, source, &format!("retain state.d {text}")).unwrap();
    order(&mut stage, source, &format!("retain state.e {text}")).unwrap();
    hears(&mut stage, source, "Quota");
    hears(&mut stage, indifferent, &format!("state.c 1 0 {text}\nstate.d 1 0 {text}"));
    // It ends with its publisher.
    kill_payload(stage.pid(source));
    stage.client().wait(source, Some(LONG)).unwrap();
    let latest = party(&mut stage, "latest", &[], &[">"]);
    order(&mut stage, latest, "retained state.*").unwrap();
    hears(&mut stage, latest, "");
}

#[test]
fn presence_is_a_topic() {
    let mut stage = Stage::new();
    let client = stage.client();
    client.subscribe("strait.worlds.*.a:b", &SubscribeOptions::default()).unwrap();
    let world = party(&mut stage, "a.b", &[], &[]);
    party(&mut stage, "other", &[], &[]);
    let mut said = Vec::new();
    while said.len() < 2 {
        said.push(presence(&mut stage));
    }
    kill_payload(stage.pid(world));
    said.push(presence(&mut stage));
    let topics: Vec<_> = said.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["strait.worlds.started.a:b", "strait.worlds.ready.a:b", "strait.worlds.ended.a:b"]);
    for (_, event) in &said {
        assert_eq!((event["id"].as_u64(), event["name"].as_str()), (Some(world.0), Some("a.b")), "{event}");
    }
    assert_eq!((said[2].1["signal"].as_i64(), said[2].1["code"].as_i64()), (Some(9), None), "{:?}", said[2]);
}

fn presence(stage: &mut Stage) -> (String, serde_json::Value) {
    let client = stage.client();
    let record = client.receive(Some(LONG)).unwrap().unwrap();
    let published = record.published().expect("a message by a topic");
    assert_eq!((record.header().source, published.missed), (WorldId::CONTROL, 0));
    let said = serde_json::from_slice(record.payload()).unwrap();
    (client.topic_name(published.topic).unwrap().to_string(), said)
}

/// Has a world ask for topics and grants it: the grant's number.
fn grant(stage: &mut Stage, world: WorldId, resource: &str) -> u64 {
    let asked = stage.client().start_request(world, format!("ask {resource}").as_bytes(), LONG).unwrap();
    let end = Instant::now() + LONG;
    let number = loop {
        if let [only] = &stage.client().requests().unwrap()[..] {
            break only.number;
        }
        assert!(Instant::now() < end, "it doesn't ask");
        std::thread::sleep(Duration::from_millis(5));
    };
    stage.client().grant(number, None).unwrap();
    // Answers to what was asked before may come first.
    while stage.receive().0.correlation != asked {}
    number
}

#[test]
fn topics_are_granted_and_revoked_at_once() {
    let mut stage = Stage::new();
    let asking = |stage: &mut Stage, name: &str, ask: &[&str]| {
        let mut world = actor(&["party"], &[]);
        world.ask = ask.iter().map(ToString::to_string).collect();
        world.subscribe = vec!["own.>".into()];
        stage.host.spawn(name, &world).expect("a world")
    };
    let sensor = asking(&mut stage, "sensor", &["publish sensors.>"]);
    let display = asking(&mut stage, "display", &["subscribe sensors.>"]);
    let refused = order(&mut stage, sensor, "publish sensors.a 1").unwrap_err();
    assert!(refused.ends_with("it takes `publish = [\"sensors.a\"]`, which you may ask for"), "{refused}");
    let refused = order(&mut stage, sensor, "ask publish other.>").unwrap_err();
    assert!(refused.ends_with("it takes `ask = [\"publish other.>\"]`"), "{refused}");
    let refused = order(&mut stage, sensor, "ask publish strait.>").unwrap_err();
    assert!(refused.contains("belong to the system"), "{refused}");
    order(&mut stage, display, "subscribe sensors.*").unwrap_err();
    let may_publish = grant(&mut stage, sensor, "publish sensors.*");
    let may_hear = grant(&mut stage, display, "subscribe sensors.a");
    for (who, what, is_allowed) in [
        ("sensor", "publish sensors.a", true),
        ("sensor", "publish sensors.a.b", false),
        ("display", "subscribe sensors.a", true),
        ("display", "subscribe sensors.*", false),
    ] {
        assert_eq!(stage.client().judge(who, what).unwrap().0, is_allowed, "{who} {what}");
    }
    order(&mut stage, display, "subscribe sensors.*").unwrap_err();
    order(&mut stage, display, "subscribe sensors.a").unwrap();
    order(&mut stage, display, "subscribe own.thing").unwrap();
    order(&mut stage, sensor, "publish sensors.a 3").unwrap();
    hears(&mut stage, display, "sensors.a 3 0 2");
    // Revoked: a topic that is open is closed, and what is published there comes back.
    stage.client().revoke(may_publish).unwrap();
    order(&mut stage, sensor, "publish sensors.a 1").unwrap();
    hears(&mut stage, sensor, "Refused");
    order(&mut stage, sensor, "publish sensors.a 1").unwrap_err();
    hears(&mut stage, display, "sensors.a 3 0 2");
    // Granted again, it goes on.
    grant(&mut stage, sensor, "publish sensors.a");
    order(&mut stage, sensor, "publish sensors.a 6").unwrap();
    hears(&mut stage, display, "sensors.a 9 0 5");
    // And a subscription ends, but no other.
    stage.client().revoke(may_hear).unwrap();
    order(&mut stage, sensor, "publish sensors.a 7").unwrap();
    let (client, topic) = (stage.client(), "own.thing");
    let topic = client.topic(topic).unwrap();
    client.send(topic, b"7").unwrap();
    hears(&mut stage, display, "own.thing 1 0 7\nsensors.a 9 0 5");
}

/// Publishers that go on as fast as they can, to a subscriber without room: from the moment that `revoke` returns it gets nothing more of theirs.
#[test]
fn nothing_is_published_after_revoke_returns() {
    let mut stage = Stage::new();
    let slow = party(&mut stage, "slow", &[], &["sensors.>"]);
    let other = party(&mut stage, "other", &["sensors.other"], &[]);
    order(&mut stage, slow, "subscribe sensors.>").unwrap();
    // So that it knows the topic's name, and asks for nothing in between.
    stage.client().publish("sensors.a", b"0").unwrap();
    hears(&mut stage, slow, "sensors.a 1 0 0");
    for round in 0..5 {
        let mut world = actor(&["party"], &[]);
        world.ask = vec!["publish sensors.>".into()];
        let sensor = stage.host.spawn(&format!("sensor-{round}"), &world).unwrap();
        let number = grant(&mut stage, sensor, "publish sensors.>");
        // It reads nothing while the publisher fills its inbox, and what the switch holds. More than can be published until the sensor is killed: it
        // has to wait, even if the slow one wakes before it has begun.
        stage.client().start_request(slow, b"sleep 700", LONG).unwrap();
        stage.client().start_request(sensor, format!("publish sensors.a {}", u64::MAX).as_bytes(), LONG).unwrap();
        let end = Instant::now() + LONG;
        while stage.row(sensor).counters.waits_for().is_none() {
            assert!(Instant::now() < end, "it doesn't wait for the slow one");
            std::thread::sleep(Duration::from_millis(1));
        }
        stage.client().revoke(number).unwrap();
        assert_eq!(stage.row(slow).counters.held_records, 0, "round {round}");
        let (name, received) = (stage.row(sensor).name, stage.row(slow).counters.received);
        // The slow one wakes, reads what it has, and there is room again: nothing comes.
        let end = Instant::now() + LONG;
        while stage.row(slow).counters.unread_bytes > 0 {
            assert!(Instant::now() < end, "it doesn't read");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(stage.row(slow).counters.received, received, "round {round}");
        stage.client().kill(&name, "next round").unwrap();
        // Whoever else publishes there goes on.
        order(&mut stage, other, "publish sensors.other 1").unwrap();
        let end = Instant::now() + LONG;
        while !order(&mut stage, slow, "heard").unwrap().contains(&format!("sensors.other {} ", round + 1)) {
            assert!(Instant::now() < end, "the other isn't heard");
        }
    }
}
