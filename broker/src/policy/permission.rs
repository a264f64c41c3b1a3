//! What somebody may ask the control service.

use crate::config::ConfigError;
use std::fmt;
use std::str::FromStr;
use strait_protocol::Pattern;

/// What somebody may ask the control service, beside resolving the names it may send to. The same type names what is asked: then its
/// patterns are names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Everything.
    Admin,
    /// See which worlds there are.
    List,
    /// See what worlds ask for, grant and deny it, and revoke what was granted.
    Grant,
    /// See who may do what, and why.
    Policy,
    /// Start worlds from this template.
    Start(String),
    /// Stop worlds, and wait for their end.
    Stop(Pattern),
    /// End worlds at once, and wait for their end.
    Kill(Pattern),
    /// Read jail reports.
    Inspect(Pattern),
    /// See which records worlds send and are sent.
    Tap(Pattern),
    /// Have worlds save their states, and see which there are.
    Snapshot(Pattern),
}

impl Permission {
    /// How each is written, for those who wrote something else.
    pub const FORMS: [&str; 10] = [
        "list",
        "grant",
        "policy",
        "start TEMPLATE",
        "stop NAME",
        "kill NAME",
        "inspect NAME",
        "tap NAME",
        "snapshot NAME",
        "admin",
    ];

    /// Whether who has this may do what is asked. Who may kill a world may stop it.
    pub fn covers(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::Admin, _) => true,
            (Self::Start(one), Self::Start(other)) => one == other,
            (Self::Stop(all), Self::Stop(some))
            | (Self::Kill(all), Self::Kill(some) | Self::Stop(some))
            | (Self::Inspect(all), Self::Inspect(some))
            | (Self::Tap(all), Self::Tap(some))
            | (Self::Snapshot(all), Self::Snapshot(some)) => all.includes(some),
            (one, other) => one == other,
        }
    }
}

impl FromStr for Permission {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let pattern = |of: &str| of.parse().map_err(|error| ConfigError::Pattern { text: text.into(), error });
        match text.split_once(' ') {
            None if text == "admin" => Ok(Self::Admin),
            None if text == "list" => Ok(Self::List),
            None if text == "grant" => Ok(Self::Grant),
            None if text == "policy" => Ok(Self::Policy),
            Some(("start", template)) => Ok(Self::Start(template.into())),
            Some(("stop", names)) => pattern(names).map(Self::Stop),
            Some(("kill", names)) => pattern(names).map(Self::Kill),
            Some(("inspect", names)) => pattern(names).map(Self::Inspect),
            Some(("tap", names)) => pattern(names).map(Self::Tap),
            Some(("snapshot", names)) => pattern(names).map(Self::Snapshot),
            _ => Err(ConfigError::Permission(text.into())),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::List => f.write_str("list"),
            Self::Grant => f.write_str("grant"),
            Self::Policy => f.write_str("policy"),
            Self::Start(template) => write!(f, "start {template}"),
            Self::Stop(names) => write!(f, "stop {names}"),
            Self::Kill(names) => write!(f, "kill {names}"),
            Self::Inspect(names) => write!(f, "inspect {names}"),
            Self::Tap(names) => write!(f, "tap {names}"),
            Self::Snapshot(names) => write!(f, "snapshot {names}"),
        }
    }
}
