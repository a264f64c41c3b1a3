//! Pools: the worlds behind the address of a group. The switch says when something waits and no member is free; then another one is started, up
//! to a limit, and one that has had nothing to do for a while is told to end.
//!
//! What doesn't come up is tried again later and later. A member that is to end is first taken out of the group, and told when the switch has done
//! so: what it got before that it still does.

use super::entry::{Order, State};
use super::{Supervisor, log};
use crate::config::Group;
use crate::link::{Command, GroupCount, GroupPassport};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};
use strait_protocol::control::{Answer, GroupRow, MemberRow};
use strait_protocol::{Header, Name, Pattern, SliceSize, WorldId};

/// What the switch holds of what dead worlds left for a group.
const BUDGET_BYTES: u64 = 256 * 1024;
/// The pause after a member that didn't come up; doubled with each in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many in a row, what waits goes back to its senders.
const FAILURES: u32 = 5;
/// A member that lived shorter than this counts as one that didn't come up.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// Questions about all groups that may wait for the switch.
const MAX_REPORTS: usize = 16;

/// One group.
#[derive(Debug)]
pub(super) struct Pool {
    name: Name,
    group: Group,
    pattern: Pattern,
    /// Worlds that it started and that aren't gone.
    own: BTreeSet<WorldId>,
    /// Worlds that the switch gives its records to, and how long they have had nothing to do.
    members: BTreeMap<WorldId, Rest>,
    /// Something waits, or did when the switch said so.
    is_wanted: bool,
    /// Starts that failed in a row, and when the next one may be tried.
    failures: u32,
    retry_at: Option<Instant>,
    /// When it is looked for members with nothing to do.
    look_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Instant,
    /// Records that it had been given by then.
    taken: u64,
}

/// A world that is told to end as soon as the switch gives it no more of its groups' records.
#[derive(Debug)]
struct Farewell {
    groups: usize,
    correlation: u64,
    deadline: Instant,
    reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Pools {
    all: BTreeMap<WorldId, Pool>,
    farewells: HashMap<WorldId, Farewell>,
    reports: HashMap<u64, (Header, Vec<GroupRow>)>,
}

impl Pools {
    pub(super) fn named(&self, name: &Name) -> Option<WorldId> {
        self.all.iter().find(|(_, pool)| pool.name == *name).map(|(id, _)| *id)
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.all.values().flat_map(|pool| [pool.retry_at, pool.look_at]).flatten().min()
    }
}

impl Pool {
    fn new(name: Name, group: Group, pattern: Pattern) -> Self {
        let (own, members) = (BTreeSet::new(), BTreeMap::new());
        Self { name, group, pattern, own, members, is_wanted: false, failures: 0, retry_at: None, look_at: None }
    }

    /// Whether it should have one more world than it has.
    fn is_short(&self) -> bool {
        let own = self.own.len() as u32;
        own < self.group.min || self.is_wanted && own < self.group.max
    }

    /// True when it is time to give back what waits: so many starts failed in a row, and there is nobody to do it.
    fn fail(&mut self, now: Instant) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.retry_at = Some(now + pause);
        let gives_up = self.failures >= FAILURES && self.members.is_empty();
        self.is_wanted &= !gives_up;
        gives_up
    }

    /// Often enough that nobody rests much longer than it may.
    fn look_again(&mut self, now: Instant) {
        let idle = Duration::from_millis(self.group.idle_ms.into());
        let pause = (idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let has_spare = self.own.len() as u32 > self.group.min;
        self.look_at = has_spare.then(|| now + pause);
    }

    /// Those of its own that have had nothing to do for long enough, as far as it can do without them, the longest first.
    fn rested(&mut self, count: &GroupCount, now: Instant) -> Vec<WorldId> {
        let idle = Duration::from_millis(self.group.idle_ms.into());
        // Below the most, a start is under way: with its end the switch says anew whether more are wanted.
        self.is_wanted &= count.waiting > 0 || (self.own.len() as u32) < self.group.max;
        for member in &count.members {
            if let Some(rest) = self.members.get_mut(&WorldId(member.id))
                && (member.load > 0 || member.taken != rest.taken || count.waiting > 0)
            {
                *rest = Rest { since: now, taken: member.taken };
            }
        }
        let is_rested = |(id, rest): &(&WorldId, &Rest)| self.own.contains(id) && now - rest.since >= idle;
        let mut rested: Vec<(Instant, WorldId)> =
            self.members.iter().filter(is_rested).map(|(id, rest)| (rest.since, *id)).collect();
        rested.sort();
        let spare = self.own.len().saturating_sub(self.group.min as usize);
        rested.into_iter().take(spare).map(|(_, id)| id).collect()
    }

    fn row(&self, id: WorldId, starting: u32, count: &GroupCount, name: impl Fn(u64) -> String) -> GroupRow {
        let member = |count: &crate::link::MemberCount| MemberRow {
            id: count.id,
            name: name(count.id),
            load: count.load,
            taken: count.taken,
        };
        GroupRow {
            id: id.0,
            name: self.name.to_string(),
            template: self.group.template.clone(),
            min: self.group.min,
            max: self.group.max,
            outstanding: self.group.outstanding,
            waiting: count.waiting,
            starting,
            failures: self.failures,
            members: count.members.iter().map(member).collect(),
        }
    }
}

impl Supervisor {
    /// Makes the groups of the configuration, and starts the members that each has at least.
    pub(super) fn make_pools(&mut self) -> Result<(), String> {
        for (name, group) in self.config.groups.clone() {
            let name: Name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
            let pattern = group.pattern(&name).map_err(|error| error.to_string())?;
            let slice = self.config.templates.get(&group.template).map_or(0, |world| world.slice);
            let size = SliceSize::new(slice).map_err(|error| error.to_string())?;
            let id = self.take_id();
            let passport = GroupPassport {
                id: id.0,
                name: name.to_string(),
                outstanding: group.outstanding,
                max_payload: size.ring_bytes() - Header::BYTES,
                budget_bytes: BUDGET_BYTES,
            };
            self.say_of_group(&Command::Group(passport));
            self.pools.all.insert(id, Pool::new(name, group, pattern));
            self.grow(id);
        }
        Ok(())
    }

    fn say_of_group(&mut self, command: &Command) {
        if self.link.tell(command, &[]).is_err() {
            self.is_over = true;
        }
    }

    /// The switch says that something waits for a member.
    pub(super) fn want(&mut self, id: WorldId) {
        if let Some(pool) = self.pools.all.get_mut(&id) {
            pool.is_wanted = true;
            self.grow(id);
        }
    }

    /// Starts what a pool is short of: what it has at least at once, beyond that one at a time.
    fn grow(&mut self, id: WorldId) {
        while let Some(pool) = self.pools.all.get(&id).filter(|pool| pool.retry_at.is_none() && pool.is_short()) {
            let is_one_coming = self.starting(pool) > 0 && pool.own.len() as u32 >= pool.group.min;
            let world = self.config.templates.get(&pool.group.template).cloned();
            let (Pattern::StartsWith(start), Some(world), false) = (pool.pattern.clone(), world, is_one_coming) else {
                return;
            };
            let template = Some(pool.group.template.clone());
            if !self.may_launch() {
                self.pools.all.entry(id).and_modify(|pool| pool.retry_at = Some(Instant::now() + FIRST_PAUSE));
                return;
            }
            let name = format!("{start}{}", self.number());
            let begun = name
                .parse()
                .map_err(|error| format!("`{name}`: {error}"))
                .and_then(|name| self.begin(Order { name, world, template, asked_by: None, account: None }));
            let Some(pool) = self.pools.all.get_mut(&id) else { return };
            match begun {
                Ok(world) => drop(pool.own.insert(world)),
                Err(why) => {
                    log(&format!("group {}: no member can be started: {why}", pool.name));
                    if pool.fail(Instant::now()) {
                        self.say_of_group(&Command::GiveUp { group: id.0 });
                    }
                }
            }
        }
    }

    /// How many worlds of a pool are on their way.
    fn starting(&self, pool: &Pool) -> u32 {
        let is_starting = |id: &&WorldId| self.worlds.get(id).is_some_and(|entry| entry.state < State::Ready);
        pool.own.iter().filter(is_starting).count() as u32
    }

    // --- coming and going ---

    /// A world can take records now: it belongs to the groups whose pattern covers its name.
    pub(super) fn join_pools(&mut self, world: WorldId) {
        let Some(entry) = self.worlds.get(&world).filter(|entry| entry.state < State::Stopping) else { return };
        let (now, name) = (Instant::now(), entry.name.clone());
        let covers = |pool: &Pool| pool.own.contains(&world) || pool.pattern.covers(&name);
        let groups: Vec<WorldId> = self.pools.all.iter().filter(|(_, p)| covers(p)).map(|(id, _)| *id).collect();
        for id in groups {
            let Some(pool) = self.pools.all.get_mut(&id) else { continue };
            pool.members.insert(world, Rest { since: now, taken: 0 });
            pool.is_wanted = false;
            pool.look_again(now);
            self.say_of_group(&Command::Join { group: id.0, world: world.0 });
        }
    }

    /// A world is to end: the switch gives it no more of its groups' records. False if it is in no group; otherwise it is told when that
    /// is so, by [`take_left`](Self::take_left).
    pub(super) fn part(&mut self, world: WorldId, correlation: u64, deadline: Instant, reason: &str) -> bool {
        let is_in = |pool: &Pool| pool.members.contains_key(&world);
        let groups: Vec<WorldId> = self.pools.all.iter().filter(|(_, p)| is_in(p)).map(|(id, _)| *id).collect();
        for id in &groups {
            if let Some(pool) = self.pools.all.get_mut(id) {
                pool.members.remove(&world);
            }
            self.say_of_group(&Command::Leave { group: id.0, world: world.0 });
        }
        if !groups.is_empty() {
            let farewell = Farewell { groups: groups.len(), correlation, deadline, reason: reason.into() };
            self.pools.farewells.insert(world, farewell);
        }
        !groups.is_empty()
    }

    /// The switch has taken a world out of a group.
    pub(super) fn take_left(&mut self, world: WorldId) {
        let Some(farewell) = self.pools.farewells.get_mut(&world) else { return };
        farewell.groups -= 1;
        if farewell.groups == 0
            && let Some(Farewell { correlation, deadline, reason, .. }) = self.pools.farewells.remove(&world)
        {
            self.tell_to_stop(world, correlation, deadline.saturating_duration_since(Instant::now()), &reason);
        }
    }

    /// A world is gone. One that a pool started is replaced, unless somebody stopped it or there are enough.
    pub(super) fn leave_pools(&mut self, world: WorldId, age: Duration, was_asked: bool) {
        self.pools.farewells.remove(&world);
        let now = Instant::now();
        let ids: Vec<WorldId> = self.pools.all.keys().copied().collect();
        for id in ids {
            let Some(pool) = self.pools.all.get_mut(&id) else { continue };
            let was_member = pool.members.remove(&world).is_some();
            if !pool.own.remove(&world) {
                continue;
            }
            let was_well = was_asked || was_member && age >= SHORT_LIFE;
            pool.failures = if was_well { 0 } else { pool.failures };
            let gives_up = !was_well && pool.fail(now);
            pool.look_again(now);
            if gives_up {
                log(&format!("group {}: {} members in a row didn't come up", pool.name, pool.failures));
                self.say_of_group(&Command::GiveUp { group: id.0 });
            } else if !was_asked || pool.is_wanted {
                self.grow(id);
            }
        }
    }

    // --- looking after them ---

    pub(super) fn look_at_pools(&mut self, now: Instant) {
        let ids: Vec<WorldId> = self.pools.all.keys().copied().collect();
        for id in ids {
            let Some(pool) = self.pools.all.get_mut(&id) else { continue };
            if pool.retry_at.is_some_and(|at| at <= now) {
                pool.retry_at = None;
                self.grow(id);
            }
            let Some(pool) = self.pools.all.get_mut(&id) else { continue };
            if pool.look_at.is_some_and(|at| at <= now) {
                pool.look_again(now);
                let ticket = self.number();
                self.say_of_group(&Command::CountGroup { ticket, id: id.0 });
            }
        }
    }

    pub(super) fn take_group_count(&mut self, ticket: u64, count: &GroupCount) {
        match self.pools.reports.contains_key(&ticket) {
            true => self.report(ticket, count),
            false => self.put_away(count),
        }
    }

    fn put_away(&mut self, count: &GroupCount) {
        let Some(pool) = self.pools.all.get_mut(&WorldId(count.id)) else { return };
        for world in pool.rested(count, Instant::now()) {
            let grace_ms = self.worlds.get(&world).map_or(0, |entry| entry.grace_ms);
            self.begin_stop(world, None, Duration::from_millis(grace_ms.into()), "the group has nothing to do for it");
        }
    }

    /// Asks the switch what all groups have to do; the asker is told as soon as it has said so of each.
    pub(super) fn begin_report(&mut self, asker: &Header) -> Result<(), String> {
        if self.pools.reports.len() >= MAX_REPORTS {
            return Err("too many reports of groups are being made: try again".into());
        }
        let ids: Vec<WorldId> = self.pools.all.keys().copied().collect();
        if ids.is_empty() {
            self.answer(asker, &Answer::Groups(Vec::new()));
            return Ok(());
        }
        let ticket = self.number();
        self.pools.reports.insert(ticket, (*asker, Vec::new()));
        ids.into_iter().for_each(|id| self.say_of_group(&Command::CountGroup { ticket, id: id.0 }));
        Ok(())
    }

    fn report(&mut self, ticket: u64, count: &GroupCount) {
        let id = WorldId(count.id);
        let name = |id| self.worlds.get(&WorldId(id)).map_or_else(String::new, |entry| entry.name.to_string());
        let row = self.pools.all.get(&id).map(|pool| pool.row(id, self.starting(pool), count, name));
        let Some((_, rows)) = self.pools.reports.get_mut(&ticket) else { return };
        rows.extend(row);
        if rows.len() >= self.pools.all.len()
            && let Some((asker, rows)) = self.pools.reports.remove(&ticket)
        {
            self.answer(&asker, &Answer::Groups(rows));
        }
    }
}
