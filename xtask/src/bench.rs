//! The benchmark, and what has to be there before it: the heavy peers are a workspace of their own and talk to servers from Debian.

use crate::{cargo, packages};
use std::path::{Path, PathBuf};

/// How the names of these peers begin.
const HEAVY: &[&str] = &["iceoryx2", "zmq", "nats", "dbus", "redis", "zenoh"];

/// Builds what these arguments need, and runs the benchmark with them.
pub fn run(root: &Path, arguments: &[String]) -> Result<bool, String> {
    let mut command = cargo(root);
    command.args(["run", "--release", "--quiet", "--package", "strait-bench", "--"]).args(arguments);
    if let Err(why) = packages::install(packages::FOR_SPAWNS) {
        eprintln!("xtask: {why}");
    }
    if let Err(why) = tool(root) {
        eprintln!("xtask: nobody watches: {why}");
    }
    match starter(root) {
        Ok(program) => drop(command.arg("--starter").arg(program)),
        Err(why) => eprintln!("xtask: spawns start a program that isn't static: {why}"),
    }
    if needs_heavy_peers(arguments) {
        match heavy_peers(root) {
            Ok(program) => command.arg("--heavy").arg(program),
            Err(why) => {
                eprintln!("xtask: going on without the heavy peers: {why}");
                command.arg("--no-heavy").arg(why)
            }
        };
    }
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    Ok(status.success())
}

/// Builds the command line tool, which the benchmark finds beside itself.
fn tool(root: &Path) -> Result<(), String> {
    match cargo(root).args(["build", "--release", "--quiet", "--package", "strait"]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("cli doesn't build".into()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Builds the program that spawns start. It is static, which takes a flag that is named with its target, so that it isn't for build scripts too.
fn starter(root: &Path) -> Result<PathBuf, String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let flags = format!("target.{target}.rustflags=['-Ctarget-feature=+crt-static', '-Crelocation-model=static']");
    let mut build = cargo(root);
    build.args(["build", "--release", "--quiet", "--package", "strait-bench-starter", "--target", &target]);
    build.args(["--config", &flags]).env_remove("RUSTFLAGS");
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    match build.status() {
        Ok(status) if status.success() => Ok(folder.join(target).join("release/strait-bench-starter")),
        Ok(_) => Err("benches/starter doesn't build".into()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Installs the servers and builds the program that plays the peers. A missing server is named by that program.
fn heavy_peers(root: &Path) -> Result<PathBuf, String> {
    if let Err(why) = packages::install(packages::FOR_PEERS) {
        eprintln!("xtask: {why}");
    }
    let workspace = root.join("benches/peers");
    let mut build = cargo(&workspace);
    // Where it is built is known here, whatever the environment says for the main workspace.
    build.args(["build", "--release", "--quiet", "--locked", "--target-dir", "target"]).env_remove("CARGO_TARGET_DIR");
    eprintln!("xtask: building the heavy peers; the first time takes minutes (--quick goes without)");
    match build.status() {
        Ok(status) if status.success() => Ok(workspace.join("target/release/strait-bench-peers")),
        Ok(_) => Err("benches/peers doesn't build".into()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Whether a heavy peer is wanted: by name, or because all are.
fn needs_heavy_peers(arguments: &[String]) -> bool {
    let is_there = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let is_heavy = |peer: &str| HEAVY.iter().any(|name| peer.starts_with(name));
    let named = named_peers(arguments);
    match named.is_empty() {
        true => !is_there("--quick") && !is_there("--help") && !is_there("-h"),
        false => named.into_iter().any(is_heavy),
    }
}

fn named_peers(arguments: &[String]) -> Vec<&str> {
    let mut named = Vec::new();
    for (n, argument) in arguments.iter().enumerate() {
        let list = match argument.strip_prefix("--peer") {
            Some("") => arguments.get(n + 1).map(String::as_str),
            Some(list) => list.strip_prefix('='),
            None => None,
        };
        named.extend(list.into_iter().flat_map(|list| list.split(',')));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(arguments: &[&str]) -> bool {
        needs_heavy_peers(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn heavy_peers_are_built_when_they_are_named_or_everybody_is_meant() {
        assert!(needs(&[]));
        assert!(needs(&["--json", "x"]));
        assert!(needs(&["--quick", "--peer", "strait,nats"]));
        assert!(needs(&["--peer=nats"]));
    }

    #[test]
    fn and_not_otherwise() {
        assert!(!needs(&["--quick"]));
        assert!(!needs(&["--peer", "nonsense"]));
        assert!(!needs(&["--help"]));
        assert!(!needs(&["--peer", "strait", "--peer=uds-stream,raw-sync"]));
    }
}
