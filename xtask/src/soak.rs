//! The soak: built with everything it needs, then run in this process's place, so that Ctrl-C and the exit code are its own.

use crate::cargo;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Returns only if something fails.
pub fn run(root: &Path, arguments: &[String]) -> Result<bool, String> {
    let mut build = cargo(root);
    build.args(["build", "--release", "--quiet", "--package", "strait-tests", "--bins"]);
    let built = build.status().map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err("the soak doesn't build".into());
    }
    let mut soak = cargo(root);
    soak.args(["run", "--release", "--quiet", "--package", "strait-tests", "--bin", "soak", "--"]).args(arguments);
    Err(format!("cargo: {}", soak.exec()))
}
