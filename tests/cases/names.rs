//! Names that lead where their owners like: the gate asks a real DNS server, in a network of its own, that answers as a rogue one would.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use strait_broker::WorldId;
use strait_tests::{Stage, actor};

/// Says to the program that it is in that network.
const INSIDE: &str = "STRAIT_NAMES_INSIDE";
/// What makes one: only loopback, and one server to ask.
const ENTER: &str = "ip link set lo up && printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' > \"$CONF\" && mount --bind \"$CONF\" /etc/resolv.conf && exec \"$@\"";

type Asked = Arc<Mutex<Vec<String>>>;

/// The answers to the first question for a name's IPv4 addresses, the second, and so on: the last one from then on.
type Zone = HashMap<&'static str, Vec<Vec<Ipv4Addr>>>;

/// A server that knows these names and writes down what it was asked, `NAME TYPE`.
fn serve(mut zone: Zone) -> Asked {
    let (socket, asked) = (UdpSocket::bind("127.0.0.1:53").unwrap(), Asked::default());
    let heard = asked.clone();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let (name, kind, end) = question(&query[..length]);
            heard.lock().unwrap().push(format!("{name} {kind}"));
            let addresses = if kind == A { answers(&mut zone, &name) } else { Vec::new() };
            socket.send_to(&response(&query[..end], &addresses), from).unwrap();
        }
    });
    asked
}

/// The type of question that asks for IPv4 addresses (RFC 1035).
const A: u16 = 1;

fn answers(zone: &mut Zone, name: &str) -> Vec<Ipv4Addr> {
    match zone.get_mut(name) {
        Some(all) if all.len() > 1 => all.remove(0),
        Some(all) => all[0].clone(),
        None => Vec::new(),
    }
}

/// The name, the type, and where the question ends.
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

/// The question again, and the addresses, under another name (CNAME) that is valid for no time at all.
fn response(question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    const ALIAS: &[u8] = b"\x05inner\x04test\0";
    let count = if addresses.is_empty() { 0 } else { 1 + addresses.len() as u16 };
    let head = [u16::from_be_bytes([question[0], question[1]]), 0x8180, 1, count, 0, 0];
    let mut bytes: Vec<u8> =
        head.iter().flat_map(|word| word.to_be_bytes()).chain(question[12..].iter().copied()).collect();
    if !addresses.is_empty() {
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, ALIAS.len() as u8]);
        bytes.extend(ALIAS);
    }
    for address in addresses {
        bytes.extend([ALIAS, &[0, 1, 0, 1, 0, 0, 0, 0, 0, 4], &address.octets()].concat());
    }
    bytes
}

fn dial(stage: &mut Stage, world: WorldId, place: &str) -> String {
    String::from_utf8(stage.ask(world, format!("dial {place}").as_bytes())).unwrap()
}

#[test]
fn a_name_is_asked_for_once_and_judged_by_all_that_it_leads_to() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a network with a DNS server of one's own takes root");
        return;
    }
    let conf = std::env::temp_dir().join(format!("strait-names-{}", std::process::id()));
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--", "sh", "-ec", ENTER, "sh"]).arg(std::env::current_exe().unwrap());
    let status = command.args(["--nocapture"]).env(INSIDE, "1").env("CONF", &conf).status();
    let _ = std::fs::remove_file(conf);
    assert!(status.expect("unshare, of util-linux").success());
}

fn inside() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let at = |last: u8| Ipv4Addr::new(127, 0, 0, last);
    let public = Ipv4Addr::new(9, 9, 9, 9);
    let asked = serve(HashMap::from([
        ("named.test", vec![vec![at(1)]]),
        ("both.test", vec![vec![public, at(2)]]),
        ("credentials.test", vec![vec![Ipv4Addr::new(169, 254, 169, 254)]]),
        ("127-0-0-1.test", vec![vec![at(3)]]),
        // First what is named, then what isn't.
        ("rebound.test", vec![vec![at(1)], vec![at(4)]]),
    ]));
    let mut stage = Stage::new();
    let mut world = actor(&["dialer"], &[]);
    world.network = vec![format!("*.test:{port}"), format!("127.0.0.1:{port}")];
    let world = stage.host.spawn("dialer", &world).unwrap();
    let denied = |what: &str| format!(":{port} is {what}");
    for (name, expected) in [
        ("named.test", format!("connected to 127.0.0.1:{port}")),
        ("both.test", denied("127.0.0.2, this machine's loopback: it takes a line that names the address")),
        ("credentials.test", denied("169.254.169.254, link-local")),
        ("127-0-0-1.test", denied("127.0.0.3, this machine's loopback")),
        ("rebound.test", format!("connected to 127.0.0.1:{port}")),
        ("rebound.test", denied("127.0.0.4, this machine's loopback")),
        ("nobody.test", "nobody.test".into()),
    ] {
        asked.lock().unwrap().clear();
        let said = dial(&mut stage, world, &format!("{name}:{port}"));
        assert!(said.contains(&expected), "{name}: {said}");
        let asked = asked.lock().unwrap();
        assert_eq!(asked.iter().filter(|one| **one == format!("{name} {A}")).count(), 1, "asked for once: {asked:?}");
        assert!(asked.iter().all(|one| one.starts_with(name)), "and for nothing else: {asked:?}");
    }
    // What is denied by its name causes no packet: names carry data out.
    asked.lock().unwrap().clear();
    for name in ["data.attacker.example", "test", "a.test.", "evil-test"] {
        let place = if name == "a.test." { "a.test.:1".into() } else { format!("{name}:{port}") };
        let said = dial(&mut stage, world, &place);
        assert!(said.contains("policy doesn't let you"), "{name}: {said}");
    }
    assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
}
