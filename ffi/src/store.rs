//! A world's own state: saved and loaded.

use crate::client::{StraitClient, with_client};
use crate::error::Failure;
use crate::pointer::{bytes, give};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

/// A state as it was saved.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitState {
    /// What was saved, never NULL. Alive until the next strait_load() or strait_close().
    pub bytes: *const u8,
    /// How many bytes.
    pub length: usize,
    /// Which version it is; they count from 1. 0: nothing was ever saved.
    pub version: u64,
    /// A newer version is there, but damaged: the newest such. Else 0.
    pub damaged: u64,
}

/// Saves this world's state. On success it is durable: from then on strait_load() gives it, or a newer one, after whatever stops the world,
/// the broker or the machine. On failure what was saved before is still there. `*version`, which may be NULL, counts from 1.
///
/// Takes `snapshots` in the world's configuration (else STRAIT_ERROR_REFUSED). Asks and waits as strait_request() does, so it ends the life
/// of the payload received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_save(
    client: Option<&mut StraitClient>,
    state: *const c_void,
    length: usize,
    version: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word (strait.h, "Pointers").
        let state = unsafe { bytes(state, length) }?;
        give(version, client.sender()?.save(state)?);
        Ok(0)
    })
}

/// The newest state that was saved under this world's name and is whole. If none was ever saved its version is 0; if all
/// are damaged it is STRAIT_ERROR_REFUSED. Asks and waits as strait_request() does.
#[unsafe(no_mangle)]
pub extern "C" fn strait_load(
    client: Option<&mut StraitClient>,
    state: Option<&mut MaybeUninit<StraitState>>,
) -> c_int {
    with_client(client, |client| {
        let out = state.ok_or_else(|| Failure::null("state"))?;
        let (version, bytes, damaged) = match client.sender()?.load()? {
            Some(state) => (state.version, state.bytes, state.damaged.unwrap_or(0)),
            None => (0, Vec::new(), 0),
        };
        client.state = bytes;
        let start = if client.state.is_empty() { c"".as_ptr().cast() } else { client.state.as_ptr() };
        out.write(StraitState { bytes: start, length: client.state.len(), version, damaged });
        Ok(0)
    })
}
