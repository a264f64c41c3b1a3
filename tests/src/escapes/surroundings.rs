//! Where attempts are made: in our jail, in others, and in none.

use super::place::{Place, Victim, as_user};
use std::io::{self, Read};
use std::ops::Range;
use std::process::{Command, ExitStatus, Stdio};
use strait_escapes::{Attempt, Cage, Ground, Row, Where};

/// One kind of surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `strait run`, by root.
    Root,
    /// A world that is a clone of a template, by root, with another clone as its victim.
    Clone,
    /// `strait run`, by an ordinary user.
    Rootless,
    /// Two clones, by an ordinary user.
    RootlessClone,
    /// bubblewrap, by an ordinary user.
    Bubblewrap,
    /// firejail, by an ordinary user.
    Firejail,
    /// No jail, by root: the positive control.
    Unjailed,
}

impl Kind {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::Clone,
        Self::Rootless,
        Self::RootlessClone,
        Self::Bubblewrap,
        Self::Firejail,
        Self::Unjailed,
    ];

    /// Whether it is ours.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Root | Self::Clone) || self.is_rootless()
    }

    /// Whether it is ours, in the hands of an ordinary user.
    pub fn is_rootless(self) -> bool {
        matches!(self, Self::Rootless | Self::RootlessClone)
    }

    /// Whether who attacks is a clone.
    fn is_clone(self) -> bool {
        matches!(self, Self::Clone | Self::RootlessClone)
    }

    /// Its name on the page and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "strait-root",
            Self::Clone => "strait-clone",
            Self::Rootless => "strait-rootless",
            Self::RootlessClone => "strait-rootless-clone",
            Self::Bubblewrap => "bubblewrap",
            Self::Firejail => "firejail",
            Self::Unjailed => "unjailed",
        }
    }

    /// The kernel uid that the probe has.
    fn uid(self) -> u32 {
        match self {
            Self::Root => FIRST_WORLD,
            // Its jail stood before it was asked for.
            Self::Clone => LAST_WORLD,
            Self::Rootless | Self::RootlessClone | Self::Bubblewrap | Self::Firejail => ORDINARY,
            Self::Unjailed => 0,
        }
    }

    /// Whether a row can be tried there.
    pub fn has(self, row: &Row) -> bool {
        // A template is started without limits here: those rows are about a world of its own.
        let is_limited = self.is_clone() && !row.limits.is_empty();
        (row.place == Where::Anywhere || self.is_ours() || self == Self::Unjailed) && !is_limited
    }

    /// What its command line is made of, before the probe: for the page.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::Root | Self::Rootless => OURS,
            Self::Clone | Self::RootlessClone => CLONED,
            Self::Bubblewrap => BUBBLEWRAP,
            Self::Firejail => FIREJAIL,
            Self::Unjailed => &[],
        }
    }
}

/// The uid of nobody in particular.
pub const ORDINARY: u32 = 60_000;
/// The first of a broker's uids for worlds.
const FIRST_WORLD: u32 = 0x7000_0000;
/// The last of them, which the first jail has that is built ahead of time.
const LAST_WORLD: u32 = 0x7000_ffff;

const OURS: &[&str] = &["run", "--grace", "300ms", "--read", "RO:/ro", "--write", "RW:/rw"];

const CLONED: &[&str] = &["--cloned", "RO", "RW"];

#[rustfmt::skip]
const BUBBLEWRAP: &[&str] = &[
    "--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
    "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
    "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", "RO", "/ro", "--bind", "RW", "/rw", "--chdir", "/",
];

#[rustfmt::skip]
const FIREJAIL: &[&str] = &[
    "--quiet", "--noprofile", "--private", "--private-dev", "--private-tmp", "--disable-mnt", "--net=none", "--ipc-namespace",
    "--caps.drop=all", "--seccomp", "--seccomp.block-secondary", "--nonewprivs", "--noroot", "--nogroups", "--restrict-namespaces",
    "--memory-deny-write-execute", "--whitelist=RO", "--whitelist=RW", "--read-only=RO",
];

/// Gives whoever is started the user that firejail asks for, in a mount namespace of its own: what firejail mounts goes with it.
const WITH_USER: &str =
    "for file in passwd group; do mount --bind \"$0/$file\" \"/etc/$file\" || exit 70; done; exec \"$@\"";

/// The control's mounts: what is granted read-only is a mount, as it is in a jail, and /tmp is a bounded file system.
const WITH_MOUNTS: &str = "mount --bind \"$0/ro\" \"$0/ro\" && mount -t tmpfs -o size=1g escapes /tmp && exec \"$@\"";

/// One kind, ready for rows.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Which.
    pub kind: Kind,
    pub(super) place: &'a Place,
    victim: Victim,
}

/// What came of a row: the attempts that were made, in order, each with its word.
pub type Outcomes = Vec<(String, String)>;

impl<'a> Surroundings<'a> {
    /// Prepares the ground for rows there.
    pub fn new(kind: Kind, place: &'a Place) -> io::Result<Self> {
        place.give(kind.uid())?;
        Ok(Self { kind, place, victim: Victim::start(kind.uid())? })
    }

    /// Makes the attempts of a row. One that ends the whole program is known by that; the program is started again for the rest.
    pub fn make(&mut self, row: &Row) -> io::Result<Outcomes> {
        if let Some(ending) = row.ending {
            let end = |(at, attempt): (usize, &Attempt)| Ok((attempt.name.into(), self.end(row, at, ending)?));
            return row.attempts.iter().enumerate().map(end).collect();
        }
        let mut outcomes = Outcomes::new();
        while let Some(next) = row.attempts.get(outcomes.len()) {
            let until = self.same_cage(row, outcomes.len());
            let (text, failure) = self.start(row, outcomes.len()..until, next.cage)?;
            let lines = text.lines().filter_map(|line| line.split_once('\t'));
            outcomes.extend(lines.map(|(name, word)| (name.into(), word.into())));
            if let Some(unanswered) = row.attempts[..until].get(outcomes.len()) {
                outcomes.push((unanswered.name.into(), failure));
            }
        }
        if !self.victim.is_well() {
            outcomes.push(("the victim outside".into(), "dead".into()));
            self.victim = Victim::start(self.kind.uid())?;
        }
        if !self.place.is_untouched() {
            outcomes.push(("the files outside".into(), "touched".into()));
        }
        Ok(outcomes)
    }

    /// Unjailed, only attempts with the same cage go together.
    fn same_cage(&self, row: &Row, from: usize) -> usize {
        let differs = |attempt: &Attempt| self.kind == Kind::Unjailed && attempt.cage != row.attempts[from].cage;
        row.attempts[from..].iter().position(differs).map_or(row.attempts.len(), |after| from + after)
    }

    /// What the probe printed, and how to call it if that isn't everything.
    fn start(&self, row: &Row, attempts: Range<usize>, cage: Cage) -> io::Result<(String, String)> {
        let mut child = self.probe(row, attempts, cage)?.spawn()?;
        let (mut text, mut complaint) = (String::new(), String::new());
        // Complaints are short; they fit into their pipe while the attempts are read.
        child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut text))?;
        child.stderr.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut complaint))?;
        let status = child.wait()?;
        let failure =
            if was_killed(status) { "SIGKILL".into() } else { format!("no answer ({status}) {}", complaint.trim()) };
        Ok((text, failure.replace('\n', "; ")))
    }

    /// The command that makes these attempts of a row.
    pub fn probe(&self, row: &Row, attempts: Range<usize>, cage: Cage) -> io::Result<Command> {
        let mut command = self.command(row, cage);
        command.args([row.number.into(), attempts.start, attempts.end].map(|number: usize| number.to_string()));
        command.args(self.ground().words());
        command.stdin(self.place.terminal()?).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    fn ground(&self) -> Ground {
        let (ro, rw) = (self.path("ro"), self.path("rw"));
        match self.kind {
            kind if kind.is_ours() => self.place.ground("/ro", "/rw", &self.victim, true),
            Kind::Bubblewrap => self.place.ground("/ro", "/rw", &self.victim, false),
            _ => self.place.ground(&ro, &rw, &self.victim, false),
        }
    }

    fn path(&self, name: &str) -> String {
        self.place.dir().join(name).to_string_lossy().into_owned()
    }

    /// What starts the probe there; its arguments come behind.
    fn command(&self, row: &Row, cage: Cage) -> Command {
        let strait = &self.place.programs().strait;
        let mut command = match self.kind {
            Kind::Root => Command::new(strait),
            Kind::Clone => Command::new(&self.place.programs().runner),
            Kind::RootlessClone => as_user(ORDINARY, &self.place.programs().runner),
            Kind::Rootless => as_user(ORDINARY, strait),
            Kind::Bubblewrap => as_user(ORDINARY, "bwrap"),
            Kind::Firejail => {
                let mut command = self.with_mounts(WITH_USER, Cage::Open);
                command.args(["setpriv", "--reuid=60000", "--regid=60000", "--clear-groups", "--"]);
                command.args(["env", "-i", &format!("HOME={}", self.path("home")), "PATH=/usr/bin:/bin", "firejail"]);
                command
            }
            Kind::Unjailed => self.with_mounts(WITH_MOUNTS, cage),
        };
        let place = |option: &&str| option.replace("RO", &self.path("ro")).replace("RW", &self.path("rw"));
        command.args(self.kind.options().iter().map(place));
        if self.kind == Kind::Root {
            command.args(row.limits);
        }
        match self.kind {
            Kind::Root | Kind::Rootless | Kind::Bubblewrap => command.args(["--", "/ro/probe"]),
            Kind::Clone | Kind::RootlessClone => command.args(["--", "/ro/probe", "cloned"]),
            Kind::Firejail => command.args(["--".into(), self.path("ro/probe")]),
            Kind::Unjailed => command.arg(self.path("ro/probe")),
        };
        command
    }

    fn with_mounts(&self, script: &str, cage: Cage) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        if cage == Cage::Processes {
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        }
        command.args(["--", "sh", "-c", script]).arg(self.place.dir());
        command
    }
}

/// By a signal, or as a shell or a jail says it.
fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9) || status.code() == Some(128 + 9)
}
