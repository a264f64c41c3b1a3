//! Dials: the supervisor judges the place and remembers what was handed over; the gate's process does the rest.
//!
//! The gate is started when the first world dials, and again when it is lost: a broker whose worlds don't dial has none. A connection belongs to its world
//! from the moment that it is handed over. When policy doesn't give it any more, the kernel is told to end it (`sock_diag(7)`); where strait may not do
//! that, as without root, a world that doesn't let go of it is ended.

use super::journal::note_dial;
use super::{Supervisor, Token, log};
use crate::policy::{Place, Resource};
use crate::roles;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use strait_gate::{Connection, Dial, Order, Setup, Told, diag, send, try_receive, try_send};
use strait_protocol::control::Answer;
use strait_protocol::{Header, WorldId};
use strait_sys::socket;

/// Dials of one world, and of all, that may be under way. Nobody may have more than there is room left: however many worlds take what they can, there is
/// room for another's (Choudhury and Hahne, "Dynamic queue length thresholds", 1998).
const MAX_DIALS_PER_WORLD: usize = 8;
const MAX_DIALS: usize = 512;
/// Connections that one world may have.
const MAX_CONNECTIONS_PER_WORLD: usize = 256;
/// The longest time that a dial may take.
const MAX_DIAL_MS: u32 = 120_000;

/// What the supervisor knows of the gate and of what came through it.
#[derive(Debug, Default)]
pub(super) struct Dials {
    gate: Option<Gate>,
    last: u32,
    under_way: BTreeMap<u32, UnderWay>,
    open: BTreeMap<WorldId, Vec<Open>>,
}

#[derive(Debug)]
struct Gate {
    process: Child,
    link: OwnedFd,
}

#[derive(Debug)]
struct UnderWay {
    asker: Header,
    place: Place,
    /// The addresses that its world's policy named when it began.
    named: Vec<IpAddr>,
    /// The gate was told that nobody wants it any more.
    is_cancelled: bool,
    /// What its world may have by now.
    connection: Option<Connection>,
}

/// A connection that was handed over.
#[derive(Debug)]
struct Open {
    place: Place,
    connection: Connection,
    /// Its address isn't public, and may be dialled because a line names it.
    was_named: bool,
}

impl UnderWay {
    fn open(&self) -> Option<Open> {
        let connection = self.connection?;
        let was_named = self.named.contains(&connection.peer.ip());
        Some(Open { place: self.place.clone(), connection, was_named })
    }
}

impl Gate {
    /// Ends its process: after that it hands nothing over.
    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.end();
    }
}

impl Supervisor {
    /// Has the gate connect to a place. Answered when the connection lies in the world's lane, or when it can't be had.
    pub(super) fn dial(&mut self, asker: &Header, place: &str, timeout_ms: u32) -> Result<(), String> {
        let place: Place = place.parse()?;
        let (host, port) = place.one().ok_or("a dial is to one place, without `*`")?;
        let entry = &self.worlds[&asker.source];
        if let Err(missing) = entry.policy.dial(&place) {
            note_dial(entry.id, &entry.name, &format!("may not dial {place}: {missing}"));
            return Err(missing.to_string());
        }
        let named = entry.policy.named_addresses(port);
        self.check_room_for_dial(asker.source)?;
        self.ensure_gate()?;
        self.dials.last = self.dials.last.wrapping_add(1);
        let ticket = self.dials.last;
        let timeout_ms = timeout_ms.min(asker.timeout_ms).min(MAX_DIAL_MS);
        let dial = Dial { ticket, host: host.clone(), port, named: named.clone(), timeout_ms };
        let lane = self.worlds[&asker.source].channel.lane();
        let gate = self.dials.gate.as_ref().ok_or("there is no gate")?;
        try_send(gate.link.as_fd(), &Order::Dial(dial), &[lane])
            .map_err(|errno| format!("the gate is busy: {errno}"))?;
        let dial = UnderWay { asker: *asker, place, named, is_cancelled: false, connection: None };
        self.dials.under_way.insert(ticket, dial);
        Ok(())
    }

    fn check_room_for_dial(&mut self, world: WorldId) -> Result<(), String> {
        let of_world = self.dials.under_way.values().filter(|dial| dial.asker.source == world).count();
        if of_world >= MAX_DIALS_PER_WORLD {
            return Err(format!("{MAX_DIALS_PER_WORLD} of your dials are under way: wait for their answers"));
        }
        let room = MAX_DIALS.saturating_sub(self.dials.under_way.len());
        if of_world >= room {
            return Err(format!(
                "there is room for {room} dials, and {of_world} of yours are under way: try again later"
            ));
        }
        let open = self.dials.open.entry(world).or_default();
        if open.len() + of_world >= MAX_CONNECTIONS_PER_WORLD {
            open.retain(|open| !diag::is_over(&open.connection).unwrap_or(false));
        }
        match open.len() + of_world < MAX_CONNECTIONS_PER_WORLD {
            true => Ok(()),
            false => Err(format!("you have {MAX_CONNECTIONS_PER_WORLD} connections: close some")),
        }
    }

    // --- the gate's process ---

    fn ensure_gate(&mut self) -> Result<(), String> {
        if self.dials.gate.is_some() {
            return Ok(());
        }
        let (ours, theirs) = socket::pair().map_err(|errno| format!("socketpair: {errno}"))?;
        let process = roles::start(roles::GATE, Path::new("/proc/self/exe"), theirs);
        let process = process.map_err(|error| format!("the gate doesn't start: {error}"))?;
        let gate = Gate { process, link: ours };
        // The store has the uid behind those of the worlds.
        let uid = self.is_root.then(|| self.config.uids.first + self.config.uids.count + 1);
        send(gate.link.as_fd(), &Setup { uid }, &[]).map_err(|errno| format!("sendmsg: {errno}"))?;
        self.watch(gate.link.as_fd(), Token::Gate, EventFlags::IN).map_err(|errno| format!("epoll_ctl: {errno}"))?;
        self.dials.gate = Some(gate);
        Ok(())
    }

    pub(super) fn hear_gate(&mut self) {
        while let Some(gate) = &self.dials.gate {
            match try_receive(gate.link.as_fd()) {
                Err(Errno::AGAIN) => return,
                Ok(Some((told, _))) => self.take_told(told),
                Ok(None) | Err(_) => self.lose_gate("the gate is gone, and comes again with the next dial"),
            }
        }
    }

    /// Ends the gate, and with it all that is being connected.
    fn lose_gate(&mut self, why: &str) {
        log(why);
        if let Some(gate) = &mut self.dials.gate {
            gate.end();
        }
        // What it handed over before is said in its link.
        while let Some(gate) = &self.dials.gate
            && let Ok(Some((told, _))) = try_receive(gate.link.as_fd())
        {
            self.take_told(told);
        }
        self.dials.gate = None;
        for (_, dial) in std::mem::take(&mut self.dials.under_way) {
            match dial.is_cancelled {
                true => self.finish_cancelled(&dial),
                false => {
                    // Its world may have it all the same.
                    self.dials.open.entry(dial.asker.source).or_default().extend(dial.open());
                    self.answer(&dial.asker, &Answer::Refused("the gate is gone: try again".into()));
                }
            }
        }
    }

    fn take_told(&mut self, told: Told) {
        match told {
            Told::Connected { ticket, connection } => {
                if let Some(dial) = self.dials.under_way.get_mut(&ticket) {
                    dial.connection = Some(connection);
                }
            }
            Told::Dialed { ticket } => self.take_dialed(ticket),
            Told::Failed { ticket, why } => self.take_failed(ticket, &why),
            Told::Cancelled { ticket } => {
                if let Some(dial) = self.dials.under_way.remove(&ticket) {
                    self.finish_cancelled(&dial);
                }
            }
        }
    }

    /// Ends what was handed over before the gate heard that nobody wants it. Then what this dial went on under is over.
    fn finish_cancelled(&mut self, dial: &UnderWay) {
        self.end_connections(dial.asker.source, dial.open().as_slice());
        self.finish_network_grants(dial.asker.source);
    }

    fn take_dialed(&mut self, ticket: u32) {
        if self.dials.under_way.get(&ticket).is_none_or(|dial| dial.is_cancelled) {
            return;
        }
        let Some(dial) = self.dials.under_way.remove(&ticket) else { return };
        let (Some(open), world) = (dial.open(), dial.asker.source) else { return };
        let Connection { local, peer, .. } = open.connection;
        if let Some(entry) = self.worlds.get(&world) {
            note_dial(world, &entry.name, &format!("dials {}: {peer} as {local}", open.place));
        }
        self.dials.open.entry(world).or_default().push(open);
        self.answer(&dial.asker, &Answer::Dialed { number: ticket, peer: peer.to_string() });
    }

    fn take_failed(&mut self, ticket: u32, why: &str) {
        if self.dials.under_way.get(&ticket).is_none_or(|dial| dial.is_cancelled) {
            return;
        }
        let Some(dial) = self.dials.under_way.remove(&ticket) else { return };
        if let Some(entry) = self.worlds.get(&dial.asker.source) {
            note_dial(entry.id, &entry.name, &format!("doesn't get to {}: {why}", dial.place));
        }
        self.answer(&dial.asker, &Answer::Refused(why.into()));
    }

    // --- taking it back ---

    /// A grant of a place is over: what goes on under it ends. Who revoked it is answered when nothing does any more.
    pub(super) fn close_network(&mut self, world: WorldId) {
        let Some(entry) = self.worlds.get(&world) else { return };
        let policy = entry.policy.clone();
        let open = self.dials.open.remove(&world).unwrap_or_default();
        let may = |open: &Open| policy.dials(&open.place, open.connection.peer, open.was_named);
        let (stay, end) = open.into_iter().partition(may);
        self.dials.open.insert(world, stay);
        self.end_connections(world, &end);
        let is_without_leave = |dial: &UnderWay| {
            let at = |(_, port)| policy.named_addresses(port) != dial.named;
            policy.dial(&dial.place).is_err() || dial.place.one().is_some_and(at)
        };
        self.cancel_dials(world, is_without_leave);
        self.finish_network_grants(world);
    }

    /// Ends connections of a world, or the world if that can't be done.
    fn end_connections(&mut self, world: WorldId, end: &[Open]) {
        for Open { place, connection, .. } in end {
            let Err(errno) = diag::destroy(connection) else { continue };
            if diag::is_held(connection).unwrap_or(true) {
                self.kill(world, &format!("its leave to be connected to {place} is over, and the connection can't be ended otherwise: {errno}"));
                return;
            }
        }
    }

    /// Nobody wants these dials of a world any more.
    fn cancel_dials(&mut self, world: WorldId, which: impl Fn(&UnderWay) -> bool) {
        let of_world = self.dials.under_way.iter_mut().filter(|(_, dial)| dial.asker.source == world);
        let mut cancelled = Vec::new();
        for (ticket, dial) in of_world.filter(|(_, dial)| !dial.is_cancelled && which(dial)) {
            dial.is_cancelled = true;
            cancelled.push((*ticket, dial.asker));
        }
        for (ticket, asker) in cancelled {
            self.answer(&asker, &Answer::Refused("its grant was revoked".into()));
            self.tell_gate_to_cancel(ticket);
        }
    }

    fn tell_gate_to_cancel(&mut self, ticket: u32) {
        let told = self.dials.gate.as_ref().map(|gate| try_send(gate.link.as_fd(), &Order::Cancel { ticket }, &[]));
        if told.is_some_and(|told| told.is_err()) {
            self.lose_gate("the gate doesn't listen and is ended; it comes again with the next dial");
        }
    }

    /// The revoked grants of a world under which nothing goes on any more are over; those of one that is being ended for it, when it is gone.
    fn finish_network_grants(&mut self, world: WorldId) {
        let goes_on = self.dials.under_way.values().any(|dial| dial.asker.source == world && dial.is_cancelled);
        if !goes_on && self.worlds.get(&world).is_some_and(|entry| !entry.was_killed) {
            self.drop_closing(world, |resource| matches!(resource, Resource::Network(_)));
        }
    }

    /// A life is over, and its connections with it: what is handed over now goes into a lane that nobody has any more. Nobody is answered either, least
    /// of all its world's next life.
    pub(super) fn forget_dials(&mut self, world: WorldId) {
        self.dials.open.remove(&world);
        let (over, stay) =
            std::mem::take(&mut self.dials.under_way).into_iter().partition(|(_, dial)| dial.asker.source == world);
        self.dials.under_way = stay;
        let over: BTreeMap<u32, UnderWay> = over;
        over.keys().for_each(|ticket| self.tell_gate_to_cancel(*ticket));
    }
}
