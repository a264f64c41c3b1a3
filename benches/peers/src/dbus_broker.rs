//! dbus-broker, which is started by a controller: systemd's launcher usually, a small one here.
//!
//! The controller holds a connection to the broker on which it hands over the listening socket and the policy, and the broker ends
//! with that connection.

use crate::dbus::{Carrier, address};
use crate::server;
use rustbus::connection::Timeout;
use rustbus::message_builder::{MarshalledMessage, MessageBuilder};
use rustbus::wire::{ObjectPath, UnixFd};
use rustbus::{DuplexConn, Marshal, MessageType, Signature};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use strait_measure::Outcome;

pub struct Broker;

/// Everyone may connect, own, send, and receive.
#[derive(Marshal, Signature)]
struct Own {
    is_allowed: bool,
    priority: u64,
    is_prefix: bool,
    name: &'static str,
}

#[derive(Marshal, Signature)]
struct Transmit {
    is_allowed: bool,
    priority: u64,
    name: &'static str,
    path: &'static str,
    interface: &'static str,
    member: &'static str,
    kind: u32,
    broadcast: u32,
    least_fds: u64,
    most_fds: u64,
}

#[derive(Marshal, Signature)]
struct Batch {
    may_connect: bool,
    priority: u64,
    own: Vec<Own>,
    send: Vec<Transmit>,
    receive: Vec<Transmit>,
}

#[derive(Marshal, Signature)]
struct OfUid {
    uid: u32,
    batch: Batch,
}

#[derive(Marshal, Signature)]
struct OfGroup {
    is_gid: bool,
    first: u32,
    last: u32,
    batch: Batch,
}

/// As versions from 22 to 33 have it.
#[derive(Marshal, Signature)]
struct Policy {
    uids: Vec<OfUid>,
    groups: Vec<OfGroup>,
    selinux: Vec<(&'static str, &'static str)>,
    has_apparmor: bool,
}

/// As versions after that have it.
#[derive(Marshal, Signature)]
struct NewerPolicy {
    uids: Vec<OfUid>,
    groups: Vec<OfGroup>,
    selinux: Vec<(&'static str, &'static str)>,
    has_apparmor: bool,
    bus: &'static str,
}

fn everybody() -> Vec<OfUid> {
    let transmit = || Transmit {
        is_allowed: true,
        priority: 1,
        name: "",
        path: "",
        interface: "",
        member: "",
        kind: 0,
        broadcast: 0,
        least_fds: 0,
        most_fds: u64::MAX,
    };
    let own = Own { is_allowed: true, priority: 1, is_prefix: true, name: "" };
    let batch =
        Batch { may_connect: true, priority: 1, own: vec![own], send: vec![transmit()], receive: vec![transmit()] };
    vec![OfUid { uid: u32::MAX, batch }]
}

impl Carrier for Broker {
    const NAME: &str = "dbus-broker";

    fn missing() -> Option<String> {
        server::missing("dbus-broker", "dbus-broker")
    }

    fn serve(dir: &Path) -> Outcome<()> {
        let older = Policy { uids: everybody(), groups: vec![], selinux: vec![], has_apparmor: false };
        let mut controller = match Controller::start(dir, "older", older) {
            Ok(controller) => controller,
            Err(_) => {
                let bus = "session";
                let newer =
                    NewerPolicy { uids: everybody(), groups: vec![], selinux: vec![], has_apparmor: false, bus };
                Controller::start(dir, "newer", newer)?
            }
        };
        // Until this process is killed, and the broker ends with its connection.
        loop {
            controller.connection.recv.get_next_message(Timeout::Infinite)?;
        }
    }
}

struct Controller {
    connection: DuplexConn,
    _broker: Child,
}

impl Controller {
    fn start(dir: &Path, attempt: &str, policy: impl Marshal) -> Outcome<Self> {
        let path = dir.join(format!("controller-{attempt}"));
        let listener = UnixListener::bind(&path)?;
        // The broker answers while the controller introduces itself, so it has to be started from beside.
        let started = std::thread::spawn(move || start_broker(&listener).map_err(|error| error.to_string()));
        let address = nix::sys::socket::UnixAddr::new(&path)?;
        let mut connection = DuplexConn::connect_to_bus(address, true)?;
        let broker = started.join().map_err(|_| "the broker doesn't start")??;
        connection.send.send_message_write_all(&add_listener(dir, policy)?)?;
        let answer = connection.recv.get_next_message(Timeout::Infinite)?;
        match answer.typ {
            MessageType::Reply => Ok(Self { connection, _broker: broker }),
            _ => Err(format!("the broker refuses: {:?}", answer.dynheader.error_name).into()),
        }
    }
}

fn start_broker(listener: &UnixListener) -> Outcome<Child> {
    let (connection, _) = listener.accept()?;
    let mut command = server::command("dbus-broker");
    command.args(["--controller", "0", "--machine-id", "0123456789abcdef0123456789abcdef"]);
    // What a user may have is shared out among those it talks to; credit bounds what is really queued.
    command.args(["--max-bytes", "1000000000000", "--max-fds", "1000000", "--max-matches", "1000000"]);
    command.args(["--max-objects", "1000000000"]).stdin(Stdio::from(OwnedFd::from(connection)));
    Ok(command.spawn()?)
}

fn add_listener(dir: &Path, policy: impl Marshal) -> Outcome<MarshalledMessage> {
    let socket = address(dir);
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let call = MessageBuilder::new().call("AddListener").with_interface("org.bus1.DBus.Broker");
    let mut message = call.on("/org/bus1/DBus/Broker").build();
    message.body.push_param(ObjectPath::new("/org/bus1/DBus/Listener/0")?)?;
    message.body.push_param(UnixFd::new(listener.into_raw_fd()))?;
    message.body.push_variant(policy)?;
    Ok(message)
}
