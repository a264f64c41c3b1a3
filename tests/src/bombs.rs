//! Two honest worlds beside one that takes all it can: what they feel of it.

use crate::mix::Measured;
use crate::{LONG, Stage, actor};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use strait_broker::{Config, World, WorldId};

/// Of one thing each, and everything at once; and starts of other worlds, which policy lets it have (row 60 of the list of escapes).
pub const KINDS: [&str; 7] = ["fork", "memory", "disk", "files", "burn", "all", STORM];
const STORM: &str = "spawn";
/// What the storm starts: it ends at once.
const MOMENT: &str = "moment";
/// What a bomb may have of memory. The rest is as by default.
const MEMORY_BYTES: u64 = 64 << 20;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A world that takes all it can, within its limits.
pub fn bomb(kind: &str) -> World {
    let mut world = match kind {
        STORM => actor(&["storm", MOMENT, "0"], &[]),
        _ => actor(&["bomb", kind], &[]),
    };
    world.may = vec![format!("start {MOMENT}")];
    world.limits.memory = Some(MEMORY_BYTES);
    world
}

/// What an honest pair measures beside a bomb.
#[derive(Clone, Copy, Debug)]
pub struct Felt {
    /// From its start on.
    pub first: Measured,
    /// And from then on.
    pub then: Measured,
}

/// An honest pair on a stage.
pub struct Pair {
    pub stage: Stage,
    timer: WorldId,
}

impl Pair {
    /// Two worlds that talk through the switch.
    pub fn new() -> Self {
        let mut stage = stage();
        stage.add("echo", &["echo"], &[]);
        let timer = stage.add("timer", &["timer", "echo"], &["echo"]);
        Self::settled(stage, timer)
    }

    /// Two processes of one world that talk over a socket: what the machine itself allows.
    pub fn with_sockets() -> Self {
        let mut stage = stage();
        let timer = stage.add("timer", &["socket-timer"], &[]);
        Self::settled(stage, timer)
    }

    fn settled(stage: Stage, timer: WorldId) -> Self {
        let mut pair = Self { stage, timer };
        // Its first round trips are its slowest.
        std::thread::sleep(Duration::from_millis(200));
        let _ = pair.figures();
        pair
    }

    /// What it has measured since it was last asked.
    pub fn figures(&mut self) -> Result<Measured> {
        Ok(serde_json::from_slice(&self.stage.ask(self.timer, b"figures"))?)
    }

    /// Undisturbed, for so long.
    pub fn alone(&mut self, time: Duration) -> Result<Measured> {
        std::thread::sleep(time);
        self.figures()
    }

    /// Beside a bomb, for so long after its start, and for so long again. A bomb that is killed for what it takes is started anew.
    pub fn beside(&mut self, kind: &str, time: Duration) -> Result<Felt> {
        let mut bombs = Bombs::of(kind);
        bombs.keep_going(&mut self.stage, time)?;
        let first = self.figures()?;
        bombs.keep_going(&mut self.stage, time)?;
        let then = self.figures()?;
        bombs.end(&mut self.stage)?;
        Ok(Felt { first, then })
    }
}

fn stage() -> Stage {
    let templates = BTreeMap::from([(MOMENT.to_owned(), World::new(["true"]))]);
    Stage::with(&Config { templates, ..Config::default() })
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// Bombs of one kind, one after the other.
pub struct Bombs<'a> {
    kind: &'a str,
    count: u32,
    world: Option<WorldId>,
}

impl<'a> Bombs<'a> {
    pub fn of(kind: &'a str) -> Self {
        Self { kind, count: 0, world: None }
    }

    /// For so long. One that is killed for what it takes is started anew.
    pub fn keep_going(&mut self, stage: &mut Stage, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let world = match self.world {
                Some(world) => world,
                None => {
                    self.count += 1;
                    stage.host.spawn(&format!("bomb-{}-{}", self.kind, self.count), &bomb(self.kind))?
                }
            };
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.world = stage.client().wait(world, Some(left)).is_err().then_some(world);
        }
        Ok(())
    }

    pub fn end(&mut self, stage: &mut Stage) -> Result<()> {
        let Some(world) = self.world.take() else { return Ok(()) };
        let name = format!("bomb-{}-{}", self.kind, self.count);
        match stage.client().stop(&name, Duration::ZERO, "enough") {
            Ok(_) => Ok(()),
            // It has just been killed for what it took.
            Err(_) => stage.client().wait(world, Some(LONG)).map(drop).map_err(Into::into),
        }
    }
}
