//! A broker in the foreground: starts worlds, hears of their ends and of signals, and winds everything down in order.

use crate::failure::Failure;
use crate::signals::Signals;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use strait_broker::{Client, Config, Ended, Group, Header, Host, HostError, Kind, Reason, World, WorldId};
use strait_protocol::control::{Answer, Request};

/// The grace of a world whose configuration isn't known here: another world chose its name.
const GRACE_MS: u32 = 3000;
/// The longest wait that one request can be: 49 days. Then it is asked again.
const AGES: Duration = Duration::from_millis(u32::MAX as u64);
/// What an answer may take beyond a world's grace.
const MARGIN: Duration = Duration::from_secs(10);

/// What a keeper waits for.
#[derive(Debug)]
pub enum Happening {
    /// Somebody wants an end: Ctrl-C, SIGTERM, SIGHUP.
    Signal,
    /// A world is gone.
    Ended { name: String, ended: Ended },
}

/// A broker and what it runs. Dropped, everything that still runs is killed.
#[derive(Debug)]
pub struct Keeper {
    host: Host,
    signals: Signals,
    /// By id, which is the order of their starts.
    running: BTreeMap<u64, Running>,
    /// Whose end the answer to which question tells.
    waits: HashMap<u64, u64>,
    /// The grace of each template and group, for the worlds that others start.
    graces: HashMap<String, u32>,
    /// Nothing wakes up any more.
    is_closing: bool,
}

#[derive(Debug)]
struct Running {
    name: String,
    grace_ms: u32,
}

impl Keeper {
    /// Minds a host whose configuration this is.
    pub fn new(host: Host, config: &Config) -> Result<Self, Failure> {
        let of_templates = config.templates.iter().map(|(name, world)| (name.clone(), world.grace_ms));
        let grace = |group: &Group| config.templates.get(&group.template).map(|world| world.grace_ms);
        let of_groups = config.groups.iter().filter_map(|(name, group)| Some((name.clone(), grace(group)?)));
        let graces = of_templates.chain(of_groups).collect();
        Ok(Self {
            host,
            signals: Signals::catch()?,
            running: BTreeMap::new(),
            waits: HashMap::new(),
            graces,
            is_closing: false,
        })
    }

    /// Starts a world. Its end comes by [`next`](Self::next).
    pub fn spawn(&mut self, name: &str, world: &World) -> Result<WorldId, HostError> {
        let id = self.host.spawn(name, world)?;
        self.follow(id, name.into(), world.grace_ms)?;
        Ok(id)
    }

    /// Makes a world known that sleeps until a message comes for it. Each of its ends comes by [`next`](Self::next).
    pub fn define(&mut self, name: &str, world: &World) -> Result<WorldId, HostError> {
        let id = self.host.define(name, world)?;
        self.follow(id, name.into(), world.grace_ms)?;
        Ok(id)
    }

    fn follow(&mut self, id: WorldId, name: String, grace_ms: u32) -> Result<(), strait_broker::Error> {
        self.running.insert(id.0, Running { name, grace_ms });
        self.ask_for_end(id.0)
    }

    fn ask_for_end(&mut self, id: u64) -> Result<(), strait_broker::Error> {
        let request = Request::Wait { id }.encode();
        let correlation = self.host.client().start_request(WorldId::CONTROL, &request, AGES)?;
        self.waits.insert(correlation, id);
        Ok(())
    }

    /// Whether nothing runs that this keeper knows of.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// How many worlds run that this keeper knows of, in words.
    pub fn count(&self) -> String {
        match self.running.len() {
            1 => "1 world".into(),
            more => format!("{more} worlds"),
        }
    }

    /// Waits for the next thing to happen. A signal comes first.
    pub fn next(&mut self) -> Result<Happening, Failure> {
        loop {
            if self.signals.take() {
                return Ok(Happening::Signal);
            }
            let client = self.host.client();
            // A client that is polled arms its descriptor whenever it finds nothing.
            client.poll_fd();
            match client.try_receive()?.map(|record| (record.header(), record.payload().to_vec())) {
                Some((header, payload)) => {
                    if let Some(happening) = self.hear(&header, &payload)? {
                        return Ok(happening);
                    }
                }
                None => self.signals.wait_or(client.poll_fd(), None)?,
            }
        }
    }

    /// A record for the host: only the answers to its own questions mean anything here.
    fn hear(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Happening>, Failure> {
        if !is_answer(header) {
            return Ok(None);
        }
        let Some(id) = self.waits.remove(&header.correlation) else { return Ok(None) };
        if header.kind == Kind::Notice {
            return self.ask_again(id, Reason::from_code(header.code));
        }
        let ended = match Answer::decode(payload) {
            Ok(Answer::Ended(ended)) => ended,
            Ok(Answer::Refused(why)) => unknown(id, why),
            _ => return Err(strait_broker::Error::Unexpected.into()),
        };
        if ended.sleeps && !self.is_closing {
            self.ask_for_end(id)?;
            return Ok(self.running.get(&id).map(|world| Happening::Ended { name: world.name.clone(), ended }));
        }
        Ok(self.running.remove(&id).map(|world| Happening::Ended { name: world.name, ended }))
    }

    /// A question about a world's end wasn't answered: because it waited as long as one can, or for a reason that stays.
    fn ask_again(&mut self, id: u64, reason: Option<Reason>) -> Result<Option<Happening>, Failure> {
        match reason {
            None | Some(Reason::Deadline) => {
                self.ask_for_end(id)?;
                Ok(None)
            }
            Some(reason) => {
                let name = self.running.get(&id).map_or("a world", |world| &world.name);
                Err(Failure::from(reason).about(&format!("the broker won't say when {name} ends")))
            }
        }
    }

    /// Also minds the worlds that other worlds or host programs have started.
    pub fn adopt_others(&mut self) -> Result<(), Failure> {
        for row in self.host.client().list()? {
            // What is ending already may be a host program that has left.
            let is_jailed = !matches!(row.state.as_str(), "service" | "attached" | "ending");
            if is_jailed && !self.running.contains_key(&row.id) {
                let template = row.name.rsplit_once('/').map_or(row.name.as_str(), |(template, _)| template);
                let grace_ms = self.graces.get(template).copied().unwrap_or(GRACE_MS);
                self.follow(WorldId(row.id), row.name, grace_ms)?;
            }
        }
        Ok(())
    }

    /// Stops one world after the other, the youngest first, each with its grace. `told` hears of every end.
    ///
    /// False when a signal cut it short: then what is left is killed with this keeper. What a world starts while it is told
    /// to stop is killed likewise.
    pub fn wind_down(&mut self, mut told: impl FnMut(&str, &Ended)) -> Result<bool, Failure> {
        self.is_closing = true;
        self.host.close()?;
        self.adopt_others()?;
        while let Some((&id, world)) = self.running.last_key_value() {
            let (name, grace_ms) = (world.name.clone(), world.grace_ms);
            tell_to_stop(self.host.client(), name, grace_ms)?;
            while self.running.contains_key(&id) {
                match self.next()? {
                    Happening::Signal => return Ok(false),
                    Happening::Ended { name, ended } => told(&name, &ended),
                }
            }
        }
        Ok(true)
    }
}

/// The answer isn't waited for: it says no more than the one to the question after the world's end, or that it is gone already.
fn tell_to_stop(client: &mut Client, name: String, grace_ms: u32) -> Result<(), Failure> {
    let request = Request::Stop { name, deadline_ms: grace_ms, reason: "the broker is told to stop".into() };
    let timeout = Duration::from_millis(grace_ms.into()) + MARGIN;
    client.start_request(WorldId::CONTROL, &request.encode(), timeout)?;
    Ok(())
}

fn is_answer(header: &Header) -> bool {
    header.source == WorldId::CONTROL && matches!(header.kind, Kind::Reply | Kind::Notice)
}

/// The end of a world that even the broker has forgotten.
fn unknown(id: u64, note: String) -> Ended {
    Ended {
        id,
        code: None,
        signal: None,
        acknowledged: false,
        saved: None,
        killed: false,
        note,
        took_ms: 0,
        sleeps: false,
    }
}
