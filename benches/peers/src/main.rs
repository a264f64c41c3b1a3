//! What a user would pick instead of strait, where that is heavy to build or needs something installed: the processes of these
//! peers. `cargo xtask bench` builds this program; the benchmark starts it for each process of a run.
#![forbid(unsafe_code)]

mod dbus;
mod dbus_broker;
mod iceoryx;
mod nats;
mod redis;
mod server;
mod zenoh;
mod zeromq;

use strait_measure::{Entry, Outcome, perform};

const ENTRIES: &[Entry] = &[
    Entry::of::<iceoryx::Iceoryx<iceoryx::Poll>>(),
    Entry::of::<iceoryx::Iceoryx<iceoryx::Event>>(),
    Entry::of::<zeromq::Direct>(),
    Entry::of::<zeromq::Proxy>(),
    Entry::of::<nats::Nats>(),
    Entry::of::<dbus::Bus<dbus_broker::Broker>>(),
    Entry::of::<dbus::Bus<dbus::Daemon>>(),
    Entry::of::<redis::Redis>(),
    Entry::of::<zenoh::Zenoh<zenoh::Direct>>(),
    Entry::of::<zenoh::Zenoh<zenoh::Router>>(),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list(),
        [assignment] => perform(ENTRIES, assignment),
        _ => Err("this program is started by the benchmark: cargo xtask bench".into()),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// A line of JSON for each peer.
fn list() -> Outcome<()> {
    for entry in ENTRIES {
        println!("{}", serde_json::to_string(&entry.spec())?);
    }
    Ok(())
}
