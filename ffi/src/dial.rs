//! Connections to the network.

use crate::client::{StraitClient, duration, with_client};
use crate::pointer::{give, text};
use crate::send::AGES;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;

/// Connects to a place in the network, `example.com:443` or `[fd00::5]:5432`, as far as policy lets this world: by a line or a grant
/// (`network example.com:443`). Waits for `timeout_ms` milliseconds at most, -1 is two minutes. `*fd` gets a connected TCP socket, blocking, which is the
/// caller's to close(2). It ends with ECONNABORTED when the grant that it was made by does. Ends the life of the payload received last.
///
/// STRAIT_ERROR_REFUSED: policy, no such name, nobody listens there, no answer in time; strait_last_error() says which.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_dial(
    client: Option<&mut StraitClient>,
    place: *const c_char,
    timeout_ms: c_int,
    fd: Option<&mut MaybeUninit<c_int>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let place = unsafe { text(place, "place") }?;
        let fd = fd.ok_or_else(|| crate::error::Failure::null("fd"))?;
        let connection = client.sender()?.dial(place, duration(timeout_ms).unwrap_or(AGES))?;
        give(Some(fd), connection.into_raw_fd());
        Ok(0)
    })
}
