//! Two jailed worlds with a direct link: round trips and one-way messages of 64 bytes; and through the switch for comparison.
//!
//! `cargo run --release -p strait-broker --example links [same|cross]`

use std::time::{Duration, Instant};
use strait_broker::{Client, Config, Host, Kind, World, WorldId};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
const LONG: Duration = Duration::from_secs(60);
const BYTES: usize = 64;

fn main() -> Outcome<()> {
    strait_broker::init();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("serve") => return serve(),
        Some("drive") => return drive(),
        _ => {}
    }
    let mut host = Host::start(&Config::default())?;
    let program = std::env::current_exe()?;
    let cores = match arguments.get(1).map(String::as_str) {
        Some("same") => ["0", "0"],
        Some("cross") => ["0", "1"],
        _ => ["0-1", "0-1"],
    };
    let mut spawn = |role: &str, core: &str| -> Outcome<WorldId> {
        let mut world = World::new(["taskset", "-c", core, "/me", role]);
        world.read = vec![format!("{}:/me", program.display())];
        (world.send, world.link) = (vec!["*".into()], vec!["*".into()]);
        Ok(host.spawn(role, &world)?)
    };
    spawn("serve", cores[0])?;
    spawn("drive", cores[1])?;
    loop {
        let record = host.client().receive(Some(LONG))?.ok_or("nothing came")?;
        if record.payload().is_empty() {
            return Ok(());
        }
        println!("{}", String::from_utf8_lossy(record.payload()));
    }
}

/// Answers requests, returns messages tagged 1, and counts the others.
fn serve() -> Outcome<()> {
    let mut client = Client::open()?;
    let mut copy = Vec::new();
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let header = record.header();
        copy.clear();
        copy.extend_from_slice(record.payload());
        match (header.kind, header.tag) {
            (Kind::Request, _) => drop(client.reply(&header, 0, &copy)),
            (Kind::Message, _) if copy.first() == Some(&1) => drop(client.send(header.source, &copy)?),
            _ => {}
        }
    }
}

fn drive() -> Outcome<()> {
    let mut client = Client::open()?;
    let (host, to) = (client.resolve("host")?, client.resolve("serve")?);
    for what in ["through the switch", "over the link"] {
        if what == "over the link" {
            client.link(to, LONG)?;
        }
        for _ in 0..3 {
            let text = format!("{what:<20} {}", measure(&mut client, to)?);
            client.send(host, text.as_bytes())?;
        }
    }
    client.send(host, b"")?;
    client.drain(LONG)?;
    Ok(())
}

/// The median of single round trips, and the best of some runs of messages: what else the machine does weighs less on these than on means.
fn measure(client: &mut Client, to: WorldId) -> Outcome<String> {
    let trip = median(|| {
        client.send(to, &[1; BYTES])?;
        client.receive(Some(LONG))?.ok_or("no echo")?;
        Ok(())
    })?;
    let asked = median(|| {
        client.request(to, &[2; BYTES], LONG)?;
        Ok(())
    })?;
    let (mut best, messages) = (0f64, 300_000u32);
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..messages {
            client.send(to, &[0; BYTES])?;
        }
        client.request(to, &[2; BYTES], LONG)?;
        best = best.max(f64::from(messages) / start.elapsed().as_secs_f64() / 1e6);
    }
    Ok(format!("round trip {trip:>10.2?}, request {asked:>10.2?}, one way {best:>6.2} M messages/s"))
}

fn median(mut once: impl FnMut() -> Outcome<()>) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..100_000 {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
