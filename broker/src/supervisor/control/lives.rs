//! Worlds that sleep and wake, on request; and the end of all waking.

use super::super::Supervisor;
use super::super::entry::{Nature, Order, State};
use super::super::heirs::{Farewell, Heir};
use super::names::parse;
use crate::config::World;
use crate::policy::Permission;
use strait_protocol::Header;
use strait_protocol::control::{Answer, Wanted};

impl Supervisor {
    pub(super) fn define_asleep(&mut self, asker: &Header, specification: &str) -> Result<(), String> {
        self.allow_admin(asker)?;
        let (name, world): (String, World) = serde_json::from_str(specification).map_err(|error| error.to_string())?;
        let name = parse(&name)?;
        self.define(Order { name, world, template: None, asked_by: Some(*asker), account: None }).map(drop)
    }

    /// Whoever may send to a world may wake it: a message does. But for who may everything, one that failed is tried anew only after its pause.
    pub(super) fn wake(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let parsed = parse(name)?;
        self.asker(asker).policy.resolve(&parsed).map_err(|missing| missing.to_string())?;
        if self.is_closing {
            return Err("the broker is about to end, and wakes nothing any more".into());
        }
        let is_admin = self.asker(asker).policy.is_admin();
        let target = if is_admin { self.named(&parsed) } else { self.awake_or_willing(&parsed) }?;
        let (id, sleeps) = (target.id, target.state == State::Asleep);
        // One is told what comes of it, and nobody takes that from who may everything; the others, that it was woken.
        let told_now = match self.worlds.get_mut(&id).filter(|it| sleeps && (is_admin || it.asked_by.is_none())) {
            Some(sleeper) => sleeper.asked_by.replace(*asker),
            None => Some(*asker),
        };
        if let Some(asker) = told_now {
            self.answer(&asker, &Answer::World { id: id.0, name: name.into() });
        }
        self.rouse(id, is_admin);
        Ok(())
    }

    pub(super) fn upgrade(
        &mut self,
        asker: &Header,
        name: &str,
        (template, specification): (Option<String>, &str),
        beside: bool,
        farewell: Farewell,
    ) -> Result<(), String> {
        self.allow_admin(asker)?;
        let target = self.named(&parse(name)?)?;
        if target.nature != Nature::Jailed {
            return Err(format!("`{name}` is no world in a jail: who started it replaces it"));
        }
        let (id, sleeps) = (target.id, target.state == State::Asleep);
        let world = match &template {
            Some(template) => self.template(template)?,
            None => serde_json::from_str::<(String, World)>(specification).map_err(|error| error.to_string())?.1,
        };
        let heir = Heir { world, template, asked_by: Some(*asker), notice: Wanted::Upgrade };
        match beside && !sleeps {
            true => self.begin_beside(id, heir, farewell),
            false => self.begin_upgrade(id, heir, &farewell),
        }
    }

    pub(super) fn restart(&mut self, asker: &Header, name: &str, farewell: &Farewell) -> Result<(), String> {
        let target = self.find(asker, name, Permission::Stop)?;
        if self.is_closing {
            return Err("the broker is about to end, and starts nothing any more".into());
        }
        self.begin_anew(target.id, Some(*asker), farewell)
    }

    pub(super) fn close(&mut self, asker: &Header) -> Result<(), String> {
        self.allow_admin(asker)?;
        self.is_closing = true;
        self.answer(asker, &Answer::Done);
        Ok(())
    }
}
