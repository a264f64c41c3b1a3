//! The shape of the table: rows of attempts, with what is expected of each.

use crate::ground::Ground;
use crate::outcome::Tried;

/// One row of the list of escapes.
#[derive(Debug)]
pub struct Row {
    /// Its number in the list.
    pub number: u8,
    /// What is attempted.
    pub title: &'static str,
    /// The outcomes that our jail may have. Anything else is a way out, whatever it is.
    pub held: &'static [&'static str],
    /// The attempts, in the order in which they are made.
    pub attempts: &'static [Attempt],
    /// The jails that have what is attacked.
    pub place: Where,
    /// The limits of the world in which it is tried, as options of `strait run`. An ordinary user has none that need control groups.
    pub limits: &'static [&'static str],
    /// How the runner ends the program, if that is what its attempts are about.
    pub ending: Option<Ending>,
    /// Whether its attempts are made on the slices that a broker gives.
    pub needs_slices: bool,
}

/// Which jails a row can be tried in. All rows are tried in none, for the positive control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In any.
    Anywhere,
    /// In ours only: others have no broker.
    Broker,
}

/// One attempt: a name, and what makes it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Unique in its row.
    pub name: &'static str,
    /// Makes it, in a process of its own.
    pub run: fn(&Ground) -> Tried,
    /// The outcomes that our jail may have, where they aren't the row's.
    pub held: Option<&'static [&'static str]>,
    /// The outcomes that it may also have in a world of an ordinary user's broker, and which feature of the kernel stands in the way.
    pub rootless: Option<(&'static [&'static str], &'static str)>,
    /// Why it does its work in our jail too, where nothing better is known. Said on the page, and counted.
    pub known: Option<&'static str>,
    /// What it must do unjailed.
    pub control: Control,
    /// Where it is made unjailed.
    pub cage: Cage,
}

/// What an attempt must come to without a jail, so that its failure inside means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// It does its work.
    Through,
    /// It does its work, or has this outcome where the kernel lacks what it takes.
    Unless {
        /// The outcome.
        outcome: &'static str,
        /// What the kernel lacks.
        lacks: &'static str,
    },
    /// It can't work for anybody.
    Impossible {
        /// Why.
        why: &'static str,
    },
}

/// How a program is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Whoever runs the jail is told to stop it.
    Stop,
    /// Whoever runs the jail is killed, at one moment after the other of its start.
    Kill,
}

/// How far an unjailed attempt may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cage {
    /// The whole machine, but for its mounts: those are a private copy always.
    Open,
    /// A pid namespace of its own, with a pid 1 of its own.
    Processes,
}

impl Row {
    /// A row that can be tried in any jail.
    pub const fn new(
        number: u8,
        title: &'static str,
        held: &'static [&'static str],
        attempts: &'static [Attempt],
    ) -> Self {
        Self { number, title, held, attempts, place: Where::Anywhere, limits: &[], ending: None, needs_slices: false }
    }

    /// A row about the broker.
    pub const fn of_broker(mut self) -> Self {
        self.place = Where::Broker;
        self
    }

    /// A row that is tried in a world with these limits.
    pub const fn limited(mut self, limits: &'static [&'static str]) -> Self {
        self.limits = limits;
        self
    }

    /// A row whose attempts are to outlive their end.
    pub const fn ended(mut self, ending: Ending) -> Self {
        self.ending = Some(ending);
        self
    }

    /// A row whose attempts are made on slices.
    pub const fn on_slices(mut self) -> Self {
        self.needs_slices = true;
        self
    }

    /// What our jail may make of one of its attempts.
    pub fn held_of(&self, attempt: &Attempt) -> &'static [&'static str] {
        attempt.held.unwrap_or(self.held)
    }
}

impl Attempt {
    /// An attempt that works for an unconfined root.
    pub const fn new(name: &'static str, run: fn(&Ground) -> Tried) -> Self {
        Self { name, run, held: None, rootless: None, known: None, control: Control::Through, cage: Cage::Open }
    }

    /// The outcomes that our jail may have, where they aren't the row's.
    pub const fn held(mut self, held: &'static [&'static str]) -> Self {
        self.held = Some(held);
        self
    }

    /// It does its work in our jail, for this reason.
    pub const fn known(mut self, why: &'static str) -> Self {
        self.known = Some(why);
        self
    }

    /// Rootless it may have these outcomes too, for this reason.
    pub const fn rootless(mut self, held: &'static [&'static str], why: &'static str) -> Self {
        self.rootless = Some((held, why));
        self
    }

    /// Unjailed it may have this outcome, on a kernel that lacks something.
    pub const fn unless(mut self, outcome: &'static str, lacks: &'static str) -> Self {
        self.control = Control::Unless { outcome, lacks };
        self
    }

    /// It works nowhere.
    pub const fn impossible(mut self, why: &'static str) -> Self {
        self.control = Control::Impossible { why };
        self
    }

    /// Unjailed it would reach the machine's own processes.
    pub const fn caged(mut self) -> Self {
        self.cage = Cage::Processes;
        self
    }
}
