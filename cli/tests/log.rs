//! `strait log`: what happened, and what worlds printed.

mod common;

use common::{Dir, Foreground, ask, ask_until, strait};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};
use strait_broker::{Client, Stream};

const TALKER: &str = r#"
[worlds.talker]
command = ["sh", "-c", "echo hello; printf 'bad \\033[2J\\n' >&2; printf 'no end'"]
[worlds.sleeper]
command = ["sleep", "60"]
"#;
const ESCAPED: &str = r"bad \u{1b}[2J";

fn objects(socket: &Path, world: &str) -> Vec<Value> {
    let said = ask(socket, ["log", world, "--json"]);
    said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_a_world_prints_is_shown_and_kept_line_by_line_and_commands_no_terminal() {
    let dir = Dir::new("log");
    let (file, socket) = (dir.file("w.toml", TALKER), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    assert_eq!(up.expect("talker: bad"), format!("talker: {ESCAPED}"));
    up.expect("talker (#");

    let log = ask_until(&socket, ["log", "talker"], "ended: exit code 0");
    let lines: Vec<&str> = log.out.lines().collect();
    let place =
        |end: &str| lines.iter().position(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end}: {lines:#?}"));
    // Its last words are before its end, the unfinished line too.
    assert!(
        place(" out: hello") < place(" out: no end") && place(" out: no end") < place("ended: exit code 0"),
        "{lines:#?}"
    );
    assert!(place(&format!(" err: {ESCAPED}")) < place("ended: exit code 0"), "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains(" talker (#")), "{lines:#?}");

    let json = objects(&socket, "talker");
    let bad = json.iter().find(|line| line["stream"] == "err").expect("its error");
    assert_eq!((&bad["text"], &bad["world"]), (&"bad \u{1b}[2J".into(), &"talker".into()));
    assert!(ask(&socket, ["log", "talker", "--since", "1ms"]).out.is_empty());
    assert_eq!(ask(&socket, ["log", "talker", "--since", "10m"]).out, log.out);
    // The commands that asked for all this came and went, which is said where everything is wanted.
    let visits = |said: &str| said.lines().filter(|line| line.contains("cli/") && line.contains("attaches")).count();
    assert_eq!((visits(&ask(&socket, ["log"]).out), visits(&ask(&socket, ["log", "--json"]).out)), (0, 0));
    assert!(visits(&ask(&socket, ["log", "--all"]).out) > 5);

    up.interrupt();
    assert_eq!(up.output(), "talker: hello\ntalker: no end\n");
    assert_eq!(up.end().0, Some(0));
}

const FLOOD: &str = r#"
[worlds.quiet]
command = ["sh", "-c", "echo once; sleep 60"]
[worlds.flood]
command = ["yes", "and again"]
[worlds.long]
command = ["sh", "-c", "head -c 3000 /dev/zero | tr '\\0' x; sleep 60"]
"#;

/// Nobody reads what the broker shows here, either: its pipe is full within a moment.
#[test]
fn who_prints_without_end_loses_lines_of_its_own_which_is_said_and_keeps_nobody_waiting() {
    let dir = Dir::new("flood");
    let (file, socket) = (dir.file("w.toml", FLOOD), dir.path("s"));
    let up = Foreground::up(&file, &socket);
    ask_until(&socket, ["log", "quiet"], " out: once");
    let mut follow = strait(["log", "--follow"]);
    follow.env("STRAIT_SOCKET", &socket);
    let mut follow = follow.spawn().expect("the binary starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let dropped = lines.find(|line| line.starts_with("... ")).expect("lines that are dropped");
    assert!(dropped.contains(" lines of flood (#") && dropped.ends_with(" dropped"), "{dropped}");
    // Whoever stops reading has had enough.
    drop(lines);
    assert_eq!(follow.wait().expect("it ends").code(), Some(0));

    let flood = objects(&socket, "flood");
    let printed = flood.iter().filter(|line| line["stream"] == "out").count();
    assert!((50..1000).contains(&printed), "{printed} lines");
    ask_until(&socket, ["log", "quiet"], " out: once");
    // What is behind them has no end yet.
    let end = Instant::now() + Duration::from_secs(20);
    while lengths(&socket, "long") != [1024, 1024] {
        assert!(Instant::now() < end, "{:?}", lengths(&socket, "long"));
    }
    assert!(ask(&socket, ["kill", "flood"]).out.starts_with("flood: "), "it answers");
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
}

/// The lengths of the lines that a world printed.
fn lengths(socket: &Path, world: &str) -> Vec<usize> {
    let lines = objects(socket, world);
    let printed = lines.iter().filter(|line| line["stream"] == "out");
    printed.filter_map(|line| Some(line["text"].as_str()?.len())).collect()
}

#[test]
fn what_a_world_printed_is_seen_by_those_who_may_inspect_it() {
    let dir = Dir::new("log-policy");
    let uid = rustix::process::geteuid().as_raw();
    let rule = |name: &str, may: &str| format!("[[attach]]\nname = \"{name}\"\nuid = {uid}\nmay = [\"list\"{may}]\n");
    let rules = rule("lister", "") + &rule("inspector", ", \"inspect talker\"");
    let (file, socket) = (dir.file("w.toml", &(rules + TALKER)), dir.path("s"));
    let _up = Foreground::up(&file, &socket);
    ask_until(&socket, ["log", "talker"], "ended: exit code 0");
    let printed = |name: &str| {
        let mut client = Client::attach(&socket, name).expect("attached");
        let lines = client.log(0).expect("it may list");
        assert!(lines.iter().any(|line| line.world == "talker" && line.stream == Stream::Event), "{lines:#?}");
        lines.iter().filter(|line| line.stream != Stream::Event).count()
    };
    assert_eq!((printed("lister"), printed("inspector")), (0, 3));
}
