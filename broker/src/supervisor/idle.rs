//! Worlds that are put to sleep when nothing comes for them, and nothing is asked by them, for as long as their `idle` says.
//!
//! The switch counts; the supervisor asks it now and then, one question at a time, and compares.

use super::Supervisor;
use super::entry::{Entry, State};
use crate::link::{Command, Count};
use std::time::{Duration, Instant};
use strait_protocol::{Counters, WorldId};

/// Worlds in one question: its answer fits the link.
const MAX_LOOKED_AT: usize = 64;
/// How often a world is looked at: a quarter of its time, within these.
const OFTEN: Duration = Duration::from_millis(25);
const SELDOM: Duration = Duration::from_secs(5);

/// What is known of a world that may become idle.
#[derive(Debug)]
pub(super) struct Activity {
    idle: Duration,
    /// What was counted when it last did something, and when that was.
    seen: u64,
    since: Instant,
    next_look: Instant,
}

impl Activity {
    pub(super) fn new(idle_ms: u32) -> Self {
        let (idle, now) = (Duration::from_millis(idle_ms.into()), Instant::now());
        Self { idle, seen: 0, since: now, next_look: now }
    }

    /// Takes in what the switch counts. True when it has been idle for long enough.
    fn take(&mut self, counters: &Counters, now: Instant) -> bool {
        let seen = counters.sent + counters.received + counters.linked_bytes;
        let is_busy = counters.open_requests + counters.owed_replies + counters.unread_bytes > 0;
        if is_busy || seen != self.seen {
            (self.seen, self.since) = (seen, now);
        }
        self.next_look = now + (self.idle / 4).clamp(OFTEN, SELDOM);
        now.duration_since(self.since) >= self.idle
    }
}

impl Entry {
    /// When it is to be looked at whether it is idle.
    fn idle_look(&self) -> Option<Instant> {
        let activity = self.rest.as_ref().and_then(|rest| rest.activity.as_ref());
        activity.filter(|_| self.state == State::Ready).map(|activity| activity.next_look)
    }
}

impl Supervisor {
    pub(super) fn next_idle_look(&self) -> Option<Instant> {
        let looks = self.worlds.values().filter(|_| self.idle_question.is_none());
        looks.filter_map(Entry::idle_look).min()
    }

    /// Asks the switch what those did whose time it is.
    pub(super) fn look_for_idle(&mut self, now: Instant) {
        if self.idle_question.is_some() {
            return;
        }
        let due = self.worlds.values().filter(|entry| entry.idle_look().is_some_and(|at| at <= now));
        let ids: Vec<u64> = due.take(MAX_LOOKED_AT).map(|entry| entry.id.0).collect();
        if ids.is_empty() {
            return;
        }
        let ticket = self.number();
        self.idle_question = Some(ticket);
        self.is_over |= self.link.tell(&Command::Count { ticket, ids }, &[]).is_err();
    }

    /// Whether these counters are the answer to that, and tells those to end that are idle.
    pub(super) fn take_idle_counts(&mut self, ticket: u64, rows: &[Count]) -> bool {
        if self.idle_question != Some(ticket) {
            return false;
        }
        self.idle_question = None;
        let now = Instant::now();
        for Count { id, counters } in rows {
            let Some(entry) = self.worlds.get_mut(&WorldId(*id)) else { continue };
            let grace = Duration::from_millis(entry.grace_ms.into());
            let activity = entry.rest.as_mut().and_then(|rest| rest.activity.as_mut());
            if activity.is_some_and(|activity| activity.take(counters, now)) && entry.state == State::Ready {
                self.begin_stop(WorldId(*id), None, grace, "it is idle");
            }
        }
        true
    }
}
