//! Who takes the processor for long stands apart (docs/decisions/0019-who-burns-stands-apart.md).
//!
//! All worlds begin in one group of the scheduler, because those who hand turns to each other must be in one. A world that doesn't give turns back
//! makes every yield of the others last a time slice there: a round trip of 8 us becomes one of 8 ms. So it is moved into a group of its
//! own with a small share, where it has what the others leave, and back when it has been calm for a while, longer each time.
//!
//! Who that is, the kernel knows: how much time a thread had, in how many turns, and how long it waited for them. One that computes has turns of
//! milliseconds. But so has one that talks and has a processor to itself, since a yield that nobody else is there for isn't the end of a turn. What
//! tells them apart is what others feel: one that hands its processor on within microseconds, and gets it back after milliseconds, has somebody in
//! its group who keeps it. Only then are those with long turns moved that have them on this very processor; and a crowd, which wants more than two
//! processors, in any case. Who talks can't be accused so: where somebody else waits its turns are short.
//!
//! Nobody looks while there are processors enough: the kernel wakes this up when somebody waits for one (`/proc/pressure/cpu`). A look reads what so
//! many threads have had at most, and while it finds nobody who is kept waiting the next one comes later each time.

use super::{Supervisor, Token, log};
use rustix::event::epoll::{self, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use strait_jail::{Had, LONG_WAIT, Process, Turns, processor_of};
use strait_protocol::WorldId;

/// Wake up when somebody had to wait for a processor for 100 ms in 2 s: the shortest time that the kernel lets anybody ask for.
const TRIGGER: &[u8] = b"some 100000 2000000\0";
/// Between two looks while somebody is hot or apart; twice as long each time that nothing was found, and at most as long as the kernel may take to tell
/// of pressure.
const LOOK: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Threads of one world that are looked at, and of all: some 3 us for each.
const MAX_THREADS: usize = 256;
const MAX_THREADS_OF_ALL: usize = 1024;
/// A world is suspect from this share of one processor on, and burns if so much of it went into long turns.
const HOT: f64 = 0.2;
/// One is kept waiting if it waits so long in all between two looks for a processor that it has handed on, and long each time.
const KEPT: Duration = LONG_WAIT;
/// And one that wants so many processors, what it had and what it waited for together, is a crowd; so is one of more threads than are looked at.
const CROWD: f64 = 2.0;
/// One that wants less than this is calm again.
const CALM: f64 = 0.1;
/// Turns that last longer on average than this are not those of one that waits for somebody; nor are those of the others, if it waits so long for
/// each of its own.
const LONG_TURN: Duration = Duration::from_micros(300);
/// How long one that stands apart has to be calm at first. Doubled each time.
const FIRST_TERM: Duration = Duration::from_secs(1);
const LONGEST_TERM: Duration = Duration::from_secs(64);

/// What is known of the worlds' use of the processor.
#[derive(Debug)]
pub(super) struct Shares {
    /// The switch, which takes turns with everybody.
    switch: Seen,
    switch_pid: i32,
    trigger: Option<OwnedFd>,
    next: Option<Instant>,
    /// Between the last look and the next one.
    pause: Duration,
    worlds: HashMap<WorldId, Share>,
}

#[derive(Clone, Debug)]
struct Share {
    at: Instant,
    time: Duration,
    /// Between the last two looks: how long that was, and how much of it on a processor.
    passed: Duration,
    spent: Duration,
    seen: Seen,
    /// Since when it has been calm, if it stands apart.
    apart: Option<Instant>,
    term: Duration,
    /// Nobody has looked for a while.
    is_old: bool,
}

/// The turns of threads. Counted only while somebody may burn.
#[derive(Clone, Debug, Default)]
struct Seen {
    turns: Option<Turns>,
    /// Between the last two looks, if they were counted at both.
    taken: Option<Vec<(i32, Had)>>,
}

/// Who is kept waiting, and for which processor. `None`: the switch.
type Kept = Vec<(Option<WorldId>, u32)>;

/// What is to be done about a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Leave,
    Part,
    Return,
}

impl Shares {
    /// Of the worlds of this switch.
    pub(super) fn beside(switch: u32) -> Self {
        let switch_pid = switch.cast_signed();
        let (pause, worlds) = (Duration::ZERO, HashMap::new());
        Self { switch: Seen::default(), switch_pid, trigger: None, next: None, pause, worlds }
    }
}

impl Seen {
    fn update(&mut self, is_counted: bool, turns: impl FnOnce(&Turns) -> Turns) {
        let before = self.turns.take();
        self.turns = is_counted.then(|| turns(before.as_ref().unwrap_or(&Turns::default())));
        self.taken = self.turns.as_ref().zip(before).map(|(now, before)| now.since(&before).collect());
    }

    fn threads(&self) -> usize {
        self.turns.as_ref().map_or(0, Turns::threads)
    }

    fn is_cut(&self) -> bool {
        self.turns.as_ref().is_some_and(|turns| turns.is_cut)
    }

    /// For which processors its threads are kept waiting.
    fn kept_at(&self) -> impl Iterator<Item = u32> {
        let kept = self.taken.iter().flatten().filter(|(_, had)| is_kept_waiting(had));
        kept.filter_map(|(thread, _)| processor_of(*thread))
    }
}

impl Share {
    fn new(at: Instant, time: Duration) -> Self {
        let (passed, spent) = (Duration::ZERO, Duration::ZERO);
        Self { at, time, passed, spent, seen: Seen::default(), apart: None, term: FIRST_TERM, is_old: true }
    }

    /// Takes in what a world has had until now.
    fn update(&mut self, at: Instant, time: Duration) {
        if std::mem::take(&mut self.is_old) {
            (self.at, self.time, self.seen) = (at, time, Seen::default());
        }
        (self.passed, self.spent) = (at - self.at, time.saturating_sub(self.time));
        (self.at, self.time) = (at, time);
    }

    fn part_of(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.passed.as_secs_f64().max(1e-3)
    }

    /// It may be one that burns among those who take turns.
    fn is_suspect(&self) -> bool {
        self.apart.is_none() && self.part_of(self.spent) >= HOT
    }

    /// Its turns are counted if it stands apart, or if it has had any while somebody is suspect.
    fn is_counted(&self, is_anybody_suspect: bool) -> bool {
        self.apart.is_some() || is_anybody_suspect && !self.spent.is_zero()
    }

    /// What is to be done about it, where others are kept waiting for these processors, and its threads run on those.
    fn judge(&mut self, kept_at: impl FnOnce() -> Vec<u32>, runs_at: impl Fn(i32) -> Option<u32>) -> Verdict {
        let Some(taken) = &self.seen.taken else { return Verdict::Leave };
        let waited: Duration = taken.iter().map(|(_, had)| had.waited).sum();
        let wanted = self.part_of(self.spent + waited);
        let is_crowd = wanted >= CROWD || self.seen.is_cut();
        match self.apart {
            None if self.is_suspect() && (is_crowd || self.burns(taken, &kept_at(), runs_at)) => Verdict::Part,
            // It wants more than it gets: that isn't calm.
            Some(_) if wanted >= CALM => {
                self.apart = Some(self.at);
                Verdict::Leave
            }
            Some(since) if self.at - since >= self.term => Verdict::Return,
            _ => Verdict::Leave,
        }
    }

    /// What threads had that came and went isn't seen: no turns that can be seen are no short ones, nor are they elsewhere.
    fn burns(&self, taken: &[(i32, Had)], kept_at: &[u32], runs_at: impl Fn(i32) -> Option<u32>) -> bool {
        let keeps = |thread| runs_at(thread).is_none_or(|at| kept_at.contains(&at));
        let is_harmless = |(thread, had): &&(i32, Had)| has_short_turns(had) || !keeps(*thread);
        let harmless = || taken.iter().filter(is_harmless).map(|(_, had)| had.time).sum();
        !kept_at.is_empty() && self.part_of(self.spent.saturating_sub(harmless())) >= HOT
    }

    fn part(&mut self) {
        self.apart = Some(self.at);
    }

    fn rejoin(&mut self) {
        (self.apart, self.seen) = (None, Seen::default());
        self.term = (self.term * 2).min(LONGEST_TERM);
    }
}

/// Thread by thread: beside one that burns, another that naps all the time would make any average of the two a short one.
fn has_short_turns(had: &Had) -> bool {
    has_short(had.time, had.count)
}

/// On average.
fn has_short(time: Duration, count: u64) -> bool {
    time < LONG_TURN * u32::try_from(count).unwrap_or(u32::MAX)
}

/// It hands its processor on soon, and gets it back late: somebody whom it takes turns with doesn't. One that waits for groups beside its own has
/// seldom handed anything on.
fn is_kept_waiting(had: &Had) -> bool {
    let is_late = had.waited >= KEPT && !has_short(had.waited, had.count);
    is_late && has_short_turns(had) && had.handed_on.is_some_and(|handed_on| 2 * handed_on >= had.count)
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
        let (now, shares) = (Instant::now(), &mut self.shares);
        shares.pause = Duration::ZERO;
        match shares.next {
            Some(next) => shares.next = Some(next.min(now + LOOK)),
            None => {
                // Nobody was hot or apart: what was seen last is too old to count from.
                shares.worlds.values_mut().for_each(|share| share.is_old = true);
                shares.switch = Seen::default();
                self.look_at_shares(now);
            }
        }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.shares.next
    }

    /// Looks at every world, and again soon while one of them is suspect or apart.
    pub(super) fn look_at_shares(&mut self, now: Instant) {
        let is_anybody_new = self.note_times(now);
        let is_anybody_suspect = self.shares.worlds.values().any(Share::is_suspect);
        self.count_turns(is_anybody_suspect);
        let is_anybody_kept = self.judge_shares(now);
        let shares = &mut self.shares;
        let is_anybody_apart = shares.worlds.values().any(|share| share.apart.is_some());
        // Turns were counted for the first time: what was had between two looks isn't known before the next one.
        let is_unknown = is_anybody_suspect && shares.switch.taken.is_none();
        shares.pause = next_pause(shares.pause, is_anybody_new || is_anybody_kept || is_unknown);
        let goes_on = is_anybody_new || is_anybody_suspect || is_anybody_apart;
        shares.next = goes_on.then_some(now + shares.pause);
    }

    /// Whether one of them is seen for the first time.
    fn note_times(&mut self, now: Instant) -> bool {
        let (worlds, mut is_anybody_new) = (&mut self.shares.worlds, false);
        worlds.retain(|id, _| self.worlds.get(id).is_some_and(|entry| entry.process.is_some()));
        for (id, entry) in &self.worlds {
            let Some(time) = entry.process.as_ref().and_then(Process::run_time) else { continue };
            let share = worlds.entry(*id).or_insert_with(|| Share::new(now, time));
            is_anybody_new |= share.is_old;
            share.update(now, time);
        }
        is_anybody_new
    }

    /// Where not all can be looked at, those are that take most. Who is apart already comes last.
    fn count_turns(&mut self, is_anybody_suspect: bool) {
        let Shares { worlds, switch, switch_pid, .. } = &mut self.shares;
        switch.update(is_anybody_suspect, |before| Turns::of_process(*switch_pid, before, MAX_THREADS));
        let mut most_first: Vec<(&WorldId, &mut Share)> = worlds.iter_mut().collect();
        most_first.sort_by_key(|(_, share)| (share.apart.is_some(), Reverse(share.spent)));
        let mut left = MAX_THREADS_OF_ALL;
        for (id, share) in most_first {
            let Some(process) = self.worlds.get(id).and_then(|entry| entry.process.as_ref()) else { continue };
            let is_counted = left >= MAX_THREADS && share.is_counted(is_anybody_suspect);
            share.seen.update(is_counted, |before| process.turns(before, MAX_THREADS));
            left -= share.seen.threads();
        }
    }

    fn kept(&self) -> Kept {
        let Shares { worlds, switch, .. } = &self.shares;
        let of_switch = switch.kept_at().map(|at| (None, at));
        let taking_turns = worlds.iter().filter(|(_, share)| share.apart.is_none());
        let of_worlds = taking_turns.flat_map(|(id, share)| share.seen.kept_at().map(|at| (Some(*id), at)));
        of_switch.chain(of_worlds).collect()
    }

    /// Whether somebody is kept waiting.
    fn judge_shares(&mut self, now: Instant) -> bool {
        let kept = self.kept();
        for (id, share) in &mut self.shares.worlds {
            let Some(entry) = self.worlds.get_mut(id) else { continue };
            let Some(process) = &mut entry.process else { continue };
            // No world is a witness for itself.
            let others = kept.iter().filter(|(who, _)| *who != Some(*id));
            let verdict = share.judge(|| others.map(|(_, at)| *at).collect(), processor_of);
            if let Err(error) = carry_out(verdict, process, share) {
                log(&format!("world {} can't be moved in the scheduler: {error}", entry.name));
                *share = Share::new(now, share.time);
            }
        }
        !kept.is_empty()
    }
}

fn next_pause(last: Duration, was_something_found: bool) -> Duration {
    if was_something_found { LOOK } else { (last * 2).clamp(LOOK, LONGEST_PAUSE) }
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

    /// A world with threads that have so much of a processor, in turns of this length, and wait for so much more, looked at this often while somebody
    /// else is kept waiting.
    fn watch(share: &mut Share, threads: &[(f64, f64, Duration)], looks: u32) -> Vec<Verdict> {
        watch_while(share, threads, looks, true)
    }

    fn watch_while(share: &mut Share, threads: &[(f64, f64, Duration)], looks: u32, is_kept: bool) -> Vec<Verdict> {
        let already = share.seen.turns.clone().unwrap_or_default();
        let mut had: Vec<Had> = already.since(&Turns::default()).map(|(_, had)| had).collect();
        had.resize(threads.len(), Had::default());
        (0..looks)
            .map(|_| {
                had.iter_mut().zip(threads).for_each(|(had, thread)| go_on(had, thread));
                let spent = threads.iter().map(|(part, ..)| LOOK.mul_f64(*part)).sum::<Duration>();
                look(share, spent, (1..).zip(had.iter().copied()).collect(), is_kept)
            })
            .collect()
    }

    fn go_on(had: &mut Had, (part, waits, turn): &(f64, f64, Duration)) {
        let spent = LOOK.mul_f64(*part);
        had.time += spent;
        had.waited += LOOK.mul_f64(*waits);
        had.count += u64::try_from(spent.as_nanos() / turn.as_nanos()).unwrap();
    }

    fn look(share: &mut Share, spent: Duration, turns: Turns, is_kept: bool) -> Verdict {
        share.update(share.at + LOOK, share.time + spent);
        let is_counted = share.is_counted(share.is_suspect());
        share.seen.update(is_counted, |_| turns);
        let verdict = share.judge(|| Vec::from(if is_kept { &[1][..] } else { &[] }), |_| Some(1));
        match verdict {
            Verdict::Part => share.part(),
            Verdict::Return => share.rejoin(),
            Verdict::Leave => {}
        }
        verdict
    }

    const SHORT: Duration = Duration::from_micros(5);
    const SLICE: Duration = Duration::from_millis(4);

    #[test]
    fn who_talks_stays_however_much_it_takes() {
        let mut share = world();
        assert!(watch(&mut share, &[(1.0, 0.5, SHORT)], 100).iter().all(|verdict| *verdict == Verdict::Leave));
        // Nor does one that computes now and then.
        assert!(watch(&mut share, &[(0.1, 0.5, SLICE)], 100).iter().all(|verdict| *verdict == Verdict::Leave));
    }

    #[test]
    fn who_burns_is_put_apart_and_comes_back_calm_later_each_time() {
        let mut share = world();
        for term in [4, 8, 16] {
            assert_eq!(watch(&mut share, &[(1.0, 0.0, SLICE)], 2), [Verdict::Leave, Verdict::Part]);
            assert_eq!(
                watch(&mut share, &[(1.0, 0.0, SLICE)], 50),
                [Verdict::Leave; 50],
                "while it burns it stays apart"
            );
            assert_eq!(watch(&mut share, &[(0.0, 8.0, SLICE)], 50), [Verdict::Leave; 50], "and while it would");
            let calm = watch(&mut share, &[(0.0, 0.0, SLICE)], term);
            assert_eq!(calm.iter().position(|verdict| *verdict == Verdict::Return), Some(term as usize - 1));
        }
    }

    #[test]
    fn a_crowd_is_put_apart_however_short_its_turns_are() {
        let mut share = world();
        assert_eq!(watch_while(&mut share, &[(1.0, 30.0, SHORT)], 2, false), [Verdict::Leave, Verdict::Part]);
    }

    #[test]
    fn a_thread_that_naps_doesnt_hide_one_that_burns() {
        let (burns, naps) = ((0.5, 0.4, SLICE), (0.05, 0.0, SHORT));
        assert_eq!(watch(&mut world(), &[burns, naps], 2), [Verdict::Leave, Verdict::Part]);
        // Two that talk stay, and so do they with one that computes now and then.
        let talks = (0.5, 0.2, SHORT);
        assert_eq!(watch(&mut world(), &[talks, talks], 50), [Verdict::Leave; 50]);
        assert_eq!(watch(&mut world(), &[talks, (0.1, 0.1, SLICE)], 50), [Verdict::Leave; 50]);
    }

    #[test]
    fn threads_that_come_and_go_hide_nothing() {
        let mut share = world();
        let verdicts: Vec<Verdict> = (0..2).map(|_| look(&mut share, LOOK, Turns::default(), true)).collect();
        assert_eq!((verdicts, share.seen.turns), (vec![Verdict::Leave, Verdict::Part], Some(Turns::default())));
    }

    #[test]
    fn who_has_a_processor_to_itself_stays_until_somebody_is_kept_waiting() {
        let mut share = world();
        assert_eq!(watch_while(&mut share, &[(1.0, 0.0, SLICE)], 50, false), [Verdict::Leave; 50]);
        assert_eq!(watch_while(&mut share, &[(1.0, 0.0, SLICE)], 1, true), [Verdict::Part]);
    }

    #[test]
    fn who_has_long_turns_elsewhere_stays() {
        let mut share = world();
        watch_while(&mut share, &[(1.0, 0.0, SLICE)], 2, false);
        assert_eq!(share.judge(|| vec![1, 3], |_| Some(2)), Verdict::Leave);
        assert_eq!(share.judge(|| vec![1, 3], |_| Some(3)), Verdict::Part);
        // Nobody knows where one ran that has ended meanwhile.
        assert_eq!(share.judge(|| vec![1, 3], |_| None), Verdict::Part);
    }

    #[test]
    fn the_kernel_says_where_a_thread_runs() {
        let own = std::fs::read_link("/proc/thread-self").unwrap();
        let own = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let processors = std::fs::read_to_string("/proc/stat").unwrap();
        let at = processor_of(own).unwrap();
        assert!(processors.lines().any(|line| line.starts_with(&format!("cpu{at} "))), "{at}");
        assert_eq!(processor_of(i32::MAX), None);
    }

    #[test]
    fn more_threads_than_are_looked_at_are_a_crowd() {
        let mut share = world();
        let turns = || {
            let mut turns = Turns::default();
            turns.is_cut = true;
            turns
        };
        assert_eq!([(); 2].map(|()| look(&mut share, LOOK, turns(), false)), [Verdict::Leave, Verdict::Part]);
        // One that takes little isn't.
        assert_eq!([(); 2].map(|()| look(&mut world(), LOOK / 10, turns(), false)), [Verdict::Leave; 2]);
    }

    #[test]
    fn who_finds_nothing_looks_less_often_each_time() {
        let pauses: Vec<Duration> = std::iter::successors(Some(Duration::ZERO), |last| Some(next_pause(*last, false)))
            .skip(1)
            .take(5)
            .collect();
        assert_eq!(pauses, [LOOK, 2 * LOOK, 4 * LOOK, LONGEST_PAUSE, LONGEST_PAUSE]);
        assert_eq!(next_pause(LONGEST_PAUSE, true), LOOK);
    }

    #[test]
    fn kept_waiting_is_who_hands_its_processor_on_and_gets_it_back_late() {
        let turns = |time, waited, handed_on| {
            let (time, waited) = (Duration::from_micros(time), Duration::from_micros(waited));
            is_kept_waiting(&Had { time, waited, count: 40, handed_on: Some(handed_on) })
        };
        assert!(turns(200, 160_000, 40));
        // It burns itself; it has its turns back soon; it sleeps, and is woken late.
        assert!(!turns(160_000, 160_000, 40));
        assert!(!turns(200, 2_000, 40));
        assert!(!turns(200, 160_000, 4));
    }
}
