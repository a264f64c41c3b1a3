//! Codes and texts of what went wrong, and the place where panics end.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use strait_client::Error;
use strait_protocol::handshake::HandshakeError;

/// What can go wrong. A later version may add codes; none changes its meaning.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StraitError {
    /// NULL where something must be.
    Null = -1,
    /// A bug in strait. The client can only be closed.
    Bug = -2,
    /// strait_open() in a process that the broker didn't start, or a second time.
    NotAWorld = -3,
    /// The broker's socket can't be reached.
    Unreachable = -4,
    /// The broker, its policy or the control service said no.
    Refused = -5,
    /// A system call failed.
    System = -6,
    /// The text is no name of a world.
    Name = -7,
    /// No room in the outbox, now or before the time was over. Nothing was sent, or nothing that will arrive.
    Full = -8,
    /// The payload is larger than the outbox takes at once (see strait_max_payload()), and this call can't send it in
    /// pieces. Nothing was sent.
    TooLarge = -9,
    /// A request got a notice instead of a reply.
    Undelivered = -10,
    /// More than 16 MiB arrived while strait_request() was waiting. Use strait_start_request().
    TooMuchArrived = -11,
    /// The broker is gone.
    BrokerGone = -12,
    /// What the broker or a service wrote can't be true: the two sides are of different builds, or one has a bug.
    Protocol = -13,
    /// A draft is open, and this would send past it; or none is, or it isn't this one.
    Draft = -14,
    /// The parcel isn't sealed, or was lost when it was.
    Parcel = -15,
    /// No image can be made of this process; the text says what is in the way.
    Checkpoint = -16,
    /// What was asked for is not granted; the text says why.
    Denied = -17,
}

/// A code with its text, on its way to the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    code: StraitError,
    text: String,
}

impl Failure {
    pub(crate) fn new(code: StraitError, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn null(what: &str) -> Self {
        Self::new(StraitError::Null, format!("{what} is NULL"))
    }

    /// Leaves the text for [`strait_last_error`] and returns the code.
    fn leave(self) -> c_int {
        let mut bytes = self.text.into_bytes();
        bytes.retain(|byte| *byte != 0);
        let text = CString::new(bytes).unwrap_or_default();
        // A thread that is ending has no place for texts any more: the code has to do.
        let _ = LAST.try_with(|last| last.replace(text));
        self.code as c_int
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use StraitError as Code;
        let code = match &error {
            Error::NotAWorld => Code::NotAWorld,
            Error::Unreachable { .. } => Code::Unreachable,
            Error::Handshake(HandshakeError::Refused(_)) | Error::Refused(_) | Error::Switch(_) | Error::HasLinks => {
                Code::Refused
            }
            Error::Slice(_) | Error::Parcel(_) | Error::Call { .. } => Code::System,
            Error::Denied(_) => Code::Denied,
            Error::Name(_) => Code::Name,
            Error::Checkpoint(_) => Code::Checkpoint,
            Error::Full => Code::Full,
            Error::TooLarge { .. } | Error::Receivers { .. } => Code::TooLarge,
            Error::Undelivered { .. } => Code::Undelivered,
            Error::TooMuchArrived { .. } => Code::TooMuchArrived,
            Error::BrokerGone => Code::BrokerGone,
            Error::Handshake(_) | Error::Unexpected | Error::Malformed(_) | Error::Corrupt(_) => Code::Protocol,
        };
        Self::new(code, error.to_string())
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs one call. A panic ends here and not in the caller's frames.
pub(crate) fn guarded(call: impl FnOnce() -> Result<c_int, Failure>) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => failure.leave(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref().copied());
            let failure = Failure::new(StraitError::Bug, format!("bug in strait: {}", text.unwrap_or("panic")));
            // Dropping what was thrown could panic once more.
            std::mem::forget(panic);
            failure.leave()
        }
    }
}

/// What the last call of this thread that failed has to say: lowercase, without a newline. Never NULL; empty if no call
/// has failed. Alive until another call of this thread fails.
#[unsafe(no_mangle)]
pub extern "C" fn strait_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
