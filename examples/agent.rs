//! An agent that asks for Internet access, gets as much as it needs, and loses it.
//!
//! ```sh
//! cargo run --release -p strait-examples --example agent
//! ```
//!
//! The agent is a jailed program that can't make a socket. It asks for one place in the network; the host looks at that, grants it, and takes it back when
//! the agent has read its page. The connection that is open then ends, and no new one comes up. The place is a server of the host's own, on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use strait_broker::{Client, Config, Error, Host};
use strait_examples::{Outcome, actor, role};

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: &str = "the weather is fine";

fn main() -> Outcome {
    strait_broker::init();
    match role().as_deref() {
        Some([place]) => agent(place),
        _ => host(),
    }
}

fn host() -> Outcome {
    let place = serve()?;
    let mut host = Host::start(&Config::default())?;
    let mut world = actor(&[&place.to_string()], &["host"])?;
    world.ask = vec!["network 127.0.0.1:*".into()];
    let agent = host.spawn("agent", &world)?;
    let asked = loop {
        match host.client().requests()?.pop() {
            Some(asked) => break asked,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    println!("{} asks for `{}`: {}", asked.name, asked.resource, asked.reason);
    let granted = host.client().grant(asked.number, None)?;
    println!("{}", hear(&mut host)?);
    host.client().revoke(granted.number)?;
    println!("grant {} is taken back", granted.number);
    host.client().send(agent, b"go on")?;
    // Where strait may not end a connection, it ends who holds it.
    match hear(&mut host) {
        Ok(said) => println!("{said}"),
        Err(_) => println!("agent: ended ({})", host.client().wait(agent, Some(PATIENCE))?.note),
    }
    host.stop(PATIENCE, "the story is over")?;
    println!("It had the network for as long as it was granted, and no place but one.");
    Ok(())
}

fn hear(host: &mut Host) -> Outcome<String> {
    let record = host.client().receive(Some(PATIENCE))?.ok_or("nobody says anything any more")?;
    match record.header().kind {
        strait_broker::Kind::Message => Ok(String::from_utf8_lossy(record.payload()).into_owned()),
        _ => Err("it ended".into()),
    }
}

/// A page for everyone who asks, again and again on one connection.
fn serve() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let place = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut lines = BufReader::new(connection.try_clone()?).lines();
                while let Some(line) = lines.next().transpose()? {
                    if line.is_empty() {
                        write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len())?;
                    }
                }
                Ok(())
            });
        }
    });
    Ok(place)
}

// --- the agent ---

fn agent(place: &str) -> Outcome {
    let mut client = Client::open()?;
    client.ask_for(&format!("network {place}"), "to read the weather", PATIENCE)?;
    let mut connection = client.dial(place, PATIENCE)?;
    let page = fetch(&mut connection, place)?;
    tell(&mut client, &format!("agent: {page}"))?;
    while client.receive(None)?.is_none() {}
    let lost = fetch(&mut connection, place).err().ok_or("the connection was to be over")?;
    match client.dial(place, PATIENCE) {
        Err(Error::Refused(why)) => tell(&mut client, &format!("agent: {lost}; {why}")),
        other => Err(format!("no other was to come: {other:?}").into()),
    }
}

fn fetch(connection: &mut TcpStream, place: &str) -> std::io::Result<String> {
    write!(connection, "GET / HTTP/1.1\r\nHost: {place}\r\n\r\n")?;
    let mut answer = vec![0; "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n".len() + PAGE.len()];
    connection.read_exact(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.rsplit("\r\n").next().unwrap_or_default().into())
}

fn tell(client: &mut Client, line: &str) -> Outcome {
    let host = client.resolve("host")?;
    client.send(host, line.as_bytes())?;
    Ok(())
}
