//! The workspace's test programs. All is built once, and run as often as there are users to run it as: another choice of packages would
//! be another choice of their dependencies' features, and so all built anew.

use crate::cargo;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One program of tests, as cargo built it.
#[derive(Debug)]
pub struct Program {
    pub path: PathBuf,
    /// The folder of its package, where cargo would run it.
    package: PathBuf,
}

impl Program {
    /// Without the number that cargo puts behind it.
    pub fn name(&self) -> &str {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("test");
        stem.rsplit_once('-').map_or(stem, |(name, _)| name)
    }

    /// The package's folder below the workspace's.
    pub fn is_of(&self, root: &Path, packages: &[&str]) -> bool {
        packages.iter().any(|package| self.package == root.join(package))
    }

    /// As cargo would run it, with the C library of the same build.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--quiet").current_dir(&self.package).env("CARGO_MANIFEST_DIR", &self.package);
        if let Some(libraries) = self.path.parent().and_then(Path::parent) {
            command.env("STRAIT_LIBRARIES", libraries);
        }
        command
    }
}

/// Builds everything that the workspace has, and says which of it is tests.
pub fn build(root: &Path) -> Result<Vec<Program>, String> {
    let mut command = cargo(root);
    command.args(["build", "--workspace", "--all-targets", "--quiet", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the workspace doesn't build".into());
    }
    let mut programs: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect();
    programs.sort_by(|one, other| (&one.package, one.name()).cmp(&(&other.package, other.name())));
    Ok(programs)
}

/// Of one of cargo's messages, if it is about a program of tests.
fn program(message: &str) -> Option<Program> {
    let path = PathBuf::from(field(message, "executable")?);
    // Tests lie in `deps`; other programs that are built lie above it.
    let is_test = message.contains(r#""test":true"#) && path.parent().is_some_and(|dir| dir.ends_with("deps"));
    let package = Path::new(field(message, "manifest_path")?).parent()?.to_owned();
    is_test.then_some(Program { path, package })
}

/// The text of a field. No path here has a character that JSON would write otherwise.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(&format!(r#""{name}":""#))?;
    rest.split_once('"').map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_other_programs() {
        let message = |path: &str| {
            let test = r#""target":{"kind":["test"],"test":true},"profile":{"test":true}"#;
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/jail/Cargo.toml",{test},"executable":"{path}"}}"#
            )
        };
        let found = program(&message("/t/debug/deps/faults-0123456789abcdef")).unwrap();
        assert_eq!((found.name(), &found.package), ("faults", &PathBuf::from("/w/jail")));
        assert!(found.is_of(Path::new("/w"), &["sys", "jail"]) && !found.is_of(Path::new("/w"), &["sys"]));
        assert!(program(&message("/t/debug/strait")).is_none());
        assert!(program(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
