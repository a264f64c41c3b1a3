//! What a world knows about one peer: what it sent there, and whether what comes from there is what must come next.

use super::ranges::Ranges;
use super::words::Row;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub sent: u64,
    pub told: Ranges,
    pub returned: u64,
    pub given_up: u64,
    pub incomplete: u64,
    received: u64,
    holes: Ranges,
    replies_sent: u64,
    replies_received: u64,
}

impl Account {
    /// Of the next reply to this peer, from 1 on.
    pub fn next_reply(&self) -> u64 {
        self.replies_sent + 1
    }

    pub fn reply_sent(&mut self) {
        self.replies_sent += 1;
    }

    /// A message or request with this number came. One that was left out is a hole; one that comes late, or again, can't be.
    pub fn take(&mut self, number: u64) -> Result<(), String> {
        self.look(number)?;
        self.received = number + 1;
        Ok(())
    }

    /// The how-manieth reply came, sent when `next` was the number that comes next.
    pub fn take_reply(&mut self, reply: u64, next: u64) -> Result<(), String> {
        if reply <= self.replies_received {
            return Err(format!("reply {reply} came after reply {}", self.replies_received));
        }
        self.replies_received = reply;
        self.look(next)
    }

    /// Everything before this number has been sent before.
    fn look(&mut self, number: u64) -> Result<(), String> {
        if number < self.received {
            return Err(format!("number {number} came, or was to come, after {}", self.received - 1));
        }
        self.holes.add(self.received, number);
        self.received = number;
        Ok(())
    }

    pub fn row(&self, peer: u64) -> Row {
        Row {
            peer,
            sent: self.sent,
            told: self.told.clone(),
            returned: self.returned,
            given_up: self.given_up,
            received: self.received,
            holes: self.holes.clone(),
            incomplete: self.incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_or_doubled_is_found_and_what_is_missing_is_noted() {
        let mut account = Account::default();
        account.take(0).unwrap();
        account.take(1).unwrap();
        assert!(account.take(1).is_err());
        account.take(4).unwrap();
        assert!(account.take(3).is_err());
        account.take_reply(2, 6).unwrap();
        assert!(account.take_reply(2, 6).is_err());
        assert!(account.take_reply(3, 5).is_err());
        let row = account.row(16);
        assert_eq!((row.received, row.holes.iter().collect::<Vec<_>>()), (6, vec![2, 3, 5]));
    }
}
