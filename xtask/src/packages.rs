//! Debian packages that a chore needs.

use std::path::Path;
use std::process::Command;

/// A file, and the package that brings it.
pub type Needed = &'static [(&'static str, &'static str)];

/// Compilers for the C world and for libFuzzer, `setpriv` for the unprivileged run, and languages to jail. The JVM comes with its compiler, because
/// its scripts are sources.
pub const FOR_TESTS: Needed = &[
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/c++", "g++"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/perl", "perl"),
    ("/usr/bin/lua5.4", "lua5.4"),
    ("/usr/bin/luajit", "luajit"),
    ("/usr/bin/node", "nodejs"),
    ("/usr/bin/javac", "default-jdk-headless"),
    // What the benchmark compares starts with.
    ("/usr/bin/bwrap", "bubblewrap"),
];

/// The jails that ours is compared with.
pub const FOR_ESCAPES: Needed = &[("/usr/bin/bwrap", "bubblewrap"), ("/usr/bin/firejail", "firejail")];

/// What the heavy peers of the benchmark are built with and talk to.
pub const FOR_PEERS: Needed = &[
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/pkg-config", "pkg-config"),
    ("/usr/include/zmq.h", "libzmq3-dev"),
    ("/usr/sbin/nats-server", "nats-server"),
    ("/usr/bin/redis-server", "redis-server"),
    ("/usr/bin/dbus-broker", "dbus-broker"),
    ("/usr/bin/dbus-daemon", "dbus-daemon"),
];

/// What the benchmark compares the start of a world with.
pub const FOR_SPAWNS: Needed = &[("/usr/bin/bwrap", "bubblewrap")];

/// Installs what is missing if this is root on a Debian; otherwise says what to install.
pub fn install(needed: Needed) -> Result<(), String> {
    let is_missing = |(file, _): &&(&str, &str)| !Path::new(file).exists();
    let missing: Vec<&str> = needed.iter().filter(is_missing).map(|(_, package)| *package).collect();
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
