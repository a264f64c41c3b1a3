//! Saying that one has started: to the host of a broker, or on standard output.
#![forbid(unsafe_code)]

use std::io::Write;
use strait_client::{Client, WorldId};

/// Sends one message to the world with the id that is given (`message ID`), or writes one byte (`byte`).
pub fn start(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["message", to] => drop(Client::open()?.send(WorldId(to.parse()?), b"1")?),
        ["byte"] => std::io::stdout().write_all(b"\n")?,
        _ => return Err("tell me `message ID` or `byte`".into()),
    }
    Ok(())
}
