//! Who is who: names become ids, for those who may use them.

use super::super::Supervisor;
use super::super::entry::Entry;
use super::super::rest::Rest;
use crate::policy::Permission;
use strait_protocol::control::Answer;
use strait_protocol::{Header, Name, Pattern};

impl Supervisor {
    /// The world of this name, if the asker's permissions cover the name. Judged before it is looked for: to anybody else a world that exists
    /// looks like one that doesn't.
    pub(super) fn find(
        &self,
        asker: &Header,
        name: &str,
        what: impl Fn(Pattern) -> Permission,
    ) -> Result<&Entry, String> {
        let name = parse(name)?;
        self.allow(asker, &what(Pattern::Exactly(name.clone())))?;
        self.named(&name)
    }

    pub(super) fn named(&self, name: &Name) -> Result<&Entry, String> {
        let id = self.names.get(name).ok_or_else(|| match self.pools.named(name) {
            Some(_) => format!("`{name}` is a group: `strait groups` lists its members, which are worlds"),
            None => format!("there is no world named `{name}`"),
        })?;
        Ok(&self.worlds[id])
    }

    /// The same, unless its last starts have failed: who asks now is told why, and may send to it when the pause is over.
    pub(super) fn awake_or_willing(&self, name: &Name) -> Result<&Entry, String> {
        let target = self.named(name)?;
        match target.rest.as_ref().and_then(Rest::refusal) {
            Some(why) => Err(format!("`{name}` can't be started: {why}; `strait wake {name}` tries it anew")),
            None => Ok(target),
        }
    }

    /// Names are told only to those who may use them.
    pub(super) fn resolve(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let parsed = parse(name)?;
        self.asker(asker).policy.resolve(&parsed).map_err(|missing| missing.to_string())?;
        let id = match self.pools.named(&parsed) {
            Some(group) => group,
            None => self.awake_or_willing(&parsed)?.id,
        };
        self.answer(asker, &Answer::World { id: id.0, name: name.into() });
        Ok(())
    }
}

pub(super) fn parse(name: &str) -> Result<Name, String> {
    name.parse().map_err(|error| format!("`{name}`: {error}"))
}
