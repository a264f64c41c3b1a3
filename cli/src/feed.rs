//! What a tap sees, with the names of those concerned.

use crate::failure::Failure;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};
use strait_broker::{Client, Error, Fate, Header, Sight, WorldId};
use strait_protocol::RawHeader;

/// Time between two lists at least: what comes from one that is not known waits so long for its name.
const LIST_AGAIN: Duration = Duration::from_millis(20);
/// Names of worlds that are gone are kept, for what is still to be told of them, up to so many.
const MAX_NAMES: usize = 16 * 1024;

/// One record that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub header: Header,
    /// Since the tap began.
    pub at: Duration,
    pub fate: Fate,
    pub payload: Vec<u8>,
}

/// What was seen together.
#[derive(Debug, Default)]
pub struct Batch {
    pub seen: Vec<Seen>,
    /// Records since the batch before that there was no place for.
    pub missed: u64,
}

/// A tap, and who is who.
pub struct Feed {
    client: Client,
    names: HashMap<u64, String>,
    listed: Instant,
    /// The first line of the log that was not looked at.
    next_line: u64,
    began: SystemTime,
}

impl Feed {
    pub fn new(mut client: Client, pattern: &str, payload: bool) -> Result<Self, Failure> {
        client.tap(pattern, payload)?;
        let mut feed =
            Self { client, names: HashMap::new(), listed: Instant::now(), next_line: 0, began: SystemTime::now() };
        feed.list()?;
        Ok(feed)
    }

    /// What is seen next, or nothing when the time is over. The names of all of it are known then, as far as they can be.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Batch>, Failure> {
        let end = Instant::now() + timeout;
        let own = self.client.id();
        let batch = loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(record) = self.client.receive(Some(left))? else { return Ok(None) };
            // Whatever else somebody sends us is not for us.
            if let Some((sights, missed)) = record.sights() {
                let seen = |sight: Sight<'_>| Seen {
                    header: sight.header,
                    at: Duration::from_nanos(sight.at_ns),
                    fate: sight.fate,
                    payload: sight.payload.to_vec(),
                };
                // Nor what is said to find out names.
                let is_own = |seen: &Seen| [seen.header.source, seen.header.destination].contains(&own);
                let seen: Vec<Seen> = sights.map(seen).filter(|seen| !is_own(seen)).collect();
                if !seen.is_empty() || missed > 0 {
                    break Batch { seen, missed };
                }
            }
        };
        for topic in batch.seen.iter().filter_map(topic_of) {
            self.learn(topic)?;
        }
        let is_unknown = |id: WorldId| id != WorldId::SWITCH && !self.names.contains_key(&id.0);
        let both = |seen: &Seen| [seen.header.source, seen.header.destination];
        let unknown: Vec<WorldId> = batch.seen.iter().flat_map(both).filter(|id| is_unknown(*id)).collect();
        if !unknown.is_empty() {
            std::thread::sleep(LIST_AGAIN.saturating_sub(self.listed.elapsed()));
            self.list()?;
            // Who isn't found now has its id for a name, and isn't looked for again with each record.
            for id in unknown {
                self.names.entry(id.0).or_insert_with(|| id.to_string());
            }
        }
        Ok(Some(batch))
    }

    fn list(&mut self) -> Result<(), Failure> {
        if self.names.len() > MAX_NAMES {
            self.names.clear();
            self.next_line = 0;
        }
        self.listed = Instant::now();
        match self.ask() {
            // Who may tap may not be one who may list: then ids have to do.
            Err(Error::Refused(_)) => Ok(()),
            other => Ok(other?),
        }
    }

    /// The name of a topic, if it isn't known. Who may not be told it has its id.
    fn learn(&mut self, topic: WorldId) -> Result<(), Failure> {
        if !self.names.contains_key(&topic.0) {
            let name = match self.client.topic_name(topic) {
                Ok(name) => name.to_string(),
                Err(Error::Refused(_)) => topic.to_string(),
                Err(other) => return Err(other.into()),
            };
            self.names.insert(topic.0, name);
        }
        Ok(())
    }

    /// Those that are there, and by the log those that have come and gone since.
    fn ask(&mut self) -> Result<(), Error> {
        if self.next_line == 0 {
            self.names.extend(self.client.list()?.into_iter().map(|row| (row.id, row.name)));
            self.names.extend(self.client.groups()?.into_iter().map(|row| (row.id, row.name)));
        }
        loop {
            let lines = self.client.log(self.next_line)?;
            let Some(last) = lines.last() else { return Ok(()) };
            self.next_line = last.number + 1;
            self.names.extend(lines.into_iter().filter(|line| line.id != 0).map(|line| (line.id, line.world)));
        }
    }

    /// A world's name, or its id where that isn't known.
    pub fn name(&self, id: WorldId) -> String {
        self.names.get(&id.0).cloned().unwrap_or_else(|| id.to_string())
    }

    /// When something was seen, by the clock on the wall.
    pub fn time(&self, at: Duration) -> SystemTime {
        self.began + at
    }
}

/// The topic that it was published on, if it was.
pub fn topic_of(seen: &Seen) -> Option<WorldId> {
    RawHeader::from(&seen.header).topic().map(|(topic, _)| topic)
}
