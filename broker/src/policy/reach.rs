//! Whom a world may send to, and be linked with: by the lines of its policy, and by what it was granted. Switch and supervisor each have
//! one for every world.

use super::Line;
use strait_protocol::{Name, NameError, Pattern, WorldId};

/// By which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Way {
    /// Records through the switch.
    Send,
    /// A direct link, and with it records.
    Link,
}

impl Way {
    /// The key in a configuration, and the verb of what is asked for.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Link => "link",
        }
    }
}

/// One way to some worlds. Without a grant's number it is there for good.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Opening {
    grant: Option<u64>,
    way: Way,
    to: Pattern,
}

impl Opening {
    fn line(&self) -> Line {
        match self.grant {
            Some(number) => Line::Grant { number, what: format!("{} {}", self.way.key(), self.to) },
            None => Line::Key { key: self.way.key(), value: self.to.to_string() },
        }
    }
}

/// Whom a world may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach(Vec<Opening>);

impl Reach {
    pub(crate) fn new(send: Vec<Pattern>, link: Vec<Pattern>) -> Self {
        let by = |way| move |to| Opening { grant: None, way, to };
        Self(send.into_iter().map(by(Way::Send)).chain(link.into_iter().map(by(Way::Link))).collect())
    }

    /// The same from text.
    pub(crate) fn parse(send: &[String], link: &[String]) -> Result<Self, NameError> {
        let all = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        Ok(Self::new(all(send)?, all(link)?))
    }

    pub(crate) fn permit(&mut self, grant: u64, way: Way, to: Pattern) {
        self.0.push(Opening { grant: Some(grant), way, to });
    }

    pub(crate) fn revoke(&mut self, grant: u64) {
        self.0.retain(|opening| opening.grant != Some(grant));
    }

    /// The patterns of a way that are there for good.
    pub(crate) fn configured(&self, way: Way) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter(move |opening| opening.grant.is_none() && opening.way == way).map(|opening| &opening.to)
    }

    /// All lines of a way.
    pub(crate) fn lines(&self, way: Way) -> impl Iterator<Item = Line> {
        self.0.iter().filter(move |opening| opening.way == way).map(Opening::line)
    }

    /// The line, or grant, by which a name is within reach by this way.
    pub(crate) fn line(&self, way: Way, name: &Name) -> Option<Line> {
        let covers = |opening: &&Opening| opening.way == way && opening.to.covers(name);
        self.0.iter().find(covers).map(Opening::line)
    }

    /// The line, or grant, by which all of these names are within reach.
    pub(crate) fn including(&self, way: Way, names: &Pattern) -> Option<Line> {
        self.0.iter().find(|opening| opening.way == way && opening.to.includes(names)).map(Opening::line)
    }

    /// Whether this world may send to a world of that name. Everyone may ask the control service, which judges for itself.
    pub(crate) fn sends_to(&self, id: WorldId, name: &Name) -> bool {
        id == WorldId::CONTROL || self.covers(Way::Send, name)
    }

    pub(crate) fn covers(&self, way: Way, name: &Name) -> bool {
        self.0.iter().any(|opening| opening.way == way && opening.to.covers(name))
    }
}
