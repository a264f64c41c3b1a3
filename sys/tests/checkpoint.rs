//! Images of a real process, and clones of it: each pid 1 of a namespace of its own, so that they have the pid that the original had. One
//! process, one thread, one case after the other.

#![cfg_attr(not(target_arch = "x86_64"), allow(unused, reason = "there is no restorer for this architecture"))]

use rustix::fs::SealFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use strait_image::{Fault, Index};
use strait_sys::checkpoint::{CheckpointError, Resumed, checkpoint};
use strait_sys::launch::{Cloned, clone_process, execute, exit_now, place};
use strait_sys::{restorer, socket};

const LIMIT: u64 = 64 << 20;
const TABLE: usize = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["world"] => world(),
        ["busy", what] => busy(what),
        ["--list", ..] => ExitCode::SUCCESS,
        _ if cfg!(not(target_arch = "x86_64")) => ExitCode::SUCCESS,
        _ => {
            for (name, case) in CASES {
                case();
                println!("ok: {name}");
            }
            ExitCode::SUCCESS
        }
    }
}

const CASES: &[(&str, fn())] = &[
    ("a clone goes on where its original stopped", a_clone_goes_on),
    ("two clones diverge", two_clones_diverge),
    ("what can't be cloned is named", what_cannot_be_cloned_is_named),
    ("an image can't be changed", an_image_cannot_be_changed),
    ("a damaged image ends its clone", a_damaged_image_ends_its_clone),
    ("a clone with another pid is refused", another_pid_is_refused),
    ("a clone waits for its streams, and for three of them", a_clone_waits_for_its_streams),
    ("a clone of a program that was replaced while it waited is refused", a_replaced_program_is_refused),
];

/// Builds a table, makes an image, and answers questions about it.
fn world() -> ExitCode {
    let connection = socket::adopt(3).expect("a connection");
    let mut table: Vec<u64> = (0..TABLE as u64).map(|n| n * n).collect();
    let file = std::fs::File::open("/proc/self/exe").expect("a file that stays open");
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    let kind = match checkpoint(3, LIMIT) {
        Ok(Resumed::Original(image)) => {
            socket::send(connection.as_fd(), b"image", &[image.as_fd()]).expect("image sent");
            "original"
        }
        Ok(Resumed::Clone) => "clone",
        Err(error) => panic!("{error}"),
    };
    assert!(status.contains("Threads:\t1"));
    let length = file.metadata().expect("the file is open").len();
    assert!(length > 1000, "{length}");
    let mut buffer = [0; 64];
    loop {
        let (bytes, _) = socket::receive(connection.as_fd(), &mut buffer).expect("a question");
        let answer = match std::str::from_utf8(&buffer[..bytes]).expect("text") {
            "" => return ExitCode::SUCCESS,
            "kind" => kind.to_owned(),
            "sum" => table.iter().copied().fold(0, u64::wrapping_add).to_string(),
            // Heap, threads' storage, the kernel's clock page and children all work.
            "grow" => {
                table.extend(0..1_000_000);
                let thread = std::thread::spawn(|| std::thread::current().id());
                let other = thread.join().expect("a thread") != std::thread::current().id();
                let time = std::time::SystemTime::now().elapsed().is_ok();
                let cpu = rustix::thread::sched_getcpu() < 4096;
                format!("{} {other} {time} {cpu}", table.len())
            }
            "files" => std::fs::read_dir("/proc/self/fd").expect("files").count().to_string(),
            "change" => {
                table[0] += 1;
                "done".into()
            }
            "signal" => {
                // SAFETY: all zero is a valid value.
                let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
                // SAFETY: asks only.
                unsafe { libc::sigaction(libc::SIGUSR1, std::ptr::null(), &raw mut action) };
                (action.sa_sigaction == libc::SIG_IGN).to_string()
            }
            other => panic!("{other}"),
        };
        socket::send(connection.as_fd(), answer.as_bytes(), &[]).expect("answer");
    }
}

/// A process that has what a clone can't have. Ends in success if it was told so.
fn busy(what: &str) -> ExitCode {
    let mut kept: Vec<OwnedFd> = Vec::new();
    match what {
        "thread" => drop(std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)))),
        "socket" => kept.extend(<[OwnedFd; 2]>::from(socket::pair().expect("socketpair"))),
        "timer" => {
            let time = libc::timeval { tv_sec: 100, tv_usec: 0 };
            let timer = libc::itimerval { it_interval: time, it_value: time };
            // SAFETY: a live value.
            unsafe { libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const timer, 0) };
        }
        "child" => drop(std::process::Command::new("/bin/sleep").arg("60").spawn().expect("sleep")),
        "nothing" => {}
        _ => return ExitCode::FAILURE,
    }
    let limit = if what == "nothing" { 4096 } else { LIMIT };
    let is_named = match checkpoint(3, limit) {
        Err(CheckpointError::Threads(2)) => what == "thread",
        Err(CheckpointError::Descriptors(list)) => what == "socket" && list.len() == 2 && list[0].contains("socket:"),
        Err(CheckpointError::Timer) => what == "timer",
        Err(CheckpointError::Child) => what == "child",
        Err(CheckpointError::TooLarge { limit: 4096 }) => what == "nothing",
        other => {
            eprintln!("{what}: {other:?}");
            false
        }
    };
    exit_now(i32::from(!is_named))
}

// --- the cases ---

fn a_clone_goes_on() {
    let (mut original, image) = template();
    let sum = original.ask("sum");
    assert_eq!(original.ask("kind"), "original");
    let mut clone = clone_of(&image);
    assert_eq!(clone.ask("kind"), "clone");
    assert_eq!(clone.ask("sum"), sum);
    assert_eq!(clone.ask("signal"), "true");
    assert_eq!(clone.ask("grow"), format!("{} true true true", TABLE + 1_000_000));
    drop(original);
    assert_eq!(clone.end(), Some(0));
}

fn two_clones_diverge() {
    let (_original, image) = template();
    let (mut one, mut other) = (clone_of(&image), clone_of(&image));
    let sum = other.ask("sum");
    one.ask("change");
    assert_ne!(one.ask("sum"), sum);
    assert_eq!(other.ask("sum"), sum);
    assert_eq!(clone_of(&image).ask("sum"), sum, "nothing came back into the image");
}

fn what_cannot_be_cloned_is_named() {
    for what in ["thread", "socket", "timer", "child", "nothing"] {
        let (_ours, theirs) = socket::pair().expect("socketpair");
        let mut process = start(&["busy", what], &own_program(), &[theirs.as_fd()]);
        assert_eq!(process.wait(), Some(0), "{what}");
    }
}

fn an_image_cannot_be_changed() {
    let (_original, image) = template();
    assert_eq!(rustix::io::pwrite(&image, b"x", 0), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&image, 0), Err(Errno::PERM));
    let seals = rustix::fs::fcntl_get_seals(&image).expect("seals");
    assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL));
}

/// Every word of the index, turned into something else: the restorer says no, or the clone ends by itself; nothing hangs.
fn a_damaged_image_ends_its_clone() {
    let (_original, image) = template();
    let bytes = read(&image);
    let index = Index::parse(&bytes, bytes.len() as u64).expect("an index");
    let words = (index.areas().count() + index.files().count()) * 6 + 32;
    let mut refused = 0;
    for word in (0..words).step_by(7).chain(0..20) {
        for value in [0, 1, u64::MAX, strait_image::HOME.start, 0x1234_5000] {
            let mut damaged = bytes.clone();
            damaged[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
            let code = clone_of(&file(&damaged)).end();
            refused += u32::from(code.and_then(Fault::from_code).is_some());
        }
    }
    assert!(refused > 50, "{refused}");
    assert_eq!(clone_of(&file(b"not an image")).end(), Some(Fault::Alien.code()));
    assert_eq!(clone_of(&file(&bytes)).end(), Some(0), "a copy that wasn't damaged works");
}

fn another_pid_is_refused() {
    let (_original, image) = template();
    let (_ours, theirs) = socket::pair().expect("socketpair");
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).expect("null");
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd(), image.as_fd()];
    let mut process = Process::start(0, &restorer_path(), &[], &descriptors);
    assert_eq!(process.wait(), Some(Fault::Pid.code()));
}

fn a_clone_waits_for_its_streams() {
    let (mut original, image) = template();
    let streams = streams();
    let (mut clone, giving) = waiting_clone_of(&image);
    assert!(!has_ended(&clone, 50), "it waits");
    socket::send(giving.as_fd(), &[0], &streams.each_ref().map(AsFd::as_fd)).expect("streams");
    assert_eq!(clone.ask("kind"), "clone");
    assert_eq!(clone.ask("files"), original.ask("files"), "nothing is left of the wait");
    let (mut unwanted, giving) = waiting_clone_of(&image);
    drop(giving);
    assert_eq!(unwanted.wait(), Some(0));
    let (mut short, giving) = waiting_clone_of(&image);
    socket::send(giving.as_fd(), &[0], &[streams[0].as_fd()]).expect("a stream");
    assert_eq!(short.wait(), Some(Fault::Streams.code()));
}

fn a_replaced_program_is_refused() {
    let path = std::env::temp_dir().join(format!("strait-checkpoint-{}", std::process::id()));
    let text = path.to_str().expect("text");
    std::fs::copy(own_program(), &path).expect("a copy");
    let (_original, image) = template_of(text);
    let (mut same, giving) = waiting_clone_of(&image);
    give_streams(&giving);
    assert_eq!(same.ask("kind"), "clone", "the control");
    let (mut other, giving) = waiting_clone_of(&image);
    assert!(!has_ended(&other, 100), "it waits");
    std::fs::remove_file(&path).expect("removed");
    give_streams(&giving);
    assert_eq!(other.wait(), Some(Fault::FileGone.code()));
}

// --- what they need ---

struct Process {
    pidfd: OwnedFd,
    connection: Option<OwnedFd>,
}

impl Process {
    fn start(namespaces: i32, program: &str, arguments: &[&str], descriptors: &[BorrowedFd<'_>]) -> Self {
        let c = |text: &str| CString::new(text).expect("no NUL");
        let arguments: Vec<CString> = [program].iter().chain(arguments).map(|text| c(text)).collect();
        match clone_process(namespaces, false).expect("clone3") {
            Cloned::Child => {
                place(descriptors).expect("descriptors");
                let error = execute(&c(program), &arguments, &[]);
                eprintln!("{program}: {error}");
                exit_now(99)
            }
            Cloned::Parent { pidfd, .. } => Self { pidfd, connection: None },
        }
    }

    fn ask(&mut self, question: &str) -> String {
        let connection = self.connection.as_ref().expect("a connection");
        socket::send(connection.as_fd(), question.as_bytes(), &[]).expect("question");
        let mut buffer = [0; 64];
        let (length, _) = socket::receive(connection.as_fd(), &mut buffer).expect("answer");
        assert!(length > 0, "it ended: {:?}", self.wait());
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn end(&mut self) -> Option<i32> {
        self.connection = None;
        self.wait()
    }

    fn wait(&mut self) -> Option<i32> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options).expect("waitid").and_then(|status| status.exit_status())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }
}

fn start(arguments: &[&str], program: &str, more: &[BorrowedFd<'_>]) -> Process {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).expect("null");
    let stderr = rustix::stdio::stderr();
    let descriptors = [&[null.as_fd(), stderr, stderr], more].concat();
    Process::start(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, program, arguments, &descriptors)
}

fn own_program() -> String {
    std::env::current_exe().expect("a path").to_str().expect("text").to_owned()
}

/// The restorer by a descriptor that every child inherits, above the numbers that a program gets.
fn restorer_path() -> String {
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::sync::OnceLock;
    static FILE: OnceLock<OwnedFd> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let file = restorer::file().expect("a restorer");
        rustix::io::fcntl_dupfd_cloexec(file, 16).expect("dup")
    });
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn template() -> (Process, OwnedFd) {
    template_of(&own_program())
}

fn template_of(program: &str) -> (Process, OwnedFd) {
    let (ours, theirs) = socket::pair().expect("socketpair");
    let mut process = start(&["world"], program, &[theirs.as_fd()]);
    drop(theirs);
    let (_, mut descriptors) = socket::receive(ours.as_fd(), &mut [0; 64]).expect("an image");
    process.connection = Some(ours);
    (process, descriptors.pop().expect("an image"))
}

fn clone_of(image: &OwnedFd) -> Process {
    let (process, giving) = waiting_clone_of(image);
    give_streams(&giving);
    process
}

/// One that goes on when it is given streams.
fn waiting_clone_of(image: &OwnedFd) -> (Process, OwnedFd) {
    let (ours, theirs) = socket::pair().expect("socketpair");
    let (giving, taking) = socket::lane(0).expect("a lane");
    let mut process = start(&[], &restorer_path(), &[theirs.as_fd(), image.as_fd(), taking.as_fd()]);
    process.connection = Some(ours);
    (process, giving)
}

fn streams() -> [OwnedFd; 3] {
    let null = || rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).expect("null");
    [null(), null(), null()]
}

/// One that has ended by itself takes none.
fn give_streams(giving: &OwnedFd) {
    let sent = socket::send(giving.as_fd(), &[0], &streams().each_ref().map(AsFd::as_fd));
    assert!(matches!(sent, Ok(()) | Err(Errno::PIPE | Errno::CONNRESET)), "{sent:?}");
}

fn has_ended(process: &Process, within_ms: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut end = [PollFd::new(&process.pidfd, PollFlags::IN)];
    poll(&mut end, Some(&Timespec { tv_sec: 0, tv_nsec: within_ms * 1_000_000 })).expect("poll") > 0
}

fn read(image: &OwnedFd) -> Vec<u8> {
    let mut bytes = vec![0; rustix::fs::fstat(image).expect("fstat").st_size as usize];
    let mut done = 0;
    while done < bytes.len() {
        done += rustix::io::pread(image, &mut bytes[done..], done as u64).expect("pread");
    }
    bytes
}

fn file(bytes: &[u8]) -> OwnedFd {
    let file = rustix::fs::memfd_create("damaged", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");
    let mut done = 0;
    while done < bytes.len() {
        done += rustix::io::pwrite(&file, &bytes[done..], done as u64).expect("pwrite");
    }
    file
}
