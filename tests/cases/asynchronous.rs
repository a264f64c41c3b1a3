//! The client on tokio, over a real broker.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use strait_broker::{AttachRule, Client, Config, Kind, Reason, SubscribeOptions, World, WorldId};
use strait_client::{AsyncClient, Error};
use strait_tests::{LONG, Stage, actor, kill_payload, pattern};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

const MIB: usize = 1 << 20;

/// A broker, a host program attached to it as `guest`, and the directory of its socket.
struct Scene {
    stage: Stage,
    client: AsyncClient,
    runtime: Runtime,
    dir: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("strait-async-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let socket = dir.join("socket");
        let uid = rustix::process::geteuid().as_raw();
        let rule = AttachRule {
            name: "guest".into(),
            uid,
            send: vec!["*".into()],
            link: Vec::new(),
            may: Vec::new(),
            ask: Vec::new(),
            publish: vec!["lamp.*".into()],
            subscribe: vec!["room.>".into()],
        };
        let state = Some(dir.join("state"));
        let config = Config { socket: Some(socket.clone()), attach: vec![rule], state, ..Config::default() };
        let stage = Stage::with(&config);
        let client = Client::attach(&socket, "guest").unwrap();
        // One thread for all tasks: whoever blocks it stops everything.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async { client.into_async() }).unwrap();
        Self { stage, client, runtime, dir }
    }

    fn add(&mut self, name: &str, role: &[&str]) -> WorldId {
        self.stage.add(name, role, &["*"])
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(LONG, work).await.expect("in time") })
    }

    fn kill(&mut self, world: WorldId) {
        let pid = self.stage.pid(world);
        kill_payload(pid);
        self.stage.client().wait(world, Some(LONG)).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn many_requests_of_many_tasks_get_their_own_answers() {
    let mut scene = Scene::new("requests");
    let echo = scene.add("echo", &["echo"]);
    scene.run(async {
        let ask = |task: usize, client: AsyncClient| async move {
            for n in 0..20 {
                let mut question = pattern(if n == 10 && task.is_multiple_of(20) { 300_000 } else { task * 7 + n });
                question.extend_from_slice(&task.to_ne_bytes());
                let answer = client.request(echo, &question, LONG).await.unwrap();
                assert!(answer.payload == question, "task {task}, request {n}");
            }
        };
        let tasks: Vec<_> = (0..100).map(|task| tokio::spawn(ask(task, scene.client.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(scene.client.resolve("echo").await.unwrap(), echo);
        assert!(matches!(scene.client.resolve("nobody").await, Err(Error::Refused(_))));
    });
}

#[test]
fn a_sender_waits_for_room_while_others_go_on() {
    let mut scene = Scene::new("room");
    let deaf = scene.add("deaf", &["deaf"]);
    let courier = scene.add("courier", &["courier", "guest"]);
    let sent = Arc::new(AtomicU64::new(0));
    let (client, count) = (scene.client.clone(), Arc::clone(&sent));
    let sender = scene.runtime.spawn(async move {
        for _ in 0..1000 {
            client.send(deaf, &[1; 4096]).await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let client = scene.client.clone();
    scene.run(async { sleep(Duration::from_millis(200)).await });
    let stuck = sent.load(Ordering::Relaxed);
    assert!((10..100).contains(&stuck), "{stuck} are sent");
    // Records come in all the while.
    scene.stage.client().start_request(courier, b"batch 10000", LONG).unwrap();
    scene.run(async {
        for number in 0..10_000u64 {
            assert_eq!(client.receive().await.unwrap().payload, number.to_ne_bytes());
        }
    });
    let still = sent.load(Ordering::Relaxed);
    assert!(still < stuck + 10, "{still} are sent, and nobody reads");
    // Room comes when the receiver is gone: what it didn't read comes back.
    scene.kill(deaf);
    scene.run(async { sender.await.unwrap() });
    assert_eq!(sent.load(Ordering::Relaxed), 1000);
    let notice = scene.run(scene.client.receive()).unwrap();
    assert_eq!((notice.header.kind, notice.header.source), (Kind::Notice, deaf));
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() {
    let mut scene = Scene::new("receive");
    let courier = scene.add("courier", &["courier", "guest"]);
    scene.stage.client().start_request(courier, b"batch 20000", LONG).unwrap();
    scene.run(async {
        let mut next = 0u64;
        while next < 20_000 {
            let time = Duration::from_nanos(next * 37 % 2000);
            if let Ok(record) = timeout(time, scene.client.receive()).await {
                assert_eq!(record.unwrap().payload, next.to_ne_bytes());
                next += 1;
            }
        }
    });
}

#[test]
fn a_large_payload_goes_whole_or_is_told_of() {
    let mut scene = Scene::new("large");
    let collector = scene.add("collector", &["collector"]);
    let client = scene.client.clone();
    let payload = pattern(20 * MIB);
    scene.run(async {
        let dropped = timeout(Duration::from_millis(3), client.send(collector, &payload)).await;
        assert!(dropped.is_err(), "too quick for this test");
        let seen = client.request(collector, b"", LONG).await.unwrap();
        assert_eq!(seen.payload, b"0 0 1");
        client.send(collector, &payload).await.unwrap();
        let seen = client.request(collector, b"", LONG).await.unwrap();
        assert_eq!(seen.payload, b"0 1 1");
    });
}

#[test]
fn who_asks_a_world_that_dies_is_told() {
    let mut scene = Scene::new("death");
    let deaf = scene.add("deaf", &["deaf"]);
    let client = scene.client.clone();
    let asked = scene.runtime.spawn(async move { client.request(deaf, b"?", LONG).await });
    scene.run(async { sleep(Duration::from_millis(50)).await });
    scene.kill(deaf);
    let error = scene.run(asked).unwrap().unwrap_err();
    assert!(matches!(error, Error::Undelivered { to, reason: Reason::Died } if to == deaf), "{error}");
    // What is asked for too short a time ends too, and its late answer is nobody's.
    let stubborn = scene.add("deaf-too", &["deaf"]);
    let error = scene.run(scene.client.request(stubborn, b"?", Duration::from_millis(20))).unwrap_err();
    assert!(matches!(error, Error::Undelivered { reason: Reason::Deadline, .. }), "{error}");
}

#[test]
fn the_end_of_the_broker_ends_every_wait() {
    let mut scene = Scene::new("end");
    let deaf = scene.add("deaf", &["deaf"]);
    let (one, two) = (scene.client.clone(), scene.client.clone());
    let receives = scene.runtime.spawn(async move { one.receive().await });
    let asks = scene.runtime.spawn(async move { two.request(deaf, b"?", LONG).await });
    scene.run(async { sleep(Duration::from_millis(50)).await });
    scene.stage = Stage::new();
    assert!(matches!(scene.run(receives).unwrap(), Err(Error::BrokerGone)));
    assert!(matches!(scene.run(asks).unwrap(), Err(Error::BrokerGone)));
}

#[test]
fn the_example_runs_in_a_jail() {
    let mut scene = Scene::new("example");
    let echo = scene.add("echo", &["async-echo"]);
    scene.run(async {
        for length in [0, 100, 50_000, MIB] {
            let payload = pattern(length);
            assert!(scene.client.request(echo, &payload, LONG).await.unwrap().payload == payload);
        }
    });
    let ended = scene.stage.client().stop("echo", LONG, "enough").unwrap();
    assert!(ended.acknowledged && ended.code == Some(0), "{ended:?}");
}

#[test]
fn states_are_saved_and_loaded_by_tasks_side_by_side() {
    let mut scene = Scene::new("states");
    let world = World { snapshots: 3, ..actor(&["async-saver"], &[]) };
    let saver = scene.stage.host.spawn("saver", &world).unwrap();
    // In one record, just so, and in pieces; each time somebody else saves, too.
    for (nth, length) in [0, 100, 12_160, 12_161, 3 * MIB].into_iter().enumerate() {
        let reply = scene.run(scene.client.request(saver, &pattern(length), LONG)).unwrap();
        assert_eq!((reply.header.code, &reply.payload[..]), (0, &(2 * nth as u64).to_ne_bytes()[..]), "{length}");
    }
    let rows = scene.stage.client().snapshots("saver").unwrap();
    assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), [8, 9, 10]);
    // A world of which nothing is kept is told so.
    let error = scene.run(scene.client.save(b"state")).unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("snapshots = 1")), "{error}");
    assert!(matches!(scene.run(scene.client.load()), Err(Error::Refused(_))));
}

#[test]
fn a_save_that_is_dropped_saves_all_or_nothing() {
    let mut scene = Scene::new("dropped-state");
    let world = World { snapshots: 3, ..actor(&["async-saver", "hasty"], &[]) };
    let saver = scene.stage.host.spawn("saver", &world).unwrap();
    let reply = scene.run(scene.client.request(saver, &pattern(2 * MIB), LONG)).unwrap();
    assert_eq!((reply.header.code, &reply.payload[..]), (0, &b"whole"[..]));
}

#[test]
fn what_is_published_comes_and_the_last_value_stays() {
    let mut scene = Scene::new("topics");
    scene.run(async {
        let client = &scene.client;
        client.publish_retained("lamp.hall", b"on").await.unwrap();
        client.publish("lamp.yard", b"nobody hears this").await.unwrap();
    });
    let options = SubscribeOptions { retained: true, ..SubscribeOptions::default() };
    scene.stage.client().subscribe("lamp.*", &options).unwrap();
    assert_eq!(scene.stage.receive().1, b"on");
    scene.stage.client().publish("room.temp", b"21").unwrap();
    scene.run(async {
        let client = &scene.client;
        client.publish("lamp.hall", b"off").await.unwrap();
        client.subscribe("room.>", &SubscribeOptions::default()).await.unwrap();
        client.close_topic("lamp.hall").await.unwrap();
        assert_ne!(client.topic("lamp.hall").await.unwrap(), client.topic("lamp.yard").await.unwrap());
    });
    assert_eq!(scene.stage.receive().1, b"off");
    scene.stage.client().publish("room.temp", b"22").unwrap();
    scene.run(async {
        let record = scene.client.receive().await.unwrap();
        let how = record.published().unwrap();
        assert_eq!((&record.payload[..], how.missed, how.is_retained), (&b"22"[..], 0, false));
        assert_eq!(scene.client.topic_name(how.topic).await.unwrap().as_str(), "room.temp");
        assert!(matches!(scene.client.topic_name(WorldId::topic(99)).await, Err(Error::Refused(_))));
    });
}
