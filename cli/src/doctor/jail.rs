//! A jail that is really started, and what the kernel says of it.

use super::check::Check;
use super::user::delegation;
use crate::failure::Failure;
use std::time::Duration;
use strait_broker::{Config, Host, Limits, World};
use strait_jail::{Base, Mount, Report};

const GROUP: &str = "jail";
const LIMITS: &str = "limits of a whole jail";
/// Each secure bit has its lock beside it (`capabilities(7)`).
const LOCKS: u32 = 0xaa;
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
    match report(&mut host, "doctor", &sleeper()) {
        Ok(report) => checks.extend(layers(&report)),
        Err(failure) => checks.push(failed(Check::new(GROUP, "report"), failure)),
    }
    checks.extend(limits(&mut host));
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

fn report(host: &mut Host, name: &str, world: &World) -> Result<Report, Failure> {
    host.spawn(name, world)?;
    let json = host.client().inspect(name).map_err(Failure::from)?;
    serde_json::from_str(&json).map_err(|error| Failure::new(format!("the report has another form: {error}")))
}

/// What is required of every jail, as the kernel shows it, and what this one lacks.
fn layers(report: &Report) -> Vec<Check> {
    let shared = report.namespaces.iter().filter(|(_, is_own)| !is_own).count();
    let has = |mount: &Mount, option: &str| mount.options.split(',').any(|word| word == option);
    let root = report.mounts.iter().find(|mount| mount.target == "/");
    let is_bare = root.is_some_and(|root| ["ro", "nosuid", "nodev", "noexec"].into_iter().all(|word| has(root, word)));
    let core =
        report.limits.iter().any(|(name, _, hard)| name == "Max core file size" && ["0", "1"].contains(&&**hard));
    let layers = [
        ("own namespaces", shared == 0, "seven of seven", "some are shared"),
        ("root file system", is_bare, "tmpfs, read-only, nosuid, nodev, noexec", "not read-only, or not bare"),
        ("mounts", report.mounts.iter().all(|mount| has(mount, "nosuid")), "all nosuid", "some are not nosuid"),
        ("secure bits", report.attested.secure_bits & LOCKS == LOCKS, "locked", "not locked"),
        ("core dumps", core, "none, and no helper for them", "possible"),
        ("capabilities", report.capabilities.none(), "none", "some"),
        ("new privileges", report.no_new_privs, "none", "possible"),
        ("system calls", report.seccomp == 2 && report.seccomp_filters > 0, "filtered", "not filtered"),
        ("new code", report.attested.refuses_new_code, "refused", "possible"),
        ("kernel uid", !report.uids.contains(&0), "not 0", "0"),
    ];
    let mut checks = vec![Check::new(GROUP, "landlock").ok(report.attested.landlock.to_string())];
    checks.extend(layers.map(|(name, holds, good, bad)| match holds {
        true => Check::new(GROUP, name).ok(good),
        false => Check::new(GROUP, name).missing(bad, "this is a bug of strait's, or of the kernel: please report it"),
    }));
    // Limits are looked at one by one, after this.
    let missing = report.missing.iter().filter(|missing| !missing.contains("for the whole jail"));
    let fix = "worlds run without; as root there is the most to be had";
    checks.extend(missing.map(|missing| Check::new(GROUP, "not to be had").degraded(missing, fix)));
    checks
}

/// Each limit is asked for by itself: a jail that can't have one isn't started, and says why. What the kernel has is read back, in the words of
/// version 2 of control groups or of version 1.
fn limits(host: &mut Host) -> Vec<Check> {
    let none = Limits::default();
    [
        ("memory", Limits { memory: Some(64 << 20), ..none }, ["67108864"; 2]),
        ("cpu", Limits { cpu: Some(500), ..none }, ["50000 100000", "50000"]),
        ("pids", Limits { pids: Some(16), ..none }, ["16"; 2]),
    ]
    .map(|(name, limits, expected)| limit(host, name, limits, expected))
    .into()
}

fn limit(host: &mut Host, name: &'static str, limits: Limits, expected: [&str; 2]) -> Check {
    let check = Check::new(LIMITS, name);
    match report(host, name, &World { limits, ..sleeper() }) {
        Ok(report) if report.control_groups.iter().any(|(_, text)| expected.contains(&text.as_str())) => {
            check.ok("in force for a jail that asks for it")
        }
        Ok(report) => check.missing(format!("not in force: {:?}", report.control_groups), "please report this"),
        Err(failure) => check.degraded(failure.into_words().0, delegation()),
    }
}
