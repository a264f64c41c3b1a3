//! What a broker is told: its socket, who may attach, and the worlds it may start.
//!
//! The same types are read from TOML by `strait up`, and travel as JSON to the supervisor.

use crate::quantity::{in_bytes, in_milliseconds, in_processors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use strait_jail::{Base, Profile, ProfileError};
use strait_protocol::{Name, NameError, Pattern, SliceSize, SliceSizeError};

/// Everything a broker is told when it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where host programs attach. Without one, only the embedding program talks to the worlds.
    pub socket: Option<PathBuf>,
    /// Who may attach there, under which name.
    pub attach: Vec<AttachRule>,
    /// Worlds that can be started by name, any number of times.
    pub templates: BTreeMap<String, World>,
    /// When the broker runs as root: the first kernel uid for worlds, and how many there are. One per world, never uid 0.
    pub uids: Uids,
    /// How many jails are begun ahead of time, 64 at most; 0 for none. Each is an idle process of some 200 KiB that makes a start quicker.
    pub seats: usize,
}

impl Default for Config {
    /// No socket, no templates, four seats.
    fn default() -> Self {
        let (attach, templates, uids) = (Vec::new(), BTreeMap::new(), Uids::default());
        Self { socket: None, attach, templates, uids, seats: 4 }
    }
}

/// The kernel uids that a broker gives to its worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uids {
    /// The first one; at least 1000.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Default for Uids {
    /// 65,536 uids from 1,879,048,192 on, where Debian's policy and systemd allocate nothing.
    fn default() -> Self {
        Self { first: 0x7000_0000, count: 0x1_0000 }
    }
}

/// A host program that may attach through the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRule {
    /// The names it may take: one, or all with a beginning (`cli/*`).
    pub name: String,
    /// The uid it must run with, as the kernel says.
    pub uid: u32,
    /// Whom it may send to.
    #[serde(default)]
    pub send: Vec<String>,
    /// Whom it may have a direct link with; see `World::link`.
    #[serde(default)]
    pub link: Vec<String>,
    /// What it may ask the control service; see [`Permission`].
    #[serde(default)]
    pub may: Vec<String>,
}

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
    /// What it may ask the control service; see [`Permission`].
    #[serde(default)]
    pub may: Vec<String>,
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
    /// Bytes of memory of all its processes together, its `/tmp` included.
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

/// Where a world's standard streams go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdio {
    /// Nowhere in, the broker's own output and error out.
    #[default]
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
            slice: slice_bytes(),
            budget: budget_bytes(),
            parcels: parcel_bytes(),
            parcel_count: parcel_count(),
            stdio: Stdio::default(),
            grace_ms: grace_ms(),
            limits: Limits::default(),
            checkpoint: false,
            checkpoint_ms: checkpoint_ms(),
            checkpoint_bytes: checkpoint_bytes(),
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
        patterns(&self.send)?;
        patterns(&self.link)?;
        permissions(&self.may)?;
        self.full_profile().check()?;
        if self.checkpoint && self.profile == Base::Strict {
            return Err(ConfigError::Checkpoint);
        }
        self.limits.check()?;
        for grant in self.read.iter().chain(&self.write) {
            grant_paths(grant)?;
        }
        Ok(())
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No program to run.
    #[error("`command` is empty: it needs a program and its arguments, such as [\"python3\", \"world.py\"]")]
    NoCommand,
    /// A slice size that can't be.
    #[error("`slice`: {0}")]
    Slice(#[from] SliceSizeError),
    /// A name or pattern that isn't one.
    #[error("`{text}`: {error}")]
    Pattern {
        /// What was written.
        text: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// System calls that can't be allowed or denied.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A template that can't be cloned.
    #[error(
        "`checkpoint`: the profile `strict` maps nothing as code after the start, so a clone can't get its program back"
    )]
    Checkpoint,
    /// A limit below which there is no world.
    #[error("`{name}`: at least {least} is needed")]
    Limit {
        /// Its key.
        name: &'static str,
        /// The least that makes sense.
        least: &'static str,
    },
    /// A permission that doesn't exist.
    #[error("`{0}` is no permission: there are `list`, `start TEMPLATE`, `stop NAME`, `inspect NAME` and `admin`")]
    Permission(String),
    /// A granted path that isn't absolute.
    #[error("`{0}`: a granted path is absolute, `/path` or `/path:/inside`")]
    Path(String),
    /// Uids that reach into those of people or of the kernel.
    #[error("`uids`: worlds take uids from 1000 to 4294967293, at least one")]
    Uids,
    /// A name of the system's own.
    #[error("`{0}`: names that start with `strait.` belong to the system")]
    Reserved(String),
}

/// Reads patterns of names.
pub(crate) fn patterns(texts: &[String]) -> Result<Vec<Pattern>, ConfigError> {
    let pattern = |text: &String| text.parse().map_err(|error| ConfigError::Pattern { text: text.clone(), error });
    texts.iter().map(pattern).collect()
}

/// The host path of a grant, and where it is inside.
pub(crate) fn grant_paths(text: &str) -> Result<(PathBuf, PathBuf), ConfigError> {
    let (source, target) = text.split_once(':').unwrap_or((text, text));
    match source.starts_with('/') && target.starts_with('/') {
        true => Ok((source.into(), target.into())),
        false => Err(ConfigError::Path(text.into())),
    }
}

/// What somebody may ask the control service, beside resolving the names it may send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything.
    Admin,
    /// See which worlds there are.
    List,
    /// Start worlds from this template.
    Start(String),
    /// Stop worlds, and wait for their end.
    Stop(Pattern),
    /// Read jail reports.
    Inspect(Pattern),
}

impl std::str::FromStr for Permission {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let pattern = |of: &str| of.parse().map_err(|error| ConfigError::Pattern { text: text.into(), error });
        match text.split_once(' ') {
            None if text == "admin" => Ok(Self::Admin),
            None if text == "list" => Ok(Self::List),
            Some(("start", template)) => Ok(Self::Start(template.into())),
            Some(("stop", names)) => pattern(names).map(Self::Stop),
            Some(("inspect", names)) => pattern(names).map(Self::Inspect),
            _ => Err(ConfigError::Permission(text.into())),
        }
    }
}

/// Reads permissions.
pub(crate) fn permissions(texts: &[String]) -> Result<Vec<Permission>, ConfigError> {
    texts.iter().map(|text| text.parse()).collect()
}

impl Config {
    /// Checks everything that can be checked without starting anything.
    pub fn check(&self) -> Result<(), ConfigError> {
        for rule in &self.attach {
            patterns(std::slice::from_ref(&rule.name))?;
            patterns(&rule.send)?;
            patterns(&rule.link)?;
            permissions(&rule.may)?;
        }
        for (name, world) in &self.templates {
            let name: Name = name.parse().map_err(|error| ConfigError::Pattern { text: name.clone(), error })?;
            if name.is_reserved() {
                return Err(ConfigError::Reserved(name.to_string()));
            }
            world.check()?;
        }
        let Uids { first, count } = self.uids;
        match first >= 1000 && count > 0 && first.checked_add(count).is_some_and(|end| end < u32::MAX) {
            true => Ok(()),
            false => Err(ConfigError::Uids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_survives_the_way_to_the_supervisor() {
        let mut world = World::new(["true"]);
        let travel = |world: &World| serde_json::from_str(&serde_json::to_string(world).unwrap()).unwrap();
        assert_eq!(world, travel(&world));
        world.limits.memory = Some(1 << 20);
        (world.limits.cpu, world.limits.pids, world.limits.time_ms) = (Some(333), Some(7), Some(1));
        (world.profile, world.allow_syscalls) = (Base::Strict, vec!["fork".into()]);
        assert_eq!(world, travel(&world));
    }

    #[test]
    fn mistakes_are_named() {
        let mut world = World::new(["true"]);
        world.may = vec!["fly".into()];
        assert!(world.check().unwrap_err().to_string().starts_with("`fly` is no permission"));
        world.may = vec!["start compressor".into(), "stop compressor/*".into()];
        world.read = vec!["relative".into()];
        assert_eq!(world.check(), Err(ConfigError::Path("relative".into())));
        world.read = vec!["/a:/b".into()];
        assert_eq!(world.check(), Ok(()));
        world.deny_syscalls = vec!["opneat".into()];
        assert_eq!(world.check().unwrap_err().to_string(), "`opneat` is no system call of this machine");
        world.deny_syscalls.clear();
        world.limits.tmp = Some(0);
        assert_eq!(world.check().unwrap_err().to_string(), "`tmp`: at least 4 KiB is needed");
        world.limits.tmp = None;
        world.slice = 1000;
        assert!(world.check().unwrap_err().to_string().contains("1000 bytes"));
        assert_eq!(World::new([""; 0]).check(), Err(ConfigError::NoCommand));
        let config = Config { uids: Uids { first: 0, count: 1 }, ..Config::default() };
        assert_eq!(config.check(), Err(ConfigError::Uids));
    }
}
