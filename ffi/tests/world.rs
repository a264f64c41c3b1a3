//! C programs against the header and the libraries: no Rust in them but libstrait.

mod build;
mod switch;

use build::{Link, c_program};
use std::collections::VecDeque;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use strait_protocol::{Kind, SliceSize, cause};
use switch::{PEER, Switch, request, shutdown_notice};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn null_is_an_error_and_no_crash() {
    for link in [Link::Archive, Link::Shared] {
        let Output { status, stderr, .. } = Command::new(c_program("tests/nulls.c", link)).output().unwrap();
        assert!(status.success(), "{status}: {}", text(&stderr));
    }
}

#[test]
fn a_world_that_is_none_says_so() {
    // A shell closes descriptor 3, whatever the test runner left there.
    let echo = c_program("examples/world.c", Link::Archive);
    let output = Command::new("sh").args(["-c", "exec \"$0\" 3<&-"]).arg(echo).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("echo: this process is no world of strait: it has no connection at descriptor 3"),
        "{said}"
    );
}

#[test]
fn a_c_world_sends_and_takes_any_length_and_many_at_once() {
    for link in [Link::Archive, Link::Shared] {
        let (mut switch, connection) = Switch::new(SliceSize::MIN);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" 3<&0 0</dev/null"]).arg(c_program("tests/streams.c", link));
        let mut world = shell.stdin(connection).stderr(Stdio::piped()).spawn().unwrap();
        switch.finish_handshake();
        // What it sends comes back to it.
        let (mut back, end) = (VecDeque::new(), Instant::now() + Duration::from_secs(30));
        while world.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the world doesn't end");
            back.extend(switch.try_take());
            let came_back =
                back.front().is_some_and(|(header, payload): &(_, Vec<u8>)| switch.try_deliver(*header, payload));
            if came_back {
                back.pop_front();
            }
        }
        let Output { status, stderr, .. } = world.wait_with_output().unwrap();
        assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()));
    }
}

#[test]
fn the_c_world_echoes_until_it_is_told_to_end() {
    for link in [Link::Static, Link::Archive, Link::Shared] {
        let (mut switch, connection) = Switch::new(SliceSize::MIN);
        // The connection comes in as stdin, and the shell moves it to where a world looks for it.
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" 3<&0 0</dev/null"]).arg(c_program("examples/world.c", link));
        let echo = shell.stdin(connection).stderr(Stdio::piped()).spawn().unwrap();
        switch.finish_handshake();
        // Several times around the ring, with lengths that end anywhere.
        for correlation in 1..500 {
            let payload = vec![correlation as u8; correlation as usize * 13];
            switch.deliver(request(PEER, correlation), &payload);
            let (header, answer) = switch.take();
            assert_eq!((header.kind, header.destination, header.code), (Kind::Reply, PEER, 0));
            assert_eq!((header.correlation, header.tag, header.cause), (correlation, 9, cause(PEER, correlation)));
            assert!(answer == payload);
        }
        thread::sleep(Duration::from_millis(20));
        switch.deliver(shutdown_notice(), b"enough");
        let (header, _) = switch.take();
        assert_eq!((header.kind, header.correlation), (Kind::Reply, shutdown_notice().correlation));
        let Output { status, stderr, .. } = echo.wait_with_output().unwrap();
        assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()));
    }
}
