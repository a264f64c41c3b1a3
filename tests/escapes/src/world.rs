//! The probe as a world of a broker: as much of it as a rogue needs.

use crate::call;
use crate::outcome::Outcome;
use crate::raw::owned;
use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use strait_memory::{Inbox, SliceFile, Writable};
use strait_protocol::control::{Answer, Request};
use strait_protocol::handshake::{self, Welcome};
use strait_protocol::{Endpoint, Header, Kind, RawHeader, SliceMemory, WorldId, WritableMemory};
use strait_sys::socket;

/// What a world is given by its broker, as bare descriptors.
pub struct Slices {
    /// Descriptor 3: the connection to the supervisor; otherwise one to nobody who reads.
    pub connection: OwnedFd,
    /// The other end of the latter.
    pub other_end: Option<OwnedFd>,
    /// The slice that this world writes; sealed.
    pub outbox: OwnedFd,
    /// The slice that the switch writes.
    pub inbox: OwnedFd,
    /// The eventfd by which the switch is woken.
    pub bell: OwnedFd,
    /// The eventfd by which this world is woken.
    pub wakeup: OwnedFd,
    /// The socket that descriptors come through.
    pub lane: OwnedFd,
    /// The two slices, mapped as a client has them.
    endpoint: Option<RefCell<Pair>>,
}

impl std::fmt::Debug for Slices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slices").field("outbox", &self.outbox).field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

impl Slices {
    /// Takes them from the connection, maps and seals them as every world must, and says so.
    pub fn receive() -> Result<Self, Outcome> {
        let wrong = |errno: i32| Outcome::Errno(errno);
        let connection = socket::adopt(handshake::WORLD_FD).map_err(|errno| wrong(errno.raw_os_error()))?;
        let mut buffer = [0; handshake::MAX_BYTES];
        let received = socket::receive(connection.as_fd(), &mut buffer);
        let (length, descriptors) = received.map_err(|errno| wrong(errno.raw_os_error()))?;
        let welcome = Welcome::decode(&buffer[..length]).map_err(|_| Outcome::Word("no-welcome"))?;
        let all: [OwnedFd; handshake::DESCRIPTORS] =
            descriptors.try_into().map_err(|_| Outcome::Word("other-descriptors"))?;
        let [outbox, inbox, bell, wakeup, lane] = all;
        let endpoint = map(&outbox, &inbox, &welcome).map_err(|_| Outcome::Word("not-mapped"))?;
        let sent = socket::send(connection.as_fd(), &handshake::mapped(), &[]);
        sent.map_err(|errno| wrong(errno.raw_os_error()))?;
        Ok(Self {
            connection,
            other_end: None,
            outbox,
            inbox,
            bell,
            wakeup,
            lane,
            endpoint: Some(RefCell::new(endpoint)),
        })
    }

    /// The same as a naive broker would make it: no seal, and anybody's mode.
    pub fn unsealed() -> Result<Self, Outcome> {
        let (outbox, inbox) = (memory_file()?, memory_file()?);
        let path = format!("/proc/self/fd/{}", inbox.as_raw_fd());
        let inbox = owned(crate::raw::open(&path, libc::O_RDONLY)?);
        let bell = || call!(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC).map(owned);
        let (connection, other_end) = socket::pair().map_err(|errno| Outcome::Errno(errno.raw_os_error()))?;
        let (bell, wakeup, lane) = (bell()?, bell()?, connection.try_clone().map_err(|error| Outcome::of(&error))?);
        Ok(Self { connection, other_end: Some(other_end), outbox, inbox, bell, wakeup, lane, endpoint: None })
    }

    /// Anything at all into its header page and its ring, while the switch looks, for a while.
    pub fn scribble(&self) -> Result<(), Outcome> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let mut endpoint = endpoint.borrow_mut();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            // xorshift64 (Marsaglia).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..100_000 {
            let place = (next() % 256) as u32 * 64;
            let words = std::array::from_fn(|_| next());
            endpoint.mine_mut().store_header(place, &words);
            let control = endpoint.mine().control();
            control.produced.store(next() % 4096 * 16, Ordering::SeqCst);
            control.consumed.store(next() % 64, Ordering::SeqCst);
            control.waiting.store(next() as u32, Ordering::SeqCst);
            control.bell.store(next() as u32, Ordering::SeqCst);
            let _ = call!(libc::SYS_write, self.bell.as_raw_fd(), &[1u64], 8);
        }
        Ok(())
    }

    /// Asks for so many worlds, as many at a time as fit, and reads every answer. How many were started.
    pub fn storm(&self, count: u64) -> Result<usize, Outcome> {
        let Some(endpoint) = &self.endpoint else { return Ok(0) };
        let mut endpoint = endpoint.borrow_mut();
        let (mut asked, mut answered, mut started) = (0, 0, 0);
        let end = Instant::now() + Duration::from_secs(30);
        while answered < count && Instant::now() < end {
            let request = Request::Start { template: format!("any/{asked}"), name: None };
            if asked < count && ask(&mut endpoint, &request, asked + 2).is_ok() {
                asked += 1;
                continue;
            }
            match take(&mut endpoint)? {
                Some(answer) => (answered, started) = (answered + 1, started + usize::from(answer.is_some())),
                None => {
                    let _ = call!(libc::SYS_write, self.bell.as_raw_fd(), &[1u64], 8);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        if answered == count { Ok(started) } else { Err(Outcome::Word("unanswered")) }
    }

    /// Whether the broker still does its work for this world: the supervisor answers a question that goes through the switch. To be asked
    /// once.
    pub fn broker_answers(&self) -> Result<bool, Outcome> {
        let Some(endpoint) = &self.endpoint else { return Ok(false) };
        let mut endpoint = endpoint.borrow_mut();
        ask(&mut endpoint, &Request::Resolve { name: "nobody".into() }, 1)?;
        // A bell that is full makes no sound: that is what its world did to itself.
        let _ = call!(libc::SYS_fcntl, self.bell.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
        let _ = call!(libc::SYS_read, self.bell.as_raw_fd(), &mut [0; 8][..], 8);
        for step in 0..1000 {
            // A bell that rings without end isn't listened to for a while, so it is rung once a second.
            if step % 100 == 0 {
                let _ = call!(libc::SYS_write, self.bell.as_raw_fd(), &[1u64], 8);
            }
            if endpoint.peek().map_err(|_| Outcome::Word("corrupt"))?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }
}

type Pair = Endpoint<Writable, Inbox>;

/// Publishes a request to the control service.
fn ask(endpoint: &mut Pair, request: &Request, correlation: u64) -> Result<(), Outcome> {
    let request = request.encode();
    let mut header = Header::new(Kind::Request, WorldId::CONTROL, request.len() as u32);
    header.correlation = correlation;
    let slot = endpoint.reserve(request.len()).map_err(|_| Outcome::Word("no-room"))?;
    endpoint.mine_mut().copy_in(slot.payload_offset(), &request);
    endpoint.commit(&slot, &RawHeader::from(&header));
    endpoint.publish();
    Ok(())
}

/// Takes the next record: the world that was started, or nothing if it was refused.
fn take(endpoint: &mut Pair) -> Result<Option<Option<u64>>, Outcome> {
    let corrupt = |_| Outcome::Word("corrupt");
    let Some(next) = endpoint.peek().map_err(corrupt)? else { return Ok(None) };
    let mut payload = vec![0; next.raw.length() as usize];
    endpoint.theirs().copy_out(next.payload_offset(), &mut payload);
    endpoint.advance(&next);
    endpoint.release();
    match Answer::decode(&payload) {
        Ok(Answer::World { id, .. }) => Ok(Some(Some(id))),
        _ => Ok(Some(None)),
    }
}

fn map(outbox: &OwnedFd, inbox: &OwnedFd, welcome: &Welcome) -> Result<Pair, Box<dyn std::error::Error>> {
    let file = SliceFile::adopt(outbox.try_clone()?, welcome.outbox)?;
    let mapped = Writable::map(&file)?;
    // Who doesn't is ended when it says that it is mapped.
    file.seal_writes()?;
    Ok(Endpoint::new(mapped, Inbox::map(&SliceFile::adopt(inbox.try_clone()?, welcome.inbox)?)?))
}

fn memory_file() -> Result<OwnedFd, Outcome> {
    let file = owned(call!(libc::SYS_memfd_create, c"slice", libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC)?);
    call!(libc::SYS_ftruncate, file.as_raw_fd(), 65536)?;
    Ok(file)
}
