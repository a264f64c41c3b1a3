//! A world of the soak: what it sends.

use super::words::Tally;
use super::{Account, Chance, News, Stamp, small_payload, stamp_bytes};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};
use strait_client::{Client, Error, Header, Kind, WorldId};

/// How long a send waits for room. Two worlds that wait for each other without reading would do so for ever.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_millis(4);
const NEWS_EVERY: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A world and what it knows.
pub(super) struct World {
    pub client: Client,
    pub host: WorldId,
    pub chance: Chance,
    pub peers: Vec<u64>,
    pub gone: Vec<u64>,
    pub accounts: BTreeMap<u64, Account>,
    /// Requests that have not ended: correlation, whom, number.
    pub open: HashMap<u64, (u64, u64)>,
    /// Requests to be answered.
    pub pending: Vec<Header>,
    /// Messages to worlds that were gone: whom, sequence number.
    pub unreturned: HashSet<(u64, u64)>,
    pub tally: Tally,
    pub is_quiet: bool,
    pub is_over: bool,
}

/// Sends and receives until it is told to end.
pub fn live(seed: u64) -> Result<()> {
    let mut client = Client::open()?;
    client.set_patience(Some(PATIENCE));
    let host = client.resolve("host")?;
    let mut world = World {
        chance: Chance::of(seed, client.id().0),
        client,
        host,
        peers: Vec::new(),
        gone: Vec::new(),
        accounts: BTreeMap::new(),
        open: HashMap::new(),
        pending: Vec::new(),
        unreturned: HashSet::new(),
        tally: Tally::default(),
        is_quiet: false,
        is_over: false,
    };
    let mut next_news = Instant::now() + NEWS_EVERY;
    while !world.is_over {
        let rest = if world.is_quiet || world.peers.is_empty() { Duration::from_millis(20) } else { Duration::ZERO };
        world.read(rest)?;
        world.answer_some()?;
        if !world.is_quiet && !world.peers.is_empty() {
            world.act()?;
        }
        if Instant::now() >= next_news {
            next_news = Instant::now() + NEWS_EVERY;
            world.say(&News::Tally(world.tally))?;
        }
    }
    Ok(())
}

impl World {
    pub fn account(&mut self, peer: u64) -> &mut Account {
        self.accounts.entry(peer).or_default()
    }

    /// Tells the host, if it has room.
    pub fn say(&mut self, news: &News) -> Result<()> {
        match self.client.send(self.host, &serde_json::to_vec(news)?) {
            Ok(_) | Err(Error::Full) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn act(&mut self) -> Result<()> {
        match self.chance.below(1000) {
            0..400 => self.send_message(),
            400..550 => self.send_small(),
            550..700 => self.send_request(),
            700..770 => self.send_batch(),
            770..840 => self.send_to_many(),
            840..850 => self.send_to_the_dead(),
            850..997 => {
                let rest = self.chance.up_to(LONGEST_REST);
                self.read(rest)
            }
            _ => {
                std::thread::sleep(self.chance.up_to(LONGEST_PAUSE));
                Ok(())
            }
        }
    }

    fn peer(&mut self) -> u64 {
        *self.chance.one(&self.peers)
    }

    /// A payload of some size with the next number for each of these.
    fn stamped(&mut self, receivers: &[u64], ahead: u64, bytes: usize) -> Vec<u8> {
        let numbers = receivers.iter().map(|id| (*id, self.account(*id).sent + ahead)).collect();
        Stamp { sender: self.client.id().0, reply: 0, numbers }.payload(bytes, &mut self.chance)
    }

    /// What came of a send: the number is used up, or it is given up and used for the next.
    fn sent<T>(
        &mut self,
        to: u64,
        count: u64,
        bytes: usize,
        result: std::result::Result<T, Error>,
    ) -> Result<Option<T>> {
        match result {
            Ok(value) => {
                self.account(to).sent += count;
                self.tally.sent += count;
                self.tally.sent_bytes += bytes as u64;
                Ok(Some(value))
            }
            Err(Error::Full) => {
                self.account(to).given_up += 1;
                self.tally.given_up += 1;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn send_message(&mut self) -> Result<()> {
        let (to, bytes) = (self.peer(), self.chance.size());
        let payload = self.stamped(&[to], 0, bytes);
        let result = self.client.send(WorldId(to), &payload);
        self.sent(to, 1, payload.len(), result).map(drop)
    }

    /// One too short for a stamp, down to nothing.
    fn send_small(&mut self) -> Result<()> {
        let (to, bytes) = (self.peer(), self.chance.below(stamp_bytes(1)));
        let number = self.account(to).sent;
        let payload = small_payload(self.client.id().0, to, number, bytes);
        let result = self.client.draft(Kind::Message, WorldId(to), bytes).and_then(|mut draft| {
            draft.payload_mut().copy_from_slice(&payload);
            draft.header_mut().tag = number + 1;
            draft.send()
        });
        self.sent(to, 1, bytes, result).map(drop)
    }

    fn send_request(&mut self) -> Result<()> {
        let (to, bytes) = (self.peer(), self.chance.size());
        let payload = self.stamped(&[to], 0, bytes);
        let number = self.account(to).sent;
        let timeout = Duration::from_secs(3) + self.chance.up_to(Duration::from_secs(3));
        let result = self.client.start_request(WorldId(to), &payload, timeout);
        if let Some(correlation) = self.sent(to, 1, payload.len(), result)? {
            self.open.insert(correlation, (to, number));
            self.tally.requests += 1;
        }
        Ok(())
    }

    fn send_batch(&mut self) -> Result<()> {
        let (to, count) = (self.peer(), 2 + self.chance.below(100) as u64);
        let payloads: Vec<Vec<u8>> = (0..count)
            .map(|ahead| {
                let bytes = self.chance.below(300);
                self.stamped(&[to], ahead, bytes)
            })
            .collect();
        let result = self.client.send_batch(WorldId(to), &payloads);
        let sent = result.as_ref().copied().unwrap_or(0);
        let bytes = payloads[..sent].iter().map(Vec::len).sum();
        self.sent(to, sent as u64, bytes, result).map(drop)
    }

    fn send_to_many(&mut self) -> Result<()> {
        let mut to: Vec<u64> = (0..2 + self.chance.below(15)).map(|_| self.peer()).collect();
        to.sort_unstable();
        to.dedup();
        let bytes = self.chance.below(8 << 10);
        let payload = self.stamped(&to, 0, bytes);
        let ids: Vec<WorldId> = to.iter().copied().map(WorldId).collect();
        match self.client.multicast(&ids, &payload) {
            Ok(_) => to.iter().try_for_each(|id| self.sent(*id, 1, payload.len(), Ok(())).map(drop)),
            Err(error) => self.sent::<()>(to[0], 1, 0, Err(error)).map(drop),
        }
    }

    /// To a world that the host has seen end: it must come back.
    fn send_to_the_dead(&mut self) -> Result<()> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let to = *self.chance.one(&self.gone);
        match self.client.send(WorldId(to), b"anybody there?") {
            Ok(sequence) => drop(self.unreturned.insert((to, sequence))),
            Err(Error::Full) => self.tally.given_up += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Answers requests, in any order, some later than others; one in a hundred never.
    fn answer_some(&mut self) -> Result<()> {
        while !self.pending.is_empty() && (self.is_quiet || self.chance.happens(700)) {
            let at = self.chance.below(self.pending.len());
            let request = self.pending.swap_remove(at);
            if !self.chance.happens(10) {
                self.answer(&request)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: &Header) -> Result<()> {
        let (to, bytes) = (request.source.0, self.chance.size());
        let (reply, next) = (self.account(to).next_reply(), self.account(to).sent);
        let stamp = Stamp { sender: self.client.id().0, reply, numbers: vec![(to, next)] };
        let payload = stamp.payload(bytes, &mut self.chance);
        let result = self.client.reply(request, 0, &payload);
        if self.sent(to, 0, payload.len(), result)?.is_some() {
            self.account(to).reply_sent();
        }
        Ok(())
    }
}
