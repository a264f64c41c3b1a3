//! Who pays for worlds that somebody had started: how many there may be, and how many of them may be on their way.
//!
//! A world that was started by another is on the account of that one's starter, if it has one: else a template whose worlds may start more of
//! their kind would have a bound for each and none for all. Programs that attach come and go under many names, so theirs is their uid's.

use super::Supervisor;
use super::entry::{Entry, Nature, State};
use strait_jail::MAX_OPEN;
use strait_protocol::{Header, Name, WorldId};

/// Starts on one account that may be under way, those on all accounts together, and worlds that wake: what is left is for groups, and for who may
/// everything.
const MAX_STARTING: usize = 16;
const MAX_STARTING_OF_ALL: usize = 48;
const MAX_WAKING: usize = 8;
const _: () = assert!(MAX_STARTING < MAX_STARTING_OF_ALL && MAX_STARTING_OF_ALL + MAX_WAKING < MAX_OPEN);

/// Whose worlds they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Of a world, and of those that have its name after it.
    World(Name),
    /// Of everybody with this uid.
    Uid(u32),
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

    /// Whether there may be one world more on an account now.
    pub(super) fn check_account(&self, account: &Account) -> Result<(), String> {
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
