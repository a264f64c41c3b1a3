//! Topics for programs that run on tokio: see those of [`Client`](crate::Client).

use super::{AsyncClient, PROMPT};
use crate::error::Error;
use crate::topics::{SubscribeOptions, subscribe};
use strait_protocol::WorldId;
use strait_protocol::control::{Answer, Request};

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

    /// Publishes a message: see [`Client::publish`](crate::Client::publish).
    pub async fn publish(&self, topic: &str, payload: &[u8]) -> Result<u64, Error> {
        let topic = self.topic(topic).await?;
        self.send(topic, payload).await
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
        match self.ask(&Request::Unsubscribe { number: subscription }).await? {
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
