//! The commands that watch a broker.

mod common;

use common::{Dir, Foreground, Said, ask, strait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::thread;

const WORLDS: &str = "\
[worlds.open]
command = [\"sleep\", \"60\"]
tap_payload = true
[worlds.closed]
command = [\"sleep\", \"60\"]
";

fn up(dir: &Dir) -> (Foreground, PathBuf) {
    let (file, socket) = (dir.file("w.toml", WORLDS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started closed (#");
    (up, socket)
}

/// What a command says that ends by itself once it has seen enough, while messages are sent to a world again and again.
fn said_while_sending<const N: usize>(socket: &Path, args: [&'static str; N], world: &str, payload: &str) -> Said {
    let place = socket.to_owned();
    let watcher = thread::spawn(move || ask(&place, args));
    while !watcher.is_finished() {
        assert_eq!(ask(socket, ["send", world, payload]).code, Some(0));
    }
    watcher.join().expect("it ends")
}

fn json(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} {}", said.err))).collect()
}

#[test]
fn a_tap_shows_headers_and_payloads_only_of_those_whose_configuration_says_so() {
    let dir = Dir::new("tap");
    let (_up, socket) = up(&dir);
    for (world, payload) in [("open", Some("a\u{1b}[2Jb")), ("closed", None)] {
        let args = ["tap", world, "--json", "--payload", "--count", "1"];
        let seen = &json(&said_while_sending(&socket, args, world, "a\u{1b}[2Jb"))[0];
        assert_eq!(
            (seen["to"].as_str(), seen["kind"].as_str(), seen["bytes"].as_u64()),
            (Some(world), Some("message"), Some(6))
        );
        // Who sent it may be gone before it could be asked for its name.
        assert!(seen["from"].as_str().is_some_and(|from| from.starts_with("cli/") || from.starts_with('#')), "{seen}");
        assert_eq!((seen["fate"].as_str(), seen["payload"].as_str()), (Some("delivered"), payload), "{seen}");
    }
}

#[test]
fn a_taps_lines_command_no_terminal() {
    let dir = Dir::new("tap-text");
    let (_up, socket) = up(&dir);
    let said = said_while_sending(&socket, ["tap", "o*", "--payload", "--count", "1"], "open", "a\u{1b}[2J\nb");
    assert!(said.out.ends_with("7 bytes  delivered  a\\u{1b}[2J\\nb\n"), "{}", said.out);
    assert!(said.out.contains(" -> open  message 2  7 bytes"), "{}", said.out);
    // Nothing is sent to a world that isn't there: its time passes.
    let said = ask(&socket, ["tap", "nobody", "--time", "100ms"]);
    assert_eq!((said.code, &*said.out), (Some(0), ""), "{}", said.err);
    let said = ask(&socket, ["tap", "a*b"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("`a*b`: a pattern can have one `*`, at its end\nhint: a pattern is"), "{}", said.err);
}

#[test]
fn top_samples_and_says_what_happened_per_second() {
    let dir = Dir::new("top");
    let (_up, socket) = up(&dir);
    let args = ["top", "--json", "--count", "1", "--interval", "500ms", "--sort", "name"];
    let sample = &json(&said_while_sending(&socket, args, "open", "x"))[0];
    let world = |name: &str| sample["worlds"].as_array().unwrap().iter().find(|world| world["name"] == name).cloned();
    let (open, closed) = (world("open").expect("it"), world("closed").expect("it"));
    assert!(open["per_second"]["received"].as_f64() > Some(0.0), "{open}");
    assert_eq!(closed["per_second"]["received"].as_f64(), Some(0.0), "{closed}");
    // It reads nothing.
    assert_eq!(open["unread_bytes"], open["received_bytes"], "{open}");

    let said = ask(&socket, ["top", "--count", "2", "--interval", "50ms"]);
    assert_eq!(said.out.matches("NAME ").count(), 2, "{}", said.out);
    assert!(said.out.contains("worlds, ") && !said.out.contains('\u{1b}'), "{}", said.out);
}

#[test]
fn who_watches_a_broker_that_isnt_there_is_told_what_to_do() {
    let dir = Dir::new("no-broker");
    for args in [["top", "--count", "1"], ["tap", "--count", "1"]] {
        let mut command = strait(args);
        command.env("STRAIT_SOCKET", dir.path("none"));
        let said = common::run(command);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("hint: start a broker with `strait up FILE`"), "{}", said.err);
    }
}
