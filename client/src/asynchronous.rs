//! The client for programs that run on tokio.
//!
//! One descriptor tells of everything: records that came, and room in the outbox. Whoever waits for something may be the one who
//! watches that descriptor; there is one such at a time, and what it takes from the inbox it hands to those it is for. So there is no
//! task in the background, and nothing happens unless somebody waits.

mod store;
mod topics;
mod watch;

use crate::client::Client;
use crate::error::Error;
use crate::record::{Arrived, Reply};
use crate::sending::window_of;
use crate::writer::{StreamWriter, Suspended};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use strait_protocol::control::{Answer, Request};
use strait_protocol::{Header, Kind, Name, WorldId};
use tokio::net::unix::pipe;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use watch::yield_now;

/// What is kept for later receives while others wait for something else.
const MAX_ARRIVED_BYTES: usize = 16 << 20;
/// How long the control service may take.
const PROMPT: Duration = Duration::from_secs(10);

/// A [`Client`] on tokio, made by [`Client::into_async`]. Its clones are handles to the same: any number of tasks may send, ask and receive with it at once.
///
/// Every call can be dropped before it is done, and nothing that was received is lost by that. A send that is dropped was sent whole or not at all: of
/// a large payload the receiver learns that it is incomplete. A request that is dropped was sent or not; its answer is thrown away.
///
/// ```no_run
/// use std::time::Duration;
/// use strait_client::{Client, Error};
///
/// async fn ask_both(client: Client) -> Result<(), Error> {
///     let client = client.into_async()?;
///     let greeter = client.resolve("greeter").await?;
///     let second = Duration::from_secs(1);
///     let (one, two) = (client.request(greeter, b"one", second), client.request(greeter, b"two", second));
///     let (one, two) = (one.await?, two.await?);
///     println!("{:?} {:?}", one.payload, two.payload);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncClient(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// That of [`Client::poll_fd`] once more.
    descriptor: pipe::Receiver,
    /// Held by who watches the descriptor.
    watch: AsyncMutex<()>,
    /// Tells the watcher that something else is waited for now.
    kick: Notify,
    /// Held by who sends: what is sent in pieces is one stream after the other.
    sending: AsyncMutex<()>,
    /// Held by who saves or loads the state: the store does one thing at a time for a world.
    storing: AsyncMutex<()>,
    arrived: Notify,
    room: Notify,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    /// Requests under way.
    asked: HashMap<u64, Asked>,
    /// Requests up to this one are not ours: they were sent before.
    asked_before: u64,
    arrived: VecDeque<Arrived>,
    arrived_bytes: usize,
    /// Somebody waits for so much room for a record to this world.
    wanted_room: Option<(WorldId, usize)>,
}

#[derive(Debug, Default)]
struct Asked {
    answer: Option<Result<Reply, Error>>,
    is_here: Arc<Notify>,
}

impl Client {
    /// The same for programs that run on tokio. To be called inside of a runtime with IO enabled.
    ///
    /// Direct links aren't for tokio yet: a client that has any can't become this ([`Error::HasLinks`]), and one that is this takes part in none.
    pub fn into_async(mut self) -> Result<AsyncClient, Error> {
        self.refuse_links()?;
        let descriptor = self.poll_fd().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd);
        let descriptor = descriptor.map_err(|error| io_error(&error))?;
        let inner = Inner {
            asked_before: self.asked(),
            client: self,
            asked: HashMap::new(),
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            wanted_room: None,
        };
        Ok(AsyncClient(Arc::new(Shared {
            inner: Mutex::new(inner),
            descriptor,
            watch: AsyncMutex::new(()),
            kick: Notify::new(),
            sending: AsyncMutex::new(()),
            storing: AsyncMutex::new(()),
            arrived: Notify::new(),
            room: Notify::new(),
        })))
    }
}

impl AsyncClient {
    /// Our id.
    pub fn id(&self) -> WorldId {
        self.0.lock().client.id()
    }

    /// Our name.
    pub fn name(&self) -> Name {
        self.0.lock().client.name().clone()
    }

    /// The next record that is no answer to a [`request`](Self::request). Of several tasks that wait for one, each record goes to one.
    pub async fn receive(&self) -> Result<Arrived, Error> {
        let shared = &*self.0;
        shared.wait_for(&shared.arrived, |inner| Ok(shared.take_arrived(inner))).await
    }

    /// Sends a message of any length, waiting for room in the outbox if need be. Returns its sequence number, which a notice
    /// about it would carry.
    pub async fn send(&self, to: WorldId, payload: &[u8]) -> Result<u64, Error> {
        self.0.put(Header::new(Kind::Message, to, 0), payload).await
    }

    /// Answers a request. `code` 0 is success; other codes are the application's.
    pub async fn reply(&self, request: &Header, code: u16, payload: &[u8]) -> Result<u64, Error> {
        let header = Header { cause: request.as_cause(), ..Client::reply_header(request, code) };
        self.0.put(header, payload).await
    }

    /// Sends a request and waits for its answer, within `timeout` from when it was sent. [`Error::TooMuchArrived`] if nobody receives what comes meanwhile.
    pub async fn request(&self, to: WorldId, payload: &[u8], timeout: Duration) -> Result<Reply, Error> {
        self.ask_as(|header| header, to, (payload, usize::MAX), timeout).await
    }

    /// The same with a header that is said more in, and a payload that goes in pieces if it has more than so many bytes.
    async fn ask_as(
        &self,
        with: impl FnOnce(Header) -> Header,
        to: WorldId,
        (payload, most): (&[u8], usize),
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let (header, is_here) = {
            let mut inner = self.0.lock();
            let header = with(inner.client.request_header(to, timeout));
            let asked = inner.asked.entry(header.correlation).or_default();
            (header, Arc::clone(&asked.is_here))
        };
        let asked = AskedGuard { shared: &self.0, correlation: header.correlation };
        self.0.put_at_most(header, payload, most).await?;
        self.0.wait_for(&is_here, |inner| inner.take_answer(asked.correlation)).await
    }

    /// The id of the running world with this name.
    pub async fn resolve(&self, name: &str) -> Result<WorldId, Error> {
        let name: Name = name.parse()?;
        if let Some(known) = self.0.lock().client.names.get(&name) {
            return Ok(*known);
        }
        let request = Request::Resolve { name: name.as_str().into() };
        let reply = self.request(WorldId::CONTROL, &request.encode(), PROMPT).await?;
        match Answer::decode(&reply.payload)? {
            Answer::World { id, .. } => {
                self.0.lock().client.names.insert(name, WorldId(id));
                Ok(WorldId(id))
            }
            Answer::Refused(why) => Err(Error::Refused(why)),
            _ => Err(Error::Unexpected),
        }
    }
}

/// A request that is waited for.
struct AskedGuard<'a> {
    shared: &'a Shared,
    correlation: u64,
}

impl Drop for AskedGuard<'_> {
    fn drop(&mut self) {
        self.shared.lock().asked.remove(&self.correlation);
    }
}

/// A payload that is being sent in pieces.
struct Sending<'a> {
    shared: &'a Shared,
    stream: Option<Suspended>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            drop(StreamWriter::resume(&mut self.shared.lock().client, stream, None));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked did so between two steps of the client: it has no state that is half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, header: Header, payload: &[u8]) -> Result<u64, Error> {
        self.put_at_most(header, payload, usize::MAX).await
    }

    /// The same with no more than so many bytes in one record.
    async fn put_at_most(&self, header: Header, payload: &[u8], most: usize) -> Result<u64, Error> {
        let _sending = self.sending.lock().await;
        let most = most.min(self.lock().client.max_payload() as usize);
        if payload.len() > most && !header.destination.is_topic() {
            return self.put_pieces(header, payload).await;
        }
        let room = (window_of(&header), payload.len());
        let put = |inner: &mut Inner| inner.put(&header, payload);
        self.wait_for(&self.room, |inner| self.unless_full(inner, room, put)).await
    }

    async fn put_pieces(&self, header: Header, payload: &[u8]) -> Result<u64, Error> {
        let mut sending = Sending { shared: self, stream: None };
        let mut rest = payload;
        let room = (header.destination, self.lock().client.piece_room().1);
        loop {
            let mut step = |inner: &mut Inner| inner.put_piece(&mut sending.stream, &header, &mut rest);
            if let Some(sequence) = self.wait_for(&self.room, |inner| self.unless_full(inner, room, &mut step)).await? {
                return Ok(sequence);
            }
            // There may be room all the while: others want to run too.
            yield_now().await;
        }
    }

    /// Says what came of it, or nothing if it has to wait for room.
    fn unless_full<T>(
        &self,
        inner: &mut Inner,
        room: (WorldId, usize),
        put: impl FnOnce(&mut Inner) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match put(inner) {
            Err(Error::Full) => {
                // Once: the watcher may be this one.
                if inner.wanted_room.replace(room) != Some(room) {
                    self.kick.notify_one();
                }
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn take_arrived(&self, inner: &mut Inner) -> Option<Arrived> {
        let was_full = inner.is_full();
        let record = inner.arrived.pop_front()?;
        inner.arrived_bytes -= record.payload.len() + Header::BYTES as usize;
        if was_full && !inner.is_full() {
            self.kick.notify_one();
        }
        if !inner.arrived.is_empty() {
            self.arrived.notify_one();
        }
        Some(record)
    }
}

impl Inner {
    fn is_full(&self) -> bool {
        self.arrived_bytes > MAX_ARRIVED_BYTES
    }

    fn put(&mut self, header: &Header, payload: &[u8]) -> Result<u64, Error> {
        self.client.cause = header.cause;
        self.client.put(*header, payload, Some(Instant::now()))
    }

    /// Sends the next piece of what is left. The sequence number, if it was the last.
    fn put_piece(
        &mut self,
        stream: &mut Option<Suspended>,
        last: &Header,
        rest: &mut &[u8],
    ) -> Result<Option<u64>, Error> {
        let at_rest = stream.take().unwrap_or_else(|| Suspended::new(*last));
        self.client.cause = last.cause;
        let mut writer = StreamWriter::resume(&mut self.client, at_rest, Some(Instant::now()));
        match writer.fill(rest) {
            Ok(count) if count == rest.len() => writer.finish().map(Some),
            Ok(count) => {
                *rest = &rest[count..];
                writer.send_piece()?;
                *stream = Some(writer.suspend());
                Ok(None)
            }
            Err(error) => {
                *stream = Some(writer.suspend());
                Err(error)
            }
        }
    }

    fn take_answer(&mut self, correlation: u64) -> Result<Option<Reply>, Error> {
        let answer = self.asked.get_mut(&correlation).and_then(|asked| asked.answer.take());
        match answer {
            Some(answer) => answer.map(Some),
            None if self.is_full() => Err(Error::TooMuchArrived { limit: MAX_ARRIVED_BYTES }),
            None => Ok(None),
        }
    }
}

fn io_error(error: &std::io::Error) -> Error {
    Error::Call { call: "epoll_ctl", errno: rustix::io::Errno::from_io_error(error).unwrap_or(rustix::io::Errno::IO) }
}
