//! Debian packages that the tests need: compilers for the C world and for libFuzzer, `setpriv` for the unprivileged run, an interpreter to jail.

use std::path::Path;
use std::process::Command;

/// A program, and the package that brings it.
const NEEDED: &[(&str, &str)] = &[
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/c++", "g++"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/python3", "python3"),
];

/// Installs what is missing if this is root on a Debian; otherwise says what to install.
pub fn install() -> Result<(), String> {
    let is_missing = |(file, _): &&(&str, &str)| !Path::new(file).exists();
    let missing: Vec<&str> = NEEDED.iter().filter(is_missing).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!("these packages are missing: {wanted}. Install them: sudo apt-get install {wanted}"));
    }
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments)
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("apt-get {}: {status}", arguments.join(" "))),
        Err(error) => Err(format!("apt-get: {error}")),
    }
}
