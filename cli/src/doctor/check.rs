//! One thing that was looked at.

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There, as it should be.
    Ok,
    /// Strait runs without it, and promises less.
    Degraded,
    /// Strait doesn't run.
    Missing,
}

impl State {
    pub const ALL: [State; 3] = [State::Ok, State::Degraded, State::Missing];

    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Missing => "missing",
        }
    }
}

/// What was looked at, how it stands, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub group: &'static str,
    pub name: &'static str,
    pub state: State,
    pub found: String,
    pub fix: Option<String>,
}

impl Check {
    pub fn new(group: &'static str, name: &'static str) -> Check {
        Check { group, name, state: State::Ok, found: String::new(), fix: None }
    }

    pub fn ok(self, found: impl Into<String>) -> Check {
        Check { found: found.into(), ..self }
    }

    pub fn degraded(self, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { state: State::Degraded, found: found.into(), fix: Some(fix.into()), ..self }
    }

    pub fn missing(self, found: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { state: State::Missing, found: found.into(), fix: Some(fix.into()), ..self }
    }
}
