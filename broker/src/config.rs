//! What a broker is told: its socket, who may attach, and the worlds it may start.
//!
//! The same types are read from TOML by `strait up`, and travel as JSON to the supervisor.

mod group;
mod world;

pub use group::Group;
pub use world::{Limits, Stdio, Wake, World};
pub(crate) use world::{parcel_bytes, parcel_count};

use crate::policy::{Permission, Policy};
use crate::quantity::in_bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use strait_jail::ProfileError;
use strait_protocol::{Name, NameError, Pattern, SliceSizeError, TopicError};

/// The most versions that are kept of one world's state.
pub(crate) const MAX_SNAPSHOTS: u32 = 100;

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
    /// Addresses that stand for several worlds.
    pub groups: BTreeMap<String, Group>,
    /// When the broker runs as root: the first kernel uid for worlds, and how many there are. One per world, never uid 0.
    pub uids: Uids,
    /// Where the states of worlds are kept that have `snapshots`: a directory, made on demand, of this broker alone. By default
    /// `$XDG_STATE_HOME/strait`, else `~/.local/state/strait`; for root `/var/lib/strait`.
    pub state: Option<PathBuf>,
    /// Bytes that all states together may take there.
    #[serde(deserialize_with = "in_bytes::required")]
    pub state_bytes: u64,
    /// How many worlds one asker may have started that are there, those that sleep too, and all that these started in turn. Who may `admin` has no bound
    /// but that of all worlds.
    pub starts: usize,
    /// How many jails are begun ahead of time, 64 at most; 0 for none. Each is an idle process of some 200 KiB that makes a start quicker. As root
    /// as many again, of two processes each, are built whole of each of a few kinds of worlds that were started twice, until nothing was started for 30 s;
    /// those of clones hold what their image has in memory, up to 32 MiB each.
    pub seats: usize,
}

impl Default for Config {
    /// No socket, no templates, four seats.
    fn default() -> Self {
        let (templates, groups) = (BTreeMap::new(), BTreeMap::new());
        let (attach, uids, state_bytes) = (Vec::new(), Uids::default(), 4 << 30);
        Self { socket: None, attach, templates, groups, uids, state: None, state_bytes, starts: 256, seats: 4 }
    }
}

/// The kernel uids that a broker gives to its worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uids {
    /// The first one; at least 1000.
    pub first: u32,
    /// How many. The one behind the last is that of the store, where a broker has one.
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
    /// What it may ask to be granted; see `World::ask`.
    #[serde(default)]
    pub ask: Vec<String>,
    /// On which topics it may publish; see `World::publish`.
    #[serde(default)]
    pub publish: Vec<String>,
    /// To which topics it may subscribe; see `World::subscribe`.
    #[serde(default)]
    pub subscribe: Vec<String>,
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
    /// More patterns than the switch can be told of.
    #[error(
        "`{key}`: `send` and `link` have {bytes} bytes together, and {MAX_REACH_BYTES} are the most: a pattern such as `db/*` stands for many names"
    )]
    Reach {
        /// The longer one.
        key: &'static str,
        /// How long both are.
        bytes: usize,
    },
    /// A topic or pattern of topics that isn't one.
    #[error("`{text}`: {error}")]
    Topic {
        /// What was written.
        text: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// A place in the network that isn't one.
    #[error("`network`: `{text}`: {why}")]
    Place {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Connections of one's own, and connections that are handed in.
    #[error(
        "`{0}`: a world that may come to have connections of the host's network (`network`, or `ask` for it) can't also have this system call: it could \
         connect them anew"
    )]
    Sockets(String),
    /// System calls that can't be allowed or denied.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A template that can't be cloned.
    #[error(
        "`checkpoint`: the profile `strict` maps nothing as code after the start, so a clone can't get its program back"
    )]
    Checkpoint,
    /// A world that is put to sleep for good.
    #[error("`idle` puts a world to sleep, and nothing wakes this one: it takes `wake = \"message\"` too")]
    Idle,
    /// A limit below which there is no world.
    #[error("`{name}`: at least {least} is needed")]
    Limit {
        /// Its key.
        name: &'static str,
        /// The least that makes sense.
        least: &'static str,
    },
    /// A permission that doesn't exist.
    #[error("`{0}` is no permission: there are `{forms}`", forms = Permission::FORMS.join("`, `"))]
    Permission(String),
    /// Something that can't be asked for.
    #[error("`{text}` can't be asked for: {why}")]
    Ask {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// More versions than a list of them can have.
    #[error("`snapshots`: {0} versions are more than the {MAX_SNAPSHOTS} that can be kept")]
    Snapshots(u32),
    /// A group that can't be.
    #[error("`{key}`: {why}")]
    Group {
        /// Its key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// More groups than a broker has.
    #[error("there are {0} groups: {max} is the most", max = Group::MAX)]
    Groups(usize),
    /// A granted path that isn't absolute, or goes up inside.
    #[error("`{0}`: a granted path is absolute, without `..` inside: `/path` or `/path:/inside`")]
    Path(String),
    /// Uids that reach into those of people or of the kernel.
    #[error("`uids`: worlds take uids from 1000 to 4294967292, at least one, and the two behind them are strait's own")]
    Uids,
    /// A name of the system's own.
    #[error("`{0}`: names that start with `strait.` belong to the system")]
    Reserved(String),
}

/// The most bytes that `send` and `link` of one world have together: what the switch is told of a world is one message.
const MAX_REACH_BYTES: usize = 32 * 1024;

/// Checks that the switch can be told of these.
pub(crate) fn check_reach(send: &[String], link: &[String]) -> Result<(), ConfigError> {
    // A pattern's own length takes a few bytes, too.
    let bytes = |texts: &[String]| texts.iter().map(|text| text.len() + 4).sum::<usize>();
    let (send, link) = (bytes(send), bytes(link));
    match send + link <= MAX_REACH_BYTES {
        true => Ok(()),
        false => Err(ConfigError::Reach { key: if send >= link { "send" } else { "link" }, bytes: send + link }),
    }
}

/// Reads patterns of names.
pub(crate) fn patterns(texts: &[String]) -> Result<Vec<Pattern>, ConfigError> {
    let pattern = |text: &String| text.parse().map_err(|error| ConfigError::Pattern { text: text.clone(), error });
    texts.iter().map(pattern).collect()
}

/// The host path of a grant, and where it is inside.
pub(crate) fn grant_paths(text: &str) -> Result<(PathBuf, PathBuf), ConfigError> {
    let (source, target) = text.split_once(':').unwrap_or((text, text));
    let goes_up = Path::new(target).components().any(|part| part == Component::ParentDir);
    match source.starts_with('/') && target.starts_with('/') && !goes_up {
        true => Ok((source.into(), target.into())),
        false => Err(ConfigError::Path(text.into())),
    }
}

impl Config {
    /// The template that a group makes a world of this name from.
    pub fn template_of(&self, name: &Name) -> Option<&World> {
        let covers = |(of, group): &(&String, &Group)| {
            of.parse().ok().and_then(|of| group.pattern(&of).ok()).is_some_and(|pattern| pattern.covers(name))
        };
        self.groups.iter().find(covers).and_then(|(_, group)| self.templates.get(&group.template))
    }

    /// The policy that a world of this name would have: of the template `worker` for `worker` and `worker/1`, or of the first rule that lets
    /// a program attach under the name.
    pub fn policy_of(&self, name: &Name) -> Option<Policy> {
        let stem = name.as_str().split('/').next().unwrap_or_default();
        let template = self.templates.get(name.as_str()).or_else(|| self.template_of(name));
        let template = template.or_else(|| self.templates.get(stem));
        let covers = |rule: &&AttachRule| rule.name.parse().is_ok_and(|pattern: Pattern| pattern.covers(name));
        let rule = || self.attach.iter().find(covers).and_then(|rule| Policy::of_rule(rule).ok());
        template.and_then(|world| Policy::of_world(world).ok()).or_else(rule)
    }

    /// Checks everything that can be checked without starting anything.
    pub fn check(&self) -> Result<(), ConfigError> {
        for rule in &self.attach {
            patterns(std::slice::from_ref(&rule.name))?;
            Policy::of_rule(rule)?;
            check_reach(&rule.send, &rule.link)?;
        }
        for (name, world) in &self.templates {
            let name: Name = name.parse().map_err(|error| ConfigError::Pattern { text: name.clone(), error })?;
            if name.is_reserved() {
                return Err(ConfigError::Reserved(name.to_string()));
            }
            world.check()?;
        }
        for (name, group) in &self.groups {
            group.check(name, &self.templates)?;
        }
        if self.groups.len() > Group::MAX {
            return Err(ConfigError::Groups(self.groups.len()));
        }
        let Uids { first, count } = self.uids;
        match first >= 1000 && count > 0 && first.checked_add(count).is_some_and(|end| end < u32::MAX - 1) {
            true => Ok(()),
            false => Err(ConfigError::Uids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_jail::Base;

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
