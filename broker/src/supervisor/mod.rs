//! The supervisor: owns the worlds. It starts them, vouches for them, hands them their slices, stops them, and
//! answers as `strait.control`. It never looks into a slice but its own service's.
//!
//! One thread, one loop, nothing that waits for a world.

mod accounts;
mod attach;
mod control;
mod dials;
mod end;
mod entry;
mod grants;
mod heirs;
mod idle;
mod images;
mod journal;
mod log;
mod pools;
mod printed;
mod rest;
mod shares;
mod spare;
mod spawn;
mod start;
mod store;
mod topics;

use crate::config::Config;
use crate::link::{Event, Link};
use accounts::Pace;
use attach::Stranger;
use dials::Dials;
use entry::{Entry, Nature};
use grants::Grants;
use images::Image;
use journal::note;
use log::log;
use pools::Pools;
use printed::Printed;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use shares::Shares;
use spare::Spare;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;
use store::Store;
use strait_client::Client;
use strait_jail::{Launcher, Ticket};
use strait_protocol::control::{Ended, WorldRow};
use strait_protocol::{Header, Name, WorldId};
use strait_sys::socket::Peer;
use topics::Topics;

pub(crate) use start::main;

/// Worlds that one broker runs at most.
const MAX_WORLDS: usize = 4096;
/// Ends that are remembered, for those who ask late.
const MAX_HISTORY: usize = 1024;

/// What the loop is woken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Public,
    Rendezvous,
    Launcher,
    Switch,
    Control,
    Process(WorldId),
    Connection(WorldId),
    Stranger(u64),
    Pressure,
    Wakeup(WorldId),
    Printed(u64),
    Gate,
}

impl Token {
    const KIND: u32 = 56;

    fn pack(self) -> epoll::EventData {
        let (kind, value) = match self {
            Self::Public => (1, 0),
            Self::Rendezvous => (2, 0),
            Self::Launcher => (3, 0),
            Self::Switch => (4, 0),
            Self::Control => (5, 0),
            Self::Process(id) => (6, id.0),
            Self::Connection(id) => (7, id.0),
            Self::Stranger(number) => (8, number),
            Self::Pressure => (9, 0),
            Self::Wakeup(id) => (10, id.0),
            Self::Printed(number) => (11, number),
            Self::Gate => (12, 0),
        };
        epoll::EventData::new_u64(kind << Self::KIND | value)
    }

    fn unpack(data: u64) -> Self {
        let value = data & ((1 << Self::KIND) - 1);
        match data >> Self::KIND {
            1 => Self::Public,
            2 => Self::Rendezvous,
            3 => Self::Launcher,
            4 => Self::Switch,
            5 => Self::Control,
            6 => Self::Process(WorldId(value)),
            7 => Self::Connection(WorldId(value)),
            8 => Self::Stranger(value),
            10 => Self::Wakeup(WorldId(value)),
            11 => Self::Printed(value),
            12 => Self::Gate,
            _ => Self::Pressure,
        }
    }
}

struct Supervisor {
    config: Config,
    epoll: OwnedFd,
    /// The program that embeds this broker: when it is gone, everything is over.
    host: WorldId,
    stdio: [OwnedFd; 3],
    printed: Printed,
    nothing: OwnedFd,
    launcher: Launcher,
    launches: HashMap<Ticket, WorldId>,
    /// Of the templates that are cloned, by name.
    images: HashMap<String, Image>,
    /// The program that makes a clone of an image, once there is one.
    restorer: Option<OwnedFd>,
    link: Link,
    control: Client,
    /// Where jailed processes connect; the name it had is gone.
    rendezvous: OwnedFd,
    rendezvous_inode: OwnedFd,
    /// Connections whose process is not known yet: its launch has not been answered.
    unmatched: Vec<(OwnedFd, Peer)>,
    public: Option<OwnedFd>,
    strangers: BTreeMap<u64, Stranger>,
    worlds: BTreeMap<WorldId, Entry>,
    names: HashMap<Name, WorldId>,
    history: VecDeque<Ended>,
    shares: Shares,
    spare: Spare,
    pace: Pace,
    grants: Grants,
    /// Worlds that see what passes between others.
    tappers: BTreeSet<WorldId>,
    topics: Topics,
    store: Store,
    dials: Dials,
    pools: Pools,
    counts: HashMap<u64, (Header, Vec<WorldRow>, bool)>,
    next_id: u64,
    next_uid: u32,
    next_number: u64,
    is_root: bool,
    /// The control service has more to answer than it did in one go.
    is_behind: bool,
    max_worlds: usize,
    /// The question what the worlds did that may be idle, if one is under way.
    idle_question: Option<u64>,
    /// The broker is about to end: nothing is started or woken any more.
    is_closing: bool,
    is_over: bool,
}

impl Supervisor {
    fn run(&mut self) -> Result<(), Errno> {
        while !self.is_over {
            let next =
                if self.is_behind || self.link.has_early() { Some(Instant::now()) } else { self.next_deadline() };
            let timeout = next.map(|end| {
                let left = end.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
            });
            let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
            let ready = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                other => other?.0,
            };
            let tokens: Vec<Token> = ready.iter().map(|event| Token::unpack(event.data.u64())).collect();
            for token in tokens {
                self.handle(token);
            }
            if self.link.has_early() {
                self.hear_switch();
            }
            if self.is_behind {
                self.serve();
            }
            self.end_overdue();
        }
        Ok(())
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Public => self.accept_strangers(),
            Token::Rendezvous => self.accept_worlds(),
            Token::Launcher => self.take_launched(),
            Token::Switch => self.hear_switch(),
            Token::Control => self.serve(),
            Token::Process(id) => self.take_exit(id),
            Token::Connection(id) => self.hear_connection(id),
            Token::Stranger(number) => self.hear_stranger(number),
            Token::Pressure => self.feel_pressure(),
            Token::Wakeup(id) => self.hear_wakeup(id),
            Token::Printed(number) => self.hear_printed(number),
            Token::Gate => self.hear_gate(),
        }
    }

    fn hear_switch(&mut self) {
        loop {
            match self.link.try_receive::<Event>() {
                Err(Errno::AGAIN) => return,
                Ok(Some((event, _))) => self.take_event(event),
                Ok(None) | Err(_) => {
                    log("the switch is gone; every world ends");
                    self.is_over = true;
                    return;
                }
            }
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Attached { id } => self.take_attached(WorldId(id)),
            Event::Forwarded { to } => self.take_forwarded(WorldId(to)),
            Event::Renewed { id, has_taken, sequence } => self.take_renewed(WorldId(id), has_taken, sequence),
            Event::NotAttached { id, why } => {
                self.end_unattached(WorldId(id), &format!("the switch can't map its slices: {why}"));
            }
            Event::Detached { id } => {
                // What the world said last, such as that it ends, was delivered before this: it is heard first.
                self.serve();
                self.finish(WorldId(id));
            }
            Event::Quarantined { id, why } => {
                if let Some(entry) = self.worlds.get(&WorldId(id)) {
                    log(&format!("world {} is quarantined and ended: {why}", entry.name));
                }
                self.kill(WorldId(id), &format!("quarantined: {why}"));
            }
            Event::Accused { by, of } => {
                let name =
                    |id| self.worlds.get(&WorldId(id)).map_or_else(|| WorldId(id).to_string(), |e| e.name.to_string());
                log(&format!("world {} says that {} wrote what can't be true over their link", name(by), name(of)));
            }
            // The descriptors that came with it are closed by now.
            Event::Discarded => {}
            Event::Passed { ticket } => self.take_passed(ticket),
            Event::Permitted { grant } => self.take_permitted(grant),
            Event::Revoked { grant, is_late } => self.take_revoked(grant, is_late),
            Event::Counted { ticket, rows } => {
                if !self.take_idle_counts(ticket, &rows) {
                    self.answer_counted(ticket, &rows);
                }
            }
            Event::Wanted { group } => self.want(WorldId(group)),
            Event::Left { world } => self.take_left(WorldId(world)),
            Event::GroupCounted { ticket, count } => self.take_group_count(ticket, &count),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let living = || self.worlds.values().filter(|entry| !entry.was_killed);
        let stops = living().filter_map(|entry| entry.stop.as_ref());
        let stops = stops.map(|stop| stop.signal_at.map_or(stop.deadline, |at| at.min(stop.deadline)));
        let ends = living().filter_map(|entry| entry.end_by);
        let starts = living().filter_map(|entry| Some(entry.start_deadline()?.0));
        let strangers = self.strangers.values().map(|stranger| stranger.deadline);
        let now = Instant::now();
        let may_wake = !self.is_closing && self.may_wake();
        let wakes = self.worlds.values().filter(|_| may_wake).filter_map(|entry| entry.wake_at(now));
        stops
            .chain(ends)
            .chain(wakes)
            .chain(self.next_idle_look())
            .chain(starts)
            .chain(strangers)
            .chain(self.next_look())
            .chain(self.grants.next_deadline())
            .chain(self.store_deadline())
            .chain(self.pools.next_look())
            .chain(self.printed.next_look())
            .chain(self.spare.next_look())
            .min()
    }

    fn end_overdue(&mut self) {
        let now = Instant::now();
        self.strangers.retain(|_, stranger| stranger.deadline > now);
        self.end_late(now);
        self.end_late_questions(now);
        self.end_expired_grants(now);
        self.restart_store(now);
        self.look_at_pools(now);
        self.wake_due(now);
        self.look_for_idle(now);
        self.read_printed(now);
        self.spare.renew(now);
        if self.next_look().is_some_and(|at| at <= now) {
            self.look_at_shares(now);
        }
    }

    fn watch(&self, fd: BorrowedFd<'_>, token: Token, flags: epoll::EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, token.pack(), flags)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Whether a new world may have this name.
    fn check_name(&self, name: &Name) -> Result<(), String> {
        if name.is_reserved() {
            return Err(format!("`{name}`: names that start with `strait.` belong to the system"));
        }
        if self.names.contains_key(name) {
            return Err(format!("there is a world named `{name}` already"));
        }
        if self.pools.named(name).is_some() {
            return Err(format!("`{name}` is the name of a group: its members are named otherwise"));
        }
        self.check_room()
    }

    /// Whether there may be one world more.
    fn check_room(&self) -> Result<(), String> {
        match self.worlds.len() >= self.max_worlds {
            true => Err(format!("there are {} worlds already, which is the most", self.max_worlds)),
            false => Ok(()),
        }
    }

    fn register(&mut self, entry: Entry, budget_bytes: u64) -> Result<(), String> {
        let command = crate::link::Command::Attach(entry.passport(budget_bytes));
        self.link
            .tell(&command, &entry.channel.for_switch())
            .map_err(|errno| format!("the switch can't be told: {errno}"))?;
        note(entry.id, &entry.name, if entry.nature == Nature::Attached { "attaches" } else { "starts" });
        // It is another's still if this is a version that runs beside that.
        self.names.entry(entry.name.clone()).or_insert(entry.id);
        self.worlds.insert(entry.id, entry);
        Ok(())
    }

    fn take_id(&mut self) -> WorldId {
        self.next_id += 1;
        WorldId(self.next_id)
    }
}

/// The descriptor of a socket's inode, to be connected to through `/proc/self/fd`.
fn open_path(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
