//! What is asked for and granted: who may decide.

use super::super::Supervisor;
use crate::policy::Permission;
use strait_protocol::Header;
use strait_protocol::control::Decision;

impl Supervisor {
    pub(super) fn show_questions(&mut self, asker: &Header, from: u64) -> Result<(), String> {
        self.allow(asker, &Permission::Grant)?;
        self.list_questions(asker, from);
        Ok(())
    }

    pub(super) fn show_grants(&mut self, asker: &Header, from: u64) -> Result<(), String> {
        self.allow(asker, &Permission::Grant)?;
        self.list_grants(asker, from);
        Ok(())
    }

    pub(super) fn decide_question(&mut self, asker: &Header, number: u64, decision: Decision) -> Result<(), String> {
        self.allow(asker, &Permission::Grant)?;
        self.decide(asker, number, decision)
    }

    /// Who holds a grant may give it up.
    pub(super) fn revoke_grant(&mut self, asker: &Header, number: u64) -> Result<(), String> {
        if !self.holds_grant(asker.source, number) {
            self.allow(asker, &Permission::Grant)?;
        }
        self.revoke(asker, number)
    }
}
