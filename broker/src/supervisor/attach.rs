//! Host programs that attach through the listening socket: judged by the uid that the kernel names.

use super::entry::{Channel, Entry, Nature};
use super::{Supervisor, Token};
use crate::config;
use crate::policy::Policy;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_protocol::handshake::{self, Hello};
use strait_protocol::{Name, SliceSize, WorldId};
use strait_sys::socket::{self, Peer};

/// Connections that may be about to say hello.
const MAX_STRANGERS: usize = 64;
/// And those of one user, who could keep all others out.
const MAX_STRANGERS_PER_UID: usize = 8;
/// How long they have for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the switch may hold on a host program's account.
const BUDGET_BYTES: u64 = 1024 * 1024;

/// A connection that said nothing yet.
#[derive(Debug)]
pub(super) struct Stranger {
    connection: OwnedFd,
    uid: u32,
    pub deadline: Instant,
}

impl Supervisor {
    pub(super) fn accept_strangers(&mut self) {
        // The rest at the next look: whoever connects without end doesn't keep the supervisor from its other work.
        for _ in 0..MAX_STRANGERS {
            let Some(listener) = &self.public else { return };
            let Ok(connection) = socket::accept(listener.as_fd()) else { return };
            let Ok(Peer { uid, .. }) = socket::peer(connection.as_fd()) else { continue };
            let of_uid = self.strangers.values().filter(|stranger| stranger.uid == uid).count();
            if self.strangers.len() >= MAX_STRANGERS || of_uid >= MAX_STRANGERS_PER_UID {
                refuse(&connection, "too many programs are attaching at once: try again");
                continue;
            }
            let number = self.number();
            let flags = EventFlags::IN | EventFlags::RDHUP;
            if self.watch(connection.as_fd(), Token::Stranger(number), flags).is_ok() {
                self.strangers.insert(number, Stranger { connection, uid, deadline: Instant::now() + PATIENCE });
            }
        }
    }

    pub(super) fn hear_stranger(&mut self, number: u64) {
        let Some(Stranger { connection, .. }) = self.strangers.get(&number) else { return };
        let mut buffer = [0; handshake::MAX_BYTES];
        let length = match socket::try_receive(connection.as_fd(), &mut buffer) {
            Err(Errno::AGAIN) => return,
            Ok((length, _)) => length,
            Err(_) => 0,
        };
        let Some(Stranger { connection, .. }) = self.strangers.remove(&number) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, &connection);
        if length == 0 {
            return;
        }
        if let Err(why) = self.attach(&connection, &buffer[..length]) {
            refuse(&connection, &why);
        }
    }

    fn attach(&mut self, connection: &OwnedFd, hello: &[u8]) -> Result<(), String> {
        let hello = Hello::decode(hello).map_err(|error| error.to_string())?;
        let peer =
            socket::peer(connection.as_fd()).map_err(|errno| format!("the kernel doesn't vouch for you: {errno}"))?;
        let policy = Policy::of_rule(self.rule_for(&hello.name, &peer)?).map_err(|error| error.to_string())?;
        let connection = connection.try_clone().map_err(|error| error.to_string())?;
        let id = self.admit(hello.name, SliceSize::DEFAULT, policy, connection)?;
        if let Some(entry) = self.worlds.get_mut(&id) {
            (entry.uid, entry.pid) = (peer.uid, peer.pid);
        }
        Ok(())
    }

    fn rule_for(&self, name: &Name, peer: &Peer) -> Result<&config::AttachRule, String> {
        let covers = |rule: &&config::AttachRule| {
            rule.name.parse().is_ok_and(|pattern: strait_protocol::Pattern| pattern.covers(name))
        };
        let rules: Vec<_> = self.config.attach.iter().filter(covers).collect();
        match rules.iter().find(|rule| rule.uid == peer.uid) {
            Some(rule) => Ok(rule),
            None if rules.is_empty() => Err(format!("no `attach` rule covers the name `{name}`")),
            None => Err(format!("no `attach` rule lets uid {} be `{name}`", peer.uid)),
        }
    }

    /// Makes a party of whoever is at the other end of a connection that was judged.
    pub(super) fn admit(
        &mut self,
        name: Name,
        size: SliceSize,
        policy: Policy,
        connection: OwnedFd,
    ) -> Result<WorldId, String> {
        self.check_name(&name)?;
        let channel = Channel::create(size).map_err(|error| error.to_string())?;
        let mut entry = Entry::new(self.take_id(), name, Nature::Attached, channel);
        entry.policy = policy;
        // Who may everything is whom the worlds' payloads are shown to.
        entry.tap_payload = entry.policy.is_admin();
        entry.connection = Some(connection);
        let id = entry.id;
        self.register(entry, BUDGET_BYTES)?;
        Ok(id)
    }
}

/// Who doesn't stay to hear it isn't told, and nobody else is either: anybody may connect, as often as they like.
fn refuse(connection: &OwnedFd, why: &str) {
    let _ = socket::try_send(connection.as_fd(), &handshake::refusal(why), &[]);
}
