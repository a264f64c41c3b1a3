//! `strait run`: one program in a jail, with this terminal and its exit code.

use crate::Outcome;
use crate::args::{Run, WorldOptions};
use crate::failure::{Failure, OURS};
use crate::keeper::{Happening, Keeper};
use crate::text::{nearest, say};
use crate::{ended, file, refusal};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use strait_broker::{Config, ConfigError, Ended, Error, Host, HostError, Name, Stdio, World, WorldId};
use strait_jail::ProfileError;

/// What a shell says of a program that was killed.
const KILLED: u8 = 128 + 9;

pub fn run(args: &Run) -> Outcome {
    let ended = end(args).map_err(|failure| match failure {
        Jail::Ours(failure) => failure.code(OURS),
        Jail::Program(failure) => failure,
    })?;
    let Some((world, ended)) = ended else { return Ok(ExitCode::from(KILLED)) };
    let hint = ended::hint(&world, &ended);
    if !ended.note.is_empty() || hint.is_some() {
        say(&ended::how(&ended));
    }
    if let Some(hint) = hint {
        say(&format!("hint: {hint}"));
    }
    Ok(ExitCode::from(ended::exit_code(&ended)))
}

/// Whose failure it is.
enum Jail {
    Ours(Failure),
    Program(Failure),
}

impl<E: Into<Failure>> From<E> for Jail {
    fn from(error: E) -> Self {
        Self::Ours(error.into())
    }
}

/// The program's world and its end, or `None` if a second signal killed it.
fn end(args: &Run) -> Result<Option<(World, Ended)>, Jail> {
    let config = args.config.as_deref().map(templates).transpose()?.unwrap_or_default();
    let mut world = world(&args.command, &args.world)?;
    world.stdio = Stdio::Inherit;
    let name = name(args, &config);
    let mut keeper = Keeper::new(Host::start(&config)?, &config)?;
    let id = keeper.spawn(&name, &world).map_err(no_start)?;
    let mut end = attend(&mut keeper, id)?;
    if end.is_none() {
        let seconds = f64::from(world.grace_ms) / 1000.0;
        say(&format!("stopping {name}, which has {seconds} s to end; Ctrl-C again kills it"));
    }
    let is_orderly = keeper.wind_down(|_, other| {
        if other.id == id.0 {
            end = Some(other.clone());
        }
    })?;
    Ok(end.filter(|_| is_orderly).map(|end| (world, end)))
}

/// Waits for the program's end, or for a signal.
fn attend(keeper: &mut Keeper, id: WorldId) -> Result<Option<Ended>, Failure> {
    loop {
        match keeper.next()? {
            Happening::Signal => return Ok(None),
            Happening::Ended { ended, .. } if ended.id == id.0 => return Ok(Some(ended)),
            Happening::Ended { .. } => {}
        }
    }
}

/// Everything in a configuration that could be started, to be started by the program.
fn templates(path: &Path) -> Result<Config, Failure> {
    let plan = file::read(path)?;
    let mut templates = plan.config.templates;
    for (name, world) in plan.worlds {
        templates.entry(name).or_insert(world);
    }
    let Config { uids, state, state_bytes, starts, .. } = plan.config;
    Ok(Config { templates, uids, state, state_bytes, starts, ..Config::default() })
}

/// The world that a command line describes.
pub fn world(command: &[String], args: &WorldOptions) -> Result<World, Failure> {
    let mut world = World::new(command);
    world.env = args.env.iter().cloned().collect();
    world.read = args.read.iter().map(|grant| absolute(grant)).collect::<Result<_, _>>()?;
    world.write = args.write.iter().map(|grant| absolute(grant)).collect::<Result<_, _>>()?;
    world.system = !args.no_system;
    world.profile = args.profile.unwrap_or_default();
    world.allow_syscalls.clone_from(&args.allow_syscalls);
    world.deny_syscalls.clone_from(&args.deny_syscalls);
    world.send.clone_from(&args.send);
    world.link.clone_from(&args.link);
    world.publish.clone_from(&args.publish);
    world.subscribe.clone_from(&args.subscribe);
    world.network.clone_from(&args.network);
    world.may.clone_from(&args.may);
    world.ask.clone_from(&args.ask);
    world.dir = args.dir.clone().unwrap_or(world.dir);
    world.slice = args.slice.unwrap_or(world.slice);
    world.budget = args.budget.unwrap_or(world.budget);
    world.parcels = args.parcels.unwrap_or(world.parcels);
    world.parcel_count = args.parcel_count.unwrap_or(world.parcel_count);
    world.grace_ms = args.grace.unwrap_or(world.grace_ms);
    world.snapshots = args.snapshots.unwrap_or(world.snapshots);
    world.state_bytes = args.state_bytes;
    world.snapshot_bytes = args.snapshot_bytes.unwrap_or(world.snapshot_bytes);
    let limits = &mut world.limits;
    (limits.memory, limits.cpu, limits.pids, limits.time_ms) = (args.memory, args.cpu, args.pids, args.time);
    (limits.tmp, limits.files, limits.processes) = (args.tmp, args.files, args.processes);
    limits.address_space = args.address_space;
    world.check().map_err(|error| failure(&error))?;
    Ok(world)
}

fn failure(error: &ConfigError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        ConfigError::Profile(ProfileError::Unknown(name)) => match nearest(name, strait_jail::syscall_names()) {
            Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
            None => failure.hint("names are those of section 2 of the manual"),
        },
        _ => failure.hint("see `strait run --help`"),
    }
}

/// On a command line a path may be relative, to where the command was given, and go up from there.
fn absolute(grant: &str) -> Result<String, Failure> {
    let (source, inside) = grant.split_once(':').map_or((grant, None), |(source, inside)| (source, Some(inside)));
    let path = std::path::absolute(source).map_err(|error| Failure::new(format!("`{grant}`: {error}")))?;
    let path = path.components().fold(PathBuf::new(), |path, part| match part {
        Component::ParentDir => path.parent().map_or_else(|| path.clone(), Path::to_path_buf),
        part => path.join(part),
    });
    let path = path.to_str().ok_or_else(|| Failure::new(format!("`{grant}`: not UTF-8")))?;
    Ok(inside.map_or_else(|| path.into(), |inside| format!("{path}:{inside}")))
}

/// The program's own name, if that can be a world's.
fn name(args: &Run, config: &Config) -> String {
    let program = args.command.first().and_then(|program| Path::new(program).file_name()?.to_str());
    let is_free = |name: &&str| {
        let is_name = name.parse::<Name>().is_ok_and(|name| !name.is_reserved());
        is_name && *name != "host" && !config.templates.contains_key(*name)
    };
    args.name.clone().unwrap_or_else(|| program.filter(is_free).unwrap_or("world").into())
}

/// Tells a program that can't be started from a broker that can't start one.
fn no_start(error: HostError) -> Jail {
    let code = match &error {
        HostError::Client(Error::Refused(why)) => refusal::exit_code(why),
        _ => OURS,
    };
    match code {
        OURS => Jail::Ours(error.into()),
        code => Jail::Program(Failure::from(error).code(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_may_be_relative() {
        assert_eq!(absolute("/a:/b").unwrap(), "/a:/b");
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("x").unwrap(), here.join("x").to_str().unwrap());
        assert_eq!(absolute(".:/work").unwrap(), format!("{}:/work", here.display()));
        assert_eq!(absolute("../x").unwrap(), here.with_file_name("x").to_str().unwrap());
        assert_eq!(absolute("/a/../../b").unwrap(), "/b");
    }

    #[test]
    fn a_world_is_named_for_its_program() {
        let run = |program: &str| Run { command: vec![program.into()], ..Run::default() };
        assert_eq!(name(&run("/usr/bin/python3"), &Config::default()), "python3");
        assert_eq!(name(&run("./odd name"), &Config::default()), "world");
        assert_eq!(name(&run("host"), &Config::default()), "world");
    }
}
