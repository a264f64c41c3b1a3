//! How many large messages a second go from one jailed world to another as parcels, and as copies for comparison.
//!
//! `cargo run --release -p strait-broker --example parcels [MiB]`

use std::time::{Duration, Instant};
use strait_broker::{Client, Config, Host, Kind, World};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
const LONG: Duration = Duration::from_secs(60);
/// Messages on the way before an answer is waited for.
const WINDOW: u64 = 8;

fn main() -> Outcome<()> {
    strait_broker::init();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("take") => return take(),
        Some("send") => return send(arguments[2].parse()?),
        _ => {}
    }
    let bytes = arguments.get(1).map_or(Ok(1), |mib| mib.parse::<usize>())? << 20;
    let mut host = Host::start(&Config::default())?;
    let program = std::env::current_exe()?;
    let mut spawn = |name: &str, role: &[&str]| -> Outcome<_> {
        let mut world = World::new(["/me"].iter().chain(role).copied());
        world.read = vec![format!("{}:/me", program.display())];
        world.send = vec!["*".into()];
        world.slice = 4 << 20;
        world.parcels = 1 << 30;
        Ok(host.spawn(name, &world)?)
    };
    spawn("take", &["take"])?;
    spawn("send", &["send", &bytes.to_string()])?;
    loop {
        let record = host.client().receive(Some(LONG))?.ok_or("nothing came")?;
        if record.payload().is_empty() {
            return Ok(());
        }
        println!("{}", String::from_utf8_lossy(record.payload()));
    }
}

/// Reads what the tag says: 0 nothing but the first byte, 1 all of it. Answers each message that asks for it.
fn take() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, parcel) = (record.header(), record.parcel().cloned());
        let bytes = parcel.as_ref().map_or(record.payload(), |parcel| parcel.bytes());
        let sum: u64 = match header.tag {
            0 => bytes.first().copied().unwrap_or(0).into(),
            _ => bytes
                .chunks_exact(8)
                .fold(0, |sum, word| u64::from_ne_bytes(word.try_into().expect("eight bytes")).wrapping_add(sum)),
        };
        std::hint::black_box(sum);
        drop(parcel);
        if header.kind == Kind::Request {
            client.reply(&header, 0, b"")?;
        }
    }
}

fn send(bytes: usize) -> Outcome<()> {
    let mut client = Client::open()?;
    let (host, to) = (client.resolve("host")?, client.resolve("take")?);
    let say = |client: &mut Client, what: &str, count: u64, start: Instant| -> Outcome<()> {
        let rate = count as f64 / start.elapsed().as_secs_f64();
        let text = format!("{what:<50} {rate:>12.0} messages/s {:>8.2} GB/s", rate * bytes as f64 / 1e9);
        client.send(host, text.as_bytes())?;
        Ok(())
    };
    let mut once = client.new_parcel(bytes)?;
    once.fill(7);
    let once = once.seal()?;
    for (tag, what, count) in
        [(0, "written once, only looked at", 200_000u64), (1, "written once, read each time", 20_000)]
    {
        let start = Instant::now();
        for n in 0..count {
            let kind = if n == count - 1 { Kind::Request } else { Kind::Message };
            let mut draft = match kind {
                Kind::Request => client.draft_request(to, 0, LONG)?,
                _ => client.draft(kind, to, 0)?,
            };
            draft.attach(&once);
            draft.header_mut().tag = tag;
            draft.send()?;
        }
        client.receive(Some(LONG))?.ok_or("no answer")?;
        say(&mut client, what, count, start)?;
    }
    for (tag, what) in [(0, "made afresh, only looked at"), (1, "made afresh, read each time")] {
        let (start, count) = (Instant::now(), 2_000u64);
        let mut open = 0;
        for n in 0..count {
            let mut parcel = client.new_parcel(bytes)?;
            parcel.fill(n as u8);
            let parcel = parcel.seal()?;
            let mut draft = client.draft_request(to, 0, LONG)?;
            draft.attach(&parcel);
            draft.header_mut().tag = tag;
            draft.send()?;
            open += 1;
            while open >= WINDOW || n == count - 1 && open > 0 {
                let record = client.receive(Some(LONG))?.ok_or("no answer")?;
                if let Some(reason) = record.notice() {
                    return Err(reason.into());
                }
                open -= 1;
            }
        }
        say(&mut client, what, count, start)?;
    }
    if bytes <= client.max_payload() as usize {
        let payload = vec![7; bytes];
        let (start, count) = (Instant::now(), 4_000u64);
        for n in 0..count {
            let mut draft = if n == count - 1 {
                client.draft_request(to, bytes, LONG)?
            } else {
                client.draft(Kind::Message, to, bytes)?
            };
            draft.payload_mut().copy_from_slice(&payload);
            draft.header_mut().tag = 1;
            draft.send()?;
        }
        client.receive(Some(LONG))?.ok_or("no answer")?;
        say(&mut client, "copied through the switch, read each time", count, start)?;
    }
    client.send(host, b"")?;
    client.drain(LONG)?;
    Ok(())
}
