//! Saying that one has started: to the host of a broker, or on standard output.
#![forbid(unsafe_code)]

use std::io::Write;
use std::time::{Duration, Instant};
use strait_client::{Client, WorldId, checkpoint};

/// Sends one message to the world with the id that is given (`message ID`), the same after a start that takes so long and leaves a table of so many
/// KiB (`slowly MILLISECONDS KIB ID`), or writes one byte (`byte`).
pub fn start(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["message", to] => drop(Client::open()?.send(WorldId(to.parse()?), b"1")?),
        ["slowly", milliseconds, kib, to] => {
            let table = build(Duration::from_millis(milliseconds.parse()?), kib.parse()?);
            checkpoint()?;
            // From here on in clones too.
            let sum = table.iter().copied().fold(0, u64::wrapping_add);
            Client::open()?.send(WorldId(to.parse()?), &sum.to_le_bytes())?;
        }
        ["byte"] => std::io::stdout().write_all(b"\n")?,
        _ => return Err("tell me `message ID`, `slowly MILLISECONDS KIB ID` or `byte`".into()),
    }
    Ok(())
}

/// Fills a table over and over until the time is over.
fn build(time: Duration, kib: usize) -> Vec<u64> {
    let end = Instant::now() + time;
    let mut table = vec![1u64; kib * 128];
    while Instant::now() < end {
        for at in 1..table.len() {
            table[at] = table[at].wrapping_mul(31).wrapping_add(table[at - 1]);
        }
    }
    table
}
