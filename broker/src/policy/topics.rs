//! Which topics a world may publish on, and subscribe to: by the lines of its policy, and by what it was granted.

use super::{Line, Missing, Policy, Resource, Verdict};
use crate::config::ConfigError;
use std::fmt;
use strait_protocol::{Topic, TopicPattern};

/// The topics of a policy. Whoever may ask everything may also publish and hear everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Feeds {
    publish: Vec<Feed>,
    subscribe: Vec<Feed>,
}

/// Some topics. Without a grant's number they are there for good.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Feed {
    grant: Option<u64>,
    topics: TopicPattern,
}

impl Feed {
    fn line(&self, key: &'static str) -> Line {
        match self.grant {
            Some(number) => Line::Grant { number, what: format!("{key} {}", self.topics) },
            None => Line::Key { key, value: self.topics.to_string() },
        }
    }
}

impl Feeds {
    pub(super) fn new(publish: &[String], subscribe: &[String]) -> Result<Self, ConfigError> {
        Ok(Self { publish: feeds(publish)?, subscribe: feeds(subscribe)? })
    }

    /// Its lines, as one would write them in a configuration.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let publish = self.publish.iter().map(|feed| feed.line("publish"));
        publish.chain(self.subscribe.iter().map(|feed| feed.line("subscribe")))
    }

    pub(super) fn permit_publishing(&mut self, grant: u64, topics: TopicPattern) {
        self.publish.push(Feed { grant: Some(grant), topics });
    }

    pub(super) fn permit_subscribing(&mut self, grant: u64, topics: TopicPattern) {
        self.subscribe.push(Feed { grant: Some(grant), topics });
    }

    pub(super) fn revoke(&mut self, grant: u64) {
        self.publish.retain(|feed| feed.grant != Some(grant));
        self.subscribe.retain(|feed| feed.grant != Some(grant));
    }
}

impl Policy {
    /// Whether it may publish on a topic. Nobody may on the system's own.
    pub(crate) fn publish(&self, topic: &Topic) -> Verdict {
        if topic.is_reserved() {
            return Err(Missing::Never("topics that start with `strait.` belong to the system"));
        }
        let line = self.feeds.publish.iter().find(|feed| feed.topics.covers(topic)).map(|feed| feed.line("publish"));
        line.or_else(|| self.admin()).ok_or_else(|| {
            let asked = topic.as_str().parse().map(Resource::Publish);
            self.unfed("publish", topic, asked.ok())
        })
    }

    /// The line by which it may publish on all of these.
    pub(super) fn publish_all(&self, topics: &TopicPattern) -> Option<Line> {
        let line = self.feeds.publish.iter().find(|feed| feed.topics.includes(topics));
        line.map(|feed| feed.line("publish")).or_else(|| self.admin())
    }

    /// Whether it may subscribe to a pattern: to all that this covers.
    pub(crate) fn subscribe(&self, pattern: &TopicPattern) -> Verdict {
        let line = self.feeds.subscribe.iter().find(|feed| feed.topics.includes(pattern));
        line.map(|feed| feed.line("subscribe"))
            .or_else(|| self.admin())
            .ok_or_else(|| self.unfed("subscribe", pattern, Some(Resource::Subscribe(pattern.clone()))))
    }

    /// Whether it may subscribe to a topic by name.
    pub(crate) fn may_hear(&self, topic: &Topic) -> bool {
        self.feeds.subscribe.iter().any(|feed| feed.topics.covers(topic)) || self.is_admin()
    }

    /// The answer to a question about topics, where words are one: `publish a.b`, `subscribe a.*`.
    pub(super) fn judge_topics(&self, what: &str) -> Option<Result<Verdict, String>> {
        let wrong = |text: &str, error| format!("`{text}`: {error}");
        match what.split_once(' ') {
            Some(("publish", topic)) => {
                Some(topic.parse().map(|topic| self.publish(&topic)).map_err(|error| wrong(topic, error)))
            }
            Some(("subscribe", pattern)) => {
                Some(pattern.parse().map(|pattern| self.subscribe(&pattern)).map_err(|error| wrong(pattern, error)))
            }
            _ => None,
        }
    }

    fn admin(&self) -> Option<Line> {
        self.command(&super::Permission::Admin).ok()
    }

    fn unfed(&self, key: &str, topics: &dyn fmt::Display, asked: Option<Resource>) -> Missing {
        let may_ask = asked.is_some_and(|asked| self.ask(&asked).is_ok());
        Missing::Line { line: format!("{key} = [\"{topics}\"]"), may_ask }
    }
}

fn feeds(texts: &[String]) -> Result<Vec<Feed>, ConfigError> {
    let feed = |text: &String| {
        let topics = text.parse().map_err(|error| ConfigError::Topic { text: text.clone(), error })?;
        Ok(Feed { grant: None, topics })
    };
    texts.iter().map(feed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_publish_and_subscribe_to_what() {
        let texts = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
        let with = |publish: &[&str], subscribe: &[&str], may: &[&str]| Policy {
            feeds: Feeds::new(&texts(publish), &texts(subscribe)).unwrap(),
            ..Policy::new(&[], &[], &texts(may), &[]).unwrap()
        };
        let (sensor, display) =
            (with(&["sensors.*.temp"], &[], &[]), with(&[], &["sensors.*.temp", "strait.worlds.>"], &[]));
        let (all, admin, nobody) = (with(&[">"], &[">"], &[]), with(&[], &[], &["admin"]), Policy::default());
        let table: [(&str, &[&Policy]); 8] = [
            ("publish sensors.kitchen.temp", &[&sensor, &all, &admin]),
            ("publish sensors.kitchen", &[&all, &admin]),
            ("publish strait.worlds.ended.a", &[]),
            ("subscribe sensors.*.temp", &[&display, &all, &admin]),
            ("subscribe sensors.kitchen.temp", &[&display, &all, &admin]),
            ("subscribe sensors.>", &[&all, &admin]),
            ("subscribe strait.worlds.ended.*", &[&display, &admin]),
            ("subscribe >", &[&all, &admin]),
        ];
        for (what, who) in table {
            for (name, policy) in
                [("sensor", &sensor), ("display", &display), ("all", &all), ("admin", &admin), ("nobody", &nobody)]
            {
                let verdict = policy.judge_topics(what).unwrap().unwrap();
                assert_eq!(verdict.is_ok(), who.contains(&policy), "{name}: {what}");
            }
        }
        let why = nobody.judge_topics("subscribe a.>").unwrap().unwrap().unwrap_err().to_string();
        assert_eq!(why, "policy doesn't let you: it takes `subscribe = [\"a.>\"]`");
        assert!(nobody.judge_topics("publish a.*").unwrap().unwrap_err().contains("'*'"));
    }
}
