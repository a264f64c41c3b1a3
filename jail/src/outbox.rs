//! What the launcher has to say, to a supervisor that may not listen yet.
//!
//! Either's words find room in the other's socket for a while, and then have to wait. If both waited for room and listened to nothing meanwhile, they
//! would wait for ever. So the launcher keeps what finds no room, and goes on listening: the supervisor, which has room for its next order then, comes to
//! listen too. What is kept is bounded by what there is to say: one word for each order that is open, and one for each jail begun ahead of time.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use strait_sys::socket;

/// Words for the supervisor, in the order in which they were said.
#[derive(Debug)]
pub struct Outbox<'a> {
    socket: BorrowedFd<'a>,
    waiting: VecDeque<Word>,
}

#[derive(Debug)]
struct Word {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl<'a> Outbox<'a> {
    pub fn new(socket: BorrowedFd<'a>) -> Outbox<'a> {
        Outbox { socket, waiting: VecDeque::new() }
    }

    /// Says it now, or keeps it until there is room. `None`: there is nobody any more.
    pub fn say(&mut self, bytes: Vec<u8>, descriptors: &[BorrowedFd<'_>]) -> Option<()> {
        if self.waiting.is_empty() && send(self.socket, &bytes, descriptors)? {
            return Some(());
        }
        let descriptors = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<Result<_, _>>().ok()?;
        self.waiting.push_back(Word { bytes, descriptors });
        Some(())
    }

    /// Says what was kept, until nothing is left or there is something to hear.
    pub fn flush_or_hear(&mut self) -> Option<()> {
        self.flush(PollFlags::IN | PollFlags::OUT)
    }

    /// Says what was kept, however long it takes.
    pub fn flush_all(&mut self) -> Option<()> {
        self.flush(PollFlags::OUT)
    }

    fn flush(&mut self, events: PollFlags) -> Option<()> {
        while let Some(Word { bytes, descriptors }) = self.waiting.front() {
            let mut ready = [PollFd::new(&self.socket, events)];
            rustix::io::retry_on_intr(|| poll(&mut ready, None)).ok()?;
            let ready = ready[0].revents();
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            if ready.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR) {
                if send(self.socket, bytes, &descriptors)? {
                    self.waiting.pop_front();
                }
            } else if ready.contains(PollFlags::IN) {
                break;
            }
        }
        Some(())
    }
}

/// False: there is no room.
fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Option<bool> {
    match socket::try_send(socket, bytes, descriptors) {
        Ok(()) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_said_later_in_order_and_who_has_to_say_that_listens() {
        let (ours, theirs) = socket::pair().unwrap();
        let mut outbox = Outbox::new(ours.as_fd());
        let word = |number: u8| vec![number; 60_000];
        (0..10).for_each(|number| outbox.say(word(number), &[theirs.as_fd()]).unwrap());
        assert!((1..9).contains(&outbox.waiting.len()), "{} wait", outbox.waiting.len());
        socket::send(theirs.as_fd(), b"order", &[]).unwrap();
        outbox.flush_or_hear().unwrap();
        assert!(!outbox.waiting.is_empty(), "it hears first: there is no room");
        let listener = std::thread::spawn(move || {
            let mut buffer = vec![0; 60_000];
            for number in 0..10 {
                let (length, descriptors) = socket::receive(theirs.as_fd(), &mut buffer).unwrap();
                assert_eq!((length, buffer[0], descriptors.len()), (60_000, number, 1));
            }
        });
        outbox.flush_all().unwrap();
        listener.join().unwrap();
        assert!(outbox.say(word(0), &[]).is_none(), "nobody is there");
    }
}
