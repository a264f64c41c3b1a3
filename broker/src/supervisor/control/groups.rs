//! Which groups there are, for those who may see which worlds there are.

use super::super::Supervisor;
use crate::policy::Permission;
use strait_protocol::Header;

impl Supervisor {
    pub(super) fn groups(&mut self, asker: &Header) -> Result<(), String> {
        self.allow(asker, &Permission::List)?;
        self.begin_report(asker)
    }
}
