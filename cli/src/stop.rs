//! `strait stop`: all at once, and what became of each.

use crate::args::Stop;
use crate::failure::{FAILED, Failure};
use crate::{Outcome, ended, socket, text};
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;
use strait_broker::{Client, Ended, Error, WorldId};
use strait_protocol::control::{Answer, Request};

/// What an answer may take beyond the worlds' deadline.
const MARGIN: Duration = Duration::from_secs(10);

pub fn stop(args: &Stop) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let names = if args.all { running(&mut client)? } else { args.worlds.clone() };
    let mut asked = HashMap::new();
    for name in names {
        let deadline_ms = u32::try_from(args.deadline.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Stop { name: name.clone(), deadline_ms, reason: args.reason.clone() };
        let correlation = client.start_request(WorldId::CONTROL, &request.encode(), args.deadline + MARGIN)?;
        asked.insert(correlation, name);
    }
    let mut sum = Sum::default();
    while !asked.is_empty() {
        let (name, answer) = next(&mut client, &mut asked)?;
        match answer {
            Ok(ended) => {
                sum.add(&ended);
                text::print(format!("{name} {}\n", ended::after_request(&ended)).as_bytes())?;
            }
            Err(failure) => {
                sum.failed += 1;
                failure.about(&name).tell();
            }
        }
    }
    sum.tell()
}

/// Those that can be stopped.
fn running(client: &mut Client) -> Result<Vec<String>, Failure> {
    let is_running = |state: &str| matches!(state, "starting" | "running" | "ready" | "stopping");
    Ok(client.list()?.into_iter().filter(|row| is_running(&row.state)).map(|row| row.name).collect())
}

/// Waits for the end of one of them.
fn next(client: &mut Client, asked: &mut HashMap<u64, String>) -> Result<(String, Result<Ended, Failure>), Failure> {
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let header = record.header();
        let Some(name) = asked.remove(&header.correlation).filter(|_| header.source == WorldId::CONTROL) else {
            continue;
        };
        let answer = match (record.notice(), Answer::decode(record.payload())) {
            (Some(reason), _) => Err(Failure::from(reason)),
            (None, Ok(Answer::Ended(ended))) => Ok(ended),
            (None, Ok(Answer::Refused(why))) => Err(Error::Refused(why).into()),
            (None, _) => Err(Error::Unexpected.into()),
        };
        return Ok((name, answer));
    }
}

#[derive(Debug, Default)]
struct Sum {
    ended: usize,
    acknowledged: usize,
    saved: usize,
    killed: usize,
    failed: usize,
}

impl Sum {
    fn add(&mut self, ended: &Ended) {
        self.ended += 1;
        self.acknowledged += usize::from(ended.acknowledged);
        self.saved += usize::from(ended.saved.is_some());
        self.killed += usize::from(ended.killed);
    }

    fn tell(&self) -> Outcome {
        let Self { ended, acknowledged, saved, killed, failed } = self;
        if ended + failed > 1 {
            let worlds = if *ended == 1 { "world" } else { "worlds" };
            let line = format!(
                "{ended} {worlds} ended: {acknowledged} acknowledged, {saved} saved their state, {killed} had to be killed\n"
            );
            text::print(line.as_bytes())?;
        }
        Ok(ExitCode::from(if *failed == 0 { 0 } else { FAILED }))
    }
}
