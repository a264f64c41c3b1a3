//! The broker: to have it wait, to have it hold what isn't its own, to speak as somebody else.

use crate::call;
use crate::ground::Ground;
use crate::outcome::{Outcome, Tried};
use crate::raw::{self, Ended, open, owned, send_control};
use crate::row::{Attempt, Row};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

pub const LEASES: Row = Row::new(
    40,
    "F_SETLEASE on a granted file that the broker opens",
    &["EPERM"],
    &[
        Attempt::new("a write lease", |ground| {
            let file = open(&ground.in_rw("file"), libc::O_RDWR)?;
            call!(libc::SYS_fcntl, file, libc::F_SETLEASE, libc::F_WRLCK)
        }),
        Attempt::new("a read lease", |ground| {
            let file = open(&ground.in_rw("file"), libc::O_RDONLY)?;
            call!(libc::SYS_fcntl, file, libc::F_SETLEASE, libc::F_RDLCK)
        }),
        Attempt::new("a notification", |ground| {
            let directory = open(&ground.ro, libc::O_RDONLY | libc::O_DIRECTORY)?;
            call!(libc::SYS_fcntl, directory, libc::F_NOTIFY, DN_ACCESS)
        }),
    ],
);

/// The flags belong to the open file, which the broker has open too. They can be set; what counts is the last line.
pub const FLAGS: Row = Row::new(
    41,
    "F_SETFL, FIONBIO, F_SETOWN on a shared eventfd",
    &["EPERM", "broker-unaffected"],
    &[
        Attempt::new("F_SETFL", |ground| to_bell(ground, |bell| call!(libc::SYS_fcntl, bell, libc::F_SETFL, 0))),
        Attempt::new("FIONBIO", |ground| to_bell(ground, |bell| call!(libc::SYS_ioctl, bell, libc::FIONBIO, &[0u64]))),
        Attempt::new("F_SETOWN and O_ASYNC", |ground| {
            to_bell(ground, |bell| {
                call!(libc::SYS_fcntl, bell, libc::F_SETOWN, call!(libc::SYS_getpid)?)?;
                call!(libc::SYS_fcntl, bell, libc::F_SETFL, libc::O_ASYNC)
            })
        }),
        Attempt::new("the broker then", |ground| {
            let bell = ground.slices()?.bell.as_raw_fd();
            call!(libc::SYS_fcntl, bell, libc::F_SETFL, 0)?;
            broker_then(ground)
        }),
    ],
)
.of_broker()
.on_slices();

pub const FULL_BELL: Row = Row::new(
    42,
    "eventfd written to its maximum",
    &["broker-unaffected", "EAGAIN"],
    &[
        Attempt::new("its bell", |ground| {
            let bell = &ground.slices()?.bell;
            fill(bell)?;
            broker_then(ground)
        }),
        Attempt::new("its wakeup", |ground| {
            let path = format!("/proc/self/fd/{}", ground.slices()?.wakeup.as_raw_fd());
            let Ok(wakeup) = open(&path, libc::O_WRONLY | libc::O_NONBLOCK).map(owned) else {
                // What it can't open for writing it can't fill.
                return if ground.has_broker { Err(Outcome::Word("broker-unaffected")) } else { Ok(0) };
            };
            let piece = [0; 4096];
            while call!(libc::SYS_write, wakeup.as_raw_fd(), &piece[..], piece.len()).is_ok() {}
            Err(Outcome::Word("broker-unaffected"))
        }),
    ],
)
.of_broker()
.on_slices();

pub const UNDER_A_READER: Row = Row::new(
    44,
    "punch the slice while it is read; scribble every header byte",
    &["EPERM", "broker-unaffected"],
    &[
        Attempt::new("shrink", |ground| under_a_reader(ground, |file| call!(libc::SYS_ftruncate, file, 0))),
        Attempt::new("punch", |ground| {
            let slices = ground.slices()?;
            let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            call!(libc::SYS_fallocate, slices.outbox.as_raw_fd(), flags, 0, 65536)
        }),
        // It ends in quarantine, which takes the whole world, or with the broker going on.
        Attempt::new("scribble", |ground| {
            ground.slices()?.scribble()?;
            broker_then(ground)
        })
        .held(&["SIGKILL", "broker-unaffected"])
        .impossible("there is no reader to be misled"),
    ],
)
.of_broker()
.on_slices();

pub const DESCRIPTORS: Row = Row::new(
    47,
    "SCM_RIGHTS to the broker, in a flood",
    &["EPERM", "EPIPE", "ECONNRESET"],
    &[
        Attempt::new("over its lane", |ground| flood(&ground.slices()?.lane)),
        Attempt::new("over its connection", |ground| flood(&ground.slices()?.connection)),
    ],
)
.of_broker()
.on_slices();

pub const HANDING_OVER: Row = Row::new(
    49,
    "hand its connection to a child world, speak as the parent",
    &["EPERM", "EPIPE", "ECONNRESET"],
    &[
        Attempt::new("over its lane", |ground| {
            let slices = ground.slices()?;
            hand_over(&slices.lane, &slices.connection)
        }),
        Attempt::new("over its connection, then speak", |ground| {
            let connection = &ground.slices()?.connection;
            hand_over(connection, connection)?;
            std::thread::sleep(Duration::from_millis(200));
            speak(connection, 1)
        }),
    ],
)
.of_broker()
.on_slices();

pub const REUSED_PID: Row = Row::new(
    50,
    "wrap pids until reuse, act as a dead world",
    &["ENOSYS", "EPERM"],
    &[
        // The short way: to ask for the number, instead of making processes until it comes around.
        Attempt::new("take a dead one's pid", |_| {
            let Some(dead) = raw::fork()? else { raw::exit(0) };
            raw::wait(dead)?;
            raw::clone_as(dead)
        })
        .caged(),
        Attempt::new("connect once more", |_| call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_SEQPACKET, 0)),
    ],
)
.of_broker();

/// What a world may do that policy lets start others: `tests/cases/bombs.rs`.
pub const FRAMES: Row = Row::new(
    60,
    "spawn storm; 1 MB frames on the control socket",
    &["EPIPE", "ECONNRESET", "EMSGSIZE"],
    &[
        Attempt::new("5,000 starts", |ground| match ground.slices()?.storm(5000)? {
            0 => broker_then(ground),
            started => Ok(started),
        })
        .held(&["broker-unaffected"])
        .impossible("there is nobody who starts anything"),
        Attempt::new("a frame of 1 MB", |ground| speak(&ground.slices()?.connection, 1 << 20))
            .impossible("no Unix socket takes one: EMSGSIZE"),
        Attempt::new("frames of 64 KB", |ground| {
            let connection = &ground.slices()?.connection;
            speak(connection, 64 << 10)?;
            std::thread::sleep(Duration::from_millis(200));
            speak(connection, 64 << 10)
        }),
    ],
)
.of_broker()
.on_slices();

/// Tell me when a file in the directory is read (`fcntl(2)`).
const DN_ACCESS: i32 = 1;

/// Does something to the bell. In the control it must have had its effect for whoever has the same open file: a read would wait.
fn to_bell(ground: &Ground, act: impl FnOnce(i32) -> Tried) -> Tried {
    let bell = ground.slices()?.bell.as_raw_fd();
    if ground.has_broker {
        act(bell)?;
        return Err(Outcome::Word("broker-unaffected"));
    }
    call!(libc::SYS_fcntl, bell, libc::F_SETFL, libc::O_NONBLOCK)?;
    act(bell)?;
    match call!(libc::SYS_fcntl, bell, libc::F_GETFL)? as i32 & libc::O_NONBLOCK {
        0 => Ok(0),
        _ => Err(Outcome::Word("no-effect")),
    }
}

fn fill(eventfd: &OwnedFd) -> Tried {
    let number = eventfd.as_raw_fd();
    call!(libc::SYS_fcntl, number, libc::F_SETFL, libc::O_NONBLOCK)?;
    // The switch empties it meanwhile: so it is filled again and again, but not without end.
    let writes = (0..1000).map(|_| call!(libc::SYS_write, number, &[u64::MAX - 1], 8));
    Ok(writes.filter(Result::is_ok).count())
}

/// Whether the broker goes on. In the control there is none: whoever would write to the bell had to wait, which is what is attempted.
fn broker_then(ground: &Ground) -> Tried {
    match ground.has_broker && ground.slices()?.broker_answers()? {
        true => Err(Outcome::Word("broker-unaffected")),
        false => Ok(0),
    }
}

/// Has another process read the outbox, mapped, after something was done to the file.
fn under_a_reader(ground: &Ground, act: impl FnOnce(i32) -> Tried) -> Tried {
    let file = ground.slices()?.outbox.as_raw_fd();
    let address = call!(libc::SYS_mmap, 0, 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0)?;
    act(file)?;
    let Some(reader) = raw::fork()? else { raw::exit(raw::read_at(address).into()) };
    match raw::wait(reader)? {
        Ended::Signal(libc::SIGBUS, _) => Ok(0),
        _ => Err(Outcome::Word("no-effect")),
    }
}

/// Descriptors, 100 with each message, until somebody says no.
fn flood(socket: &OwnedFd) -> Tried {
    let descriptors = [0u8; 100 * 4];
    for _ in 0..100 {
        match send_control(socket.as_raw_fd(), libc::SCM_RIGHTS, &descriptors) {
            // Nobody reads, and what was sent lies there.
            Err(Outcome::Errno(libc::EAGAIN)) => return Ok(0),
            sent => sent?,
        };
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(0)
}

fn hand_over(over: &OwnedFd, what: &OwnedFd) -> Tried {
    send_control(over.as_raw_fd(), libc::SCM_RIGHTS, &what.as_raw_fd().to_ne_bytes())
}

fn speak(connection: &OwnedFd, bytes: usize) -> Tried {
    let frame = vec![0u8; bytes];
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    call!(libc::SYS_sendto, connection.as_raw_fd(), &frame[..], frame.len(), flags, 0, 0)
}
