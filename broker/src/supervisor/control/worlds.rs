//! Worlds that are started, stopped, waited for and taken apart, on request.

use super::super::Supervisor;
use super::super::entry::{Entry, Nature, Order, State};
use super::names::parse;
use crate::config::World;
use crate::link::Command;
use crate::policy::{Permission, Way};
use std::time::Duration;
use strait_protocol::control::{Answer, MAX_REASON_BYTES};
use strait_protocol::{Header, Pattern, WorldId};

impl Supervisor {
    pub(super) fn start(&mut self, asker: &Header, template: &str, name: Option<&str>) -> Result<(), String> {
        self.allow(asker, &Permission::Start(template.into()))?;
        let world = self.template(template)?;
        let is_admin = self.asker(asker).policy.is_admin();
        let name = match name {
            // Others may not take a name that somebody else is trusted under.
            Some(name) if is_admin || name == template || name.starts_with(&format!("{template}/")) => name.to_owned(),
            Some(name) => {
                return Err(format!("a world from `{template}` is named `{template}` or `{template}/…`, not `{name}`"));
            }
            None => format!("{template}/{}", self.number()),
        };
        let name = parse(&name)?;
        let (template, account) = (Some(template.to_owned()), self.account_of(asker));
        self.begin(Order { name, world, template, asked_by: Some(*asker), account }).map(drop)
    }

    /// What a template is, or which ones there are.
    pub(super) fn template(&self, name: &str) -> Result<World, String> {
        let all = &self.config.templates;
        all.get(name).cloned().ok_or_else(|| match all.is_empty() {
            true => format!("there is no template `{name}`: this broker's configuration has none"),
            false => {
                let known: Vec<&str> = all.keys().map(String::as_str).collect();
                format!("there is no template `{name}` (there are: {})", known.join(", "))
            }
        })
    }

    pub(super) fn spawn(&mut self, asker: &Header, specification: &str) -> Result<(), String> {
        self.allow_admin(asker)?;
        let (name, world): (String, World) = serde_json::from_str(specification).map_err(|error| error.to_string())?;
        let name = parse(&name)?;
        self.begin(Order { name, world, template: None, asked_by: Some(*asker), account: None }).map(drop)
    }

    pub(super) fn stop(&mut self, asker: &Header, name: &str, deadline_ms: u32, reason: &str) -> Result<(), String> {
        let target = self.find(asker, name, Permission::Stop)?;
        self.check_endable(target)?;
        self.begin_stop(target.id, Some(*asker), Duration::from_millis(deadline_ms.into()), reason);
        Ok(())
    }

    pub(super) fn kill_named(&mut self, asker: &Header, name: &str, reason: &str) -> Result<(), String> {
        let target = self.find(asker, name, Permission::Kill)?;
        self.check_endable(target)?;
        if target.state == State::Asleep {
            return Err(format!("`{name}` sleeps: there is nothing to kill; `strait rm {name}` makes it unknown"));
        }
        let (id, reason) = (target.id, reason.chars().take(MAX_REASON_BYTES / 4).collect::<String>());
        if let Some(target) = self.worlds.get_mut(&id) {
            target.add_waiter(*asker);
        }
        self.kill(id, &format!("killed by {}: {reason}", self.asker(asker).name.clone()));
        Ok(())
    }

    /// A world that sleeps is gone at once, one that runs when it has ended.
    pub(super) fn remove(&mut self, asker: &Header, name: &str, deadline_ms: u32, reason: &str) -> Result<(), String> {
        let target = self.find(asker, name, Permission::Kill)?;
        self.check_endable(target)?;
        self.check_not_replaced(target)?;
        let (id, sleeps) = (target.id, target.state == State::Asleep);
        let Some(target) = self.worlds.get_mut(&id) else { return Ok(()) };
        if sleeps {
            target.add_waiter(*asker);
            self.forget_sleeper(id, "slept, and was removed");
            return Ok(());
        }
        // Without a next life.
        target.rest = None;
        self.begin_stop(id, Some(*asker), Duration::from_millis(deadline_ms.into()), reason);
        Ok(())
    }

    /// The broker's own parts end with it, and it ends with the program that runs it.
    fn check_endable(&self, target: &Entry) -> Result<(), String> {
        match target.nature {
            Nature::Service => Err(format!("`{}` is part of the system", target.name)),
            _ if target.id == self.host => {
                Err(format!("`{}` runs this broker: end that program, or stop the other worlds", target.name))
            }
            _ => Ok(()),
        }
    }

    /// Whoever may start the template may have another one of it. To anybody else it doesn't matter whether there is such a world.
    pub(super) fn clone_named(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let world = self.names.get(&parse(name)?).map(|id| &self.worlds[id]);
        match world.map(|world| world.template.clone()) {
            Some(Some(template)) => self.start(asker, &template, None),
            other => {
                self.allow_admin(asker)?;
                Err(match other {
                    None => format!("there is no world named `{name}`"),
                    Some(_) => {
                        format!("`{name}` is of no template: start another one with `strait spawn NAME -- COMMAND`")
                    }
                })
            }
        }
    }

    /// Who may stop a world, or started it, may wait for its end; so may whoever may send to it.
    pub(super) fn wait(&mut self, asker: &Header, id: WorldId) -> Result<(), String> {
        if let Some(ended) = self.history.iter().find(|ended| ended.id == id.0).cloned() {
            self.allow_admin(asker)?;
            self.answer(asker, &Answer::Ended(ended));
            return Ok(());
        }
        let target = self.worlds.get(&id).ok_or_else(|| format!("there is no world {id}"))?;
        if !self.asker(asker).policy.reach.covers(Way::Send, &target.name) {
            self.allow(asker, &Permission::Stop(Pattern::Exactly(target.name.clone())))?;
        }
        if let Some(target) = self.worlds.get_mut(&id) {
            target.add_waiter(*asker);
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, asker: &Header, one: u64, other: u64) -> Result<(), String> {
        self.allow_admin(asker)?;
        self.link
            .tell(&Command::Unlink { one, other }, &[])
            .map_err(|errno| format!("the switch can't be told: {errno}"))?;
        self.answer_when_done(asker, Answer::Done)
    }
}
