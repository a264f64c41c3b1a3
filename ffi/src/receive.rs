//! Receiving in place, and waiting for it together with other things.

use crate::client::{StraitClient, duration, with_client};
use crate::error::Failure;
use crate::record::StraitRecord;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// The next record: 1 if there is one, 0 if the time was over before. Waits as long as it takes (-1), not at all
/// (0), or so many milliseconds. The payload lies in the inbox itself (see "Lifetimes") and can't be written. What
/// is sent from now on has this record's sequence as its cause.
#[unsafe(no_mangle)]
pub extern "C" fn strait_receive(
    client: Option<&mut StraitClient>,
    timeout_ms: i32,
    record: Option<&mut MaybeUninit<StraitRecord>>,
) -> c_int {
    with_client(client, |client| {
        let record = record.ok_or_else(|| Failure::null("record"))?;
        let found = match timeout_ms {
            0 => client.client.try_receive(),
            _ => client.client.receive(duration(timeout_ms)),
        }?;
        let Some(found) = found else { return Ok(0) };
        // The pointer outlives the borrow: the payload stays where it is until the client steps past the record,
        // which the functions listed under "Lifetimes" do, and no others.
        record.write(StraitRecord::new(&found.header(), found.payload()));
        Ok(1)
    })
}

/// Says that the payload received last isn't needed any more. The next receive does that too. The switch gets the
/// room back at the next receive, not before.
#[unsafe(no_mangle)]
pub extern "C" fn strait_release(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |_| Ok(0))
}

/// A descriptor that becomes readable when a record arrives, for poll(2), epoll(7) and the like. Poll it only after
/// strait_receive() with 0 milliseconds has returned 0; when it is readable, call that again until it does. It
/// belongs to the client: neither read nor close it.
#[unsafe(no_mangle)]
pub extern "C" fn strait_poll_fd(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |client| Ok(client.client.poll_fd().as_raw_fd()))
}
