//! `strait metrics`: the counters in the text format of Prometheus, once or over HTTP on a Unix socket.

mod http;

use crate::args::Metrics;
use crate::failure::Failure;
use crate::{Outcome, socket, text};
use std::fmt::Write;
use strait_broker::{Client, Counters, WorldRow};

/// A name, what it is, whether it only grows, and where it is among the counters.
type Family = (&'static str, &'static str, &'static str, fn(&Counters) -> u64);

const FAMILIES: [Family; 21] = [
    ("sent_records_total", "counter", "Records that the switch took from the world", |c| c.sent),
    ("sent_bytes_total", "counter", "Bytes of ring that these took", |c| c.sent_bytes),
    ("received_records_total", "counter", "Records that were put into its inbox", |c| c.received),
    ("received_bytes_total", "counter", "Bytes of ring that these took", |c| c.received_bytes),
    ("denied_records_total", "counter", "Records that policy refused it", |c| c.denied),
    ("returned_records_total", "counter", "Records of it that went nowhere for another reason", |c| c.returned),
    ("waits_total", "counter", "Times that it had to wait for the room of a receiver", |c| c.waits),
    ("wakeups_total", "counter", "Times that the switch woke it", |c| c.wakeups),
    ("rings_total", "counter", "Times that it woke the switch", |c| c.rings),
    ("linked_bytes_total", "counter", "Bytes that it says it has written to direct links", |c| c.linked_bytes),
    ("unread_bytes", "gauge", "Bytes in its inbox that it hasn't given back", |c| c.unread_bytes),
    ("untaken_bytes", "gauge", "Bytes that it has published and the switch hasn't taken", |c| c.untaken_bytes),
    ("held_records", "gauge", "Records held for it, outside its full inbox", |c| c.held_records),
    ("held_bytes", "gauge", "Bytes held for others on its account", |c| c.held_bytes),
    ("budget_bytes", "gauge", "How many of these there may be", |c| c.budget_bytes),
    ("open_requests", "gauge", "Its requests that wait for an answer", |c| c.open_requests),
    ("owed_replies", "gauge", "Requests of others that it hasn't answered", |c| c.owed_replies),
    ("waiters", "gauge", "Worlds that wait for its room", |c| c.waiters),
    ("parcels", "gauge", "Parcels that it holds", |c| c.parcels),
    ("parcel_bytes", "gauge", "Bytes of these", |c| c.parcel_bytes),
    ("links", "gauge", "Direct links that it has", |c| c.links),
];

pub fn metrics(args: &Metrics) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    match &args.listen {
        Some(path) => http::serve(path, || page(&mut client)),
        None => text::print(page(&mut client)?.as_bytes()),
    }
}

fn page(client: &mut Client) -> Result<String, Failure> {
    let own = client.id().0;
    let rows: Vec<WorldRow> = client.list()?.into_iter().filter(|row| row.id != own).collect();
    while client.try_receive()?.is_some() {}
    Ok(written(&rows))
}

fn written(rows: &[WorldRow]) -> String {
    let mut page = String::new();
    family(&mut page, rows, "age_seconds", "gauge", "How long ago the world was started", |row| row.age_ms / 1000);
    for (name, kind, help, of) in FAMILIES {
        family(&mut page, rows, name, kind, help, |row| of(&row.counters));
    }
    page
}

/// Names and states have no character that would have to be escaped in a label.
fn family(page: &mut String, rows: &[WorldRow], name: &str, kind: &str, help: &str, of: impl Fn(&WorldRow) -> u64) {
    // Writing to a string can't fail.
    let _ = write!(page, "# HELP strait_{name} {help}.\n# TYPE strait_{name} {kind}\n");
    for row in rows {
        let _ = writeln!(page, "strait_{name}{{world=\"{}\",id=\"{}\"}} {}", row.name, row.id, of(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_world_is_a_line_of_each_family() {
        let row = |id, name: &str| WorldRow {
            id,
            name: name.into(),
            state: "ready".into(),
            pid: 1,
            uid: 1,
            age_ms: 5999,
            clone_of: String::new(),
            counters: Counters { sent: 7, ..Counters::default() },
        };
        let page = written(&[row(16, "a"), row(17, "b/1")]);
        let first = "# HELP strait_age_seconds How long ago the world was started.\n# TYPE strait_age_seconds gauge\n\
                     strait_age_seconds{world=\"a\",id=\"16\"} 5\nstrait_age_seconds{world=\"b/1\",id=\"17\"} 5\n";
        assert!(page.starts_with(first), "{page}");
        assert!(page.contains("\nstrait_sent_records_total{world=\"a\",id=\"16\"} 7\n"), "{page}");
        assert_eq!(page.lines().count(), (FAMILIES.len() + 1) * 4);
    }

    #[test]
    fn names_are_said_once_and_what_grows_is_a_total() {
        let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.0).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for (name, kind, ..) in FAMILIES {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
    }
}
