//! One dial: a thread of the gate, from the name to the socket in the world's lane.

use crate::address::{Reach, reach};
use crate::{Connection, Dial, Host, Told, connect, send};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown, sockopt};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use strait_protocol::exchange::{Handed, Note};
use strait_sys::socket;

/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// A dial under way.
pub(crate) struct Way {
    dial: Dial,
    /// The giving end of its world's lane.
    lane: OwnedFd,
    stage: Mutex<Stage>,
}

/// How far it is. Whoever holds the lock decides what comes next: so nothing is connected or handed over once it is cancelled.
enum Stage {
    /// No packet has gone out to the place itself.
    Before,
    Connecting(Arc<OwnedFd>),
    /// The supervisor is told.
    Over,
    Cancelled,
}

/// What keeps a dial from its end.
enum Stop {
    /// The world is to read why.
    Failed(String),
    /// Nobody waits for it any more.
    Cancelled,
}

impl Way {
    pub(crate) fn new(dial: Dial, lane: OwnedFd) -> Self {
        Self { dial, lane, stage: Mutex::new(Stage::Before) }
    }

    /// Nothing is connected or handed over from now on.
    pub(crate) fn cancel(&self) {
        let mut stage = self.stage();
        match &*stage {
            // Ends what is being connected, too: `shutdown(2)` in that state disconnects.
            Stage::Connecting(socket) => drop(shutdown(socket, Shutdown::Both)),
            Stage::Over => return,
            Stage::Before | Stage::Cancelled => {}
        }
        *stage = Stage::Cancelled;
    }

    /// Dials, and tells the supervisor how that ended.
    pub(crate) fn run(&self, link: &OwnedFd) {
        let ticket = self.dial.ticket;
        if let Err(Stop::Failed(why)) = self.go(link) {
            let mut stage = self.stage();
            if !matches!(*stage, Stage::Cancelled) {
                *stage = Stage::Over;
                let _ = send(link.as_fd(), &Told::Failed { ticket, why }, &[]);
            }
        }
    }

    fn go(&self, link: &OwnedFd) -> Result<(), Stop> {
        let deadline = Instant::now() + Duration::from_millis(self.dial.timeout_ms.into());
        let addresses = self.resolve().map_err(Stop::Failed)?;
        self.judge(&addresses).map_err(Stop::Failed)?;
        let mut failed = Stop::Failed(format!("{} has no address", self.place()));
        for (nth, address) in addresses.iter().enumerate() {
            // What is left of the time is for all that are left.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - nth).unwrap_or(1);
            match self.connect(SocketAddr::new(*address, self.dial.port), Instant::now() + share) {
                Ok(socket) => return self.hand_over(&socket, link),
                Err(Stop::Cancelled) => return Err(Stop::Cancelled),
                Err(why) => failed = why,
            }
        }
        Err(failed)
    }

    /// The one resolution: what is judged here is what is connected to.
    fn resolve(&self) -> Result<Vec<IpAddr>, String> {
        let name = match &self.dial.host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let found = (name.as_str(), self.dial.port).to_socket_addrs().map_err(|error| format!("{name}: {error}"))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.map(|found| found.ip()) {
            if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// One address that isn't allowed is enough: a name that leads inside, too, is not dialled at all.
    fn judge(&self, addresses: &[IpAddr]) -> Result<(), String> {
        addresses.iter().try_for_each(|address| {
            let place = SocketAddr::new(*address, self.dial.port);
            let what = match reach(*address) {
                Reach::Never(what) => return Err(format!("{} is {address}, {what}: nobody may", self.place())),
                _ if self.dial.named.contains(address) => return Ok(()),
                Reach::Near(what) => what,
                Reach::Public if connect::is_own(place) => "this machine's own",
                Reach::Public => return Ok(()),
            };
            Err(format!(
                "{} is {address}, {what}: it takes a line that names the address, `network = [\"{place}\"]`",
                self.place()
            ))
        })
    }

    fn connect(&self, address: SocketAddr, deadline: Instant) -> Result<Arc<OwnedFd>, Stop> {
        let failed = |errno| Stop::Failed(format!("{} ({address}): {errno}", self.place()));
        let socket = Arc::new(connect::socket(address).map_err(failed)?);
        {
            let mut stage = self.stage();
            if matches!(*stage, Stage::Cancelled) {
                return Err(Stop::Cancelled);
            }
            connect::begin(&socket, address).map_err(failed)?;
            *stage = Stage::Connecting(socket.clone());
        }
        connect::finish(&socket, deadline).map_err(failed)?;
        Ok(socket)
    }

    /// Puts the socket into the lane, and says so while nobody can cancel: so the supervisor hears of it before it hears that it is cancelled. It hears
    /// what it will be before the world can have it: a gate that is killed in between leaves no connection that nobody knows of.
    fn hand_over(&self, socket: &Arc<OwnedFd>, link: &OwnedFd) -> Result<(), Stop> {
        let failed = |errno| Stop::Failed(format!("{}: {errno}", self.place()));
        let ticket = self.dial.ticket;
        let connection = describe(socket).map_err(failed)?;
        rustix::io::ioctl_fionbio(socket, false).map_err(failed)?;
        let note = Note { what: Handed::Connection, number: ticket, bytes: 0 };
        let mut stage = self.stage();
        if matches!(*stage, Stage::Cancelled) {
            return Err(Stop::Cancelled);
        }
        let full = |_| Stop::Failed("the lane is full: take what was handed over before".into());
        // Without a supervisor this process is about to end.
        send(link.as_fd(), &Told::Connected { ticket, connection }, &[]).map_err(|_| Stop::Cancelled)?;
        socket::try_send(self.lane.as_fd(), &note.encode(), &[socket.as_fd()]).map_err(full)?;
        let _ = send(link.as_fd(), &Told::Dialed { ticket }, &[]);
        *stage = Stage::Over;
        Ok(())
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> String {
        match &self.dial.host {
            Host::Name(name) => format!("{name}:{}", self.dial.port),
            Host::Address(address) => SocketAddr::new(*address, self.dial.port).to_string(),
        }
    }
}

fn describe(socket: &OwnedFd) -> Result<Connection, Errno> {
    let address = |any| SocketAddr::try_from(any).map_err(|_| Errno::AFNOSUPPORT);
    let local = address(rustix::net::getsockname(socket)?)?;
    let peer = address(rustix::net::getpeername(socket)?.ok_or(Errno::NOTCONN)?)?;
    Ok(Connection { local, peer, cookie: sockopt::socket_cookie(socket)? })
}
