//! Host programs attach through the listening socket: the kernel names their uid, policy says who may be whom.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::Uid;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strait_broker::{AttachRule, Client, Config, Error, Host};
use strait_client::Kind;
use strait_tests::{LONG, Stage, program};

/// A directory that is removed with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("strait-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(scratch: &Scratch) -> Config {
    let uid = rustix::process::geteuid().as_raw();
    let rule = |name: &str, uid| AttachRule {
        name: name.into(),
        uid,
        send: vec!["*".into()],
        link: Vec::new(),
        may: vec!["list".into()],
        ask: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    Config {
        socket: Some(scratch.0.join("socket")),
        attach: vec![rule("ours/*", uid), rule("theirs", uid + 1)],
        ..Config::default()
    }
}

fn refusal(result: Result<Client, Error>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(client) => panic!("attached as {}", client.name()),
    }
}

#[test]
fn who_attaches_is_who_the_kernel_says() {
    let scratch = Scratch::new("attach");
    let config = config(&scratch);
    let socket = config.socket.clone().unwrap();
    let mut stage = Stage::with(&config);
    let mut one = Client::attach(&socket, "ours/one").unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(
        refusal(Client::attach(&socket, "theirs")),
        format!("refused: no `attach` rule lets uid {uid} be `theirs`")
    );
    assert_eq!(refusal(Client::attach(&socket, "nobody")), "refused: no `attach` rule covers the name `nobody`");
    assert_eq!(refusal(Client::attach(&socket, "ours/one")), "refused: there is a world named `ours/one` already");
    assert!(refusal(Client::attach(&socket, "no good")).contains("' '"));
    let row = one.list().unwrap().into_iter().find(|row| row.name == "ours/one").unwrap();
    assert_eq!((row.state.as_str(), row.uid, row.pid), ("attached", uid, std::process::id().cast_signed()));

    // What it may is what its rule says.
    assert!(matches!(one.stop("host", LONG, ""), Err(Error::Refused(_))));
    let host = one.resolve("host").unwrap();
    one.send(host, b"hello").unwrap();
    let (header, payload) = stage.receive();
    assert_eq!((header.source, header.kind, &payload[..]), (one.id(), Kind::Message, &b"hello"[..]));

    // Its end is noticed, and its name is free again.
    let id = one.id();
    drop(one);
    stage.client().wait(id, Some(LONG)).unwrap();
    Client::attach(&socket, "ours/one").unwrap();
}

#[test]
fn bytes_that_are_no_hello_are_refused() {
    let scratch = Scratch::new("hello");
    let config = config(&scratch);
    let _stage = Stage::with(&config);
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[0; 512], &[0; 4000], b"strt\x01\x00\x01"] {
        let connection = strait_sys::socket::connect(config.socket.as_ref().unwrap()).unwrap();
        strait_sys::socket::send(connection.as_fd(), bytes, &[]).unwrap();
        let mut buffer = [0; 512];
        let (length, fds) = strait_sys::socket::receive(connection.as_fd(), &mut buffer).unwrap_or((0, Vec::new()));
        assert!(fds.is_empty(), "{length} bytes and {} descriptors", fds.len());
    }
}

/// A TCP connection with more to send than anybody takes, whose last close waits for as long as this (`SO_LINGER`, `socket(7)`).
fn slow_to_close(lingers: Duration) -> (OwnedFd, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    connection.set_nonblocking(true).unwrap();
    // Until nobody takes more, which the kernels' buffers do for a while after they are full.
    let mut refusals = 0;
    while refusals < 5 {
        refusals = if connection.write(&[0; 65536]).is_ok() { 0 } else { refusals + 1 };
        std::thread::sleep(Duration::from_millis(if refusals > 0 { 20 } else { 0 }));
    }
    rustix::net::sockopt::set_socket_linger(&connection, Some(lingers)).unwrap();
    (connection.into(), listener)
}

/// Who sends a descriptor decides what closing it takes, so nobody may send one: not even who would be refused anyway.
#[test]
fn a_descriptor_that_is_slow_to_close_holds_nobody_up() {
    // The positive control: whoever closes it waits. Not if it isn't the last close, because another test has just forked: then once more.
    let waits = || {
        let (connection, _peer) = slow_to_close(Duration::from_secs(1));
        let begun = Instant::now();
        drop(connection);
        begun.elapsed() >= Duration::from_millis(900)
    };
    assert!((0..10).any(|_| waits()), "closing it takes no time");

    let scratch = Scratch::new("slow");
    let config = config(&scratch);
    let socket = config.socket.clone().unwrap();
    let stage = Stage::with(&config);
    let rogue = strait_sys::socket::connect(&socket).unwrap();
    let (slow, _peer) = slow_to_close(LONG);
    // Stopped for a moment, so that the rogue has closed its own by the time the supervisor looks: the last close is what waits.
    let supervisor = Pid::from_raw(stage.broker_pids().0.cast_signed()).unwrap();
    kill_process(supervisor, Signal::STOP).unwrap();
    let sent = strait_sys::socket::send(rogue.as_fd(), b"hello", &[slow.as_fd()]);
    let kept = sent.is_err().then_some(slow);
    kill_process(supervisor, Signal::CONT).unwrap();
    let begun = Instant::now();
    Client::attach(&socket, "ours/one").unwrap();
    assert!(begun.elapsed() < LONG / 2, "the supervisor closed it: {:?}", begun.elapsed());
    assert_eq!(sent, Err(Errno::PERM));
    // So it is ours alone to close, which shall take no time.
    rustix::net::sockopt::set_socket_linger(kept.unwrap(), None).unwrap();
}

/// Whoever connects and says nothing keeps out those of the same user alone, for a while.
#[test]
fn silent_programs_of_one_user_keep_no_other_out() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can connect as two users");
        return;
    }
    let scratch = Scratch::new("silent");
    let config = config(&scratch);
    let socket = config.socket.clone().unwrap();
    let _stage = Stage::with(&config);
    let nobody = Uid::from_raw(65534);
    let silent = |count: usize| (0..count).map(|_| strait_sys::socket::connect(&socket).unwrap()).collect::<Vec<_>>();
    let theirs = std::thread::scope(|scope| {
        let connect = || {
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            silent(100)
        };
        scope.spawn(connect).join().unwrap()
    });
    Client::attach(&socket, "ours/one").unwrap();
    // The positive control: as many of one's own do keep one out.
    let own = silent(100);
    assert!(Client::attach(&socket, "ours/two").is_err());
    drop((theirs, own));
}

#[test]
fn two_brokers_cant_share_a_socket() {
    let scratch = Scratch::new("twice");
    let config = config(&scratch);
    let stage = Stage::with(&config);
    let second = Host::start_program(&program(), &config).unwrap_err().to_string();
    assert!(second.contains("another strait is listening here"), "{second}");
    drop(stage);
    // The first is gone, and so is its socket; and one that a killed broker left behind is replaced.
    let socket = config.socket.clone().unwrap();
    assert!(!socket.exists());
    drop(strait_sys::socket::listen(&socket).unwrap());
    assert!(socket.exists());
    drop(Stage::with(&config));
}

/// Whoever may not attach may still connect, and has no line of the log for it.
#[test]
fn who_is_refused_and_does_not_stay_fills_no_log() {
    let scratch = Scratch::new("flood");
    let config = config(&scratch);
    let mut stage = Stage::with(&config);
    let socket = config.socket.as_ref().unwrap();
    for _ in 0..200 {
        let connection = strait_sys::socket::connect(socket).unwrap();
        let sent = strait_sys::socket::send(connection.as_fd(), b"hello", &[]);
        // Whoever comes when too many are there is refused before it has said anything.
        assert!(matches!(sent, Ok(()) | Err(Errno::PIPE | Errno::CONNRESET)), "{sent:?}");
    }
    // As soon as the supervisor has come to the last of them.
    let end = Instant::now() + LONG;
    while Client::attach(socket, "ours/late").is_err() {
        assert!(Instant::now() < end, "it accepts again");
        std::thread::sleep(Duration::from_millis(5));
    }
    let lines = stage.client().log(0).unwrap();
    assert!(lines.len() < 20 && lines.iter().any(|line| line.world == "ours/late"), "{lines:?}");
}
