//! `strait policy`: who may do what, and by which line; of a broker that runs, or of a file.

use crate::Outcome;
use crate::args::{Policy, PolicyAction, PolicySource};
use crate::failure::{FAILED, Failure};
use crate::file::{self, Plan};
use crate::{socket, text};
use serde_json::json;
use std::process::ExitCode;
use strait_broker::{Judgement, Name};

pub fn policy(args: &Policy) -> Outcome {
    match &args.action {
        PolicyAction::Check { from, what, json, source } => check(from, what, *json, source),
        PolicyAction::Show { world, json, source } => show(world, *json, source),
    }
}

fn check(from: &str, what: &str, json: bool, source: &PolicySource) -> Outcome {
    let Judgement { is_allowed, why } = match &source.file {
        Some(path) => {
            let plan = file::read(path)?;
            strait_broker::judge(from, what, |name| of_plan(&plan, name)).map_err(Failure::new)?
        }
        None => {
            let (is_allowed, why) = socket::attach(&source.socket)?.judge(from, what)?;
            Judgement { is_allowed, why }
        }
    };
    match json {
        true => text::print(format!("{:#}\n", json!({ "is_allowed": is_allowed, "why": why })).as_bytes())?,
        false => text::print(format!("{}\n", text::one_line(&why)).as_bytes())?,
    };
    Ok(if is_allowed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn show(world: &str, json: bool, source: &PolicySource) -> Outcome {
    let lines = match &source.file {
        Some(path) => {
            let name = world.parse().map_err(|error| Failure::new(format!("`{world}`: {error}")))?;
            let policy = of_plan(&file::read(path)?, &name);
            policy
                .ok_or_else(|| Failure::new(format!("{}: nothing makes a world named `{world}`", path.display())))?
                .lines()
        }
        None => socket::attach(&source.socket)?.policy(world)?,
    };
    match json {
        true => text::print(format!("{:#}\n", json!(lines)).as_bytes()),
        false if lines.is_empty() => text::print(format!("{world} may do nothing but answer\n").as_bytes()),
        false => text::print(lines.iter().map(|line| text::one_line(line) + "\n").collect::<String>().as_bytes()),
    }
}

/// As the broker would have it for a world of this name.
fn of_plan(plan: &Plan, name: &Name) -> Option<strait_broker::Policy> {
    match plan.worlds.iter().find(|(known, _)| known == name.as_str()) {
        Some((_, world)) => strait_broker::Policy::of_world(world).ok(),
        None => plan.config.policy_of(name),
    }
}
