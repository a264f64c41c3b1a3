//! What comes of an attempt, in one word.

use std::fmt;

/// What stopped an attempt, or that nothing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Through,
    /// The kernel said no.
    Errno(i32),
    /// The process that made it was killed.
    Signal(i32),
    /// Something that is neither, in a word of the attempt's own.
    Word(&'static str),
}

/// The result of one step of an attempt: what the call returned, or what stopped it.
pub type Tried = Result<usize, Outcome>;

impl From<Tried> for Outcome {
    fn from(tried: Tried) -> Self {
        tried.err().unwrap_or(Self::Through)
    }
}

impl Outcome {
    /// The reason why the last library call failed.
    pub fn last() -> Self {
        Self::of(&std::io::Error::last_os_error())
    }

    /// The reason in an error of the standard library.
    pub fn of(error: &std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::Word("failed"), Self::Errno)
    }
}

/// The word that stands for success, and only for it.
pub const THROUGH: &str = "ok";

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |names: &[(i32, &'static str)], number: &i32| {
            names.iter().find(|(known, _)| known == number).map(|(_, name)| *name)
        };
        match self {
            Self::Through => f.write_str(THROUGH),
            Self::Word(word) => f.write_str(word),
            Self::Errno(number) => match name(ERRNOS, number) {
                Some(name) => f.write_str(name),
                None => write!(f, "errno-{number}"),
            },
            Self::Signal(number) => match name(SIGNALS, number) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal-{number}"),
            },
        }
    }
}

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

const ERRNOS: &[(i32, &str)] = names!(
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR
    EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE ERANGE EDEADLK ENAMETOOLONG ENOSYS ENOTEMPTY ELOOP
    EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EAFNOSUPPORT EADDRINUSE ENOBUFS ENOTCONN ETIMEDOUT ECONNREFUSED ECONNRESET EMSGSIZE
    ENOTSOCK EDESTADDRREQ ETOOMANYREFS EDQUOT EPROTOTYPE ENOKEY EUSERS ESTALE EOVERFLOW
);

const SIGNALS: &[(i32, &str)] = names!(
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGCHLD SIGCONT
    SIGSTOP SIGSYS SIGXCPU SIGXFSZ
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_manual() {
        let word = |outcome: Outcome| outcome.to_string();
        assert_eq!(word(Outcome::from(Ok(3))), "ok");
        assert_eq!(word(Outcome::Errno(libc::EPERM)), "EPERM");
        assert_eq!(word(Outcome::Errno(9999)), "errno-9999");
        assert_eq!(word(Outcome::Signal(libc::SIGSYS)), "SIGSYS");
        assert_eq!(word(Outcome::Word("none")), "none");
    }
}
