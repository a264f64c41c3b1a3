//! The host's side of the demo: sets the stage, and checks every step.

use super::actors::{Done, Report, STOP_DEADLINE};
use super::rogue::{ATTEMPTS, Aim, Attempt, FORGED};
use super::{BENCH, Outcome, ROLE, summary};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use strait_broker::{Config, Host, World, WorldId};

const LONG: Duration = Duration::from_secs(120);

pub fn play(file: Option<&Path>) -> Outcome<()> {
    let program = std::env::current_exe()?;
    let file = input(file.unwrap_or(&program))?;
    let mut host = Host::start(&config(&program))?;
    compress(&mut host, &program, &file)?;
    attack(&mut host, &program)?;
    summary::show(&mut host, &[BENCH])?;
    host.stop(STOP_DEADLINE, "the demo is over")?;
    println!("\nEvery step was verified.");
    Ok(())
}

/// A bind source must be an absolute path to something that can be read.
fn input(file: &Path) -> Outcome<PathBuf> {
    let path = fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if !path.is_file() {
        return Err(format!("{}: the demo streams a file, and this isn't one", path.display()).into());
    }
    File::open(&path)
        .and_then(|mut file| file.read(&mut [0; 1]))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn actor(program: &Path, role: &str) -> World {
    let mut world = World::new(["/strait", ROLE, role]);
    world.read = vec![format!("{}:/strait", program.display())];
    world
}

fn config(program: &Path) -> Config {
    let mut compressor = actor(program, "compressor");
    compressor.send = vec!["client".into()];
    Config { templates: [("compressor".to_owned(), compressor)].into(), ..Config::default() }
}

fn compress(host: &mut Host, program: &Path, file: &Path) -> Outcome<()> {
    println!("A client world asks the control service for a compressor and streams {} to it.", file.display());
    let mut world = actor(program, "client");
    world.read.push(format!("{}:/input", file.display()));
    world.send = vec!["host".into(), "compressor/*".into()];
    world.may = vec!["start compressor".into(), "stop compressor/*".into()];
    let client = host.spawn("client", &world)?;
    let bar = ProgressBar::new(fs::metadata(file)?.len());
    bar.set_style(ProgressStyle::with_template("  {bar:40} {bytes}/{total_bytes} {bytes_per_sec}")?);
    let done = follow(host, client, &bar)?;
    bar.finish_and_clear();
    tell(&done);
    verify(&done, fs::metadata(file)?.len())?;
    let ended = host.client().wait(client, Some(LONG))?;
    if ended.code != Some(0) {
        return Err(format!("the client world ended with {:?}, signal {:?}", ended.code, ended.signal).into());
    }
    Ok(())
}

/// Listens to the client's reports until it is done or gone.
fn follow(host: &mut Host, client: WorldId, bar: &ProgressBar) -> Outcome<Done> {
    loop {
        let record = host.client().receive(Some(LONG))?.ok_or("the client world went silent")?;
        if record.header().source != client {
            continue;
        }
        match serde_json::from_slice(record.payload())? {
            Report::Progress(bytes) => bar.set_position(bytes),
            Report::Done(done) => return Ok(*done),
        }
    }
}

fn tell(done: &Done) {
    let rate = done.bytes as f64 / 1e6 / (done.stream_ms.max(1) as f64 / 1e3);
    println!(
        "  {} was started from its template in a jail of its own: first answer after {} us",
        done.compressor, done.first_answer_us
    );
    println!(
        "  {} bytes sent, {} bytes of zstd received, {} ms ({rate:.0} MB/s)",
        done.bytes, done.compressed, done.stream_ms
    );
    println!("  sha256 of what was sent:         {}", done.hash_sent);
    println!("  sha256 of what was decompressed: {}", done.hash_received);
    let how = if done.acknowledged { "acknowledged its shutdown" } else { "didn't acknowledge its shutdown" };
    println!("  {} {how} and was gone after {} of {} ms", done.compressor, done.stop_ms, STOP_DEADLINE.as_millis());
}

fn verify(done: &Done, bytes: u64) -> Outcome<()> {
    let checks = [
        (done.bytes == bytes, "the whole file was sent"),
        (done.hash_sent == done.hash_received, "what came back is what was sent"),
        (done.compressed > 0, "something was compressed"),
        (done.acknowledged, "the compressor acknowledged"),
        (!done.killed && u128::from(done.stop_ms) < STOP_DEADLINE.as_millis(), "it was gone before the deadline"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, claim)) => Err(format!("this doesn't hold: {claim}").into()),
    }
}

fn attack(host: &mut Host, program: &Path) -> Outcome<()> {
    println!("\nA rogue world tries:");
    let victim = host.spawn("victim", &actor(program, "listener"))?;
    let mut world = actor(program, "rogue");
    world.send = vec!["host".into()];
    let rogue = host.spawn("rogue", &world)?;
    let me = host.client().id();
    host.client().send(rogue, &serde_json::to_vec(&Aim { host: me.0, forbidden: victim.0 })?)?;
    let mut attempts = vec![Attempt { what: "forge the sender of a message".into(), outcome: forged(host, rogue)? }];
    attempts.extend(rest(host, rogue)?);
    host.client().send(rogue, b"go on")?;
    attempts.push(Attempt { what: "run its producer cursor backwards".into(), outcome: cursors(host, rogue)? });
    for Attempt { what, outcome } in &attempts {
        match outcome {
            Ok(stopped) => println!("  {what:<38} stopped by {stopped}"),
            Err(loot) => println!("  {what:<38} SUCCEEDED: {loot}"),
        }
    }
    let answer = host.client().request(victim, b"how are you?", LONG)?;
    println!("  meanwhile its neighbour is {}", String::from_utf8_lossy(&answer.payload));
    match attempts.iter().find(|attempt| attempt.outcome.is_err()) {
        None => Ok(()),
        Some(attempt) => Err(format!("the rogue world got away with it: {}", attempt.what).into()),
    }
}

fn forged(host: &mut Host, rogue: WorldId) -> Outcome<Result<String, String>> {
    loop {
        let record = host.client().receive(Some(LONG))?.ok_or("the rogue world went silent")?;
        let header = record.header();
        if header.tag == FORGED {
            return Ok(match header.source == rogue {
                true => Ok(format!("the switch, which stamped its true id {rogue} over #1")),
                false => Err(format!("it arrived as from {}", header.source)),
            });
        }
    }
}

fn rest(host: &mut Host, rogue: WorldId) -> Outcome<Vec<Attempt>> {
    loop {
        let record = host.client().receive(Some(LONG))?.ok_or("the rogue world went silent")?;
        if record.header().source == rogue && record.header().tag == ATTEMPTS {
            return Ok(serde_json::from_slice(record.payload())?);
        }
    }
}

fn cursors(host: &mut Host, rogue: WorldId) -> Outcome<Result<String, String>> {
    let ended = host.client().wait(rogue, Some(LONG))?;
    Ok(match ended.killed && ended.note.starts_with("quarantined") {
        true => Ok(format!("the switch, and the world was ended ({})", ended.note)),
        false => Err(format!("it lived on until {:?}", ended.code)),
    })
}
