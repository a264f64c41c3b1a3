//! A counter that goes on where it was: it saves its state when it is told to, and loads it in its next life.
//!
//! ```sh
//! cargo run --release -p strait-examples --example counter
//! ```
//!
//! In its first life it is stopped in order. In its second it is told to save and go on, and then everything is killed. In its third it still knows
//! what it had saved. The same world in a file for `strait up`, with `strait stop`, `snapshot` and `snapshots`:
//!
//! ```toml
//! [worlds.counter]
//! command = ["/counter", "--role", "counter"]
//! read = ["/path/to/counter:/counter"]
//! snapshots = 3
//! ```

use std::path::Path;
use std::time::Duration;
use strait_broker::{Client, Config, Error, Host, Kind};
use strait_examples::{Outcome, actor, role};

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Outcome {
    strait_broker::init();
    match role() {
        Some(_) => counter(),
        None => lives(),
    }
}

/// The world.
fn counter() -> Outcome {
    let mut client = Client::open()?;
    let mut count = match client.load()? {
        Some(state) => u64::from_le_bytes(state.bytes.as_slice().try_into()?),
        None => 0,
    };
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, notice) = (record.header(), record.control_notice());
        let answer = match &notice {
            Some(_) => client.save(&count.to_le_bytes())?,
            None if head.kind == Kind::Request => {
                count += 1;
                count
            }
            None => continue,
        };
        client.reply(&head, 0, answer.to_string().as_bytes())?;
        if notice.is_some_and(|notice| notice.ends()) {
            return Ok(());
        }
    }
}

fn lives() -> Outcome {
    let state = std::env::temp_dir().join(format!("strait-counter-{}", std::process::id()));
    let lived = live(&state);
    std::fs::remove_dir_all(&state)?;
    lived
}

fn live(state: &Path) -> Outcome {
    let mut host = begin(state)?;
    count_to(&mut host, 3)?;
    let ended = host.stop(PATIENCE, "the first life is over")?;
    let saved = ended.first().and_then(|ended| ended.saved).ok_or("the counter saved nothing")?;
    println!("stopped: it acknowledged, and saved version {} ({} bytes)", saved.version, saved.bytes);

    let mut host = begin(state)?;
    count_to(&mut host, 5)?;
    let saved = host.client().snapshot("counter", PATIENCE, "keep this")?;
    println!("told to save and go on: version {}", saved.version);
    count_to(&mut host, 7)?;
    drop(host);
    println!("killed, with all the rest, without a word");

    let mut host = begin(state)?;
    count_to(&mut host, 6)?;
    println!("It went on from what it had saved.");
    host.stop(PATIENCE, "enough")?;
    Ok(())
}

/// A broker with the counter.
fn begin(state: &Path) -> Outcome<Host> {
    let mut host = Host::start(&Config { state: Some(state.into()), ..Config::default() })?;
    let mut world = actor(&["counter"], &[])?;
    world.snapshots = 3;
    host.spawn("counter", &world)?;
    Ok(host)
}

/// Asks until the counter says this.
fn count_to(host: &mut Host, end: u64) -> Result<(), Error> {
    let counter = host.client().resolve("counter")?;
    let mut said = Vec::new();
    loop {
        let reply = host.client().request(counter, b"count", PATIENCE)?;
        said.push(String::from_utf8_lossy(&reply.payload).into_owned());
        if said.last().is_some_and(|last| last.parse::<u64>().is_ok_and(|last| last >= end)) {
            println!("it counts: {}", said.join(" "));
            return Ok(());
        }
    }
}
