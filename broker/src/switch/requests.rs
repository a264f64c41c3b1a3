//! Requests that wait for an answer: who asked whom, and until when.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;
use strait_protocol::WorldId;

/// Names a request: its asker, and the correlation id that the asker chose.
pub(crate) type Key = (WorldId, u64);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Who may answer. Of what waits for a member of a group, the group.
    pub to: WorldId,
    /// The group that it was sent to, if it was.
    pub group: Option<WorldId>,
    pub deadline: Instant,
    /// The request's own sequence number and tag, for the notice.
    pub sequence: u64,
    pub tag: u64,
}

/// All open requests. Each ends exactly once: it is taken out by its reply, its deadline, or a death.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: HashMap<Key, Open>,
    by_deadline: BTreeSet<(Instant, Key)>,
    /// How many each world was asked.
    owed: HashMap<WorldId, u64>,
}

impl Requests {
    /// False if the asker has a request open with that correlation id already.
    pub(crate) fn insert(&mut self, key: Key, request: Open) -> bool {
        let fresh = !self.open.contains_key(&key);
        if fresh {
            self.open.insert(key, request);
            self.by_deadline.insert((request.deadline, key));
            *self.owed.entry(request.to).or_default() += 1;
        }
        fresh
    }

    /// The request that a reply from `replier` answers, which with this is answered.
    pub(crate) fn answer(&mut self, key: Key, replier: WorldId) -> Option<Open> {
        if self.is_open(key, replier) { self.remove(key) } else { None }
    }

    /// Whether `replier` was asked this and hasn't answered.
    pub(crate) fn is_open(&self, key: Key, replier: WorldId) -> bool {
        self.open.get(&key).is_some_and(|open| open.to == replier)
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.open.contains_key(&key)
    }

    /// Who may answer is another one from here on.
    pub(crate) fn pass_on(&mut self, key: Key, to: WorldId) {
        if let Some(open) = self.open.get_mut(&key) {
            let before = std::mem::replace(&mut open.to, to);
            *self.owed.entry(to).or_default() += 1;
            self.owes_one_less(before);
        }
    }

    fn owes_one_less(&mut self, world: WorldId) {
        if let Some(owed) = self.owed.get_mut(&world) {
            *owed -= 1;
        }
    }

    fn remove(&mut self, key: Key) -> Option<Open> {
        let open = self.open.remove(&key)?;
        self.by_deadline.remove(&(open.deadline, key));
        self.owes_one_less(open.to);
        Some(open)
    }

    /// Requests that a world was asked and hasn't answered.
    pub(crate) fn owed_by(&self, world: WorldId) -> u64 {
        self.owed.get(&world).copied().unwrap_or(0)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out one request whose deadline has passed.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(Key, Open)> {
        let (deadline, key) = *self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        self.remove(key).map(|open| (key, open))
    }

    /// Takes out everything that a world that is gone asked or was asked.
    pub(crate) fn forget(&mut self, gone: WorldId) -> Vec<(Key, Open)> {
        self.owed.remove(&gone);
        self.outlive(gone, &HashSet::new())
    }

    /// The same of a world that goes on without knowing what it asked, and of what it was asked gets only what is `waiting`: that stays open.
    pub(crate) fn outlive(&mut self, world: WorldId, waiting: &HashSet<Key>) -> Vec<(Key, Open)> {
        let is_over = |key: &Key, open: &Open| key.0 == world || open.to == world && !waiting.contains(key);
        let over = self.open.iter().filter(|(key, open)| is_over(key, open));
        let keys: Vec<Key> = over.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.remove(key).map(|open| (key, open))).collect()
    }

    /// Whether this is open, waits for this world, and came to it without a group.
    pub(crate) fn waits_for(&self, key: Key, world: WorldId) -> bool {
        self.open.get(&key).is_some_and(|open| open.to == world && open.group.is_none())
    }
}
