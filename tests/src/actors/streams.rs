//! Actors that send and take payloads of any length.

use super::Outcome;
use std::io::Write;
use std::time::Duration;
use strait_client::{Client, Kind, Reason, WorldId};
use strait_tests::{is_pattern, pattern};

const LONG: Duration = Duration::from_secs(60);

/// Does what the host orders: `send N` and `half N` (of a payload of N bytes), `drop N` (a writer, half way), `batch N` (that many
/// numbers). Replies when it is done.
pub fn courier(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let peer = client.resolve(peer)?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.shutdown().is_some());
        if is_over {
            client.reply(&head, 0, b"")?;
            return Ok(());
        }
        let order = String::from_utf8(record.payload().to_vec())?;
        let (what, bytes) = order.split_once(' ').ok_or("an order has two words")?;
        let payload = if what == "batch" { Vec::new() } else { pattern(bytes.parse()?) };
        let half = &payload[..payload.len() / 2];
        match what {
            "send" => drop(client.send(peer, &payload)?),
            "half" => {
                let mut writer = client.writer(peer);
                writer.write_all(half)?;
                writer.flush()?;
                std::mem::forget(writer);
            }
            "batch" => drop(client.send_batch(peer, (0..bytes.parse::<u64>()?).map(u64::to_ne_bytes))?),
            _ => client.writer(peer).write_all(half)?,
        }
        client.reply(&head, 0, b"")?;
    }
}

/// What the collector has seen, for the host to ask: small numbers in order, wholes, and what was incomplete.
#[derive(Default)]
struct Seen {
    numbers: u64,
    wholes: u64,
    incomplete: u64,
}

/// Takes what others send. Ends in error at the first payload that isn't as it was sent. Asked `to N`, it sends a message to world N.
pub fn collector() -> Outcome<()> {
    let mut client = Client::open()?;
    let mut seen = Seen::default();
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let head = record.header();
        match head.kind {
            Kind::Message if head.length == 8 => {
                if record.payload() != seen.numbers.to_ne_bytes() {
                    return Err(format!("number {} isn't next", seen.numbers).into());
                }
                seen.numbers += 1;
            }
            Kind::Message if !is_pattern(record.payload()) => return Err("a payload isn't what was sent".into()),
            Kind::Message => seen.wholes += 1,
            Kind::Notice if record.notice() == Some(Reason::Incomplete) => seen.incomplete += 1,
            Kind::Request => {
                let order = String::from_utf8_lossy(record.payload()).into_owned();
                if let Some(to) = order.strip_prefix("to ") {
                    client.send(WorldId(to.parse()?), b"are you there?")?;
                }
                let report = format!("{} {} {}", seen.numbers, seen.wholes, seen.incomplete);
                client.reply(&head, 0, report.as_bytes())?;
            }
            _ => {}
        }
    }
}

/// Asks a peer with a large payload for as large an answer, and tells the host what came of it.
pub fn curious(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let (host, peer) = (client.resolve("host")?, client.resolve(peer)?);
    let question = pattern(5 << 20);
    let heard = match client.request(peer, &question, LONG) {
        Ok(answer) if answer.payload == question => "the same".to_owned(),
        Ok(answer) => format!("{} other bytes", answer.payload.len()),
        Err(error) => error.to_string(),
    };
    client.send(host, heard.as_bytes())?;
    client.drain(LONG)?;
    Ok(())
}
