//! Topics, for the switch: it is told which subscriptions a topic has when either comes, and asked when it has done what it was told.

mod book;
mod index;
mod presence;

use super::Supervisor;
use crate::link::Command;
use book::Book;
pub(super) use book::Wishes;
use presence::Presence;
use std::collections::VecDeque;
use strait_protocol::control::Answer;
use strait_protocol::{Header, Topic, TopicPattern, WorldId};

#[derive(Debug, Default)]
pub(super) struct Topics {
    book: Book,
    presence: Presence,
    /// Answers that wait until the switch has done what goes before them. Who asks has a bounded number of requests open.
    waiting: VecDeque<(u64, Header, Answer)>,
    /// The switch was asked to say when it has, and hasn't said so.
    is_asked: bool,
}

impl Supervisor {
    pub(super) fn open_topic(&mut self, asker: &Header, topic: &Topic) -> Result<(), String> {
        let (number, commands) = self.topics.book.open(asker.source, topic)?;
        self.tell_switch(&commands)?;
        self.answer_when_done(asker, Answer::Topic { id: WorldId::topic(number).0, name: topic.to_string() })
    }

    pub(super) fn close_topic(&mut self, asker: &Header, topic: WorldId) -> Result<(), String> {
        let commands = self.topics.book.close(asker.source, topic.0 as u32)?;
        self.tell_switch(&commands)?;
        self.answer_when_done(asker, Answer::Done)
    }

    pub(super) fn subscribe(&mut self, asker: &Header, pattern: TopicPattern, wishes: Wishes) -> Result<(), String> {
        let (number, topics, commands) = self.topics.book.subscribe(asker.source, pattern, wishes)?;
        self.tell_switch(&commands)?;
        self.answer_when_done(asker, Answer::Subscribed { number, topics: topics as u32 })
    }

    /// A world has lost a grant: what it publishes on and subscribes to without leave now ends.
    pub(super) fn end_feeds_without_leave(&mut self, world: WorldId) -> Result<(), String> {
        let Some(entry) = self.worlds.get(&world) else { return Ok(()) };
        let (may_publish, may_hear) = (
            |topic: &Topic| entry.policy.publish(topic).is_ok(),
            |pattern: &TopicPattern| entry.policy.subscribe(pattern).is_ok(),
        );
        let commands = self.topics.book.retain(world, may_publish, may_hear);
        self.tell_switch(&commands)
    }

    pub(super) fn unsubscribe(&mut self, asker: &Header, number: u32) -> Result<(), String> {
        let command = self.topics.book.unsubscribe(asker.source, number)?;
        self.tell_switch(&[command])?;
        self.answer_when_done(asker, Answer::Done)
    }

    /// The name of a topic, as long as it is there and a while longer.
    pub(super) fn topic(&self, id: WorldId) -> Option<&Topic> {
        let number = Some(id).filter(|id| id.is_topic())?.0 as u32;
        self.topics.book.topic(number).or_else(|| self.topics.presence.topic(number))
    }

    /// A world is gone, and the switch has forgotten it.
    pub(super) fn forget_topics(&mut self, world: WorldId) {
        let commands = self.topics.book.forget(world);
        // If the switch is gone, the link says so at the next look.
        let _ = self.tell_switch(&commands);
    }

    pub(super) fn tell_switch(&mut self, commands: &[Command]) -> Result<(), String> {
        let told = commands.iter().try_for_each(|command| self.link.tell(command, &[]));
        told.map_err(|errno| format!("the switch can't be told: {errno}"))
    }

    /// Answers when the switch has done everything that it was told before: what is published from then on is delivered so, and whoever is
    /// told a topic may publish there at once.
    pub(super) fn answer_when_done(&mut self, asker: &Header, answer: Answer) -> Result<(), String> {
        let ticket = self.number();
        self.topics.waiting.push_back((ticket, *asker, answer));
        match self.topics.is_asked {
            true => Ok(()),
            false => self.ask_when_done(ticket),
        }
    }

    /// One question is under way at a time, however many wait for an answer.
    fn ask_when_done(&mut self, ticket: u64) -> Result<(), String> {
        self.topics.is_asked = true;
        self.tell_switch(&[Command::Fence { ticket }])
    }

    pub(super) fn take_passed(&mut self, passed: u64) {
        self.topics.is_asked = false;
        while self.topics.waiting.front().is_some_and(|(ticket, ..)| *ticket <= passed)
            && let Some((_, asker, answer)) = self.topics.waiting.pop_front()
        {
            self.answer(&asker, &answer);
        }
        if let Some((last, ..)) = self.topics.waiting.back() {
            let _ = self.ask_when_done(*last);
        }
    }
}
