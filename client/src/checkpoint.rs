//! The ready point of a world whose template is cloned.

use crate::connect;
use crate::error::{Error, call};
use std::os::fd::{AsFd, OwnedFd};
use strait_protocol::handshake::{self, Checkpoint as Answer};
use strait_sys::checkpoint::Resumed;
use strait_sys::socket;

/// Which of the worlds that come back from [`checkpoint`] this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The one that called.
    Original,
    /// One that goes on where the original stopped, in a jail of its own.
    Clone,
}

/// Says that this world is ready, before [`Client::open`](crate::Client::open): it has started, read what it needs, built its tables, and
/// nobody has sent it anything.
///
/// If its template says `checkpoint = true` and there is no image yet, one is made of this process. Then this returns once here, and
/// once in each world that is started from the template later, which goes on right here instead of starting. Otherwise it does nothing.
///
/// It needs one thread, no descriptors but 0 to 3 and files open for reading, no shared memory, timers or children. What is in the way is
/// an [`Error::Checkpoint`] that names it; the world can go on all the same, and the template is started the long way.
///
/// **What all clones have in common** is all that was in memory: addresses, stack canaries, hash seeds, the state of random generators, keys.
/// A world that needs randomness of its own takes it from the kernel after this has returned [`Checkpoint::Clone`]. Files in `/tmp` and the
/// limits that the world set for itself aren't memory, and aren't there.
///
/// ```no_run
/// use strait_client::{Checkpoint, Client, Error, checkpoint};
///
/// fn main() -> Result<(), Error> {
///     let table: Vec<u64> = (0..1_000_000).map(|n| n * n).collect();
///     if checkpoint()? == Checkpoint::Clone {
///         // Seed generators anew here.
///     }
///     let client = Client::open()?;
///     // Serve from the table.
///     # drop((table, client));
///     Ok(())
/// }
/// ```
pub fn checkpoint() -> Result<Checkpoint, Error> {
    let socket = connect::world()?;
    let outcome = run(&socket);
    // For `Client::open`, in a clone too: it has another connection at the same number.
    socket::give_back(socket);
    outcome
}

fn run(socket: &OwnedFd) -> Result<Checkpoint, Error> {
    let mut buffer = [0; handshake::MAX_BYTES];
    let length = socket::peek(socket.as_fd(), &mut buffer).map_err(call("recv"))?;
    let Some(limit) = handshake::wanted_image(&buffer[..length]) else { return Ok(Checkpoint::Original) };
    socket::receive(socket.as_fd(), &mut buffer).map_err(call("recvmsg"))?;
    match strait_sys::checkpoint::checkpoint(handshake::WORLD_FD, limit) {
        Ok(Resumed::Clone) => Ok(Checkpoint::Clone),
        Ok(Resumed::Original(image)) => {
            socket::send(socket.as_fd(), &Answer::Made.encode(), &[image.as_fd()]).map_err(call("sendmsg"))?;
            Ok(Checkpoint::Original)
        }
        Err(error) => {
            let answer = Answer::Failed(error.to_string());
            socket::send(socket.as_fd(), &answer.encode(), &[]).map_err(call("sendmsg"))?;
            Err(error.into())
        }
    }
}
