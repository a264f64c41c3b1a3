//! Worlds that connect to the network: where policy lets them, through the gate, and no longer than it lets them.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};
use strait_broker::{World, WorldId};
use strait_tests::attack::bend;
use strait_tests::{LONG, Stage, actor};

/// A world that dials, by these lines of its policy.
fn dialer(network: &[String]) -> World {
    let mut world = actor(&["dialer"], &[]);
    world.network = network.to_vec();
    world
}

/// A server that says what it is told, and its port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || {
                let mut connection = connection.unwrap();
                let mut heard = [0; 64];
                while let Ok(length @ 1..) = connection.read(&mut heard) {
                    let _ = connection.write_all(&heard[..length]);
                }
            });
        }
    });
    port
}

fn tell(stage: &mut Stage, world: WorldId, order: &str) -> String {
    String::from_utf8(stage.ask(world, order.as_bytes())).unwrap()
}

/// Tells a world to ask for something, grants that, and returns the grant's number.
fn grant(stage: &mut Stage, world: WorldId, resource: &str, time: Option<Duration>) -> u64 {
    stage.client().start_request(world, format!("ask {resource}").as_bytes(), LONG).unwrap();
    let number = question(stage);
    stage.client().grant(number, time).unwrap();
    stage.receive();
    number
}

fn question(stage: &mut Stage) -> u64 {
    let end = Instant::now() + LONG;
    loop {
        match &stage.client().requests().unwrap()[..] {
            [only] => return only.number,
            others => assert!(others.is_empty() && Instant::now() < end, "{others:?}"),
        }
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_world_connects_where_its_policy_lets_it() {
    let (port, other) = (echo(), echo());
    let mut stage = Stage::new();
    let place = format!("127.0.0.1:{port}");
    let world = stage.host.spawn("dialer", &dialer(std::slice::from_ref(&place))).unwrap();
    assert_eq!(tell(&mut stage, world, &format!("dial {place}")), format!("connected to {place}"));
    assert_eq!(tell(&mut stage, world, "say hello"), "hello");
    let why = tell(&mut stage, world, &format!("dial 127.0.0.1:{other}"));
    assert_eq!(why, format!("policy doesn't let you: it takes `network = [\"127.0.0.1:{other}\"]`"));
    // It may be dialled, and nobody listens.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = stage.host.spawn("other", &dialer(&[closed.to_string()])).unwrap();
    let why = tell(&mut stage, world, &format!("dial {closed}"));
    assert!(why.contains("Connection refused"), "{why}");
    let log = stage.client().log(0).unwrap();
    for said in [
        format!("dials {place}: {place} as 127.0.0.1:"),
        format!("may not dial 127.0.0.1:{other}"),
        format!("doesn't get to {closed}"),
    ] {
        assert!(log.iter().any(|line| line.text.starts_with(&said)), "{said}: {log:?}");
    }
}

/// Whatever a name leads to is judged, and what isn't public has to be named by its address.
#[test]
fn a_name_leads_no_further_than_its_address() {
    let port = echo();
    let mut stage = Stage::new();
    let name = format!("localhost:{port}");
    let by_name = stage.host.spawn("by-name", &dialer(std::slice::from_ref(&name))).unwrap();
    let why = tell(&mut stage, by_name, &format!("dial {name}"));
    assert!(why.contains("loopback: it takes a line that names the address"), "{why}");
    let all = [name.clone(), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let by_both = stage.host.spawn("by-both", &dialer(&all)).unwrap();
    assert_eq!(tell(&mut stage, by_both, &format!("dial LOCALHOST.:{port}")), format!("connected to 127.0.0.1:{port}"));
    assert_eq!(tell(&mut stage, by_both, "say hello"), "hello");
}

/// By a line or by a grant, and not without.
#[test]
fn what_policy_check_says_of_places_is_what_happens() {
    let ports = [echo(), echo(), echo()];
    let places: Vec<String> = ports
        .iter()
        .flat_map(|port| [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"), format!("localhost:{port}")])
        .collect();
    let mut stage = Stage::new();
    let mut asker = dialer(&[format!("127.0.0.1:{}", ports[0]), "127.0.0.2:*".into(), format!("[::1]:{}", ports[1])]);
    asker.ask = vec!["network 127.0.0.1:*".into(), "network localhost:*".into()];
    let world = stage.host.spawn("asker", &asker).unwrap();
    let agree = |stage: &mut Stage| {
        let mut allowed = 0;
        for place in &places {
            let said = tell(stage, world, &format!("dial {place}"));
            let (is_allowed, why) = stage.client().judge("asker", &format!("network {place}")).unwrap();
            assert_eq!(!said.starts_with("policy"), is_allowed, "{place}: {said}, and {why}");
            allowed += usize::from(is_allowed);
        }
        allowed
    };
    assert_eq!(agree(&mut stage), 4);
    let numbers = [format!("network 127.0.0.1:{}", ports[1]), format!("network localhost:{}", ports[1])]
        .map(|resource| grant(&mut stage, world, &resource, None));
    assert_eq!(agree(&mut stage), 6);
    tell(&mut stage, world, "drop");
    for number in numbers {
        stage.client().revoke(number).unwrap();
    }
    assert_eq!(agree(&mut stage), 4);
}

/// Denied by its text alone: no gate comes up that could ask anybody for it.
#[test]
fn what_is_denied_by_its_name_is_never_looked_up() {
    let port = echo();
    let mut stage = Stage::new();
    let world = stage.host.spawn("dialer", &dialer(&[format!("127.0.0.1:{port}"), "*.example:*".into()])).unwrap();
    for place in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "169.254.169.254",
        "0.0.0.0",
        "secrets.attacker.test",
        "example",
    ] {
        let why = tell(&mut stage, world, &format!("dial {place}:{port}"));
        assert!(!why.starts_with("connected"), "{place}: {why}");
        assert_eq!(stage.part("strait-gate"), None, "{place}");
    }
    // It comes with the first dial that is allowed.
    assert!(tell(&mut stage, world, &format!("dial 127.0.0.1:{port}")).starts_with("connected"));
    let gate = stage.part("strait-gate").expect("a gate");
    let status = std::fs::read_to_string(format!("/proc/{gate}/status")).unwrap();
    let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    assert_eq!(
        (of("CapEff:"), of("CapBnd:"), of("NoNewPrivs:"), of("Seccomp:")),
        ("0".repeat(16), "0".repeat(16), "1".into(), "2".into())
    );
    assert!(!of("Uid:").split_whitespace().any(|uid| uid == "0"), "{}", of("Uid:"));
}

/// What a connection that was handed over could be used for beside talking to its other end.
#[test]
fn a_connection_is_good_for_nothing_else() {
    let port = echo();
    let mut stage = Stage::new();
    let place = format!("127.0.0.1:{port}");
    let world = stage.host.spawn("dialer", &dialer(std::slice::from_ref(&place))).unwrap();
    tell(&mut stage, world, &format!("dial {place}"));
    let said = tell(&mut stage, world, "misuse");
    assert_eq!(said.matches(": not permitted").count(), 4, "{said}");
    assert_eq!(tell(&mut stage, world, "say hello"), "hello", "and it is as good as before");
    // Out of a jail the first three of these can be done.
    let own = TcpStream::connect(place).unwrap();
    rustix::net::netdevice::name_to_index(&own, "lo").unwrap();
    rustix::net::connect_unspec(&own).unwrap();
    listen(&own, 1).unwrap();
}

/// What may be set of it is what concerns nobody else.
#[test]
fn a_connection_cant_be_bent_elsewhere() {
    let port = echo();
    let mut stage = Stage::new();
    let place = format!("127.0.0.1:{port}");
    let world = stage.host.spawn("dialer", &dialer(std::slice::from_ref(&place))).unwrap();
    tell(&mut stage, world, &format!("dial {place}"));
    let expected = "a source route: EPERM, an interface: EPERM, an interface by number: EPERM, a long close: EPERM, delay: ok, keep: ok";
    assert_eq!(tell(&mut stage, world, "bend"), expected);
    assert_eq!(tell(&mut stage, world, "say hello"), "hello");
    // Out of a jail root can do all of it.
    if !geteuid().is_root() {
        eprintln!("skipped: of these Linux 6.18 lets an ordinary user do only some");
        return;
    }
    let own = TcpStream::connect(place).unwrap();
    assert_eq!(bend(&own), expected.replace("EPERM", "ok"));
    // Closing it would take as long as it says, for what goes elsewhere is never acknowledged. The end of a process doesn't wait for that.
    std::mem::forget(own);
}

/// A gate that is killed at any moment leaves no connection that isn't ended with its grant.
#[test]
fn what_a_lost_gate_handed_over_ends_with_its_grant_too() {
    if !geteuid().is_root() {
        eprintln!("skipped: without root the world is ended instead, which another test shows");
        return;
    }
    let (mut server, mut stage) = (Server::new(), Stage::new());
    let place = format!("127.0.0.1:{}", server.port());
    let mut storm = actor(&["dial-storm", &place], &[]);
    storm.ask = vec!["network 127.0.0.1:*".into()];
    let world = stage.host.spawn("storm", &storm).unwrap();
    let mut killed = 0;
    for round in 0..10 {
        let number = grant(&mut stage, world, &format!("network {place}"), None);
        let end = Instant::now() + Duration::from_millis(400);
        while Instant::now() < end {
            server.watch(Duration::from_millis(15));
            if let Some(gate) = stage.part("strait-gate") {
                // It may have ended by itself.
                killed += u32::from(kill_process(Pid::from_raw(gate.cast_signed()).unwrap(), Signal::KILL).is_ok());
            }
        }
        stage.client().revoke(number).unwrap();
        server.look();
        assert_eq!(server.watch(Duration::from_millis(100)), (0, 0), "after the revocation, round {round}");
        assert_eq!(server.connections.len(), 0, "each was ended, round {round}, {killed} gates killed");
    }
    assert!(killed > 50, "{killed}");
}

#[test]
fn a_grant_is_enough_and_its_end_is_the_connections_end() {
    let port = echo();
    let mut stage = Stage::new();
    let place = format!("127.0.0.1:{port}");
    let mut asker = dialer(&[]);
    asker.ask = vec!["network 127.0.0.1:*".into()];
    let world = stage.host.spawn("asker", &asker).unwrap();
    let why = tell(&mut stage, world, &format!("dial {place}"));
    assert!(why.ends_with("which you may ask for"), "{why}");
    let number = grant(&mut stage, world, &format!("network {place}"), None);
    assert!(tell(&mut stage, world, &format!("dial {place}")).starts_with("connected"));
    assert_eq!(tell(&mut stage, world, "say hello"), "hello");
    stage.client().revoke(number).unwrap();
    if !geteuid().is_root() {
        eprintln!("skipped: without root connections aren't ended, but who holds them");
        let ended = stage.client().wait(world, Some(LONG)).unwrap();
        assert!(ended.killed && ended.note.contains("can't be ended otherwise"), "{ended:?}");
        return;
    }
    assert_eq!(tell(&mut stage, world, "say hello"), "ConnectionAborted");
    assert!(tell(&mut stage, world, &format!("dial {place}")).starts_with("policy"));
    // One for a time ends by itself.
    grant(&mut stage, world, &format!("network {place}"), Some(Duration::from_millis(300)));
    tell(&mut stage, world, &format!("dial {place}"));
    let end = Instant::now() + LONG;
    while tell(&mut stage, world, "say hello") == "hello" {
        assert!(Instant::now() < end, "it goes on");
        sleep(Duration::from_millis(20));
    }
}

/// Who has let go of what it dialled isn't ended for it, root or not.
#[test]
fn a_world_without_connections_outlives_its_grant() {
    let port = echo();
    let mut stage = Stage::new();
    let mut asker = dialer(&[]);
    asker.ask = vec!["network 127.0.0.1:*".into()];
    let world = stage.host.spawn("asker", &asker).unwrap();
    let number = grant(&mut stage, world, &format!("network 127.0.0.1:{port}"), None);
    tell(&mut stage, world, &format!("dial 127.0.0.1:{port}"));
    assert_eq!(tell(&mut stage, world, "drop"), "dropped 1");
    stage.client().revoke(number).unwrap();
    assert_eq!(tell(&mut stage, world, "say hello"), "no connection");
}

/// What has come to a server since it was looked at last: connections, and bytes on all of them.
struct Server {
    listener: TcpListener,
    connections: Vec<TcpStream>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, connections: Vec::new() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn look(&mut self) -> (usize, usize) {
        let (before, mut bytes, mut buffer) = (self.connections.len(), 0, [0; 64 * 1024]);
        while let Ok((connection, _)) = self.listener.accept() {
            connection.set_nonblocking(true).unwrap();
            self.connections.push(connection);
        }
        let come = self.connections.len() - before;
        self.connections.retain_mut(|connection| {
            loop {
                match connection.read(&mut buffer) {
                    Ok(length @ 1..) => bytes += length,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    _ => return false,
                }
            }
        });
        (come, bytes)
    }

    /// Looks for so long, and says what came in all.
    fn watch(&mut self, time: Duration) -> (usize, usize) {
        let (end, mut sum) = (Instant::now() + time, (0, 0));
        while Instant::now() < end {
            let (connections, bytes) = self.look();
            sum = (sum.0 + connections, sum.1 + bytes);
            sleep(Duration::from_millis(1));
        }
        sum
    }
}

/// Three worlds dial as fast as they can and write to what they get. After `revoke` returned nothing more connects and no byte comes, of the one whose
/// grant it was; the others go on.
#[test]
fn nothing_goes_through_under_a_revoked_grant() {
    if !geteuid().is_root() {
        eprintln!("skipped: without root the worlds are ended instead, which another test shows");
        return;
    }
    let mut servers = [Server::new(), Server::new(), Server::new()];
    let mut stage = Stage::new();
    let worlds: Vec<WorldId> = servers
        .iter()
        .map(|server| {
            let mut storm = actor(&["dial-storm", &format!("127.0.0.1:{}", server.port())], &[]);
            storm.ask = vec!["network 127.0.0.1:*".into()];
            stage.host.spawn(&format!("storm-{}", server.port()), &storm).unwrap()
        })
        .collect();
    let ports = servers.each_ref().map(Server::port);
    let mut numbers: Vec<u64> = Vec::new();
    for (world, port) in worlds.iter().zip(ports) {
        numbers.push(grant(&mut stage, *world, &format!("network 127.0.0.1:{port}"), None));
    }
    for round in 0..12 {
        let at = round % 3;
        for server in &mut servers {
            let (end, mut come) = (Instant::now() + LONG, (0, 0));
            while come.0 == 0 || come.1 == 0 {
                assert!(Instant::now() < end, "{come:?} connections and bytes");
                let (connections, bytes) = server.watch(Duration::from_millis(100));
                come = (come.0 + connections, come.1 + bytes);
            }
        }
        stage.client().revoke(numbers[at]).unwrap();
        // What was there before it returned lies in the kernel's queues by now.
        servers[at].look();
        assert_eq!(servers[at].watch(Duration::from_millis(300)), (0, 0), "after the revocation, round {round}");
        assert_eq!(servers[at].connections.len(), 0, "each was ended");
        numbers[at] = grant(&mut stage, worlds[at], &format!("network 127.0.0.1:{}", ports[at]), None);
    }
    for world in worlds {
        let [dialled, refused, ended]: [u64; 3] = serde_json::from_slice(&stage.ask(world, b"count")).unwrap();
        assert!(dialled > 0 && refused > 0 && ended > 0, "{dialled} {refused} {ended}");
    }
}

/// A server that takes no more, with those it took: who dials it gets no answer.
struct BlackHole(SocketAddr, (TcpListener, Vec<TcpStream>));

fn black_hole() -> BlackHole {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(connection) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        full.push(connection);
        assert!(full.len() < 10, "it takes more and more");
    }
    BlackHole(address, (listener, full))
}

/// Waits until the gate has so many open descriptors. Only root sees those: without it some time has to be enough.
fn wait_for_files(stage: &Stage, is_enough: impl Fn(usize) -> bool) {
    if !geteuid().is_root() {
        return sleep(Duration::from_millis(500));
    }
    let end = Instant::now() + LONG;
    let files = || {
        let gate = stage.part("strait-gate").expect("a gate");
        std::fs::read_dir(format!("/proc/{gate}/fd")).unwrap().count()
    };
    while !is_enough(files()) {
        assert!(Instant::now() < end, "{} files", files());
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_dials_where_nobody_answers_keeps_nobody_else_from_dialling() {
    let (BlackHole(address, _full), port) = (black_hole(), echo());
    let mut stage = Stage::new();
    let mut storm = actor(&["dial-storm", &address.to_string()], &[]);
    storm.network = vec![address.to_string()];
    // More than could have all of their dials under way at once, if there were but room for 128.
    let storms: Vec<WorldId> = (0..20).map(|n| stage.host.spawn(&format!("storm-{n}"), &storm).unwrap()).collect();
    let place = format!("127.0.0.1:{port}");
    let world = stage.host.spawn("dialer", &dialer(std::slice::from_ref(&place))).unwrap();
    assert!(tell(&mut stage, world, &format!("dial {place}")).starts_with("connected"));
    // Eight of each are under way: a lane and a socket for each.
    wait_for_files(&stage, |files| files >= 20 * 8 * 2);
    assert!(tell(&mut stage, world, &format!("dial {place}")).starts_with("connected"));
    // Who dies in the middle of a dial leaves nothing.
    for id in &storms {
        let name = stage.row(*id).name;
        stage.client().kill(&name, "enough").unwrap();
    }
    wait_for_files(&stage, |files| files <= 10);
}

/// A dial that got no answer yet ends with its grant.
#[test]
fn a_dial_under_way_ends_with_its_grant() {
    let BlackHole(hole, _full) = black_hole();
    let mut stage = Stage::new();
    let mut asker = dialer(&[]);
    asker.ask = vec![format!("network {hole}")];
    let world = stage.host.spawn("asker", &asker).unwrap();
    let number = grant(&mut stage, world, &format!("network {hole}"), None);
    let dial = stage.client().start_request(world, format!("dial {hole}").as_bytes(), LONG).unwrap();
    let end = Instant::now() + LONG;
    while stage.part("strait-gate").is_none() {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(5));
    }
    wait_for_files(&stage, |files| files >= 6);
    stage.client().revoke(number).unwrap();
    let (header, said) = stage.receive();
    assert_eq!((header.correlation, String::from_utf8(said).unwrap()), (dial, "its grant was revoked".into()));
}

#[test]
fn a_gate_that_is_lost_comes_again_and_connections_dont_notice() {
    let port = echo();
    let mut stage = Stage::new();
    let place = format!("127.0.0.1:{port}");
    let world = stage.host.spawn("dialer", &dialer(std::slice::from_ref(&place))).unwrap();
    tell(&mut stage, world, &format!("dial {place}"));
    let gate = stage.part("strait-gate").expect("a gate");
    kill_process(Pid::from_raw(gate.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(tell(&mut stage, world, "say hello"), "hello");
    let end = Instant::now() + LONG;
    while !tell(&mut stage, world, &format!("dial {place}")).starts_with("connected") {
        assert!(Instant::now() < end);
    }
    assert_eq!(tell(&mut stage, world, "say hello"), "hello");
    assert_ne!(stage.part("strait-gate"), Some(gate));
}

#[test]
fn a_world_with_sockets_of_its_own_may_not_dial() {
    let mut world = dialer(&["example.com:443".into()]);
    world.allow_syscalls = vec!["connect".into()];
    let why = world.check().unwrap_err().to_string();
    assert!(why.contains("could connect them anew"), "{why}");
    assert!(Stage::new().host.spawn("world", &world).unwrap_err().to_string().contains(&why));
}
