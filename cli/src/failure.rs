//! What a command says when it fails: what is wrong, where, and what to do next.

use crate::{refusal, text};
use std::fmt;
use std::process::ExitCode;
use strait_broker::{Error, HostError, Reason};
use strait_protocol::handshake::HandshakeError;

/// Something went wrong.
pub const FAILED: u8 = 1;
/// The command line can't be understood.
pub const USAGE: u8 = 2;
/// `strait run`: strait itself failed, not the program.
pub const OURS: u8 = 125;
/// `strait run`: the program is there, but can't be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// `strait run`: the program isn't there.
pub const NO_PROGRAM: u8 = 127;

/// How a broker begins to say that its first unprivileged process didn't come up.
const SWITCH_FAILED: &str = "the switch ended";
/// By far the most common reason for that, and what helps.
const NAMESPACES: &str = "without root, user namespaces must be allowed: see `sysctl user.max_user_namespaces` (more than 0) and, \
where there is one, `sysctl kernel.apparmor_restrict_unprivileged_userns` (0); Landlock must be on, at ABI 6 (Linux 6.12)";

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    excerpt: Option<String>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), excerpt: None, hint: None, code: FAILED }
    }

    /// The line of a file that it is about.
    pub fn excerpt(self, excerpt: String) -> Self {
        Self { excerpt: Some(excerpt), ..self }
    }

    /// What to do next.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What to do next, unless something better is known.
    pub fn or_hint(self, hint: &str) -> Self {
        match self.hint {
            Some(_) => self,
            None => self.hint(hint),
        }
    }

    pub fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Says whom it is about.
    pub fn about(self, whom: &str) -> Self {
        Self { message: format!("{whom}: {}", self.message), ..self }
    }

    /// What is wrong, and what to do next if that is known.
    pub fn into_words(self) -> (String, Option<String>) {
        (self.message, self.hint)
    }

    /// Writes it to standard error.
    pub fn tell(&self) -> ExitCode {
        text::say(&self.to_string());
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a broker says may quote a world.
        f.write_str(&text::one_line(&self.message))?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            Error::Unreachable { errno, .. } if errno == rustix::io::Errno::ACCESS => {
                failure.hint("that socket isn't yours to use: name another with --socket")
            }
            Error::Unreachable { .. } => {
                failure.hint("start a broker with `strait up FILE`, or name its socket with --socket")
            }
            Error::Undelivered { reason, .. } => Self::from(reason),
            Error::Handshake(HandshakeError::Refused(why)) if why.starts_with(SWITCH_FAILED) => {
                failure.hint(NAMESPACES)
            }
            Error::Refused(why) => Self { hint: refusal::hint(&why).map(Into::into), ..failure },
            Error::TooLarge { .. } => failure.hint("send less at a time: the `cli/*` attachment has slices of 64 KiB"),
            Error::BrokerGone => failure
                .hint("its worlds are gone with it: start it again; the last lines of its `strait up` may say why"),
            _ => failure,
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        let failure = Self::new(reason.to_string());
        match reason {
            Reason::NoSuchWorld => failure.hint("`strait ps` lists the worlds there are"),
            Reason::Deadline => {
                failure.hint("give it longer with --timeout; one that never answers may know nothing of strait (`strait ps`: those are never `ready`)")
            }
            Reason::CantStart => failure.hint("`strait log` with its name says why"),
            _ => failure,
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Client(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_broker_has_a_hint() {
        let error = Error::Unreachable { path: "/x.sock".into(), errno: rustix::io::Errno::NOENT };
        let told = Failure::from(error).to_string();
        let (what, hint) = told.split_once('\n').unwrap();
        assert!(what.starts_with("can't reach the broker at /x.sock: "), "{what}");
        assert_eq!(hint, "hint: start a broker with `strait up FILE`, or name its socket with --socket");
    }
}
