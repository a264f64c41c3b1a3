//! The book of topics: their names, who publishes on them, who subscribes to what, and how much of it each may have. It tells what the switch is
//! to be told, and tells nobody.
//!
//! A topic is there as long as somebody publishes on it. Patterns wait for those to come.

use super::index::Index;
use crate::link::{Command, Subscription};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use strait_protocol::{Topic, TopicPattern, WorldId};

/// Topics that one world may have open.
const MAX_TOPICS: usize = 1024;
/// Subscriptions that one world may have.
const MAX_SUBSCRIPTIONS: usize = 1024;
/// Topics that all of them together may meet: for each, the switch keeps some hundred bytes.
const MAX_MATCHES: usize = 65_536;
/// Subscriptions and topics in one command, so that it fits into a message of the link.
const MAX_IN_ONE: usize = 1024;

/// From this number on, topics are the control service's own.
const UNLISTED: u32 = 1 << 31;
/// Topics whose names are remembered after they were closed.
const MAX_CLOSED: usize = 4096;

/// Names a subscription: whose, and which.
pub(super) type Key = (WorldId, u32);

#[derive(Debug, Default)]
pub(super) struct Book {
    open: HashMap<u32, Open>,
    names: Index<u32>,
    patterns: Index<Key>,
    subscriptions: BTreeMap<Key, Subscribed>,
    shares: HashMap<WorldId, Share>,
    closed: Closed,
    last_topic: u32,
    last_unlisted: u32,
    last_subscription: u32,
}

/// A topic that somebody publishes on.
#[derive(Debug)]
struct Open {
    topic: Topic,
    publishers: Vec<WorldId>,
    /// Subscriptions of worlds that had as much as they may have when this was opened.
    unmatched: HashSet<Key>,
}

/// Names of topics that were closed of late: who got something by one may ask a little later.
#[derive(Debug, Default)]
struct Closed {
    names: HashMap<u32, Topic>,
    /// The oldest in front.
    numbers: VecDeque<u32>,
}

impl Closed {
    fn remember(&mut self, number: u32, topic: Topic) {
        if self.numbers.len() >= MAX_CLOSED
            && let Some(oldest) = self.numbers.pop_front()
        {
            self.names.remove(&oldest);
        }
        self.numbers.push_back(number);
        self.names.insert(number, topic);
    }
}

#[derive(Debug)]
struct Subscribed {
    pattern: TopicPattern,
    subscription: Subscription,
}

/// What one world has.
#[derive(Debug, Default)]
struct Share {
    topics: Vec<u32>,
    subscriptions: usize,
    matches: usize,
}

/// What is wanted beside the pattern.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Wishes {
    pub newest: bool,
    pub retained: bool,
    pub tag_mask: u64,
    pub tag: u64,
}

impl Book {
    /// The number of a topic, on which this world may publish from now on.
    pub(super) fn open(&mut self, world: WorldId, topic: &Topic) -> Result<(u32, Vec<Command>), String> {
        let known = self.names.at(topic.as_str());
        let share = self.shares.entry(world).or_default();
        if let Some(number) = known.filter(|number| share.topics.contains(number)) {
            return Ok((number, Vec::new()));
        }
        if share.topics.len() >= MAX_TOPICS {
            return Err(format!("you have {MAX_TOPICS} topics open, which is the most: close some"));
        }
        let number = known.unwrap_or_else(|| self.number(topic));
        self.shares.entry(world).or_default().topics.push(number);
        let mut commands = vec![Command::OpenTopic { topic: number, publisher: world.0 }];
        if known.is_none() {
            commands.extend(self.match_topic(number));
        }
        if let Some(open) = self.open.get_mut(&number) {
            open.publishers.push(world);
        }
        Ok((number, commands))
    }

    fn number(&mut self, topic: &Topic) -> u32 {
        let number = self.free_number();
        self.names.insert(topic.as_str(), number);
        let open = Open { topic: topic.clone(), publishers: Vec::new(), unmatched: HashSet::new() };
        self.open.insert(number, open);
        number
    }

    /// The next number that no topic has, or had of late. After two billion they begin anew: whoever opens and closes without end must not
    /// take the last one.
    fn free_number(&mut self) -> u32 {
        loop {
            self.last_topic = (self.last_topic + 1) % UNLISTED;
            let number = self.last_topic;
            if number != 0 && !self.open.contains_key(&number) && !self.closed.names.contains_key(&number) {
                return number;
            }
        }
    }

    /// A number for a topic of the control service's own, which it says itself who subscribes to. It remembers the names of the last few.
    pub(super) fn number_unlisted(&mut self) -> u32 {
        self.last_unlisted = self.last_unlisted.wrapping_add(1) % UNLISTED;
        UNLISTED + self.last_unlisted
    }

    /// The next number that none of a world's subscriptions has.
    fn free_subscription(&mut self, world: WorldId) -> u32 {
        loop {
            self.last_subscription = self.last_subscription.wrapping_add(1);
            let number = self.last_subscription;
            if number != 0 && !self.subscriptions.contains_key(&(world, number)) {
                return number;
            }
        }
    }

    /// Finds those who subscribe to a new topic.
    fn match_topic(&mut self, number: u32) -> Vec<Command> {
        let Some(open) = self.open.get_mut(&number) else { return Vec::new() };
        let mut wanted = Vec::new();
        for key in self.patterns.covering(&open.topic) {
            let share = self.shares.entry(key.0).or_default();
            if share.matches >= MAX_MATCHES {
                open.unmatched.insert(key);
            } else if let Some(subscribed) = self.subscriptions.get(&key) {
                share.matches += 1;
                wanted.push(subscribed.subscription.clone());
            }
        }
        let command = |some: &[Subscription]| Command::Subscribe { subscriptions: some.to_vec(), topics: vec![number] };
        wanted.chunks(MAX_IN_ONE).map(command).collect()
    }

    /// A world publishes on a topic no longer.
    pub(super) fn close(&mut self, world: WorldId, number: u32) -> Result<Vec<Command>, String> {
        let share = self.shares.entry(world).or_default();
        let place = share.topics.iter().position(|own| *own == number).ok_or("you have no such topic open")?;
        share.topics.swap_remove(place);
        self.forget_empty(world);
        Ok(self.leave(world, number))
    }

    fn leave(&mut self, world: WorldId, number: u32) -> Vec<Command> {
        let Some(open) = self.open.get_mut(&number) else { return Vec::new() };
        open.publishers.retain(|other| *other != world);
        if !open.publishers.is_empty() {
            return vec![Command::LeaveTopic { topic: number, publisher: world.0 }];
        }
        let Some(open) = self.open.remove(&number) else { return Vec::new() };
        self.names.remove(open.topic.as_str(), number);
        for key in self.patterns.covering(&open.topic).iter().filter(|key| !open.unmatched.contains(key)) {
            if let Some(share) = self.shares.get_mut(&key.0) {
                share.matches -= 1;
            }
        }
        self.closed.remember(number, open.topic);
        vec![Command::CloseTopic { topic: number }]
    }

    /// Makes a subscription: its number, and how many topics it meets now.
    pub(super) fn subscribe(
        &mut self,
        world: WorldId,
        pattern: TopicPattern,
        wishes: Wishes,
    ) -> Result<(u32, usize, Vec<Command>), String> {
        let share = self.shares.entry(world).or_default();
        if share.subscriptions >= MAX_SUBSCRIPTIONS {
            return Err(format!("you have {MAX_SUBSCRIPTIONS} subscriptions, which is the most: end some"));
        }
        let topics = self.names.covered(&pattern);
        if share.matches + topics.len() > MAX_MATCHES {
            let (most, have) = (MAX_MATCHES, share.matches);
            return Err(format!(
                "`{pattern}` meets {} topics, your subscriptions meet {have}, and {most} is the most",
                topics.len()
            ));
        }
        (share.subscriptions, share.matches) = (share.subscriptions + 1, share.matches + topics.len());
        let number = self.free_subscription(world);
        let Wishes { newest, retained, tag_mask, tag } = wishes;
        let subscription = Subscription { world: world.0, number, newest, retained, tag_mask, tag };
        let command =
            |some: &[u32]| Command::Subscribe { subscriptions: vec![subscription.clone()], topics: some.to_vec() };
        let commands = topics.chunks(MAX_IN_ONE).map(command).collect();
        self.patterns.insert(pattern.as_str(), (world, number));
        self.subscriptions.insert((world, number), Subscribed { pattern, subscription });
        Ok((number, topics.len(), commands))
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, world: WorldId, number: u32) -> Result<Command, String> {
        self.end_subscription((world, number)).ok_or_else(|| format!("you have no subscription {number}"))?;
        self.forget_empty(world);
        Ok(Command::Unsubscribe { world: world.0, number })
    }

    fn end_subscription(&mut self, key: Key) -> Option<()> {
        let subscribed = self.subscriptions.remove(&key)?;
        self.patterns.remove(subscribed.pattern.as_str(), key);
        let mut met = 0;
        for number in self.names.covered(&subscribed.pattern) {
            let is_unmatched = self.open.get_mut(&number).is_some_and(|open| open.unmatched.remove(&key));
            met += usize::from(!is_unmatched);
        }
        let share = self.shares.get_mut(&key.0)?;
        (share.subscriptions, share.matches) = (share.subscriptions - 1, share.matches - met);
        Some(())
    }

    /// Ends what a world publishes on and subscribes to but for what it still may. What it published there and waits goes to nobody.
    pub(super) fn retain(
        &mut self,
        world: WorldId,
        may_publish: impl Fn(&Topic) -> bool,
        may_hear: impl Fn(&TopicPattern) -> bool,
    ) -> Vec<Command> {
        let of_world = self.subscriptions.range((world, 0)..=(world, u32::MAX));
        let unheard = of_world.filter(|(_, subscribed)| !may_hear(&subscribed.pattern)).map(|((_, number), _)| *number);
        let unheard: Vec<u32> = unheard.collect();
        let topics = self.shares.get(&world).map_or(Vec::new(), |share| share.topics.clone());
        let may_stay = |number: &u32| self.open.get(number).is_some_and(|open| may_publish(&open.topic));
        let closed: Vec<u32> = topics.into_iter().filter(|number| !may_stay(number)).collect();
        let mut commands: Vec<Command> =
            unheard.into_iter().filter_map(|number| self.unsubscribe(world, number).ok()).collect();
        for topic in closed {
            commands.extend(self.close(world, topic).unwrap_or_default());
            commands.push(Command::Withdraw { topic, publisher: world.0 });
        }
        commands
    }

    /// A world is gone, and the switch has forgotten it.
    pub(super) fn forget(&mut self, world: WorldId) -> Vec<Command> {
        let keys: Vec<Key> = self.subscriptions.range((world, 0)..=(world, u32::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.end_subscription(key);
        }
        let topics = self.shares.remove(&world).map_or(Vec::new(), |share| share.topics);
        topics.into_iter().flat_map(|number| self.leave(world, number)).collect()
    }

    fn forget_empty(&mut self, world: WorldId) {
        if self.shares.get(&world).is_some_and(|share| share.topics.is_empty() && share.subscriptions == 0) {
            self.shares.remove(&world);
        }
    }

    /// The topic with this number, if it is open or was of late.
    pub(super) fn topic(&self, number: u32) -> Option<&Topic> {
        self.open.get(&number).map(|open| &open.topic).or_else(|| self.closed.names.get(&number))
    }

    /// Who subscribes to a topic of the control service's own.
    pub(super) fn interested(&self, topic: &Topic) -> Vec<Key> {
        self.patterns.covering(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: WorldId = WorldId(20);
    const B: WorldId = WorldId(21);

    fn topic(text: &str) -> Topic {
        text.parse().unwrap()
    }

    fn subscribe(book: &mut Book, world: WorldId, pattern: &str) -> (u32, usize, Vec<Command>) {
        book.subscribe(world, pattern.parse().unwrap(), Wishes::default()).unwrap()
    }

    #[test]
    fn topics_and_subscriptions_meet_whoever_comes_first() {
        let mut book = Book::default();
        let (number, _, none) = subscribe(&mut book, B, "a.*");
        assert!(none.is_empty());
        let (one, commands) = book.open(A, &topic("a.b")).unwrap();
        assert!(
            matches!(&commands[..], [Command::OpenTopic { topic: t, .. }, Command::Subscribe { subscriptions, topics }]
            if *t == one && topics == &[one] && subscriptions[0].number == number)
        );
        let (two, commands) = book.open(A, &topic("b.b")).unwrap();
        assert!(matches!(&commands[..], [Command::OpenTopic { .. }]));
        assert_eq!(book.open(A, &topic("a.b")).unwrap().0, one);
        let (_, met, commands) = subscribe(&mut book, B, ">");
        assert!(
            matches!(&commands[..], [Command::Subscribe { topics, .. }] if topics.len() == 2 && topics.contains(&two))
        );
        assert_eq!((met, book.shares[&B].matches), (2, 3));
    }

    #[test]
    fn a_topic_is_there_as_long_as_its_publishers() {
        let mut book = Book::default();
        let (one, _) = book.open(A, &topic("a")).unwrap();
        assert_eq!(book.open(B, &topic("a")).unwrap().0, one);
        assert!(matches!(book.close(A, one).unwrap()[..], [Command::LeaveTopic { .. }]));
        assert!(book.close(A, one).is_err());
        assert!(matches!(book.forget(B)[..], [Command::CloseTopic { .. }]));
        assert!(!book.open.contains_key(&one));
        assert_eq!(book.topic(one), Some(&topic("a")), "its name is known for a while");
        assert_ne!(book.open(A, &topic("a")).unwrap().0, one, "a number is given once");
    }

    #[test]
    fn nothing_is_left_of_who_is_gone() {
        let mut book = Book::default();
        subscribe(&mut book, A, "x.>");
        let (number, ..) = subscribe(&mut book, B, "x.*");
        book.open(A, &topic("x.y")).unwrap();
        book.open(B, &topic("x.y")).unwrap();
        book.open(B, &topic("x.z.z")).unwrap();
        assert_eq!((book.shares[&A].matches, book.shares[&B].matches), (2, 1));
        assert!(book.unsubscribe(A, number).is_err(), "it is another world's");
        book.unsubscribe(B, number).unwrap();
        book.forget(B);
        assert_eq!(book.shares[&A].matches, 1);
        book.forget(A);
        assert!(book.shares.is_empty() && book.open.is_empty() && book.subscriptions.is_empty());
    }

    #[test]
    fn nobody_has_more_than_its_share() {
        let mut book = Book::default();
        for n in 0..MAX_TOPICS {
            book.open(A, &topic(&format!("t.{n}"))).unwrap();
        }
        assert!(book.open(A, &topic("one.more")).unwrap_err().contains("1024"));
        for _ in 0..MAX_MATCHES / MAX_TOPICS {
            subscribe(&mut book, B, "t.*");
        }
        let refused = book.subscribe(B, "t.1".parse().unwrap(), Wishes::default()).unwrap_err();
        assert!(refused.contains("65536"), "{refused}");
        // What is opened now isn't met, and costs nobody anything.
        let (late, commands) = book.open(B, &topic("t.late")).unwrap();
        assert_eq!((commands.len(), book.open[&late].unmatched.len()), (1, MAX_MATCHES / MAX_TOPICS));
        book.close(B, late).unwrap();
        assert_eq!(book.shares[&B].matches, MAX_MATCHES);
        book.forget(A);
        assert_eq!(book.shares[&B].matches, 0);
    }

    #[test]
    fn numbers_begin_anew_and_none_is_given_twice_at_a_time() {
        let mut book = Book { last_topic: UNLISTED - 3, last_subscription: u32::MAX - 1, ..Book::default() };
        let (kept, _) = book.open(A, &topic("kept")).unwrap();
        let (first, ..) = subscribe(&mut book, B, "a");
        assert_eq!((kept, first), (UNLISTED - 2, u32::MAX));
        book.last_topic = 0;
        let (closed, _) = book.open(A, &topic("closed")).unwrap();
        book.close(A, closed).unwrap();
        (book.last_topic, book.last_subscription) = (UNLISTED - 3, u32::MAX - 1);
        let numbers = ["b", "c", "d"].map(|name| book.open(A, &topic(name)).unwrap().0);
        assert_eq!(numbers, [UNLISTED - 1, 2, 3], "past what is open or was of late");
        assert_eq!(subscribe(&mut book, B, "b").0, 1);
        // Another world may have a number that this one has.
        book.last_subscription = u32::MAX - 1;
        assert_eq!(subscribe(&mut book, A, "b").0, u32::MAX);
        (book.last_unlisted, book.last_topic) = (UNLISTED - 1, 5);
        assert_eq!((book.number_unlisted(), book.number_unlisted()), (UNLISTED, UNLISTED + 1));
    }
}
