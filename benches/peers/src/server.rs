//! Server programs, and where Debian puts them.

use std::path::{Path, PathBuf};

/// A program, wherever it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    folders.into_iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// Why a peer can't be had, if its program isn't installed.
pub fn missing(name: &str, package: &str) -> Option<String> {
    find(name).is_none().then(|| format!("{name} isn't installed (Debian package {package})"))
}

/// How to start it.
pub fn command(name: &str) -> std::process::Command {
    std::process::Command::new(find(name).unwrap_or_else(|| name.into()))
}
