//! What the supervisor knows of one world.

use super::accounts::Account;
use super::heirs::{Beside, Heir};
use super::rest::Rest;
use crate::config::{self, ConfigError, Limits, World};
use crate::link::Passport;
use crate::policy::{Policy, Way};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};
use strait_jail::{Exit, Process};
use strait_memory::{SliceError, SliceFile};
use strait_protocol::control::{Ended, Saved};
use strait_protocol::handshake::{DESCRIPTORS, Welcome};
use strait_protocol::wait::Waiting;
use strait_protocol::{Header, Name, Pattern, SliceSize, WorldId};
use strait_sys::{socket, wake};

/// Requests of one world that wait for the end of another.
const MAX_WAITS_PER_ASKER: usize = 16;
/// What may lie unread in a world's lane, as the kernel counts it: some twenty messages.
const LANE_BYTES: usize = 8192;

/// Where a world is in its life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum State {
    /// It isn't running, and the next message to it starts it.
    Asleep,
    /// Its jail is being built.
    Starting,
    /// Its program runs, but has not opened its connection: perhaps it never will.
    Running,
    /// It has mapped its slices.
    Ready,
    /// It was told to end.
    Stopping,
    /// It is gone; the switch delivers what it left.
    Ending,
}

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Part of the system.
    Service,
    /// A host program that attached by itself.
    Attached,
    /// A process in a jail.
    Jailed,
}

/// The two slices, two bells and the lane of a world. The supervisor keeps them for as long as the world lives.
#[derive(Debug)]
pub(super) struct Channel {
    pub outbox: SliceFile,
    pub inbox: SliceFile,
    bell: OwnedFd,
    wakeup_read: OwnedFd,
    wakeup_write: OwnedFd,
    lane_giving: OwnedFd,
    lane_taking: OwnedFd,
}

/// Why a channel can't be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    #[error(transparent)]
    Slice(#[from] SliceError),
    #[error("out of descriptors: {0}")]
    Descriptors(#[from] rustix::io::Errno),
}

impl Channel {
    pub(super) fn create(size: SliceSize) -> Result<Self, ChannelError> {
        let (wakeup_read, wakeup_write) = wake::bell_pipe()?;
        let (lane_giving, lane_taking) = socket::lane(LANE_BYTES)?;
        Ok(Self {
            outbox: SliceFile::create("strait-outbox", size)?,
            inbox: SliceFile::create("strait-inbox", size)?,
            bell: wake::eventfd()?,
            wakeup_read,
            wakeup_write,
            lane_giving,
            lane_taking,
        })
    }

    /// Says that the world sleeps, which has not been handed this yet: the switch rings for the first thing that comes.
    pub(super) fn lay_down(&self) -> Result<(), ChannelError> {
        Ok(self.outbox.put_waiting(Waiting::DORMANT)?)
    }

    /// What the switch rings.
    pub(super) fn wakeup(&self) -> BorrowedFd<'_> {
        self.wakeup_read.as_fd()
    }

    /// What the switch gets: it maps the inbox writable before anybody else sees it.
    pub(super) fn for_switch(&self) -> [BorrowedFd<'_>; DESCRIPTORS] {
        let (outbox, inbox) = (self.outbox.as_fd(), self.inbox.as_fd());
        [outbox, inbox, self.bell.as_fd(), self.wakeup_write.as_fd(), self.lane_giving.as_fd()]
    }

    /// By which descriptors are handed to the world.
    pub(super) fn lane(&self) -> BorrowedFd<'_> {
        self.lane_giving.as_fd()
    }

    /// What the world gets: it maps the outbox writable, and then seals it.
    pub(super) fn for_world(&self) -> [BorrowedFd<'_>; DESCRIPTORS] {
        let (outbox, inbox) = (self.outbox.as_fd(), self.inbox.as_fd());
        [outbox, inbox, self.bell.as_fd(), self.wakeup_read.as_fd(), self.lane_taking.as_fd()]
    }
}

/// A shutdown under way.
#[derive(Debug)]
pub(super) struct Stop {
    pub since: Instant,
    pub deadline: Instant,
    pub correlation: u64,
    pub acknowledged: bool,
    /// What it saved meanwhile.
    pub saved: Option<Saved>,
    /// When a program that has not opened its connection by then is told by a signal.
    pub signal_at: Option<Instant>,
}

/// How a world came to be, with its template's name where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Its program was started.
    Started,
    /// The same, and it is to give an image before it is welcomed.
    First {
        template: String,
        limit_bytes: u64,
        /// By when.
        deadline: Instant,
        is_asked: bool,
    },
    /// It goes on where the first one stopped.
    Cloned { template: String },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub id: WorldId,
    pub name: Name,
    pub nature: Nature,
    pub state: State,
    /// The template that it was started from.
    pub template: Option<String>,
    /// On whose account it was started, unless that was who may everything.
    pub account: Option<Account>,
    /// Its configuration, if it runs in a jail.
    pub world: Option<Rc<World>>,
    pub policy: Policy,
    /// What it may use by its configuration.
    pub limits: Limits,
    pub uid: u32,
    pub pid: i32,
    pub grace_ms: u32,
    pub parcel_bytes: u64,
    pub parcel_count: u32,
    /// A tap may show its payloads.
    pub tap_payload: bool,
    /// How many versions of its state are kept, and how long each may be.
    pub snapshots: u32,
    pub snapshot_bytes: u64,
    pub channel: Channel,
    pub connection: Option<OwnedFd>,
    pub process: Option<Process>,
    /// The switch has mapped its slices.
    pub is_switched: bool,
    pub is_welcomed: bool,
    /// What it says on its connection is heard.
    pub is_watched: bool,
    /// It has mapped its slices: it is a program that knows strait.
    pub is_mapped: bool,
    pub started: Instant,
    /// How long its program may run.
    pub time: Option<Duration>,
    /// When that is over.
    pub end_by: Option<Instant>,
    pub stop: Option<Stop>,
    /// Who asked for its start and was not answered yet.
    pub asked_by: Option<Header>,
    /// How the life ended that this one came in the place of, for who asked for that.
    pub before: Option<Ended>,
    /// Who waits for its end.
    pub waiters: Vec<Header>,
    /// How it came to be.
    pub origin: Origin,
    /// The version that is to take over when this one is gone.
    pub heir: Option<Box<Heir>>,
    /// The version that this one is to take over from when it is ready.
    pub beside: Option<Beside>,
    /// What it needs while it sleeps, if it ever does.
    pub rest: Option<Rest>,
    pub exit: Option<Exit>,
    pub was_killed: bool,
    /// The number of the last record that a life sent which is over: what it asked isn't the next one's.
    pub former_records: u64,
    pub note: String,
}

impl Entry {
    pub(super) fn new(id: WorldId, name: Name, nature: Nature, channel: Channel) -> Self {
        Self {
            id,
            name,
            nature,
            state: State::Starting,
            template: None,
            account: None,
            world: None,
            policy: Policy::default(),
            limits: Limits::default(),
            uid: 0,
            pid: 0,
            grace_ms: 0,
            parcel_bytes: config::parcel_bytes(),
            parcel_count: config::parcel_count(),
            tap_payload: false,
            snapshots: 0,
            snapshot_bytes: 0,
            channel,
            connection: None,
            process: None,
            is_switched: false,
            is_welcomed: false,
            is_watched: false,
            is_mapped: false,
            started: Instant::now(),
            time: None,
            end_by: None,
            stop: None,
            asked_by: None,
            before: None,
            waiters: Vec::new(),
            origin: Origin::Started,
            heir: None,
            beside: None,
            rest: None,
            exit: None,
            was_killed: false,
            former_records: 0,
            note: String::new(),
        }
    }

    /// Takes from a configuration what is known of the world beside its jail.
    pub(super) fn adopt(&mut self, world: &World) -> Result<(), ConfigError> {
        self.policy = Policy::of_world(world)?;
        self.limits = world.limits;
        (self.snapshots, self.snapshot_bytes) = (world.snapshots, world.snapshot_bytes);
        self.grace_ms = world.grace_ms;
        self.time = world.limits.time_ms.map(|ms| Duration::from_millis(ms.into()));
        (self.parcel_bytes, self.parcel_count) = (world.parcels, world.parcel_count);
        self.tap_payload = world.tap_payload;
        Ok(())
    }

    pub(super) fn passport(&self, budget_bytes: u64) -> Passport {
        Passport {
            id: self.id.0,
            name: self.name.to_string(),
            outbox_bytes: self.channel.outbox.size().bytes(),
            inbox_bytes: self.channel.inbox.size().bytes(),
            send: self.policy.reach.configured(Way::Send).map(Pattern::to_string).collect(),
            link: self.policy.reach.configured(Way::Link).map(Pattern::to_string).collect(),
            budget_bytes,
            parcel_bytes: self.parcel_bytes,
            parcel_count: self.parcel_count,
            tap_payload: self.tap_payload,
        }
    }

    pub(super) fn welcome(&self) -> Welcome {
        let (outbox, inbox) = (self.channel.outbox.size(), self.channel.inbox.size());
        Welcome { id: self.id, name: self.name.clone(), outbox, inbox, links: self.policy.may_come_to_link() }
    }

    /// By when its start has to have come somewhere, if it has to: to an image, or to taking over from an old version. And what is said if it
    /// hasn't.
    pub(super) fn start_deadline(&self) -> Option<(Instant, &'static str)> {
        match (&self.origin, &self.beside) {
            (Origin::First { deadline, .. }, _) => {
                Some((*deadline, "its template says `checkpoint`, and it came to none in time (`checkpoint_time`)"))
            }
            // One that is ready waits for the switch alone.
            (_, Some(beside)) if !self.is_mapped => Some((
                beside.ready_by,
                "it wasn't ready in time to take over, which it is once its connection is open: the old version goes on",
            )),
            _ => None,
        }
    }

    /// Remembers who waits for the end: a few requests of each, the latest. One that is forgotten ends by its deadline.
    pub(super) fn add_waiter(&mut self, asker: Header) {
        let of_asker = self.waiters.iter().filter(|waiter| waiter.source == asker.source);
        if of_asker.count() >= MAX_WAITS_PER_ASKER
            && let Some(oldest) = self.waiters.iter().position(|waiter| waiter.source == asker.source)
        {
            self.waiters.remove(oldest);
        }
        self.waiters.push(asker);
    }

    /// The template whose image it was made of. Empty: none.
    pub(super) fn clone_of(&self) -> &str {
        match &self.origin {
            Origin::Cloned { template } => template,
            Origin::Started | Origin::First { .. } => "",
        }
    }

    pub(super) fn state_text(&self) -> &'static str {
        match (self.nature, self.state) {
            (Nature::Service, _) => "service",
            (_, State::Stopping) => "stopping",
            (_, State::Ending) => "ending",
            (Nature::Attached, _) => "attached",
            (_, State::Asleep) => "asleep",
            (_, State::Starting) => "starting",
            (_, State::Running) => "running",
            (_, State::Ready) => "ready",
        }
    }
}

/// A world that is to be started.
#[derive(Debug)]
pub(super) struct Order {
    pub name: Name,
    pub world: World,
    /// The template's name, if it is of one.
    pub template: Option<String>,
    pub asked_by: Option<Header>,
    /// On whose account.
    pub account: Option<Account>,
}
