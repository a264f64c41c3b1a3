//! Actors that dial.

use super::Outcome;
use rustix::io::Errno;
use rustix::net::{SendFlags, connect_unspec, listen, netdevice, sendto};
use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use strait_client::{Client, Error, Kind};
use strait_tests::attack::bend;

const LONG: Duration = Duration::from_secs(20);
/// Dials of the storm that are under way, and connections that it keeps.
const AT_ONCE: usize = 8;
const KEPT: usize = 16;

/// Does what whoever asks says, and answers what came of it: `ask RESOURCE`, `dial PLACE` (and keep the connection), `say TEXT` over the last connection
/// and hear as much, `drop` the last one, or `misuse` it.
pub fn dialer() -> Outcome<()> {
    let (mut client, mut connections) = (Client::open()?, Vec::new());
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, order, is_over) = (record.header(), record.payload().to_vec(), record.shutdown().is_some());
        if head.kind == Kind::Request && !is_over {
            let answer = obey(&mut client, &mut connections, &String::from_utf8_lossy(&order));
            client.reply(&head, 0, answer.unwrap_or_else(|error| error.to_string()).as_bytes())?;
        }
        if is_over {
            return Ok(());
        }
    }
}

fn obey(client: &mut Client, connections: &mut Vec<TcpStream>, order: &str) -> Outcome<String> {
    let (verb, what) = order.split_once(' ').unwrap_or((order, ""));
    match verb {
        "ask" => Ok(format!("granted {}", client.ask_for(what, "it was told to", LONG)?.number)),
        "dial" => {
            let connection = client.dial(what, LONG)?;
            connection.set_read_timeout(Some(LONG))?;
            let peer = connection.peer_addr()?;
            connections.push(connection);
            Ok(format!("connected to {peer}"))
        }
        "drop" => Ok(format!("dropped {}", connections.drain(..).count())),
        "say" => match say(connections.last_mut().ok_or("no connection")?, what.as_bytes()) {
            Ok(heard) => Ok(String::from_utf8_lossy(&heard).into_owned()),
            Err(error) => Ok(format!("{:?}", error.kind())),
        },
        "misuse" => Ok(misuse(connections.last().ok_or("no connection")?)),
        "bend" => Ok(bend(connections.last().ok_or("no connection")?)),
        _ => Ok("what?".into()),
    }
}

fn say(mut connection: &TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    connection.write_all(text)?;
    let mut heard = vec![0; text.len()];
    connection.read_exact(&mut heard)?;
    Ok(heard)
}

/// What a connection of the host's network could be used for beside talking to its other end: what came of each attempt.
pub fn misuse(connection: &TcpStream) -> String {
    let word = |result: Result<(), Errno>| match result {
        Ok(()) => "done".to_owned(),
        Err(Errno::PERM) => "not permitted".into(),
        Err(errno) => errno.to_string(),
    };
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let anew = sendto(connection, b"x", SendFlags::from_bits_retain(0x2000_0000), &elsewhere).map(drop);
    [
        ("look at the host's interfaces", netdevice::name_to_index(connection, "lo").map(drop)),
        ("connect with the first data", anew),
        ("disconnect", connect_unspec(connection)),
        ("listen", listen(connection, 1)),
    ]
    .map(|(what, result)| format!("{what}: {}", word(result)))
    .join(", ")
}

/// Dials one place without end, and writes to what it gets. Asked `ask RESOURCE`, it asks for that; asked anything else it answers how many dials were
/// answered with a connection, how many were refused, and how many connections ended, as JSON.
pub fn dial_storm(place: &str) -> Outcome<()> {
    let mut client = Client::open()?;
    let (mut dials, mut kept) = (HashSet::new(), VecDeque::<TcpStream>::new());
    let (mut dialled, mut refused, mut ended) = (0u64, 0u64, 0u64);
    loop {
        while dials.len() < AT_ONCE {
            dials.insert(client.start_dial(place, LONG)?);
        }
        kept.retain_mut(|connection| {
            let goes_on = connection.write_all(b"x").is_ok();
            ended += u64::from(!goes_on);
            goes_on
        });
        let Some(record) = client.receive(Some(LONG))? else { continue };
        let (head, payload, is_over) = (record.header(), record.payload().to_vec(), record.shutdown().is_some());
        if is_over {
            return Ok(());
        }
        match head.kind {
            Kind::Request => match payload.strip_prefix(b"ask ") {
                Some(resource) => {
                    // Its answer comes among those to dials.
                    let resource = String::from_utf8_lossy(resource).into_owned();
                    let request =
                        strait_protocol::control::Request::Ask { resource, reason: String::new(), deadline_ms: 20_000 };
                    client.start_request(strait_client::WorldId::CONTROL, &request.encode(), LONG)?;
                    client.reply(&head, 0, b"")?;
                }
                None => drop(client.reply(&head, 0, &serde_json::to_vec(&[dialled, refused, ended])?)?),
            },
            Kind::Reply | Kind::Notice if dials.remove(&head.correlation) => match client.take_dialed(&payload) {
                Ok(connection) => {
                    dialled += 1;
                    kept.push_back(connection);
                    if kept.len() > KEPT {
                        kept.pop_front();
                    }
                }
                Err(Error::Refused(_)) => refused += 1,
                Err(error) => return Err(error.into()),
            },
            _ => {}
        }
    }
}
