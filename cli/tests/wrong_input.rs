//! Wrong input: what is said, what to do next, and the exit code.

mod common;

use common::{Dir, Foreground, Said, ask, run, strait, up};
use std::io::Write;
use std::os::unix::net::UnixListener;

/// One line says what is wrong, one what to do.
fn assert_says(said: &Said, code: i32, what: &str, hint: &str) {
    assert_eq!(said.code, Some(code), "{}", said.err);
    let first = said.err.lines().next().unwrap_or_default();
    assert!(first.starts_with("strait: ") && first.contains(what), "{}", said.err);
    assert!(said.err.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{}", said.err);
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest() {
    let dir = Dir::new("unknown-key");
    let file = dir.file("w.toml", "[worlds.a]\ncomand = [\"true\"]\n");
    let said = run(up(&file, &dir.path("s")));
    assert_says(&said, 1, "w.toml:2:1: unknown key `comand`", "did you mean `command`?");
    assert!(said.err.contains(" 2 | comand = [\"true\"]\n   | ^^^^^^\n"), "{}", said.err);
}

#[test]
fn a_missing_command_is_shown_at_its_world() {
    let dir = Dir::new("no-command");
    let said = run(up(&dir.file("w.toml", "[worlds.a]\nread = []\n"), &dir.path("s")));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("w.toml:1:1: `command` is missing here"), "{}", said.err);
}

#[test]
fn a_file_that_isnt_there_is_named() {
    let dir = Dir::new("no-file");
    let said = run(up(&dir.path("none.toml"), &dir.path("s")));
    assert_says(&said, 1, "none.toml: No such file", "`strait up --help` has one to begin with");
}

#[test]
fn no_broker_has_a_hint() {
    let dir = Dir::new("no-broker");
    let socket = dir.path("none.sock");
    let hint = "start a broker with `strait up FILE`, or name its socket with --socket";
    assert_says(&ask(&socket, ["ps"]), 1, "none.sock", hint);
    assert_says(&ask(&socket, ["send", "a", "b"]), 1, "none.sock", hint);
    assert_says(&ask(&socket, ["request", "a", "b"]), 1, "none.sock", hint);
    assert_says(&ask(&socket, ["stop", "a"]), 1, "none.sock", hint);
    assert_says(&ask(&socket, ["inspect", "a"]), 1, "none.sock", hint);
}

#[test]
fn two_brokers_dont_share_a_socket() {
    let dir = Dir::new("second-up");
    let (file, socket) = (dir.file("w.toml", "[worlds.a]\ncommand = [\"sleep\", \"60\"]\n"), dir.path("s"));
    let mut first = Foreground::up(&file, &socket);
    first.expect("started a");
    let second = run(up(&file, &socket));
    assert_says(&second, 1, "another strait is listening here", "--socket");
    assert_eq!(ask(&socket, ["ps"]).code, Some(0), "the first one goes on");
    first.interrupt();
    assert_eq!(first.end().0, Some(0));
    assert!(!socket.exists(), "the socket is gone with its broker");
}

/// Who mixes up two paths loses no file by it.
#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = Dir::new("no-socket");
    let (file, socket) = (dir.file("w.toml", "[worlds.a]\ncommand = [\"sleep\", \"60\"]\n"), dir.path("s"));
    assert_says(&run(up(&file, &file)), 1, "w.toml: something is here that is no socket", "--socket");
    let mut first = Foreground::up(&file, &socket);
    first.expect("started a");
    let said = ask(&socket, ["metrics", "--listen", file.to_str().expect("UTF-8")]);
    assert_says(&said, 1, "w.toml: something is here that is no socket", "--listen names a new socket");
    assert!(std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with("[worlds.a]")));
}

#[test]
fn a_socket_of_somebody_else_is_named() {
    let dir = Dir::new("stranger");
    let socket = dir.path("s");
    let listener = UnixListener::from(strait_sys::socket::listen(&socket).expect("a socket"));
    listener.set_nonblocking(false).expect("fcntl(2)");
    let stranger = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().expect("a connection");
        first.write_all(b"hello").expect("sent");
        drop(listener.accept().expect("another"));
    });
    let hint = "it may be no strait";
    assert_says(&ask(&socket, ["ps"]), 1, "not a handshake message of strait", hint);
    assert_says(&ask(&socket, ["ps"]), 1, "it hung up before it said anything", hint);
    stranger.join().expect("it served both");
}

#[test]
fn who_isnt_in_a_broker_is_told_what_there_is() {
    const WORLDS: &str = "[worlds.a]\ncommand = [\"sleep\", \"60\"]\n[templates.t]\ncommand = [\"sleep\", \"60\"]\n[groups.g]\ntemplate = \"t\"\n";
    let dir = Dir::new("nobody");
    let (file, socket) = (dir.file("w.toml", WORLDS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started a");
    for command in ["send", "stop", "kill", "rm", "wake", "restart", "snapshot", "inspect", "clone"] {
        assert_says(&ask(&socket, [command, "nope"]), 1, "there is no world named `nope`", "`strait ps`");
    }
    for command in ["stop", "kill", "rm", "restart"] {
        let said = ask(&socket, [command, "g"]);
        assert!(
            said.code == Some(1) && said.err.contains("`g` is a group: `strait groups`"),
            "{command}: {}",
            said.err
        );
    }
    // What says itself what to do has no hint beside it.
    let said = ask(&socket, ["upgrade", "a", "--template", "x"]);
    assert_eq!((said.code, &*said.err), (Some(1), "strait: there is no template `x` (there are: t)\n"));
    assert_says(&ask(&socket, ["spawn", "b", "--", "no-such"]), 1, "no such program 'no-such'", "is the program");
    let said = ask(&socket, ["log", "nope"]);
    assert!(said.code == Some(0) && said.err.contains("there is nothing about `nope`"), "{}", said.err);
    let said = ask(&socket, ["pub", "strait.x", "y"]);
    assert!(said.err.contains("policy lets nobody: topics that start with `strait.`"), "{}", said.err);
}

#[test]
fn usage_is_2_but_125_for_run() {
    assert_eq!(run(strait(["up"])).code, Some(2));
    assert_eq!(run(strait(["fly"])).code, Some(2));
    assert_eq!(run(strait(["request", "a", "--timeout", "5"])).code, Some(2));
    assert_eq!(run(strait(["run", "--bogus", "--", "true"])).code, Some(125));
    assert_eq!(run(strait(["run", "--slice", "100", "--", "true"])).code, Some(125));
    assert_eq!(run(strait(["run", "--may", "fly", "--", "true"])).code, Some(125));
    assert_eq!(run(strait(["run", "--help"])).code, Some(0));
}

#[test]
fn completions_are_scripts() {
    for (shell, text) in [("bash", "_strait()"), ("zsh", "#compdef strait"), ("fish", "complete -c strait")] {
        let said = run(strait(["completions", shell]));
        assert!(said.code == Some(0) && said.out.contains(text), "{shell}");
    }
    assert_eq!(run(strait(["completions", "dos"])).code, Some(2));
}
