//! How a program offers its peers: it is started again for each process of a run, and told what to be.

use crate::work::{self, Report};
use crate::{Kind, Load, Outcome, Peer, Placement, Seat, place};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

/// A peer, as a program offers it.
pub struct Entry {
    spec: fn() -> Spec,
    serve: fn(&Path) -> Outcome<()>,
    work: fn(&Seat) -> Outcome<Report>,
}

/// What the benchmark needs to know of a peer to run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub name: String,
    pub has_server: bool,
    /// Why it can't be had here.
    pub missing: Option<String>,
    /// Loads that don't apply to it, and why.
    pub refuses: Vec<(Kind, String)>,
}

/// What one process of a run is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    pub peer: String,
    /// Where the run's sockets and the like are.
    pub dir: PathBuf,
    /// Which party; none is the process in the middle.
    pub index: Option<usize>,
    pub load: Load,
    pub placement: Placement,
    /// Who started it, so that it never outlives that.
    pub parent: u32,
}

impl Entry {
    pub const fn of<P: Peer>() -> Self {
        Self { spec: spec::<P>, serve: P::serve, work: |seat| work::perform::<P>(seat, ready) }
    }

    pub fn spec(&self) -> Spec {
        (self.spec)()
    }
}

fn spec<P: Peer>() -> Spec {
    let refusal = |kind: Kind| P::refuses(kind).map(|why| (kind, why.to_owned()));
    Spec {
        name: P::NAME.into(),
        has_server: P::HAS_SERVER,
        missing: P::missing(),
        refuses: Kind::ALL.into_iter().filter_map(refusal).collect(),
    }
}

/// Says that this party is there, and waits for the starting shot.
fn ready() -> Outcome<()> {
    println!("ready");
    match std::io::stdin().lock().read_line(&mut String::new())? {
        0 => Err("the benchmark is gone".into()),
        _ => Ok(()),
    }
}

/// Is the process that the benchmark wants: one party, or the one in the middle.
pub fn perform(entries: &[Entry], assignment: &str) -> Outcome<()> {
    let told: Assignment = serde_json::from_str(assignment)?;
    die_with(told.parent)?;
    let entry = entries.iter().find(|entry| entry.spec().name == told.peer).ok_or("no such peer")?;
    let Some(index) = told.index else {
        place::pin(None, told.placement.of_server())?;
        return (entry.serve)(&told.dir);
    };
    place::pin(None, told.placement.of_party(index))?;
    let report = (entry.work)(&Seat { dir: told.dir, index, load: told.load })?;
    println!("{}", serde_json::to_string(&report)?);
    std::io::stdout().flush()?;
    // Until the benchmark has everyone's report and lets go of standard input.
    while std::io::stdin().lock().read_line(&mut String::new())? > 0 {}
    // Without a library's farewells: they are no part of what is measured, and some take seconds.
    std::process::exit(0)
}

/// The kernel ends this process with the one that started it, even if that is killed.
fn die_with(parent: u32) -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid() == Pid::from_raw(parent.cast_signed()) {
        true => Ok(()),
        false => Err("the benchmark is gone".into()),
    }
}
