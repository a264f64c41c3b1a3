//! The next world's channel: made a moment after the last one was taken, when nobody waits for it. It takes a dozen system calls and as many pages.

use super::entry::{Channel, ChannelError};
use std::time::{Duration, Instant};
use strait_protocol::SliceSize;

/// A start is over by then, and what it kept busy is free again.
const LATER: Duration = Duration::from_millis(2);

/// One channel that nobody has seen, with slices as the last world had them.
#[derive(Debug, Default)]
pub(super) struct Spare {
    channel: Option<Channel>,
    /// When to make the next, and of which size.
    next: Option<(Instant, SliceSize)>,
}

impl Spare {
    /// The one that is there, if its slices are of this size, or else a new one.
    pub(super) fn take(&mut self, size: SliceSize) -> Result<Channel, ChannelError> {
        self.next = Some((Instant::now() + LATER, size));
        match self.channel.take_if(|spare| spare.outbox.size() == size) {
            Some(spare) => Ok(spare),
            None => Channel::create(size),
        }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// Makes one if it is time. Whoever needs one that can't be had is told why, then.
    pub(super) fn renew(&mut self, now: Instant) {
        if let Some((_, size)) = self.next.take_if(|(at, _)| *at <= now) {
            self.channel = Channel::create(size).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_is_there_is_taken_once_and_only_where_it_fits() {
        let [small, large] = [64 << 10, 128 << 10].map(|bytes| SliceSize::new(bytes).unwrap());
        let mut spare = Spare::default();
        let number = |channel: &Channel| channel.wakeup().as_raw_fd();
        let first = spare.take(small).unwrap();
        spare.renew(Instant::now());
        assert!(spare.channel.is_none(), "it isn't time");
        spare.renew(spare.next_look().unwrap());
        let made = spare.channel.as_ref().map(number);
        assert!(made.is_some() && spare.next_look().is_none());
        let other = spare.take(large).unwrap();
        assert!(other.outbox.size() == large && spare.channel.as_ref().map(number) == made);
        assert_eq!(Some(number(&spare.take(small).unwrap())), made);
        assert!(spare.channel.is_none() && number(&first) != number(&other));
    }
}
