//! Which hierarchies there are, and where in each this process is.

use std::path::{Component, Path, PathBuf};

use super::{Controller, Version};

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub version: Version,
    /// Of version 1. In version 2 they differ from directory to directory.
    pub controllers: Vec<Controller>,
    /// Where it is mounted.
    pub top: PathBuf,
    /// The directory of this process's group.
    pub own: PathBuf,
}

/// From the text of `/proc/self/cgroup` (`cgroups(7)`) and `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`). Hierarchies without a controller of
/// ours are left out, and those in which this process's group isn't below what is mounted.
pub fn hierarchies(cgroup: &str, mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mountinfo.lines().filter_map(Mount::parse) {
        let Some((path, controllers)) = mount.membership(cgroup) else { continue };
        let Ok(below) = path.strip_prefix(&mount.root) else { continue };
        // A group outside of this process's cgroup namespace is shown as `/../...`.
        if below.components().any(|part| part == Component::ParentDir) {
            continue;
        }
        let is_known = found.iter().any(|one| one.version == mount.version && one.controllers == controllers);
        if !is_known {
            let own = mount.point.join(below);
            found.push(Hierarchy { version: mount.version, controllers, top: mount.point, own });
        }
    }
    found
}

struct Mount<'a> {
    version: Version,
    /// Which group is mounted: `/`, or in a container its own.
    root: PathBuf,
    point: PathBuf,
    /// The options of the file system: in version 1 they contain the controllers.
    options: Vec<&'a str>,
}

impl<'a> Mount<'a> {
    /// `id parent device root point options [optional] - type source super-options`.
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let version = match back.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        Some(Mount { version, root, point, options: back.nth(1)?.split(',').collect() })
    }

    /// This process's path in the hierarchy, and its controllers. `None`: not one of ours.
    fn membership(&self, cgroup: &str) -> Option<(PathBuf, Vec<Controller>)> {
        cgroup.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            let controllers: Vec<_> = names.split(',').filter_map(Controller::named).collect();
            let is_it = match self.version {
                Version::One => !controllers.is_empty() && names.split(',').all(|name| self.options.contains(&name)),
                Version::Two => names.is_empty(),
            };
            is_it.then(|| (Path::new(path).to_owned(), controllers))
        })
    }
}

/// Space, tab, line end and backslash are written in octal.
fn unescape(text: &str) -> PathBuf {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn one(controllers: &[Controller], top: &str, own: &str) -> Hierarchy {
        Hierarchy { version: Version::One, controllers: controllers.into(), top: top.into(), own: own.into() }
    }

    fn two(top: &str, own: &str) -> Hierarchy {
        Hierarchy { version: Version::Two, controllers: vec![], top: top.into(), own: own.into() }
    }

    #[test]
    fn both_versions_side_by_side() {
        let cgroup = "9:name=systemd:/user\n8:pids:/\n4:memory:/a b/c\n1:cpu,cpuacct:/x\n0::/user/session\n";
        let expected = [
            one(&[Controller::Cpu], "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/x"),
            one(&[Controller::Memory], "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a b/c"),
            one(&[Controller::Pids], "/sys/fs/cgroup/pids", "/sys/fs/cgroup/pids"),
            two("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/user/session"),
        ];
        assert_eq!(hierarchies(cgroup, HYBRID), expected);
    }

    #[test]
    fn version_two_alone() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let found = hierarchies("0::/user.slice/user-1000.slice/session-2.scope", mounts);
        assert_eq!(found, [two("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope")]);
    }

    #[test]
    fn a_container_sees_its_part() {
        let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let found = hierarchies("4:memory:/docker/abc/inner", mounts);
        assert_eq!(found, [one(&[Controller::Memory], "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/inner")]);
        // A group that lies outside of what is mounted can't be reached.
        assert_eq!(hierarchies("4:memory:/docker/other", mounts), []);
        assert_eq!(hierarchies("0::/../elsewhere", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"), []);
    }

    #[test]
    fn what_is_no_hierarchy_is_none() {
        assert_eq!(hierarchies("", HYBRID), []);
        assert_eq!(hierarchies("0::/", "garbage\n1 2 3 - cgroup2\n"), []);
    }
}
