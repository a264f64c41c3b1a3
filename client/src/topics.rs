//! Topics: publishing by name, and subscribing to patterns of names.

use crate::client::Client;
use crate::control::PROMPT;
use crate::error::Error;
use crate::parcel::Parcel;
use crate::record::Record;
use strait_protocol::control::{Answer, Request};
use strait_protocol::{FLAG_RETAIN, Header, Kind, RawHeader, Topic, WorldId};

/// Names of topics that are remembered for [`Client::topic_name`].
const MAX_NAMES: usize = 4096;

/// What a subscription wants beside its pattern. By default: everything, in order, from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Where we have no room, the newest message of a topic takes the place of the one that waits, instead of its publishers waiting for us.
    pub newest: bool,
    /// The last values that publishers had kept are wanted first.
    pub retained: bool,
    /// Which bits of the tag matter: none by default.
    pub tag_mask: u64,
    /// What those must be. Bits beyond the mask must be 0.
    pub tag: u64,
}

/// How a message came that somebody published; see [`Record::published`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The topic: [`Client::topic_name`] has its name.
    pub topic: WorldId,
    /// The number of our subscription. Each that covers the topic gets a message of its own.
    pub subscription: u32,
    /// Messages of this topic that were for this subscription since the last one, and are lost. What a publisher left when it ended counts as far as
    /// it was looked at, which is for copies of sixteen times its outbox.
    pub missed: u32,
    /// It was there before we subscribed: the topic's last value.
    pub is_retained: bool,
}

impl Published {
    pub(crate) fn of(raw: &RawHeader) -> Option<Self> {
        let (topic, subscription) = raw.topic()?;
        let is_retained = raw.flags() & FLAG_RETAIN != 0;
        Some(Self { topic, subscription, missed: raw.missed(), is_retained })
    }
}

impl Record<'_> {
    /// How it came, if somebody published it on a topic.
    pub fn published(&self) -> Option<Published> {
        Published::of(self.raw)
    }
}

impl Client {
    /// Opens a topic to publish on, if policy lets us: from then on [`send`](Self::send) publishes what is sent to this id, and a
    /// [draft](Self::draft) to it too. It stays open until it is [closed](Self::close_topic), or we end. Asked once for each name.
    pub fn topic(&mut self, name: &str) -> Result<WorldId, Error> {
        if let Some(known) = self.topics.get(name) {
            return Ok(*known);
        }
        match self.ask(&Request::OpenTopic { name: name.into() }, PROMPT)? {
            Answer::Topic { id, .. } => {
                self.topics.insert(name.into(), WorldId(id));
                Ok(WorldId(id))
            }
            _ => Err(Error::Unexpected),
        }
    }

    /// Publishes a message: everybody gets it whose subscription covers the topic, but not we ourselves. Waits for room as
    /// [`send`](Self::send) does, and as long as lossless subscribers of this topic are too slow; nothing else waits for those.
    ///
    /// What is longer than [`max_payload`](Self::max_payload) is published as a parcel, which is its [payload](Record::payload) for who gets it:
    /// see [`publish_parcel`](Self::publish_parcel).
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<u64, Error> {
        let topic = self.topic(topic)?;
        match payload.len() > self.max_payload() as usize {
            false => self.send(topic, payload),
            true => {
                let mut parcel = self.new_parcel(payload.len())?;
                parcel.copy_from_slice(payload);
                self.send_parcel(topic, &parcel.seal()?, &[])
            }
        }
    }

    /// Publishes a message with a parcel: all who get it read the same memory, and each is charged for it. Nobody who holds as many parcels as it may is
    /// waited for, be it lossless or not: it misses that message, and the next one [says so](Published::missed). Without a payload, the
    /// parcel's bytes are its [payload](Record::payload).
    pub fn publish_parcel(&mut self, topic: &str, parcel: &Parcel, payload: &[u8]) -> Result<u64, Error> {
        let topic = self.topic(topic)?;
        self.send_parcel(topic, parcel, payload)
    }

    /// Publishes a message as [`publish`](Self::publish) does, in one record, and it is kept as the topic's last value for those who subscribe later, until the next one or our end. An empty payload
    /// takes it back. All that is kept for us fits a quarter of our budget: what is beyond that is not published, as a notice says. What is
    /// longer than one record is [`Error::TooLarge`].
    pub fn publish_retained(&mut self, topic: &str, payload: &[u8]) -> Result<u64, Error> {
        let topic = self.topic(topic)?;
        self.put(Header { flags: FLAG_RETAIN, ..Header::new(Kind::Message, topic, 0) }, payload, None)
    }

    /// Publishes there no longer. What is kept there for us goes.
    pub fn close_topic(&mut self, name: &str) -> Result<(), Error> {
        let Some(id) = self.topics.remove(name) else { return Ok(()) };
        self.done(&Request::CloseTopic { id: id.0 })
    }

    /// Subscribes to all topics that a pattern covers, those that are there and those to come, if policy lets us: `sensors.*.temp`,
    /// `logs.>`. Returns the subscription's number. What is published from now on comes by [`receive`](Self::receive), as
    /// [`Record::published`] says.
    pub fn subscribe(&mut self, pattern: &str, options: &SubscribeOptions) -> Result<u32, Error> {
        match self.ask(&subscribe(pattern, options), PROMPT)? {
            Answer::Subscribed { number, .. } => Ok(number),
            _ => Err(Error::Unexpected),
        }
    }

    /// Ends a subscription. What is on its way still arrives.
    pub fn unsubscribe(&mut self, subscription: u32) -> Result<(), Error> {
        self.done(&Request::Unsubscribe { number: subscription })
    }

    /// The name of a topic that something came by. Asked once for each topic.
    pub fn topic_name(&mut self, topic: WorldId) -> Result<Topic, Error> {
        if let Some(known) = self.topic_names.get(&topic) {
            return Ok(known.clone());
        }
        let Answer::Topic { name, .. } = self.ask(&Request::NameTopic { id: topic.0 }, PROMPT)? else {
            return Err(Error::Unexpected);
        };
        self.remember_topic(topic, &name)
    }

    pub(crate) fn remember_topic(&mut self, topic: WorldId, name: &str) -> Result<Topic, Error> {
        let name: Topic = name.parse().map_err(|_| Error::Unexpected)?;
        if self.topic_names.len() >= MAX_NAMES {
            self.topic_names.clear();
        }
        self.topic_names.insert(topic, name.clone());
        Ok(name)
    }
}

pub(crate) fn subscribe(pattern: &str, options: &SubscribeOptions) -> Request {
    let SubscribeOptions { newest, retained, tag_mask, tag } = *options;
    Request::Subscribe { pattern: pattern.into(), newest, retained, tag_mask, tag }
}
