//! An index of topics or of patterns: what is in it under a name, and what of it meets another name or pattern.
//!
//! To look something up takes as many steps as it has tokens, for each wildcard that is there as many more as it stands for; what meets
//! nothing isn't looked at.

use std::collections::HashMap;
use strait_protocol::{Token, Topic, TopicPattern};

const ONE: &str = "*";
const REST: &str = ">";

/// Values by the tokens of a topic or pattern.
#[derive(Debug)]
pub(super) struct Index<T> {
    values: Vec<T>,
    next: HashMap<Box<str>, Self>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { values: Vec::new(), next: HashMap::new() }
    }
}

impl<T: Copy + PartialEq> Index<T> {
    /// Puts a value under a topic or pattern, as text.
    pub(super) fn insert(&mut self, path: &str, value: T) {
        let mut node = self;
        for token in path.split('.') {
            node = node.next.entry(token.into()).or_default();
        }
        node.values.push(value);
    }

    /// Takes it out again, and whatever was there for it alone.
    pub(super) fn remove(&mut self, path: &str, value: T) {
        let (token, rest) = path.split_once('.').map_or((path, None), |(token, rest)| (token, Some(rest)));
        let Some(node) = self.next.get_mut(token) else { return };
        match rest {
            Some(rest) => node.remove(rest, value),
            None => node.values.retain(|other| *other != value),
        }
        if node.values.is_empty() && node.next.is_empty() {
            self.next.remove(token);
        }
    }

    /// The first value under just this.
    pub(super) fn at(&self, path: &str) -> Option<T> {
        let mut node = self;
        for token in path.split('.') {
            node = node.next.get(token)?;
        }
        node.values.first().copied()
    }

    /// Of an index of patterns: the values of those that cover a topic.
    pub(super) fn covering(&self, topic: &Topic) -> Vec<T> {
        let tokens: Vec<_> = topic.tokens().collect();
        let mut found = Vec::new();
        // No wildcard takes the first token of the system's topics.
        self.collect_covering(&tokens, !topic.is_reserved(), &mut found);
        found
    }

    fn collect_covering(&self, tokens: &[&str], is_free: bool, found: &mut Vec<T>) {
        let Some((token, rest)) = tokens.split_first() else { return found.extend(&self.values) };
        let wild = |kind| self.next.get(kind).filter(|_| is_free);
        found.extend(wild(REST).into_iter().flat_map(|next| &next.values));
        for next in wild(ONE).into_iter().chain(self.next.get(*token)) {
            next.collect_covering(rest, true, found);
        }
    }

    /// Of an index of topics: the values of those that a pattern covers.
    pub(super) fn covered(&self, pattern: &TopicPattern) -> Vec<T> {
        let tokens: Vec<_> = pattern.tokens().collect();
        let mut found = Vec::new();
        self.collect_covered(&tokens, true, &mut found);
        found
    }

    fn collect_covered(&self, tokens: &[Token<'_>], is_first: bool, found: &mut Vec<T>) {
        let Some((token, rest)) = tokens.split_first() else { return found.extend(&self.values) };
        let below = self.next.iter().filter(|(name, _)| !is_first || token.takes_first(name));
        match token {
            Token::Is(name) => {
                if let Some(next) = self.next.get(*name) {
                    next.collect_covered(rest, false, found);
                }
            }
            Token::Any => below.for_each(|(_, next)| next.collect_covered(rest, false, found)),
            Token::Rest => below.for_each(|(_, next)| next.collect_all(found)),
        }
    }

    fn collect_all(&self, found: &mut Vec<T>) {
        found.extend(&self.values);
        self.next.values().for_each(|next| next.collect_all(found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(tokens: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(tokens.split(' ').collect::<Vec<_>>()), 1..5)
            .prop_map(|tokens| tokens.join("."))
    }

    fn pattern() -> impl Strategy<Value = TopicPattern> {
        let rest = prop::sample::select(vec!["", ".>"]);
        (path("a b * strait"), rest).prop_map(|(path, rest)| format!("{path}{rest}").parse().unwrap())
    }

    proptest! {
        #[test]
        fn both_ways_agree_with_each_pattern_by_itself(
            patterns in prop::collection::vec(pattern(), 0..20),
            topics in prop::collection::vec(path("a b c strait"), 0..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut patterns: Vec<_> = patterns.into_iter().enumerate().collect();
            let topics: Vec<(usize, Topic)> = topics.iter().map(|text| text.parse().unwrap()).enumerate().collect();
            let (mut by_pattern, mut by_name) = (Index::default(), Index::default());
            patterns.iter().for_each(|(n, pattern)| by_pattern.insert(pattern.as_str(), *n));
            topics.iter().for_each(|(n, topic)| by_name.insert(topic.as_str(), *n));
            for place in removed {
                if !patterns.is_empty() {
                    let (n, pattern) = patterns.swap_remove(place.index(patterns.len()));
                    by_pattern.remove(pattern.as_str(), n);
                }
            }
            let sorted = |mut found: Vec<usize>| { found.sort_unstable(); found };
            for (_, topic) in &topics {
                let expected = patterns.iter().filter(|(_, pattern)| pattern.covers(topic)).map(|(n, _)| *n).collect();
                prop_assert_eq!(sorted(by_pattern.covering(topic)), sorted(expected));
            }
            for (n, pattern) in &patterns {
                let expected = topics.iter().filter(|(_, topic)| pattern.covers(topic)).map(|(n, _)| *n).collect();
                prop_assert_eq!(sorted(by_name.covered(pattern)), sorted(expected));
                by_pattern.remove(pattern.as_str(), *n);
            }
            prop_assert!(by_pattern.next.is_empty(), "something is left: {:?}", by_pattern);
        }
    }
}
