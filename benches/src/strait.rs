//! strait itself: two jailed worlds and the switch between them.

use crate::load::{self, Figures, Kind, Load};
use crate::place::{self, Placement};
use crate::{Outcome, Prefix};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use strait_broker::{Client, Config, Header, Host, World, WorldId};
use strait_client::Kind as RecordKind;

/// How the worlds use the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Style {
    /// One call per message.
    Plain,
    /// Up to 32 messages are shown to the switch at once.
    Batch,
}

pub const STYLES: [(&str, Style); 2] = [("strait", Style::Plain), ("strait-batch", Style::Batch)];
const BATCH: u64 = 32;
const LONG: Duration = Duration::from_secs(120);

impl Style {
    /// There is nothing to batch in a round trip.
    pub fn fits(self, load: &Load) -> bool {
        self == Self::Plain || load.kind == Kind::OneWay
    }
}

/// What a world is told to do.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    Ping { load: Load, to: u64 },
    Echo { count: u64 },
    Send { load: Load, to: u64, style: Style },
    Take { load: Load },
}

/// A broker with two worlds.
pub struct Peer {
    host: Host,
    sender: WorldId,
    receiver: WorldId,
    pids: Vec<u32>,
}

impl Peer {
    pub fn start(prefix: Prefix, placement: Placement) -> Outcome<Self> {
        let mut host = Host::start(&Config::default())?;
        let program = std::env::current_exe()?;
        let mut world = World::new(["/bench"].iter().chain(prefix).chain(&["world"]).copied());
        world.read = vec![format!("{}:/bench", program.display())];
        world.send = vec!["*".into()];
        let sender = host.spawn("sender", &world)?;
        let receiver = host.spawn("receiver", &world)?;
        let pids = place::tree(std::process::id());
        let payload = |host: &mut Host, id: WorldId| -> Outcome<u32> {
            let rows = host.client().list()?;
            let pid = rows.iter().find(|row| row.id == id.0).ok_or("a world is gone")?.pid;
            Ok(*place::tree(pid.cast_unsigned()).last().ok_or("a world is gone")?)
        };
        let (one, two) = (payload(&mut host, sender)?, payload(&mut host, receiver)?);
        let switch: Vec<u32> = pids.iter().copied().filter(|pid| is_switch(*pid)).collect();
        placement.place(one, two, &switch)?;
        Ok(Self { host, sender, receiver, pids })
    }

    pub fn run(&mut self, load: &Load, style: Style) -> Outcome<Figures> {
        let (load, to) = (*load, self.receiver.0);
        let (first, second, messages) = match load.kind {
            Kind::RoundTrip => (
                Task::Echo { count: load.count + load.count / 10 },
                Task::Ping { load, to },
                load.count + load.count / 10,
            ),
            Kind::OneWay => (Task::Take { load }, Task::Send { load, to, style }, load.count),
        };
        let before = place::cpu_us(&self.pids);
        let client = self.host.client();
        client.start_request(self.receiver, &serde_json::to_vec(&first)?, LONG)?;
        client.start_request(self.sender, &serde_json::to_vec(&second)?, LONG)?;
        let mut figures = Figures::new();
        for _ in 0..2 {
            let record = client.receive(Some(LONG))?.ok_or("a world doesn't answer")?;
            if let Some(reason) = record.notice() {
                return Err(format!("a world failed: {reason}").into());
            }
            figures.extend(serde_json::from_slice::<Figures>(record.payload())?);
        }
        figures.push(("cpu_us_per_msg".into(), (place::cpu_us(&self.pids) - before) / messages as f64));
        Ok(figures)
    }
}

fn is_switch(pid: u32) -> bool {
    let arguments = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    arguments.starts_with(b"strait-switch")
}

/// A world: does what the host asks until it is told to end.
pub fn world() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, is_over) = (record.header(), record.shutdown().is_some());
        if is_over {
            client.reply(&header, 0, b"")?;
            return Ok(());
        }
        let task: Task = serde_json::from_slice(record.payload())?;
        let figures = work(&mut client, &task, &header)?;
        client.reply(&header, 0, &serde_json::to_vec(&figures)?)?;
    }
}

fn work(client: &mut Client, task: &Task, _: &Header) -> Outcome<Figures> {
    match task {
        Task::Echo { count } => echo(client, *count),
        Task::Ping { load, to } => ping(client, load, WorldId(*to)),
        Task::Send { load, to, style } => send(client, load, WorldId(*to), *style),
        Task::Take { load } => take(client, load),
    }
}

fn echo(client: &mut Client, count: u64) -> Outcome<Figures> {
    let mut copy = Vec::new();
    for _ in 0..count {
        let record = client.receive(Some(LONG))?.ok_or("nothing to echo")?;
        let back = record.header().source;
        copy.clear();
        copy.extend_from_slice(record.payload());
        client.send(back, &copy)?;
    }
    Ok(Figures::new())
}

fn ping(client: &mut Client, load: &Load, to: WorldId) -> Outcome<Figures> {
    let payload = vec![7; load.bytes];
    let times = load::time_round_trips(load.count, || -> Outcome<()> {
        client.send(to, &payload)?;
        let record = client.receive(Some(LONG))?.ok_or("no echo")?;
        std::hint::black_box(load::read(record.payload()));
        Ok(())
    })?;
    Ok(load::round_trips(times))
}

fn send(client: &mut Client, load: &Load, to: WorldId, style: Style) -> Outcome<Figures> {
    let payload = vec![7; load.bytes];
    for n in 0..load.count {
        if style == Style::Batch {
            let mut draft = client.draft(RecordKind::Message, to, load.bytes)?;
            draft.payload_mut().copy_from_slice(&payload);
            if n % BATCH == BATCH - 1 {
                draft.send()?
            } else {
                draft.stage()?
            };
        } else {
            client.send(to, &payload)?;
        }
    }
    client.flush();
    Ok(Figures::new())
}

fn take(client: &mut Client, load: &Load) -> Outcome<Figures> {
    let mut sum = 0;
    let mut start = Instant::now();
    for n in 0..load.count {
        let record = client.receive(Some(LONG))?.ok_or("the stream stopped")?;
        sum = load::read(record.payload()).wrapping_add(sum);
        if n == 0 {
            start = Instant::now();
        }
    }
    std::hint::black_box(sum);
    Ok(load::stream(load, start.elapsed()))
}
