//! The directories of one launcher, one per hierarchy, in which its jails' groups are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use super::discover::{Hierarchy, hierarchies};
use super::{Controller, Version};

/// What the name of every home begins with; the owner's pid and a number follow.
const PREFIX: &str = "strait-";
/// The group of all who take turns on a processor: worlds without a processor limit, and the broker.
pub(super) const TURNS: &str = "turns";
/// A group whose last process has just ended may be busy for a moment.
const MOMENT: Duration = Duration::from_millis(1);
const MOMENTS: usize = 20;

/// Ours in one hierarchy.
#[derive(Debug)]
pub(super) struct Place {
    pub version: Version,
    pub controllers: Vec<Controller>,
    pub dir: PathBuf,
    /// Where this process was, and goes back to.
    origin: PathBuf,
    /// Ends with the last process that holds it: then anybody may clear up.
    lock: OwnedFd,
}

/// All of a launcher's directories. Removed with this value, as far as they are empty.
#[derive(Debug)]
pub struct Home {
    pub(super) places: Vec<Place>,
    missing: BTreeMap<Controller, String>,
    /// Groups that were still busy when they were to go.
    pub(super) late: Mutex<Vec<PathBuf>>,
    owner: u32,
}

impl Home {
    /// Makes what can be made, after clearing up what others who are gone have left. Never fails: what is missing is known by name.
    pub fn make() -> Home {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let owner = std::process::id();
        let name = format!("{PREFIX}{owner}-{number}");
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let found = hierarchies(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let (mut places, mut missing) = (Vec::new(), BTreeMap::new());
        for hierarchy in found {
            let offered = offered(&hierarchy);
            match Place::make(hierarchy, &name) {
                Ok(place) => places.push(place),
                Err(why) => offered.into_iter().for_each(|controller| drop(missing.insert(controller, why.clone()))),
            }
        }
        for controller in Controller::ALL {
            let is_there = places.iter().any(|place| place.controllers.contains(&controller));
            if !is_there {
                missing.entry(controller).or_insert_with(|| no_controller(controller));
            }
        }
        Home { places, missing, late: Mutex::default(), owner }
    }

    /// Why there are no limits of this controller, and what to do about it. `None`: there are.
    pub fn why_not(&self, controller: Controller) -> Option<&str> {
        self.missing.get(&controller).map(String::as_str)
    }

    /// Moves this process, and so all it will start, among those who take turns on a processor. Takes 10 ms at its first use.
    pub fn take_turns(&self) -> io::Result<()> {
        self.turns().try_for_each(|dir| fs::write(dir.join("cgroup.procs"), "0"))
    }

    /// Back to where it was, so that nothing keeps this value's directories.
    pub fn leave(&self) {
        for place in self.with_turns() {
            // An origin that is gone by now leaves the process, and so the directory, where it is: the next sweep removes it.
            let _ = fs::write(place.origin.join("cgroup.procs"), "0");
        }
    }

    /// What a process has to keep open for as long as these directories are to be left alone.
    pub fn locks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.places.iter().map(|place| place.lock.as_fd())
    }

    fn with_turns(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.controllers.contains(&Controller::Cpu))
    }

    /// Version 2 has room for processes only in leaves: the broker's is beside the worlds'.
    fn turns(&self) -> impl Iterator<Item = PathBuf> {
        self.with_turns().map(|place| match place.version {
            Version::One => place.dir.join(TURNS),
            Version::Two => place.dir.join(TURNS).join("broker"),
        })
    }

    /// What is left when the owner is gone: waits for the groups to be empty, and removes all. For the launcher that outlived it.
    pub fn clear(&self, patience: Duration) {
        let end = Instant::now() + patience;
        self.leave();
        while !self.places.iter().all(|place| remove_tree(&place.dir)) && Instant::now() < end {
            std::thread::sleep(10 * MOMENT);
        }
    }

    /// Removes an empty group now, or at the next occasion.
    pub(super) fn remove(&self, dir: PathBuf) {
        let mut late = self.late.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        late.push(dir);
        late.retain(|dir| !remove(dir));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A process that was cloned from the owner has a copy of this value that isn't its own to end.
        if self.owner != std::process::id() {
            return;
        }
        for _ in 0..MOMENTS {
            if self.places.iter().all(|place| remove_tree(&place.dir)) {
                return;
            }
            std::thread::sleep(MOMENT);
        }
    }
}

impl Place {
    fn make(hierarchy: Hierarchy, name: &str) -> Result<Place, String> {
        let Hierarchy { version, controllers, top, own } = hierarchy;
        let (parent, controllers) = match version {
            Version::One => (own.clone(), controllers),
            Version::Two => nearest(&top, &own),
        };
        sweep(&parent);
        let dir = parent.join(name);
        let refused = |error: io::Error| advice(version, &dir, &error);
        let lock = settle(&dir).map_err(refused)?;
        let place = Place { version, controllers, dir: dir.clone(), origin: own, lock };
        if let Err(error) = place.furnish() {
            remove_tree(&place.dir);
            return Err(refused(error));
        }
        Ok(place)
    }

    /// The groups inside, and in version 2 the controllers that they hand on.
    fn furnish(&self) -> io::Result<()> {
        let turns = self.dir.join(TURNS);
        let has_cpu = self.controllers.contains(&Controller::Cpu);
        if self.version == Version::Two {
            hand_on(&self.dir, &self.controllers)?;
        }
        if has_cpu {
            fs::create_dir(&turns)?;
        }
        if has_cpu && self.version == Version::Two {
            let others = self.controllers.iter().copied().filter(|one| *one != Controller::Cpu);
            hand_on(&turns, &others.collect::<Vec<_>>())?;
            fs::create_dir(turns.join("broker"))?;
        }
        Ok(())
    }
}

/// Which controllers a hierarchy would have for us.
fn offered(hierarchy: &Hierarchy) -> Vec<Controller> {
    match hierarchy.version {
        Version::One => hierarchy.controllers.clone(),
        Version::Two => listed(&hierarchy.own.join("cgroup.controllers")),
    }
}

fn listed(file: &Path) -> Vec<Controller> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().filter_map(Controller::named).collect()
}

/// In version 2 a group with processes has no controllers for groups below it (but the root): the nearest directory upwards that we may
/// write to and that hands on the most. Failing that, our own, for what needs no controller.
fn nearest(top: &Path, own: &Path) -> (PathBuf, Vec<Controller>) {
    let ancestors = own.ancestors().take_while(|dir| dir.starts_with(top));
    let writable = ancestors.filter(|dir| rustix::fs::access(*dir, rustix::fs::Access::WRITE_OK).is_ok());
    let mut best = (own.to_owned(), Vec::new());
    for dir in writable {
        let controllers = listed(&dir.join("cgroup.subtree_control"));
        if controllers.len() > best.1.len() {
            best = (dir.to_owned(), controllers);
        }
    }
    best
}

fn hand_on(dir: &Path, controllers: &[Controller]) -> io::Result<()> {
    // One at a time: a controller that is refused is an error with a name.
    controllers.iter().try_for_each(|controller| {
        let text = format!("+{}", controller.name());
        fs::write(dir.join("cgroup.subtree_control"), text)
    })
}

/// Makes a directory and locks it, before anybody takes it for one that is left.
fn settle(dir: &Path) -> io::Result<OwnedFd> {
    loop {
        fs::create_dir(dir)?;
        let lock = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if dir.exists() => return Ok(lock),
            // Somebody swept it in between.
            Ok(()) | Err(Errno::WOULDBLOCK) => {
                let _ = fs::remove_dir(dir);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the homes whose owners are gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_home) {
            sweep_one(&entry.path());
        }
    }
}

/// Others call their groups something with `strait-` too: a service that the broker is a part of, say.
fn is_home(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(owner, number)| owner.parse::<u32>().is_ok() && number.parse::<u32>().is_ok())
}

fn sweep_one(dir: &Path) {
    let Ok(lock) = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else { return };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        remove_tree(dir);
    }
}

/// Removes a group and those in it. False: something lives there.
fn remove_tree(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    remove(dir)
}

/// True: it is gone.
fn remove(dir: &Path) -> bool {
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn no_controller(controller: Controller) -> String {
    let name = controller.name();
    format!(
        "no mounted hierarchy hands on the {name} controller (cgroup_disable=, or missing in cgroup.subtree_control)"
    )
}

fn advice(version: Version, dir: &Path, error: &io::Error) -> String {
    let what = format!("{}: {error}", dir.display());
    let is_denied = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    match (version, is_denied) {
        (Version::Two, true) => {
            format!("{what}: run as root, or in a delegated scope: systemd-run --user --scope -p Delegate=yes ...")
        }
        (Version::One, true) => format!("{what}: version 1 has no delegation: run as root"),
        _ => what,
    }
}
