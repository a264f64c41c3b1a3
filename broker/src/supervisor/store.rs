//! The store's process, and what passes between it and the control service.
//!
//! It is started when the first world comes of which something is to be kept, and again when it is lost: a broker without such worlds
//! has none.

use super::entry::{Channel, Entry, Nature, State};
use super::{Supervisor, log};
use crate::policy;
use crate::roles;
use crate::store::Orders;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};
use strait_client::Error;
use strait_protocol::control::{Answer, Saved, Wanted};
use strait_protocol::store::{Operation, Report, words};
use strait_protocol::{Header, Kind, SliceSize, WorldId};
use strait_sys::socket;

/// It hears many at once.
const SLICE: u64 = 1024 * 1024;
const BUDGET_BYTES: u64 = 4 * 1024 * 1024;
/// Parcels that it may be given before it has written the first of them. Their makers pay for them too.
const PARCELS: u32 = 1024;
const PARCEL_BYTES: u64 = 1 << 40;
/// How long after it was lost it is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may take over an order.
const ORDER_TIME: Duration = Duration::from_secs(30);
/// Orders, and snapshots asked for, that may be under way.
const MAX_ASKED: usize = 256;

/// What the supervisor knows of the store.
#[derive(Debug, Default)]
pub(super) struct Store {
    child: Option<Child>,
    restart_at: Option<Instant>,
    /// Who wants what done with the states of which name, and waits for the switch to know the store.
    waiting: Vec<(Header, Operation, String)>,
    /// Who is to be answered what the store answers, by the correlation of the question to it.
    orders: HashMap<u64, Header>,
    /// Who wants which world's snapshot, by the correlation of the notice to that world.
    asked: HashMap<u64, (WorldId, Header)>,
}

impl Supervisor {
    /// Starts the store if there is none.
    pub(super) fn ensure_store(&mut self) -> Result<(), String> {
        if self.worlds.contains_key(&WorldId::STORE) {
            return Ok(());
        }
        let state = self.config.state.clone();
        let state = state.ok_or("there is no place for states: give the configuration `state = \"/a/directory\"`")?;
        let uid = self.is_root.then(|| self.config.uids.first + self.config.uids.count);
        let orders = Orders { state, most_bytes: self.config.state_bytes, uid };
        let orders = serde_json::to_vec(&orders).map_err(|error| format!("`state`: {error}"))?;
        let name = policy::STORE.parse().map_err(|error| format!("{error}"))?;
        let size = SliceSize::new(SLICE).map_err(|error| error.to_string())?;
        let channel = Channel::create(size).map_err(|error| error.to_string())?;
        let (ours, theirs) = socket::pair().map_err(|errno| format!("socketpair: {errno}"))?;
        self.stop_store();
        let child = roles::start(roles::STORE, Path::new("/proc/self/exe"), theirs);
        let child = child.map_err(|error| format!("the store doesn't start: {error}"))?;
        socket::try_send(ours.as_fd(), &orders, &[]).map_err(|errno| format!("sendmsg: {errno}"))?;
        let mut entry = Entry::new(WorldId::STORE, name, Nature::Service, channel);
        (entry.pid, entry.uid) = (child.id().cast_signed(), uid.unwrap_or(rustix::process::geteuid().as_raw()));
        (entry.parcel_count, entry.parcel_bytes) = (PARCELS, PARCEL_BYTES);
        (entry.connection, entry.state) = (Some(ours), State::Running);
        self.store.child = Some(child);
        self.store.restart_at = None;
        self.register(entry, BUDGET_BYTES)
    }

    /// Ends its process for good.
    pub(super) fn end_store(&mut self) {
        if let Some(child) = &mut self.store.child {
            let end = Instant::now() + PAUSE;
            let _ = child.kill();
            while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Ends its process. That is safe at any moment, and what was saved is saved.
    pub(super) fn stop_store(&mut self) {
        if let Some(mut child) = self.store.child.take() {
            let _ = child.kill();
            // One that waits for a disk is left to itself; it dies when that is done.
            let _ = child.try_wait();
        }
    }

    /// The switch has forgotten it.
    pub(super) fn lose_store(&mut self, note: &str) {
        log(&format!("the store is gone and comes again{}{note}", if note.is_empty() { "" } else { ": " }));
        self.stop_store();
        self.store.restart_at = Some(Instant::now() + PAUSE);
        for (_, asker) in std::mem::take(&mut self.store.orders) {
            self.answer(&asker, &Answer::Refused("the store is gone: try again".into()));
        }
    }

    pub(super) fn store_deadline(&self) -> Option<Instant> {
        self.store.restart_at
    }

    pub(super) fn restart_store(&mut self, now: Instant) {
        if self.store.restart_at.is_none_or(|at| at > now) {
            return;
        }
        self.store.restart_at = None;
        if self.worlds.values().any(|entry| entry.snapshots > 0)
            && let Err(why) = self.ensure_store()
        {
            log(&format!("the store doesn't come again: {why}"));
            self.store.restart_at = Some(now + PAUSE);
        }
    }

    /// What a world was half through saving is let go: its life is over, or its version isn't in force any more.
    pub(super) fn tell_store_of_end(&mut self, id: WorldId) {
        if self.worlds.contains_key(&WorldId::STORE) {
            // One that isn't heard of makes way for others later.
            let _ = self.control.try_send(WorldId::STORE, &words([id.0]));
        }
    }

    /// A life is over of a world that something may be kept of.
    pub(super) fn end_saving(&mut self, id: WorldId) {
        self.tell_store_of_end(id);
        let (of_it, others) =
            std::mem::take(&mut self.store.asked).into_iter().partition(|(_, (world, _))| *world == id);
        self.store.asked = others;
        let of_it: HashMap<u64, (WorldId, Header)> = of_it;
        for (_, asker) in of_it.into_values() {
            self.answer(&asker, &Answer::Refused("it ended before it had saved its state".into()));
        }
    }

    // --- what others want of it ---

    /// Passes an order on to the store.
    pub(super) fn ask_store_for(&mut self, asker: &Header, order: Operation, name: &str) -> Result<(), String> {
        self.ensure_store()?;
        if self.store.orders.len() + self.store.waiting.len() >= MAX_ASKED {
            return Err("too much is asked of the store: try again".into());
        }
        self.store.waiting.push((*asker, order, name.into()));
        self.pass_orders_on();
        Ok(())
    }

    /// Asks the store what it can be asked now: before the switch knows it, questions would come back.
    pub(super) fn pass_orders_on(&mut self) {
        if !self.worlds.get(&WorldId::STORE).is_some_and(|entry| entry.is_switched) {
            return;
        }
        for (asker, order, name) in std::mem::take(&mut self.store.waiting) {
            match self.ask_store(order, &name) {
                Ok(correlation) => drop(self.store.orders.insert(correlation, asker)),
                Err(Error::Full) => self.answer(&asker, &Answer::Refused("the store is busy: try again".into())),
                Err(error) => self.answer(&asker, &Answer::Refused(error.to_string())),
            }
        }
    }

    /// Without waiting: the store may be slow.
    fn ask_store(&mut self, order: Operation, name: &str) -> Result<u64, Error> {
        let correlation = self.number();
        let mut draft = self.control.draft_request(WorldId::STORE, name.len(), Duration::ZERO)?;
        draft.payload_mut().copy_from_slice(name.as_bytes());
        let header = draft.header_mut();
        (header.code, header.correlation) = (order as u16, correlation);
        header.timeout_ms = ORDER_TIME.as_millis() as u32;
        draft.send()?;
        Ok(correlation)
    }

    /// Tells a world to save its state. The asker is answered when that is durable.
    pub(super) fn ask_for_snapshot(
        &mut self,
        id: WorldId,
        asker: &Header,
        deadline: Duration,
        reason: &str,
    ) -> Result<(), String> {
        if self.store.asked.len() >= MAX_ASKED {
            return Err("too many snapshots are being made: try again".into());
        }
        let correlation = self.number();
        self.tell(id, Wanted::Snapshot, correlation, deadline, reason).map_err(|error| error.to_string())?;
        self.store.asked.insert(correlation, (id, *asker));
        Ok(())
    }

    // --- what comes back ---

    /// A reply or notice that ends a question of ours. False if it is none of these.
    pub(super) fn take_store_answer(&mut self, header: &Header, payload: Option<&[u8]>) -> bool {
        if header.source == WorldId::STORE
            && let Some(asker) = self.store.orders.remove(&header.correlation)
        {
            match (header.kind, payload.map(Answer::decode)) {
                (Kind::Reply, Some(Ok(answer))) => self.answer(&asker, &answer),
                _ => self.answer(&asker, &Answer::Refused("the store gave no answer: try again".into())),
            }
            return true;
        }
        let is_answer =
            matches!(self.store.asked.get(&header.correlation), Some((world, _)) if *world == header.source);
        if is_answer && let Some((_, asker)) = self.store.asked.remove(&header.correlation) {
            let why = match header.kind {
                Kind::Reply => "it answered, and saved nothing",
                _ => "it didn't save its state in time",
            };
            self.answer(&asker, &Answer::Refused(why.into()));
        }
        is_answer
    }

    /// What the store says by itself.
    pub(super) fn take_report(&mut self, payload: Option<&[u8]>) {
        match payload.and_then(Report::decode) {
            None => {}
            Some(Report::Saved { world, version, bytes }) => self.take_saved(WorldId(world), Saved { version, bytes }),
            Some(Report::Damaged { world, version }) => {
                let name = self.worlds.get(&WorldId(world)).map_or_else(String::new, |entry| entry.name.to_string());
                log(&format!("version {version} of the state of {name} is damaged: `strait snapshots {name}`"));
            }
        }
    }

    fn take_saved(&mut self, id: WorldId, saved: Saved) {
        if let Some(stop) = self.worlds.get_mut(&id).and_then(|entry| entry.stop.as_mut()) {
            stop.saved = Some(saved);
        }
        let of_it = |(_, (world, _)): &(&u64, &(WorldId, Header))| *world == id;
        let answered: Vec<u64> = self.store.asked.iter().filter(of_it).map(|(correlation, _)| *correlation).collect();
        for correlation in answered {
            if let Some((_, asker)) = self.store.asked.remove(&correlation) {
                self.answer(&asker, &Answer::Saved(saved));
            }
        }
    }
}
