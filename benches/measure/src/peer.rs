//! What a peer is: who stands in the middle, and how a process opens its end.

use crate::{Kind, Load, Message, Outcome};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A way for processes to talk, as the benchmark drives it.
pub trait Peer {
    /// What it is called in tables.
    const NAME: &str;
    /// Whether a process stands in the middle.
    const HAS_SERVER: bool;
    /// What a process holds to talk.
    type End: End;

    /// Why it can't be had here, if it can't.
    fn missing() -> Option<String> {
        None
    }

    /// Why this kind of load doesn't apply to it, if it doesn't.
    fn refuses(kind: Kind) -> Option<&'static str> {
        (kind == Kind::Idle && !Self::HAS_SERVER).then_some("nobody stands in the middle")
    }

    /// Becomes the process in the middle, with everything it needs in this folder: runs or execs, and doesn't return. It is
    /// ended by a signal.
    fn serve(_dir: &Path) -> Outcome<()> {
        Err("nobody stands in the middle".into())
    }

    /// Opens the end of one party. Receivers open before the sender does.
    fn open(seat: &Seat) -> Outcome<Self::End>;
}

/// Who a process is in a run.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Where sockets and the like of this run are.
    pub dir: PathBuf,
    /// 0 is the sender; 1 and up receive.
    pub index: usize,
    pub load: Load,
}

impl Seat {
    pub fn is_sender(&self) -> bool {
        self.index == 0
    }

    /// The indices of those it sends to.
    pub fn others(&self) -> Vec<usize> {
        if self.is_sender() { (1..=self.load.receivers).collect() } else { vec![0] }
    }

    /// A file of the run that belongs to a party.
    pub fn path(&self, what: &str, index: usize) -> PathBuf {
        self.dir.join(format!("{what}-{index}"))
    }
}

/// One party's connection.
pub trait End {
    /// Whether the sender of a stream of this kind must be held back, because the peer itself wouldn't.
    fn needs_credit(_kind: Kind) -> bool {
        false
    }

    /// Sends to whoever the seat's others are. A peer whose users batch may stage, up to 32 messages, until `flush`.
    fn send(&mut self, message: Message) -> Outcome<()>;

    /// Sends what is staged.
    fn flush(&mut self) -> Outcome<()> {
        Ok(())
    }

    /// Waits for the next message and shows it, in place if the peer can.
    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()>;
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Tries until it works, because whoever it takes two to may not be up yet; then says why it doesn't.
pub fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
}

/// Becomes a server program. What it prints goes where this process's goes.
pub fn run_server(command: &mut std::process::Command) -> Outcome<()> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(format!("{}: {error}", command.get_program().display()).into())
}
