//! The switch with its worlds around it: real slices and bells, one thread, no step but those that the script names.

use super::entries::World;
use super::heirs::ends_with_life;
use super::honest::Honest;
use super::hostile::Hostile;
use super::ledger::Ledger;
use super::mark::MAX_WORLDS;
use super::operation::Act;
use super::race::Races;
use super::topics::TOPICS;
use crate::link::{Command, Event as Report, GroupPassport, Link, Passport};
use crate::switch::port::Held;
use crate::switch::{Switch, clock::hands};
use rustix::event::Timespec;
use rustix::io::Errno;
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use strait_memory::{Inbox, SliceFile, Writable};
use strait_protocol::{Header, Pattern, SliceSize, WorldId};
use strait_sys::{socket, wake};

/// Who sits where: what a name starts with, to whom it may send, its outbox and its budget. Hostile ones come last.
const SEATS: [(&str, &[&str], u64, u64); 5] = [
    ("a/rich", &["*"], 16 * 1024, 24 * 1024),
    ("a/large", &["*"], 32 * 1024, 8 * 1024),
    ("b/bound", &["a/large*", "x/*"], 16 * 1024, 24 * 1024),
    ("x/free", &["*"], 16 * 1024, 24 * 1024),
    ("x/bound", &["a/*"], 16 * 1024, 4 * 1024),
];
/// Seats of honest worlds.
pub(super) const HONEST: usize = 3;
pub(super) const ALL: usize = SEATS.len();
/// The group's id, and how many records a member may have at once.
pub(super) const GROUP: WorldId = WorldId(50);
pub(super) const GROUP_BUDGET: u64 = 8 * 1024;
const OUTSTANDING: u32 = 2;
/// Nobody's id.
pub(super) const NOBODY: WorldId = WorldId(9999);
const FIRST_ID: u64 = 100;

/// Who sits there now, and which of the worlds it is.
pub(super) enum Party {
    Honest(Box<Honest>),
    Hostile(Rc<RefCell<Hostile>>),
    Gone,
}

pub(super) struct Stage {
    pub switch: Switch,
    link: Link,
    /// The id of the last world that the switch has taken in.
    attached: u64,
    /// The number of the last record of a life that is over.
    sequence: u64,
    /// How often what waited for a world was given back.
    pub given_back: u64,
    pub ledger: Ledger,
    pub parties: Vec<Party>,
    /// Of each seat: the index of its last world.
    pub worlds: Vec<usize>,
    pub races: Races,
    /// The last world that got a newer version beside it.
    former: WorldId,
}

impl Stage {
    pub(super) fn new() -> Self {
        hands::stop();
        let (ours, theirs) = socket::pair().expect("a socket pair");
        let switch = Switch::new(Link::new(theirs)).expect("epoll");
        let (ledger, races) = (Ledger::default(), Races::default());
        let (link, former) = (Link::new(ours), NOBODY);
        let (parties, worlds) = (Vec::new(), Vec::new());
        let mut stage =
            Self { switch, link, attached: 0, sequence: 0, given_back: 0, ledger, parties, worlds, races, former };
        stage.make_group();
        for seat in 0..ALL {
            stage.parties.push(Party::Gone);
            stage.worlds.push(0);
            stage.attach(seat, MAX_WORLDS);
        }
        stage
    }

    fn make_group(&mut self) {
        let passport = GroupPassport {
            id: GROUP.0,
            name: "pool".into(),
            outstanding: OUTSTANDING,
            max_payload: SliceSize::MIN.ring_bytes() - Header::BYTES,
            budget_bytes: GROUP_BUDGET,
        };
        self.link.send(&Command::Group(passport), &[]).expect("the link");
    }

    /// The id of the world at a seat; behind the seats, first nobody's, then the group's, then that of who was last forwarded.
    pub(super) fn id(&self, seat: usize) -> WorldId {
        if seat > ALL {
            return if seat == ALL + 1 { GROUP } else { self.former };
        }
        self.worlds.get(seat).map_or(NOBODY, |world| self.ledger.worlds[*world].id)
    }

    // --- coming and going ---

    /// Brings up a new world, unless somebody sits there or there were so many.
    pub(super) fn attach(&mut self, seat: usize, at_most: usize) {
        let index = self.ledger.worlds.len();
        if !matches!(self.parties[seat], Party::Gone) || index >= at_most {
            return;
        }
        let passport = passport(seat, index);
        let (name, send) = (passport.name.parse().expect("a name"), patterns(SEATS[seat].1));
        let mut world = World::new(WorldId(passport.id), name, seat < HONEST, send);
        (world.inbox_payload, world.budget_bytes) =
            (SliceSize::MIN.ring_bytes() - Header::BYTES, passport.budget_bytes);
        self.parties[seat] = self.connect(seat, passport, Command::Attach);
        self.ledger.worlds.push(world);
        self.worlds[seat] = index;
        self.introduce();
    }

    /// The world at a seat is given what is sent to the group.
    pub(super) fn join(&mut self, seat: usize) {
        if matches!(self.parties[seat], Party::Gone) {
            return;
        }
        self.ledger.worlds[self.worlds[seat]].was_member = true;
        self.say(&Command::Join { group: GROUP.0, world: self.id(seat).0 });
    }

    pub(super) fn leave(&mut self, seat: usize) {
        self.say(&Command::Leave { group: GROUP.0, world: self.id(seat).0 });
    }

    fn say(&mut self, command: &Command) {
        self.link.send(command, &[]).expect("the link");
        self.look_at_bells();
    }

    /// The hostile worlds are gone, and everything was read: no outbox of an honest world has anything left.
    pub(super) fn is_empty(&mut self) {
        for party in &mut self.parties {
            if let Party::Honest(party) = party {
                assert!(party.is_drained(), "something is left in an outbox");
            }
        }
    }

    /// Gives the switch fresh slices for the world at a seat, and that the other side.
    fn connect(&mut self, seat: usize, passport: Passport, how: impl FnOnce(Passport) -> Command) -> Party {
        let size = |bytes: u32| SliceSize::new(bytes.into()).expect("a size");
        let file = |bytes| SliceFile::create("harness", size(bytes)).expect("a slice");
        let (outbox, inbox) = (file(passport.outbox_bytes), file(passport.inbox_bytes));
        let (bell, (read, write)) = (wake::eventfd().expect("eventfd"), wake::bell_pipe().expect("pipe"));
        let id = passport.id;
        let (giving, _taking) = socket::lane(0).expect("a socket pair");
        let fds = [outbox.as_fd(), inbox.as_fd(), bell.as_fd(), write.as_fd(), giving.as_fd()];
        self.attached = 0;
        self.link.send(&how(passport), &fds).expect("the link");
        self.look_at_bells();
        assert_eq!(self.attached, id);
        inbox.seal_writes().expect("a seal");
        let (outbox, inbox) = (Writable::map(&outbox).expect("mmap"), Inbox::map(&inbox).expect("mmap"));
        match seat < HONEST {
            true => Party::Honest(Box::new(Honest::new(outbox, inbox, bell, read))),
            false => Party::Hostile(Rc::new(RefCell::new(Hostile::new(outbox, inbox, bell)))),
        }
    }

    /// Tells the hostile ones who is there.
    fn introduce(&mut self) {
        let targets: Vec<WorldId> = (0..self.parties.len()).map(|seat| self.id(seat)).chain(TOPICS).collect();
        for party in &self.parties {
            if let Party::Hostile(hostile) = party {
                hostile.borrow_mut().targets.clone_from(&targets);
            }
        }
    }

    /// A life of the world at a seat ends, and another one begins.
    pub(super) fn renew(&mut self, seat: usize, gives_back: bool) {
        let index = self.worlds[seat];
        if matches!(self.parties[seat], Party::Gone) {
            return;
        }
        let held_before = self.leaves_behind(index);
        self.ledger.worlds[index].has_given_back |= gives_back;
        self.given_back += u64::from(gives_back);
        let renew = |passport| Command::Renew { passport, gives_back };
        let next = self.connect(seat, passport(seat, index), renew);
        if let Party::Honest(party) = std::mem::replace(&mut self.parties[seat], next) {
            assert_eq!(self.sequence, self.ledger.worlds[index].sent.len() as u64, "all that a life sent is taken");
            let (left, was_full) = party.leave();
            for (header, payload) in left.iter().filter(|(header, _)| ends_with_life(header)) {
                self.ledger.judge_left(index, header, payload, hands::now());
            }
            if held_before || was_full {
                self.ledger.misses_its_notices(index);
            }
        }
        self.ledger.begins_anew(index);
        self.introduce();
    }

    /// Whether something is held for a world whose life is about to end.
    fn leaves_behind(&mut self, index: usize) -> bool {
        let switch = &mut self.switch;
        let port = |id: &WorldId| switch.by_id.get(id).and_then(|slot| switch.ports[*slot].as_ref());
        let of_group = |id| switch.groups.held().filter(|held| held.charged == id).map(Held::bytes).sum();
        let held = |id| port(&id).map_or_else(|| of_group(id), |port| port.held_bytes);
        self.ledger.leaves_behind(index, held);
        port(&self.ledger.worlds[index].id).is_some_and(|port| !port.held.is_empty())
    }

    /// What is sent to one world goes to another from now on.
    pub(super) fn forward(&mut self, from: usize, to: usize) {
        if !matches!(self.parties[to], Party::Gone) {
            let (from, to) = (self.id(from), self.id(to));
            self.former = from;
            self.ledger.forwards(from, to);
            self.say(&Command::Forward { from: from.0, to: to.0 });
        }
    }

    /// What the supervisor does when a world's process is gone.
    pub(super) fn detach(&mut self, seat: usize) {
        if matches!(self.parties[seat], Party::Gone) {
            return;
        }
        let dead = self.worlds[seat];
        self.leaves_behind(dead);
        self.ledger.leaves_topics(dead);
        self.ledger.dies(dead);
        let id = self.ledger.worlds[dead].id.0;
        self.link.send(&Command::Detach { id }, &[]).expect("the link");
        self.look_at_bells();
        if let Party::Honest(mut party) = std::mem::replace(&mut self.parties[seat], Party::Gone) {
            // What came too late for it did come.
            while let Some((header, payload)) = party.read() {
                self.ledger.judge(dead, &header, &payload, hands::now());
            }
        }
    }

    /// Takes in what the switch says. Only hostile worlds may be found corrupt.
    fn hear(&mut self) {
        loop {
            match self.link.try_receive() {
                Err(Errno::AGAIN) => return,
                Err(error) => panic!("the link: {error}"),
                Ok(None) => panic!("the switch is gone"),
                Ok(Some((Report::Quarantined { id, why }, _))) => self.is_cut_off(WorldId(id), &why),
                Ok(Some((Report::Attached { id }, _))) => self.attached = id,
                Ok(Some((Report::Renewed { id, sequence, .. }, _))) => (self.attached, self.sequence) = (id, sequence),
                Ok(Some((Report::Detached { .. } | Report::Wanted { .. } | Report::Left { .. }, _))) => {}
                Ok(Some((Report::Forwarded { .. }, _))) => {}
                Ok(Some((other, _))) => panic!("{other:?}"),
            }
        }
    }

    /// What the control service says.
    pub(super) fn command(&mut self, command: &Command) {
        self.link.send(command, &[]).expect("the link");
        self.look_at_bells();
    }

    fn is_cut_off(&mut self, id: WorldId, why: &str) {
        let world = self.ledger.index(id).expect("a world that was attached");
        assert!(!self.ledger.worlds[world].is_honest, "an honest world is called corrupt: {why}");
        self.ledger.leaves_topics(world);
        self.ledger.dies(world);
        if let Some(seat) = self.worlds.iter().position(|other| *other == world) {
            let party = std::mem::replace(&mut self.parties[seat], Party::Gone);
            if let Party::Hostile(hostile) = party {
                // What was put into its inbox in the step that found it corrupt was never shown to it: delivered, to one that is gone.
                self.ledger.sees(world, hostile.borrow().marks());
            }
        }
    }

    // --- the switch's steps ---

    /// Looks at every active port once, while what the hostile worlds have prepared comes between the switch's reads.
    pub(super) fn pass(&mut self) -> bool {
        let switch = &mut self.switch;
        let moved = self.races.during(|| switch.pass());
        self.after_a_step();
        moved
    }

    /// Says that it sleeps, and looks at its bells. True if there is nothing to do but sleep.
    pub(super) fn settle(&mut self) -> bool {
        let switch = &mut self.switch;
        let settled = self.races.during(|| {
            switch.end_overdue();
            switch.settle()
        });
        self.look_at_bells();
        settled && self.switch.active.is_empty()
    }

    fn look_at_bells(&mut self) {
        let switch = &mut self.switch;
        self.races.during(|| switch.poll(Some(Timespec::default()))).expect("epoll and the link");
        self.after_a_step();
    }

    pub(super) fn look_at_clock(&mut self) {
        let switch = &mut self.switch;
        self.races.during(|| switch.end_overdue());
        self.after_a_step();
    }

    fn after_a_step(&mut self) {
        // Who is gone first: what was sent to it may have gone elsewhere in this very step.
        self.hear();
        for (party, world) in self.parties.iter().zip(&self.worlds) {
            if let Party::Hostile(hostile) = party
                && hostile.borrow_mut().has_news()
            {
                self.ledger.sees(*world, hostile.borrow().marks());
            }
        }
    }

    /// Passes and sleeps until the switch has nothing to do.
    pub(super) fn come_to_rest(&mut self) {
        let mut idle = 0;
        for _ in 0..10_000 {
            if self.pass() {
                continue;
            }
            if self.settle() {
                return;
            }
            idle += 1;
            assert!(idle < 200, "the switch is busy with nothing");
        }
        panic!("the switch moves something forever");
    }

    pub(super) fn act(&mut self, seat: usize, act: &Act) {
        if let Party::Hostile(hostile) = &self.parties[seat] {
            hostile.borrow_mut().act(act);
        }
    }

    pub(super) fn race(&mut self, seat: usize, after: u8, act: Act) {
        if let Party::Hostile(hostile) = &self.parties[seat] {
            self.races.prepare(hostile.clone(), after, act);
        }
    }
}

fn passport(seat: usize, index: usize) -> Passport {
    let (start, send, outbox_bytes, budget_bytes) = SEATS[seat];
    Passport {
        id: FIRST_ID + index as u64,
        name: format!("{start}/{index}"),
        outbox_bytes: outbox_bytes as u32,
        inbox_bytes: SliceSize::MIN.bytes(),
        send: send.iter().map(ToString::to_string).collect(),
        budget_bytes,
        link: Vec::new(),
        parcel_count: 4,
        parcel_bytes: 64 * 1024,
        tap_payload: true,
    }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().expect("a pattern")).collect()
}
