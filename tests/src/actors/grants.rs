//! Actors that ask for more than they have, and one that decides.

use super::Outcome;
use std::fs;
use std::time::Duration;
use strait_client::{Client, Decision, Error, Kind, Wanted, WorldId};

/// Does what whoever asks says, and answers what came of it: `ask RESOURCE because REASON`, `send NAME`, `stop NAME`, `start TEMPLATE`, `touch BYTES`, `cat PATH`, `put
/// PATH`, or `raw` with a request to the control service.
pub fn obedient() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, order, is_over) = (record.header(), record.payload().to_vec(), record.shutdown().is_some());
        if head.kind == Kind::Request {
            let answer = obey(&mut client, &order).unwrap_or_else(|error| error.to_string().into_bytes());
            client.reply(&head, 0, &answer)?;
        }
        if is_over {
            return Ok(());
        }
    }
}

fn obey(client: &mut Client, order: &[u8]) -> Result<Vec<u8>, Error> {
    match order.strip_prefix(b"raw ") {
        Some(request) => Ok(client.request(WorldId::CONTROL, request, Duration::from_secs(10))?.payload),
        None => obey_words(client, &String::from_utf8_lossy(order)).map(String::into_bytes),
    }
}

fn obey_words(client: &mut Client, order: &str) -> Result<String, Error> {
    let (verb, what) = order.split_once(' ').unwrap_or((order, ""));
    match verb {
        "ask" => {
            let (resource, reason) = what.split_once(" because ").unwrap_or((what, "it was told to"));
            let granted = client.ask_for(resource, reason, Duration::from_secs(2))?;
            Ok(format!("granted {} by {}", granted.number, granted.by))
        }
        "send" => {
            let peer = client.resolve(what)?;
            client.request(peer, b"?", Duration::from_secs(2)).map(|_| "it answered".into())
        }
        "stop" => client.stop(what, Duration::from_secs(5), "told to").map(|ended| format!("{:?}", ended.code)),
        "start" => client.start(what, None).map(|(id, _)| id.0.to_string()),
        "touch" => {
            let bytes = vec![1u8; what.parse().unwrap_or(0)];
            Ok(format!("touched {}", bytes.iter().filter(|byte| **byte == 1).count()))
        }
        "cat" => Ok(fs::read_to_string(what).unwrap_or_else(|error| format!("{what}: {:?}", error.kind()))),
        "put" => {
            Ok(fs::write(what, "new").map_or_else(|error| format!("{what}: {:?}", error.kind()), |()| "put".into()))
        }
        _ => Ok("what?".into()),
    }
}

/// Holds the role: decides by the reason that it is given.
pub fn judge() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.shutdown().is_some());
        let (asked, order) = (record.asked(), record.payload().to_vec());
        if let Some(asked) = asked {
            let decision = match &*asked.reason {
                "shortly" => Decision::Grant { for_ms: Some(200) },
                "never" => Decision::Deny { why: format!("{} may not", asked.name) },
                "leave" => Decision::Leave,
                "die" => return Err("told to".into()),
                "silence" => continue,
                _ => Decision::Grant { for_ms: None },
            };
            client.decide(&head, &decision)?;
        } else if head.kind == Kind::Request && Wanted::from_code(head.code).is_none() {
            let answer = obey(&mut client, &order).unwrap_or_else(|error| error.to_string().into_bytes());
            client.reply(&head, 0, &answer)?;
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Sends to a peer as fast as it can, whatever becomes of it, and as soon as its name is told.
pub fn insister(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    client.set_patience(Some(Duration::from_millis(50)));
    let mut to = None;
    loop {
        to = to.or_else(|| client.resolve(peer).ok());
        for _ in 0..64 {
            match to.map(|to| client.send(to, b"let me in")) {
                Some(Ok(_) | Err(Error::Full)) | None => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
        while let Some(record) = client.try_receive()? {
            let (head, is_over) = (record.header(), record.shutdown().is_some());
            let order = record.payload().to_vec();
            if head.kind == Kind::Request && !is_over {
                let answer = obey(&mut client, &order).unwrap_or_else(|error| error.to_string().into_bytes());
                client.reply(&head, 0, &answer)?;
            }
            if is_over {
                return Ok(());
            }
        }
    }
}

/// Asks for a link to a peer, makes it and sends over it as fast as it can, as long as it is there.
pub fn linker(peer: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    client.ask_for(&format!("link {peer}"), "speed", Duration::from_secs(20))?;
    let peer = client.resolve(peer)?;
    client.link(peer, Duration::from_secs(20))?;
    client.set_patience(Some(Duration::from_millis(10)));
    while client.is_linked(peer) {
        match client.send(peer, &[7; 1000]) {
            Ok(_) | Err(Error::Full) => {}
            Err(error) => return Err(error.into()),
        }
        while client.try_receive()?.is_some() {}
    }
    loop {
        if client.receive(None)?.is_some_and(|record| record.shutdown().is_some()) {
            return Ok(());
        }
    }
}
