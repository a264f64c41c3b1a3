//! Who is who: ids, names, and patterns of names.

use std::fmt;
use std::str::FromStr;

/// Names a world for as long as the broker runs; never given twice.
///
/// 0 is the switch itself, 1 the control service, 2 the store. Ids with the highest bit set are not worlds but topics: what is sent there goes to
/// whoever subscribes. The number of a topic is in its lower 32 bits, and never given twice either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorldId(pub u64);

impl WorldId {
    /// The switch: it answers what is asked of it ([`crate::exchange`]), and no world can have its id.
    pub const SWITCH: Self = Self(0);
    /// The control service, `strait.control`.
    pub const CONTROL: Self = Self(1);
    /// The service that keeps worlds' states, `strait.store`.
    pub const STORE: Self = Self(2);
    /// The first id that a world can get; smaller ones are for services.
    pub const FIRST: Self = Self(16);
    const TOPIC: u64 = 1 << 63;

    /// The topic with this number.
    pub const fn topic(number: u32) -> Self {
        Self(Self::TOPIC | number as u64)
    }

    /// Whether it is a topic.
    #[inline]
    pub const fn is_topic(self) -> bool {
        self.0 & Self::TOPIC != 0
    }
}

impl fmt::Display for WorldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A world's name: 1 to 64 of `a-z A-Z 0-9 _ - . /`, starting with a letter or digit.
///
/// Names that start with `strait.` belong to the system's services.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is no name, or no pattern of names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than 64 bytes.
    #[error("a name has 1 to {max} bytes, not {0}", max = Name::MAX_BYTES)]
    Length(usize),
    /// A character outside the set.
    #[error("a name can't have {0:?} in it: letters, digits and _ - . / only, a letter or digit first")]
    Character(char),
    /// `*` somewhere else than at the end.
    #[error("a pattern can have one `*`, at its end")]
    Star,
}

impl Name {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of the system's own.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("strait.")
    }
}

fn check(text: &str, first_must_be_plain: bool) -> Result<(), NameError> {
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"_-./".contains(*c)) {
        return Err(NameError::Character(odd));
    }
    match text.chars().next() {
        Some(first) if first_must_be_plain && !first.is_ascii_alphanumeric() => Err(NameError::Character(first)),
        _ => Ok(()),
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(NameError::Length(text.len()));
        }
        check(text, true)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of names: one name, or all that start with what stands before a final `*`.
///
/// ```
/// use strait_protocol::{Name, Pattern};
/// let workers: Pattern = "compressor/*".parse().unwrap();
/// assert!(workers.covers(&"compressor/7".parse().unwrap()));
/// assert!(!workers.covers(&"compressor".parse().unwrap()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Just this name.
    Exactly(Name),
    /// Every name with this beginning. The system's own names are covered only by a beginning that says `strait.`.
    StartsWith(Box<str>),
}

impl Pattern {
    /// Whether `name` is in the set.
    pub fn covers(&self, name: &Name) -> bool {
        match self {
            Self::Exactly(one) => one == name,
            Self::StartsWith(start) if name.is_reserved() && !start.starts_with("strait.") => false,
            Self::StartsWith(start) => name.as_str().starts_with(&**start),
        }
    }

    /// Whether every name of the other set is in this one.
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exactly(name)) => self.covers(name),
            (Self::Exactly(_), Self::StartsWith(_)) => false,
            (Self::StartsWith(start), Self::StartsWith(longer)) => {
                longer.starts_with(&**start) && (start.starts_with("strait.") || !longer.starts_with("strait."))
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some(start) = text.strip_suffix('*') else {
            return match text.contains('*') {
                true => Err(NameError::Star),
                false => text.parse().map(Self::Exactly),
            };
        };
        if start.contains('*') {
            return Err(NameError::Star);
        }
        if start.len() > Name::MAX_BYTES {
            return Err(NameError::Length(start.len()));
        }
        check(start, true)?;
        Ok(Self::StartsWith(start.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => name.fmt(f),
            Self::StartsWith(start) => write!(f, "{start}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_refused_with_the_reason() {
        for (text, why) in [
            ("", NameError::Length(0)),
            ("a b", NameError::Character(' ')),
            ("-a", NameError::Character('-')),
            ("a\0", NameError::Character('\0')),
        ] {
            assert_eq!(text.parse::<Name>(), Err(why));
        }
        assert!("x".repeat(65).parse::<Name>().is_err());
        assert_eq!("a*b".parse::<Pattern>(), Err(NameError::Star));
        assert_eq!("**".parse::<Pattern>(), Err(NameError::Star));
    }

    #[test]
    fn a_star_covers_no_service() {
        let all: Pattern = "*".parse().unwrap();
        assert!(all.covers(&"anything".parse().unwrap()));
        assert!(!all.covers(&"strait.control".parse().unwrap()));
        let services: Pattern = "strait.*".parse().unwrap();
        assert!(services.covers(&"strait.gate".parse().unwrap()));
    }

    #[test]
    fn a_set_includes_those_within() {
        let includes = |all: &str, some: &str| all.parse::<Pattern>().unwrap().includes(&some.parse().unwrap());
        for (all, some) in
            [("*", "a*"), ("a*", "a*"), ("a*", "a/b*"), ("a*", "a"), ("a", "a"), ("strait.*", "strait.g*")]
        {
            assert!(includes(all, some), "{all} {some}");
        }
        for (all, some) in
            [("a*", "*"), ("a", "a*"), ("a", "b"), ("a/*", "a"), ("*", "strait.*"), ("s*", "strait.gate")]
        {
            assert!(!includes(all, some), "{all} {some}");
        }
    }
}
