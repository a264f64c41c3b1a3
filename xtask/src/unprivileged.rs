//! The same tests again as a user without any privilege, when this is root: a rootless broker is another broker.

use crate::programs::{self, Program};
use crate::suites;
use crate::tally::Tally;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A uid and gid that belong to nobody.
const UID: u32 = 60_000;
/// Folders of the packages whose tests meet the kernel, and so differ by who runs them.
const PACKAGES: &[&str] = &["jail", "broker", "memory", "tests", "cli"];

pub fn run(root: &Path, programs: &[Program], tally: &mut Tally) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        tally.skip("workspace, as root", "this user isn't root, who would run everything as both");
        return Ok(());
    }
    let place = Place::new()?;
    if is_open_to_all(root) {
        return place.run_all(root, programs, tally);
    }
    let copy = place.copy(root)?;
    place.run_all(&copy, &programs::build(&copy)?, tally)
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

    fn run_all(&self, root: &Path, programs: &[Program], tally: &mut Tally) -> Result<(), String> {
        self.give()?;
        for program in programs.iter().filter(|program| program.is_of(root, PACKAGES)) {
            suites::run(&format!("{}, as an unprivileged user", program.name()), &mut self.command(program), tally)?;
        }
        Ok(())
    }

    fn command(&self, program: &Program) -> Command {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={UID}"), format!("--regid={UID}"), "--clear-groups".into(), "--".into()]);
        command.arg(&program.path).arg("--quiet").current_dir(&self.0);
        command.env("HOME", &self.0).env("TMPDIR", &self.0).env_remove("XDG_RUNTIME_DIR");
        command.env("STRAIT_LIBRARIES", self.0.join("libraries"));
        command
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
