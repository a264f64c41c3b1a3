//! What can happen: one enum for the property test and the fuzzer.
#![cfg_attr(feature = "racing", expect(missing_docs, reason = "the fields of operations are said with each of them"))]

/// One step of a script. Worlds are named by their seat, taken modulo the number of seats; where it is said to whom something goes, a world
/// that doesn't exist comes after the seats, then the group, then the last one that got a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An honest world sends a message.
    Send { from: u8, to: u8, bytes: u16 },
    /// An honest world asks. An odd number of seconds says that it may be repeated.
    Request { from: u8, to: u8, bytes: u16, seconds: u8 },
    /// An honest world answers one of the requests it has read, perhaps one that it has answered already.
    Reply { from: u8, which: u8, bytes: u16 },
    /// An honest world sends a piece of its answer to one of the requests it has read.
    Piece { from: u8, which: u8, bytes: u16 },
    /// An honest world sends one payload to several: a bit for each seat, the highest for the group.
    Multicast { from: u8, to: u8, bytes: u16 },
    /// An honest world publishes, perhaps something to be kept.
    Publish { from: u8, topic: u8, bytes: u16, retain: bool },
    /// A world of any kind may publish on a topic from now on.
    Open { who: u8, topic: u8 },
    /// It may no longer. With `withdraws`, what it published there and waits goes to nobody.
    Leave { who: u8, topic: u8, withdraws: bool },
    /// A world of any kind subscribes: bit 0 for the newest, bit 1 for what was kept, too, bit 2 for some tags only.
    Subscribe { who: u8, topic: u8, how: u8 },
    /// One of its subscriptions ends.
    Unsubscribe { who: u8, which: u8 },
    /// An honest world sends one piece of a stream to the group; `is_last` ends the stream.
    Feed { from: u8, stream: u8, bytes: u16, is_last: bool },
    /// A world becomes a member of the group.
    Join { who: u8 },
    /// It is one no more.
    Quit { who: u8 },
    /// An honest world taps everything, what hostile ones do too: bit 0 for payloads, too; bit 1 for no more.
    Tap { who: u8, how: u8 },
    /// An honest world reads some records.
    Receive { who: u8, records: u8 },
    /// An honest world gives back what it has read.
    Release { who: u8 },
    /// An honest world goes to sleep: bit 0 for data, bit 1 for room, bit 2 at a descriptor.
    Sleep { who: u8, how: u8 },
    /// A world of any kind is gone.
    Die { who: u8 },
    /// A life of a world of any kind ends, and its next one begins. With `gives_back`, what waited for it goes back to its senders.
    Renew { who: u8, gives_back: bool },
    /// What is sent to one world goes to another from now on.
    Forward { from: u8, to: u8 },
    /// A new world takes the seat of one that is gone.
    Return { who: u8 },
    /// A hostile world does something.
    Act { who: u8, act: Act },
    /// The same, after so many more of the switch's reads of hostile memory.
    Race { who: u8, after: u8, act: Act },
    /// The switch looks at every active port once.
    Pass,
    /// The switch says that it sleeps, and looks at its bells.
    Settle,
    /// Time goes by, and the switch looks at its clock.
    Time { seconds: u8 },
}

/// What a hostile world does to its own outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Publishes a record with a header that says this.
    Record { to: u8, kind: u8, bytes: u16 },
    /// Writes such a header, `at` times 16 bytes behind where the switch reads.
    Rewrite { at: u8, to: u8, kind: u8, bytes: u16 },
    /// Writes any word into the ring, `at` words behind where the switch reads.
    Word { at: u16, word: u64 },
    /// Adds to one of the four words of the header page.
    Control { which: u8, by: i64 },
    /// Says that it has read all of its inbox.
    Consume,
    /// Rings the switch.
    Ring,
}

/// Longer scripts say nothing new.
const MAX_OPERATIONS: usize = 400;

/// Takes any bytes for a script: what a fuzzer makes up is never refused.
pub fn operations(bytes: &[u8]) -> Vec<Operation> {
    let mut input = Input(bytes);
    let mut script = Vec::new();
    while !input.0.is_empty() && script.len() < MAX_OPERATIONS {
        script.push(input.operation());
    }
    script
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    /// The next bytes, or zeros where there are none.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, later) = self.0.split_at(N.min(self.0.len()));
        taken[..now.len()].copy_from_slice(now);
        self.0 = later;
        taken
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn operation(&mut self) -> Operation {
        match self.byte() % 34 {
            0 | 1 => Operation::Send { from: self.byte(), to: self.byte(), bytes: self.short() },
            2 => Operation::Request { from: self.byte(), to: self.byte(), bytes: self.short(), seconds: self.byte() },
            3 => Operation::Reply { from: self.byte(), which: self.byte(), bytes: self.short() },
            4 => Operation::Multicast { from: self.byte(), to: self.byte(), bytes: self.short() },
            5 | 6 => Operation::Receive { who: self.byte(), records: self.byte() },
            7 => Operation::Release { who: self.byte() },
            8 => Operation::Sleep { who: self.byte(), how: self.byte() },
            9 => Operation::Die { who: self.byte() },
            10 => Operation::Return { who: self.byte() },
            11 | 12 => Operation::Act { who: self.byte(), act: self.act() },
            13 | 14 => Operation::Race { who: self.byte(), after: self.byte(), act: self.act() },
            15..=17 => Operation::Pass,
            18 => Operation::Settle,
            19 => Operation::Time { seconds: self.byte() },
            20 => Operation::Piece { from: self.byte(), which: self.byte(), bytes: self.short() },
            21 => Operation::Open { who: self.byte(), topic: self.byte() },
            22 => {
                let (who, topic) = (self.byte(), self.byte());
                Operation::Leave { who, topic, withdraws: topic & 4 != 0 }
            }
            23 | 24 => Operation::Subscribe { who: self.byte(), topic: self.byte(), how: self.byte() },
            25 => Operation::Unsubscribe { who: self.byte(), which: self.byte() },
            26 | 27 => {
                let (from, topic, bytes) = (self.byte(), self.byte(), self.short());
                Operation::Publish { from, topic, bytes, retain: topic & 4 != 0 }
            }
            28 => Operation::Join { who: self.byte() },
            29 => Operation::Quit { who: self.byte() },
            30 => Operation::Tap { who: self.byte(), how: self.byte() },
            31 => {
                let (who, how) = (self.byte(), self.byte());
                Operation::Renew { who, gives_back: how & 1 == 1 }
            }
            32 => Operation::Forward { from: self.byte(), to: self.byte() },
            _ => {
                let (from, how) = (self.byte(), self.byte());
                Operation::Feed { from, stream: how >> 1, bytes: self.short(), is_last: how & 1 == 1 }
            }
        }
    }

    fn act(&mut self) -> Act {
        match self.byte() % 8 {
            0 | 1 => Act::Record { to: self.byte(), kind: self.byte(), bytes: self.short() },
            2 => Act::Rewrite { at: self.byte(), to: self.byte(), kind: self.byte(), bytes: self.short() },
            3 => Act::Word { at: self.short(), word: u64::from_le_bytes(self.take()) },
            4 => Act::Control { which: self.byte(), by: i64::from(i16::from_le_bytes(self.take())) },
            5 => Act::Control { which: self.byte(), by: i64::from_le_bytes(self.take()) },
            6 => Act::Consume,
            _ => Act::Ring,
        }
    }
}
