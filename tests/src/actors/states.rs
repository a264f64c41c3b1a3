//! Actors that save their states, as they should and as they shouldn't.

use super::Outcome;
use std::io::Write;
use std::time::{Duration, Instant};
use strait_client::{AsyncClient, Client, Error, Header, Kind, Wanted, WorldId};
use strait_protocol::store::{Operation, words};
use strait_tests::{pattern, recorded};
use tokio::time::{sleep, timeout};

/// Does with its state what it is asked to, in words, and says what came of it. Saves what it has when it is told to, unless it is lazy.
pub fn saver(is_lazy: bool) -> Outcome<()> {
    let mut client = Client::open()?;
    let mut state = client.load().ok().flatten().map(|state| state.bytes).unwrap_or_default();
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, question) = (record.header(), String::from_utf8_lossy(record.payload()).into_owned());
        let notice = record.control_notice();
        if head.kind != Kind::Request {
            continue;
        }
        let answer = match &notice {
            Some(_) if is_lazy => String::new(),
            Some(_) => client.save(&state).map_or_else(|error| error.to_string(), |version| version.to_string()),
            None => act(&mut client, &mut state, &question).unwrap_or_else(|error| error.to_string()),
        };
        client.reply(&head, 0, answer.as_bytes())?;
        if notice.is_some_and(|notice| notice.wanted != Wanted::Snapshot) {
            return Ok(());
        }
    }
}

fn act(client: &mut Client, state: &mut Vec<u8>, question: &str) -> Result<String, Error> {
    let (verb, rest) = question.split_once(' ').unwrap_or((question, ""));
    let number = || rest.parse().unwrap_or(0);
    match verb {
        "set" => *state = rest.into(),
        "fill" => *state = pattern(number()),
        "save" => return Ok(client.save(state)?.to_string()),
        "parcel" => {
            let mut parcel = client.new_parcel(state.len())?;
            parcel.copy_from_slice(state);
            let parcel = parcel.seal()?;
            return Ok(client.save_parcel(&parcel)?.to_string());
        }
        "load" => return load(client, state),
        "raw" => return raw(client, rest),
        _ => {}
    }
    Ok(String::new())
}

/// Saves and loads on tokio what each request brings, and says by the reply's code whether it was as it should be.
#[tokio::main(flavor = "current_thread")]
pub async fn async_saver(is_hasty: bool) -> Outcome<()> {
    let client = Client::open()?.into_async()?;
    loop {
        let record = client.receive().await?;
        if record.control_notice().is_some() {
            client.reply(&record.header, 0, b"").await?;
            return Ok(());
        }
        let state = &record.payload;
        let (is_it, said) =
            if is_hasty { drop_saves(&client, state).await? } else { save_twice(&client, state).await? };
        client.reply(&record.header, u16::from(!is_it), &said).await?;
    }
}

/// Beside another task that saves something else. Says which version was there before.
async fn save_twice(client: &AsyncClient, state: &[u8]) -> Outcome<(bool, Vec<u8>)> {
    let before = client.load().await?.map_or(0, |state| state.version);
    let other = client.clone();
    let beside = tokio::spawn(async move { other.save(b"short").await });
    let version = client.save(state).await?;
    let both = [version, beside.await??];
    let loaded = client.load().await?.ok_or(Error::Unexpected)?;
    let is_it = loaded.bytes == if version > both[1] { state } else { b"short" };
    Ok((is_it && (before + 1..=before + 2).all(|next| both.contains(&next)), before.to_ne_bytes().into()))
}

/// Gives up before it is saved, at any moment.
async fn drop_saves(client: &AsyncClient, state: &[u8]) -> Outcome<(bool, Vec<u8>)> {
    for time in [0, 50, 500, 2000, 5000] {
        let _ = timeout(Duration::from_micros(time), client.save(state)).await;
    }
    // As long as the store is at what was given up, it does nothing else for this world.
    let end = Instant::now() + Duration::from_secs(20);
    while let Err(error) = client.save(b"last").await {
        if !matches!(&error, Error::Refused(why) if why.contains("one thing at a time")) || Instant::now() > end {
            return Err(error.into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    let loaded = client.load().await?.ok_or(Error::Unexpected)?;
    Ok((loaded.bytes == b"last" && loaded.damaged.is_none(), b"whole".into()))
}

/// The version and what was damaged before it; whether it is what this world has in memory.
fn load(client: &mut Client, state: &[u8]) -> Result<String, Error> {
    Ok(match client.load()? {
        None => "none".into(),
        Some(loaded) => {
            let damaged = loaded.damaged.map(|version| format!(" damaged {version}")).unwrap_or_default();
            let same = if loaded.bytes == state { "same" } else { "other" };
            let shown = String::from_utf8_lossy(&loaded.bytes[..loaded.bytes.len().min(40)]).into_owned();
            format!("{} {same}{damaged} {shown}", loaded.version)
        }
    })
}

/// What no honest client says.
fn raw(client: &mut Client, what: &str) -> Result<String, Error> {
    let say = |client: &mut Client, code: u16, payload: &[u8]| -> Result<String, Error> {
        let mut draft = client.draft_request(WorldId::STORE, payload.len(), Duration::from_secs(20))?;
        draft.payload_mut().copy_from_slice(payload);
        draft.header_mut().code = code;
        let correlation = draft.header_mut().correlation;
        draft.send()?;
        answer(client, correlation)
    };
    match what {
        "unoffered" => say(client, Operation::Save as u16, b"state"),
        "unloaded" => say(client, Operation::Read as u16, &words([0, 100])),
        "list" => say(client, Operation::List as u16, b"victim"),
        "unknown" => say(client, 77, b""),
        "malformed" => say(client, Operation::Offer as u16, b"seven b"),
        "more" => {
            say(client, Operation::Offer as u16, &words([10]))?;
            say(client, Operation::Save as u16, &[1; 11])
        }
        "beyond" => {
            say(client, Operation::Load as u16, b"")?;
            say(client, Operation::Read as u16, &words([u64::MAX - 3, u64::MAX]))
        }
        "keeping" => {
            let request = strait_protocol::control::Request::Keeping { id: client.id().0 };
            client.ask(&request, Duration::from_secs(20)).map(|answer| format!("{answer:?}"))
        }
        _ => Ok("no such thing".into()),
    }
}

fn answer(client: &mut Client, correlation: u64) -> Result<String, Error> {
    loop {
        let Some(record) = client.receive(Some(Duration::from_secs(20)))? else { return Ok("nothing".into()) };
        if record.header().correlation == correlation {
            let Header { code, .. } = record.header();
            return Ok(format!("{code} {}", String::from_utf8_lossy(record.payload())));
        }
    }
}

/// Asks the store for all that costs it something, as fast as it can and without end, and tells the host that it has begun.
pub fn hoarder() -> Outcome<()> {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    let state = vec![7; 8 << 10];
    let say = |client: &mut Client, code: Operation, payload: &[u8]| -> Result<(), Error> {
        let mut draft = client.draft_request(WorldId::STORE, payload.len(), Duration::from_secs(5))?;
        draft.payload_mut().copy_from_slice(payload);
        draft.header_mut().code = code as u16;
        draft.send().map(drop)
    };
    for round in 0u64.. {
        say(&mut client, Operation::Offer, &words([state.len() as u64]))?;
        say(&mut client, Operation::Save, &state)?;
        say(&mut client, Operation::Load, b"")?;
        // Pieces of a state that nobody asked for.
        client.send(WorldId::STORE, &vec![1; 100_000])?;
        if round == 100 {
            client.send(host, b"begun")?;
        }
        while client.try_receive()?.is_some() {}
    }
    Ok(())
}

/// Saves one version after the other and writes down in `/acknowledged` which is durable, before it saves the next.
pub fn recorder() -> Outcome<()> {
    let mut client = Client::open()?;
    let mut log = std::fs::OpenOptions::new().append(true).open("/acknowledged/log")?;
    let first = client.load()?.map_or(Ok(1), |state| nth(&state.bytes).map(|nth| nth + 1))?;
    for count in first.. {
        let version = client.save(&recorded(count))?;
        log.write_all(format!("{version} {count}\n").as_bytes())?;
    }
    Ok(())
}

/// Which of a recorder's states this is, if it is one and whole.
fn nth(state: &[u8]) -> Outcome<u64> {
    let nth = state.first_chunk().map(|word| u64::from_le_bytes(*word));
    nth.filter(|nth| recorded(*nth) == state).ok_or_else(|| "it isn't what was saved".into())
}

/// Says to who asks which state a recorder has left: its version, which one it is, and the newest that is damaged, or 0.
pub fn recorded_world() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.control_notice().is_some());
        let state = client.load()?.ok_or("there is none")?;
        let said = format!("{} {} {}", state.version, nth(&state.bytes)?, state.damaged.unwrap_or(0));
        client.reply(&head, 0, said.as_bytes())?;
        if is_over {
            return Ok(());
        }
    }
}

/// A host program whose states are on a file system of 1 MiB: what comes of saving more than it takes.
pub fn small_disk(state: &str) -> Outcome<()> {
    let config = strait_broker::Config { state: Some(state.into()), ..Default::default() };
    let mut host = strait_broker::Host::start(&config)?;
    let world = strait_broker::World { snapshots: 1, ..strait_tests::actor(&["saver"], &[]) };
    let saver = host.spawn("saver", &world)?;
    let mut ask = |words: &str| -> Outcome<String> {
        let reply = host.client().request(saver, words.as_bytes(), strait_tests::LONG)?;
        Ok(String::from_utf8(reply.payload)?)
    };
    ask("fill 400000")?;
    println!("{}", ask("save")?);
    ask("fill 900000")?;
    println!("{}", ask("save")?);
    println!("{}", ask("parcel")?);
    ask("fill 400000")?;
    println!("{}", ask("load")?.split(' ').take(2).collect::<Vec<_>>().join(" "));
    println!("{}", ask("save")?);
    Ok(())
}
