//! Actors that put load on the switch within the rules, and one that measures what others feel of it.

use super::Outcome;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};
use strait_client::{Client, Error, Kind, Reason, WorldId};
use strait_protocol::control::{Answer, Request};
use strait_tests::mix::{Measured, TRIP_BYTES};

const LONG: Duration = Duration::from_secs(600);

/// Makes round trips with an echo all the time. See [`time_trips`].
pub fn timer(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let peer = client.resolve(peer)?;
    time_trips(&mut client, |client, payload| Ok(client.request(peer, payload, LONG)?.payload))
}

/// The same between two processes of this jail over a socket, without a broker: what the machine itself allows.
pub fn socket_timer() -> Outcome<()> {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Command::new("/world").arg("socket-echo").stdin(far).spawn()?;
    let mut answer = [0; TRIP_BYTES];
    time_trips(&mut Client::open()?, |_, payload| {
        rustix::io::write(&near, payload)?;
        let length = rustix::io::read(&near, &mut answer)?;
        Ok(answer[..length].to_vec())
    })
}

/// Its other process: sends back what comes on its standard input.
pub fn socket_echo() -> Outcome<()> {
    let (socket, mut payload) = (rustix::stdio::stdin(), [0; TRIP_BYTES]);
    loop {
        match rustix::io::read(socket, &mut payload)? {
            0 => return Ok(()),
            length => rustix::io::write(socket, &payload[..length])?,
        };
    }
}

/// Makes round trips all the time, and tells whoever asks how long they took since it was last asked. Ends in error at the first that is wrong.
fn time_trips(client: &mut Client, mut trip: impl FnMut(&mut Client, &[u8]) -> Outcome<Vec<u8>>) -> Outcome<()> {
    let (mut times, mut payload) = (Vec::new(), [0; TRIP_BYTES]);
    for number in 0u64.. {
        payload[..8].copy_from_slice(&number.to_ne_bytes());
        let begin = Instant::now();
        let answer = trip(client, &payload)?;
        times.push(begin.elapsed());
        if answer != payload {
            return Err(format!("round trip {number} came back as {answer:?}").into());
        }
        while let Some(record) = client.try_receive()? {
            let (head, is_over) = (record.header(), record.shutdown().is_some());
            if head.kind == Kind::Request {
                let report = Measured::of(std::mem::take(&mut times));
                client.reply(&head, 0, &serde_json::to_vec(&report)?)?;
            }
            if is_over {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads everything. Numbers of 8 bytes must come in order from each. Answers no request but the host's, with how many messages there were.
pub fn sink() -> Outcome<()> {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    let (mut next, mut count) = (HashMap::<WorldId, u64>::new(), 0u64);
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.shutdown().is_some());
        if head.kind == Kind::Message {
            count += 1;
            let expected = next.entry(head.source).or_default();
            if head.length == 8 && record.payload() != expected.to_ne_bytes() {
                return Err(format!("{:?} instead of number {expected}", record.payload()).into());
            }
            *expected += 1;
        }
        if head.kind == Kind::Request && (head.source == host || is_over) {
            client.reply(&head, 0, count.to_string().as_bytes())?;
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Sends numbers to a sink as fast as it can, and as many to a world that it may not reach.
pub fn flooder(peer: &str, forbidden: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let (peer, forbidden) = (client.resolve(peer)?, WorldId(forbidden.parse()?));
    let (mut refused, mut number) = (0u64, 0u64);
    loop {
        client.send(peer, &number.to_ne_bytes())?;
        client.send(forbidden, b"let me in")?;
        number += 1;
        while let Some(record) = client.try_receive()? {
            match record.notice() {
                Some(Reason::Refused) => refused += 1,
                other => return Err(format!("{other:?} after {refused} refusals").into()),
            }
        }
    }
}

/// Sends a message to so many worlds that there aren't, reading what comes back, and tells the host how much that was.
pub fn caller(count: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let (host, count) = (client.resolve("host")?, count.parse::<u64>()?);
    let mut returned = 0;
    for number in 0..count {
        client.send(WorldId((1 << 40) + number), b"anybody?")?;
        while let Some(record) = client.try_receive()? {
            returned += u64::from(record.notice() == Some(Reason::NoSuchWorld));
        }
    }
    while returned < count {
        let Some(record) = client.receive(Some(LONG))? else { return Err("a notice is missing".into()) };
        returned += u64::from(record.notice() == Some(Reason::NoSuchWorld));
    }
    client.send(host, returned.to_string().as_bytes())?;
    client.drain(LONG)?;
    Ok(())
}

/// Asks a sink, which doesn't answer, so many times, reading what comes back, and tells the host how often its quota was used up.
pub fn petitioner(peer: &str, count: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let (host, peer, count) = (client.resolve("host")?, client.resolve(peer)?, count.parse::<u64>()?);
    let mut refused = 0u64;
    for _ in 0..count {
        client.start_request(peer, b"please", LONG)?;
        while let Some(record) = client.try_receive()? {
            refused += u64::from(record.notice() == Some(Reason::Quota));
        }
    }
    while let Some(record) = client.receive(Some(Duration::from_secs(2)))? {
        refused += u64::from(record.notice() == Some(Reason::Quota));
    }
    client.send(host, refused.to_string().as_bytes())?;
    match client.drain(LONG)? {
        true => Ok(()),
        false => Err(Error::Full.into()),
    }
}

/// Takes all the processor time it can get and has nothing to do with strait but that it opened its connection.
pub fn burner() -> Outcome<()> {
    let _client = Client::open()?;
    let mut word = 1u64;
    loop {
        word = std::hint::black_box(word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Asks for one world of a template after the other, without waiting for any but with a lull after each, and tells whoever asks how many started and
/// how many didn't. Without a lull, a hundred thousand a second are refused and take the time of those that start.
pub fn storm(template: &str, lull_ms: &str) -> Outcome<()> {
    let lull = Duration::from_millis(lull_ms.parse()?);
    let mut client = Client::open()?;
    let start = Request::Start { template: template.into(), name: None }.encode();
    let (mut started, mut refused) = (0u64, 0u64);
    loop {
        client.start_request(WorldId::CONTROL, &start, LONG)?;
        if !lull.is_zero() {
            std::thread::sleep(lull);
        }
        while let Some(record) = client.try_receive()? {
            let (head, is_over) = (record.header(), record.shutdown().is_some());
            match head.kind {
                Kind::Reply if matches!(Answer::decode(record.payload())?, Answer::World { .. }) => started += 1,
                Kind::Reply | Kind::Notice => refused += 1,
                Kind::Request => drop(client.reply(&head, 0, &serde_json::to_vec(&[started, refused])?)?),
                _ => {}
            }
            if is_over {
                return Ok(());
            }
        }
    }
}
