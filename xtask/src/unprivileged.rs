//! The same tests again as a user without any privilege, when this is root: a rootless broker is another broker.

use crate::tally::Tally;
use crate::{cargo, suites};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A uid and gid that belong to nobody.
const UID: u32 = 60_000;
/// Packages whose tests meet the kernel, and so differ by who runs them.
const PACKAGES: &[&str] = &["strait-jail", "strait-broker", "strait-memory", "strait-tests", "strait"];

pub fn run(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let name = "an unprivileged user";
    if !rustix::process::geteuid().is_root() {
        tally.skip("workspace, as root", "this user isn't root, who would run everything as both");
        return Ok(());
    }
    let place = Place::new()?;
    let sources = if is_open_to_all(root) { root.to_owned() } else { place.copy(root)? };
    let tests = build(&sources)?;
    place.give()?;
    for test in tests {
        let program = test.file_stem().and_then(|stem| stem.to_str()).unwrap_or("test");
        let label = program.rsplit_once('-').map_or(program, |(label, _)| label).to_owned();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={UID}"), format!("--regid={UID}"), "--clear-groups".into(), "--".into()]);
        command.arg(&test).arg("--quiet").current_dir(&place.0);
        command.env("HOME", &place.0).env("TMPDIR", &place.0).env_remove("XDG_RUNTIME_DIR");
        command.env("STRAIT_LIBRARIES", place.0.join("libraries"));
        suites::run(&format!("{label}, as {name}"), &mut command, tally)?;
    }
    Ok(())
}

/// Builds the tests and says where their programs are.
fn build(sources: &Path) -> Result<Vec<PathBuf>, String> {
    let mut command = cargo(sources);
    command.args(["test", "--no-run", "--message-format=json", "--quiet"]);
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests don't build".into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter(|line| line.contains(r#""test":true"#)).filter_map(executable).collect())
}

/// The one field of cargo's message that matters here.
fn executable(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.split_once(r#""executable":""#)?;
    let (path, _) = rest.split_once('"')?;
    // Programs under test are listed too; the tests themselves lie in `deps`.
    path.contains("/deps/").then(|| path.into())
}

/// Whether other users can come as far as this folder and read it.
fn is_open_to_all(dir: &Path) -> bool {
    let opens = |dir: &Path| fs::metadata(dir).is_ok_and(|data| data.permissions().mode() & 0o005 == 0o005);
    dir.ancestors().all(opens)
}

/// A folder that the unprivileged user may write to. Removed with this value.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self, String> {
        let dir = PathBuf::from(format!("/var/tmp/strait-test-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self(dir))
    }

    /// A copy of the sources, for when the user can't reach the originals.
    fn copy(&self, root: &Path) -> Result<PathBuf, String> {
        let copy = self.0.join("sources");
        fs::create_dir(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
        let script = r#"git -C "$1" ls-files -z --cached --others --exclude-standard | tar -C "$1" --null -T - -c | tar -C "$2" -x"#;
        let status = Command::new("sh").args(["-c", script, "sh"]).arg(root).arg(&copy).status();
        match status {
            Ok(status) if status.success() => Ok(copy),
            other => Err(format!("the sources can't be copied: {other:?}")),
        }
    }

    /// Hands the folder over, with the C library in it that the tests link.
    fn give(&self) -> Result<(), String> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(crate::root().join("target"), PathBuf::from);
        let (from, to) = (target.join("debug"), self.0.join("libraries"));
        fs::create_dir_all(to.join("deps")).map_err(|error| error.to_string())?;
        for library in ["libstrait.a", "libstrait.so"] {
            fs::copy(from.join(library), to.join(library)).map_err(|error| format!("{library}: {error}"))?;
        }
        for dir in [self.0.clone(), to.clone(), to.join("deps")] {
            chown(&dir, Some(UID), Some(UID)).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
