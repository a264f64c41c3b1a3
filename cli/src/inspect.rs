//! `strait inspect`: the jail report, for people.

use crate::args::Inspect;
use crate::failure::Failure;
use crate::{Outcome, socket, text};
use std::fmt::Display;
use strait_jail::{Capabilities, Mount, Profile, Report};

/// Who can be looked into.
const JAILED: &str =
    "`strait ps` lists the worlds: one that runs in a jail can be looked into, one that sleeps after `strait wake`";

pub fn inspect(args: &Inspect) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let json = client.inspect(&args.world);
    let json = json.map_err(|error| Failure::from(error).or_hint(JAILED))?;
    if args.json {
        return text::print(format!("{json}\n").as_bytes());
    }
    let report: Report = serde_json::from_str(&json).map_err(|error| {
        Failure::new(format!("the broker's report has another form: {error}")).hint("--json prints it as it is")
    })?;
    let added: Added = serde_json::from_str(&json).unwrap_or_default();
    text::print(text::harmless(&(short(&report) + &added.lines())).as_bytes())
}

/// What the broker adds to the jail's report.
#[derive(Default, serde::Deserialize)]
struct Added {
    #[serde(default)]
    clone_of: String,
    /// Paths that it was granted.
    #[serde(default)]
    granted: Vec<String>,
}

impl Added {
    fn lines(&self) -> String {
        let origin = Some(&self.clone_of).filter(|template| !template.is_empty());
        let origin = origin.map(|template| entry("clone of", template));
        origin.into_iter().chain(self.granted.iter().map(|path| entry("granted", path))).collect()
    }
}

fn short(report: &Report) -> String {
    let mut lines = vec![
        entry("pid", format!("{} (inside: {})", report.pid, report.pids.last().copied().unwrap_or(0))),
        entry("uid", distinct(&report.uids)),
        entry("gid", distinct(&report.gids)),
        entry("groups", distinct(&report.groups)),
        entry("capabilities", capabilities(&report.capabilities)),
        entry("new privileges", if report.no_new_privs { "none" } else { "POSSIBLE" }),
        entry("seccomp", seccomp(report)),
        entry("landlock", report.attested.landlock),
        entry("profile", profile(&report.attested.profile)),
        entry("new code", if report.attested.refuses_new_code { "refused" } else { "POSSIBLE" }),
        entry("own namespaces", namespaces(report, true)),
        entry("shared ones", namespaces(report, false)),
        entry("writable", writable(&report.mounts)),
        entry("limits", limits(&report.limits)),
    ];
    lines.extend(report.control_groups.iter().map(|(file, text)| entry("control group", format!("{file} {text}"))));
    lines.extend(report.descriptors.iter().map(|(number, target)| entry("descriptor", format!("{number} {target}"))));
    lines.extend(report.missing.iter().map(|missing| entry("missing", missing)));
    lines.concat()
}

fn entry(key: &str, value: impl Display) -> String {
    format!("{key:<16}{value}\n")
}

fn distinct(numbers: &[u32]) -> String {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    words(&numbers)
}

fn words<T: Display>(all: &[T]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    if all.is_empty() { "none".into() } else { all.join(" ") }
}

fn capabilities(sets: &Capabilities) -> String {
    let Capabilities { inheritable, permitted, effective, bounding, ambient } = sets;
    let all = [
        ("inheritable", inheritable),
        ("permitted", permitted),
        ("effective", effective),
        ("bounding", bounding),
        ("ambient", ambient),
    ];
    let held: Vec<String> =
        all.iter().filter(|(_, set)| **set != 0).map(|(name, set)| format!("{name}={set:#x}")).collect();
    words(&held)
}

fn seccomp(report: &Report) -> String {
    match report.seccomp {
        2 if report.seccomp_filters == 1 => "1 filter".into(),
        2 => format!("{} filters", report.seccomp_filters),
        mode => format!("NO FILTER (mode {mode})"),
    }
}

fn profile(profile: &Profile) -> String {
    let named = |sign: char, names: &[String]| names.iter().map(|name| format!(" {sign}{name}")).collect::<String>();
    format!("{}{}{}", profile.base, named('+', &profile.allow), named('-', &profile.deny))
}

fn namespaces(report: &Report, own: bool) -> String {
    let names: Vec<&str> =
        report.namespaces.iter().filter(|(_, is_own)| *is_own == own).map(|(name, _)| &**name).collect();
    words(&names)
}

/// The resource limits that limit something: `open files 1024, processes 256`.
fn limits(all: &[(String, String, String)]) -> String {
    let limited = all.iter().filter(|(_, _, hard)| hard != "unlimited");
    let limits: Vec<String> =
        limited.map(|(name, _, hard)| format!("{} {hard}", name.strip_prefix("Max ").unwrap_or(name))).collect();
    limits.join(", ")
}

fn writable(mounts: &[Mount]) -> String {
    let is_writable = |mount: &&Mount| mount.options.split(',').any(|option| option == "rw");
    let targets: Vec<&str> = mounts.iter().filter(is_writable).map(|mount| &*mount.target).collect();
    words(&targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{ "pid": 70, "pids": [70, 2], "uids": [9, 9, 9, 9], "gids": [9, 9, 9, 9], "groups": [],
        "capabilities": { "inheritable": 0, "permitted": 0, "effective": 0, "bounding": 1, "ambient": 0 },
        "no_new_privs": true, "seccomp": 2, "seccomp_filters": 2, "namespaces": [["user", true], ["net", false]],
        "mounts": [{ "target": "/", "kind": "tmpfs", "options": "ro,nosuid" }, { "target": "/tmp", "kind": "tmpfs", "options": "rw" }],
        "limits": [["Max open files", "5", "7"], ["Max cpu time", "unlimited", "unlimited"]], "control_groups": [["pids.max", "7"]], "descriptors": [[0, "/dev/null"]], "missing": ["cgroups"],
        "attested": { "profile": { "base": "strict", "allow": ["socket"], "deny": ["open", "kill"] }, "refuses_new_code": true,
            "landlock": { "abi": 6, "kernel_abi": 7 }, "secure_bits": 239 } }"#;

    #[test]
    fn the_short_form_says_what_is_and_what_isnt() {
        let text = short(&serde_json::from_str(REPORT).unwrap());
        for line in [
            "pid             70 (inside: 2)\n",
            "uid             9\n",
            "groups          none\n",
            "capabilities    bounding=0x1\n",
            "own namespaces  user\n",
            "shared ones     net\n",
            "landlock        every right of ABI 6 handled (the kernel has ABI 7)\n",
            "profile         strict +socket -open -kill\n",
            "new code        refused\n",
            "writable        /tmp\n",
            "limits          open files 7\n",
            "control group   pids.max 7\n",
            "missing         cgroups\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn a_report_that_leaves_something_out_is_refused() {
        let without = REPORT.replace("\"no_new_privs\": true, ", "");
        assert!(serde_json::from_str::<Report>(&without).is_err());
    }
}
