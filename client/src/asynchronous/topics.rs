//! Topics for programs that run on tokio: see those of [`Client`](crate::Client).

use super::{AsyncClient, PROMPT};
use crate::error::Error;
use crate::topics::{SubscribeOptions, subscribe};
use strait_protocol::control::{Answer, Request};
use strait_protocol::{FLAG_RETAIN, Header, Kind, Topic, WorldId};

impl AsyncClient {
    /// Opens a topic to publish on: see [`Client::topic`](crate::Client::topic).
    pub async fn topic(&self, name: &str) -> Result<WorldId, Error> {
        if let Some(known) = self.0.lock().client.topics.get(name) {
            return Ok(*known);
        }
        match self.ask(&Request::OpenTopic { name: name.into() }).await? {
            Answer::Topic { id, .. } => {
                self.0.lock().client.topics.insert(name.into(), WorldId(id));
                Ok(WorldId(id))
            }
            _ => Err(Error::Unexpected),
        }
    }

    /// Publishes a message: see [`Client::publish`](crate::Client::publish). In one record: there are no parcels here, and what is longer is
    /// [`Error::TooLarge`].
    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<u64, Error> {
        let topic = self.topic(topic).await?;
        self.send(topic, payload).await
    }

    /// Publishes a message that is kept for those who subscribe later: see [`Client::publish_retained`](crate::Client::publish_retained).
    pub async fn publish_retained(&self, topic: &str, payload: &[u8]) -> Result<u64, Error> {
        let topic = self.topic(topic).await?;
        self.0.put(Header { flags: FLAG_RETAIN, ..Header::new(Kind::Message, topic, 0) }, payload).await
    }

    /// Publishes there no longer: see [`Client::close_topic`](crate::Client::close_topic).
    pub async fn close_topic(&self, name: &str) -> Result<(), Error> {
        let known = self.0.lock().client.topics.remove(name);
        let Some(id) = known else { return Ok(()) };
        self.done(&Request::CloseTopic { id: id.0 }).await
    }

    /// The name of a topic that something came by: see [`Client::topic_name`](crate::Client::topic_name).
    pub async fn topic_name(&self, topic: WorldId) -> Result<Topic, Error> {
        if let Some(known) = self.0.lock().client.topic_names.get(&topic) {
            return Ok(known.clone());
        }
        let Answer::Topic { name, .. } = self.ask(&Request::NameTopic { id: topic.0 }).await? else {
            return Err(Error::Unexpected);
        };
        self.0.lock().client.remember_topic(topic, &name)
    }

    /// Subscribes to topics: see [`Client::subscribe`](crate::Client::subscribe). [`Arrived::published`](crate::Arrived::published) tells what came so.
    pub async fn subscribe(&self, pattern: &str, options: &SubscribeOptions) -> Result<u32, Error> {
        match self.ask(&subscribe(pattern, options)).await? {
            Answer::Subscribed { number, .. } => Ok(number),
            _ => Err(Error::Unexpected),
        }
    }

    /// Ends a subscription. What is on its way still arrives.
    pub async fn unsubscribe(&self, subscription: u32) -> Result<(), Error> {
        self.done(&Request::Unsubscribe { number: subscription }).await
    }

    async fn done(&self, request: &Request) -> Result<(), Error> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            _ => Err(Error::Unexpected),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Answer, Error> {
        let reply = self.request(WorldId::CONTROL, &request.encode(), PROMPT).await?;
        match Answer::decode(&reply.payload)? {
            Answer::Refused(why) => Err(Error::Refused(why)),
            answer => Ok(answer),
        }
    }
}
