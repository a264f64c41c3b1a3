//! Which topics a world may publish on, and subscribe to.

use super::{Line, Missing, Policy, Verdict};
use crate::config::ConfigError;
use std::fmt;
use strait_protocol::{Topic, TopicPattern};

/// The topics of a policy. Whoever may ask everything may also publish and hear everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Feeds {
    publish: Vec<TopicPattern>,
    subscribe: Vec<TopicPattern>,
}

impl Feeds {
    pub(super) fn new(publish: &[String], subscribe: &[String]) -> Result<Self, ConfigError> {
        Ok(Self { publish: patterns(publish)?, subscribe: patterns(subscribe)? })
    }

    /// Its lines, as one would write them in a configuration.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let publish = self.publish.iter().map(|line| key("publish", line));
        publish.chain(self.subscribe.iter().map(|line| key("subscribe", line)))
    }
}

impl Policy {
    /// Whether it may publish on a topic. Nobody may on the system's own.
    pub(crate) fn publish(&self, topic: &Topic) -> Verdict {
        if topic.is_reserved() {
            let line = "nothing: topics that start with `strait.` belong to the system".into();
            return Err(Missing { line, may_ask: false });
        }
        let line = self.feeds.publish.iter().find(|line| line.covers(topic)).map(|line| key("publish", line));
        line.or_else(|| self.admin()).ok_or_else(|| missing("publish", topic))
    }

    /// Whether it may subscribe to a pattern: to all that this covers.
    pub(crate) fn subscribe(&self, pattern: &TopicPattern) -> Verdict {
        let line = self.feeds.subscribe.iter().find(|line| line.includes(pattern)).map(|line| key("subscribe", line));
        line.or_else(|| self.admin()).ok_or_else(|| missing("subscribe", pattern))
    }

    /// Whether it may subscribe to a topic by name.
    pub(crate) fn may_hear(&self, topic: &Topic) -> bool {
        self.feeds.subscribe.iter().any(|line| line.covers(topic)) || self.is_admin()
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
}

fn key(key: &'static str, value: &dyn fmt::Display) -> Line {
    Line::Key { key, value: value.to_string() }
}

fn missing(key: &str, value: &dyn fmt::Display) -> Missing {
    Missing { line: format!("{key} = [\"{value}\"]"), may_ask: false }
}

fn patterns(texts: &[String]) -> Result<Vec<TopicPattern>, ConfigError> {
    let pattern = |text: &String| text.parse().map_err(|error| ConfigError::Topic { text: text.clone(), error });
    texts.iter().map(pattern).collect()
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
