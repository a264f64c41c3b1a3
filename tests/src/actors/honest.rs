//! Actors that keep the rules.

use super::Outcome;
use std::time::Duration;
use strait_client::{Client, Error, Kind};

const LONG: Duration = Duration::from_secs(60);

/// Replies to requests and returns messages to their senders, until it is told to end.
pub fn echo() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, payload, is_over) = (record.header(), record.payload().to_vec(), record.shutdown().is_some());
        match head.kind {
            Kind::Request => drop(client.reply(&head, 0, &payload)?),
            Kind::Message => drop(client.send(head.source, &payload)?),
            _ => {}
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Talks to a peer all the time, and tells whoever asks how many round trips were right. Ends in error at the first that wasn't.
pub fn talker(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let peer = client.resolve(peer)?;
    let mut right = 0u64;
    loop {
        let question = right.to_ne_bytes();
        let answer = client.request(peer, &question, LONG)?;
        if answer.payload != question || answer.header.source != peer {
            return Err(format!("round trip {right} came back as {answer:?}").into());
        }
        right += 1;
        while let Some(record) = client.try_receive()? {
            let (head, is_over) = (record.header(), record.shutdown().is_some());
            if head.kind == Kind::Request {
                client.reply(&head, 0, right.to_string().as_bytes())?;
            }
            if is_over {
                return Ok(());
            }
        }
    }
}

/// Sends numbered messages as fast as it can.
pub fn flood(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let peer = client.resolve(peer)?;
    for number in 0u64.. {
        client.send(peer, &number.to_ne_bytes())?;
    }
    Ok(())
}

/// Makes a direct link to a peer and then sends it numbered messages as fast as it can.
pub fn linker(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let peer = client.resolve(peer)?;
    client.link(peer, LONG)?;
    for number in 0u64.. {
        client.send(peer, &number.to_ne_bytes())?;
    }
    Ok(())
}

/// Asks a peer that may never answer, and tells the host what became of it.
pub fn asker(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let (host, peer) = (client.resolve("host")?, client.resolve(peer)?);
    client.send(host, b"asking")?;
    let outcome = match client.request(peer, b"?", LONG) {
        Ok(_) => "answered".to_owned(),
        Err(Error::Undelivered { reason, .. }) => format!("{reason:?}"),
        Err(error) => return Err(error.into()),
    };
    client.send(host, outcome.as_bytes())?;
    client.drain(LONG)?;
    Ok(())
}

/// Opens its connection and never reads.
pub fn deaf() -> Outcome<()> {
    let _client = Client::open()?;
    loop {
        std::thread::park();
    }
}

/// Reads that it is to end, and doesn't.
pub fn stubborn() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let head = record.header();
        if head.kind == Kind::Request && record.shutdown().is_none() {
            client.reply(&head, 0, b"still here")?;
        }
    }
}

/// Asks for a world from a template and tells the host what it heard.
pub fn starter(template: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    let heard = match client.start(template, None) {
        Ok((_, name)) => format!("started {name}"),
        Err(error) => error.to_string(),
    };
    client.send(host, heard.as_bytes())?;
    client.drain(LONG)?;
    Ok(())
}
