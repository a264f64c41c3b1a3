//! `strait up`: a broker in the foreground.

use crate::Outcome;
use crate::args::Up;
use crate::failure::{FAILED, Failure};
use crate::file::{self, Plan};
use crate::keeper::{Happening, Keeper};
use crate::text::say;
use crate::{ended, service, socket};
use rustix::process::geteuid;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use strait_broker::{AttachRule, Config, Ended, Error, Host, HostError, Wake};
use strait_sys::socket::{inherited_listener, path_of};

pub fn up(args: &Up) -> Outcome {
    let plan = file::read(&args.file)?;
    let listener = inherited_listener();
    let inherited = listener.as_ref().and_then(|listener| path_of(listener.as_fd()));
    let asked = args.socket.socket.as_deref().or(plan.config.socket.as_deref());
    let path = socket::path(inherited.as_deref().or(asked))?;
    let config = config(&plan, &path);
    let host = match &listener {
        Some(listener) => Host::start_listening(&config, listener.as_fd()),
        None => Host::start(&config),
    };
    let host = host.map_err(|error| no_broker(error, &path))?;
    let mut keeper = Keeper::new(host, &config)?;
    say(&format!("listening on {}", path.display()));
    if let Err(failure) = start(&mut keeper, &plan) {
        failure.tell();
        wind_down(&mut keeper)?;
        return Ok(ExitCode::from(FAILED));
    }
    service::ready();
    attend(&mut keeper, &plan)
}

/// What the file says, and that whoever runs this may ask everything.
fn config(plan: &Plan, path: &Path) -> Config {
    let mut config = plan.config.clone();
    config.socket = Some(path.into());
    let own = AttachRule {
        name: "cli/*".into(),
        uid: geteuid().as_raw(),
        send: vec!["*".into()],
        link: Vec::new(),
        may: vec!["admin".into()],
        ask: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    // The first rule that fits decides.
    config.attach.insert(0, own);
    config
}

fn no_broker(error: HostError, path: &Path) -> Failure {
    let HostError::Client(Error::Handshake(refusal)) = error else { return error.into() };
    let text = refusal.to_string();
    let why = text.strip_prefix("refused: ").unwrap_or(&text);
    let failure = Failure::new(why);
    match why.strip_prefix(&*path.to_string_lossy()) {
        Some(why) if why.contains("another strait") => {
            failure.hint("`strait ps` with that --socket lists what runs there; --socket also names another place")
        }
        Some(_) => failure.hint("name another place with --socket, or with `socket` in the file"),
        None => failure,
    }
}

fn start(keeper: &mut Keeper, plan: &Plan) -> Result<(), Failure> {
    for (name, world) in &plan.worlds {
        let id = keeper
            .spawn(name, world)
            .map_err(|error| Failure::from(error).about(&format!("world `{name}` doesn't start")))?;
        say(&format!("started {name} ({id})"));
    }
    for (name, world) in &plan.asleep {
        let id = keeper.define(name, world).map_err(|error| Failure::from(error).about(&format!("world `{name}`")))?;
        say(&format!("{name} ({id}) sleeps until a message comes for it"));
    }
    for name in &plan.idle {
        say(&format!("{name} isn't started: `start` doesn't name it"));
    }
    if plan.worlds.is_empty() && plan.asleep.is_empty() {
        say("no world to start: it waits for others to start some (`strait spawn`), or for Ctrl-C");
    }
    Ok(())
}

/// Until a signal, or until every world has ended by itself; a broker that was given none waits for others to start some.
fn attend(keeper: &mut Keeper, plan: &Plan) -> Outcome {
    let mut failed = 0;
    let has_worlds = !plan.worlds.is_empty() || !plan.asleep.is_empty();
    loop {
        if keeper.is_idle() && has_worlds {
            keeper.adopt_others()?;
        }
        if keeper.is_idle() && has_worlds {
            return Ok(all_ended(failed));
        }
        match keeper.next()? {
            Happening::Signal => return wind_down(keeper),
            Happening::Ended { name, ended } => {
                failed += usize::from(!ended.sleeps && !ended::is_well(&ended));
                let wakes = plan.world(&name).is_none_or(|world| world.wake == Wake::Message);
                let end = match (ended.sleeps, wakes) {
                    (true, true) => "sleeps",
                    (true, false) => "begins anew",
                    (false, _) => "ended",
                };
                say(&format!("{name} (#{}) {end}: {}", ended.id, ended::how(&ended)));
                if let Some(hint) = plan.world(&name).and_then(|world| ended::hint(world, &ended)) {
                    say(&format!("hint for {name}: {hint}"));
                }
            }
        }
    }
}

fn all_ended(failed: usize) -> ExitCode {
    match failed {
        0 => say("every world has ended"),
        failed => say(&format!("every world has ended, {failed} of them failed: exit code {FAILED}")),
    }
    ExitCode::from(if failed == 0 { 0 } else { FAILED })
}

fn wind_down(keeper: &mut Keeper) -> Outcome {
    service::stopping();
    if !keeper.is_idle() {
        say(&format!("stopping {}, the youngest first; Ctrl-C again kills", keeper.count()));
    }
    let told = |name: &str, ended: &Ended| say(&format!("{name} (#{}) {}", ended.id, ended::after_request(ended)));
    match keeper.wind_down(told)? {
        true => {
            say("stopped");
            Ok(ExitCode::SUCCESS)
        }
        false => {
            say(&format!("killing {}", keeper.count()));
            Ok(ExitCode::from(FAILED))
        }
    }
}
