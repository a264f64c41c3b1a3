//! Topics that are opened and subscribed to, by those whose policy says so.

use super::super::Supervisor;
use super::super::topics::Wishes;
use strait_protocol::control::Answer;
use strait_protocol::{Header, Topic, TopicPattern, WorldId};

impl Supervisor {
    pub(super) fn asked_to_open(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let topic: Topic = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
        self.asker(asker).policy.publish(&topic).map_err(|missing| missing.to_string())?;
        self.open_topic(asker, &topic)
    }

    pub(super) fn asked_to_subscribe(&mut self, asker: &Header, pattern: &str, wishes: Wishes) -> Result<(), String> {
        let pattern: TopicPattern = pattern.parse().map_err(|error| format!("`{pattern}`: {error}"))?;
        self.asker(asker).policy.subscribe(&pattern).map_err(|missing| missing.to_string())?;
        self.subscribe(asker, pattern, wishes)
    }

    /// Names of topics are told to those who may publish there or subscribe: to anybody else they look like ones that don't exist.
    pub(super) fn name_topic(&mut self, asker: &Header, id: u64) -> Result<(), String> {
        let policy = &self.asker(asker).policy;
        let topic = self.topic(WorldId(id)).filter(|topic| policy.publish(topic).is_ok() || policy.may_hear(topic));
        let topic = topic.ok_or_else(|| format!("there is no topic {} (any more)", id as u32))?;
        let answer = Answer::Topic { id, name: topic.to_string() };
        self.answer(asker, &answer);
        Ok(())
    }
}
