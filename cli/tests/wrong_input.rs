//! Wrong input: what is said, what to do next, and the exit code.

mod common;

use common::{Dir, Foreground, Said, ask, run, strait, up};

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
    assert_says(&said, 1, "none.toml: No such file", "examples/two-worlds.toml");
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
fn every_command_explains_itself() {
    for command in ["up", "run", "ps", "send", "request", "stop", "inspect", "doctor", "completions"] {
        let said = run(strait([command, "--help"]));
        assert!(said.code == Some(0) && said.out.contains("Usage: strait"), "{command}: {}", said.err);
    }
    assert!(run(strait(["--help"])).out.contains("Exit codes:"));
}

#[test]
fn completions_are_scripts() {
    for (shell, text) in [("bash", "_strait()"), ("zsh", "#compdef strait"), ("fish", "complete -c strait")] {
        let said = run(strait(["completions", shell]));
        assert!(said.code == Some(0) && said.out.contains(text), "{shell}");
    }
    assert_eq!(run(strait(["completions", "dos"])).code, Some(2));
}
