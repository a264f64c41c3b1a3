//! `strait run`: one program in a jail, with this terminal and its exit code.

use crate::Outcome;
use crate::args::{Run, WorldOptions};
use crate::failure::{Failure, NO_PROGRAM, NOT_EXECUTABLE, OURS};
use crate::keeper::{Happening, Keeper};
use crate::text::{nearest, say};
use crate::{ended, file};
use std::path::Path;
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

/// On a command line a path may be relative, to where the command was given.
fn absolute(grant: &str) -> Result<String, Failure> {
    let (source, inside) = grant.split_once(':').map_or((grant, None), |(source, inside)| (source, Some(inside)));
    let path = std::path::absolute(source).map_err(|error| Failure::new(format!("`{grant}`: {error}")))?;
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
    let HostError::Client(Error::Refused(why)) = error else { return Jail::Ours(error.into()) };
    let failure = Failure::new(&*why);
    match code_of(&why) {
        NO_PROGRAM => Jail::Program(failure.code(NO_PROGRAM).hint(
            "the jail has the host's /usr (without --no-system) and what --read or --write grant: is the program, or its interpreter, there?",
        )),
        NOT_EXECUTABLE => Jail::Program(failure.code(NOT_EXECUTABLE).hint(
            "is it a program, of this machine's kind, with its executable bit set, and readable by others than its owner?",
        )),
        _ => {
            let hint = no_jail_hint(&why).unwrap_or("`strait doctor` says what this machine has for you");
            Jail::Ours(failure.hint(hint))
        }
    }
}

/// What to do where the jail of a world, or of what it was granted, can't be built, if it is the configuration that has to change.
pub fn no_jail_hint(why: &str) -> Option<&'static str> {
    let is_absent = why.ends_with("(os error 2)") || why.ends_with("(os error 20)");
    match why.split_once(": ").map(|(step, _)| step) {
        Some("opening what the jail may see") if is_absent => Some(
            "what is granted for reading or writing must be there before: make it, or name another path of this machine",
        ),
        Some("entering the working directory") => Some(
            "the directory is one inside the jail: `/`, `/tmp`, a granted path (for PATH:INSIDE it is INSIDE), or one of the system's",
        ),
        _ => None,
    }
}

/// The broker's words are all there is: `starting the program: execve PATH: TEXT (os error N)`, or `no such program ...`.
fn code_of(why: &str) -> u8 {
    const ENOENT: &str = "(os error 2)";
    const ENOTDIR: &str = "(os error 20)";
    if why.contains("no such program ") {
        return NO_PROGRAM;
    }
    match why.split_once("starting the program: execve ") {
        Some((_, rest)) if rest.ends_with(ENOENT) || rest.ends_with(ENOTDIR) => NO_PROGRAM,
        Some(_) => NOT_EXECUTABLE,
        None => OURS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_codes() {
        assert_eq!(code_of("no such program 'x' in the jail (looked in /usr/bin)"), NO_PROGRAM);
        assert_eq!(code_of("starting the program: execve /x: No such file or directory (os error 2)"), NO_PROGRAM);
        assert_eq!(code_of("starting the program: execve /x: Permission denied (os error 13)"), NOT_EXECUTABLE);
        assert_eq!(code_of("making /tmp: mount: Operation not permitted (os error 1)"), OURS);
    }

    #[test]
    fn grants_may_be_relative() {
        assert_eq!(absolute("/a:/b").unwrap(), "/a:/b");
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("x").unwrap(), here.join("x").to_str().unwrap());
        assert_eq!(absolute(".:/work").unwrap(), format!("{}:/work", here.display()));
    }

    #[test]
    fn a_world_is_named_for_its_program() {
        let run = |program: &str| Run { command: vec![program.into()], ..Run::default() };
        assert_eq!(name(&run("/usr/bin/python3"), &Config::default()), "python3");
        assert_eq!(name(&run("./odd name"), &Config::default()), "world");
        assert_eq!(name(&run("host"), &Config::default()), "world");
    }
}
