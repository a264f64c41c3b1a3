//! Presence as topics: `strait.worlds.started.NAME`, `strait.worlds.ready.NAME`, `strait.worlds.ended.NAME`, where a dot in the world's name is
//! a colon. What is said is JSON.
//!
//! It goes to the switch by the link, in order with all else that it is told of worlds, and costs nothing where nobody subscribes. The supervisor
//! never waits for a subscriber: one that doesn't read misses what its account has no room for, and is told how much.

use super::super::Supervisor;
use super::super::log;
use crate::link::Command;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use strait_protocol::control::Ended;
use strait_protocol::{Name, Topic, WorldId};

/// Topics of presence whose names are remembered.
const MAX_TOPICS: usize = 4096;
/// Subscribers in one command.
const MAX_IN_ONE: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Presence {
    numbers: HashMap<Topic, u32>,
    /// The same, the oldest in front.
    topics: VecDeque<(u32, Topic)>,
}

impl Presence {
    pub(super) fn topic(&self, number: u32) -> Option<&Topic> {
        self.topics.iter().find(|(known, _)| *known == number).map(|(_, topic)| topic)
    }

    fn remember(&mut self, number: u32, topic: &Topic) {
        if self.topics.len() >= MAX_TOPICS
            && let Some((_, oldest)) = self.topics.pop_front()
        {
            self.numbers.remove(&oldest);
        }
        self.numbers.insert(topic.clone(), number);
        self.topics.push_back((number, topic.clone()));
    }
}

impl Supervisor {
    /// A world's program runs, or it has opened its connection.
    pub(in super::super) fn announce(&mut self, what: &str, id: WorldId) {
        let Some(entry) = self.worlds.get(&id) else { return };
        let (name, pid, uid) = (entry.name.clone(), entry.pid, entry.uid);
        let said = || json!({ "event": what, "id": id.0, "name": name.as_str(), "pid": pid, "uid": uid });
        self.announce_with(what, &name, said);
    }

    pub(in super::super) fn announce_end(&mut self, name: &Name, ended: &Ended) {
        let said = || {
            json!({
                "event": "ended", "id": ended.id, "name": name.as_str(), "code": ended.code, "signal": ended.signal,
                "acknowledged": ended.acknowledged, "killed": ended.killed, "note": ended.note,
            })
        };
        self.announce_with("ended", name, said);
    }

    fn announce_with(&mut self, what: &str, name: &Name, said: impl Fn() -> serde_json::Value) {
        let text = format!("strait.worlds.{what}.{}", name.as_str().replace('.', ":"));
        let Ok(topic) = text.parse::<Topic>() else { return };
        let interested: Vec<(u64, u32)> =
            self.topics.book.interested(&topic).into_iter().map(|(world, number)| (world.0, number)).collect();
        if interested.is_empty() {
            return;
        }
        let known = self.topics.presence.numbers.get(&topic).copied();
        let number = known.unwrap_or_else(|| self.topics.book.number_unlisted());
        if known.is_none() {
            self.topics.presence.remember(number, &topic);
        }
        let payload = said().to_string().into_bytes();
        let command = |some: &[(u64, u32)]| Command::Announce {
            topic: number,
            subscribers: some.to_vec(),
            payload: payload.clone(),
        };
        let commands: Vec<_> = interested.chunks(MAX_IN_ONE).map(command).collect();
        if let Err(why) = self.tell_switch(&commands) {
            log(&format!("{topic} is said to nobody: {why}"));
        }
    }
}
