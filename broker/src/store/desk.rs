//! What worlds ask of the store, one thing at a time each, and what comes of it.
//!
//! Taking a record costs little: parts of a state are written as they come. What costs a lot (making a state durable, reading all of one to see
//! whether it is whole) is queued, one piece of work per world at most: so a world waits for no more than one of every other, whatever
//! these ask for.

use super::shelf::Newest;
use super::shelves::{NotKept, Shelves, Upload, call};
use rustix::io::{pread, retry_on_intr};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use strait_client::{Header, Kind, Name, Parcel, Piece, WorldId};
use strait_protocol::control::{Answer, Keeping};
use strait_protocol::store::{Loaded, MAX_READ_BYTES, Operation, REFUSED, Report, from_words, words};
use strait_protocol::stream::NO_STREAM;

/// Worlds that something is remembered of. The one that asked for nothing for longest makes way.
const MAX_SESSIONS: usize = 4096;
/// Orders of the control service that may wait.
const MAX_ORDERS: usize = 16;

const ONE_AT_A_TIME: &str = "what was asked before isn't done yet: one thing at a time";
const NOT_WHOLE: &str = "the state didn't arrive whole";

/// What is to be sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    Reply {
        to: Header,
        code: u16,
        payload: Vec<u8>,
    },
    /// To the control service: what is kept of this world?
    AskFor(WorldId),
    Tell(Report),
}

/// One world's dealings.
#[derive(Debug, Default)]
struct Session {
    stage: Stage,
    /// What was opened for it to read.
    reading: Option<(OwnedFd, u64)>,
    touched: u64,
}

impl Session {
    fn waits_for(&self, number: u64) -> bool {
        matches!(self.stage, Stage::Queued(own) if own == number)
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// The control service was asked who it is.
    Asking(Header, Question),
    /// What it offered is coming.
    Receiving(Receiving),
    /// It waits for its piece of work, which has this number.
    Queued(u64),
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Offer { bytes: u64 },
    Load,
}

#[derive(Debug)]
struct Receiving {
    upload: Upload,
    /// The number of the stream that it comes in.
    stream: u32,
    /// A state that comes whole, in no pieces.
    parcel: Option<Parcel>,
    failure: Option<String>,
}

#[derive(Debug)]
enum Work {
    Commit(Header, Box<Receiving>),
    Load(Header, Keeping),
    List(Header, String),
    Clear(Header, String),
}

/// A record that came.
#[derive(Debug)]
pub(super) struct Came<'a> {
    pub header: Header,
    pub payload: &'a [u8],
    pub piece: Option<Piece>,
    pub parcel: Option<&'a Parcel>,
}

/// Everything but the connection.
#[derive(Debug)]
pub(super) struct Desk {
    /// Or why there are none.
    shelves: Result<Shelves, String>,
    sessions: HashMap<WorldId, Session>,
    work: VecDeque<(u64, Work)>,
    clock: u64,
    pub outgoing: Vec<Outgoing>,
}

impl Desk {
    pub(super) fn new(shelves: Result<Shelves, String>) -> Self {
        Self { shelves, sessions: HashMap::new(), work: VecDeque::new(), clock: 0, outgoing: Vec::new() }
    }

    /// Takes what a world asks, or a part of its state.
    pub(super) fn take(&mut self, came: &Came<'_>) {
        match (came.header.kind, Operation::from_code(came.header.code)) {
            (Kind::Request, Some(operation)) => self.serve(operation, came),
            (Kind::Request, None) => self.refuse(&came.header, "the store doesn't understand this request"),
            (Kind::Message, _) if came.piece.is_some() => self.take_piece(came),
            _ => {}
        }
    }

    fn serve(&mut self, operation: Operation, came: &Came<'_>) {
        let head = &came.header;
        match (operation, from_words(came.payload)) {
            (Operation::Offer, Some([bytes])) => self.ask(head, Question::Offer { bytes }),
            (Operation::Save, _) => self.take_state(came),
            (Operation::Load, _) if came.payload.is_empty() => self.ask(head, Question::Load),
            (Operation::Read, _) => self.read(head, from_words(came.payload)),
            (Operation::List, _) if head.source == WorldId::CONTROL => self.queue_order(Work::List, head, came.payload),
            (Operation::Clear, _) if head.source == WorldId::CONTROL => {
                self.queue_order(Work::Clear, head, came.payload);
            }
            _ => self.refuse(head, "the store doesn't understand this request"),
        }
    }

    fn session(&mut self, id: WorldId) -> &mut Session {
        self.clock += 1;
        if !self.sessions.contains_key(&id) && self.sessions.len() >= MAX_SESSIONS {
            let idlest = self.sessions.iter().min_by_key(|(_, session)| session.touched).map(|(id, _)| *id);
            idlest.into_iter().for_each(|id| self.forget(id));
        }
        let session = self.sessions.entry(id).or_default();
        session.touched = self.clock;
        session
    }

    /// A life of a world is over. What it has queued is done all the same.
    ///
    /// The word of it may come behind the first question of the world's next life: they come from two senders. So a question that waits for the
    /// control service stays. It can't have gone further than that: the control service answers it after it has sent this word.
    pub(super) fn end_life(&mut self, id: WorldId) {
        match self.sessions.get_mut(&id) {
            Some(session) if matches!(session.stage, Stage::Asking(..)) => session.reading = None,
            _ => self.forget(id),
        }
    }

    /// A world makes way, or has broken off what it sent.
    fn forget(&mut self, id: WorldId) {
        if let Some(Session { stage: Stage::Receiving(receiving), .. }) = self.sessions.remove(&id) {
            self.abandon(&receiving.upload);
        }
    }

    // --- who is it ---

    fn ask(&mut self, head: &Header, question: Question) {
        let session = self.session(head.source);
        match std::mem::take(&mut session.stage) {
            busy @ (Stage::Asking(..) | Stage::Queued(_)) => {
                session.stage = busy;
                return self.refuse(head, ONE_AT_A_TIME);
            }
            Stage::Receiving(given_up) => {
                session.stage = Stage::Asking(*head, question);
                self.abandon(&given_up.upload);
            }
            Stage::Idle => session.stage = Stage::Asking(*head, question),
        }
        self.outgoing.push(Outgoing::AskFor(head.source));
    }

    /// The control service's answer about a world.
    pub(super) fn take_keeping(&mut self, world: WorldId, keeping: Result<Keeping, String>) {
        let Some(session) = self.sessions.get_mut(&world) else { return };
        let (head, question) = match std::mem::take(&mut session.stage) {
            Stage::Asking(head, question) => (head, question),
            other => return session.stage = other,
        };
        match (keeping, question) {
            (Err(why), _) => self.refuse(&head, &why),
            (Ok(keeping), Question::Offer { bytes }) => self.begin(&head, keeping, bytes),
            (Ok(keeping), Question::Load) => {
                self.queue(world, Work::Load(head, keeping));
            }
        }
    }

    // --- saving ---

    fn begin(&mut self, head: &Header, keeping: Keeping, bytes: u64) {
        let begun = match &mut self.shelves {
            Ok(shelves) => shelves.begin(head.source.0, keeping, bytes).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        match begun {
            Ok(upload) => {
                let receiving = Receiving { upload, stream: NO_STREAM, parcel: None, failure: None };
                self.session(head.source).stage = Stage::Receiving(receiving);
                self.reply(head, Vec::new());
            }
            Err(why) => self.refuse(head, &why),
        }
    }

    fn take_piece(&mut self, came: &Came<'_>) {
        let id = came.header.source;
        let Some(Session { stage: Stage::Receiving(receiving), .. }) = self.sessions.get_mut(&id) else { return };
        let Some(piece) = came.piece else { return };
        // One that ends as a message was broken off.
        match piece.is_last {
            true => self.forget(id),
            false => receiving.add_piece(piece, came.payload),
        }
    }

    /// The end of a state, or all of it.
    fn take_state(&mut self, came: &Came<'_>) {
        let head = &came.header;
        let session = self.session(head.source);
        let mut receiving = match std::mem::take(&mut session.stage) {
            Stage::Receiving(receiving) => receiving,
            other => {
                session.stage = other;
                return self.refuse(head, "a state is offered before it is saved");
            }
        };
        match (came.piece, came.parcel) {
            (Some(piece), _) => receiving.add_piece(piece, came.payload),
            (None, Some(parcel)) => receiving.parcel = Some(parcel.clone()),
            (None, None) => receiving.add(came.payload),
        }
        self.queue(head.source, Work::Commit(*head, Box::new(receiving)));
    }

    fn commit(&mut self, head: &Header, mut receiving: Receiving) {
        if let Some(parcel) = receiving.parcel.take() {
            receiving.add(parcel.bytes());
        }
        let Receiving { upload, failure, .. } = receiving;
        let committed = match (&mut self.shelves, failure) {
            (Ok(shelves), None) => shelves.commit(&upload).map_err(|error| error.to_string()),
            (_, Some(why)) => {
                self.abandon(&upload);
                Err(why)
            }
            (Err(why), None) => Err(why.clone()),
        };
        match committed {
            Ok(saved) => {
                let (world, version, bytes) = (head.source.0, saved.version, saved.bytes);
                self.outgoing.push(Outgoing::Tell(Report::Saved { world, version, bytes }));
                self.reply(head, words([version]));
            }
            Err(why) => self.refuse(head, &why),
        }
    }

    fn abandon(&mut self, upload: &Upload) {
        if let Ok(shelves) = &mut self.shelves {
            shelves.abandon(upload);
        }
    }

    // --- loading ---

    fn load(&mut self, head: &Header, keeping: &Keeping) {
        match self.open_newest(head.source, keeping) {
            Ok(loaded) => {
                if loaded.damaged != 0 {
                    let report = Report::Damaged { world: head.source.0, version: loaded.damaged };
                    self.outgoing.push(Outgoing::Tell(report));
                }
                self.reply(head, loaded.encode());
            }
            Err(why) => self.refuse(head, &why),
        }
    }

    fn open_newest(&mut self, world: WorldId, keeping: &Keeping) -> Result<Loaded, String> {
        let shelves = self.shelves.as_ref().map_err(Clone::clone)?;
        let name: Name = keeping.name.parse().map_err(|_| NotKept::Nothing(keeping.name.clone()).to_string())?;
        let shelf = shelves.find(&name).map_err(|error| error.to_string())?;
        let newest = shelf.map_or(Ok(Newest::Nothing), |shelf| shelf.newest());
        match newest.map_err(|errno| call("reading it")(errno).to_string())? {
            Newest::Nothing => Ok(Loaded::default()),
            Newest::Damaged(version, damage) => {
                Err(format!("no state of `{name}` is whole; the newest is version {version}: {damage}"))
            }
            Newest::Whole { file, label, damaged } => {
                let loaded = Loaded { version: label.version, bytes: label.bytes, damaged: damaged.unwrap_or(0) };
                self.session(world).reading = Some((file, label.bytes));
                Ok(loaded)
            }
        }
    }

    fn read(&mut self, head: &Header, place: Option<[u64; 2]>) {
        let session = self.session(head.source);
        let (Some((file, state_bytes)), Some([offset, bytes])) = (&session.reading, place) else {
            return self.refuse(head, "a state is loaded before it is read");
        };
        let offset = offset.min(*state_bytes);
        let mut part = vec![0; bytes.min(MAX_READ_BYTES).min(state_bytes - offset) as usize];
        let read = retry_on_intr(|| pread(file, &mut part[..], offset + super::label::BYTES as u64));
        match read {
            Ok(count) => {
                part.truncate(count);
                self.reply(head, part);
            }
            Err(errno) => self.refuse(head, &call("reading it")(errno).to_string()),
        }
    }

    // --- for the control service ---

    fn queue_order(&mut self, work: fn(Header, String) -> Work, head: &Header, name: &[u8]) {
        let waiting = self.work.iter().filter(|work| matches!(work, (_, Work::List(..) | Work::Clear(..)))).count();
        match waiting < MAX_ORDERS {
            true => self.work.push_back((0, work(*head, String::from_utf8_lossy(name).into_owned()))),
            false => self.reply(head, Answer::Refused("the store is busy: try again".into()).encode()),
        }
    }

    fn clear(&mut self, head: &Header, name: &str) {
        let cleared = self.shelves.as_mut().map_err(|why| why.clone()).and_then(|shelves| {
            let name: Name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
            shelves.clear(&name).map_err(|error| error.to_string())
        });
        let answer = cleared.map_or_else(Answer::Refused, |versions| Answer::Cleared { versions });
        self.reply(head, answer.encode());
    }

    fn list(&mut self, head: &Header, name: &str) {
        let rows = self.shelves.as_ref().map_err(Clone::clone).and_then(|shelves| {
            let name: Name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
            let shelf = shelves.find(&name).map_err(|error| error.to_string())?;
            let rows = shelf.map(|shelf| shelf.list()).transpose();
            rows.map_err(|errno| call("reading it")(errno).to_string())
        });
        let answer = rows.map_or_else(Answer::Refused, |rows| Answer::Snapshots(rows.unwrap_or_default()));
        self.reply(head, answer.encode());
    }

    // --- work ---

    fn queue(&mut self, world: WorldId, work: Work) {
        let session = self.session(world);
        let number = session.touched;
        session.stage = Stage::Queued(number);
        self.work.push_back((number, work));
    }

    /// Does the next piece of work. False if there is none.
    pub(super) fn work(&mut self) -> bool {
        let Some((number, work)) = self.work.pop_front() else { return false };
        match work {
            Work::List(head, name) => self.list(&head, &name),
            Work::Clear(head, name) => self.clear(&head, &name),
            Work::Commit(head, receiving) => {
                self.commit(&head, *receiving);
                self.be_idle(head.source, number);
            }
            Work::Load(head, keeping) => {
                self.load(&head, &keeping);
                self.be_idle(head.source, number);
            }
        }
        true
    }

    /// Unless it was forgotten meanwhile, and asked for something else since.
    fn be_idle(&mut self, world: WorldId, number: u64) {
        if let Some(session) = self.sessions.get_mut(&world).filter(|session| session.waits_for(number)) {
            session.stage = Stage::Idle;
        }
    }

    fn reply(&mut self, to: &Header, payload: Vec<u8>) {
        self.outgoing.push(Outgoing::Reply { to: *to, code: 0, payload });
    }

    fn refuse(&mut self, to: &Header, why: &str) {
        self.outgoing.push(Outgoing::Reply { to: *to, code: REFUSED, payload: why.into() });
    }
}

impl Receiving {
    /// Adds to the state; what has failed once stays so.
    fn add(&mut self, part: &[u8]) {
        if self.failure.is_none() {
            self.failure = self.upload.append(part).err().map(|error| error.to_string());
        }
    }

    fn add_piece(&mut self, piece: Piece, part: &[u8]) {
        if piece.offset == 0 && self.stream == NO_STREAM {
            self.stream = piece.stream;
        }
        let follows = piece.stream == self.stream && piece.offset == self.upload.bytes() && !piece.is_broken_off;
        match follows || self.failure.is_some() {
            true => self.add(part),
            false => self.failure = Some(NOT_WHOLE.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, open};
    use std::fs;
    use std::path::Path;

    const WORLD: WorldId = WorldId(16);

    fn shelves(place: &Path) -> Shelves {
        let root = open(place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        Shelves::open(root, u64::MAX).unwrap()
    }

    fn keeping() -> Keeping {
        Keeping { name: "a".into(), versions: 2, bytes: 1 << 20, share_bytes: u64::MAX, refusal: None }
    }

    fn ask(desk: &mut Desk, operation: Operation, payload: &[u8]) {
        let mut header = Header::new(Kind::Request, WorldId::STORE, payload.len() as u32);
        (header.source, header.code) = (WORLD, operation as u16);
        desk.take(&Came { header, payload, piece: None, parcel: None });
    }

    fn offer(desk: &mut Desk, bytes: u64) {
        ask(desk, Operation::Offer, &words([bytes]));
        desk.take_keeping(WORLD, Ok(keeping()));
    }

    #[test]
    fn what_a_life_has_left_in_the_queue_harms_nothing_of_the_next_one() {
        let place = std::env::temp_dir().join(format!("strait-desk-lives-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        let mut desk = Desk::new(Ok(shelves(&place)));
        offer(&mut desk, 5);
        ask(&mut desk, Operation::Save, b"first");
        // It ended without waiting, and the next life offers before the store comes to it.
        desk.forget(WORLD);
        offer(&mut desk, 5000);
        assert!(desk.work());
        ask(&mut desk, Operation::Save, &[7; 5000]);
        assert!(desk.work() && !desk.work());
        let rows = desk.shelves.as_ref().unwrap().find(&"a".parse().unwrap()).unwrap().unwrap().list().unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.version, row.bytes, row.damage.as_str())).collect();
        assert_eq!(seen, [(1, 5, ""), (2, 5000, "")]);
        assert_eq!(
            desk.shelves.as_ref().unwrap().used_bytes(),
            shelves(&place).used_bytes(),
            "nothing stays set aside"
        );
        fs::remove_dir_all(&place).unwrap();
    }
}
