//! What the supervisor and the switch say to each other, on a socket pair that nobody else has.

use crate::policy::Way;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use strait_protocol::Counters;
use strait_sys::socket;

/// The longest message, in bytes: a page of counters, or a world with a long policy.
const MAX_BYTES: usize = 64 * 1024;

/// The supervisor to the switch.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// A world comes: its slices and bells are attached, in the order outbox, inbox, bell, wakeup, lane.
    Attach(Passport),
    /// A world is gone: deliver what it published, then forget it and tell who waits for it.
    Detach { id: u64 },
    /// A world's life is over, and it goes on with fresh slices and bells, in the order of `Attach`. What it hadn't read waits there for its
    /// next life, or is given back to its senders.
    Renew { passport: Passport, gives_back: bool },
    /// What is sent to the one world goes to the other from now on, its newer version.
    Forward { from: u64, to: u64 },
    /// Whatever direct link there is between these two worlds is to end.
    Unlink { one: u64, other: u64 },
    /// A world sees what comes from the worlds of this pattern and goes to them, from now on and until it is untapped or gone.
    Tap { tapper: u64, pattern: String, payload: bool },
    /// It sees nothing of others any more.
    Untap { tapper: u64 },
    /// This world may publish on this topic, which is open from now on if it wasn't.
    OpenTopic { topic: u32, publisher: u64 },
    /// It may no longer, and the value that is kept there goes if it is its own.
    LeaveTopic { topic: u32, publisher: u64 },
    /// What this world published on this topic and waits for room goes to nobody. It may publish there no longer: that was said before.
    Withdraw { topic: u32, publisher: u64 },
    /// This topic is no more.
    CloseTopic { topic: u32 },
    /// Each of these subscriptions gets what is published on each of these topics from now on.
    Subscribe { subscriptions: Vec<Subscription>, topics: Vec<u32> },
    /// This subscription gets nothing more.
    Unsubscribe { world: u64, number: u32 },
    /// The control service says something on a topic of its own, to these worlds and subscriptions.
    Announce { topic: u32, subscribers: Vec<(u64, u32)>, payload: Vec<u8> },
    /// Say when everything before this is done.
    Fence { ticket: u64 },
    /// From now on a world may reach others under a grant.
    Permit { grant: u64, world: u64, way: Way, to: String },
    /// From now on it may not: what waits under the grant goes back, and links under it end.
    Revoke { grant: u64, world: u64 },
    /// Counters of these worlds.
    Count { ticket: u64, ids: Vec<u64> },
    /// There is a group, without members.
    Group(GroupPassport),
    /// A world takes part in what is sent to a group from now on.
    Join { group: u64, world: u64 },
    /// It doesn't any more, and ends what it has. Answered.
    Leave { group: u64, world: u64 },
    /// No member of a group comes up: what waits for it goes back to its senders.
    GiveUp { group: u64 },
    /// What a group has to do.
    CountGroup { ticket: u64, id: u64 },
}

/// What the switch must know of a group.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupPassport {
    pub id: u64,
    pub name: String,
    /// Requests and messages that one member may have at once.
    pub outstanding: u32,
    /// The longest payload that its members take, in bytes.
    pub max_payload: u32,
    /// How much the switch may hold of what the dead left for it.
    pub budget_bytes: u64,
}

/// What the switch must know of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub world: u64,
    /// The subscriber's own.
    pub number: u32,
    /// The newest value wins, where there is no room for all.
    pub newest: bool,
    /// What was kept is wanted, too.
    pub retained: bool,
    /// Wanted is what has this tag, as far as the mask goes.
    pub tag_mask: u64,
    pub tag: u64,
}

/// What the switch must know of a world.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Passport {
    pub id: u64,
    pub name: String,
    pub outbox_bytes: u32,
    pub inbox_bytes: u32,
    /// Patterns of names that it may send to.
    pub send: Vec<String>,
    /// Patterns of names that it may be linked with.
    pub link: Vec<String>,
    /// How much the switch may hold on its account.
    pub budget_bytes: u64,
    /// How many parcels it may hold, and of how many bytes altogether.
    pub parcel_count: u32,
    pub parcel_bytes: u64,
    /// Whether a tap may show its payloads.
    pub tap_payload: bool,
}

/// The switch to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The inbox is mapped: it can be sealed.
    Attached { id: u64 },
    /// It isn't, and why.
    NotAttached { id: u64, why: String },
    /// The same after `Renew`, and everything about the life that is over is delivered and told. Whether that had taken anything out of its inbox, and
    /// the number of the last record that it sent.
    Renewed { id: u64, has_taken: bool, sequence: u64 },
    /// What is sent to a world's old version goes to this one from now on.
    Forwarded { to: u64 },
    /// Everything about this world is delivered, told and forgotten.
    Detached { id: u64 },
    /// This world wrote what can't be true. Nothing more is taken from it.
    Quarantined { id: u64, why: String },
    /// Files of many pages that nobody needs any more: whoever closes the last descriptor of one frees them, which takes long.
    Discarded,
    /// A world says that another wrote what can't be true over their direct link: its word against the other's.
    Accused { by: u64, of: u64 },
    /// The answer to `Fence`.
    Passed { ticket: u64 },
    /// A grant is in force: what is sent from now on is judged by it.
    Permitted { grant: u64 },
    /// Nothing goes on under a grant any more, unless it is a link whose sides were told to end it and didn't in time.
    Revoked { grant: u64, is_late: bool },
    /// The answer to `Count`.
    Counted { ticket: u64, rows: Vec<Count> },
    /// Something waits for this group and no member is free. Said once until one comes or goes.
    Wanted { group: u64 },
    /// The answer to `CountGroup`.
    GroupCounted { ticket: u64, count: GroupCount },
    /// The answer to `Leave`: from here on this world gets nothing that is sent to the group.
    Left { world: u64 },
}

/// What a group has to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GroupCount {
    pub id: u64,
    /// Records that wait for a member.
    pub waiting: u64,
    pub members: Vec<MemberCount>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MemberCount {
    pub id: u64,
    /// Requests and messages that it has now, and how many records it was ever given.
    pub load: u32,
    pub taken: u64,
}

/// What the switch counted for a world.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub id: u64,
    pub counters: Counters,
}

/// One end of the link.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// What came while [`tell`](Link::tell) waited, the oldest in front.
    early: VecDeque<Vec<u8>>,
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; MAX_BYTES], early: VecDeque::new() }
    }

    pub(crate) fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
        socket::send(self.socket.as_fd(), &bytes, descriptors)
    }

    /// The same, or `EAGAIN` where it would have to wait.
    pub(crate) fn try_send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
        socket::try_send(self.socket.as_fd(), &bytes, descriptors)
    }

    /// Sends, and while there is no room takes in what the other side says: it may wait for room itself, and two that only wait never go on. The
    /// descriptors of what comes meanwhile are closed.
    pub(crate) fn tell<T: Serialize>(&mut self, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        loop {
            match self.try_send(message, descriptors) {
                Err(Errno::AGAIN) => self.hear_early()?,
                other => return other,
            }
        }
    }

    fn hear_early(&mut self) -> Result<(), Errno> {
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN | PollFlags::OUT)], None) {
            Err(Errno::INTR) => return Ok(()),
            other => other?,
        };
        match socket::try_receive(self.socket.as_fd(), &mut self.buffer) {
            Ok((0, _)) => Err(Errno::PIPE),
            Ok((length, _)) => {
                self.early.push_back(self.buffer[..length].to_vec());
                Ok(())
            }
            Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether something came while something was told: no descriptor is readable for it any more.
    pub(crate) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    fn next_early(&mut self) -> Option<(usize, Vec<OwnedFd>)> {
        let early = self.early.pop_front()?;
        self.buffer[..early.len()].copy_from_slice(&early);
        Some((early.len(), Vec::new()))
    }

    /// The next message, waiting for it. `None`: the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
        let received = match self.next_early() {
            Some(early) => Ok(early),
            None => socket::receive(self.socket.as_fd(), &mut self.buffer),
        };
        self.decode(received)
    }

    /// The next message if one is there; otherwise `EAGAIN`. `None`: the other side is gone.
    pub(crate) fn try_receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
        let received = match self.next_early() {
            Some(early) => Ok(early),
            None => socket::try_receive(self.socket.as_fd(), &mut self.buffer),
        };
        self.decode(received)
    }

    fn decode<T: DeserializeOwned>(
        &self,
        received: Result<(usize, Vec<OwnedFd>), Errno>,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
        match received {
            // A reset is an end too: the other side left with something of ours unread.
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(None),
            Err(errno) => Err(errno),
            Ok((length, fds)) => {
                postcard::from_bytes(&self.buffer[..length]).map(|m| Some((m, fds))).map_err(|_| Errno::PROTO)
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// More than fit into the socket, either way.
    const MANY: u64 = 5000;

    fn link_of_two() -> (Link, Link) {
        let (one, other) = socket::pair().unwrap();
        (Link::new(one), Link::new(other))
    }

    /// One answers every command and waits for room; the other says all it has to say before it listens.
    #[test]
    fn who_tells_goes_on_though_the_other_side_waits_for_room() {
        let (mut ours, mut theirs) = link_of_two();
        let (said, hears) = mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(Some((Command::CountGroup { ticket, .. }, _))) = theirs.receive() {
                theirs.send(&Event::Passed { ticket }, &[]).unwrap();
            }
        });
        std::thread::spawn(move || {
            (0..MANY).for_each(|ticket| ours.tell(&Command::CountGroup { ticket, id: 0 }, &[]).unwrap());
            assert!(ours.has_early(), "the other side had to be heard");
            for expected in 0..MANY {
                let Ok(Some((Event::Passed { ticket }, _))) = ours.receive() else { panic!("{expected}") };
                assert_eq!(ticket, expected);
            }
            said.send(()).unwrap();
        });
        hears.recv_timeout(Duration::from_secs(30)).expect("neither side waits for the other for ever");
    }
}
