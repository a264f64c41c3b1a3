//! Parcels, as the user of the client has them: large messages that are never copied.
//!
//! ```no_run
//! # fn main() -> Result<(), strait_client::Error> {
//! # let mut client = strait_client::Client::open()?;
//! let peer = client.resolve("viewer")?;
//! let mut frame = client.new_parcel(1920 * 1080 * 4)?;
//! frame.fill(0x7f);
//! let frame = frame.seal()?;
//! client.send_parcel(peer, &frame, b"frame 1")?;
//! # Ok(())
//! # }
//! ```
//!
//! The receiver finds it in [`Record::parcel`](crate::Record::parcel) and reads the very same memory, which the kernel keeps from ever
//! changing. Either may send it on, any number of times; it is freed when nobody has it any more.
//!
//! **What it costs.** Each holder is charged the parcel's whole size, against the limits that its policy sets (`parcels`, in bytes, and
//! `parcel_count`), until its last [`Parcel`] is dropped. The memory itself is on the account (the memory cgroup) of whoever touched
//! it first: the maker for what it wrote, the reader for what its maker left untouched. **What it doesn't promise:** who shares a
//! parcel shares a file; two holders that both want to can signal each other through its file locks.

use crate::client::Client;
use crate::error::Error;
use crate::lane::Lane;
use crate::linking::MARK;
use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use strait_memory::{ParcelFile, ParcelReader, ParcelWriter};
use strait_protocol::exchange::{self, Ask, Handed, Refusal, Told};
use strait_protocol::{FLAG_MARK, FLAG_PARCEL, Header, Kind, RawHeader, WorldId};

/// How long the switch may take over what it does at once.
const PROMPT: Duration = Duration::from_secs(10);
/// Parcels that were dropped before the switch is told, when there is enough else to do.
const MAX_DROPPED: usize = 8;
/// Marks requests that the client itself makes, so that their answers aren't shown to anybody.
const OWN: u32 = 1;

/// Where dropped parcels are noted until the client has time for them.
type Dropped = Arc<Mutex<Vec<u32>>>;

/// Names a parcel for as long as somebody has it.
#[derive(Debug)]
struct Hold {
    number: u32,
    dropped: Dropped,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

/// A parcel that is being filled. Dropped, it is as if it had never been.
#[derive(Debug)]
pub struct ParcelMut {
    writer: ParcelWriter,
    file: ParcelFile,
    hold: Arc<Hold>,
    sealed: Arc<Mutex<Option<Arc<ParcelReader>>>>,
}

impl ParcelMut {
    /// Makes it immutable, for ever and for everybody. Fails while something else in this process maps it for writing, or the kernel
    /// uses its pages; then it is lost.
    pub fn seal(self) -> Result<Parcel, Error> {
        let Self { writer, file, hold, sealed } = self;
        drop(writer);
        file.seal()?;
        let reader = Arc::new(ParcelReader::map(&file)?);
        *sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader.clone());
        Ok(Parcel { reader, hold })
    }
}

impl Deref for ParcelMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.writer.bytes()
    }
}

impl DerefMut for ParcelMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.writer.bytes_mut()
    }
}

/// A sealed parcel. Clones are the same one; with the last it is given back.
#[derive(Clone, Debug)]
pub struct Parcel {
    reader: Arc<ParcelReader>,
    hold: Arc<Hold>,
}

impl Parcel {
    /// What is in it. It never changes, whoever else has it.
    pub fn bytes(&self) -> &[u8] {
        self.reader.bytes()
    }

    pub(crate) fn number(&self) -> u32 {
        self.hold.number
    }
}

/// One parcel that the switch counts as ours.
#[derive(Debug)]
struct Known {
    hold: Weak<Hold>,
    /// Unmapped only after the switch has let go of it: so it is this process that frees the memory, in its own time.
    reader: Arc<Mutex<Option<Arc<ParcelReader>>>>,
    /// How often it came, beyond what was given back.
    uses: u64,
}

/// All parcels of a client.
#[derive(Debug, Default)]
pub(crate) struct Parcels {
    known: HashMap<u32, Known>,
    dropped: Dropped,
    /// Of the record that was handed out last.
    pub(crate) current: Option<Parcel>,
    /// Of records that were put aside, in order.
    aside: VecDeque<Parcel>,
}

impl Parcels {
    /// Takes up the parcel that a record brings.
    pub(crate) fn arrive(&mut self, lane: &mut Lane, raw: &RawHeader) -> Result<Parcel, Error> {
        let number = raw.stream();
        if let Some(known) = self.known.get_mut(&number) {
            known.uses += 1;
            let reader = known.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let reader = reader.ok_or(Error::Unexpected)?;
            let hold = known.hold.upgrade().unwrap_or_else(|| {
                let hold = Arc::new(Hold { number, dropped: self.dropped.clone() });
                known.hold = Arc::downgrade(&hold);
                hold
            });
            return Ok(Parcel { reader, hold });
        }
        let reader = Arc::new(ParcelReader::map(&take_file(lane, number)?)?);
        let hold = self.know(number, Some(reader.clone()));
        Ok(Parcel { reader, hold })
    }

    fn know(&mut self, number: u32, reader: Option<Arc<ParcelReader>>) -> Arc<Hold> {
        let hold = Arc::new(Hold { number, dropped: self.dropped.clone() });
        let reader = Arc::new(Mutex::new(reader));
        self.known.insert(number, Known { hold: Arc::downgrade(&hold), reader, uses: 1 });
        hold
    }

    /// The parcel of the record that was received last stays with it while it is kept aside.
    pub(crate) fn put_aside(&mut self, flags: u8) {
        if flags & FLAG_PARCEL != 0 {
            self.aside.extend(self.current.take());
        }
    }

    /// The parcel of the record that is taken from aside.
    pub(crate) fn take_aside(&mut self, flags: u8) {
        if flags & FLAG_PARCEL != 0 {
            self.current = self.aside.pop_front();
        }
    }

    /// The parcel of the record that is handed out.
    #[inline]
    pub(crate) fn of(&self, raw: &RawHeader) -> Option<&Parcel> {
        if raw.flags() & FLAG_PARCEL != 0 { self.current.as_ref() } else { None }
    }

    /// A parcel that nobody has any more, and how often it came. Asked for without need, only when there are many.
    fn given_back(&mut self, must: bool) -> Option<(u32, u64)> {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if !must && dropped.len() < MAX_DROPPED {
            return None;
        }
        while let Some(number) = dropped.pop() {
            // It may have come again since.
            if let Some(known) = self.known.get_mut(&number)
                && known.hold.strong_count() == 0
                && known.uses > 0
            {
                return Some((number, std::mem::take(&mut known.uses)));
            }
        }
        None
    }

    /// It couldn't be given back after all.
    fn keep_back(&mut self, number: u32, uses: u64) {
        if let Some(known) = self.known.get_mut(&number) {
            known.uses += uses;
        }
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    }

    /// Whether there is nothing to give back, as far as one look says.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The switch has taken a parcel back, or some of its comings.
    pub(crate) fn is_released(&mut self, number: u32, left: u64) {
        // One that came again meanwhile is counted again.
        if left == 0 && self.known.get(&number).is_some_and(|known| known.uses == 0) {
            self.known.remove(&number);
        }
    }
}

fn take_file(lane: &mut Lane, number: u32) -> Result<ParcelFile, Error> {
    let (note, descriptors) = lane.take(Handed::Parcel, number)?;
    let [fd] = descriptors.try_into().map_err(|_| Error::Unexpected)?;
    Ok(ParcelFile::adopt(fd, note.bytes)?)
}

impl Client {
    /// A new parcel of so many bytes, all zero, to be filled and [sealed](ParcelMut::seal). Up to 4 GiB, and to what policy lets this
    /// world hold.
    pub fn new_parcel(&mut self, bytes: usize) -> Result<ParcelMut, Error> {
        // Before: what was dropped counts until it is given back.
        self.give_back_parcels(true)?;
        let number = self.ask_switch(&Ask::NewParcel { bytes: bytes as u64 }, PROMPT)? as u32;
        let file = take_file(&mut self.lane, number)?;
        let writer = ParcelWriter::map(&file)?;
        let hold = self.parcels.know(number, None);
        let sealed = self.parcels.known[&number].reader.clone();
        Ok(ParcelMut { writer, file, hold, sealed })
    }

    /// Sends a message with a parcel. Returns its sequence number. That the receiver may hold no more is told by a notice
    /// ([`Reason::ParcelQuota`](crate::Reason::ParcelQuota)).
    pub fn send_parcel(&mut self, to: WorldId, parcel: &Parcel, payload: &[u8]) -> Result<u64, Error> {
        let mut header = Header::new(Kind::Message, to, 0);
        (header.flags, header.stream) = (FLAG_PARCEL, parcel.number());
        self.put(header, payload, None)
    }

    /// Asks the switch itself and waits for its answer.
    pub(crate) fn ask_switch(&mut self, ask: &Ask, timeout: Duration) -> Result<u64, Error> {
        let reply = self.request(WorldId::SWITCH, &ask.encode(), timeout)?;
        match Refusal::from_code(reply.header.code) {
            Some(refusal) => Err(Error::Switch(refusal)),
            None => exchange::answered(&reply.payload).filter(|_| reply.header.code == 0).ok_or(Error::Unexpected),
        }
    }

    /// Tells the switch which parcels nobody has any more.
    pub(crate) fn give_back_parcels(&mut self, must: bool) -> Result<(), Error> {
        if self.parcels.is_empty() {
            return Ok(());
        }
        if must {
            // The record that it came with is over.
            self.parcels.current = None;
        }
        while let Some((parcel, uses)) = self.parcels.given_back(must) {
            let mut header = Header::new(Kind::Request, WorldId::SWITCH, 0);
            (header.stream, header.tag) = (OWN, parcel.into());
            match self.put(header, &Ask::ReleaseParcel { parcel, uses }.encode(), Some(Instant::now())) {
                // Nobody waits for this: it goes with the next opportunity.
                Err(Error::Full) => {
                    self.parcels.keep_back(parcel, uses);
                    return Ok(());
                }
                other => other?,
            };
        }
        Ok(())
    }

    fn head_payload(&self) -> &[u8] {
        self.endpoint.theirs().bytes(self.endpoint.head_payload(), self.endpoint.head().length() as usize)
    }

    /// Takes up what the client itself has to know of the record at the head of the inbox. True if its user isn't to see it.
    #[cold]
    pub(crate) fn take_in(&mut self) -> Result<bool, Error> {
        let raw = *self.endpoint.head();
        let is_of_switch = raw.source() == WorldId::SWITCH && raw.flags() & FLAG_MARK != 0;
        if raw.kind() == Kind::Reply && is_of_switch {
            let header = raw.header();
            if let (0, Some(left)) = (header.code, exchange::answered(self.head_payload())) {
                self.parcels.is_released(header.tag as u32, left);
            }
            return Ok(true);
        }
        if raw.kind() == Kind::Message && is_of_switch {
            let told = Told::decode(self.head_payload()).ok_or(Error::Unexpected)?;
            return self.take_told(&told).map(|()| true);
        }
        if raw.mark() != 0 {
            return self.take_mark(&raw.header()).map(|()| true);
        }
        if raw.kind() == Kind::Notice {
            // What became of a mark is nobody's business: the end of the link is told by itself.
            return Ok(raw.correlation() == MARK);
        }
        if raw.parcel() != 0 {
            self.parcels.current = Some(self.parcels.arrive(&mut self.lane, &raw)?);
            self.give_back_parcels(false)?;
        }
        Ok(false)
    }
}
