//! What of all that can be measured is, and who is there to be measured.

use crate::contest::{Contender, Results};
use crate::team::{Peer, Program};
use crate::{Outcome, Prefix, always_there, spawn, strait};
use std::path::PathBuf;
use std::process::Command;
use strait_measure::{Kind, Load, Placement, Spec};

/// The program whose processes are the heavy peers, or why there is none.
pub enum Heavy {
    /// They weren't asked for.
    Unwanted,
    Program(PathBuf),
    Missing(String),
}

/// Only these, if any are named.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub workloads: Vec<String>,
    pub placements: Vec<String>,
    pub peers: Vec<String>,
    pub sizes: Vec<usize>,
    /// Also the loads that curves are drawn from.
    pub curves: bool,
}

impl Selection {
    /// The loads that are named, or all.
    pub fn loads(&self) -> Outcome<Vec<Load>> {
        let mut all = Load::all();
        if self.curves {
            all.extend(Load::curves().into_iter().filter(|load| !Load::all().contains(load)));
        }
        let there = crate::table::unique(all.iter().map(Load::name));
        known("workload", &self.workloads, &there, if self.curves { "" } else { "; more with --curves" })?;
        let named = |load: &Load| has(&self.workloads, &load.name());
        let mut loads: Vec<Load> = all.into_iter().filter(named).collect();
        let sizes = crate::table::unique(loads.iter().map(|load| load.bytes.to_string()));
        let wanted: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        known("size", &wanted, &sizes, if self.curves { "" } else { "; more with --curves" })?;
        loads.retain(|load| has(&wanted, &load.bytes.to_string()));
        match loads.is_empty() {
            true => Err("no load is left: no such workload has such a size".into()),
            false => Ok(loads),
        }
    }

    /// The placements that are named, or all.
    pub fn placements(&self) -> Outcome<Vec<Placement>> {
        let there = Placement::ALL.map(|one| one.name().to_owned());
        known("placement", &self.placements, &there, "")?;
        Ok(Placement::ALL.into_iter().filter(|one| has(&self.placements, one.name())).collect())
    }

    /// The contenders that are named, or all. Who can't be had is named in the results.
    pub fn contenders(
        &self,
        prefix: Prefix,
        starter: &Program,
        heavy: &Heavy,
        results: &mut Results,
    ) -> Outcome<Vec<Box<dyn Contender>>> {
        let mut all = always_there(prefix);
        let (spawners, gap) = spawn::contenders(prefix, starter);
        all.extend(spawners);
        results.gaps.extend(gap.filter(|_| has(&self.workloads, Kind::Spawn.name()) && has(&self.peers, "bwrap")));
        let is_watched = |name: &String| name.starts_with(Kind::Watched.name());
        if self.workloads.iter().any(is_watched) && strait::tool().is_none() {
            results.gaps.push("watched: cargo build --release -p strait builds who watches".into());
        }
        let mut there = crate::table::unique(all.iter().map(|one| one.name().to_owned()));
        let mut more = "";
        match heavy {
            Heavy::Unwanted => more = "; and the heavy ones: iceoryx2-*, zmq-*, nats, dbus-*, redis, zenoh-*",
            Heavy::Missing(why) => results.gaps.push(format!("the heavy peers: {why}")),
            Heavy::Program(path) => {
                for spec in heavy_specs(path)? {
                    there.push(spec.name.clone());
                    match &spec.missing {
                        Some(why) if has(&self.peers, &spec.name) => results.gaps.push(format!("{}: {why}", spec.name)),
                        Some(_) => (),
                        None => {
                            let program = Program { path: path.clone(), prefix: Vec::new() };
                            all.push(Box::new(Peer { program, spec }));
                        }
                    }
                }
            }
        }
        known("peer", &self.peers, &there, more)?;
        all.retain(|one| has(&self.peers, one.name()));
        Ok(all)
    }
}

/// What the program offers: a line of JSON for each peer.
fn heavy_specs(program: &PathBuf) -> Outcome<Vec<Spec>> {
    let output = Command::new(program).arg("list").output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn has(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|one| one == name)
}

fn known(what: &str, named: &[String], there: &[String], more: &str) -> Outcome<()> {
    match named.iter().find(|name| !there.contains(name)) {
        Some(name) => Err(format!("there is no {what} `{name}`; there are: {}{more}", there.join(", ")).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Program {
        Program { path: PathBuf::new(), prefix: Vec::new() }
    }

    fn named(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn nothing_named_is_everything() {
        let all = Selection::default();
        assert_eq!(all.loads().unwrap(), Load::all());
        assert_eq!(all.placements().unwrap(), Placement::ALL);
        let names: Vec<String> = always_there(&[]).iter().map(|one| one.name().to_owned()).collect();
        assert_eq!(names[..6], ["uds-seqpacket", "uds-stream", "uds-broker", "raw-sync", "strait", "strait-batch"]);
        assert!(names[6..].iter().all(|name| name.starts_with("strait-")), "{names:?}");
    }

    #[test]
    fn what_isnt_there_is_told_with_what_is() {
        let wrong = |selection: Selection| selection.loads().unwrap_err().to_string();
        let error = wrong(Selection { workloads: named(&["rrt"]), ..Selection::default() });
        assert!(
            error.starts_with("there is no workload `rrt`; there are: rtt, oneway, fanout, connect, idle"),
            "{error}"
        );
        let error = wrong(Selection { workloads: named(&["rtt"]), sizes: vec![63], ..Selection::default() });
        assert!(error.starts_with("there is no size `63`; there are: 64"), "{error}");
        let selection = Selection { peers: named(&["nonsense"]), ..Selection::default() };
        let error =
            selection.contenders(&[], &nobody(), &Heavy::Unwanted, &mut Results::default()).err().unwrap().to_string();
        assert!(error.contains("`nonsense`") && error.contains("uds-broker") && error.contains("nats"), "{error}");
    }

    #[test]
    fn curves_add_loads_and_repeat_none() {
        let loads = Selection { curves: true, ..Selection::default() }.loads().unwrap();
        assert!(loads.iter().any(|load| load.name() == "fanout-16"));
        let names: Vec<(String, usize)> = loads.iter().map(|load| (load.name(), load.bytes)).collect();
        assert_eq!(crate::table::unique(names.iter()).len(), names.len());
    }

    #[test]
    fn who_cannot_be_had_is_named() {
        let mut results = Results::default();
        let heavy = Heavy::Missing("no compiler".into());
        Selection::default().contenders(&[], &nobody(), &heavy, &mut results).unwrap();
        assert_eq!(results.gaps.last().unwrap(), "the heavy peers: no compiler");
    }
}
