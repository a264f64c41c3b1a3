//! This user: namespaces, identities, control groups, descriptors.

use super::check::Check;
use rustix::process::{Resource, geteuid, getrlimit};
use std::fs;
use std::path::Path;

const GROUP: &str = "user";
/// The namespaces of a jail, and their limits' names (`namespaces(7)`).
const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

pub fn checks() -> Vec<Check> {
    vec![namespaces(), unprivileged(), apparmor(), identities(), control_groups(), descriptors()]
}

/// The text of a file of `/proc/sys`, if there is one.
fn setting(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok().map(|text| text.trim().to_owned())
}

fn namespaces() -> Check {
    let check = Check::new(GROUP, "namespaces");
    if let Some(absent) = NAMESPACES.into_iter().find(|name| !Path::new("/proc/self/ns").join(name).exists()) {
        return check.missing(format!("the kernel has no {absent} namespaces"), "it was built without");
    }
    let is_none = |name: &&str| setting(&format!("user/max_{name}_namespaces")).as_deref() == Some("0");
    match NAMESPACES.into_iter().find(is_none) {
        Some(name) => {
            let fix = format!("sysctl user.max_{name}_namespaces=10000");
            check.missing(format!("no {name} namespace may be made"), fix)
        }
        None => check.ok(format!("seven kinds, {} of users", setting("user/max_user_namespaces").unwrap_or_default())),
    }
}

/// What Debian and its descendants have had for long.
fn unprivileged() -> Check {
    let check = Check::new(GROUP, "without root");
    match (setting("kernel/unprivileged_userns_clone").as_deref(), geteuid().is_root()) {
        (Some("0"), false) => {
            check.missing("user namespaces are for root", "sysctl kernel.unprivileged_userns_clone=1, or run as root")
        }
        (Some("0"), true) => check.degraded(
            "user namespaces are for root, which this is",
            "sysctl kernel.unprivileged_userns_clone=1 lets others run strait too",
        ),
        _ => check.ok("anybody may make user namespaces"),
    }
}

/// Ubuntu's way: a user namespace can be made, but is worth nothing to a program without a profile.
fn apparmor() -> Check {
    let check = Check::new(GROUP, "apparmor");
    let fix = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for strait with `userns,`";
    match (setting("kernel/apparmor_restrict_unprivileged_userns").as_deref(), geteuid().is_root()) {
        (None, _) => check.ok("not here"),
        (Some("1"), false) => check.degraded("restricts user namespaces to programs with a profile", fix),
        (Some("1"), true) => check.ok("restricts user namespaces, but not root's"),
        _ => check.ok("doesn't restrict user namespaces"),
    }
}

fn identities() -> Check {
    let check = Check::new(GROUP, "uids");
    if geteuid().is_root() {
        return check.ok("each world has one of its own");
    }
    let own = geteuid().as_raw();
    let has_range =
        ["/etc/subuid", "/etc/subgid"].map(|file| has_range(&fs::read_to_string(file).unwrap_or_default(), own));
    let range = if has_range == [true, true] { "has" } else { "has no" };
    check.degraded(
        format!("worlds share uid {own} and keep its groups"),
        format!("run as root for a uid per world (this user {range} subordinate uids, which strait doesn't use)"),
    )
}

/// Whether a file of `subuid(5)` gives this user a range. The user may stand there by number or by name.
fn has_range(text: &str, uid: u32) -> bool {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    let name = name.and_then(|line| line.split(':').next()).unwrap_or_default();
    let is_own = |owner: &str| owner == uid.to_string() || (!name.is_empty() && owner == name);
    text.lines().any(|line| line.split(':').next().is_some_and(is_own))
}

/// The controllers that limits take.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Which there are, in which version. Whether this user may use them is found out by doing it.
fn control_groups() -> Check {
    let check = Check::new(GROUP, "control groups");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let all = controllers(&mounts, |top| fs::read_to_string(Path::new(top).join("cgroup.controllers")).ok());
    let named = |version| {
        let names = CONTROLLERS.iter().zip(&all).filter(|(_, found)| **found == version).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let versions = [(Some(1), "version 1"), (Some(2), "version 2"), (None, "nowhere")];
    let found = versions.map(|(version, words)| (named(version), words));
    let found: Vec<String> =
        found.iter().filter(|(names, _)| !names.is_empty()).map(|(n, w)| format!("{n}: {w}")).collect();
    match all.contains(&None) {
        false => check.ok(found.join("; ")),
        true => check.degraded(
            found.join("; "),
            "mount -t cgroup2 none /sys/fs/cgroup, if nothing is mounted there; memory may take cgroup_enable=memory at boot",
        ),
    }
}

/// For each controller the version that has it. The kernel has each in one at most.
fn controllers(mounts: &str, of_version_two: impl Fn(&str) -> Option<String>) -> [Option<u32>; 3] {
    // `id parent device root point options [optional] - type source super-options` (`proc_pid_mountinfo(5)`).
    let mounts: Vec<(&str, &str, &str)> = mounts
        .lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let mut back = back.split(' ');
            Some((front.split(' ').nth(4)?, back.next()?, back.nth(1)?))
        })
        .collect();
    let has = |text: &str, separator: char, name: &str| text.trim().split(separator).any(|word| word == name);
    CONTROLLERS.map(|name| {
        mounts.iter().find_map(|(point, kind, options)| match *kind {
            "cgroup" => has(options, ',', name).then_some(1),
            "cgroup2" => has(&of_version_two(point)?, ' ', name).then_some(2),
            _ => None,
        })
    })
}

/// What gives a user limits that they don't have.
pub fn delegation() -> &'static str {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match controllers(&mounts, |_| None).iter().any(Option::is_some) {
        true => {
            "as root there are limits. Without, they take version 2 of control groups alone: boot with systemd.unified_cgroup_hierarchy=1"
        }
        false => {
            "systemd-run --user --scope -p Delegate=yes strait ...; without systemd, root makes a group, gives it (chown) to you with its \
             cgroup.procs and cgroup.subtree_control, and puts your shell into it. As root there are limits without any of this"
        }
    }
}

fn descriptors() -> Check {
    let check = Check::new(GROUP, "open files");
    // What a supervisor keeps for itself and for each world.
    const OWN: u64 = 200;
    const PER_WORLD: u64 = 12;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    match limit.saturating_sub(OWN) / PER_WORLD {
        0..16 => check
            .degraded(format!("{limit}, which is enough for few worlds"), "ulimit -Hn, or LimitNOFILE= of a service"),
        worlds => check.ok(format!("{limit}, enough for {} worlds", worlds.min(4096))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_has_its_version() {
        let hybrid = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /u rw - cgroup2 cgroup2 rw\n";
        let two = |top: &str| (top == "/u").then(|| "cpuset cpu pids\n".to_owned());
        assert_eq!(controllers(hybrid, two), [Some(1), Some(2), Some(2)]);
        assert_eq!(controllers(hybrid, |_| None), [Some(1), None, None]);
        assert_eq!(controllers("", two), [None; 3]);
    }

    #[test]
    fn ranges_belong_to_somebody() {
        assert!(has_range("a:1:2\n4242:100000:65536\n", 4242));
        assert!(!has_range("a:4242:65536\n", 4242));
        assert!(has_range("root:100000:65536\n", 0));
    }
}
