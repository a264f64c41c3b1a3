//! The end of a world: asked for, by itself, or by force.

use super::entry::{Entry, Nature, State, Stop};
use super::journal::{note, outlive};
use super::{MAX_HISTORY, Supervisor, log};
use crate::link::Command;
use std::time::{Duration, Instant};
use strait_client::Error;
use strait_jail::{Exit, Process};
use strait_protocol::control::{Answer, Ended, Wanted};
use strait_protocol::{Header, Kind, WorldId};

/// How long a program may take to open its connection before it is taken for one that knows nothing of strait.
const OPENING: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Tells a world to end. Whoever asked is answered when it is gone.
    pub(super) fn begin_stop(&mut self, id: WorldId, asker: Option<Header>, deadline: Duration, reason: &str) {
        let correlation = self.number();
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        if let Some(asker) = asker {
            entry.add_waiter(asker);
        }
        if entry.state == State::Asleep {
            entry.note = "was asleep already".into();
            // As ended as it can be, until the whole broker is.
            match self.is_closing {
                true => self.detach(id),
                false => self.tell_end(id, &Ended { sleeps: true, ..ended(&self.worlds[&id]) }),
            }
            return;
        }
        if entry.state >= State::Stopping {
            // Whoever may stop it could otherwise keep it from being stopped, with a deadline in a month.
            if let Some(stop) = entry.stop.as_mut().filter(|_| entry.state == State::Stopping) {
                stop.deadline = stop.deadline.min(Instant::now() + deadline);
            }
            return;
        }
        note(id, &entry.name, &format!("is to end within {deadline:?}: {reason}"));
        let now = Instant::now();
        // The notice waits in the inbox of a program that is about to open its connection. One that hasn't for a while never will:
        // it is told by a signal.
        let signal_at = (!entry.is_mapped).then(|| (entry.started + OPENING).max(now).min(now + deadline / 2));
        entry.state = State::Stopping;
        entry.stop = Some(Stop {
            since: now,
            deadline: now + deadline,
            correlation,
            acknowledged: false,
            saved: None,
            signal_at,
        });
        if !self.part(id, correlation, now + deadline, reason) {
            self.tell_to_stop(id, correlation, deadline, reason);
        }
    }

    pub(super) fn tell_to_stop(&mut self, id: WorldId, correlation: u64, deadline: Duration, reason: &str) {
        let Some(entry) = self.worlds.get(&id) else { return };
        let wanted = match &entry.heir {
            Some(heir) => heir.notice,
            None if self.names.get(&entry.name) != Some(&id) => Wanted::Upgrade,
            None => Wanted::Shutdown,
        };
        if let Err(error) = self.tell(id, wanted, correlation, deadline, reason) {
            self.kill(id, &format!("it can't be told: {error}"));
        }
    }

    /// Tells those by a signal who are not going to read their notice, and ends those whose time is over.
    pub(super) fn end_late(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for entry in self.worlds.values_mut().filter(|entry| !entry.was_killed) {
            if let (Some(end_by), Some(time)) = (entry.end_by, entry.time)
                && end_by <= now
            {
                overdue.push((entry.id, format!("its time is up: it was granted {time:?}")));
                continue;
            }
            if let Some((_, why)) = entry.start_deadline().filter(|(deadline, _)| *deadline <= now) {
                overdue.push((entry.id, why.into()));
                continue;
            }
            let Some(stop) = &mut entry.stop else { continue };
            if stop.signal_at.is_some_and(|at| at <= now) {
                stop.signal_at = None;
                // It may have ended meanwhile, which is what it is asked for.
                let _ = entry.process.as_ref().map(Process::terminate);
            }
            if stop.deadline <= now {
                overdue.push((entry.id, "its deadline passed".into()));
            }
        }
        for (id, why) in overdue {
            self.kill(id, &why);
        }
    }

    /// Tells a world what is wanted of it. It acknowledges with a reply of this correlation.
    pub(super) fn tell(
        &mut self,
        id: WorldId,
        wanted: Wanted,
        correlation: u64,
        deadline: Duration,
        reason: &str,
    ) -> Result<u64, Error> {
        let mut draft = self.control.draft(Kind::Request, id, reason.len())?;
        draft.payload_mut().copy_from_slice(reason.as_bytes());
        let header = draft.header_mut();
        (header.code, header.correlation) = (wanted as u16, correlation);
        header.timeout_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        draft.send()
    }

    pub(super) fn take_acknowledgement(&mut self, header: &Header) {
        if let Some(entry) = self.worlds.get_mut(&header.source)
            && let Some(stop) = &mut entry.stop
            && stop.correlation == header.correlation
        {
            stop.acknowledged = true;
        }
    }

    /// Ends a world by force: the whole tree of a jailed one, the attachment of a host program.
    pub(super) fn kill(&mut self, id: WorldId, why: &str) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        entry.was_killed = true;
        note(id, &entry.name, &format!("is ended by force: {why}"));
        if entry.note.is_empty() {
            entry.note = why.into();
        }
        match (&entry.process, entry.nature) {
            (Some(process), _) => {
                if let Err(error) = process.kill() {
                    log(&format!("world {} can't be killed: {error}", entry.name));
                }
            }
            // Its launch is under way: it is killed when that is answered.
            (None, Nature::Jailed) if entry.state != State::Asleep => {}
            (None, _) => self.detach(id),
        }
    }

    /// A jailed process is gone.
    pub(super) fn take_exit(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Some(process) = &mut entry.process else { return };
        match process.try_wait() {
            Ok(Some(exit)) => {
                entry.exit = Some(exit);
                let kills = process.memory_kills();
                if kills > 0 && entry.note.is_empty() {
                    entry.note = format!("the kernel killed {kills} of its processes for want of memory");
                }
            }
            Ok(None) => return,
            Err(error) => entry.note = format!("its end can't be read: {error}"),
        }
        let _ = rustix::event::epoll::delete(&self.epoll, process.pidfd());
        entry.process = None;
        self.finish_printed(|world| world == id);
        self.end_life(id);
    }

    /// Has the switch deliver what a world left and forget it; then comes [`finish`](Self::finish).
    pub(super) fn detach(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        if entry.state != State::Ending {
            entry.state = State::Ending;
            if self.link.tell(&Command::Detach { id: id.0 }, &[]).is_err() {
                self.is_over = true;
            }
        }
    }

    /// A life is over, of a world that sleeps from here or of one that is gone: nothing that it asked for goes on, and everyone hears of it.
    pub(super) fn conclude(&mut self, id: WorldId, sleeps: bool) -> Option<Ended> {
        let entry = self.worlds.get(&id)?;
        let (name, ended) = (entry.name.clone(), Ended { sleeps, ..ended(entry) });
        let (lived, was_stopped) = (entry.started.elapsed(), entry.stop.is_some());
        self.forget_grants(id, sleeps);
        self.tappers.remove(&id);
        if self.worlds.get(&id).is_some_and(|entry| entry.snapshots > 0) {
            self.end_saving(id);
        }
        note(id, &name, &how(&ended));
        self.forget_topics(id);
        self.announce_end(&name, &ended);
        self.leave_pools(id, lived, was_stopped);
        self.tell_end(id, &ended);
        Some(ended)
    }

    /// Answers who asked for a start and didn't get one, and who waits for an end.
    fn tell_end(&mut self, id: WorldId, ended: &Ended) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let asker = entry.asked_by.take().or_else(|| entry.beside.take().and_then(|beside| beside.asked_by));
        let waiters = std::mem::take(&mut entry.waiters);
        if let Some(asker) = asker {
            self.answer(&asker, &Answer::Refused(ended.note.clone()));
        }
        for waiter in waiters {
            self.answer(&waiter, &Answer::Ended(ended.clone()));
        }
    }

    /// The switch has forgotten a world.
    pub(super) fn finish(&mut self, id: WorldId) {
        let ended = if id == WorldId::STORE { None } else { self.conclude(id, false) };
        outlive(id);
        let Some(entry) = self.worlds.remove(&id) else { return };
        // A newer version may have it.
        if self.names.get(&entry.name) == Some(&id) {
            self.names.remove(&entry.name);
        }
        // Nobody is left who could end this broker.
        self.is_over |= id == self.host;
        let Some(ended) = ended else { return self.lose_store(&entry.note) };
        if self.history.len() >= MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(ended);
    }
}

fn how(ended: &Ended) -> String {
    match (ended.code, ended.signal) {
        (Some(code), _) => format!("ended: exit code {code}"),
        (None, Some(signal)) => format!("ended: signal {signal}"),
        (None, None) => "is gone".into(),
    }
}

fn ended(entry: &Entry) -> Ended {
    let took = entry.stop.as_ref().map_or(Duration::ZERO, |stop| stop.since.elapsed());
    Ended {
        id: entry.id.0,
        code: match entry.exit {
            Some(Exit::Code(code)) => Some(code),
            _ => None,
        },
        signal: match entry.exit {
            Some(Exit::Signal(signal)) => Some(signal),
            _ => None,
        },
        acknowledged: entry.stop.as_ref().is_some_and(|stop| stop.acknowledged),
        saved: entry.stop.as_ref().and_then(|stop| stop.saved),
        killed: entry.was_killed,
        note: entry.note.clone(),
        sleeps: false,
        took_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
    }
}
