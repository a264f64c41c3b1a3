//! What a world writes into a granted directory is its owner's, and nobody's way to become the owner.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat};
use rustix::io::Errno;
use strait_jail::{Bind, Exit};

use crate::cases::{Given, as_root, skip_unless};
use crate::world::{Scratch, kernel_uid, probe, run, shell, start};

/// A user of the host without a name. The directory is theirs alone.
const OWNER: u32 = 61_234;

pub fn belongs(given: &mut Given<'_>) {
    skip_unless(as_root());
    for owner in [0, OWNER] {
        let scratch = Scratch::new("owner");
        let (ours, others) = (scratch.path().join("ours"), scratch.path().join("others"));
        fs::write(&ours, "old").expect("write");
        fs::write(&others, "theirs").expect("write");
        for (path, owner, mode) in [(scratch.path(), owner, 0o700), (&ours, owner, 0o600), (&others, OWNER + 1, 0o600)]
        {
            chown(path, Some(owner), Some(owner)).expect("chown");
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
        }
        let mut spec = shell("cat /data/ours; echo new > /data/made && stat -c ' %u' /data/made; cat /data/others");
        spec.binds = vec![Bind::read_write(scratch.path(), "/data")];
        let (text, exit) = run(given.launcher, &spec);
        // Inside, it is the world's own; what belongs to a third is as closed as before.
        assert!(text.starts_with("old 1000\n") && exit == Exit::Code(1), "{text}");
        let made = fs::metadata(scratch.path().join("made")).expect("made");
        assert_eq!((made.uid(), made.gid()), (owner, owner));
        // To read is another grant, and says nothing of whose files these are.
        spec.binds = vec![Bind::read_only(scratch.path(), "/data")];
        assert!(run(given.launcher, &spec).0.contains("Permission denied"));
    }
}

pub fn shared(given: &mut Given<'_>) {
    skip_unless(as_root());
    let scratch = Scratch::new("shared");
    let others = scratch.path().join("others");
    fs::write(&others, "theirs").expect("write");
    let mut spec = shell("rm -f /data/others; echo mine > /data/made");
    spec.binds = vec![Bind::read_write(scratch.path(), "/data")];
    for (mode, is_kept, owner) in [(0o1777, true, kernel_uid()), (0o777, false, 0)] {
        fs::set_permissions(scratch.path(), PermissionsExt::from_mode(mode)).expect("chmod");
        run(given.launcher, &spec);
        assert_eq!(others.exists(), is_kept, "{mode:o}");
        assert_eq!(fs::metadata(scratch.path().join("made")).expect("made").uid(), owner);
        fs::remove_file(scratch.path().join("made")).expect("unlink");
    }
}

/// Who may write above a grant would otherwise say with a link whose files the next world gets: here those of root.
pub fn follows_no_link(given: &mut Given<'_>) {
    skip_unless(as_root());
    let (scratch, secret) = (Scratch::new("link"), Scratch::new("secret"));
    let (above, kept) = (scratch.path().join("above"), secret.path().join("kept"));
    let below = above.join("below");
    fs::create_dir_all(&below).expect("mkdir");
    fs::write(&kept, "root's").expect("write");
    let places = [(secret.path(), 0, 0o700), (&kept, 0, 0o600), (&above, OWNER, 0o700), (&below, OWNER, 0o700)];
    for (path, owner, mode) in places {
        chown(path, Some(owner), Some(owner)).expect("chown");
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    }
    let mut second = shell("cat /data/kept; echo mine > /data/kept");
    second.binds = vec![Bind::read_write(&below, "/data")];
    assert_eq!(run(given.launcher, &second).1, Exit::Code(0), "with the directory itself there");
    let mut first = shell(&format!("rm -r /data/below && ln -s {} /data/below", secret.path().display()));
    first.binds = vec![Bind::read_write(&above, "/data")];
    assert_eq!(run(given.launcher, &first).1, Exit::Code(0), "it may write above the other's grant");
    let refused = start(given.launcher, &second).err().expect("a link").to_string();
    assert!(refused.contains("symbolic link"), "{refused}");
    assert_eq!(fs::read_to_string(&kept).expect("kept"), "root's");
}

/// What was asked for by a world is followed through no link, to read either; what its operator named is.
pub fn follows_no_link_to_read(given: &mut Given<'_>) {
    let scratch = Scratch::new("asked");
    fs::create_dir(scratch.path().join("there")).expect("mkdir");
    fs::write(scratch.path().join("there/file"), "found").expect("write");
    std::os::unix::fs::symlink("there", scratch.path().join("link")).expect("link");
    let mut spec = shell("cat /data/file");
    for (place, is_found) in [("there", true), ("link", false)] {
        let bind = Bind::read_only(scratch.path().join(place), "/data");
        spec.binds = vec![bind.clone()];
        assert_eq!(run(given.launcher, &spec).0, "found", "{place}");
        spec.binds = vec![bind.through_no_links()];
        match is_found {
            true => assert_eq!(run(given.launcher, &spec).0, "found"),
            false => {
                let refused = start(given.launcher, &spec).err().expect("a link").to_string();
                assert!(refused.contains("symbolic link"), "{refused}");
            }
        }
    }
}

pub fn borrows_nothing(given: &mut Given<'_>) {
    let scratch = Scratch::new("borrowed");
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o777)).expect("chmod");
    let mut spec = probe(given.own, &["borrow", "/data"]);
    spec.binds.push(Bind::read_write(scratch.path(), "/data"));
    assert_eq!(run(given.launcher, &spec).0, "open 1\ntemporary 1\nmknod 1\nchmod 1\nfchmod 1\nplain ok\n");
    // Whatever was made there: nothing has one of the two bits.
    for entry in fs::read_dir(scratch.path()).expect("list") {
        assert_eq!(entry.expect("entry").metadata().expect("metadata").mode() & 0o6000, 0);
    }
    let outside = std::process::Command::new(given.own.path()).args(["probe", "borrow"]).arg(scratch.path()).output();
    let outside = outside.expect("unjailed").stdout;
    assert_eq!(String::from_utf8_lossy(&outside), "open ok\ntemporary ok\nmknod ok\nchmod ok\nfchmod ok\nplain ok\n");
}

/// Each way to a file that runs as its owner or group; and one that is none.
pub fn borrow(dir: &Path) {
    let say = |what: &str, result: Result<(), Errno>| {
        println!("{what} {}", result.map_or_else(|error| error.raw_os_error().to_string(), |()| "ok".into()));
    };
    let borrowed = Mode::SUID | Mode::RUSR | Mode::XUSR;
    let open = |name: &str, flags, mode| rustix::fs::open(dir.join(name), flags | OFlags::WRONLY, mode);
    let file = dir.join("file");
    let made = open("file", OFlags::CREATE, Mode::RUSR | Mode::WUSR);
    say("open", open("opened", OFlags::CREATE, borrowed).map(drop));
    say("temporary", open("", OFlags::TMPFILE, Mode::SGID | Mode::WUSR).map(drop));
    say("mknod", rustix::fs::mknodat(CWD, dir.join("node"), rustix::fs::FileType::RegularFile, borrowed, 0));
    say("chmod", chmodat(CWD, &file, borrowed, AtFlags::empty()));
    say(
        "fchmod",
        made.as_ref().map_err(|error| *error).and_then(|file| rustix::fs::fchmod(file, Mode::SGID | borrowed)),
    );
    say(
        "plain",
        made.as_ref().map_err(|error| *error).and_then(|file| rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR)),
    );
}
