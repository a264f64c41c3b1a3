//! A group as a configuration names it: an address, and the worlds behind it.

use super::{ConfigError, Wake, World};
use crate::quantity::in_milliseconds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use strait_protocol::{Name, Pattern};

/// An address whose messages and requests go to whichever member has the least to do. Members are worlds of one template, started when
/// something waits and put away when nothing does; and every other world whose name the pattern covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The template of its members.
    pub template: String,
    /// Who belongs to it: the beginning of a name, with `*`. What it starts is named so. `GROUP/*` where nothing is given.
    #[serde(default)]
    pub members: Option<String>,
    /// How many are started at once and not put away.
    #[serde(default)]
    pub min: u32,
    /// How many it starts at most, up to 256.
    #[serde(default = "max")]
    pub max: u32,
    /// How long a member has nothing to do before it is put away. In a file: `idle = "30s"`.
    #[serde(default = "idle_ms", rename = "idle", with = "in_milliseconds")]
    pub idle_ms: u32,
    /// How many requests and messages a member has at once, up to 1024. One gives the best balance; more keeps a quick member from waiting for the next.
    #[serde(default = "outstanding")]
    pub outstanding: u32,
}

fn max() -> u32 {
    4
}
fn idle_ms() -> u32 {
    30_000
}
fn outstanding() -> u32 {
    1
}

impl Group {
    /// The most groups that a broker has.
    pub(crate) const MAX: usize = 64;

    /// A group of up to four worlds of this template.
    pub fn new(template: impl Into<String>) -> Self {
        let (max, idle_ms, outstanding) = (max(), idle_ms(), outstanding());
        Self { template: template.into(), members: None, min: 0, max, idle_ms, outstanding }
    }

    /// The names of its members, if it has this name.
    pub(crate) fn pattern(&self, name: &Name) -> Result<Pattern, ConfigError> {
        let text = self.members.clone().unwrap_or_else(|| format!("{name}/*"));
        match text.parse() {
            Ok(Pattern::StartsWith(start)) if !start.is_empty() && !start.starts_with("strait.") => {
                Ok(Pattern::StartsWith(start))
            }
            Ok(_) => Err(wrong("members", format!("`{text}` isn't the beginning of names, such as `{name}/*`"))),
            Err(error) => Err(ConfigError::Pattern { text, error }),
        }
    }

    /// Checks everything that can be checked without starting anything.
    pub(crate) fn check(&self, name: &str, templates: &BTreeMap<String, World>) -> Result<(), ConfigError> {
        let name: Name = name.parse().map_err(|error| ConfigError::Pattern { text: name.into(), error })?;
        if name.is_reserved() {
            return Err(ConfigError::Reserved(name.to_string()));
        }
        self.pattern(&name)?;
        if !templates.contains_key(&self.template) {
            let known = templates.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "there are none".into() } else { format!("there are: {known}") };
            return Err(wrong("template", format!("there is no template `{}` ({known})", self.template)));
        }
        match () {
            // A member that has ended is replaced, and one that then slept would be a world more each time.
            () if templates.get(&self.template).is_some_and(|world| world.wake == Wake::Message) => {
                Err(wrong("template", format!("`{}` has `wake = \"message\"`: members don't sleep", self.template)))
            }
            () if !(1..=256).contains(&self.max) => Err(wrong("max", format!("from 1 to 256, not {}", self.max))),
            () if self.min > self.max => Err(wrong("min", format!("{} is more than `max`, {}", self.min, self.max))),
            () if !(1..=1024).contains(&self.outstanding) => {
                Err(wrong("outstanding", format!("from 1 to 1024, not {}", self.outstanding)))
            }
            () => Ok(()),
        }
    }
}

fn wrong(key: &'static str, why: String) -> ConfigError {
    ConfigError::Group { key, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_do_not_sleep() {
        let mut world = World::new(["true"]);
        let check = |world: &World| Group::new("worker").check("pool", &[("worker".into(), world.clone())].into());
        assert!(check(&world).is_ok());
        world.wake = Wake::Message;
        assert!(check(&world).unwrap_err().to_string().contains("members don't sleep"));
    }
}
