//! Who may do what, and why.

use super::super::Supervisor;
use super::names::parse;
use crate::policy::{Judgement, Permission, Policy, judge};
use strait_protocol::control::Answer;
use strait_protocol::{Header, Name};

impl Supervisor {
    pub(super) fn judge_policy(&mut self, asker: &Header, from: &str, what: &str) -> Result<(), String> {
        self.allow(asker, &Permission::Policy)?;
        let Judgement { is_allowed, why } = judge(from, what, |name| self.policy_of(name))?;
        self.answer(asker, &Answer::Judged { is_allowed, why });
        Ok(())
    }

    pub(super) fn show_policy(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        self.allow(asker, &Permission::Policy)?;
        let policy = self.policy_of(&parse(name)?);
        let policy = policy.ok_or_else(|| format!("there is no world named `{name}`, and nothing to make one of"))?;
        self.answer(asker, &Answer::Policy(policy.lines()));
        Ok(())
    }

    /// The policy of a world that is there, or of one that a template or rule of this name would make.
    fn policy_of(&self, name: &Name) -> Option<Policy> {
        match self.names.get(name) {
            Some(id) => Some(self.worlds[id].policy.clone()),
            None => self.config.policy_of(name),
        }
    }
}
