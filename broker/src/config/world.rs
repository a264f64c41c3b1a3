//! One world as a configuration names it: its program, its grants, its limits.

use super::{ConfigError, MAX_SNAPSHOTS, check_reach, grant_paths};
use crate::policy::{Policy, Role};
use crate::quantity::{in_bytes, in_milliseconds, in_processors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use strait_jail::{Base, Profile};
use strait_protocol::SliceSize;

/// One world: its program, what it is granted, and whom it may talk to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// The program and its arguments. Without a slash it is looked up in the jail's PATH.
    pub command: Vec<String>,
    /// The environment, beside PATH, HOME and LANG.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The working directory inside.
    #[serde(default = "root")]
    pub dir: PathBuf,
    /// Files and directories of the host that it may read: `/path`, or `/path:/inside`.
    #[serde(default)]
    pub read: Vec<String>,
    /// Files and directories of the host that it may also write.
    #[serde(default)]
    pub write: Vec<String>,
    /// Whether the host's programs and libraries (`/usr` and the like) are there, read-only.
    #[serde(default = "yes")]
    pub system: bool,
    /// How narrow its system calls and its executable memory are: `default`, `jit` for language VMs that compile while they run, `strict` for
    /// static programs.
    #[serde(default)]
    pub profile: Base,
    /// System calls that it may make beside those of its profile, by name.
    #[serde(default)]
    pub allow_syscalls: Vec<String>,
    /// System calls of its profile that it may not make, by name.
    #[serde(default)]
    pub deny_syscalls: Vec<String>,
    /// Whom it may send to: names, or beginnings of names with `*`. Nobody by default.
    #[serde(default)]
    pub send: Vec<String>,
    /// Whom it may have a direct link with, past the switch, and so send to: names or beginnings of names with `*`, nobody by default. Both
    /// must name the other.
    #[serde(default)]
    pub link: Vec<String>,
    /// Where in the network it may connect to, by dialling: `example.com:443`, `*.example.com:443` for all below it, `example.com:*` for any port. An
    /// address that isn't public must be named itself: `10.0.0.5:5432`, `[fd00::5]:5432`. Nowhere by default.
    #[serde(default)]
    pub network: Vec<String>,
    /// What it may ask the control service; see [`Permission`](crate::Permission).
    #[serde(default)]
    pub may: Vec<String>,
    /// What it may ask to be granted while it runs, and as much of it at most: `send db/*`, `link x`, `memory 2 GiB`, `cpu 1`,
    /// `network example.com:443`, `publish a.*`, `subscribe a.>`, `read /path` and `write /path` (from the next start on), or what `may` takes. A world with the role `control` decides, or a person.
    #[serde(default)]
    pub ask: Vec<String>,
    /// On which topics it may publish: `sensors.kitchen.temp`, or patterns with `*` for one token and `>` for the rest. None by default.
    #[serde(default)]
    pub publish: Vec<String>,
    /// To which topics it may subscribe, likewise. Those that start with `strait.` are named only by a pattern that does, too.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// What it is to the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether `strait tap --payload` may show what it sends and is sent, if the other side's may be shown too. Otherwise a tap shows
    /// headers alone.
    #[serde(default)]
    pub tap_payload: bool,
    /// Bytes of its outbox and of its inbox: a power of two from 16 KiB to 64 MiB.
    #[serde(default = "slice_bytes", deserialize_with = "in_bytes::required")]
    pub slice: u64,
    /// Bytes that the switch may hold on its account.
    #[serde(default = "budget_bytes", deserialize_with = "in_bytes::required")]
    pub budget: u64,
    /// Bytes of parcels that it may hold, its own and those it was sent. Their memory is paid for by whoever touched it first, which
    /// is to be thought of where its memory is limited.
    #[serde(default = "parcel_bytes", deserialize_with = "in_bytes::required")]
    pub parcels: u64,
    /// How many parcels it may hold.
    #[serde(default = "parcel_count")]
    pub parcel_count: u32,
    /// Where its standard input, output and error go.
    #[serde(default)]
    pub stdio: Stdio,
    /// How long it has to end after it was told to. In a file: `grace = "3s"`.
    #[serde(default = "grace_ms", rename = "grace", with = "in_milliseconds")]
    pub grace_ms: u32,
    /// How many versions of its state are kept, under its name: none by default, and then it may save none; 100 at most.
    #[serde(default)]
    pub snapshots: u32,
    /// Bytes that its state may have.
    #[serde(default = "snapshot_bytes", deserialize_with = "in_bytes::required")]
    pub snapshot_bytes: u64,
    /// Bytes of disk that all states may take that are kept of it and of all whose names begin alike (`worker`, `worker/1`, `worker/2`): where
    /// nothing is given, 1 GiB, or as much as one world's own versions may need.
    #[serde(default, deserialize_with = "in_bytes::optional", skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
    /// What starts it when it isn't running; see [`Wake`].
    #[serde(default)]
    pub wake: Wake,
    /// After how long without a message, a request or an answer it is told to end, until the next message wakes it. In a file: `idle = "30s"`.
    #[serde(default, rename = "idle", with = "in_milliseconds::optional", skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
    /// Limits on what it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Whether the worlds of this template go on where its first one had started, instead of starting. The program says where that is
    /// (`strait_client::checkpoint`, `strait_checkpoint`).
    #[serde(default)]
    pub checkpoint: bool,
    /// How long its first world may take to get there. In a file: `checkpoint_time = "30s"`.
    #[serde(default = "checkpoint_ms", rename = "checkpoint_time", with = "in_milliseconds")]
    pub checkpoint_ms: u32,
    /// Bytes that its image may have. They are memory, paid for by its first world, and kept as long as the broker runs.
    #[serde(default = "checkpoint_bytes", deserialize_with = "in_bytes::required")]
    pub checkpoint_bytes: u64,
}

/// Limits on what a world may use; what is not given has the jail's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of memory of all its processes together, its `/tmp` included. 1 GiB where nothing is given, as far as the system can limit it.
    #[serde(deserialize_with = "in_bytes::optional", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processor time of all its processes together, in thousandths of a processor. In a file: `cpu = 0.5`.
    #[serde(with = "in_processors", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Processes and threads of the whole jail, its pid 1 included.
    pub pids: Option<u64>,
    /// How long it may run, by the clock on the wall: then it is killed. In a file: `time = "30s"`.
    #[serde(rename = "time", with = "in_milliseconds::optional", skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u32>,
    /// Bytes of its `/tmp`.
    #[serde(deserialize_with = "in_bytes::optional", skip_serializing_if = "Option::is_none")]
    pub tmp: Option<u64>,
    /// Open files per process.
    pub files: Option<u64>,
    /// Processes and threads of its user: where there are no control groups, the nearest thing to `pids`.
    pub processes: Option<u64>,
    /// Address space per process, in bytes.
    #[serde(deserialize_with = "in_bytes::optional", skip_serializing_if = "Option::is_none")]
    pub address_space: Option<u64>,
}

impl Limits {
    /// Nothing starts below these, or (in a `/tmp` of 0 bytes) the kernel takes them for no limit.
    fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("memory", self.memory, 1 << 20, "1 MiB"),
            ("pids", self.pids, 2, "2"),
            ("time", self.time_ms.map(u64::from), 1, "1ms"),
            ("tmp", self.tmp, 4096, "4 KiB"),
            ("files", self.files, 4, "4"),
            ("processes", self.processes, 2, "2"),
            ("address_space", self.address_space, 1 << 20, "1 MiB"),
        ];
        match limits.into_iter().find(|(_, limit, least, _)| limit.is_some_and(|limit| limit < *least)) {
            Some((name, _, _, least)) => Err(ConfigError::Limit { name, least }),
            None => Ok(()),
        }
    }
}

/// What starts a world when it isn't running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wake {
    /// Nothing: when it has ended, it is gone.
    #[default]
    Never,
    /// A message: the world keeps its name and its id when it ends, and what is sent to it waits and wakes it.
    Message,
}

/// Where a world's standard streams go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdio {
    /// Nowhere in; what it prints is kept for `strait log`, the last 32 KiB of it, and shown where the broker's own output and error go, line
    /// by line with the world's name in front and control characters escaped. Who prints too much waits.
    #[default]
    Log,
    /// Nowhere in, the broker's own output and error out, as it is.
    Output,
    /// The broker's own, input too.
    Inherit,
    /// Nowhere.
    Null,
}

fn root() -> PathBuf {
    "/".into()
}
fn yes() -> bool {
    true
}
fn slice_bytes() -> u64 {
    SliceSize::DEFAULT.bytes().into()
}
fn budget_bytes() -> u64 {
    256 * 1024
}
pub(crate) fn parcel_bytes() -> u64 {
    64 << 20
}
pub(crate) fn parcel_count() -> u32 {
    64
}
fn grace_ms() -> u32 {
    3000
}
fn snapshot_bytes() -> u64 {
    64 << 20
}
fn checkpoint_ms() -> u32 {
    10_000
}
fn checkpoint_bytes() -> u64 {
    256 << 20
}

impl World {
    /// A world that runs `command` and is granted nothing beyond.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            dir: root(),
            read: Vec::new(),
            write: Vec::new(),
            system: true,
            profile: Base::default(),
            allow_syscalls: Vec::new(),
            deny_syscalls: Vec::new(),
            send: Vec::new(),
            link: Vec::new(),
            may: Vec::new(),
            ask: Vec::new(),
            publish: Vec::new(),
            subscribe: Vec::new(),
            network: Vec::new(),
            role: None,
            tap_payload: false,
            slice: slice_bytes(),
            budget: budget_bytes(),
            parcels: parcel_bytes(),
            parcel_count: parcel_count(),
            stdio: Stdio::default(),
            grace_ms: grace_ms(),
            snapshots: 0,
            snapshot_bytes: snapshot_bytes(),
            state_bytes: None,
            wake: Wake::default(),
            idle_ms: None,
            limits: Limits::default(),
            checkpoint: false,
            checkpoint_ms: checkpoint_ms(),
            checkpoint_bytes: checkpoint_bytes(),
        }
    }

    /// What [`Client::spawn`](crate::Client::spawn) takes, to start it under a name.
    pub fn specification(&self, name: &str) -> String {
        serde_json::to_string(&(name, self)).expect("texts and numbers can be written as JSON")
    }

    /// What all that is kept of it, and of all whose names begin alike, may take: what isn't given leaves room for one version more than are kept.
    pub(crate) fn share_of_states(&self) -> u64 {
        // A state has a head, and is rounded up to whole blocks; there is a directory, too.
        let one = self.snapshot_bytes.saturating_add(3 * 4096);
        self.state_bytes.unwrap_or_else(|| one.saturating_mul(u64::from(self.snapshots) + 1).max(1 << 30))
    }

    /// A connection of the host's network that is handed in could be connected anew, past the gate.
    fn check_sockets(&self) -> Result<(), ConfigError> {
        let may_dial = !self.network.is_empty() || self.ask.iter().any(|text| text.starts_with("network "));
        let makes =
            |name: &&String| matches!(name.as_str(), "socket" | "connect" | "bind" | "listen" | "accept" | "accept4");
        match self.allow_syscalls.iter().find(makes) {
            Some(name) if may_dial => Err(ConfigError::Sockets(name.clone())),
            _ => Ok(()),
        }
    }

    /// Its profile, with what is added and taken away.
    pub fn full_profile(&self) -> Profile {
        Profile { base: self.profile, allow: self.allow_syscalls.clone(), deny: self.deny_syscalls.clone() }
    }

    /// Checks everything that can be checked without starting it.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(ConfigError::NoCommand);
        }
        SliceSize::new(self.slice)?;
        check_reach(&self.send, &self.link)?;
        Policy::of_world(self)?;
        self.full_profile().check()?;
        if self.checkpoint && self.profile == Base::Strict {
            return Err(ConfigError::Checkpoint);
        }
        if self.snapshots > MAX_SNAPSHOTS {
            return Err(ConfigError::Snapshots(self.snapshots));
        }
        self.check_sockets()?;
        self.limits.check()?;
        if self.idle_ms.is_some() && self.wake == Wake::Never {
            return Err(ConfigError::Idle);
        }
        for grant in self.read.iter().chain(&self.write) {
            grant_paths(grant)?;
        }
        Ok(())
    }
}
