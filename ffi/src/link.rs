//! Direct links: what two worlds say to each other without the switch between.

use crate::client::{StraitClient, duration, with_client};
use crate::send::AGES;
use std::ffi::c_int;
use strait_client::WorldId;

/// Makes a direct link to another world, if policy lets both have it, and waits until it is there, for `timeout_ms` milliseconds at
/// most; -1 is 49 days. From then on what the two send each other goes past the switch, by the same calls and in the same
/// order. The other world takes part whenever it looks for records. Ends the life of the payload received last.
///
/// STRAIT_ERROR_REFUSED: policy doesn't let the two have one. STRAIT_ERROR_UNDELIVERED: the other world didn't take part in
/// time. Either way all goes on through the switch.
#[unsafe(no_mangle)]
pub extern "C" fn strait_link(client: Option<&mut StraitClient>, peer: u64, timeout_ms: c_int) -> c_int {
    with_client(client, |client| {
        client.sender()?.link(WorldId(peer), duration(timeout_ms).unwrap_or(AGES))?;
        Ok(0)
    })
}

/// Ends the direct link to a world, if there is one. What was sent over it arrives; what is sent from now on goes through the
/// switch. Requests that went over it and have no answer yet end in a notice, STRAIT_REASON_UNLINKED.
#[unsafe(no_mangle)]
pub extern "C" fn strait_unlink(client: Option<&mut StraitClient>, peer: u64) -> c_int {
    with_client(client, |client| {
        client.sender()?.unlink(WorldId(peer))?;
        Ok(0)
    })
}

/// Whether there is a direct link to a world. False for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_is_linked(client: Option<&StraitClient>, peer: u64) -> bool {
    client.is_some_and(|client| client.client.is_linked(WorldId(peer)))
}
