//! Two clones of one template, of which one attacks the other.

use crate::LONG;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strait_broker::{Config, Host, Stdio, World};

const TEMPLATE: &str = "probe";
/// How long a jail is awaited that is built ahead of time, which takes some milliseconds, and how often.
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: usize = 4;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Starts the original, a victim and an attacker, and ends as the attacker does. What it says is on standard output; a victim that didn't
/// outlive it is one attempt more, which nobody expects.
pub fn attack_a_clone(ro: &Path, rw: &Path, command: &[String]) -> ExitCode {
    match attack(ro, rw, command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("escapes: {error}");
            ExitCode::from(70)
        }
    }
}

fn attack(ro: &Path, rw: &Path, command: &[String]) -> Result<ExitCode> {
    let mut world = World::new(command.iter().cloned());
    world.read = vec![format!("{}:/ro", ro.display())];
    world.write = vec![format!("{}:/rw", rw.display())];
    (world.checkpoint, world.stdio) = (true, Stdio::Inherit);
    let templates = BTreeMap::from([(TEMPLATE.to_owned(), world)]);
    let mut host = Host::start(&Config { templates, ..Config::default() })?;
    ready(&mut host, "probe/original")?;
    let victim = ready(&mut host, "probe/victim")?;
    // The attacker was restored before it was asked for, as most clones are: what was asked for twice is. An ordinary user's never are.
    ready(&mut host, "probe/other")?;
    if rustix::process::geteuid().is_root() {
        have_a_jail_wait(&mut host, victim)?;
    }
    let payload = crate::payload_of(victim).unwrap_or(victim);
    // Not there: the attempts are made on the victim that the runner has named.
    let _ = fs::write(rw.join("victim"), payload.to_string());
    let (attacker, _) = host.client().start(TEMPLATE, Some("probe/attacker"))?;
    let ended = host.client().wait(attacker, Some(2 * LONG))?;
    let is_well = Path::new(&format!("/proc/{payload}")).exists();
    if !is_well {
        println!("the other clone\tdead");
    }
    if !ended.note.is_empty() {
        eprintln!("{}", ended.note);
    }
    let code = ended.code.or(ended.signal.map(|signal| 128 + signal)).unwrap_or(70);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(70)))
}

/// Waits until beside the jails of the three there is one more. Where the system's files have changed meanwhile there is none until another clone is
/// ordered: then that is done, some times.
fn have_a_jail_wait(host: &mut Host, one: u32) -> Result<()> {
    for extra in 0..TRIES {
        let worlds = 3 + extra;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if jails_beside(one) > worlds {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        ready(host, &format!("probe/other-{extra}"))?;
    }
    let have = jails_beside(one);
    Err(format!(
        "no clone was restored ahead of time: of {have} jails all were worlds', {TRIES} times for {PATIENCE:?}"
    )
    .into())
}

/// The jails of the broker that this pid 1 belongs to, those that wait for a world among them.
fn jails_beside(one: u32) -> usize {
    let parent = fs::read_to_string(format!("/proc/{one}/status")).unwrap_or_default();
    let parent = parent.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim().to_owned();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let is_jail =
        |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "strait-init\n");
    children.split_whitespace().filter(is_jail).count()
}

/// Starts a world that waits, and waits until it does: then the original has given its image. Pid 1 of its jail.
fn ready(host: &mut Host, name: &str) -> Result<u32> {
    let (world, _) = host.client().start(TEMPLATE, Some(name))?;
    let end = Instant::now() + LONG;
    loop {
        match host.client().list()?.into_iter().find(|row| row.id == world.0) {
            Some(row) if row.state == "ready" => return Ok(row.pid.cast_unsigned()),
            Some(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            _ => return Err(strait_broker::Error::BrokerGone.into()),
        }
    }
}
