//! The store, `strait.store`: keeps the states of worlds as files, so that the supervisor writes none.
//!
//! A process of its own and a system world: it has slices as every world has, answers requests ([`strait_protocol::store`]), and is enclosed with
//! one directory and a user that owns nothing else. Whose state it is says the switch; what may be kept of it says the control service, which is
//! asked every time.

mod desk;
mod enclosure;
mod label;
mod shelf;
mod shelves;
#[cfg(test)]
mod tests;

use desk::{Came, Desk, Outgoing};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use strait_client::{Client, Error, Kind, Record, WorldId};
use strait_protocol::control::{Answer, Keeping, Request};
use strait_protocol::store::from_words;
use strait_sys::{socket, wake};

/// Records that are taken between two pieces of work.
const MAX_IN_ONE_GO: u32 = 256;
/// How long the control service may take.
const CONTROL_TIME: Duration = Duration::from_secs(10);
/// How long the store waits for room in its own outbox, which the switch empties at any load.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest order, in bytes: a path.
const MAX_ORDER_BYTES: usize = 8192;

/// What the supervisor says first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// The broker's state directory. The store's part is made in it.
    pub state: PathBuf,
    /// How much of the disk all states may take together.
    pub most_bytes: u64,
    /// As root: the user that the store becomes.
    pub uid: Option<u32>,
}

/// Runs the store on the connection that the supervisor left as standard input.
pub(crate) fn main() -> ExitCode {
    match run() {
        // The end of the broker is its end.
        Ok(()) | Err(Error::BrokerGone) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strait: the store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let call = |call| move |errno| Error::Call { call, errno };
    wake::ignore_broken_pipes();
    // Finds its way into the kernel's page of code, which takes a system call more than the store has afterwards.
    let _ = wake::processor();
    let connection = rustix::stdio::stdin().try_clone_to_owned();
    let connection = connection.map_err(|_| Error::BrokerGone)?;
    let mut order = vec![0; MAX_ORDER_BYTES];
    let (length, _) = socket::receive(rustix::stdio::stdin(), &mut order).map_err(call("recvmsg"))?;
    let orders = serde_json::from_slice(&order[..length]).map_err(|_| Error::Unexpected)?;
    let place = enclosure::enter(&orders).map_err(Error::Refused)?;
    if let Err(why) = &place.shelves {
        eprintln!("strait: no state can be saved: {why}");
    }
    let mut client = Client::adopt(connection)?;
    client.set_patience(Some(PATIENCE));
    Service { client, desk: Desk::new(place.shelves), asked: HashMap::new() }.serve()
}

struct Service {
    client: Client,
    desk: Desk,
    /// The questions to the control service that are open, and about whom.
    asked: HashMap<u64, WorldId>,
}

impl Service {
    fn serve(&mut self) -> Result<(), Error> {
        loop {
            for _ in 0..MAX_IN_ONE_GO {
                if !self.take_one(Some(Duration::ZERO))? {
                    break;
                }
            }
            if !self.desk.work() {
                self.take_one(None)?;
            }
            self.send()?;
        }
    }

    /// Takes the next record. False if there was none in time.
    fn take_one(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let Self { client, desk, asked } = self;
        let Some(record) = client.receive_piece(timeout)? else { return Ok(false) };
        let header = record.header();
        match (header.source, header.kind) {
            (WorldId::CONTROL, Kind::Reply | Kind::Notice) => {
                if let Some(world) = asked.remove(&header.correlation) {
                    desk.take_keeping(world, keeping(&record));
                }
            }
            (WorldId::CONTROL, Kind::Message) => {
                if let Some([world]) = from_words(record.payload()) {
                    desk.end_life(WorldId(world));
                }
            }
            _ => {
                let (payload, piece, parcel) = (record.payload(), record.piece(), record.parcel());
                desk.take(&Came { header, payload, piece, parcel });
            }
        }
        self.send()?;
        Ok(true)
    }

    fn send(&mut self) -> Result<(), Error> {
        for outgoing in std::mem::take(&mut self.desk.outgoing) {
            match outgoing {
                Outgoing::Reply { to, code, payload } => drop(self.client.reply(&to, code, &payload)?),
                Outgoing::Tell(report) => drop(self.client.send(WorldId::CONTROL, &report.encode())?),
                Outgoing::AskFor(world) => {
                    let question = Request::Keeping { id: world.0 }.encode();
                    let correlation = self.client.start_request(WorldId::CONTROL, &question, CONTROL_TIME)?;
                    self.asked.insert(correlation, world);
                }
            }
        }
        Ok(())
    }
}

/// What the control service says is kept of a world.
fn keeping(record: &Record<'_>) -> Result<Keeping, String> {
    if let Some(reason) = record.notice() {
        return Err(format!("the control service doesn't say what may be kept: {reason}"));
    }
    match Answer::decode(record.payload()) {
        Ok(Answer::Keeping(keeping)) => Ok(keeping),
        Ok(Answer::Refused(why)) => Err(why),
        _ => Err("the control service doesn't say what may be kept".into()),
    }
}
