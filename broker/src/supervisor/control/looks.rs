//! What is there: lists with the switch's counters, and jail reports.

use super::super::Supervisor;
use super::super::entry::{Entry, State};
use super::super::journal::lines_from;
use crate::link::{Command, Count};
use crate::policy::Permission;
use strait_protocol::control::{Answer, MAX_WORLDS_PER_ANSWER, WorldRow};
use strait_protocol::{Counters, Header, Pattern, WorldId};

/// Lists that may wait for the switch's counters: so few that questions and answers always fit into the link, and neither side of it
/// waits for the other.
const MAX_COUNTS: usize = 16;

impl Supervisor {
    pub(super) fn inspect(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let target = self.find(asker, name, Permission::Inspect)?;
        let report = report(target, self.granted_paths(target.id))?;
        self.answer(asker, &Answer::Report(report));
        Ok(())
    }

    pub(super) fn list(&mut self, asker: &Header, from: u64, limit: u32) -> Result<(), String> {
        self.allow(asker, &Permission::List)?;
        if self.counts.len() >= MAX_COUNTS {
            return Err("too many lists are being made: try again".into());
        }
        let limit = limit.clamp(1, MAX_WORLDS_PER_ANSWER) as usize;
        let rows: Vec<WorldRow> =
            self.worlds.range(WorldId(from)..).take(limit + 1).map(|(_, entry)| row(entry)).collect();
        let (more, rows) = (rows.len() > limit, rows.into_iter().take(limit).collect::<Vec<_>>());
        let ticket = self.number();
        let ids = rows.iter().map(|row| row.id).collect();
        self.link
            .tell(&Command::Count { ticket, ids }, &[])
            .map_err(|errno| format!("the switch can't be asked: {errno}"))?;
        self.counts.insert(ticket, (*asker, rows, more));
        Ok(())
    }

    /// What happened, and what those worlds printed that the asker may look into.
    pub(super) fn log(&mut self, asker: &Header, from: u64) -> Result<(), String> {
        self.allow(asker, &Permission::List)?;
        let may_see = |name: &str| {
            name.parse().is_ok_and(|name| self.allow(asker, &Permission::Inspect(Pattern::Exactly(name))).is_ok())
        };
        let lines = lines_from(from, may_see);
        self.answer(asker, &Answer::Log(lines));
        Ok(())
    }

    pub(in super::super) fn answer_counted(&mut self, ticket: u64, counts: &[Count]) {
        let Some((asker, mut worlds, more)) = self.counts.remove(&ticket) else { return };
        for row in &mut worlds {
            if let Some(count) = counts.iter().find(|count| count.id == row.id) {
                row.counters = count.counters;
            }
        }
        self.answer(&asker, &Answer::Worlds { worlds, more });
    }
}

fn report(target: &Entry, granted: Vec<String>) -> Result<String, String> {
    let process = target.process.as_ref().filter(|_| target.state > State::Starting);
    let process = process.ok_or_else(|| format!("`{}` has no jail to look into", target.name))?;
    let report = process.report().map_err(|error| error.to_string())?;
    let mut report = serde_json::to_value(&report).map_err(|error| error.to_string())?;
    report["clone_of"] = target.clone_of().into();
    report["granted"] = granted.into();
    Ok(report.to_string())
}

fn row(entry: &Entry) -> WorldRow {
    WorldRow {
        id: entry.id.0,
        name: entry.name.to_string(),
        state: entry.state_text().into(),
        pid: entry.pid,
        uid: entry.uid,
        age_ms: entry.started.elapsed().as_millis() as u64,
        clone_of: entry.clone_of().into(),
        counters: Counters::default(),
    }
}
