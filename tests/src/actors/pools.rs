//! A member of a group.

use super::Outcome;
use std::time::Duration;
use strait_client::{Client, Kind};

/// Works for as many milliseconds as a request says, and answers with its own name.
pub fn worker() -> Outcome<()> {
    let mut client = Client::open()?;
    let name = client.name().to_string();
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, payload, is_over) = (record.header(), record.payload().to_vec(), record.shutdown().is_some());
        if is_over {
            client.reply(&head, 0, b"")?;
            return Ok(());
        }
        if head.kind == Kind::Request {
            std::thread::sleep(Duration::from_millis(std::str::from_utf8(&payload)?.parse()?));
            client.reply(&head, 0, name.as_bytes())?;
        }
    }
}

/// Has a group do something short, and tells the host who did it, or why nobody did.
pub fn pool_user(group: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    let answer = client.resolve(group).and_then(|group| client.request(group, b"1", Duration::from_secs(60)));
    let answer = answer.map_or_else(|error| error.to_string().into_bytes(), |reply| reply.payload);
    client.send(host, &answer)?;
    Ok(())
}
