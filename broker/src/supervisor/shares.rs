//! Who takes the processor for long stands apart (docs/decisions/0019-who-burns-stands-apart.md).
//!
//! All worlds begin in one group of the scheduler, because those who hand turns to each other must be in one. A world that doesn't give turns back
//! makes every yield of the others last a time slice there: a round trip of 8 us becomes one of 8 ms. So it is moved into a group of its
//! own with a small share, where it has what the others leave, and back when it has been calm for a while, longer each time.
//!
//! Who that is, the kernel knows: how much time a world had, in how many turns, and how long its threads waited for them. One that talks has turns of some
//! microseconds even when it does nothing else; one that computes has turns of milliseconds, and one that is a crowd wants more than two processors. Nobody looks while there are processors enough: the kernel wakes this up when somebody waits for
//! one (`/proc/pressure/cpu`).

use super::{Supervisor, Token, log};
use rustix::event::epoll::{self, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use strait_jail::{Had, Process, Turns};
use strait_protocol::WorldId;

/// Wake up when somebody had to wait for a processor for 100 ms in 2 s: the shortest time that the kernel lets anybody ask for.
const TRIGGER: &[u8] = b"some 100000 2000000\0";
/// Between two looks while somebody is hot or apart.
const LOOK: Duration = Duration::from_millis(250);
/// A world is hot from this share of one processor on, and burns if so much of it went into long turns.
const HOT: f64 = 0.2;
/// And one that wants so many processors, what it had and what it waited for together, is a crowd.
const CROWD: f64 = 2.0;
/// One that wants less than this is calm again.
const CALM: f64 = 0.1;
/// Turns that last longer on average than this are not those of one that waits for somebody.
const LONG_TURN: Duration = Duration::from_micros(300);
/// How long one that stands apart has to be calm at first. Doubled each time.
const FIRST_TERM: Duration = Duration::from_secs(1);
const LONGEST_TERM: Duration = Duration::from_secs(64);

/// What is known of the worlds' use of the processor.
#[derive(Debug, Default)]
pub(super) struct Shares {
    trigger: Option<OwnedFd>,
    next: Option<Instant>,
    worlds: HashMap<WorldId, Share>,
}

#[derive(Clone, Debug)]
struct Share {
    at: Instant,
    time: Duration,
    /// Counted only for those who are hot or apart.
    turns: Option<Turns>,
    /// Since when it has been calm, if it stands apart.
    apart: Option<Instant>,
    term: Duration,
    /// Nobody has looked for a while.
    is_old: bool,
}

/// What is to be done about a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Leave,
    Part,
    Return,
}

impl Share {
    fn new(at: Instant, time: Duration) -> Self {
        Self { at, time, turns: None, apart: None, term: FIRST_TERM, is_old: true }
    }

    /// Takes in what a world has had until now. `turns` are counted only if they are asked for.
    fn update(&mut self, at: Instant, time: Duration, turns: impl FnOnce() -> Turns) -> Verdict {
        if std::mem::take(&mut self.is_old) {
            (self.at, self.time, self.turns) = (at, time, None);
            return Verdict::Leave;
        }
        let (passed, spent) = ((at - self.at).as_secs_f64().max(1e-3), time.saturating_sub(self.time));
        let is_hot = spent.as_secs_f64() / passed >= HOT;
        let turns = (is_hot || self.apart.is_some()).then(turns);
        let before = std::mem::replace(&mut self.turns, turns);
        (self.at, self.time) = (at, time);
        let Some((now, before)) = self.turns.as_ref().zip(before) else { return Verdict::Leave };
        let taken: Vec<Had> = now.since(&before).collect();
        let waited: Duration = taken.iter().map(|had| had.waited).sum();
        let wanted = (spent + waited).as_secs_f64() / passed;
        // What threads had that came and went isn't seen: no turns that can be seen are no short ones.
        let short: Duration = taken.iter().filter(|had| has_short_turns(had)).map(|had| had.time).sum();
        let burnt = spent.saturating_sub(short).as_secs_f64() / passed;
        match self.apart {
            None if wanted >= CROWD || burnt >= HOT => Verdict::Part,
            // It wants more than it gets: that isn't calm.
            Some(_) if wanted >= CALM => {
                self.apart = Some(at);
                Verdict::Leave
            }
            Some(since) if at - since >= self.term => Verdict::Return,
            _ => Verdict::Leave,
        }
    }

    fn part(&mut self) {
        self.apart = Some(self.at);
    }

    fn rejoin(&mut self) {
        (self.apart, self.turns) = (None, None);
        self.term = (self.term * 2).min(LONGEST_TERM);
    }
}

/// Thread by thread: beside one that burns, another that naps all the time would make any average of the two a short one.
fn has_short_turns(had: &Had) -> bool {
    had.time < LONG_TURN * u32::try_from(had.count).unwrap_or(u32::MAX)
}

impl Supervisor {
    /// Asks the kernel to say when processors are short. Without that, or without groups to put anybody into, nobody is.
    pub(super) fn watch_pressure(&mut self) {
        let open = || -> Result<OwnedFd, Errno> {
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let trigger = rustix::fs::open("/proc/pressure/cpu", flags, Mode::empty())?;
            rustix::io::write(&trigger, TRIGGER)?;
            epoll::add(&self.epoll, &trigger, Token::Pressure.pack(), EventFlags::PRI)?;
            Ok(trigger)
        };
        self.shares.trigger = if self.is_root { open().ok() } else { None };
    }

    /// Processors are short: from now on it is looked at who takes them.
    pub(super) fn feel_pressure(&mut self) {
        if self.shares.next.is_none() {
            // Nobody was hot or apart: what was seen last is too old to count from.
            self.shares.worlds.values_mut().for_each(|share| share.is_old = true);
            self.look_at_shares(Instant::now());
        }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.shares.next
    }

    /// Looks at every world, and again soon while one of them is hot or apart.
    pub(super) fn look_at_shares(&mut self, now: Instant) {
        let mut is_waiting = false;
        for entry in self.worlds.values_mut() {
            let Some(process) = &mut entry.process else { continue };
            let Some(time) = process.run_time() else { continue };
            let share = self.shares.worlds.entry(entry.id).or_insert_with(|| Share::new(now, time));
            is_waiting |= share.is_old;
            let verdict = share.update(now, time, || process.turns());
            if let Err(error) = carry_out(verdict, process, share) {
                log(&format!("world {} can't be moved in the scheduler: {error}", entry.name));
                *share = Share::new(now, time);
            }
        }
        self.shares.worlds.retain(|id, _| self.worlds.contains_key(id));
        let is_busy = self.shares.worlds.values().any(|share| share.turns.is_some() || share.apart.is_some());
        self.shares.next = (is_busy || is_waiting).then_some(now + LOOK);
    }
}

fn carry_out(verdict: Verdict, process: &mut Process, share: &mut Share) -> std::io::Result<()> {
    match verdict {
        Verdict::Leave => Ok(()),
        Verdict::Part => process.set_apart(true).map(|()| share.part()),
        Verdict::Return => process.set_apart(false).map(|()| share.rejoin()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> Share {
        Share { is_old: false, ..Share::new(Instant::now(), Duration::ZERO) }
    }

    /// A world that has so much of a processor, in turns of this length, and waits for so much more, looked at this often.
    fn watch(share: &mut Share, part: f64, waits: f64, turn: Duration, looks: u32) -> Vec<Verdict> {
        watch_threads(share, &[(part, waits, turn)], looks)
    }

    /// The same of a world with a thread of each kind.
    fn watch_threads(share: &mut Share, threads: &[(f64, f64, Duration)], looks: u32) -> Vec<Verdict> {
        let already = share.turns.clone().unwrap_or_default();
        let mut had: Vec<Had> = already.since(&Turns::default()).collect();
        had.resize(threads.len(), Had::default());
        let look = |_| {
            for (had, (part, waits, turn)) in had.iter_mut().zip(threads) {
                let spent = LOOK.mul_f64(*part);
                had.time += spent;
                had.waited += LOOK.mul_f64(*waits);
                had.count += u64::try_from(spent.as_nanos() / turn.as_nanos()).unwrap();
            }
            let spent = threads.iter().map(|(part, ..)| LOOK.mul_f64(*part)).sum::<Duration>();
            let verdict =
                share.update(share.at + LOOK, share.time + spent, || (1..).zip(had.iter().copied()).collect());
            match verdict {
                Verdict::Part => share.part(),
                Verdict::Return => share.rejoin(),
                Verdict::Leave => {}
            }
            verdict
        };
        (0..looks).map(look).collect()
    }

    const SHORT: Duration = Duration::from_micros(5);
    const SLICE: Duration = Duration::from_millis(4);

    #[test]
    fn who_talks_stays_however_much_it_takes() {
        let mut share = world();
        assert!(watch(&mut share, 1.0, 0.5, SHORT, 100).iter().all(|verdict| *verdict == Verdict::Leave));
        // Nor does one that computes now and then.
        assert!(watch(&mut share, 0.1, 0.5, SLICE, 100).iter().all(|verdict| *verdict == Verdict::Leave));
    }

    #[test]
    fn who_burns_is_put_apart_and_comes_back_calm_later_each_time() {
        let mut share = world();
        for term in [4, 8, 16] {
            assert_eq!(watch(&mut share, 1.0, 0.0, SLICE, 2), [Verdict::Leave, Verdict::Part]);
            assert_eq!(watch(&mut share, 1.0, 0.0, SLICE, 50), [Verdict::Leave; 50], "while it burns it stays apart");
            assert_eq!(watch(&mut share, 0.0, 8.0, SLICE, 50), [Verdict::Leave; 50], "and while it would");
            let calm = watch(&mut share, 0.0, 0.0, SLICE, term);
            assert_eq!(calm.iter().position(|verdict| *verdict == Verdict::Return), Some(term as usize - 1));
        }
    }

    #[test]
    fn a_crowd_is_put_apart_however_short_its_turns_are() {
        let mut share = world();
        assert_eq!(watch(&mut share, 1.0, 30.0, SHORT, 2), [Verdict::Leave, Verdict::Part]);
    }

    #[test]
    fn a_thread_that_naps_doesnt_hide_one_that_burns() {
        let (burns, naps) = ((0.5, 0.4, SLICE), (0.05, 0.0, SHORT));
        assert_eq!(watch_threads(&mut world(), &[burns, naps], 2), [Verdict::Leave, Verdict::Part]);
        // Two that talk stay, and so do they with one that computes now and then.
        let talks = (0.5, 0.2, SHORT);
        assert_eq!(watch_threads(&mut world(), &[talks, talks], 50), [Verdict::Leave; 50]);
        assert_eq!(watch_threads(&mut world(), &[talks, (0.1, 0.1, SLICE)], 50), [Verdict::Leave; 50]);
    }

    #[test]
    fn threads_that_come_and_go_hide_nothing() {
        let mut share = world();
        let mut verdict = Verdict::Leave;
        for _ in 0..3 {
            verdict = share.update(share.at + LOOK, share.time + LOOK, Turns::default);
        }
        assert_eq!((verdict, share.turns), (Verdict::Part, Some(Turns::default())));
    }
}
