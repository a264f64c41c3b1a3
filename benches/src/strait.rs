//! strait itself: jailed worlds and the switch between them.

mod topics;
mod watched;

pub use watched::tool;

use crate::contest::{Contender, span_ns};
use crate::{Outcome, Prefix, attach};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};
use strait_broker::{Client, Config, Header, Host, World, WorldId};
use strait_client::Parcel;
use strait_measure::{Figures, Kind, Load, Message, Placement, Report, check, clock, cpu_us, rate, round_trips, tree};

/// How the worlds use the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Style {
    /// One call per message.
    Plain,
    /// Messages are handed over 32 at a time.
    Batch,
    /// One call per message, with slices of 1 MiB.
    Large,
    /// The same, and the receiver reads what came in pieces where it lies, piece by piece.
    InPlace,
    /// Past the switch, one call per message.
    Link,
    /// Past the switch, 32 at a time.
    LinkBatch,
    /// Each message a parcel made for it: written in place, sealed, read in place.
    Memfd,
    /// The same parcel again and again, as it is passed on: written and read once.
    MemfdAgain,
}

pub const STYLES: [(&str, Style); 8] = [
    ("strait", Style::Plain),
    ("strait-batch", Style::Batch),
    ("strait-1mib", Style::Large),
    ("strait-inplace", Style::InPlace),
    ("strait-link", Style::Link),
    ("strait-link-batch", Style::LinkBatch),
    ("strait-memfd", Style::Memfd),
    ("strait-memfd-again", Style::MemfdAgain),
];
const BATCH: u64 = 32;
const LARGE_SLICE: u64 = 1024 * 1024;
const LONG: Duration = Duration::from_secs(120);

impl Style {
    /// Why it makes no difference to a load.
    fn is_idle_in(self, load: &Load) -> Option<&'static str> {
        match self {
            _ if load.kind == Kind::Spawn => Some("another contender of the same name does"),
            Self::Plain if load.kind == Kind::Watched && tool().is_none() => {
                Some("there is no `strait` beside this program")
            }
            Self::Plain => None,
            _ if matches!(load.kind, Kind::Topics | Kind::Watched) => Some("measured one by one"),
            Self::Link | Self::Large | Self::InPlace if load.bystanders > 0 => Some("measured through the switch"),
            Self::Batch if !load.kind.is_stream() || load.bytes > 1024 => Some("nothing to batch"),
            Self::Large if load.kind != Kind::OneWay => Some("measured one way"),
            Self::InPlace if load.kind != Kind::OneWay || load.bytes < 64 * 1024 => Some("it comes in one piece"),
            Self::Link if !matches!(load.kind, Kind::RoundTrip | Kind::OneWay) => Some("a link joins two"),
            Self::LinkBatch if load.kind != Kind::OneWay || load.bytes > 1024 => Some("nothing to batch"),
            Self::Memfd | Self::MemfdAgain if load.kind != Kind::OneWay || load.bytes < 64 * 1024 => {
                Some("for large messages")
            }
            _ => None,
        }
    }

    /// What the sender does first.
    fn prepare(self, client: &mut Client, to: WorldId) -> Outcome<()> {
        match self {
            Self::Link | Self::LinkBatch => Ok(client.link(to, LONG)?),
            _ => Ok(()),
        }
    }

    fn slice(self, world: &mut World) {
        if matches!(self, Self::Large | Self::InPlace) {
            world.slice = LARGE_SLICE;
        }
    }
}

/// What a world is told to do.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    Ping { load: Load, to: u64, style: Style },
    Echo { load: Load },
    Send { load: Load, to: Vec<u64>, style: Style },
    Take { load: Load, style: Style },
    Subscribe { patterns: Vec<String> },
    Flow { load: Load, to: u64 },
    Count { load: Load },
}

/// strait, used in one style.
pub struct Strait {
    pub prefix: Prefix,
    pub name: &'static str,
    pub style: Style,
}

impl Contender for Strait {
    fn name(&self) -> &str {
        self.name
    }

    fn refusal(&self, load: &Load) -> Option<String> {
        self.style.is_idle_in(load).map(Into::into)
    }

    fn run(&self, load: &Load, placement: Placement) -> Outcome<Figures> {
        match load.kind {
            Kind::Connect => attach::open_again_and_again(self.prefix, load, placement),
            Kind::Idle => attach::weigh(self.prefix, load, placement),
            Kind::Watched => watched::take_turns(self.prefix, load, placement),
            _ => Worlds::start(&Config::default(), self.prefix, load, placement, self.style)?.run(load, self.style),
        }
    }
}

/// A broker with its worlds.
struct Worlds {
    host: Host,
    sender: WorldId,
    receivers: Vec<WorldId>,
    pids: Vec<u32>,
}

/// A world that is this program again.
pub fn world_of(prefix: Prefix) -> Outcome<World> {
    let program = std::env::current_exe()?;
    let mut world = World::new(["/bench"].iter().chain(prefix).chain(&["world"]).copied());
    world.read = vec![format!("{}:/bench", program.display())];
    world.send = vec!["*".into()];
    world.link = vec!["*".into()];
    (world.publish, world.subscribe) = (vec![">".into()], vec![">".into()]);
    Ok(world)
}

/// What tells a world to answer every message with one of its own.
pub fn order_to_echo(load: &Load) -> Outcome<Vec<u8>> {
    Ok(serde_json::to_vec(&Task::Echo { load: *load })?)
}

/// The process that does a world's work: the innermost of its jail.
pub fn payload_pid(host: &mut Host, id: WorldId) -> Outcome<u32> {
    let rows = host.client().list()?;
    let pid = rows.iter().find(|row| row.id == id.0).ok_or("a world is gone")?.pid;
    Ok(*tree(pid.cast_unsigned()).last().ok_or("a world is gone")?)
}

impl Worlds {
    fn start(config: &Config, prefix: Prefix, load: &Load, placement: Placement, style: Style) -> Outcome<Self> {
        let mut host = Host::start(config)?;
        let mut world = world_of(prefix)?;
        style.slice(&mut world);
        let sender = host.spawn("sender", &world)?;
        let spawn = |n: usize| Ok(host.spawn(&format!("receiver-{n}"), &world)?);
        let receivers: Vec<WorldId> = (0..load.receivers).map(spawn).collect::<Outcome<_>>()?;
        match load.kind {
            Kind::Topics => topics::subscribe(&mut host, &world, receivers[0], load.bystanders)?,
            _ => {
                for n in 0..load.bystanders {
                    host.spawn(&format!("bystander-{n}"), &world)?;
                }
            }
        }
        let pids = tree(std::process::id());
        let first = payload_pid(&mut host, sender)?;
        let others: Vec<u32> = receivers.iter().map(|id| payload_pid(&mut host, *id)).collect::<Outcome<_>>()?;
        let switch: Vec<u32> = pids.iter().copied().filter(|pid| is_switch(*pid)).collect();
        placement.place(first, &others, &switch)?;
        Ok(Self { host, sender, receivers, pids })
    }

    fn run(&mut self, load: &Load, style: Style) -> Outcome<Figures> {
        let load = *load;
        let to: Vec<u64> = self.receivers.iter().map(|id| id.0).collect();
        let (first, second) = match load.kind {
            Kind::RoundTrip => (Task::Ping { load, to: to[0], style }, Task::Echo { load }),
            _ => (Task::Send { load, to, style }, Task::Take { load, style }),
        };
        let before = cpu_us(&self.pids);
        let client = self.host.client();
        for receiver in &self.receivers {
            client.start_request(*receiver, &serde_json::to_vec(&second)?, LONG)?;
        }
        client.start_request(self.sender, &serde_json::to_vec(&first)?, LONG)?;
        let mut reports: Vec<Report> = Vec::new();
        while reports.len() <= self.receivers.len() {
            let record = client.receive(Some(LONG))?.ok_or("a world doesn't answer")?;
            if let Some(reason) = record.notice() {
                return Err(format!("a world failed: {reason}").into());
            }
            reports.push(serde_json::from_slice(record.payload())?);
        }
        let spent = cpu_us(&self.pids) - before;
        let mut figures: Figures = reports.iter().flat_map(|report| report.figures.clone()).collect();
        if let Some(span) = span_ns(&reports) {
            figures.extend(rate((load.count - 1) * load.receivers as u64, load.bytes, span));
        }
        figures.push(("cpu_us_per_msg".into(), spent / load.deliveries() as f64));
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
        let report = work(&mut client, &task, &header)?;
        client.reply(&header, 0, &serde_json::to_vec(&report)?)?;
    }
}

fn work(client: &mut Client, task: &Task, _: &Header) -> Outcome<Report> {
    match task {
        Task::Echo { load } => echo(client, load),
        Task::Ping { load, to, style } => {
            style.prepare(client, WorldId(*to))?;
            ping(client, load, WorldId(*to))
        }
        Task::Send { load, to, style } => send(client, load, to, *style),
        Task::Take { load, style: Style::InPlace } => take_pieces(client, load),
        Task::Take { load, style: style @ (Style::Memfd | Style::MemfdAgain) } => take_parcels(client, load, *style),
        Task::Take { load, .. } => take(client, load),
        Task::Subscribe { patterns } => topics::subscribe_to(client, patterns),
        Task::Flow { load, to } => watched::flow(client, load, WorldId(*to)),
        Task::Count { load } => watched::receive_and_tell(client, load),
    }
}

/// Writes a message into a buffer of the sender's and sends that.
fn post(client: &mut Client, to: WorldId, message: Message, buffer: &mut Vec<u8>) -> Outcome<()> {
    buffer.resize(message.bytes, 0);
    message.write(buffer);
    client.send(to, buffer)?;
    Ok(())
}

fn echo(client: &mut Client, load: &Load) -> Outcome<Report> {
    let mut buffer = Vec::new();
    for number in 0..load.count + load.warm_up() {
        let message = Message { number, bytes: load.bytes };
        let record = client.receive(Some(LONG))?.ok_or("nothing to echo")?;
        check(record.payload(), message)?;
        let back = record.header().source;
        post(client, back, message, &mut buffer)?;
    }
    Ok(Report::default())
}

fn ping(client: &mut Client, load: &Load, to: WorldId) -> Outcome<Report> {
    let mut buffer = Vec::new();
    let mut times = Vec::with_capacity(load.count as usize);
    for number in 0..load.count + load.warm_up() {
        let message = Message { number, bytes: load.bytes };
        let start = Instant::now();
        post(client, to, message, &mut buffer)?;
        check(client.receive(Some(LONG))?.ok_or("no echo")?.payload(), message)?;
        times.push(start.elapsed());
    }
    Ok(Report { figures: round_trips(times.split_off(load.warm_up() as usize)), ..Report::default() })
}

fn send(client: &mut Client, load: &Load, to: &[u64], style: Style) -> Outcome<Report> {
    let to: Vec<WorldId> = to.iter().copied().map(WorldId).collect();
    match (load.kind, style, to.as_slice()) {
        (Kind::OneWay, Style::Batch | Style::LinkBatch, [to]) => {
            style.prepare(client, *to)?;
            send_batches(client, load, *to)?;
        }
        (Kind::OneWay, Style::Memfd | Style::MemfdAgain, [to]) => send_parcels(client, load, *to, style)?,
        (Kind::OneWay, _, [to]) => {
            style.prepare(client, *to)?;
            let mut buffer = Vec::new();
            for number in 0..load.count {
                post(client, *to, Message { number, bytes: load.bytes }, &mut buffer)?;
            }
        }
        (Kind::Topics, ..) => topics::publish(client, load)?,
        (_, style, to) => publish(client, load, to, style)?,
    }
    Ok(Report::default())
}

fn send_batches(client: &mut Client, load: &Load, to: WorldId) -> Outcome<()> {
    let mut buffers = vec![vec![0; load.bytes]; BATCH as usize];
    let mut number = 0;
    while number < load.count {
        let batch = &mut buffers[..(load.count - number).min(BATCH) as usize];
        for buffer in batch.iter_mut() {
            Message { number, bytes: load.bytes }.write(buffer);
            number += 1;
        }
        client.send_batch(to, batch.iter())?;
    }
    Ok(())
}

/// One record for all receivers; of a batch, one for all messages of it.
fn publish(client: &mut Client, load: &Load, to: &[WorldId], style: Style) -> Outcome<()> {
    let batch = if style == Style::Batch { BATCH } else { 1 };
    let mut buffers = vec![vec![0; load.bytes]; batch as usize];
    let mut number = 0;
    while number < load.count {
        let batch = &mut buffers[..(load.count - number).min(batch) as usize];
        for buffer in batch.iter_mut() {
            Message { number, bytes: load.bytes }.write(buffer);
            number += 1;
        }
        match batch {
            [one] => client.multicast(to, one).map(drop)?,
            several => client.multicast_batch(to, several.iter()).map(drop)?,
        }
    }
    Ok(())
}

/// Parcels between two words of the receiver's that it has read so many more; twice as many may be under way. What a receiver holds is limited, and
/// what is sent beyond is refused.
const PARCELS: u64 = 8;

fn send_parcels(client: &mut Client, load: &Load, to: WorldId, style: Style) -> Outcome<()> {
    let mut parcel = make_parcel(client, load, 0)?;
    let (all, mut heard) = (load.count / PARCELS, 0);
    for number in 0..load.count {
        if number % PARCELS == 0 && number >= 2 * PARCELS {
            client.receive(Some(LONG))?.ok_or("the receiver stopped")?;
            heard += 1;
        }
        if style == Style::Memfd && number > 0 {
            parcel = make_parcel(client, load, number)?;
        }
        client.send_parcel(to, &parcel, &number.to_le_bytes())?;
    }
    for _ in heard..all {
        client.receive(Some(LONG))?.ok_or("the receiver stopped")?;
    }
    Ok(())
}

fn make_parcel(client: &mut Client, load: &Load, number: u64) -> Outcome<Parcel> {
    let mut parcel = loop {
        match client.new_parcel(load.bytes) {
            // What was sent is the receiver's until it has read it.
            Err(strait_client::Error::Switch(strait_client::Refusal::ParcelQuota)) => rustix::thread::sched_yield(),
            other => break other?,
        }
    };
    Message { number, bytes: load.bytes }.write(&mut parcel);
    Ok(parcel.seal()?)
}

/// Reads each parcel in place; of one that comes again and again, the first time all of it and then its beginning.
fn take_parcels(client: &mut Client, load: &Load, style: Style) -> Outcome<Report> {
    let mut first_ns = 0;
    for number in 0..load.count {
        let record = client.receive(Some(LONG))?.ok_or("the stream stopped")?;
        if record.payload() != number.to_le_bytes() {
            return Err(format!("message {number} is missing").into());
        }
        let parcel = record.parcel().ok_or("a message without its parcel")?;
        let written = if style == Style::Memfd { number } else { 0 };
        match style == Style::Memfd || number == 0 {
            true => check(parcel.bytes(), Message { number: written, bytes: load.bytes })?,
            false => drop(std::hint::black_box(strait_measure::sum(&parcel.bytes()[..64]))),
        }
        let from = record.header().source;
        if number == 0 {
            first_ns = clock::now_ns();
        }
        if number % PARCELS == PARCELS - 1 {
            client.send(from, b"")?;
        }
    }
    Ok(Report { span_ns: Some((first_ns, clock::now_ns())), ..Report::default() })
}

/// Reads each piece where it lies, and counts what was whole.
fn take_pieces(client: &mut Client, load: &Load) -> Outcome<Report> {
    let (mut first_ns, mut number, mut bytes) = (0, 0, 0);
    while number < load.count {
        let record = client.receive_piece(Some(LONG))?.ok_or("the stream stopped")?;
        let piece = record.payload();
        std::hint::black_box(strait_measure::sum(piece));
        if bytes == 0 && piece.first_chunk() != Some(&number.to_le_bytes()) {
            return Err(format!("message {number} is missing").into());
        }
        bytes += piece.len();
        if record.piece().is_none_or(|piece| piece.is_last) {
            if bytes != load.bytes {
                return Err(format!("{bytes} bytes arrived instead of {}", load.bytes).into());
            }
            (number, bytes) = (number + 1, 0);
            if first_ns == 0 {
                first_ns = clock::now_ns();
            }
        }
    }
    Ok(Report { span_ns: Some((first_ns, clock::now_ns())), ..Report::default() })
}

fn take(client: &mut Client, load: &Load) -> Outcome<Report> {
    let mut first_ns = 0;
    for number in 0..load.count {
        let record = client.receive(Some(LONG))?.ok_or("the stream stopped")?;
        check(record.payload(), Message { number, bytes: load.bytes })?;
        if number == 0 {
            first_ns = clock::now_ns();
        }
    }
    Ok(Report { span_ns: Some((first_ns, clock::now_ns())), ..Report::default() })
}
