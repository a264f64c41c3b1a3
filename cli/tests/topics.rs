//! `strait pub` and `strait sub`.

mod common;

use common::{Dir, Foreground, Said, ask, ask_until, run, strait};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

const WORLDS: &str = "\
[worlds.idle]
command = [\"sleep\", \"60\"]
publish = [\"a.*\"]
";

fn up(dir: &Dir) -> (Foreground, PathBuf) {
    let (file, socket) = (dir.file("w.toml", WORLDS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started idle (#");
    (up, socket)
}

/// What a subscriber says that ends by itself, while something is done again and again.
fn heard_while<const N: usize>(socket: &Path, args: [&'static str; N], mut act: impl FnMut()) -> Said {
    let place = socket.to_owned();
    let subscriber = thread::spawn(move || ask(&place, args));
    while !subscriber.is_finished() {
        act();
    }
    subscriber.join().expect("it ends")
}

#[test]
fn what_is_published_is_printed() {
    let dir = Dir::new("pub-sub");
    let (_up, socket) = up(&dir);
    let publish = || assert_eq!(ask(&socket, ["pub", "lights.hall", "on\u{1b}[2J"]).code, Some(0));
    let said = heard_while(&socket, ["sub", "lights.*", "--count", "2"], publish);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "lights.hall  on\\u{1b}[2J\n".repeat(2).as_str()));
    let said = heard_while(&socket, ["sub", "lights.>", "--newest", "--json", "--count", "1"], publish);
    let line: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((line["topic"].as_str(), line["payload"].as_str()), (Some("lights.hall"), Some("on\u{1b}[2J")));
    assert_eq!(ask(&socket, ["sub", "lights.*", "--time", "10ms"]).code, Some(0));
}

#[test]
fn lines_are_messages_of_their_own_as_they_come() {
    let dir = Dir::new("pub-lines");
    let (_up, socket) = up(&dir);
    let mut publish = strait(["pub", "lights.hall", "--lines"]);
    publish.env("STRAIT_SOCKET", &socket).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut publisher = publish.spawn().expect("it starts");
    let mut input = publisher.stdin.take().expect("piped");
    // Nothing is heard of it but while it goes on: it doesn't wait for the end of its input.
    let write = || input.write_all(b"on\n\noff\n").expect("it reads");
    let said = heard_while(&socket, ["sub", "lights.*", "--count", "6"], write);
    let mut heard: Vec<&str> = said.out.lines().take(3).collect();
    heard.sort_unstable();
    assert_eq!(heard, ["lights.hall  ", "lights.hall  off", "lights.hall  on"], "{}", said.err);
    drop(input);
    assert_eq!(publisher.wait().expect("it ends").code(), Some(0));
    assert_eq!(run(strait(["pub", "lights.hall", "on", "--lines"])).code, Some(2));
}

#[test]
fn what_is_kept_is_there_for_as_long_as_who_published_it() {
    let dir = Dir::new("retain");
    let (_up, socket) = up(&dir);
    let mut keep = strait(["pub", "--retain", "lights.hall", "on"]);
    keep.env("STRAIT_SOCKET", &socket);
    let keeper = Foreground::start(keep);
    let late = ["sub", "lights.*", "--retained", "--json", "--time", "300ms"];
    // Who subscribes just before it is published gets it as a message; who comes later, as what is kept.
    let said = ask_until(&socket, late, r#""retained":true"#);
    let line: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((line["topic"].as_str(), line["payload"].as_str()), (Some("lights.hall"), Some("on")), "{line}");
    keeper.interrupt();
    assert_eq!(keeper.end(), (Some(0), Vec::new()));
    assert_eq!(ask(&socket, late).out, "");
    assert_eq!(ask(&socket, ["pub", "--retain", "--time", "10ms", "lights.hall", "on"]).code, Some(0));
    assert_eq!(ask(&socket, ["pub", "--time", "10ms", "lights.hall", "on"]).code, Some(2), "it takes --retain");
}

#[test]
fn a_world_that_is_spawned_may_publish_and_subscribe_as_was_said() {
    let dir = Dir::new("spawn-topics");
    let (_up, socket) = up(&dir);
    let spawn = ["spawn", "lamp", "--publish", "lamp.*", "--subscribe", "switch.>", "--", "sleep", "60"];
    let said = ask(&socket, spawn);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for (what, code) in
        [("publish lamp.on", 0), ("publish switch.a", 1), ("subscribe switch.a.b", 0), ("subscribe lamp.on", 1)]
    {
        let judged = ask(&socket, ["policy", "check", "lamp", what]);
        assert_eq!(judged.code, Some(code), "{what}: {} {}", judged.out, judged.err);
    }
}

#[test]
fn who_ends_is_heard_of() {
    let dir = Dir::new("presence");
    let (_up, socket) = up(&dir);
    // One after another, since nobody sees from outside when the subscriber is there. The name is free when the one before is gone.
    let run_one = || drop(ask(&socket, ["spawn", "brief", "--", "true"]));
    let args = ["sub", "strait.worlds.ended.brief", "--json", "--count", "1", "--time", "60s"];
    let said = heard_while(&socket, args, run_one);
    let line: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{} {}", said.out, said.err));
    let event: Value = serde_json::from_str(line["payload"].as_str().unwrap()).unwrap();
    assert_eq!((event["event"].as_str(), event["name"].as_str()), (Some("ended"), Some("brief")), "{line}");
}

#[test]
fn mistakes_and_policy_are_explained() {
    let dir = Dir::new("topic-mistakes");
    let (_up, socket) = up(&dir);
    for (args, text) in [
        (["pub", "a..b", "x"], "a topic has something on both sides of each dot"),
        (["sub", "a.>.b", "--newest"], "`>` for the rest, at the end"),
        (["pub", "strait.worlds.ended.idle", "x"], "belong to the system"),
    ] {
        let said = ask(&socket, args);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains(text), "{}", said.err);
    }
    let judged = ask(&socket, ["policy", "check", "idle", "publish a.b"]);
    assert!(judged.out.contains("publish = [\"a.*\"]"), "{} {}", judged.out, judged.err);
    let judged = ask(&socket, ["policy", "check", "idle", "subscribe a.b"]);
    assert!(judged.out.contains("subscribe = [\"a.b\"]"), "{} {}", judged.out, judged.err);
}
