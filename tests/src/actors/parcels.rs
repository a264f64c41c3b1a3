//! Actors that make, hand on, keep and read parcels.

use super::Outcome;
use strait_client::{Client, Kind};

/// Sends every parcel that it gets to somebody else, with the payload it came with.
pub fn relay(to: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let to = client.resolve(to)?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let payload = record.payload().to_vec();
        if let Some(parcel) = record.parcel().cloned() {
            client.send_parcel(to, &parcel, &payload)?;
        }
    }
}

/// Tells the host what it finds in the parcels that it gets: their length and the sum of their bytes, each a multiple of 8 long.
pub fn reader() -> Outcome<()> {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        if let Some(parcel) = record.parcel().cloned() {
            let sum: u64 = parcel.bytes().iter().map(|byte| u64::from(*byte)).sum();
            client.send(host, format!("{} {sum}", parcel.bytes().len()).as_bytes())?;
        }
    }
}

/// Keeps every parcel that it gets, and tells whoever asks how many these are.
pub fn keeper() -> Outcome<()> {
    let mut client = Client::open()?;
    let mut kept = Vec::new();
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let header = record.header();
        kept.extend(record.parcel().cloned());
        if header.kind == Kind::Request {
            client.reply(&header, 0, kept.len().to_string().as_bytes())?;
        }
    }
}
