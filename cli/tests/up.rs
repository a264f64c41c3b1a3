//! `strait up` and the commands that talk to it.

mod common;

use common::{Dir, Foreground, ask, ask_until, run, strait, up};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::thread;
use strait_broker::{Client, Kind};

const SLEEPERS: &str = "\
[worlds.first]
command = [\"sleep\", \"60\"]
[worlds.second]
command = [\"sleep\", \"60\"]
";

/// A world that ignores being told.
const STUBBORN: &str = "\
[worlds.stubborn]
command = [\"sh\", \"-c\", \"trap '' TERM; echo trapped >&2; while :; do sleep 0.05; done\"]
grace = '100ms'
";

#[test]
fn worlds_start_in_order_are_listed_and_stop_in_reverse() {
    let dir = Dir::new("up");
    let (file, socket) = (dir.file("w.toml", SLEEPERS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started first (#");
    up.expect("started second (#");

    let listed = ask(&socket, ["ps", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&listed.out).expect("JSON");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["strait.control", "host", "first", "second"], "{}", listed.err);
    let first = &rows[2];
    assert!(first["pid"].as_i64() > Some(0) && first["state"] == "running", "{first}");
    let table = ask(&socket, ["ps"]);
    assert!(table.out.starts_with("ID") && table.out.contains("  second "), "{}", table.out);

    up.interrupt();
    let (code, lines) = up.end();
    let last = |name: &str| lines.iter().rposition(|line| line.starts_with(&format!("strait: {name} (#"))).expect(name);
    let stopped = [last("second"), last("first")];
    assert!(stopped.is_sorted(), "{lines:#?}");
    assert!(lines[stopped[0]].contains("without acknowledging: signal 15 (SIGTERM)"), "{lines:#?}");
    assert_eq!((code, &**lines.last().unwrap()), (Some(0), "strait: stopped"));
}

#[test]
fn worlds_that_end_end_the_broker() {
    let dir = Dir::new("all-ended");
    let file =
        dir.file("w.toml", "[worlds.a]\ncommand = [\"true\"]\n[worlds.b]\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n");
    let (code, lines) = Foreground::start(up(&file, &dir.path("s"))).end();
    assert_eq!(code, Some(1), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("strait: a (#") && line.ends_with(" ended: exit code 0")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("strait: b (#") && line.ends_with(" ended: exit code 3")),
        "{lines:#?}"
    );
    assert_eq!(lines.last().unwrap(), "strait: every world has ended, 1 of them failed: exit code 1");

    let file = dir.file("good.toml", "[worlds.a]\ncommand = [\"true\"]\n");
    assert_eq!(run(up(&file, &dir.path("s"))).code, Some(0));
}

#[test]
fn a_world_that_doesnt_start_stops_the_others() {
    let dir = Dir::new("no-start");
    let file =
        dir.file("w.toml", "[worlds.a]\ncommand = [\"sleep\", \"60\"]\n[worlds.b]\ncommand = [\"no-such-program\"]\n");
    let said = run(up(&file, &dir.path("s")));
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("world `b` doesn't start: no such program 'no-such-program'"), "{}", said.err);
    assert!(said.err.contains("hint: ") && said.err.contains("a (#"), "{}", said.err);
}

#[test]
fn a_stubborn_world_is_killed_and_named() {
    let dir = Dir::new("stubborn");
    let mut up = Foreground::up(&dir.file("w.toml", STUBBORN), &dir.path("s"));
    up.expect("trapped");
    up.interrupt();
    let (code, lines) = up.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("had to be killed after ") && line.contains("deadline")),
        "{lines:#?}"
    );
}

#[test]
fn a_second_signal_kills_at_once() {
    let dir = Dir::new("second-signal");
    let file = dir.file("w.toml", &STUBBORN.replace("100", "60000"));
    let mut up = Foreground::up(&file, &dir.path("s"));
    up.expect("trapped");
    up.interrupt();
    up.expect("Ctrl-C again");
    up.interrupt();
    let (code, lines) = up.end();
    assert_eq!((code, &**lines.last().unwrap()), (Some(1), "strait: killing 1 world"));
}

/// The program that runs a broker is one of those it lists. Ended from outside, it would leave a broker that nobody can end.
#[test]
fn a_broker_isnt_taken_from_the_program_that_runs_it() {
    let dir = Dir::new("stop-host");
    let (file, socket) = (dir.file("w.toml", SLEEPERS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started second");
    for command in ["stop", "kill"] {
        let said = ask(&socket, [command, "host"]);
        assert_eq!(said.code, Some(1), "{command}: {}", said.err);
        assert!(said.err.contains("`host` runs this broker: end that program"), "{command}: {}", said.err);
    }
    up.interrupt();
    let (code, lines) = up.end();
    assert_eq!((code, &**lines.last().unwrap()), (Some(0), "strait: stopped"));
}

#[test]
fn one_world_can_be_stopped_and_looked_into() {
    let dir = Dir::new("stop");
    let (file, socket) = (dir.file("w.toml", SLEEPERS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started second");

    let report = ask(&socket, ["inspect", "first", "--json"]);
    let report: Value = serde_json::from_str(&report.out).unwrap_or_else(|_| panic!("{}", report.err));
    assert_eq!(report["no_new_privs"], true);
    let short = ask(&socket, ["inspect", "first"]);
    assert!(
        short.out.contains("capabilities    none\n") && short.out.contains("shared ones     none\n"),
        "{}",
        short.out
    );

    let stopped = ask(&socket, ["stop", "second", "--deadline", "5s"]);
    assert!(stopped.code == Some(0) && stopped.out.starts_with("second ended in "), "{}{}", stopped.out, stopped.err);
    up.expect("second (#");
    ask_until(&socket, ["ps"], "first");
    let again = ask(&socket, ["stop", "second"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("there is no world named `second`\nhint: `strait ps`"), "{}", again.err);
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn nobody_hears_what_is_sent_to_nobody() {
    let dir = Dir::new("nobody");
    let (file, socket) = (dir.file("w.toml", SLEEPERS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started second");
    let said = ask(&socket, ["send", "third", "x"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no world named `third`"), "{}", said.err);
    assert_eq!(ask(&socket, ["send", "first", "x"]).code, Some(0), "it waits in the inbox");
    let said = ask(&socket, ["request", "first", "x", "--timeout", "100ms"]);
    assert_eq!((said.code, &*said.out), (Some(1), ""), "{}", said.err);
    assert!(said.err.contains("first: the deadline passed") && said.err.contains("hint: "), "{}", said.err);
}

/// A host program that answers once, with this code and the payload in capitals, and gives back what it was sent.
fn answer_once(socket: PathBuf, name: &'static str, code: u16) -> thread::JoinHandle<Vec<u8>> {
    let (ready, attached) = std::sync::mpsc::channel();
    let served = thread::spawn(move || {
        let mut client = Client::attach(&socket, name).expect("attached");
        ready.send(()).expect("the test waits");
        let record = client.receive(Some(common::PATIENCE)).expect("the broker is there").expect("a record");
        let (header, payload) = (record.header(), record.payload().to_vec());
        if header.kind == Kind::Request {
            client.reply(&header, code, &payload.to_ascii_uppercase()).expect("replied");
            client.drain(common::PATIENCE).expect("taken");
        }
        payload
    });
    attached.recv().expect("attached");
    served
}

#[test]
fn what_is_sent_arrives_and_replies_come_back() {
    let dir = Dir::new("talk");
    let (file, socket) = (dir.file("w.toml", SLEEPERS), dir.path("s"));
    let up = Foreground::up(&file, &socket);

    let server = answer_once(socket.clone(), "cli/echo-1", 0);
    let said = ask(&socket, ["send", "cli/echo-1", "hello"]);
    assert_eq!((said.code, &*server.join().unwrap()), (Some(0), &b"hello"[..]), "{}", said.err);

    let server = answer_once(socket.clone(), "cli/echo-2", 0);
    let said = ask(&socket, ["request", "cli/echo-2", "hello"]);
    assert_eq!((said.code, &*said.out), (Some(0), "HELLO"), "{}", said.err);
    server.join().unwrap();

    let server = answer_once(socket.clone(), "cli/echo-3", 3);
    let said = ask(&socket, ["request", "cli/echo-3", "--json"]);
    let reply: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
    assert_eq!(reply, json!({ "from": "cli/echo-3", "code": 3, "tag": 0, "payload": "" }));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("cli/echo-3 replied with code 3"), "{}", said.err);
    server.join().unwrap();
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn policy_is_explained_with_the_line_that_decides() {
    let dir = Dir::new("policy");
    let file = dir.file(
        "worlds.toml",
        "[worlds.one]\ncommand = [\"sleep\", \"1000\"]\nsend = [\"two\"]\nask = [\"memory 2 GiB\"]\n\
         [templates.two]\ncommand = [\"true\"]\n",
    );
    let socket = dir.path("socket");
    let _up = Foreground::up(&file, &socket);
    for source in [["--file".into(), file.clone()], ["--socket".into(), socket]] {
        let ask = |args: &[&str]| {
            let mut command = strait(["policy"]);
            command.args(args).args(&source);
            run(command)
        };
        let allowed = ask(&["check", "one", "two"]);
        assert_eq!((allowed.code, &*allowed.out), (Some(0), "`one` may: send = [\"two\"]\n"), "{}", allowed.err);
        let refused = ask(&["check", "two", "one"]);
        assert_eq!((refused.code, &*refused.out), (Some(1), "`two` may not: it takes `send = [\"one\"]`\n"));
        let json = ask(&["check", "one", "memory 1G", "--json"]);
        assert!(json.out.contains("\"is_allowed\": false") && json.out.contains("a grant, which it may ask for"));
        assert_eq!(ask(&["show", "one"]).out, "send = [\"two\"]\nask = [\"memory 2 GiB\"]\n");
        let unknown = ask(&["check", "nobody", "one"]);
        assert!(unknown.code == Some(1) && unknown.err.contains("there is no world named `nobody`"), "{}", unknown.err);
    }
}

/// Started by a message, asleep until then and after.
const ASLEEP: &str = "\
start = []
[worlds.greeter]
command = [\"true\"]
wake = \"message\"
";

#[test]
fn a_world_that_a_message_wakes_is_defined_and_sleeps() {
    let dir = Dir::new("asleep");
    let (file, socket) = (dir.file("w.toml", ASLEEP), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("sleeps until a message comes for it");
    let asleep = || ask(&socket, ["ps"]).out.lines().any(|line| line.contains("greeter") && line.contains("asleep"));
    assert!(asleep(), "{}", ask(&socket, ["ps"]).out);
    let woken = ask(&socket, ["wake", "greeter"]);
    assert_eq!((woken.code, woken.out.starts_with("greeter is world ")), (Some(0), true), "{}", woken.err);
    up.expect("sleeps: exit code 0");
    let unknown = ask(&socket, ["wake", "nobody"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("no world named `nobody`") && unknown.err.contains("strait ps"), "{}", unknown.err);
    let stopped = ask(&socket, ["stop", "greeter"]);
    assert_eq!((stopped.code, stopped.out.trim()), (Some(0), "greeter was asleep already"), "{}", stopped.err);
    let next = dir.file("next.toml", &ASLEEP.replace("true", "false"));
    let upgraded = ask(&socket, ["upgrade", "greeter", "--file", next.to_str().unwrap()]);
    assert_eq!(upgraded.code, Some(0), "{}", upgraded.err);
    assert!(upgraded.out.starts_with("greeter is world "), "{}", upgraded.out);
    up.expect("sleeps: exit code 1");
    let unknown = ask(&socket, ["upgrade", "greeter", "--template", "none"]);
    assert_eq!((unknown.code, unknown.err.contains("no template `none`")), (Some(1), true), "{}", unknown.err);
    assert!(unknown.err.contains("this broker's configuration has none"), "{}", unknown.err);
    let removed = ask(&socket, ["rm", "greeter"]);
    assert_eq!((removed.code, &*removed.out), (Some(0), "greeter slept, and was removed\n"), "{}", removed.err);
    // It was the only one: nothing is left to stay for.
    let (code, lines) = up.end();
    assert_eq!((code, &**lines.last().unwrap()), (Some(0), "strait: every world has ended"), "{lines:#?}");
}

/// A socket in the environment is no question about a broker: the file is asked.
#[test]
fn a_files_policy_is_shown_wherever_a_broker_is() {
    let dir = Dir::new("file-policy");
    let (file, socket) = (dir.file("w.toml", SLEEPERS), dir.path("no-broker"));
    let file = file.to_str().expect("UTF-8");
    let judged = ask(&socket, ["policy", "check", "first", "second", "--file", file]);
    assert_eq!(
        (judged.code, &*judged.out),
        (Some(1), "`first` may not: it takes `send = [\"second\"]`\n"),
        "{}",
        judged.err
    );
    let shown = ask(&socket, ["policy", "show", "first", "--file", file]);
    assert_eq!((shown.code, &*shown.out), (Some(0), "first may do nothing but answer\n"), "{}", shown.err);
}

#[test]
fn several_are_stopped_at_once_and_each_is_told_of() {
    let dir = Dir::new("stop-all");
    let worlds = format!(
        "state = \"{}\"\n{SLEEPERS}snapshots = 2\n[worlds.third]\ncommand = [\"sleep\", \"60\"]\n",
        dir.path("state").display()
    );
    let (file, socket) = (dir.file("w.toml", &worlds), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started third (#");

    // Of a world that never saved there is nothing, and one that knows nothing of strait can't be told to.
    let listed = ask(&socket, ["snapshots", "second", "--json"]);
    assert_eq!((listed.code, &*listed.out), (Some(0), "[]\n"), "{}", listed.err);
    let refused = ask(&socket, ["snapshot", "second"]);
    assert_eq!(
        (refused.code, &*refused.err),
        (Some(1), "strait: second: `second` is running: it can't be told to save its state\n")
    );
    let refused = ask(&socket, ["snapshot", "first"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("its configuration needs `snapshots = 1` or more"),
        "{}",
        refused.err
    );

    let stopped = ask(&socket, ["stop", "first", "nobody"]);
    assert_eq!(stopped.code, Some(1));
    assert!(
        stopped.out.starts_with("first ended in ") && stopped.err.contains("nobody: there is no world named `nobody`"),
        "{}",
        stopped.err
    );
    let stopped = ask(&socket, ["stop", "--all"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.err);
    let last = stopped.out.lines().last().unwrap();
    assert_eq!(last, "2 worlds ended: 0 acknowledged, 0 saved their state, 0 had to be killed", "{}", stopped.out);
    assert_eq!(up.end().0, Some(0), "they ended as they were told");
    assert_eq!(run(strait(["stop"])).code, Some(2), "it must be said which");
}
