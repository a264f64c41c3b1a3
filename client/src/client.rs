//! The client itself: what it is made of, its beginning and its end.

use crate::assembly::Assembly;
use crate::connect::{self, Connection};
use crate::error::Error;
use crate::intake::Unpacking;
use crate::lane::Lane;
use crate::link::Links;
use crate::outflow::Outflow;
use crate::parcel::Parcels;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use strait_memory::{Inbox, Writable};
use strait_protocol::{Endpoint, Header, Kind, Name, RawHeader, SliceMemory, Topic, WorldId};

/// Whether a record is shown to the switch at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    #[default]
    Now,
    /// With the next that is sent at once, or at [`Client::flush`].
    Later,
}

/// A world's or host program's connection to the switch.
#[derive(Debug)]
pub struct Client {
    pub(crate) endpoint: Endpoint<Writable, Inbox>,
    pub(crate) bell: OwnedFd,
    pub(crate) wakeup: OwnedFd,
    pub(crate) lane: Lane,
    pub(crate) parcels: Parcels,
    pub(crate) links: Links,
    /// The record that comes next is not at the head of the inbox, but in `handed`: it came over a link, or is our own notice.
    pub(crate) is_handed: bool,
    /// For a world that may have links and polls: what there is to be polled, in one.
    pub(crate) epoll: Option<OwnedFd>,
    pub(crate) may_link: bool,
    pub(crate) socket: OwnedFd,
    pub(crate) own_id: WorldId,
    pub(crate) name: Name,
    pub(crate) outlives_broker: bool,
    /// Bytes of inbox that the record takes that was handed out last: read, but not yet given back. 0 for none.
    pub(crate) current: u32,
    /// What arrived while a request waited.
    pub(crate) aside: VecDeque<(Header, Vec<u8>)>,
    pub(crate) aside_bytes: usize,
    /// Header and payload of the record that was handed out last, where they aren't those at the head of the inbox.
    pub(crate) handed: RawHeader,
    pub(crate) handed_payload: Vec<u8>,
    pub(crate) assembly: Assembly,
    pub(crate) unpacking: Unpacking,
    /// Streams that were begun.
    pub(crate) streams: u32,
    /// The word for the record that was handed out last: the cause of what is sent now. 0 if none is being handled.
    pub(crate) cause: u64,
    pub(crate) sent: u64,
    pub(crate) outflow: Outflow,
    /// Where messages are packed; kept for the next time.
    pub(crate) packing: Vec<u8>,
    pub(crate) asked: u64,
    pub(crate) polls: bool,
    pub(crate) armed: bool,
    /// Who polls waits for room too.
    #[cfg(feature = "tokio")]
    pub(crate) awaits_room: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) names: HashMap<Name, WorldId>,
    /// Topics that we have opened, by name.
    pub(crate) topics: HashMap<Box<str>, WorldId>,
    /// Names of topics that something came by.
    pub(crate) topic_names: HashMap<WorldId, Topic>,
}

impl Client {
    /// Takes up the connection that was made for this world before its program started. Once per process.
    pub fn open() -> Result<Self, Error> {
        connect::open().map(|connection| Self::new(connection, false))
    }

    /// Attaches a host program to the broker that listens at `socket`, under a name that policy gives to our uid.
    pub fn attach(socket: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        connect::attach(socket.as_ref(), name.parse()?).map(|connection| Self::new(connection, true))
    }

    /// Takes up a connection whose other end the broker already has: for programs that embed the broker.
    pub fn adopt(connection: OwnedFd) -> Result<Self, Error> {
        connect::adopt(connection).map(|connection| Self::new(connection, true))
    }

    fn new(connection: Connection, outlives_broker: bool) -> Self {
        let Connection { welcome, endpoint, bell, wakeup, lane, socket } = connection;
        Self {
            endpoint,
            bell,
            wakeup,
            lane: Lane::new(lane),
            parcels: Parcels::default(),
            links: Links::default(),
            is_handed: false,
            epoll: None,
            may_link: welcome.links,
            socket,
            own_id: welcome.id,
            name: welcome.name,
            outlives_broker,
            current: 0,
            aside: VecDeque::new(),
            aside_bytes: 0,
            handed: RawHeader::from(&Header::new(Kind::Message, welcome.id, 0)),
            handed_payload: Vec::new(),
            assembly: Assembly::default(),
            unpacking: Unpacking::default(),
            streams: 0,
            cause: 0,
            sent: 0,
            outflow: Outflow::new(),
            packing: Vec::new(),
            asked: 0,
            polls: false,
            armed: false,
            #[cfg(feature = "tokio")]
            awaits_room: false,
            patience: None,
            names: HashMap::new(),
            topics: HashMap::new(),
            topic_names: HashMap::new(),
        }
    }

    /// Our id.
    pub fn id(&self) -> WorldId {
        self.own_id
    }

    /// Our name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The largest payload that one record can carry, in bytes.
    pub fn max_payload(&self) -> u32 {
        self.endpoint.max_payload() - Outflow::kept(self.endpoint.mine().ring_bytes())
    }

    /// Bounds how long any send may wait for room: after that it is [`Error::Full`]. Without a bound, the default, it waits
    /// as long as it takes.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience
    }
}

impl Drop for Client {
    /// Shows the switch what was staged, and tells the supervisor that this is the end.
    fn drop(&mut self) {
        self.flush();
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}
