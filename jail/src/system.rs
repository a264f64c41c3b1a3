//! The part of the host that every program expects: programs, libraries, and the few files of `/etc` and `/dev` they read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;

use crate::error::{At, SpawnError, Step};
use crate::root::{Kind, Root, Source, open_if_there, open_source};
use crate::ruleset::{Grant, Rights};
use crate::spec::Access;

/// The user inside, whoever it is outside.
pub const INNER_ID: u32 = 1000;

/// Directories of programs and libraries. On most systems all but the first are links into it, and become links here too.
const PROGRAMS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs read of `/etc`: where libraries are, what time it is, whom to trust. Nothing about the host's users, network or
/// services. What the host doesn't have isn't there inside either.
const SETTINGS: [&str; 9] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
];

/// Files that say the same in every jail.
const WRITTEN: [(&str, &str); 4] = [
    ("/etc/passwd", "world:x:1000:1000:world:/tmp:/bin/sh\n"),
    ("/etc/group", "world:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// The only devices: none of them remembers anything or leads anywhere.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"];

const DEVICE_LINKS: [(&str, &str); 5] = [
    // The same since Linux 5.6, but that it could be slow at boot.
    ("/dev/random", "urandom"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// What is opened before the jail's root exists.
#[derive(Default)]
pub struct System {
    programs: Vec<Source>,
    links: Vec<(&'static Path, PathBuf)>,
    settings: Vec<Source>,
    devices: Vec<Source>,
}

/// Opens the host's side of it. Devices are part of every jail; the rest only if `wanted`.
pub fn open(wanted: bool) -> Result<System, SpawnError> {
    let mut system = System::default();
    for device in DEVICES.map(Path::new) {
        system.devices.push(open_source(device, device, Kind::Device)?);
    }
    if wanted {
        PROGRAMS.iter().try_for_each(|path| system.open_programs(Path::new(path)))?;
        SETTINGS.iter().try_for_each(|path| system.open_settings(Path::new(path)))?;
    }
    Ok(system)
}

impl System {
    fn open_settings(&mut self, path: &Path) -> Result<(), SpawnError> {
        self.settings.extend(open_if_there(path, path, Kind::Data)?);
        Ok(())
    }

    fn open_programs(&mut self, path: &'static Path) -> Result<(), SpawnError> {
        match readlinkat(CWD, path, Vec::new()) {
            Ok(to) => self.links.push((path, OsString::from_vec(to.into_bytes()).into())),
            Err(Errno::NOENT) => {}
            // It is there, and no link.
            Err(Errno::INVAL) => self.programs.push(open_source(path, path, Kind::Bind(Access::ReadOnly))?),
            Err(error) => Err(error).at_path(Step::Sources, "readlinkat", path)?,
        }
        Ok(())
    }

    /// Puts it into the root, and says what Landlock has to grant for it.
    pub fn attach(self, root: &mut Root) -> Result<Vec<Grant>, SpawnError> {
        let mut grants = Vec::new();
        for source in self.programs {
            grants.push(root.attach(source, Rights::Bind(Access::ReadOnly), Step::Bind)?);
        }
        for (path, to) in self.links {
            root.places.link(path, &to, Step::Bind)?;
        }
        for (path, text) in WRITTEN {
            root.places.file(Path::new(path), text, Step::Etc)?;
        }
        // All of it may be read, whatever of it there is.
        let etc = root.places.directory(Path::new("/etc"), Step::Etc)?;
        grants.push(Grant { file: etc, is_directory: true, rights: Rights::Read });
        for source in self.settings {
            root.attach(source, Rights::Read, Step::Etc)?;
        }
        for source in self.devices {
            grants.push(root.attach(source, Rights::Device, Step::Devices)?);
        }
        for (path, to) in DEVICE_LINKS {
            root.places.link(Path::new(path), Path::new(to), Step::Devices)?;
        }
        Ok(grants)
    }
}

/// Where distributions keep the settings of their JVMs, which don't start without: `/etc/java-17-openjdk`, `/etc/java`.
pub fn java_settings() -> Result<Vec<PathBuf>, SpawnError> {
    let etc = Path::new("/etc");
    let entries = std::fs::read_dir(etc).at_path(Step::Sources, "opendir", etc)?;
    let is_java = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"java");
    Ok(entries.flatten().filter(is_java).map(|entry| entry.path()).collect())
}

/// Opens them.
pub fn open_java_settings() -> Result<Vec<Source>, SpawnError> {
    let paths = java_settings()?;
    paths.iter().filter_map(|path| open_if_there(path, path, Kind::Data).transpose()).collect()
}

/// What was opened of the host by name, and isn't any more what it was if the host has put something else in its place.
pub fn names() -> impl Iterator<Item = &'static Path> {
    PROGRAMS.iter().chain(&SETTINGS).map(Path::new)
}
