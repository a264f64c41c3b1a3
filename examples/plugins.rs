//! A program that hosts plugins it can't trust: each is a world in a jail of its own, and the broker is a part of the program.
//!
//! ```sh
//! cargo run --release -p strait-examples --example plugins
//! ```
//!
//! Two plugins do their work. One crashes, one never answers, one eats memory, and one looks for the host's files and network: none of them
//! costs the host more than the answer it waited for.

use std::time::Duration;
use strait_broker::{Client, Config, Error, Host, HostError, Kind, Reason, World};
use strait_examples::{Outcome, actor, role};

const DOCUMENT: &str = "worlds must message each other and the control world";
/// How long a plugin may take over its answer.
const PATIENCE: Duration = Duration::from_millis(1500);

fn main() -> Outcome {
    strait_broker::init();
    match role() {
        Some(role) => plugin(&role[0]),
        None => host(),
    }
}

fn host() -> Outcome {
    let mut host = Host::start(&Config::default())?;
    for (name, expected) in [
        ("count", Ok("9 words")),
        ("crash", Err(Reason::Died)),
        ("hang", Err(Reason::Deadline)),
        ("hoard", Err(Reason::Died)),
        ("spy", Ok("no file, no network, no other process")),
        ("shout", Ok("WORLDS MUST MESSAGE EACH OTHER AND THE CONTROL WORLD")),
    ] {
        let answer = ask(&mut host, name)?;
        println!("{name:<6} {}", answer.as_ref().map_or_else(ToString::to_string, Clone::clone));
        if answer.as_deref().map_err(|reason| *reason) != expected {
            return Err(format!("{name} was to end in {expected:?}").into());
        }
    }
    host.stop(PATIENCE, "the document is closed")?;
    println!("The host has lost nothing.");
    Ok(())
}

/// What a plugin may use. What it may do needs no list: it may answer.
fn limits(mut world: World) -> World {
    world.limits.memory = Some(64 << 20);
    world.limits.pids = Some(8);
    world
}

/// Starts a plugin for one question, and ends it whatever comes of it.
fn ask(host: &mut Host, name: &str) -> Outcome<Result<String, Reason>> {
    let plugin = host.spawn(name, &limits(actor(&[name], &[])?))?;
    let answer = match host.client().request(plugin, DOCUMENT.as_bytes(), PATIENCE) {
        Ok(reply) => Ok(String::from_utf8(reply.payload)?),
        Err(Error::Undelivered { reason, .. }) => Err(reason),
        Err(other) => return Err(HostError::from(other).into()),
    };
    match host.client().stop(name, PATIENCE, "one question, one answer") {
        // One that crashed is gone already.
        Ok(_) | Err(Error::Refused(_)) => Ok(answer),
        Err(other) => Err(other.into()),
    }
}

fn plugin(name: &str) -> Outcome {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, is_end) = (record.header(), record.shutdown().is_some());
        if is_end {
            client.reply(&header, 0, b"")?;
            return Ok(());
        }
        if header.kind == Kind::Request {
            let answer = work(name, &String::from_utf8_lossy(record.payload()));
            client.reply(&header, 0, answer.as_bytes())?;
        }
    }
}

fn work(name: &str, document: &str) -> String {
    match name {
        "count" => format!("{} words", document.split_whitespace().count()),
        "shout" => document.to_uppercase(),
        "crash" => std::process::abort(),
        "hang" => loop {
            std::thread::sleep(PATIENCE);
        },
        "hoard" => format!("{} MiB", (1..=4096).map(|n| vec![n as u8; 1 << 20]).collect::<Vec<_>>().len()),
        _ => spy(),
    }
}

/// Each of these has to fail.
fn spy() -> String {
    let found = [
        std::fs::read_to_string("/etc/shadow").is_ok().then_some("the host's passwords"),
        std::fs::read_dir("/home").is_ok().then_some("their homes"),
        std::net::TcpStream::connect("127.0.0.1:22").is_ok().then_some("the network"),
        std::net::UdpSocket::bind("127.0.0.1:0").is_ok().then_some("a socket"),
        (processes() > 2).then_some("another process"),
    ];
    let found: Vec<_> = found.into_iter().flatten().collect();
    match found.is_empty() {
        true => "no file, no network, no other process".into(),
        false => format!("found {}", found.join(", ")),
    }
}

/// Those that `/proc` shows: the jail's first process and this one.
fn processes() -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count()
}
