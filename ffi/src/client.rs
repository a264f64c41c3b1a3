//! The client as an opaque thing: opening, closing, asking what it is.

use crate::draft::OpenDraft;
use crate::error::{Failure, StraitError, guarded};
use crate::pointer::text;
use std::ffi::{CString, OsStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::time::Duration;
use strait_client::{Client, Parcel};

/// A world's or host program's connection to the switch.
#[derive(Debug)]
pub struct StraitClient {
    pub(crate) client: Client,
    name: CString,
    /// The payload of the last reply to `strait_request`.
    pub(crate) reply: Vec<u8>,
    /// What the last `strait_load` gave.
    pub(crate) state: Vec<u8>,
    pub(crate) draft: Option<OpenDraft>,
    /// What came with the record received last and wasn't taken.
    pub(crate) parcel: Option<Parcel>,
    /// A call is under way, or ended in a panic: who knows in which state.
    is_broken: bool,
}

impl StraitClient {
    pub(crate) fn new(client: Client) -> Self {
        // A name has no NUL in it: `Name` allows a few ASCII characters only.
        let name = CString::new(client.name().as_str()).unwrap_or_default();
        Self { client, name, reply: Vec::new(), state: Vec::new(), draft: None, parcel: None, is_broken: false }
    }

    /// The client to send with. While a draft is open, nothing else may be written to the outbox.
    pub(crate) fn sender(&mut self) -> Result<&mut Client, Failure> {
        match self.draft {
            None => Ok(&mut self.client),
            Some(_) => Err(Failure::new(StraitError::Draft, "a draft is open: send or drop it first")),
        }
    }
}

/// Runs one call on a client. Who panics leaves it broken, and nobody gets at a broken one.
pub(crate) fn with_client(
    client: Option<&mut StraitClient>,
    call: impl FnOnce(&mut StraitClient) -> Result<c_int, Failure>,
) -> c_int {
    guarded(|| {
        let client = client.ok_or_else(|| Failure::null("client"))?;
        if client.is_broken {
            return Err(Failure::new(StraitError::Bug, "this client met a bug in strait before: close it"));
        }
        client.is_broken = true;
        let result = call(client);
        client.is_broken = false;
        result
    })
}

/// A time as C says it: less than zero is forever.
pub(crate) fn duration(timeout_ms: i32) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

fn hand_out(
    out: Option<&mut MaybeUninit<*mut StraitClient>>,
    connect: impl FnOnce() -> Result<Client, Failure>,
) -> c_int {
    guarded(|| {
        let out = out.ok_or_else(|| Failure::null("client"))?;
        out.write(ptr::null_mut());
        out.write(Box::into_raw(Box::new(StraitClient::new(connect()?))));
        Ok(0)
    })
}

/// Says that this world is ready, before strait_open(): it has started and nobody has sent it anything. If its template is to be cloned and
/// there is no image yet, one is made of this process.
///
/// Returns 0 in the process that calls, and 1 in each clone, which goes on right here: as fork() does, but with a jail, a connection and
/// limits of its own. It needs one thread, no descriptors but 0 to 3 and files open for reading, no shared memory, timers or children; what is in
/// the way is STRAIT_ERROR_CHECKPOINT, and the process can go on all the same.
///
/// Everything that was in memory is the same in all clones, hash seeds and the state of random generators too: who needs randomness of its own
/// takes it from the kernel after a return of 1.
#[unsafe(no_mangle)]
pub extern "C" fn strait_checkpoint() -> c_int {
    guarded(|| Ok(c_int::from(strait_client::checkpoint()? == strait_client::Checkpoint::Clone)))
}

/// Takes up the connection that was made for this world before its program started: descriptor 3. Once per process.
/// On failure, `*client` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_open(client: Option<&mut MaybeUninit<*mut StraitClient>>) -> c_int {
    hand_out(client, || Ok(Client::open()?))
}

/// Attaches a host program to the broker that listens at `socket_path`, under a name that policy gives to our uid.
/// On failure, `*client` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_attach(
    socket_path: *const c_char,
    name: *const c_char,
    client: Option<&mut MaybeUninit<*mut StraitClient>>,
) -> c_int {
    hand_out(client, || {
        // SAFETY: null is refused in `text`; that the texts end is the caller's word (strait.h, "Pointers").
        let path = unsafe { text(socket_path, "socket_path") }?;
        // SAFETY: the same.
        let name = unsafe { text(name, "name") }?;
        Ok(Client::attach(OsStr::from_bytes(path.as_bytes()), name)?)
    })
}

/// Shows the switch what was staged, tells the broker that this is the end, and frees the client with all that it
/// handed out. What was sent is still delivered. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn strait_close(client: Option<Box<StraitClient>>) {
    guarded(|| {
        drop(client);
        Ok(0)
    });
}

/// Our id, or 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_id(client: Option<&StraitClient>) -> u64 {
    client.map_or(0, |client| client.client.id().0)
}

/// Our name. Alive until the client is closed. NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_name(client: Option<&StraitClient>) -> *const c_char {
    client.map_or(ptr::null(), |client| client.name.as_ptr())
}

/// The largest payload that one record can carry, in bytes, or 0 for NULL. What is larger goes in pieces.
#[unsafe(no_mangle)]
pub extern "C" fn strait_max_payload(client: Option<&StraitClient>) -> usize {
    client.map_or(0, |client| client.client.max_payload() as usize)
}

/// Asks the control service for the id of the running world with this name. Remembered until a notice says that it
/// is gone. Waits up to 10 seconds; ends the life of the payload received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_resolve(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    id: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let name = unsafe { text(name, "name") }?;
        let id = id.ok_or_else(|| Failure::null("id"))?;
        id.write(client.sender()?.resolve(name)?.0);
        Ok(0)
    })
}
