//! Connections to the network: a world can't make a socket, but it can be handed one.

use crate::client::Client;
use crate::control::PROMPT;
use crate::error::Error;
use std::net::TcpStream;
use std::time::Duration;
use strait_protocol::WorldId;
use strait_protocol::control::{Answer, Request};
use strait_protocol::exchange::Handed;

impl Client {
    /// Connects to a place in the network, `example.com:443` or `[fd00::5]:5432`, as far as policy lets this world: the name by a line or a grant
    /// (`network example.com:443`), and the address it leads to, unless that is public. The connection is the kernel's own from then on. It ends when
    /// the grant that it was made by does: with [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted).
    ///
    /// [`Error::Refused`] says what stands against it: policy, no such name, nobody listens there, no answer in time.
    pub fn dial(&mut self, place: &str, timeout: Duration) -> Result<TcpStream, Error> {
        match self.ask(&dial(place, timeout), timeout.saturating_add(PROMPT))? {
            Answer::Dialed { number, .. } => self.take_connection(number),
            _ => Err(Error::Unexpected),
        }
    }

    /// The same, without waiting: returns the correlation of the reply, whose payload [`take_dialed`](Self::take_dialed) takes.
    pub fn start_dial(&mut self, place: &str, timeout: Duration) -> Result<u64, Error> {
        self.start_request(WorldId::CONTROL, &dial(place, timeout).encode(), timeout.saturating_add(PROMPT))
    }

    /// The connection that a reply to [`start_dial`](Self::start_dial) speaks of. Each once.
    pub fn take_dialed(&mut self, reply: &[u8]) -> Result<TcpStream, Error> {
        match Answer::decode(reply)? {
            Answer::Dialed { number, .. } => self.take_connection(number),
            Answer::Refused(why) => Err(Error::Refused(why)),
            _ => Err(Error::Unexpected),
        }
    }

    fn take_connection(&mut self, number: u32) -> Result<TcpStream, Error> {
        let (_, descriptors) = self.lane.take(Handed::Connection, number)?;
        let [connection] = descriptors.try_into().map_err(|_| Error::Unexpected)?;
        Ok(connection.into())
    }
}

fn dial(place: &str, timeout: Duration) -> Request {
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    Request::Dial { place: place.into(), timeout_ms }
}
