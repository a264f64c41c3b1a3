//! A question about policy as a person asks it: may this world do that, and by which line?

use super::{Missing, Policy, Resource, Verdict, Way};
use crate::config::ConfigError;
use strait_protocol::{Name, Pattern};

/// What no line gives to a world that runs.
const GRANT: &str = "a grant";

/// What is to be said of a name, which isn't resolved here.
const NEAR: &str = "; an address that it leads to and that isn't public must be named itself";

/// The answer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether policy allows it.
    pub is_allowed: bool,
    /// The line that allows it, or what is missing.
    pub why: String,
}

/// Judges as switch and supervisor do. `what` is a world's name, which asks whether the one may send to the other, or words as `ask` and
/// `may` have them: `link db`, `start worker`, `memory 1 GiB`, `read /srv`, `network example.com:443`, `publish a.b`, `subscribe a.*`, and `list`, which is a world only in `send list`.
/// `find` gives the policies of worlds that there are, or could be.
pub fn judge(from: &str, what: &str, find: impl Fn(&Name) -> Option<Policy>) -> Result<Judgement, String> {
    let own: Name = from.parse().map_err(|error| format!("`{from}`: {error}"))?;
    let policy = find(&own).ok_or_else(|| format!("there is no world named `{own}`, and nothing to make one of"))?;
    if let Some(verdict) = policy.judge_topics(what) {
        return Ok(told(&own, verdict?));
    }
    let resource = resource(what)?;
    let mut told = told(&own, verdict(&own, &policy, &resource, find));
    if let (true, Resource::Network(place)) = (told.is_allowed, &resource)
        && place.is_by_name()
    {
        told.why += NEAR;
    }
    Ok(told)
}

fn told(own: &Name, verdict: Verdict) -> Judgement {
    let may_not = |why: String| Judgement { is_allowed: false, why: format!("`{own}` may not: {why}") };
    match verdict {
        Ok(line) => Judgement { is_allowed: true, why: format!("`{own}` may: {line}") },
        Err(Missing::Never(why)) => may_not(why.into()),
        Err(Missing::Line { line, may_ask: false }) => may_not(format!("it takes `{line}`")),
        Err(Missing::Line { line, may_ask: true }) if line == GRANT => {
            may_not("it takes a grant, which it may ask for".into())
        }
        Err(Missing::Line { line, may_ask: true }) => {
            may_not(format!("it takes `{line}`, or a grant, which it may ask for"))
        }
    }
}

fn resource(what: &str) -> Result<Resource, String> {
    if let Ok(permission) = what.parse() {
        return Ok(Resource::Command(permission));
    }
    match what.parse::<Name>() {
        Ok(name) => Ok(Resource::Reach(Way::Send, Pattern::Exactly(name))),
        Err(error) if !what.contains(' ') => Err(format!("`{what}`: {error}")),
        Err(_) => what.parse().map_err(|error: ConfigError| error.to_string()),
    }
}

fn verdict(own: &Name, policy: &Policy, resource: &Resource, find: impl Fn(&Name) -> Option<Policy>) -> Verdict {
    match resource {
        Resource::Reach(Way::Send, Pattern::Exactly(to)) => policy.send(own, to, find(to).as_ref()),
        Resource::Reach(Way::Link, Pattern::Exactly(to)) => policy.link(own, to, find(to).as_ref()),
        Resource::Command(asked) => policy.command(asked),
        Resource::Path(asked) => policy.path(asked),
        Resource::Network(asked) => policy.dial(asked),
        // There is no line that gives these to a world that runs: it can only ask.
        other => policy.ask(other).and_then(|_| Err(Missing::Line { line: GRANT.into(), may_ask: true })),
    }
}
