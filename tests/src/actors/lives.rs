//! Worlds that live more than once, or try to.

use super::Outcome;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;
use strait_client::{Client, Kind, WorldId};
use strait_protocol::control::Request;

const LONG: Duration = Duration::from_secs(60);

/// Passes every message on to the host with who sent it, returns requests to their senders, and ends after so many of either, or when it is told
/// to. It asks nobody anything: what comes while an answer is waited for is taken, and would end with it.
pub fn recorder(lasts: &str, host: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let host = WorldId(host.parse()?);
    for _ in 0..lasts.parse()? {
        let Some(record) = client.receive(None)? else { continue };
        let (head, payload, is_over) = (record.header(), record.payload().to_vec(), record.control_notice().is_some());
        match head.kind {
            Kind::Message => drop(client.send(host, &[&head.source.0.to_ne_bytes()[..], &payload].concat())?),
            Kind::Request => drop(client.reply(&head, 0, &payload)?),
            _ => {}
        }
        if is_over {
            break;
        }
    }
    Ok(())
}

/// Sends so many numbered messages as fast as it can.
pub fn counter(peer: &str, count: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let peer = client.resolve(peer)?;
    for number in 0..count.parse::<u64>()? {
        client.send(peer, &number.to_ne_bytes())?;
    }
    client.drain(LONG)?;
    Ok(())
}

/// Notes in a file that it was started, comes as far as `step`, and fails.
pub fn failing(step: &str, file: &str) -> Outcome<()> {
    OpenOptions::new().append(true).open(file)?.write_all(b"started\n")?;
    match step {
        "at-once" => Err("as it was told to".into()),
        "without-a-word" => std::process::exit(0),
        "opened" => {
            let _client = Client::open()?;
            std::process::abort()
        }
        "opened-well" => Client::open().map(drop).map_err(Into::into),
        "told" => {
            let mut client = Client::open()?;
            client.receive(None)?;
            std::process::abort()
        }
        _ => Err(format!("no such step: {step}").into()),
    }
}

/// Opens its connection when something is in this file, and then returns requests to their senders.
pub fn late(gate: &str) -> Outcome<()> {
    while fs::metadata(gate)?.len() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    super::honest::echo()
}

/// When it is told to end, asks that another world be killed, and ends without waiting for what comes of it.
pub fn parting(victim: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let is_over = client.receive(None)?.is_some_and(|record| record.control_notice().is_some());
        if is_over {
            let request = Request::Kill { name: victim.into(), reason: String::new() };
            client.start_request(WorldId::CONTROL, &request.encode(), LONG)?;
            return Ok(());
        }
    }
}

/// Has a world woken, all the time.
pub fn waker(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let request = Request::Wake { name: peer.into() };
        client.start_request(WorldId::CONTROL, &request.encode(), Duration::from_millis(1))?;
        while client.receive(Some(Duration::from_millis(1)))?.is_some() {}
    }
}
