//! strait: opening a connection, and what idle worlds cost.

use crate::folder::Folder;
use crate::strait::{order_to_echo, payload_pid, world_of};
use crate::{Outcome, Prefix};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use strait_broker::{AttachRule, Client, Config, Host, WorldId};
use strait_client::Kind as RecordKind;
use strait_measure::{Figures, Load, Message, Placement, check, memory_kib, round_trips, tree};

const LONG: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_millis(300);
/// The world that answers.
const ANSWERER: &str = "receiver-0";

/// What the process that opens connections is told.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    socket: PathBuf,
    load: Load,
    placement: Placement,
    /// Who answers: known beforehand, like everybody's address.
    to: u64,
}

/// A host program opens its place among the worlds, asks one of them, is answered; again and again.
pub fn open_again_and_again(prefix: Prefix, load: &Load, placement: Placement) -> Outcome<Figures> {
    let folder = Folder::new()?;
    let socket = folder.path().join("strait.sock");
    let uid = rustix::process::geteuid().as_raw();
    let rule = AttachRule {
        name: "opener/*".into(),
        uid,
        send: vec!["*".into()],
        link: Vec::new(),
        may: Vec::new(),
        ask: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    let config = Config { socket: Some(socket.clone()), attach: vec![rule], ..Config::default() };
    let mut host = Host::start(&config)?;
    let world = host.spawn(ANSWERER, &world_of(prefix)?)?;
    let answerer = payload_pid(&mut host, world)?;
    host.client().start_request(world, &order_to_echo(load)?, LONG)?;
    let between: Vec<u32> = tree(host.supervisor_pid()).into_iter().filter(|pid| *pid != answerer).collect();
    let orders = serde_json::to_string(&Orders { socket, load: *load, placement, to: world.0 })?;
    let mut opener = Command::new("/proc/self/exe");
    opener.args(prefix).args(["opener", &orders]).stdin(Stdio::null()).stderr(Stdio::inherit());
    placement.place(answerer, &[answerer], &between)?;
    let output = opener.output()?;
    if !output.status.success() {
        return Err("the process that opens connections failed".into());
    }
    let mut figures: Figures = serde_json::from_slice(&output.stdout)?;
    figures.retain(|(name, _)| name == "mean_us" || name == "p50_us");
    Ok(figures)
}

/// The process that opens connections.
pub fn opener(orders: &str) -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let orders: Orders = serde_json::from_str(orders)?;
    let load = &orders.load;
    orders.placement.place(std::process::id(), &[], &[])?;
    let mut times = Vec::new();
    for number in 0..load.count + load.warm_up() {
        let message = Message { number, bytes: load.bytes };
        let start = Instant::now();
        let mut client = Client::attach(&orders.socket, &format!("opener/{number}"))?;
        let mut draft = client.draft(RecordKind::Message, WorldId(orders.to), load.bytes)?;
        message.write(draft.payload_mut());
        draft.send()?;
        check(client.receive(Some(LONG))?.ok_or("no answer")?.payload(), message)?;
        times.push(start.elapsed());
    }
    println!("{}", serde_json::to_string(&round_trips(times.split_off(load.warm_up() as usize)))?);
    Ok(())
}

/// By how much the broker's own processes grow with jailed worlds that do nothing.
pub fn weigh(prefix: Prefix, load: &Load, _: Placement) -> Outcome<Figures> {
    let mut host = Host::start(&Config::default())?;
    let world = world_of(prefix)?;
    let daemon = tree(host.supervisor_pid());
    host.spawn("first", &world)?;
    std::thread::sleep(SETTLE);
    let before = memory_kib(&daemon);
    for n in 0..load.count {
        host.spawn(&format!("idle-{n}"), &world)?;
    }
    std::thread::sleep(SETTLE);
    Ok(vec![("kib_per_client".into(), (memory_kib(&daemon) - before) / load.count as f64)])
}
