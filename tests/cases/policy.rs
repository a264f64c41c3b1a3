//! Policy as it is enforced: who may command what, and that `policy check` says what then happens.

use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use strait_broker::{AttachRule, Client, Config, Decision, Error, Reason, Role, SubscribeOptions, WorldId};
use strait_protocol::control::{Answer, Request};
use strait_tests::{LONG, Stage, actor};

/// The line that it takes to have this done. `None`: it is judged by other lines (`send`, `publish`, `subscribe`), or is about the asker alone.
fn line(request: &Request) -> Option<&'static str> {
    Some(match request {
        Request::List { .. } | Request::Log { .. } | Request::Groups => "may = [\"list\"]",
        Request::Start { .. } => "may = [\"start nothing\"]",
        Request::Stop { .. } | Request::Restart { .. } => "may = [\"stop victim\"]",
        Request::Kill { .. } | Request::Remove { .. } => "may = [\"kill victim\"]",
        Request::Inspect { .. } => "may = [\"inspect victim\"]",
        Request::Tap { .. } => "may = [\"tap victim\"]",
        Request::Snapshot { .. } | Request::Snapshots { .. } => "may = [\"snapshot victim\"]",
        Request::Requests { .. } | Request::Grants { .. } | Request::Decide { .. } | Request::Revoke { .. } => {
            "may = [\"grant\"]"
        }
        Request::Judge { .. } | Request::Policy { .. } => "may = [\"policy\"]",
        Request::Spawn { .. }
        | Request::Clone { .. }
        | Request::Define { .. }
        | Request::Upgrade { .. }
        | Request::Clear { .. }
        | Request::Close
        | Request::Unlink { .. } => "may = [\"admin\"]",
        Request::Ask { .. } => "ask = [\"list\"]",
        Request::Dial { .. } => "network = [\"127.0.0.1:1\"]",
        Request::Resolve { .. }
        | Request::Wake { .. }
        | Request::Wait { .. }
        | Request::OpenTopic { .. }
        | Request::CloseTopic { .. }
        | Request::Subscribe { .. }
        | Request::Unsubscribe { .. }
        | Request::NameTopic { .. }
        | Request::Untap
        | Request::Keeping { .. } => return None,
    })
}

/// One of each that it takes a permission for. The last one ends the broker.
fn commands() -> Vec<Request> {
    let (name, reason) = (String::from("victim"), String::from("no reason"));
    let grant = Decision::Grant { for_ms: None };
    vec![
        Request::List { from: 0, limit: 1 },
        Request::Log { from: 0 },
        Request::Groups,
        Request::Start { template: "nothing".into(), name: None },
        Request::Spawn { specification: "{}".into() },
        Request::Define { specification: "{}".into() },
        Request::Upgrade {
            name: name.clone(),
            template: None,
            specification: "{}".into(),
            beside: true,
            deadline_ms: 1,
            reason: reason.clone(),
        },
        Request::Stop { name: name.clone(), deadline_ms: 0, reason: reason.clone() },
        Request::Kill { name: name.clone(), reason: reason.clone() },
        Request::Restart { name: name.clone(), deadline_ms: 1, reason: reason.clone() },
        Request::Remove { name: name.clone(), deadline_ms: 0, reason: reason.clone() },
        Request::Clear { name: name.clone() },
        Request::Clone { name: name.clone() },
        Request::Unlink { one: 16, other: 17 },
        Request::Requests { from: 0 },
        Request::Grants { from: 0 },
        Request::Decide { number: 1, decision: grant },
        Request::Revoke { number: 1 },
        Request::Judge { from: name.clone(), what: "host".into() },
        Request::Policy { name: name.clone() },
        Request::Inspect { name: name.clone() },
        Request::Tap { pattern: name.clone(), payload: false },
        Request::Snapshot { name: name.clone(), deadline_ms: 1, reason },
        Request::Snapshots { name },
        Request::Ask { resource: "list".into(), reason: String::new(), deadline_ms: 1 },
        Request::Dial { place: "127.0.0.1:1".into(), timeout_ms: 1 },
        Request::Close,
    ]
}

/// What the control service says to a jailed world that asks this.
fn through(stage: &mut Stage, world: WorldId, request: &Request) -> Answer {
    let order = [b"raw ".as_slice(), &request.encode()].concat();
    Answer::decode(&stage.ask(world, &order)).expect("the control service's answer")
}

/// Nobody but the role and the uids that policy names can command anything: all others are told which line it takes.
#[test]
fn only_the_role_and_the_uids_of_policy_command() {
    let mut stage = Stage::new();
    let nobody = stage.host.spawn("nobody", &actor(&["obedient"], &["*"])).unwrap();
    let mut judge = actor(&["obedient"], &["*"]);
    judge.role = Some(Role::Control);
    let judge = stage.host.spawn("judge", &judge).unwrap();
    for request in commands() {
        let line = line(&request).expect("it takes a line");
        if !stage.client().list().unwrap().iter().any(|row| row.name == "victim") {
            stage.add("victim", &["echo"], &[]);
        }
        let told = format!("policy doesn't let you: it takes `{line}`");
        assert_eq!(through(&mut stage, nobody, &request), Answer::Refused(told.clone()), "{request:?}");
        if line.starts_with("may") {
            // It may be refused for another reason, but not by policy. The host's uid is one that policy names.
            assert_ne!(through(&mut stage, judge, &request), Answer::Refused(told.clone()), "{request:?}");
            let by_host = stage.client().ask(&request, Duration::from_secs(10));
            assert!(!matches!(by_host, Err(Error::Refused(why)) if why == told), "{request:?}");
        }
    }
}

const NAMES: [&str; 6] = ["a", "a/1", "a/2", "b", "b/1", "c"];
const PATTERNS: [&str; 9] = ["*", "a", "a*", "a/*", "a/1", "b", "b*", "c", "strait.*"];
const TOPICS: [&str; 6] = ["t.a", "t.*", "t.>", "u.*.x", ">", "strait.>"];
const MAY: [&str; 5] = ["list", "inspect a/*", "inspect b", "policy", "grant"];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of one case alone, which goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, Relaxed);
        let dir = std::env::temp_dir().join(format!("strait-test-policy-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Of whom to whom, by their places in [`NAMES`].
type Pairs = Vec<(usize, usize)>;
/// What policy lets one of them: send, link, may, publish, subscribe.
type Lines = (Vec<&'static str>, Vec<&'static str>, Vec<&'static str>, Vec<&'static str>, Vec<&'static str>);

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(of, 0..=2)
}

fn attach(lines: &[Lines], dir: &Path) -> (Stage, Vec<Client>) {
    let uid = rustix::process::geteuid().as_raw();
    let rule = |(name, (send, link, may, publish, subscribe)): (&&str, &Lines)| -> AttachRule {
        let rule = serde_json::json!({
            "name": name, "uid": uid, "send": send, "link": link, "may": may, "publish": publish, "subscribe": subscribe,
            "ask": ["publish t.*", "subscribe t.>"],
        });
        serde_json::from_value(rule).unwrap()
    };
    let socket = dir.join("socket");
    let attach = NAMES.iter().zip(lines).map(rule).collect();
    let stage = Stage::with(&Config { socket: Some(socket.clone()), attach, ..Config::default() });
    let clients = NAMES.iter().map(|name| Client::attach(&socket, name).unwrap()).collect();
    (stage, clients)
}

/// Whether a command is one that policy lets pass, whatever else comes of it.
fn is_let<T>(result: Result<T, Error>) -> bool {
    !matches!(result, Err(Error::Refused(why)) if why.starts_with("policy "))
}

/// What becomes of a message from each to each: those that arrive, and those that policy refuses.
fn try_all(clients: &mut [Client]) -> (Pairs, Pairs) {
    let ids: Vec<WorldId> = clients.iter().map(Client::id).collect();
    let index = |id: WorldId| ids.iter().position(|other| *other == id).expect("one of these");
    let (mut arrived, mut refused) = (Vec::new(), Vec::new());
    for from in 0..clients.len() {
        for to in &ids {
            clients[from].send(*to, b"may I?").unwrap();
        }
        // Behind them all: when this is answered, each was judged.
        let _ = clients[from].resolve("nobody");
        while let Some(record) = clients[from].try_receive().unwrap() {
            if record.notice() == Some(Reason::Refused) {
                refused.push((from, index(record.header().source)));
            }
        }
        for (at, client) in clients.iter_mut().enumerate() {
            while let Some(record) = client.receive(Some(Duration::ZERO)).unwrap() {
                arrived.push((index(record.header().source), at));
            }
        }
    }
    (arrived, refused)
}

/// Has somebody ask for something and grants it: the grant's number, or 0 where policy allowed it already.
fn grant(stage: &mut Stage, client: &mut Client, resource: &str) -> u64 {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.ask_for(resource, "for a test", LONG).unwrap().number);
        while !asked.is_finished() {
            if let [only] = &stage.client().requests().unwrap()[..] {
                stage.client().grant(only.number, None).unwrap();
            }
        }
        asked.join().unwrap()
    })
}

/// Whether what is said of topics is what happens when they are opened and subscribed to.
fn agree_about_topics(stage: &mut Stage, name: &str, client: &mut Client) -> Result<(), TestCaseError> {
    for topic in ["t.a", "t.a.b", "u.1.x", "strait.worlds.ended.a"] {
        let happens = is_let(client.topic(topic));
        client.close_topic(topic).unwrap();
        let question = format!("publish {topic}");
        prop_assert_eq!(stage.client().judge(name, &question).unwrap().0, happens, "{} {}", name, question);
    }
    for pattern in ["t.a", "t.*", "t.a.b", "u.>", ">", "strait.worlds.>"] {
        let subscribed = client.subscribe(pattern, &SubscribeOptions::default());
        let question = format!("subscribe {pattern}");
        let is_allowed = stage.client().judge(name, &question).unwrap().0;
        prop_assert_eq!(is_allowed, subscribed.is_ok(), "{} {}: {:?}", name, question, subscribed);
        if let Ok(number) = subscribed {
            client.unsubscribe(number).unwrap();
        }
    }
    Ok(())
}

/// Directories of the host, each with a file, as a configuration grants them and as a world sees them.
const PLACES: [&str; 5] = ["a", "a/b", "a/b/c", "d", "d/e"];

fn path_of(verb: &str, scratch: &Path, place: &str) -> String {
    format!("{verb} {}/{place}:/given/{place}", scratch.display())
}

/// What is said of paths, and what is there: by reading and by writing the file of each.
fn agree_about_paths(stage: &mut Stage, world: WorldId, scratch: &Path) -> Result<(), TestCaseError> {
    for place in PLACES {
        for (verb, order, fine) in [("read", "cat", "new"), ("write", "put", "put")] {
            let said = String::from_utf8(stage.ask(world, format!("{order} /given/{place}/file").as_bytes())).unwrap();
            let question = path_of(verb, scratch, place);
            let is_allowed = stage.client().judge("asker", &question).unwrap().0;
            prop_assert_eq!(is_allowed, said == fine, "{}: {}", question, said);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_policy_check_says_of_paths_is_what_is_there(
        read in some(&PLACES), write in some(&PLACES), granted in prop::collection::vec(
            (prop::bool::ANY, prop::sample::select(&PLACES[..])), 1..4
        )
    ) {
        let scratch = Scratch::new();
        for place in PLACES {
            std::fs::create_dir_all(scratch.0.join(place)).unwrap();
            std::fs::write(scratch.0.join(place).join("file"), "new").unwrap();
        }
        let mut stage = Stage::new();
        let mut world = actor(&["obedient"], &[]);
        let text = |place: &&str| path_of("", &scratch.0, place).trim().to_owned();
        world.read.extend(read.iter().map(text));
        world.write.extend(write.iter().map(text));
        world.ask = PLACES.iter().map(|place| path_of("write", &scratch.0, place)).collect();
        let world = stage.host.spawn("asker", &world).unwrap();
        agree_about_paths(&mut stage, world, &scratch.0)?;
        let mut numbers = Vec::new();
        for (is_writable, place) in granted {
            let resource = path_of(if is_writable { "write" } else { "read" }, &scratch.0, place);
            let asked = stage.client().start_request(world, format!("ask {resource}").as_bytes(), LONG).unwrap();
            let said = loop {
                if let [only] = &stage.client().requests().unwrap()[..] {
                    numbers.push(only.number);
                    stage.client().grant(only.number, None).unwrap();
                }
                if let Some(record) = stage.client().receive(Some(Duration::from_millis(5))).unwrap() {
                    prop_assert_eq!(record.header().correlation, asked);
                    break String::from_utf8_lossy(record.payload()).into_owned();
                }
            };
            prop_assert!(said.starts_with("granted "), "{}: {}", resource, said);
        }
        agree_about_paths(&mut stage, world, &scratch.0)?;
        stage.client().restart("asker", LONG, "a path").unwrap();
        agree_about_paths(&mut stage, world, &scratch.0)?;
        for number in numbers {
            stage.client().revoke(number).unwrap();
        }
        agree_about_paths(&mut stage, world, &scratch.0)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_policy_check_says_is_what_happens(
        lines in prop::collection::vec(
            (some(&PATTERNS), some(&PATTERNS), some(&MAY), some(&TOPICS), some(&TOPICS)), NAMES.len()
        ),
        granted in prop::sample::select(&["publish t.a", "publish t.*", "subscribe t.a.b", "subscribe t.*"][..])
    ) {
        let scratch = Scratch::new();
        let (mut stage, mut clients) = attach(&lines, &scratch.0);
        let (mut arrived, mut refused) = try_all(&mut clients);
        let (mut allowed, mut denied) = (Vec::new(), Vec::new());
        for (from, name) in NAMES.iter().enumerate() {
            for (to, other) in NAMES.iter().enumerate() {
                let (is_allowed, why) = stage.client().judge(name, other).unwrap();
                let verdict = if is_allowed { "may: " } else { "may not: " };
                prop_assert!(why.starts_with(&format!("`{name}` {verdict}")), "{}", why);
                if is_allowed { allowed.push((from, to)) } else { denied.push((from, to)) }
            }
            for (command, happens) in [
                ("list", is_let(clients[from].list())),
                ("grant", is_let(clients[from].grants())),
                ("policy", is_let(clients[from].policy("a"))),
                ("inspect a/1", is_let(clients[from].inspect("a/1"))),
                ("inspect b", is_let(clients[from].inspect("b"))),
                ("stop nobody", is_let(clients[from].stop("nobody", Duration::ZERO, ""))),
            ] {
                prop_assert_eq!(stage.client().judge(name, command).unwrap().0, happens, "{} {}", name, command);
            }
        }
        for (name, client) in NAMES.iter().zip(&mut clients) {
            let number = grant(&mut stage, client, granted);
            agree_about_topics(&mut stage, name, client)?;
            if number > 0 {
                stage.client().revoke(number).unwrap();
            }
            agree_about_topics(&mut stage, name, client)?;
        }
        [&mut arrived, &mut refused].into_iter().for_each(|pairs| pairs.sort_unstable());
        prop_assert_eq!(arrived, allowed, "{:?}", lines);
        prop_assert_eq!(refused, denied, "{:?}", lines);
    }
}
