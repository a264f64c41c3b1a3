//! `strait inspect`: the jail report, for people.

use crate::args::Inspect;
use crate::failure::Failure;
use crate::{Outcome, socket, text};
use serde::Deserialize;
use std::fmt::Display;

pub fn inspect(args: &Inspect) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let json = client.inspect(&args.world);
    let json = json.map_err(|error| Failure::from(error).or_hint("`strait ps` lists the worlds there are"))?;
    if args.json {
        return text::print(format!("{json}\n").as_bytes());
    }
    let report: Report = serde_json::from_str(&json).map_err(|error| {
        Failure::new(format!("the broker's report has another form: {error}")).hint("--json prints it as it is")
    })?;
    text::print(text::harmless(&short(&report)).as_bytes())
}

/// What is shown of the jail's report. Nothing has a default: what isn't told must not look harmless.
#[derive(Debug, Deserialize)]
struct Report {
    pid: i32,
    pids: Vec<i32>,
    uids: Vec<u32>,
    gids: Vec<u32>,
    groups: Vec<u32>,
    capabilities: Capabilities,
    no_new_privs: bool,
    seccomp: u32,
    seccomp_filters: u32,
    namespaces: Vec<(String, bool)>,
    mounts: Vec<Mount>,
    descriptors: Vec<(i32, String)>,
    landlock: String,
    missing: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Capabilities {
    inheritable: u64,
    permitted: u64,
    effective: u64,
    bounding: u64,
    ambient: u64,
}

#[derive(Debug, Deserialize)]
struct Mount {
    target: String,
    options: String,
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
        entry("landlock", &report.landlock),
        entry("own namespaces", namespaces(report, true)),
        entry("shared ones", namespaces(report, false)),
        entry("writable", writable(&report.mounts)),
    ];
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
        2 => format!("{} filters", report.seccomp_filters),
        mode => format!("NO FILTER (mode {mode})"),
    }
}

fn namespaces(report: &Report, own: bool) -> String {
    let names: Vec<&str> =
        report.namespaces.iter().filter(|(_, is_own)| *is_own == own).map(|(name, _)| &**name).collect();
    words(&names)
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
        "limits": [], "descriptors": [[0, "/dev/null"]], "landlock": "abi 6", "missing": ["cgroups"] }"#;

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
            "writable        /tmp\n",
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
