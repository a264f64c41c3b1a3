//! `strait kill`, `spawn`, `wake`, `upgrade` and `clone`: worlds of a broker that runs.

use crate::Outcome;
use crate::args::{Clone, Kill, Spawn, Upgrade, Wake};
use crate::failure::Failure;
use crate::{ended, file, run, socket, text};
use strait_broker::{Client, Error, Stdio, WorldId};
use strait_protocol::Name;

const WORLDS: &str = "`strait ps` lists the worlds there are";

pub fn kill(args: &Kill) -> Outcome {
    let ended = socket::attach(&args.socket)?.kill(&args.world, &args.reason);
    let ended = ended.map_err(|error| Failure::from(error).or_hint(WORLDS))?;
    text::print(format!("{}: {}\n", args.world, ended::how(&ended)).as_bytes())
}

pub fn spawn(args: &Spawn) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let started = match &args.template {
        Some(template) => client.start(template, args.name.as_deref()),
        None => {
            let name = args.name.as_deref().unwrap_or_default();
            let mut world = run::world(&args.command, &args.world)?;
            // Its output goes where the broker's does; nobody types to it.
            world.stdio = Stdio::Output;
            client.spawn(&world.specification(name))
        }
    };
    tell(started, "`strait spawn --help` says what it takes")
}

pub fn wake(args: &Wake) -> Outcome {
    let woken = socket::attach(&args.socket)?.wake(&args.world);
    tell(woken, WORLDS)
}

pub fn upgrade(args: &Upgrade) -> Outcome {
    let specification = match &args.file {
        None => String::new(),
        Some(path) => {
            let plan = file::read(path)?;
            let missing = || Failure::new(format!("{} has no world `{}`", path.display(), args.world));
            plan.world(&args.world).ok_or_else(missing)?.specification(&args.world)
        }
    };
    let mut client = socket::attach(&args.socket)?;
    let template = args.template.as_deref();
    let upgrade = if args.beside { Client::upgrade_beside } else { Client::upgrade };
    let upgraded = upgrade(&mut client, &args.world, template, &specification, args.deadline, &args.reason);
    tell(upgraded, WORLDS)
}

pub fn clone(args: &Clone) -> Outcome {
    let cloned = socket::attach(&args.socket)?.clone_world(&args.world);
    tell(cloned, WORLDS)
}

fn tell(started: Result<(WorldId, Name), Error>, hint: &str) -> Outcome {
    let (id, name) = started.map_err(|error| Failure::from(error).or_hint(hint))?;
    text::print(format!("{name} is world {}\n", id.0).as_bytes())
}
