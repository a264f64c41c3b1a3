//! What worlds ask for, and what persons say to that; worlds that are started, cloned and killed from outside.

mod common;

use common::{Dir, Foreground, Said, run, strait};
use serde_json::Value;
use std::path::Path;
use std::thread;
use std::time::Duration;
use strait_broker::{Client, Error};

fn up(dir: &Dir) -> (Foreground, std::path::PathBuf) {
    let uid = rustix::process::geteuid().as_raw();
    let file = dir.file(
        "worlds.toml",
        &format!(
            "[worlds.first]\ncommand = [\"sleep\", \"1000\"]\n\
             [templates.sleeper]\ncommand = [\"sleep\", \"1000\"]\n\
             [[attach]]\nname = \"asker\"\nuid = {uid}\nask = [\"send first\"]\n"
        ),
    );
    let socket = dir.path("socket");
    (Foreground::up(&file, &socket), socket)
}

fn say(socket: &Path, args: &[&str]) -> Said {
    // The socket comes first: what follows a command's `--` is not for us.
    let mut command = strait([args[0], "--socket"]);
    command.arg(socket).args(&args[1..]);
    run(command)
}

fn done(socket: &Path, args: &[&str]) -> String {
    let said = say(socket, args);
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
    said.out
}

/// Asks in the background, for as long as it takes.
fn ask(mut client: Client) -> thread::JoinHandle<(Client, Result<u64, Error>)> {
    thread::spawn(move || {
        let granted = client.ask_for("send first", "for a test", Duration::from_secs(20));
        (client, granted.map(|granted| granted.number))
    })
}

/// The number of the request that waits.
fn waiting(socket: &Path) -> String {
    loop {
        let rows: Value = serde_json::from_str(&done(socket, &["requests", "--json"])).unwrap();
        if let Some(row) = rows.get(0) {
            assert_eq!((&row["resource"], &row["reason"]), (&"send first".into(), &"for a test".into()));
            return row["number"].to_string();
        }
    }
}

#[test]
fn a_person_decides_from_the_command_line() {
    let dir = Dir::new("grants");
    let (mut up, socket) = up(&dir);
    let asked = ask(Client::attach(&socket, "asker").unwrap());
    let number = waiting(&socket);
    up.expect(&format!("world asker asks for `send first`: `strait grant {number}` or `strait deny {number}`"));
    assert!(done(&socket, &["requests"]).contains("asker  send first"));
    done(&socket, &["deny", &number, "--why", "not on a Friday"]);
    let (client, denied) = asked.join().unwrap();
    assert!(matches!(denied, Err(Error::Denied(why)) if why == "not on a Friday"));
    let asked = ask(client);
    let number = waiting(&socket);
    let granted = done(&socket, &["grant", &number, "--for", "10m"]);
    assert!(granted.starts_with("asker has `send first` for "), "{granted}");
    let (_client, granted) = asked.join().unwrap();
    assert_eq!(granted.unwrap().to_string(), number);
    assert!(done(&socket, &["grants"]).contains("asker  send first"));
    done(&socket, &["revoke", &number]);
    assert_eq!(done(&socket, &["grants", "--json"]), "[]\n");
    let unknown = say(&socket, &["grant", "99"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("no request 99 waits"), "{}", unknown.err);
}

#[test]
fn worlds_come_and_go_from_the_command_line() {
    let dir = Dir::new("spawn");
    let (_up, socket) = up(&dir);
    assert!(done(&socket, &["spawn", "second", "--", "sleep", "1000"]).starts_with("second is world "));
    assert!(done(&socket, &["spawn", "--template", "sleeper", "sleeper/blue"]).starts_with("sleeper/blue is world "));
    let cloned = done(&socket, &["clone", "sleeper/blue"]);
    assert!(cloned.starts_with("sleeper/") && !cloned.starts_with("sleeper/blue"), "{cloned}");
    let none = say(&socket, &["clone", "second"]);
    assert!(none.code == Some(1) && none.err.contains("`second` is of no template"), "{}", none.err);
    let killed = done(&socket, &["kill", "second", "--reason", "it burns"]);
    assert!(
        killed.starts_with("second: signal 9 (SIGKILL), killed by cli/") && killed.ends_with(": it burns\n"),
        "{killed}"
    );
    let gone = say(&socket, &["kill", "second"]);
    assert!(gone.code == Some(1) && gone.err.contains("hint: `strait ps`"), "{}", gone.err);
    assert_eq!(say(&socket, &["kill", "strait.control"]).code, Some(1));
    let names = done(&socket, &["ps"]);
    assert!(names.contains("sleeper/blue") && !names.contains("second"), "{names}");
    assert_eq!(say(&socket, &["spawn", "--template", "sleeper", "--", "sleep"]).code, Some(2));
}

#[test]
fn a_world_begins_anew_from_the_command_line() {
    let dir = Dir::new("restart");
    let (_up, socket) = up(&dir);
    // It knows nothing of strait, so a signal ends it.
    let restarted = done(&socket, &["restart", "first"]);
    assert!(
        restarted.starts_with("first is world ") && restarted.contains("\nthe life before ended in "),
        "{restarted}"
    );
    done(&socket, &["spawn", "stubborn", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"]);
    let restarted = done(&socket, &["restart", "stubborn", "--deadline", "300ms"]);
    assert!(restarted.contains("\nthe life before had to be killed after "), "{restarted}");
    let upgraded = done(&socket, &["upgrade", "stubborn", "--template", "sleeper", "--deadline", "300ms"]);
    assert!(upgraded.contains("\nthe life before had to be killed after "), "{upgraded}");
    let unknown = say(&socket, &["upgrade", "first", "--template", "sleepr"]);
    assert!(unknown.err.contains("there is no template `sleepr` (there are: sleeper)"), "{}", unknown.err);
    assert_eq!(say(&socket, &["restart", "strait.control"]).code, Some(1));
}
