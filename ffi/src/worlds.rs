//! Commanding worlds: starting, waking, replacing and ending them, as far as policy lets this one.

use crate::client::{StraitClient, duration, with_client};
use crate::error::Failure;
use crate::pointer::{fill, give, in_place, optional, text};
use crate::send::AGES;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::time::Duration;
use strait_client::{Client, Ended, Error, Name, WorldId, WorldRow};

/// A world, by the control service's word.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitWorld {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: [c_char; 65],
}

/// A world in a list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitWorldRow {
    /// Its id.
    pub id: u64,
    /// Since when it is there, in milliseconds before now.
    pub age_ms: u64,
    /// Its first process in the pid namespace of the broker, 0 if it has none.
    pub pid: i32,
    /// Its uid, by the kernel's word.
    pub uid: u32,
    /// Its name.
    pub name: [c_char; 65],
    /// What it does: "starting", "ready", "stopping", "asleep"; or "service", "attached".
    pub state: [c_char; 17],
}

/// How a world ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitEnded {
    /// Its id.
    pub id: u64,
    /// The version of its state that it saved after it was told to end. 0 if it saved none.
    pub saved: u64,
    /// Its exit code, if it exited by itself; else -1.
    pub code: c_int,
    /// The signal that ended it otherwise; else 0.
    pub signal: c_int,
    /// From the command to the end, in milliseconds; 0 when nobody told it to end.
    pub took_ms: u32,
    /// It acknowledged the notice of its shutdown.
    pub acknowledged: bool,
    /// The deadline passed, or the broker had another reason to kill it.
    pub killed: bool,
    /// It is the end of one life: the next message to it wakes it.
    pub sleeps: bool,
    /// What the broker has to say about it. It may be empty.
    pub note: [c_char; 257],
}

impl StraitEnded {
    fn new(ended: &Ended) -> Self {
        let Ended { id, code, signal, acknowledged, saved, killed, note, took_ms, sleeps } = ended;
        Self {
            id: *id,
            saved: saved.map_or(0, |saved| saved.version),
            code: code.unwrap_or(-1),
            signal: signal.unwrap_or(0),
            took_ms: *took_ms,
            acknowledged: *acknowledged,
            killed: *killed,
            sleeps: *sleeps,
            note: in_place(note),
        }
    }
}

/// Starts a world from a template of the broker's configuration; takes `may = ["start TEMPLATE"]`. `name` may be NULL: then it is called
/// TEMPLATE/N. `*world`, which may be NULL, says what came of it. Asks the control service, as every function from here to strait_list()
/// does: waits up to 10 seconds, and ends the life of the payload received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_start(
    client: Option<&mut StraitClient>,
    template_name: *const c_char,
    name: *const c_char,
    world: Option<&mut MaybeUninit<StraitWorld>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let template = unsafe { text(template_name, "template_name") }?;
        // SAFETY: likewise.
        let name = unsafe { optional(name, "name") }?;
        hand_out(world, client.sender()?.start(template, name))
    })
}

/// Starts another world of the template that the one with this name is of.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_clone_world(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    world: Option<&mut MaybeUninit<StraitWorld>>,
) -> c_int {
    // SAFETY: that the text ends is the caller's word (strait.h, "Pointers").
    unsafe { named(client, name, |client, name| hand_out(world, client.clone_world(name))) }
}

/// Starts a world that sleeps, whatever came of it before, and waits until its program runs. Nothing happens to one that runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_wake(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    world: Option<&mut MaybeUninit<StraitWorld>>,
) -> c_int {
    // SAFETY: that the text ends is the caller's word (strait.h, "Pointers").
    unsafe { named(client, name, |client, name| hand_out(world, client.wake(name))) }
}

/// Has a new version of a world, from a template, take over its name, its id and what waits for it. The running one is told
/// (STRAIT_WANTED_UPGRADE) and has `deadline_ms` milliseconds to save its state and end. Returns when the new one's program runs.
///
/// With `beside` the new version starts first, beside the running one and with an id of its own. When it is ready it gets what is sent to either,
/// and the old one has until the deadline to finish what it has. If it never is, the old one goes on. `reason` is for the world to read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_upgrade(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    template_name: *const c_char,
    beside: bool,
    deadline_ms: u32,
    reason: *const c_char,
    world: Option<&mut MaybeUninit<StraitWorld>>,
) -> c_int {
    let upgrade = if beside { Client::upgrade_beside } else { Client::upgrade };
    let call = |client: &mut Client, name: &str| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let template = unsafe { text(template_name, "template_name") }?;
        // SAFETY: likewise.
        let reason = unsafe { text(reason, "reason") }?;
        hand_out(world, upgrade(client, name, Some(template), "", milliseconds(deadline_ms), reason))
    };
    // SAFETY: likewise.
    unsafe { named(client, name, call) }
}

/// Tells a world to end, and waits until it has ended, by itself or by force at the deadline. `reason` is for the world to read. `*ended` may be
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_stop(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    deadline_ms: u32,
    reason: *const c_char,
    ended: Option<&mut MaybeUninit<StraitEnded>>,
) -> c_int {
    let call = |client: &mut Client, name: &str| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let reason = unsafe { text(reason, "reason") }?;
        give(ended, StraitEnded::new(&client.stop(name, milliseconds(deadline_ms), reason)?));
        Ok(0)
    };
    // SAFETY: likewise.
    unsafe { named(client, name, call) }
}

/// Ends a world at once, without telling it, and waits until it is gone. `reason` is for those who wait for its end to read. `*ended` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_kill(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    reason: *const c_char,
    ended: Option<&mut MaybeUninit<StraitEnded>>,
) -> c_int {
    let call = |client: &mut Client, name: &str| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let reason = unsafe { text(reason, "reason") }?;
        give(ended, StraitEnded::new(&client.kill(name, reason)?));
        Ok(0)
    };
    // SAFETY: likewise.
    unsafe { named(client, name, call) }
}

/// Waits until the world with this id is gone, for `timeout_ms` milliseconds at most; -1 is 49 days. `*ended` may be NULL.
/// STRAIT_ERROR_UNDELIVERED if the time is over.
#[unsafe(no_mangle)]
pub extern "C" fn strait_wait(
    client: Option<&mut StraitClient>,
    id: u64,
    timeout_ms: i32,
    ended: Option<&mut MaybeUninit<StraitEnded>>,
) -> c_int {
    with_client(client, |client| {
        let timeout = duration(timeout_ms).unwrap_or(AGES);
        give(ended, StraitEnded::new(&client.sender()?.wait(WorldId(id), Some(timeout))?));
        Ok(0)
    })
}

/// Tells a world to save its state and go on, and waits until it is durable. `*version`, which may be NULL, is what was saved. `reason` is for
/// the world to read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_snapshot(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    deadline_ms: u32,
    reason: *const c_char,
    version: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    let call = |client: &mut Client, name: &str| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let reason = unsafe { text(reason, "reason") }?;
        give(version, client.snapshot(name, milliseconds(deadline_ms), reason)?.version);
        Ok(0)
    };
    // SAFETY: likewise.
    unsafe { named(client, name, call) }
}

/// Fills `worlds` with what worlds there are, in the order of their ids, as far as `capacity` goes; `worlds` may be NULL if that is 0. Returns how
/// many there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_list(
    client: Option<&mut StraitClient>,
    worlds: *mut StraitWorldRow,
    capacity: usize,
) -> c_int {
    with_client(client, |client| {
        let rows = client.sender()?.list()?;
        // SAFETY: null is refused in `fill`; that there is so much room is the caller's word (strait.h, "Pointers").
        unsafe { fill(worlds, capacity, "worlds", &rows, row) }
    })
}

fn row(row: &WorldRow) -> StraitWorldRow {
    let WorldRow { id, name, state, pid, uid, age_ms, .. } = row;
    StraitWorldRow { id: *id, age_ms: *age_ms, pid: *pid, uid: *uid, name: in_place(name), state: in_place(state) }
}

/// One call about the world of a name.
///
/// # Safety
/// If `name` isn't null, it ends in NUL and isn't written during the call.
unsafe fn named(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    call: impl FnOnce(&mut Client, &str) -> Result<c_int, Failure>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word.
        let name = unsafe { text(name, "name") }?;
        call(client.sender()?, name)
    })
}

fn hand_out(
    out: Option<&mut MaybeUninit<StraitWorld>>,
    found: Result<(WorldId, Name), Error>,
) -> Result<c_int, Failure> {
    let (id, name) = found?;
    give(out, StraitWorld { id: id.0, name: in_place(name.as_str()) });
    Ok(0)
}

fn milliseconds(time: u32) -> Duration {
    Duration::from_millis(time.into())
}
