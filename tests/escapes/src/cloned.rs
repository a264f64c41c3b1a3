//! The probe as a clone of itself.

use std::os::fd::AsFd;
use strait_client::{Checkpoint, Client, checkpoint};
use strait_escapes::Ground;
use strait_protocol::handshake::{MAX_BYTES, WORLD_FD, Welcome};
use strait_sys::socket;

/// Comes to the checkpoint, and says whether this is the clone that attacks: its welcome has its name, which stays where it is for the rows that
/// are about the slices.
pub fn is_attacker() -> bool {
    if !matches!(checkpoint(), Ok(Checkpoint::Clone)) {
        return false;
    }
    let Ok(connection) = socket::adopt(WORLD_FD) else { return false };
    let mut buffer = [0; MAX_BYTES];
    let welcome = socket::peek(connection.as_fd(), &mut buffer).ok().and_then(|n| Welcome::decode(&buffer[..n]).ok());
    socket::give_back(connection);
    welcome.is_some_and(|welcome| welcome.name.as_str().ends_with("/attacker"))
}

/// The life of one that doesn't attack. That it has opened its connection is how the runner knows that it is here.
pub fn wait() -> ! {
    let _client = Client::open();
    loop {
        std::thread::park();
    }
}

/// The pid of the other clone, as it is outside.
pub fn victim(ground: &Ground) -> Option<i32> {
    std::fs::read_to_string(ground.in_rw("victim")).ok()?.trim().parse().ok()
}
