//! The baseline: two processes on one Unix seqpacket socket, with nobody between them and nobody checking anything.

use crate::load::{self, Figures, Kind, Load};
use crate::place::{self, Placement};
use crate::{Outcome, Prefix};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// What it is called in tables.
pub const NAME: &str = "uds-seqpacket";

/// Starts both children, waits for the figures on their standard output.
pub fn run(prefix: Prefix, load: &Load, placement: Placement) -> Outcome<Figures> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (first, second) = match load.kind {
        Kind::RoundTrip => ("ping", "echo"),
        Kind::OneWay => ("send", "take"),
    };
    let (mut sender, mut receiver) = (start(prefix, first, load, a)?, start(prefix, second, load, b)?);
    placement.place(sender.id(), receiver.id(), &[])?;
    // Both wait for this byte each, so that nothing is measured before they are placed.
    let mut figures = Figures::new();
    for child in [&mut receiver, &mut sender] {
        drop(child.stdin.take());
    }
    let mut cpu = 0.0;
    for child in [&mut sender, &mut receiver] {
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let line = lines.next().ok_or("a child of the baseline failed")??;
        let (spent, more): (f64, Figures) = serde_json::from_str(&line)?;
        cpu += spent;
        figures.extend(more);
        child.wait()?;
    }
    let messages = if load.kind == Kind::RoundTrip { load.count + load.count / 10 } else { load.count };
    figures.push(("cpu_us_per_msg".into(), cpu / messages as f64));
    Ok(figures)
}

fn start(prefix: Prefix, what: &str, load: &Load, socket: OwnedFd) -> Outcome<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.args(prefix).args(["seqpacket", what, &serde_json::to_string(load)?]);
    // The socket takes the place of standard error, which says nothing here; standard input is the starting shot.
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(socket).spawn()?)
}

pub fn child(arguments: &[String]) -> Outcome<()> {
    let [what, load] = arguments else { return Err("what and load".into()) };
    let load: Load = serde_json::from_str(load)?;
    let socket = rustix::stdio::stderr();
    std::io::stdin().read_line(&mut String::new())?;
    let me = [std::process::id()];
    let before = place::cpu_us(&me);
    let (payload, mut buffer) = (vec![7u8; load.bytes], vec![0u8; load.bytes]);
    let put = |bytes: &[u8]| send(socket, bytes, SendFlags::empty());
    let get = |buffer: &mut [u8]| recv(socket, buffer, RecvFlags::empty()).map(|(_, length)| length);
    let figures = match what.as_str() {
        "ping" => load::round_trips(load::time_round_trips(load.count, || -> Outcome<()> {
            put(&payload)?;
            get(&mut buffer)?;
            std::hint::black_box(load::read(&buffer));
            Ok(())
        })?),
        "echo" => {
            for _ in 0..load.count + load.count / 10 {
                get(&mut buffer)?;
                put(&buffer)?;
            }
            Figures::new()
        }
        "send" => {
            for _ in 0..load.count {
                put(&payload)?;
            }
            Figures::new()
        }
        _ => {
            get(&mut buffer)?;
            let start = Instant::now();
            for _ in 1..load.count {
                get(&mut buffer)?;
                std::hint::black_box(load::read(&buffer));
            }
            load::stream(&load, start.elapsed())
        }
    };
    println!("{}", serde_json::to_string(&(place::cpu_us(&me) - before, figures))?);
    Ok(())
}
