//! What TOML and serde can't know: names, patterns, permissions, paths and references, each mistake at its place.
//!
//! What is right is the broker's to say: [`Config::check`] judges, this only finds the text that it judged.

use super::Document;
use crate::mistake::Mistake;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use strait_broker::{Config, ConfigError, Permission, World};
use strait_jail::ProfileError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Entry<'t, 'i> = (&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

/// A key with its value.
pub fn entry<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<Entry<'t, 'i>> {
    table.iter().find(|(known, _)| known.get_ref() == key)
}

pub fn document(document: &Document, table: &DeTable<'_>) -> Result<(), Mistake> {
    absolute("socket", document.socket.as_ref())?;
    absolute("state", document.state.as_ref())?;
    uids(document, table)?;
    worlds("templates", &document.templates, document, table)?;
    worlds("worlds", &document.worlds, document, table)?;
    groups(document, table)?;
    attach(document, table)
}

/// The worlds of `start`, each known and named once.
pub fn start(names: &[Spanned<String>], worlds: &BTreeMap<String, World>) -> Result<Vec<String>, Mistake> {
    let mut seen = BTreeSet::new();
    for name in names {
        let text = name.get_ref();
        if !worlds.contains_key(text) {
            let mistake =
                Mistake::new(name.span(), format!("`start` names the world `{text}`, which isn't in [worlds]"));
            return Err(mistake.among(text, worlds.keys().map(String::as_str)));
        }
        if !seen.insert(text) {
            return Err(Mistake::new(name.span(), format!("`start` names the world `{text}` twice")));
        }
    }
    Ok(names.iter().map(|name| name.get_ref().clone()).collect())
}

/// Where the broker is started says nothing about where its things are.
fn absolute(key: &str, path: Option<&Spanned<PathBuf>>) -> Result<(), Mistake> {
    match path {
        Some(path) if !path.get_ref().is_absolute() => {
            let what = format!("`{key}`: {} isn't absolute", path.get_ref().display());
            Err(Mistake::new(path.span(), what))
        }
        _ => Ok(()),
    }
}

fn uids(document: &Document, table: &DeTable<'_>) -> Result<(), Mistake> {
    let alone = Config { uids: document.uids, ..Config::default() };
    alone.check().map_err(|error| {
        let span = entry(table, "uids").map_or(0..0, |(key, _)| key.span());
        Mistake::new(span, error.to_string())
    })
}

fn attach(document: &Document, table: &DeTable<'_>) -> Result<(), Mistake> {
    let Some((key, rules)) = entry(table, "attach") else { return Ok(()) };
    for (at, rule) in document.attach.iter().enumerate() {
        let value = rules.get_ref().as_array().and_then(|rules| rules.get(at));
        let section = Section { head: key.span(), table: value.and_then(|rule| rule.get_ref().as_table()) };
        let alone = Config { attach: vec![rule.clone()], ..Config::default() };
        alone.check().map_err(|error| section.mistake(&error))?;
        section.references(&rule.may, document)?;
    }
    Ok(())
}

/// Worlds and templates are the same to the broker's judgement.
fn worlds(of: &str, all: &BTreeMap<String, World>, document: &Document, table: &DeTable<'_>) -> Result<(), Mistake> {
    let Some((_, tables)) = entry(table, of) else { return Ok(()) };
    for (name, world) in all {
        let Some((key, value)) = tables.get_ref().as_table().and_then(|tables| entry(tables, name)) else { continue };
        let section = Section { head: key.span(), table: value.get_ref().as_table() };
        let alone = Config { templates: BTreeMap::from([(name.clone(), world.clone())]), ..Config::default() };
        alone.check().map_err(|error| section.mistake(&error))?;
        if of == "worlds" && name == "host" {
            return Err(Mistake::new(key.span(), "`host` is the name of `strait up` itself among the worlds"));
        }
        section.references(&world.may, document)?;
    }
    Ok(())
}

/// A group is judged together with the templates, one of which it names.
fn groups(document: &Document, table: &DeTable<'_>) -> Result<(), Mistake> {
    let Some((_, tables)) = entry(table, "groups") else { return Ok(()) };
    for (name, group) in &document.groups {
        let Some((key, value)) = tables.get_ref().as_table().and_then(|tables| entry(tables, name)) else { continue };
        let section = Section { head: key.span(), table: value.get_ref().as_table() };
        let (templates, groups) = (document.templates.clone(), BTreeMap::from([(name.clone(), group.clone())]));
        let alone = Config { templates, groups, ..Config::default() };
        alone.check().map_err(|error| match document.templates.contains_key(&group.template) {
            true => section.mistake(&error),
            false => section.mistake(&error).among(&group.template, document.templates.keys().map(String::as_str)),
        })?;
        if document.worlds.contains_key(name) {
            return Err(Mistake::new(
                key.span(),
                format!("`{name}` is a world of this file: a group needs a name of its own"),
            ));
        }
    }
    Ok(())
}

/// One table of the file: a world, a template, a rule, a group.
struct Section<'t, 'i> {
    /// Its name, or that of the array it is in.
    head: Range<usize>,
    table: Option<&'t DeTable<'i>>,
}

impl Section<'_, '_> {
    /// The broker's judgement at the text that it is about.
    fn mistake(&self, error: &ConfigError) -> Mistake {
        let span = match error {
            ConfigError::NoCommand => self.key("command"),
            ConfigError::Idle => self.key("idle"),
            ConfigError::Checkpoint => self.key("checkpoint"),
            ConfigError::Snapshots(_) => self.value("snapshots"),
            ConfigError::Slice(_) => self.value("slice"),
            ConfigError::Reach { key, .. } => self.key(key),
            ConfigError::Group { key, .. } => self.value(key),
            ConfigError::Pattern { text, .. }
            | ConfigError::Topic { text, .. }
            | ConfigError::Ask { text, .. }
            | ConfigError::Place { text, .. }
            | ConfigError::Sockets(text)
            | ConfigError::Permission(text)
            | ConfigError::Path(text) => self.text(text),
            ConfigError::Limit { name, .. } => self.limit(name),
            ConfigError::Profile(error) => self.text(error.name()),
            _ => None,
        };
        let mistake = Mistake::new(span.unwrap_or_else(|| self.head.clone()), error.to_string());
        match error {
            ConfigError::Permission(text) => {
                let verb = text.split(' ').next().unwrap_or_default();
                mistake.among(verb, Permission::FORMS)
            }
            ConfigError::Profile(ProfileError::Unknown(name)) => mistake.like(name, strait_jail::syscall_names()),
            _ => mistake,
        }
    }

    /// A permission to start a template that isn't there is of no use to anybody.
    fn references(&self, may: &[String], document: &Document) -> Result<(), Mistake> {
        for text in may {
            let Ok(Permission::Start(template)) = text.parse() else { continue };
            if !document.templates.contains_key(&template) {
                let span = self.text(text).unwrap_or_else(|| self.head.clone());
                let mistake = Mistake::new(span, format!("`{text}`: there is no template `{template}` in [templates]"));
                return Err(mistake.among(&template, document.templates.keys().map(String::as_str)));
            }
        }
        Ok(())
    }

    fn key(&self, key: &str) -> Option<Range<usize>> {
        Some(entry(self.table?, key)?.0.span())
    }

    fn value(&self, key: &str) -> Option<Range<usize>> {
        Some(entry(self.table?, key)?.1.span())
    }

    /// The value of a limit, in the table of limits.
    fn limit(&self, key: &str) -> Option<Range<usize>> {
        let (_, limits) = entry(self.table?, "limits")?;
        Some(entry(limits.get_ref().as_table()?, key)?.1.span())
    }

    /// Where this text stands, as a value or in a list.
    fn text(&self, text: &str) -> Option<Range<usize>> {
        const KEYS: [&str; 12] = [
            "name",
            "send",
            "link",
            "publish",
            "subscribe",
            "network",
            "may",
            "ask",
            "read",
            "write",
            "allow_syscalls",
            "deny_syscalls",
        ];
        let values = KEYS.iter().filter_map(|key| entry(self.table?, key).map(|(_, value)| value));
        let is_text = |value: &&Spanned<DeValue<'_>>| value.get_ref().as_str() == Some(text);
        let each = values.flat_map(|value| match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => vec![value],
        });
        each.into_iter().find(is_text).map(Spanned::span)
    }
}
