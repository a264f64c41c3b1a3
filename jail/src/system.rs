//! The part of the host that every program expects: programs, libraries, and the few files of `/etc` and `/dev` they read.

use std::path::{Path, PathBuf};

use crate::error::{At, SpawnError, Step};
use crate::profile::Base;
use crate::root::{Kind, Root, Source, open_source};
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
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// What is opened before the jail's root exists.
pub struct System {
    programs: Vec<Source>,
    links: Vec<(PathBuf, PathBuf)>,
    settings: Vec<Source>,
    devices: Vec<Source>,
    grants: Vec<Grant>,
}

/// Opens the host's side of it. Devices are part of every jail; the rest only if `wanted`, and what only language VMs read only for those.
pub fn open(wanted: bool, base: Base) -> Result<System, SpawnError> {
    let mut system =
        System { programs: Vec::new(), links: Vec::new(), settings: Vec::new(), devices: Vec::new(), grants: grants() };
    for device in DEVICES.map(Path::new) {
        system.devices.push(open_source(device, device, Kind::Device)?);
        system.grants.push(Grant { path: device.to_owned(), rights: Rights::Device });
    }
    if wanted {
        PROGRAMS.map(Path::new).iter().try_for_each(|path| system.open_programs(path))?;
        SETTINGS.map(Path::new).iter().try_for_each(|path| system.open_settings(path))?;
    }
    if wanted && base == Base::Jit {
        java_settings()?.iter().try_for_each(|path| system.open_settings(path))?;
    }
    Ok(system)
}

/// What is granted in every jail.
fn grants() -> Vec<Grant> {
    let grant = |path: &str, rights| Grant { path: PathBuf::from(path), rights };
    vec![
        // Rights reach downwards, so this one lets everything visible be listed. It can only list what was put there.
        grant("/", Rights::List),
        grant("/etc", Rights::Read),
        grant("/proc", Rights::Read),
        grant("/tmp", Rights::Bind(Access::ReadWrite)),
    ]
}

impl System {
    fn open_programs(&mut self, path: &Path) -> Result<(), SpawnError> {
        let Some(metadata) = look(path)? else { return Ok(()) };
        if metadata.is_symlink() {
            let to = std::fs::read_link(path).at_path(Step::Sources, "readlink", path)?;
            self.links.push((path.to_owned(), to));
            return Ok(());
        }
        self.programs.push(open_source(path, path, Kind::Bind(Access::ReadOnly))?);
        self.grants.push(Grant { path: path.to_owned(), rights: Rights::Bind(Access::ReadOnly) });
        Ok(())
    }

    fn open_settings(&mut self, path: &Path) -> Result<(), SpawnError> {
        if look(path)?.is_some() && path.exists() {
            self.settings.push(open_source(path, path, Kind::Data)?);
        }
        Ok(())
    }

    /// Puts it into the root, and says what Landlock has to grant for it.
    pub fn attach(self, root: &Root) -> Result<Vec<Grant>, SpawnError> {
        self.programs.iter().try_for_each(|source| root.attach(source, Step::Bind))?;
        for (path, to) in &self.links {
            root.link(path, &to.to_string_lossy(), Step::Bind)?;
        }
        self.settings.iter().try_for_each(|source| root.attach(source, Step::Etc))?;
        for (path, text) in WRITTEN {
            root.file(Path::new(path), text, Step::Etc)?;
        }
        self.devices.iter().try_for_each(|source| root.attach(source, Step::Devices))?;
        for (path, to) in DEVICE_LINKS {
            root.link(Path::new(path), to, Step::Devices)?;
        }
        Ok(self.grants)
    }
}

/// Where distributions keep the settings of their JVMs, which don't start without: `/etc/java-17-openjdk`, `/etc/java`.
fn java_settings() -> Result<Vec<PathBuf>, SpawnError> {
    let etc = Path::new("/etc");
    let entries = std::fs::read_dir(etc).at_path(Step::Sources, "opendir", etc)?;
    let is_java = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"java");
    Ok(entries.flatten().filter(is_java).map(|entry| entry.path()).collect())
}

fn look(path: &Path) -> Result<Option<std::fs::Metadata>, SpawnError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at_path(Step::Sources, "lstat", path),
    }
}
