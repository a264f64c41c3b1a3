//! `strait kill`, `rm`, `spawn`, `wake`, `restart`, `upgrade` and `clone`: worlds of a broker that runs.

use crate::Outcome;
use crate::args::{Clone, Kill, Restart, Rm, Spawn, Upgrade, Wake};
use crate::failure::{FAILED, Failure};
use crate::{ended, file, run, socket, text};
use std::process::ExitCode;
use std::time::Duration;
use strait_broker::{Client, Error, Stdio, WorldId};
use strait_protocol::Name;
use strait_protocol::control::{Answer, Request as ControlRequest};

/// What an answer may take beyond the deadline of a life that is to end.
const ENDING: Duration = Duration::from_secs(10);

pub fn kill(args: &Kill) -> Outcome {
    let ended = socket::attach(&args.socket)?.kill(&args.world, &args.reason)?;
    text::print(format!("{}: {}\n", args.world, ended::how(&ended)).as_bytes())
}

pub fn rm(args: &Rm) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let mut is_done = true;
    for world in &args.worlds {
        match remove(&mut client, world, args) {
            Ok(line) => drop(text::print(format!("{world} {line}\n").as_bytes())?),
            Err(failure) => {
                is_done = false;
                failure.about(world).tell();
            }
        }
    }
    Ok(ExitCode::from(if is_done { 0 } else { FAILED }))
}

/// What became of it. With `--states` there needn't be a world of the name.
fn remove(client: &mut Client, world: &str, args: &Rm) -> Result<String, Failure> {
    let removed = client.remove(world, args.deadline, &args.reason).map(|ended| ended::after_request(&ended));
    if !args.states {
        return Ok(removed?);
    }
    let line = match removed {
        Err(Error::Refused(why)) if why.starts_with("there is no world") => "isn't there".into(),
        other => other?,
    };
    let versions = client.clear_states(world)?;
    Ok(format!("{line}; {versions} of its states removed"))
}

pub fn spawn(args: &Spawn) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let started = match &args.template {
        Some(template) => client.start(template, args.name.as_deref()),
        None => {
            let name = args.name.as_deref().unwrap_or_default();
            let mut world = run::world(&args.command, &args.world)?;
            // Nobody types to it, and `strait log` has what it prints.
            world.stdio = Stdio::Log;
            client.spawn(&world.specification(name))
        }
    };
    tell(started?)
}

pub fn wake(args: &Wake) -> Outcome {
    tell(socket::attach(&args.socket)?.wake(&args.world)?)
}

pub fn upgrade(args: &Upgrade) -> Outcome {
    let specification = match &args.file {
        None => String::new(),
        Some(path) => {
            let plan = file::read(path)?;
            let missing = || {
                Failure::new(format!("{} has no world `{}`", path.display(), args.world)).hint(
                    "the new version stands there under the world's own name; --template takes one of the broker's",
                )
            };
            plan.world(&args.world).ok_or_else(missing)?.specification(&args.world)
        }
    };
    let (deadline_ms, beside) = (milliseconds(args.deadline), args.beside);
    let (name, template, reason) = (args.world.clone(), args.template.clone(), args.reason.clone());
    let mut client = socket::attach(&args.socket)?;
    let old = client.resolve(&args.world).ok().filter(|_| beside);
    let request = ControlRequest::Upgrade { name, template, specification, beside, deadline_ms, reason };
    replace(&mut client, &request, args.deadline)?;
    match old.map(|old| client.wait(old, Some(args.deadline + ENDING))) {
        Some(Ok(ended)) => text::print(format!("the old version {}\n", ended::after_request(&ended)).as_bytes()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

pub fn restart(args: &Restart) -> Outcome {
    let (name, deadline_ms, reason) = (args.world.clone(), milliseconds(args.deadline), args.reason.clone());
    let request = ControlRequest::Restart { name, deadline_ms, reason };
    replace(&mut socket::attach(&args.socket)?, &request, args.deadline)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Has a world begin a new life, and says how the one before ended.
fn replace(client: &mut Client, request: &ControlRequest, deadline: Duration) -> Outcome {
    let answer = client.ask(request, deadline + ENDING)?;
    let text = match answer {
        Answer::World { id, name } => format!("{name} is world {id}\n"),
        Answer::Replaced { id, name, before } => {
            format!("{name} is world {id}\nthe life before {}\n", ended::after_request(&before))
        }
        _ => return Err(Error::Unexpected.into()),
    };
    text::print(text.as_bytes())
}

pub fn clone(args: &Clone) -> Outcome {
    tell(socket::attach(&args.socket)?.clone_world(&args.world)?)
}

fn tell((id, name): (WorldId, Name)) -> Outcome {
    text::print(format!("{name} is world {}\n", id.0).as_bytes())
}
