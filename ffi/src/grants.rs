//! Asking for what policy doesn't give, and deciding what others ask for.

use crate::client::{StraitClient, duration, with_client};
use crate::error::{Failure, StraitError, guarded};
use crate::pointer::{bytes, fill, give, in_place, optional, text};
use crate::record::StraitRecord;
use crate::send::AGES;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use strait_client::{Asked, Decision, Granted};
use strait_protocol::control::ASKED;
use strait_protocol::{Kind, Name, WorldId};

/// Bytes of the texts of a strait_question, with the NUL at their end.
const NAME_BYTES: usize = Name::MAX_BYTES + 1;
const TEXT_BYTES: usize = 513;

/// What a world asks for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitQuestion {
    /// The question's number, and that of the grant if there will be one.
    pub number: u64,
    /// Who asks: its id, the kernel's word.
    pub id: u64,
    /// How long it waits from now on, in milliseconds.
    pub left_ms: u32,
    /// Its name.
    pub name: [c_char; 65],
    /// What it asks for, as `ask` in the configuration has it: `memory 2 GiB`.
    pub resource: [c_char; 513],
    /// What for: its own words.
    pub reason: [c_char; 513],
}

const _: () = assert!(NAME_BYTES == 65 && TEXT_BYTES == 513);

/// What becomes of what a world asks for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StraitDecision {
    /// It is granted.
    Grant = 0,
    /// It is denied.
    Deny = 1,
    /// A person is to decide.
    Leave = 2,
}

const GRANT: c_int = StraitDecision::Grant as c_int;
const DENY: c_int = StraitDecision::Deny as c_int;
const LEAVE: c_int = StraitDecision::Leave as c_int;

/// Asks to be granted something, as `ask` in the configuration has it (`memory 2 GiB`), and waits until it is decided: for `timeout_ms`
/// milliseconds at most, -1 is 49 days. `reason` is for who decides to read, 512 bytes at most. `*grant`, which may be NULL, gets the
/// grant's number; 0 if none was needed. Ends the life of the payload received last.
///
/// STRAIT_ERROR_DENIED: it was denied, or nobody decided in time. STRAIT_ERROR_REFUSED: this world may not even ask for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_ask_for(
    client: Option<&mut StraitClient>,
    resource: *const c_char,
    reason: *const c_char,
    timeout_ms: c_int,
    grant: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let resource = unsafe { text(resource, "resource") }?;
        // SAFETY: likewise.
        let reason = unsafe { text(reason, "reason") }?;
        let granted = client.sender()?.ask_for(resource, reason, duration(timeout_ms).unwrap_or(AGES))?;
        give(grant, granted.number);
        Ok(0)
    })
}

/// What a world asks for, if this record says so: 1, and `*asked` is filled. 0 if it is something else. Such records come to the world
/// with the role `control` alone, and nobody but the control service can send them. Answer with strait_decide(), before the record's time is
/// over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_asked(
    record: Option<&StraitRecord>,
    asked: Option<&mut MaybeUninit<StraitQuestion>>,
) -> c_int {
    guarded(|| {
        let record = record.ok_or_else(|| Failure::null("record"))?;
        let out = asked.ok_or_else(|| Failure::null("asked"))?;
        if (record.kind, record.source, record.code) != (Kind::Request as u8, WorldId::CONTROL.0, ASKED) {
            return Ok(0);
        }
        // SAFETY: null is refused in `bytes`; that the payload is still there is the caller's word (strait.h, "Lifetimes").
        let payload = unsafe { bytes(record.payload.cast(), record.length) }?;
        let Ok(asked) = Asked::decode(payload) else { return Ok(0) };
        out.write(question(&asked));
        Ok(1)
    })
}

/// Decides what a record asked; a copy of the record will do. A grant is for `for_ms` milliseconds, or with -1 until it is revoked. `why`, which
/// may be NULL, is for the asker to read if it is denied. `decision` is an enum strait_decision. Waits for room if need be, see
/// strait_set_patience().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_decide(
    client: Option<&mut StraitClient>,
    question: Option<&StraitRecord>,
    decision: c_int,
    for_ms: c_int,
    why: *const c_char,
) -> c_int {
    with_client(client, |client| {
        let question = question.ok_or_else(|| Failure::null("question"))?;
        let decision = match decision {
            GRANT => Decision::Grant { for_ms: u32::try_from(for_ms).ok() },
            // SAFETY: that the text ends is the caller's word (strait.h, "Pointers").
            DENY => Decision::Deny { why: unsafe { optional(why, "why") }?.unwrap_or_default().into() },
            LEAVE => Decision::Leave,
            other => return Err(Failure::new(StraitError::Protocol, format!("{other} is no strait_decision"))),
        };
        client.sender()?.decide(&question.header(), &decision)?;
        Ok(0)
    })
}

/// Something that was granted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitGrant {
    /// Its number.
    pub number: u64,
    /// To whom: the id, the kernel's word.
    pub id: u64,
    /// For how long from now on, in milliseconds; -1: until it is revoked.
    pub left_ms: i64,
    /// It takes effect when the world starts the next time.
    pub from_next_start: bool,
    /// The name of who has it.
    pub name: [c_char; 65],
    /// What, as `ask` in the configuration has it: `memory 2 GiB`.
    pub resource: [c_char; 513],
    /// By whom.
    pub by: [c_char; 513],
}

/// Fills `questions` with what worlds ask for and nobody has decided, in the order of their numbers, as far as `capacity` goes; it may be NULL if
/// that is 0. Returns how many there are. Takes `may = ["grant"]`, as the functions from here to strait_deny() do. Waits up to 10 seconds; ends
/// the life of the payload received last; so do those.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_requests(
    client: Option<&mut StraitClient>,
    questions: *mut StraitQuestion,
    capacity: usize,
) -> c_int {
    with_client(client, |client| {
        let asked = client.sender()?.requests()?;
        // SAFETY: null is refused in `fill`; that there is so much room is the caller's word (strait.h, "Pointers").
        unsafe { fill(questions, capacity, "questions", &asked, question) }
    })
}

/// Fills `grants` with what is granted, likewise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_grants(
    client: Option<&mut StraitClient>,
    grants: *mut StraitGrant,
    capacity: usize,
) -> c_int {
    with_client(client, |client| {
        let granted = client.sender()?.grants()?;
        // SAFETY: null is refused in `fill`; that there is so much room is the caller's word (strait.h, "Pointers").
        unsafe { fill(grants, capacity, "grants", &granted, grant) }
    })
}

/// Grants what is asked for under this number, for `for_ms` milliseconds, or with -1 until it is revoked. Returns when it is in force. `*granted`
/// may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_grant(
    client: Option<&mut StraitClient>,
    number: u64,
    for_ms: i32,
    granted: Option<&mut MaybeUninit<StraitGrant>>,
) -> c_int {
    with_client(client, |client| {
        give(granted, grant(&client.sender()?.grant(number, duration(for_ms))?));
        Ok(0)
    })
}

/// Denies what is asked for under this number. `why`, for the asker to read, may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_deny(client: Option<&mut StraitClient>, number: u64, why: *const c_char) -> c_int {
    with_client(client, |client| {
        // SAFETY: that the text ends is the caller's word (strait.h, "Pointers").
        let why = unsafe { optional(why, "why") }?;
        client.sender()?.deny(number, why.unwrap_or_default())?;
        Ok(0)
    })
}

/// Takes a grant back; who has it may do so, too. When this returns, nothing goes through under it any more. Waits up to 10 seconds; ends the life of
/// the payload received last.
#[unsafe(no_mangle)]
pub extern "C" fn strait_revoke(client: Option<&mut StraitClient>, number: u64) -> c_int {
    with_client(client, |client| {
        client.sender()?.revoke(number)?;
        Ok(0)
    })
}

fn question(asked: &Asked) -> StraitQuestion {
    let Asked { number, id, name, resource, reason, left_ms } = asked;
    let (name, resource, reason) = (in_place(name), in_place(resource), in_place(reason));
    StraitQuestion { number: *number, id: *id, left_ms: *left_ms, name, resource, reason }
}

fn grant(granted: &Granted) -> StraitGrant {
    let Granted { number, id, name, resource, left_ms, by, from_next_start } = granted;
    let left_ms = left_ms.map_or(-1, i64::from);
    let (name, resource, by) = (in_place(name), in_place(resource), in_place(by));
    StraitGrant { number: *number, id: *id, left_ms, from_next_start: *from_next_start, name, resource, by }
}
