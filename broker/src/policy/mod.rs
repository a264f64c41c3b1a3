//! Policy: who may do what, decided in one place for the switch, the supervisor and `strait policy check`.
//!
//! ```text
//! send = ["db/*"]          whom it may send to                            Reach
//! link = ["x"]             whom it may be linked with, if that agrees     Reach
//! may = ["start worker"]   what it may ask the control service            Permission
//! read = ["/srv"]          which paths of the host it sees                Paths
//! network = ["a.com:443"] where in the network it may connect to               Places
//! publish = ["a.*"]        on which topics it may publish                  Feeds
//! subscribe = ["a.>"]      and to which it may subscribe                   Feeds
//! ask = ["memory 2 GiB"]   what it may ask to be granted beyond           Resource
//! role = "control"         it decides what is asked, and commands         Role
//! ```
//!
//! Each question has an answer with a reason: the [`Line`] that allows it, or the line that would. What was granted counts as
//! a line until it is revoked.

mod judge;
mod network;
mod paths;
mod permission;
mod reach;
mod resource;
#[cfg(test)]
mod tests;
mod topics;

pub use judge::{Judgement, judge};
pub(crate) use network::Place;
pub use permission::Permission;
pub(crate) use reach::{Reach, Way};
pub(crate) use resource::Resource;

use crate::config::{AttachRule, ConfigError, World, patterns};
use network::Places;
use paths::Paths;
use serde::{Deserialize, Serialize};
use std::fmt;
use strait_protocol::{Name, Pattern};
use topics::Feeds;

/// The name of the service that keeps states.
pub(crate) const STORE: &str = "strait.store";

/// What a world is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It is asked what worlds ask for, decides, and may command whatever `admin` may. One world at a time has it.
    Control,
}

/// Why something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// By a line of the configuration.
    Key { key: &'static str, value: String },
    /// By a grant.
    Grant { number: u64, what: String },
    /// By both of two worlds.
    Both(Box<Line>, Box<Line>),
    /// To everybody.
    Always(&'static str),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key: "role", value } => write!(f, "role = \"{value}\""),
            Self::Key { key, value } => write!(f, "{key} = [\"{value}\"]"),
            Self::Grant { number, what } => write!(f, "grant {number}: {what}"),
            Self::Both(one, other) => write!(f, "{one} here and {other} there"),
            Self::Always(why) => f.write_str(why),
        }
    }
}

/// A question's answer: the line that allows it, or what is missing.
pub(crate) type Verdict = Result<Line, Missing>;

/// What would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    /// As one would write it in the configuration, and whether it may be asked for.
    #[error("policy doesn't let you: it takes `{line}`{}", if *.may_ask { ", which you may ask for" } else { "" })]
    Line { line: String, may_ask: bool },
    /// No line does.
    #[error("policy lets nobody: {0}")]
    Never(&'static str),
}

/// What one world, or host program, may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub(crate) reach: Reach,
    may: Vec<Permission>,
    paths: Paths,
    places: Places,
    feeds: Feeds,
    /// With the numbers of their grants.
    granted: Vec<(u64, Permission)>,
    ask: Vec<Resource>,
    pub(crate) role: Option<Role>,
}

impl Policy {
    pub(crate) fn new(send: &[String], link: &[String], may: &[String], ask: &[String]) -> Result<Self, ConfigError> {
        Ok(Self {
            reach: Reach::new(patterns(send)?, patterns(link)?),
            may: may.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            granted: Vec::new(),
            ask: ask.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            paths: Paths::default(),
            places: Places::default(),
            feeds: Feeds::default(),
            role: None,
        })
    }

    /// What a configuration says of a world.
    pub fn of_world(world: &World) -> Result<Self, ConfigError> {
        let feeds = Feeds::new(&world.publish, &world.subscribe)?;
        // Whoever may save has to reach who keeps it.
        let store = (world.snapshots > 0).then(|| STORE.to_owned());
        let send: Vec<String> = world.send.iter().cloned().chain(store).collect();
        let (paths, places) = (Paths::of_world(world), Places::new(&world.network)?);
        Ok(Self { role: world.role, paths, places, feeds, ..Self::new(&send, &world.link, &world.may, &world.ask)? })
    }

    /// What a configuration says of host programs that attach.
    pub fn of_rule(rule: &AttachRule) -> Result<Self, ConfigError> {
        let feeds = Feeds::new(&rule.publish, &rule.subscribe)?;
        Ok(Self { feeds, ..Self::new(&rule.send, &rule.link, &rule.may, &rule.ask)? })
    }

    /// Whether it may have the control service do something.
    pub(crate) fn command(&self, asked: &Permission) -> Verdict {
        if self.role == Some(Role::Control) {
            return Ok(Line::Key { key: "role", value: "control".into() });
        }
        if let Some(line) = self.may.iter().find(|line| line.covers(asked)) {
            return Ok(Line::Key { key: "may", value: line.to_string() });
        }
        match self.granted.iter().find(|(_, line)| line.covers(asked)) {
            Some((number, line)) => Ok(Line::Grant { number: *number, what: line.to_string() }),
            None => Err(self.missing("may", &asked.to_string(), &Resource::Command(asked.clone()))),
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.command(&Permission::Admin).is_ok()
    }

    /// Its lines, as one would write them in a configuration.
    pub fn lines(&self) -> Vec<String> {
        let key = |key, value: &dyn fmt::Display| Line::Key { key, value: value.to_string() };
        let reach = [Way::Send, Way::Link].into_iter().flat_map(|way| self.reach.lines(way));
        let may = self.may.iter().map(|line| key("may", line));
        let ask = self.ask.iter().map(|line| key("ask", line));
        let role = self.role.iter().map(|Role::Control| key("role", &"control"));
        let granted = self.granted.iter().map(|(number, line)| Line::Grant { number: *number, what: line.to_string() });
        reach
            .chain(may)
            .chain(granted)
            .chain(self.paths.lines())
            .chain(self.places.lines())
            .chain(self.feeds.lines())
            .chain(ask)
            .chain(role)
            .map(|line| line.to_string())
            .collect()
    }

    /// Whether it may be told that a world of this name is there: if it may send to it, be linked with it for its part, or
    /// ask everything.
    pub(crate) fn resolve(&self, name: &Name) -> Verdict {
        let reach = self.reach.line(Way::Send, name).or_else(|| self.reach.line(Way::Link, name));
        match (reach, self.command(&Permission::Admin)) {
            (Some(line), _) | (None, Ok(line)) => Ok(line),
            (None, Err(_)) => Err(self.unreached(name)),
        }
    }

    /// Whether what it sends gets to another world: by its own lines, or because both agree to a link.
    pub(crate) fn send(&self, own: &Name, to: &Name, other: Option<&Self>) -> Verdict {
        if own == to {
            return Err(Missing::Never("no world sends to itself"));
        }
        if to.as_str() == "strait.control" {
            return Ok(Line::Always("everybody may send to it"));
        }
        let linked = || self.link(own, to, other).ok();
        self.reach.line(Way::Send, to).or_else(linked).ok_or_else(|| self.unreached(to))
    }

    /// Whether it and another world may have a direct link. Both must name the other.
    pub(crate) fn link(&self, own: &Name, to: &Name, other: Option<&Self>) -> Verdict {
        let Some(here) = self.reach.line(Way::Link, to) else {
            return Err(self.missing("link", to.as_str(), &Resource::Reach(Way::Link, Pattern::Exactly(to.clone()))));
        };
        match other.and_then(|other| other.reach.line(Way::Link, own)) {
            Some(there) => Ok(Line::Both(here.into(), there.into())),
            None => Err(Missing::Line { line: format!("link = [\"{own}\"]` of `{to}"), may_ask: false }),
        }
    }

    /// Whether it may ask for something.
    pub(crate) fn ask(&self, asked: &Resource) -> Verdict {
        match self.ask.iter().find(|line| line.covers(asked)) {
            Some(line) => Ok(Line::Key { key: "ask", value: line.to_string() }),
            None => Err(Missing::Line { line: format!("ask = [\"{asked}\"]"), may_ask: false }),
        }
    }

    /// Whether it can come to have links.
    pub(crate) fn may_come_to_link(&self) -> bool {
        self.reach.configured(Way::Link).next().is_some()
            || self.ask.iter().any(|line| matches!(line, Resource::Reach(Way::Link, _)))
    }

    /// Adds what was granted, where it is a line of policy.
    pub(crate) fn grant(&mut self, number: u64, resource: &Resource) {
        match resource {
            Resource::Reach(way, to) => self.reach.permit(number, *way, to.clone()),
            Resource::Command(permission) => self.granted.push((number, permission.clone())),
            Resource::Path(path) => self.paths.grant(number, path.clone()),
            Resource::Publish(topics) => self.feeds.permit_publishing(number, topics.clone()),
            Resource::Subscribe(topics) => self.feeds.permit_subscribing(number, topics.clone()),
            Resource::Network(place) => self.places.grant(number, place.clone()),
            Resource::Memory(_) | Resource::Cpu(_) => {}
        }
    }

    pub(crate) fn revoke(&mut self, number: u64) {
        self.reach.revoke(number);
        self.paths.revoke(number);
        self.places.revoke(number);
        self.feeds.revoke(number);
        self.granted.retain(|(other, _)| *other != number);
    }

    /// The line by which it has what it could ask for, if it has it all already.
    pub(crate) fn has(&self, resource: &Resource) -> Option<Line> {
        match resource {
            Resource::Reach(way, names) => self.reach.including(*way, names),
            Resource::Command(permission) => self.command(permission).ok(),
            Resource::Path(path) => self.paths.line(path),
            Resource::Publish(topics) => self.publish_all(topics),
            Resource::Subscribe(topics) => self.subscribe(topics).ok(),
            Resource::Network(place) => self.places.line(place),
            Resource::Memory(_) | Resource::Cpu(_) => None,
        }
    }

    fn unreached(&self, name: &Name) -> Missing {
        self.missing("send", name.as_str(), &Resource::Reach(Way::Send, Pattern::Exactly(name.clone())))
    }

    fn missing(&self, key: &str, value: &str, resource: &Resource) -> Missing {
        Missing::Line { line: format!("{key} = [\"{value}\"]"), may_ask: self.ask(resource).is_ok() }
    }
}
