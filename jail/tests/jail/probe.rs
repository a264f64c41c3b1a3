//! The attempts that a shell can't make. Each prints one word: `ok` or the error's number.

use std::process::ExitCode;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

pub fn run(what: &[&str]) -> ExitCode {
    match what {
        ["socket"] => sockets(),
        ["talk"] => return talk(),
        ["identity"] => println!("{}", identity()),
        ["environment"] => std::env::vars_os().for_each(|(key, value)| println!("{key:?}={value:?}")),
        ["refusals"] => refusals(),
        ["memory"] => println!("{}", word(memory())),
        ["execute-memory"] => println!("{}", word(execute_memory())),
        ["borrow", dir] => crate::owner::borrow(dir.as_ref()),
        ["threads"] => threads(),
        ["late-mount"] => crate::seats::late_mount(),
        ["niceness"] => crate::seats::niceness(),
        ["supervise", uid] => return supervise(uid.parse().ok()),
        ["enclose", inside, uid] => return enclose(inside, uid.parse().ok(), None),
        ["enclose", inside, uid, kept] => return enclose(inside, uid.parse().ok(), Some(kept)),
        _ => return ExitCode::from(64),
    }
    ExitCode::SUCCESS
}

fn word<T>(result: Result<T, Errno>) -> String {
    result.map_or_else(|error| error.raw_os_error().to_string(), |_| "ok".into())
}

/// Every family that leads somewhere.
fn sockets() {
    let families = [AddressFamily::UNIX, AddressFamily::INET, AddressFamily::INET6, AddressFamily::NETLINK];
    let others = [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET].map(|raw| AddressFamily::from_raw(raw as u16));
    for family in families.into_iter().chain(others) {
        let made = rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::empty(), None);
        println!("{} {}", family.as_raw(), word(made));
    }
    for (name, kind) in [("dgram", SocketType::DGRAM), ("raw", SocketType::RAW), ("stream", SocketType::STREAM)] {
        let pair = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        println!("pair-{name} {}", word(pair));
    }
}

/// Says hello on descriptor 3 and waits for the answer.
fn talk() -> ExitCode {
    let three = strait_sys::socket::adopt(3).expect("descriptor 3");
    rustix::io::write(&three, b"hello").expect("write");
    let mut answer = [0; 16];
    let length = rustix::io::read(&three, &mut answer).expect("read");
    ExitCode::from(u8::from(&answer[..length] != b"goodbye"))
}

fn identity() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let wanted = ["Uid:", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"];
    let lines = status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

/// Calls that the filter answers, by number: nothing may depend on a library's opinion.
fn refusals() {
    let null = std::fs::File::open("/dev/null").expect("/dev/null");
    use std::os::fd::AsFd;
    println!("unshare {}", word(strait_sys::launch::unshare_namespaces(libc::CLONE_NEWUSER).map_err(errno)));
    println!("mount {}", word(rustix::mount::mount("none", "/tmp", "tmpfs", rustix::mount::MountFlags::empty(), None)));
    println!("fsopen {}", word(rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::empty())));
    println!("chroot {}", word(rustix::process::chroot("/tmp")));
    println!("pivot_root {}", word(rustix::process::pivot_root("/tmp", "/tmp")));
    let device =
        rustix::fs::mknodat(rustix::fs::CWD, "/tmp/null", rustix::fs::FileType::CharacterDevice, 0o666.into(), 0x103);
    println!("mknod {}", word(device));
    println!("setns {}", word(rustix::thread::move_into_link_name_space(null.as_fd(), None)));
    println!(
        "core_pattern {}",
        word(std::fs::OpenOptions::new().write(true).open("/proc/sys/kernel/core_pattern").map_err(errno))
    );
    println!("init {}", word(std::fs::read("/proc/1/environ").map_err(errno)));
    println!("uid {}", word(rustix::thread::set_thread_uid(rustix::thread::Uid::ROOT)));
    println!(
        "kill {}",
        word(rustix::process::kill_process(
            rustix::process::Pid::from_raw(3_999_999).expect("pid"),
            rustix::process::Signal::KILL
        ))
    );
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// A memory file, sealed: what worlds live on.
fn memory() -> Result<(), Errno> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let file = memfd_create("slice", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
    ftruncate(&file, 65536)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)?;
    drop(epoll);
    Ok(())
}

/// Copies a program into a memory file and executes that.
fn execute_memory() -> Result<(), Errno> {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let file = rustix::fs::memfd_create("program", rustix::fs::MemfdFlags::empty())?;
    let mut file = std::fs::File::from(file);
    let program = std::fs::read("/bin/true").map_err(errno)?;
    file.write_all(&program).map_err(errno)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let status = std::process::Command::new(path).status().map_err(errno)?;
    if status.success() { Ok(()) } else { Err(Errno::IO) }
}

fn threads() {
    let workers: Vec<_> = (0..4).map(|number| std::thread::spawn(move || number)).collect();
    let sum: i32 = workers.into_iter().map(|worker| worker.join().expect("thread")).sum();
    println!("{sum}");
}

/// A supervisor to be killed: starts a world that sleeps, and says so.
fn supervise(uid: Option<u32>) -> ExitCode {
    use std::os::fd::AsFd;
    let mut launcher = strait_jail::Launcher::start().expect("launcher");
    let mut spec = strait_jail::Spec::new("orphan", "sleep");
    spec.args = vec!["1000".into()];
    spec.uid = uid;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let fds = strait_jail::Fds { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), rendezvous: None };
    let world = launcher.spawn(&spec, fds).expect("spawn");
    println!("{}", world.pid());
    std::thread::sleep(std::time::Duration::from_secs(1000));
    ExitCode::SUCCESS
}

/// A file beside a directory that was opened before.
fn beside(directory: &std::fs::File) -> Result<std::os::fd::OwnedFd, Errno> {
    rustix::fs::openat(directory, "../secret", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
}

/// Encloses itself and then does something.
fn enclose(inside: &str, uid: Option<u32>, kept: Option<&str>) -> ExitCode {
    #[rustfmt::skip]
    let syscalls = vec![
        libc::SYS_write, libc::SYS_exit_group, libc::SYS_openat, libc::SYS_close, libc::SYS_brk, libc::SYS_mmap,
        libc::SYS_munmap, libc::SYS_sigaltstack, libc::SYS_rt_sigprocmask, libc::SYS_futex, libc::SYS_capget,
        libc::SYS_getuid, libc::SYS_statx, libc::SYS_madvise, libc::SYS_prctl, libc::SYS_rt_sigaction, libc::SYS_fcntl,
    ];
    let limits = strait_jail::Limits { processes: Some(1), ..Default::default() };
    let binds = kept.iter().map(|kept| strait_jail::Bind::read_write(*kept, "/kept")).collect();
    let before = kept.map(|kept| std::fs::File::open(kept).expect("the directory"));
    if let Some(directory) = &before {
        println!("before {}", word(beside(directory)));
    }
    let enclosure = strait_jail::Enclosure { name: "service".into(), uid, syscalls, binds, network: false, limits };
    if let Err(error) = strait_jail::enclose(&enclosure) {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    match inside {
        "open" => {
            for path in ["/etc/passwd", "/", "/proc/self/status", "/dev/null"] {
                println!("{path} {}", word(std::fs::File::open(path).map_err(errno)));
            }
            println!("make {}", word(std::fs::File::create("/file").map_err(errno)));
            let left = rustix::thread::capabilities(None).expect("capget");
            println!("capabilities {}", left.permitted.is_empty() && left.effective.is_empty());
            println!("uid {}", rustix::process::getuid().as_raw());
        }
        "keep" => {
            println!("read {}", word(std::fs::File::open("/kept/old").map_err(errno)));
            println!("make {}", word(std::fs::File::create("/kept/new").map_err(errno)));
            for path in ["/kept/../etc/passwd", "/kept/../secret", "/etc/passwd", "/kept/link"] {
                println!("{path} {}", word(std::fs::File::open(path).map_err(errno)));
            }
            println!("beside {}", before.map_or_else(String::new, |directory| word(beside(&directory))));
        }
        _ => sockets(),
    }
    ExitCode::SUCCESS
}
