//! Who pays for worlds that somebody had started: how many there may be, how many of them may be on their way, and how fast they come. Each life is a
//! start.
//!
//! A world that was started by another is on the account of that one's starter, if it has one: else a template whose worlds may start more of
//! their kind would have a bound for each and none for all. Programs that attach come and go under many names, so theirs is their uid's.

use super::Supervisor;
use super::entry::{Entry, Nature, State};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use strait_jail::MAX_OPEN;
use strait_protocol::{Header, Name, WorldId};

/// Starts on one account that may be under way, those on all accounts together, and worlds that wake: what is left is for groups, and for who may
/// everything.
const MAX_STARTING: usize = 16;
const MAX_STARTING_OF_ALL: usize = 48;
const MAX_WAKING: usize = 8;
const _: () = assert!(MAX_STARTING < MAX_STARTING_OF_ALL && MAX_STARTING_OF_ALL + MAX_WAKING < MAX_OPEN);

/// Starts on one account: as many at once as worlds may be there, and one more in this time. What ends at once would be started without end, with
/// processor time that is on nobody's account.
const PAUSE_PER_START: Duration = Duration::from_millis(20);

/// Whose worlds they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Account {
    /// Of a world, and of those that have its name after it.
    World(Name),
    /// Of everybody with this uid.
    Uid(u32),
}

/// How fast accounts have worlds started, as the generic cell rate algorithm has it: one time for each.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When each has waited for all that it started: before now, it is forgotten.
    rested_at: HashMap<Account, Instant>,
}

impl Pace {
    /// Counts one start more on an account that may have so many at once, or says how long that has to wait.
    pub(super) fn count(&mut self, account: &Account, at_once: usize, now: Instant) -> Result<(), Duration> {
        self.rested_at.retain(|_, at| *at > now);
        let at = self.rested_at.get(account).copied().unwrap_or(now) + PAUSE_PER_START;
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        match at.saturating_duration_since(now + PAUSE_PER_START.saturating_mul(at_once)) {
            Duration::ZERO => drop(self.rested_at.insert(account.clone(), at)),
            wait => return Err(wait),
        }
        Ok(())
    }
}

impl Entry {
    /// The account of what it has started.
    fn own_account(&self) -> Account {
        self.account.clone().unwrap_or_else(|| match self.nature {
            Nature::Attached => Account::Uid(self.uid),
            Nature::Jailed | Nature::Service => Account::World(self.name.clone()),
        })
    }

    fn is_being_launched(&self) -> bool {
        self.state == State::Starting && self.process.is_none()
    }
}

impl Supervisor {
    /// On whose account an asker has worlds started: nobody's, if it may everything.
    pub(super) fn account_of(&self, asker: &Header) -> Option<Account> {
        let entry = self.worlds.get(&asker.source)?;
        (!entry.policy.is_admin()).then(|| entry.own_account())
    }

    /// Counts one world more on an account, or says why there may be none now.
    pub(super) fn count_start(&mut self, account: &Account) -> Result<(), String> {
        self.check_account(account)?;
        let most = self.config.starts;
        self.pace.count(account, most, Instant::now()).map_err(|wait| {
            format!(
                "you had {most} worlds started at once, and one in {PAUSE_PER_START:?} since: try again in {wait:?}"
            )
        })
    }

    /// Whether there may be one world more on an account now.
    fn check_account(&self, account: &Account) -> Result<(), String> {
        let of_others = self.worlds.values().filter(|entry| entry.account.is_some());
        let launching = of_others.clone().filter(|entry| entry.is_being_launched()).count();
        let own = || of_others.clone().filter(|entry| entry.account.as_ref() == Some(account));
        let (most, there) = (self.config.starts, own().count());
        if there >= most {
            return Err(format!(
                "{there} worlds are there that you started, or they in turn, and {most} is the most (`starts` in the broker's configuration): \
                 stop one, or remove one that sleeps (`strait rm`)"
            ));
        }
        if own().filter(|entry| entry.is_being_launched()).count() >= MAX_STARTING {
            return Err(format!("{MAX_STARTING} of your starts are under way: wait for their answers"));
        }
        match launching >= MAX_STARTING_OF_ALL {
            true => Err("too many worlds are being started: try again in a moment".into()),
            false => Ok(()),
        }
    }

    /// Whether the launcher takes an order now. Who may wait does, until one of those under way is answered.
    pub(super) fn may_launch(&self) -> bool {
        self.launches.len() < MAX_OPEN
    }

    /// The same for a world that wakes: so many that the launcher is never without work by it, and so few that worlds which wake each other without
    /// end leave room for what is started.
    pub(super) fn may_wake(&self) -> bool {
        let wakes = |id: &&WorldId| self.worlds.get(id).is_some_and(Entry::has_slept);
        self.may_launch() && self.launches.values().filter(wakes).count() < MAX_WAKING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_in_its_time() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let [one, other] = [1, 2].map(Account::Uid);
        let started =
            |pace: &mut Pace, account, at| (0..100).take_while(|_| pace.count(account, 5, at).is_ok()).count();
        assert_eq!(started(&mut pace, &one, now), 5);
        assert_eq!(pace.count(&one, 5, now), Err(PAUSE_PER_START), "what is refused isn't counted");
        assert_eq!(started(&mut pace, &other, now), 5);
        let ms = Duration::from_millis;
        assert_eq!(pace.count(&one, 5, now + ms(19)), Err(ms(1)));
        assert_eq!(started(&mut pace, &one, now + ms(20)), 1);
        assert_eq!(started(&mut pace, &one, now + ms(70)), 2);
        // Rested, it is as if it had started nothing.
        assert_eq!(pace.rested_at.len(), 2);
        assert_eq!(started(&mut pace, &one, now + ms(1000)), 5);
        assert_eq!(pace.rested_at.len(), 1);
    }
}
