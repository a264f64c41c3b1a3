//! What a world may ask for, and what it asks for: the same words in `ask = ["send db/*"]` and in its request.

use super::network::Place;
use super::{Permission, Way};
use crate::config::{ConfigError, grant_paths};
use crate::quantity;
use std::fmt;
use std::path::{Component, PathBuf};
use std::str::FromStr;
use strait_protocol::{Pattern, TopicPattern};

/// The longest text of one, in bytes.
pub const MAX_RESOURCE_BYTES: usize = 512;

/// Something that can be asked for and granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// To reach worlds.
    Reach(Way, Pattern),
    /// To ask the control service something.
    Command(Permission),
    /// So many bytes of memory instead of those it has.
    Memory(u64),
    /// So much processor time, in thousandths of a processor, instead of what it has.
    Cpu(u32),
    /// To connect to a place in the network.
    Network(Place),
    /// A file or directory of the host.
    Path(HostPath),
    /// To publish on topics.
    Publish(TopicPattern),
    /// To subscribe to topics.
    Subscribe(TopicPattern),
}

/// A path of the host and where it is inside, as `read` and `write` name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPath {
    text: String,
    pub is_writable: bool,
    pub source: PathBuf,
    pub target: PathBuf,
}

impl Resource {
    /// Whether who may ask for this may ask for that: less is covered by more.
    pub(crate) fn covers(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Reach(one, all), Self::Reach(other, some)) => one == other && all.includes(some),
            (Self::Command(all), Self::Command(some)) => all.covers(some),
            (Self::Memory(most), Self::Memory(asked)) => asked <= most,
            (Self::Cpu(most), Self::Cpu(asked)) => asked <= most,
            (Self::Network(all), Self::Network(some)) => all.covers(some),
            (Self::Path(all), Self::Path(some)) => all.covers(some),
            (Self::Publish(all), Self::Publish(some)) | (Self::Subscribe(all), Self::Subscribe(some)) => {
                all.includes(some)
            }
            _ => false,
        }
    }
}

impl HostPath {
    pub(super) fn new(text: &str, is_writable: bool) -> Result<Self, ConfigError> {
        let (source, target) = grant_paths(text)?;
        match source.components().any(|part| part == Component::ParentDir) {
            false => Ok(Self { text: text.into(), is_writable, source, target }),
            true => Err(ConfigError::Path(text.into())),
        }
    }

    /// The key in a configuration, and the verb of what is asked for.
    pub(super) fn key(&self) -> &'static str {
        if self.is_writable { "write" } else { "read" }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Below what may be asked for, at the place that goes with it; to write includes to read.
    pub(super) fn covers(&self, asked: &Self) -> bool {
        let below = asked.source.strip_prefix(&self.source).ok();
        let is_there = below.is_some_and(|rest| self.target.join(rest).components().eq(asked.target.components()));
        is_there && (self.is_writable || !asked.is_writable)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key(), self.text)
    }
}

impl FromStr for Resource {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = |why: String| ConfigError::Ask { text: text.into(), why };
        if text.len() > MAX_RESOURCE_BYTES {
            return Err(wrong(format!("at most {MAX_RESOURCE_BYTES} bytes")));
        }
        let pattern = |of: &str| of.parse().map_err(|error| ConfigError::Pattern { text: text.into(), error });
        let topics = |of: &str| of.parse().map_err(|error| ConfigError::Topic { text: text.into(), error });
        match text.split_once(' ') {
            Some(("send", names)) => Ok(Self::Reach(Way::Send, pattern(names)?)),
            Some(("link", names)) => Ok(Self::Reach(Way::Link, pattern(names)?)),
            Some(("memory", bytes)) => quantity::bytes(bytes).map(Self::Memory).map_err(wrong),
            Some(("cpu", processors)) => quantity::processors(processors).map(Self::Cpu).map_err(wrong),
            Some(("network", place)) => place.parse().map(Self::Network).map_err(wrong),
            Some(("read", path)) => HostPath::new(path, false).map(Self::Path),
            Some(("write", path)) => HostPath::new(path, true).map(Self::Path),
            Some(("publish", names)) if names.starts_with("strait.") => {
                Err(wrong("topics that start with `strait.` belong to the system".into()))
            }
            Some(("publish", names)) => Ok(Self::Publish(topics(names)?)),
            Some(("subscribe", names)) => Ok(Self::Subscribe(topics(names)?)),
            _ => match text.parse() {
                Ok(Permission::Admin) => Err(wrong("`admin` is not for asking".into())),
                Ok(permission) => Ok(Self::Command(permission)),
                Err(ConfigError::Permission(_)) => Err(wrong(format!(
                    "there are `send NAME`, `link NAME`, `memory BYTES`, `cpu PROCESSORS`, `network HOST:PORT`, `read PATH`, `write PATH`, \
                     `publish TOPICS`, `subscribe TOPICS`, and what `may` takes: `{}`",
                    Permission::FORMS[..Permission::FORMS.len() - 1].join("`, `")
                ))),
                Err(other) => Err(other),
            },
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reach(way, to) => write!(f, "{} {to}", way.key()),
            Self::Command(permission) => permission.fmt(f),
            Self::Memory(bytes) => write!(f, "memory {}", quantity::bytes_text(*bytes)),
            Self::Cpu(permille) => write!(f, "cpu {}", f64::from(*permille) / 1000.0),
            Self::Network(place) => write!(f, "network {place}"),
            Self::Path(path) => path.fmt(f),
            Self::Publish(topics) => write!(f, "publish {topics}"),
            Self::Subscribe(topics) => write!(f, "subscribe {topics}"),
        }
    }
}
