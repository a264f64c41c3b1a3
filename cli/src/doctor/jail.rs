//! A jail that is really started, and what the kernel says of it.

use super::check::Check;
use crate::failure::Failure;
use std::time::Duration;
use strait_broker::{Config, Host, World};
use strait_jail::{Base, Report};

const GROUP: &str = "jail";
/// A jail starts within milliseconds.
const GRACE: Duration = Duration::from_secs(2);

/// Without a broker there is no jail, and nothing more to find out.
pub fn checks() -> Vec<Check> {
    let broker = Check::new(GROUP, "broker");
    let mut host = match Host::start(&Config::default()) {
        Ok(host) => host,
        Err(error) => return vec![failed(broker, error)],
    };
    let mut checks = vec![broker.ok("starts, and its switch is enclosed")];
    checks.extend(Base::ALL.into_iter().map(|base| profile(&mut host, base)));
    match report(&mut host) {
        Ok(report) => checks.extend(layers(&report)),
        Err(failure) => checks.push(failed(Check::new(GROUP, "report"), failure)),
    }
    checks
}

fn failed(check: Check, error: impl Into<Failure>) -> Check {
    let (message, hint) = error.into().into_words();
    check.missing(message, hint.unwrap_or_else(|| "the message names the step and the call that failed".into()))
}

/// A program that stays for as long as it is looked at.
fn sleeper() -> World {
    World::new(["sleep", "60"])
}

fn profile(host: &mut Host, base: Base) -> Check {
    let name = match base {
        Base::Default => "profile default",
        Base::Jit => "profile jit",
        Base::Strict => "profile strict",
    };
    let check = Check::new(GROUP, name);
    // With the strict profile the program starts, and if it isn't static its loader says that it gets no libraries.
    let world = World { profile: base, stdio: strait_broker::Stdio::Null, ..World::new(["true"]) };
    let end = host.spawn(base.name(), &world).and_then(|id| Ok(host.client().wait(id, Some(GRACE))?));
    match end {
        Ok(ended) if ended.code == Some(0) || (base == Base::Strict && ended.code == Some(127)) => {
            check.ok("a program runs in it")
        }
        Ok(ended) => check
            .missing(format!("a program ended with {}", crate::ended::how(&ended)), "`strait run -- true` shows more"),
        Err(error) => failed(check, error),
    }
}

fn report(host: &mut Host) -> Result<Report, Failure> {
    host.spawn("doctor", &sleeper())?;
    let json = host.client().inspect("doctor").map_err(Failure::from)?;
    serde_json::from_str(&json).map_err(|error| Failure::new(format!("the report has another form: {error}")))
}

/// What is required of every jail, as the kernel shows it.
fn layers(report: &Report) -> Vec<Check> {
    let shared: Vec<&str> = report.namespaces.iter().filter(|(_, is_own)| !is_own).map(|(name, _)| &**name).collect();
    let bug = "this is a bug of strait's, or of the kernel: please report it";
    let layer = |name, holds: bool, found: String| match holds {
        true => Check::new(GROUP, name).ok(found),
        false => Check::new(GROUP, name).missing(found, bug),
    };
    let mut checks = vec![
        layer(
            "own namespaces",
            shared.is_empty(),
            format!("{} of {}", report.namespaces.len() - shared.len(), report.namespaces.len()),
        ),
        layer(
            "capabilities",
            report.capabilities.none(),
            if report.capabilities.none() { "none".into() } else { "some".into() },
        ),
        layer(
            "new privileges",
            report.no_new_privs,
            if report.no_new_privs { "none".into() } else { "possible".into() },
        ),
        layer(
            "filters",
            report.seccomp == 2 && report.seccomp_filters > 0,
            format!("{} in force", report.seccomp_filters),
        ),
        layer(
            "uid 0",
            !report.uids.contains(&0),
            if report.uids.contains(&0) { "inside".into() } else { "nobody".into() },
        ),
    ];
    let fix = "worlds run without; as root there is the most to be had";
    checks.extend(report.missing.iter().map(|missing| Check::new(GROUP, "not to be had").degraded(missing, fix)));
    checks
}
