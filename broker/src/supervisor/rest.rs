//! Worlds that sleep between their lives: started by a message, and put back to sleep when they end.
//!
//! A world with `wake = "message"` has its name, its id and its place in the switch from the moment it is defined. While it isn't running, the
//! supervisor stands in for it as systemd does for a service's socket: it says in the unused outbox that its writer sleeps, and watches the pipe
//! by which the switch would wake it. Then the program is started and handed these very slices, with what waits in them. The switch learns
//! nothing of this; senders have the order, the flow control and the deadlines that they always have.
//!
//! Slices that a process was handed are for nobody after it: its world goes on with fresh ones (`switch/renew.rs`).

use super::entry::{Channel, ChannelError, Entry, State};
use super::idle::Activity;
use super::{Supervisor, Token, log};
use crate::config::World;
use crate::link::Command;
use rustix::event::epoll::{self, EventFlags};
use std::time::{Duration, Instant};
use strait_jail::Exit;
use strait_protocol::{Header, SliceSize, WorldId};

/// How long after a life that failed the next one is begun: twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Failures in a row from which on what waits is given back to its senders.
const MAX_FAILURES: u32 = 5;
/// A life of at least so long hasn't failed, however it ended.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// What is kept of a world while it sleeps.
#[derive(Debug)]
pub(super) struct Rest {
    /// It was defined, or has lived: a start that fails doesn't end it.
    pub is_kept: bool,
    /// Since when something waits for it, or somebody asked that it be woken.
    wanted_since: Option<Instant>,
    /// Lives in a row that failed, why the last one did, and when the next one may begin.
    failures: u32,
    why: String,
    not_before: Option<Instant>,
    /// The next life is that of a version that takes over, or of one that is to begin anew.
    is_succession: bool,
    /// Who is to be answered when that runs.
    herald: Option<Header>,
    /// The switch gives back what waits.
    gives_back: bool,
    /// Of one that is put to sleep when it is idle: what this life did.
    pub activity: Option<Activity>,
}

impl Rest {
    pub(super) fn new(world: &World) -> Self {
        Self {
            activity: world.idle_ms.map(Activity::new),
            is_kept: false,
            wanted_since: None,
            failures: 0,
            why: String::new(),
            not_before: None,
            is_succession: false,
            herald: None,
            gives_back: false,
        }
    }

    /// Of a version that takes over: it is started at once, and its asker answered.
    pub(super) fn of_heir(world: &World, herald: Option<Header>) -> Self {
        Self { is_kept: true, is_succession: true, herald, ..Self::new(world) }
    }

    /// Who is to be answered, if somebody is, when the next life takes over from another one: said once.
    fn take_succession(&mut self) -> Option<Option<Header>> {
        std::mem::take(&mut self.is_succession).then(|| self.herald.take())
    }

    fn count_failure(&mut self, why: String) -> Duration {
        self.failures += 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
        (self.why, self.not_before, self.wanted_since) = (why, Some(Instant::now() + pause), None);
        pause
    }

    fn forget_failures(&mut self) {
        (self.failures, self.not_before) = (0, None);
        self.why.clear();
    }

    /// When it is to be woken, if it is.
    fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.wanted_since.map(|_| self.not_before.unwrap_or(now))
    }

    /// Why nobody should send to it for now.
    pub(super) fn refusal(&self) -> Option<&str> {
        let pauses = self.not_before.is_some_and(|at| at > Instant::now());
        (pauses && self.failures >= MAX_FAILURES).then_some(self.why.as_str())
    }
}

impl Entry {
    /// When it is to be woken, if it sleeps and is.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let sleeper = self.rest.as_ref().filter(|_| self.state == State::Asleep);
        sleeper.and_then(|rest| rest.wake_at(now))
    }

    /// Whether its start is one of those that need not be at once.
    pub(super) fn has_slept(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.is_kept)
    }

    /// Whether the life that has just ended is one that must not begin anew at once.
    fn has_failed(&self, has_taken: bool) -> bool {
        let is_well = self.exit == Some(Exit::Code(0)) && has_taken;
        self.stop.is_none() && (!self.is_mapped || self.started.elapsed() < SHORT_LIFE && !is_well)
    }

    /// Why, for people.
    fn failure(&self) -> String {
        match self.exit {
            _ if !self.note.is_empty() => self.note.clone(),
            Some(Exit::Code(0)) if self.is_mapped => "it ended without having taken anything".into(),
            Some(Exit::Code(code)) if self.is_mapped => format!("it exited with {code} right after its start"),
            Some(Exit::Code(code)) => format!("it exited with {code} before it had opened its connection"),
            Some(Exit::Signal(signal)) => format!("signal {signal} ended it right after its start"),
            None => "it didn't start".into(),
        }
    }

    /// Ends a life: what is left is what its world has while it sleeps.
    pub(super) fn forget_life(&mut self) {
        (self.connection, self.process, self.stop, self.exit) = (None, None, None, None);
        (self.is_welcomed, self.is_watched, self.is_mapped, self.was_killed) = (false, false, false, false);
        (self.pid, self.end_by, self.started) = (0, None, Instant::now());
        self.note.clear();
        // Without what it was granted meanwhile. It was judged good before.
        let _ = self.world.clone().map(|world| self.adopt(&world));
        self.state = State::Asleep;
    }
}

impl Supervisor {
    /// A life is over, or didn't begin. A world that has another one sleeps until then; any other is gone, and so is a version that was to take over and
    /// hasn't: nobody knows it.
    pub(super) fn end_life(&mut self, id: WorldId) {
        self.judge_origin(id);
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let has_next = entry.heir.is_some() || entry.rest.as_ref().is_some_and(|rest| rest.is_kept);
        let goes_on = has_next && !self.is_closing && entry.beside.is_none();
        match goes_on {
            false => self.detach(id),
            true if entry.heir.is_some() => self.succeed(id),
            true if entry.is_welcomed => self.renew(id, false),
            true => self.judge_life(id, false),
        }
    }

    /// Has the switch end a life and take fresh slices for the next one; then comes [`take_renewed`](Self::take_renewed).
    pub(super) fn renew(&mut self, id: WorldId, gives_back: bool) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let (Some(rest), Some(world)) = (&mut entry.rest, &entry.world) else { return };
        rest.gives_back = gives_back;
        entry.state = State::Ending;
        let budget_bytes = world.budget;
        match dormant(world.slice) {
            Ok(channel) => {
                entry.channel = channel;
                entry.is_switched = false;
                let command = Command::Renew { passport: entry.passport(budget_bytes), gives_back };
                self.is_over |= self.link.tell(&command, &entry.channel.for_switch()).is_err();
            }
            Err(why) => self.abandon(id, &why),
        }
    }

    /// The switch has fresh slices, and has delivered what the last life said.
    pub(super) fn take_renewed(&mut self, id: WorldId, has_taken: bool, sequence: u64) {
        // What the world said last, such as that it ends, is heard first.
        self.serve();
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        (entry.is_switched, entry.former_records) = (true, sequence);
        let succession = entry.rest.as_mut().and_then(Rest::take_succession);
        match (entry.channel.inbox.seal_writes(), succession) {
            (Err(error), _) => self.abandon(id, &error.to_string()),
            (Ok(()), Some(herald)) => self.begin_succession(id, herald),
            // It slept, or was removed while its last life ended.
            _ if entry.rest.is_none() => self.detach_renewed(id),
            _ if entry.rest.as_ref().is_some_and(|rest| rest.gives_back) => self.fall_asleep(id),
            _ => self.judge_life(id, has_taken),
        }
    }

    /// Whether the next life may begin as soon as it is wanted, or after a pause; and whether what waits goes back meanwhile.
    fn judge_life(&mut self, id: WorldId, has_taken: bool) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let failure = entry.has_failed(has_taken).then(|| entry.failure());
        let Some(rest) = &mut entry.rest else { return };
        let Some(why) = failure else {
            rest.forget_failures();
            return self.fall_asleep(id);
        };
        let pause = rest.count_failure(why);
        log(&format!("world {} fails, {} in a row: {}; again after {pause:?}", entry.name, rest.failures, rest.why));
        match rest.failures >= MAX_FAILURES {
            true => self.renew(id, true),
            false => self.fall_asleep(id),
        }
    }

    /// Tells who waits for the end of a life, and stands in for the world until the next one.
    fn fall_asleep(&mut self, id: WorldId) {
        self.conclude(id, true);
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.forget_life();
            self.stand_in(id);
        }
    }

    /// Watches the pipe that the switch rings when something comes for a world that sleeps; at once, if something waits already.
    pub(super) fn stand_in(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get(&id) else { return };
        if let Err(errno) = self.watch(entry.channel.wakeup(), Token::Wakeup(id), EventFlags::IN) {
            self.abandon(id, &format!("nobody can stand in for it: {errno}"));
        }
    }

    /// Something came for a world that sleeps.
    pub(super) fn hear_wakeup(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id).filter(|entry| entry.state == State::Asleep) else { return };
        let _ = epoll::delete(&self.epoll, entry.channel.wakeup());
        if let Some(rest) = &mut entry.rest {
            rest.wanted_since.get_or_insert_with(Instant::now);
        }
        self.wake_due(Instant::now());
    }

    /// Begins the next life of all who are wanted and need not wait any longer; where there is no room for all, of who has waited longest.
    pub(super) fn wake_due(&mut self, now: Instant) {
        let is_due = |entry: &&Entry| entry.wake_at(now).is_some_and(|at| at <= now) && !self.is_closing;
        let mut due: Vec<&Entry> = self.worlds.values().filter(is_due).collect();
        due.sort_by_key(|entry| entry.rest.as_ref().and_then(|rest| rest.wanted_since));
        for id in due.iter().map(|entry| entry.id).collect::<Vec<_>>() {
            if !self.may_wake() {
                return;
            }
            self.begin_life(id);
        }
    }

    /// Wakes a world: `anew`, at once and whatever came of it before, or when its pause is over. Who asks is answered by the caller or when its program runs.
    pub(super) fn rouse(&mut self, id: WorldId, anew: bool) {
        if let Some(rest) = self.worlds.get_mut(&id).and_then(|entry| entry.rest.as_mut()) {
            if anew {
                rest.forget_failures();
            }
            rest.wanted_since.get_or_insert_with(Instant::now);
        }
        self.wake_due(Instant::now());
    }

    /// Unless lives come too fast on its starter's account: then it goes on waiting.
    fn begin_life(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Some(rest) = &mut entry.rest else { return };
        if let Some(account) = &entry.account
            && let Err(wait) = self.pace.count(account, self.config.starts, Instant::now())
        {
            rest.not_before = Some(Instant::now() + wait);
            return;
        }
        rest.wanted_since = None;
        rest.activity = entry.world.as_ref().and_then(|world| world.idle_ms).map(Activity::new);
        // It is there if nobody has rung.
        let _ = epoll::delete(&self.epoll, entry.channel.wakeup());
        (entry.state, entry.started) = (State::Starting, Instant::now());
        if let Err(why) = self.start_life(id) {
            if let Some(entry) = self.worlds.get_mut(&id) {
                entry.note = why;
            }
            self.end_life(id);
        }
    }

    /// A world that sleeps is made unknown: what waits for it goes back to its senders.
    pub(super) fn forget_sleeper(&mut self, id: WorldId, why: &str) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let _ = epoll::delete(&self.epoll, entry.channel.wakeup());
        entry.note = why.into();
        self.renew(id, true);
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.rest = None;
        }
    }

    /// The switch doesn't take a world's slices.
    pub(super) fn end_unattached(&mut self, id: WorldId, why: &str) {
        match self.worlds.get(&id).is_some_and(|entry| entry.state == State::Ending) {
            true => self.abandon(id, why),
            false => self.kill(id, why),
        }
    }

    /// Ends a world that can't go on.
    fn abandon(&mut self, id: WorldId, why: &str) {
        if let Some(entry) = self.worlds.get_mut(&id) {
            log(&format!("world {} ends for good: {why}", entry.name));
            entry.note = why.into();
        }
        self.detach_renewed(id);
    }

    /// Ends a world between two lives.
    fn detach_renewed(&mut self, id: WorldId) {
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.state = State::Asleep;
        }
        self.detach(id);
    }
}

/// Slices for a world that isn't running.
pub(super) fn dormant(slice_bytes: u64) -> Result<Channel, String> {
    let size = SliceSize::new(slice_bytes).map_err(|error| error.to_string())?;
    let channel = Channel::create(size).and_then(|channel| channel.lay_down().map(|()| channel));
    channel.map_err(|error: ChannelError| error.to_string())
}
