//! Names of topics, and patterns of them.
//!
//! A topic is a path of tokens with dots in between: `sensors.kitchen.temp`. In a pattern `*` stands for one token, whatever it is, and
//! `>`, at the end, for one or more: the syntax of NATS.

use std::fmt;
use std::str::FromStr;

/// The longest name or pattern, in bytes.
pub const MAX_TOPIC_BYTES: usize = 128;
/// The most tokens that a name or a pattern has.
pub const MAX_TOPIC_TOKENS: usize = 16;
/// The first token of the system's own topics, on which nobody else publishes.
const RESERVED: &str = "strait";
const ONE: &str = "*";
const REST: &str = ">";

/// A topic's name: up to 16 tokens of `a-z A-Z 0-9 _ - / :` with dots in between, 128 bytes altogether.
///
/// Those that start with `strait.` belong to the system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Box<str>);

/// A set of topics.
///
/// ```
/// use strait_protocol::TopicPattern;
/// let pattern: TopicPattern = "sensors.*.temp".parse().unwrap();
/// assert!(pattern.covers(&"sensors.kitchen.temp".parse().unwrap()));
/// assert!(!pattern.covers(&"sensors.kitchen.oven.temp".parse().unwrap()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Box<str>);

/// Why a text is no topic, or no pattern of topics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty, or longer than 128 bytes.
    #[error("a topic has 1 to {MAX_TOPIC_BYTES} bytes, not {0}")]
    Length(usize),
    /// More than 16 tokens.
    #[error("a topic has at most {MAX_TOPIC_TOKENS} tokens, not {0}")]
    Tokens(usize),
    /// Nothing between two dots, or before the first, or behind the last.
    #[error("a topic has something on both sides of each dot")]
    Empty,
    /// A character outside the set.
    #[error("a topic can't have {0:?} in it: letters, digits and _ - / : only, with dots between its tokens")]
    Character(char),
    /// `*` or `>` where it stands for nothing.
    #[error(
        "in a pattern of topics `*` stands for a whole token, and `>` for the rest, at the end: `sensors.*.temp`, `logs.>`"
    )]
    Wildcard,
}

impl Topic {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// Whether it is one of the system's own.
    pub fn is_reserved(&self) -> bool {
        self.tokens().next() == Some(RESERVED)
    }
}

impl TopicPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = Token<'_>> + Clone {
        self.0.split('.').map(Token::of)
    }

    /// Whether `topic` is in the set. The system's own topics are covered only by a pattern that says `strait.`.
    pub fn covers(&self, topic: &Topic) -> bool {
        self.contains_all(topic.tokens().map(Token::Is))
    }

    /// Whether every topic of `other` is in this set, too.
    pub fn includes(&self, other: &Self) -> bool {
        self.contains_all(other.tokens())
    }

    fn contains_all<'a>(&self, other: impl Iterator<Item = Token<'a>>) -> bool {
        let mut other = other.enumerate();
        for token in self.tokens() {
            let Some((place, their)) = other.next() else { return false };
            match (token, their) {
                (Token::Is(one), Token::Is(other)) if one == other => {}
                (Token::Any | Token::Rest, Token::Is(RESERVED)) if place == 0 => return false,
                (Token::Rest, _) => return true,
                (Token::Any, Token::Is(_) | Token::Any) => {}
                _ => return false,
            }
        }
        other.next().is_none()
    }
}

/// A token of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Just this one.
    Is(&'a str),
    /// `*`: any one.
    Any,
    /// `>`: one or more, whatever they are.
    Rest,
}

impl<'a> Token<'a> {
    fn of(text: &'a str) -> Self {
        match text {
            ONE => Self::Any,
            REST => Self::Rest,
            plain => Self::Is(plain),
        }
    }

    /// Whether it takes the first token of a topic's name: no wildcard takes the system's.
    pub fn takes_first(self, first: &str) -> bool {
        match self {
            Self::Is(one) => one == first,
            Self::Any | Self::Rest => first != RESERVED,
        }
    }
}

fn check(text: &str, may_be_wild: bool) -> Result<(), TopicError> {
    if text.is_empty() || text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::Length(text.len()));
    }
    let count = text.split('.').count();
    if count > MAX_TOPIC_TOKENS {
        return Err(TopicError::Tokens(count));
    }
    for (place, token) in text.split('.').enumerate() {
        let is_wild = token == ONE || token == REST && place + 1 == count;
        if is_wild && may_be_wild {
            continue;
        }
        match token.chars().find(|c| !c.is_ascii_alphanumeric() && !"_-/:".contains(*c)) {
            Some('*' | '>') if may_be_wild => return Err(TopicError::Wildcard),
            Some(odd) => return Err(TopicError::Character(odd)),
            None if token.is_empty() => return Err(TopicError::Empty),
            None => {}
        }
    }
    Ok(())
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check(text, false).map(|()| Self(text.into()))
    }
}

impl FromStr for TopicPattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        check(text, true).map(|()| Self(text.into()))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, as a recursion.
    fn oracle(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, topic @ ..]) => oracle(pattern, topic),
            ([one, pattern @ ..], [other, topic @ ..]) => one == other && oracle(pattern, topic),
            _ => false,
        }
    }

    fn tokens(tokens: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(tokens), 1..=most)
    }

    fn pattern() -> impl Strategy<Value = Vec<&'static str>> {
        (tokens(&["a", "b", "*"], 4), any::<bool>()).prop_map(|(mut tokens, has_rest)| {
            tokens.extend(has_rest.then_some(">"));
            tokens
        })
    }

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn a_pattern_covers_what_its_definition_says(pattern in pattern(), topic in tokens(&["a", "b"], 6)) {
            let parsed: TopicPattern = pattern.join(".").parse().unwrap();
            prop_assert_eq!(parsed.covers(&topic.join(".").parse().unwrap()), oracle(&pattern, &topic));
        }

        #[test]
        fn what_is_included_is_covered(one in pattern(), other in pattern(), topic in tokens(&["a", "b"], 6)) {
            let (one, other): (TopicPattern, TopicPattern) = (one.join(".").parse().unwrap(), other.join(".").parse().unwrap());
            let topic: Topic = topic.join(".").parse().unwrap();
            if one.includes(&other) && other.covers(&topic) {
                prop_assert!(one.covers(&topic));
            }
        }

        /// The other way round: where it isn't included there is a topic that shows it. (Up to 6 tokens of `a`, `b` and one that no pattern names.)
        #[test]
        fn what_isnt_included_has_a_witness(one in pattern(), other in pattern()) {
            let (parsed, included): (TopicPattern, TopicPattern) = (one.join(".").parse().unwrap(), other.join(".").parse().unwrap());
            let mut topics: Vec<Vec<&str>> = vec![vec![]];
            let mut has_witness = false;
            for _ in 0..6 {
                topics = topics.iter().flat_map(|topic| ["a", "b", "c"].map(|token| [&topic[..], &[token]].concat())).collect();
                has_witness |= topics.iter().any(|topic| oracle(&other, topic) && !oracle(&one, topic));
            }
            prop_assert_eq!(parsed.includes(&included), !has_witness);
        }

        #[test]
        fn any_text_is_refused_or_comes_back(text in "[a-c.*>:/ ]{0,12}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text.clone());
                prop_assert!(text.parse::<TopicPattern>().unwrap().covers(&topic));
            }
        }
    }

    #[test]
    fn odd_topics_are_refused_with_the_reason() {
        for (text, why) in [
            ("", TopicError::Length(0)),
            ("a..b", TopicError::Empty),
            (".a", TopicError::Empty),
            ("a.", TopicError::Empty),
            ("a b", TopicError::Character(' ')),
            ("a.*", TopicError::Character('*')),
            ("a\0", TopicError::Character('\0')),
        ] {
            assert_eq!(text.parse::<Topic>(), Err(why), "{text:?}");
        }
        for wrong in ["a*", "a.>.b", "**", ">a"] {
            assert_eq!(wrong.parse::<TopicPattern>(), Err(TopicError::Wildcard), "{wrong:?}");
        }
        assert_eq!("a.".repeat(16).parse::<Topic>(), Err(TopicError::Tokens(17)));
        assert_eq!("a".repeat(129).parse::<Topic>(), Err(TopicError::Length(129)));
    }

    #[test]
    fn no_wildcard_covers_the_systems_topics() {
        let topic: Topic = "strait.worlds.ready.a".parse().unwrap();
        assert!(topic.is_reserved());
        for (pattern, covers) in [(">", false), ("*.worlds.>", false), ("strait.>", true), ("strait.worlds.*.a", true)]
        {
            let pattern: TopicPattern = pattern.parse().unwrap();
            assert_eq!(pattern.covers(&topic), covers, "{pattern}");
        }
        let [all, ours]: [TopicPattern; 2] = [">", "strait.>"].map(|text| text.parse().unwrap());
        assert!(!all.includes(&ours) && ours.includes(&"strait.worlds.>".parse().unwrap()));
    }
}
