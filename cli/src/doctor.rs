//! `strait doctor`: what this machine has for this user, what is missing, and how to mend it.

mod check;
mod jail;
mod kernel;
mod network;
mod user;

use crate::args::Doctor;
use crate::failure::FAILED;
use crate::{Outcome, text};
use check::{Check, State};
use rustix::process::geteuid;
use serde_json::json;
use std::process::ExitCode;

pub fn doctor(args: &Doctor) -> Outcome {
    let mut checks = kernel::checks();
    checks.extend(user::checks());
    checks.extend(jail::checks());
    checks.extend(network::checks());
    let text = if args.json { json_text(&checks) } else { table(&checks) };
    text::print(text::harmless(&text).as_bytes())?;
    let is_well = checks.iter().all(|check| check.state != State::Missing);
    Ok(ExitCode::from(if is_well { 0 } else { FAILED }))
}

fn machine() -> String {
    let name = rustix::system::uname();
    let [system, release, machine] =
        [name.sysname(), name.release(), name.machine()].map(|part| part.to_string_lossy().into_owned());
    format!("strait {} on {system} {release} {machine}, as uid {}", env!("CARGO_PKG_VERSION"), geteuid().as_raw())
}

fn count(checks: &[Check], state: State) -> usize {
    checks.iter().filter(|check| check.state == state).count()
}

fn json_text(checks: &[Check]) -> String {
    let object = |check: &Check| {
        json!({
            "group": check.group,
            "name": check.name,
            "state": check.state.word(),
            "found": check.found,
            "fix": check.fix,
        })
    };
    let all: Vec<_> = checks.iter().map(object).collect();
    let [ok, degraded, missing] = State::ALL.map(|state| count(checks, state));
    format!(
        "{:#}\n",
        json!({ "machine": machine(), "checks": all, "ok": ok, "degraded": degraded, "missing": missing })
    )
}

fn table(checks: &[Check]) -> String {
    let mut text = machine() + "\n";
    let mut group = "";
    for check in checks {
        if check.group != group {
            group = check.group;
            text += &format!("\n{group}\n");
        }
        text += &format!("  {:<9} {:<19} {}\n", check.state.word(), check.name, check.found);
        if let Some(fix) = &check.fix {
            text += &format!("  {:<9} {:<19} -> {fix}\n", "", "");
        }
    }
    let [ok, degraded, missing] = State::ALL.map(|state| count(checks, state));
    text + &format!("\n{ok} ok, {degraded} degraded, {missing} missing\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_groups_and_fixes() {
        let checks = [
            Check::new("kernel", "landlock").ok("ABI 7"),
            Check::new("kernel", "seccomp").missing("none", "build it in"),
            Check::new("jail", "memory").degraded("no control group", "delegate one"),
        ];
        let text = table(&checks);
        assert!(
            text.contains("\nkernel\n  ok        landlock            ABI 7\n  missing   seccomp             none\n"),
            "{text}"
        );
        assert!(text.contains("-> build it in\n\njail\n  degraded  memory"), "{text}");
        assert!(text.ends_with("\n1 ok, 1 degraded, 1 missing\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json_text(&checks)).unwrap();
        assert_eq!((&json["checks"][1]["state"], &json["missing"]), (&json!("missing"), &json!(1)));
    }
}
