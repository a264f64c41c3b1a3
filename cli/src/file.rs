//! The configuration file: read, checked as far as it can be without starting anything, and its mistakes located.

mod check;
#[cfg(test)]
mod tests;

use crate::failure::Failure;
use crate::mistake::Mistake;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use strait_broker::quantity::in_bytes;
use strait_broker::{AttachRule, Config, Group, Uids, Wake, World};
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

/// What a file asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub config: Config,
    /// The worlds to start, in this order.
    pub worlds: Vec<(String, World)>,
    /// Those of the others that a message starts.
    pub asleep: Vec<(String, World)>,
    /// The worlds that `start` leaves out, and nothing starts.
    pub idle: Vec<String>,
}

impl Plan {
    /// What the file says of a world that runs under this name: `worker/3` is made from the template `worker`.
    pub fn world(&self, name: &str) -> Option<&World> {
        let template = name.split('/').next().unwrap_or(name);
        let named = self.worlds.iter().chain(&self.asleep).find(|(known, _)| known == name).map(|(_, world)| world);
        let of_group = || name.parse().ok().and_then(|name| self.config.template_of(&name));
        named.or_else(of_group).or_else(|| self.config.templates.get(template))
    }
}

/// The file's own form. Everything in it but the list of worlds is the broker's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    socket: Option<Spanned<PathBuf>>,
    start: Option<Vec<Spanned<String>>>,
    attach: Vec<AttachRule>,
    uids: Uids,
    state: Option<Spanned<PathBuf>>,
    #[serde(deserialize_with = "in_bytes::optional")]
    state_bytes: Option<u64>,
    starts: Option<usize>,
    templates: BTreeMap<String, World>,
    groups: BTreeMap<String, Group>,
    worlds: BTreeMap<String, World>,
}

/// Reads a file; a failure says where in it the mistake is.
pub fn read(path: &Path) -> Result<Plan, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).hint("`strait up --help` has one to begin with")
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text),
        Err(error) => Err(Mistake::new(
            error.valid_up_to()..error.valid_up_to() + 1,
            "a configuration is UTF-8, and this byte isn't",
        )),
    };
    parsed.map_err(|mistake| mistake.in_file(path, &text))
}

/// Reads the text of a file.
pub fn parse(text: &str) -> Result<Plan, Mistake> {
    let located = |error: &toml::de::Error| Mistake::from_toml(error, text);
    let table = DeTable::parse(text).map_err(|error| located(&error))?;
    let document = Document::deserialize(Deserializer::from(table.clone())).map_err(|error| located(&error))?;
    check::document(&document, table.get_ref())?;
    let order = order(&document, table.get_ref())?;
    Ok(plan(document, &order))
}

/// The names of the worlds to start: as `start` says, or as they stand in the file.
fn order(document: &Document, table: &DeTable<'_>) -> Result<Vec<String>, Mistake> {
    match &document.start {
        Some(names) => check::start(names, &document.worlds),
        None => {
            let worlds = check::entry(table, "worlds").and_then(|(_, worlds)| worlds.get_ref().as_table());
            let mut keys: Vec<_> = worlds.into_iter().flatten().map(|(key, _)| key).collect();
            keys.sort_by_key(|key| key.span().start);
            Ok(keys.into_iter().map(|key| key.get_ref().to_string()).collect())
        }
    }
}

fn plan(document: Document, order: &[String]) -> Plan {
    let Document { socket, attach, uids, state, state_bytes, starts, templates, groups, mut worlds, .. } = document;
    let (socket, state) = (socket.map(Spanned::into_inner), state.map(Spanned::into_inner));
    let default = Config::default();
    let state_bytes = state_bytes.unwrap_or(default.state_bytes);
    let starts = starts.unwrap_or(default.starts);
    let config = Config { socket, attach, templates, groups, uids, state, state_bytes, starts, ..default };
    let started = order.iter().filter_map(|name| worlds.remove_entry(name)).collect();
    let (asleep, idle): (Vec<_>, Vec<_>) = worlds.into_iter().partition(|(_, world)| world.wake == Wake::Message);
    Plan { config, worlds: started, asleep, idle: idle.into_iter().map(|(name, _)| name).collect() }
}
