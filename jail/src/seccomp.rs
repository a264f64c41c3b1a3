//! The seccomp filters: one for a payload, one for pid 1 of its jail, one for an enclosed service.
//!
//! The payload's filter first looks at the number: allowed, not permitted (`EPERM`), or not there (`ENOSYS`). Of some calls that are allowed it
//! then looks at the arguments, and permits some. A call of a foreign architecture (`int 0x80`) kills the process; x32 numbers have bit 30 set
//! and are on no list.
//!
//! Each profile has a filter of its own; what a world adds or takes away by name changes what is said of numbers only.
//!
//! Arguments are compared as 32 bits wherever the kernel looks at 32 bits: a comparison of 64 would be passed by setting a high bit.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction as Action,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp as Op, SeccompCondition as Condition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::error::{SpawnError, Step, refused};
use crate::profile::{Base, Profile, numbers};
use crate::syscalls::{ALLOWED, ALLOWED_HERE, FIRST_PROCESS, REFUSED, REFUSED_HERE, STRICT, STRICT_HERE};
use crate::table::{self, Verdict};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Compiled once by the launcher; every jail gets a copy with its memory.
pub struct Filters {
    /// In the order of [`Base::ALL`].
    payload: [BpfProgram; 3],
    first_process: BpfProgram,
}

impl Filters {
    pub fn compile() -> Result<Filters, SpawnError> {
        let [default, jit, strict] = Base::ALL.map(|base| compile(&base.into()));
        Ok(Filters { payload: [default?, jit?, strict?], first_process: only_calls(FIRST_PROCESS)? })
    }

    /// For the payload, right before `execve`.
    pub fn apply_to_payload(&self, profile: &Profile) -> Result<(), SpawnError> {
        match profile.is_plain() {
            true => apply(&self.payload[profile.base as usize]),
            false => apply(&compile(profile)?),
        }
    }

    /// For pid 1, once it has nothing left to do but wait.
    pub fn apply_to_first_process(&self) -> Result<(), SpawnError> {
        apply(&self.first_process)
    }
}

/// What is named by the profile itself goes last, so that it is what counts.
fn compile(profile: &Profile) -> Result<BpfProgram, SpawnError> {
    let (allowed, allowed_here) = match profile.base {
        Base::Default | Base::Jit => (ALLOWED, ALLOWED_HERE),
        Base::Strict => (STRICT, STRICT_HERE),
    };
    let mut table = BTreeMap::new();
    mark(&mut table, REFUSED, &NOT_PERMITTED);
    mark(&mut table, REFUSED_HERE, &NOT_PERMITTED);
    mark(&mut table, allowed, &Action::Allow);
    mark(&mut table, allowed_here, &Action::Allow);
    mark(&mut table, &numbers(&profile.allow)?, &Action::Allow);
    mark(&mut table, &numbers(&profile.deny)?, &NOT_PERMITTED);
    let mut terms = terms(profile.base)?;
    go_on(&mut table, &terms);
    // Nobody comes to the terms of a call that isn't allowed anyway.
    let is_looked_at = |number: &i64| u32::try_from(*number).ok().and_then(|number| table.get(&number));
    terms.retain(|number, _| matches!(is_looked_at(number), Some(Verdict::GoOn)));
    table::compile(&table, &Action::Errno(libc::ENOSYS as u32), &compile_arguments(terms)?)
}

/// What is allowed by its number isn't by that alone, if there are terms for its arguments.
fn go_on(table: &mut BTreeMap<u32, Verdict>, terms: &Rules) {
    for number in terms.keys().filter_map(|&number| u32::try_from(number).ok()) {
        if let Some(verdict @ Verdict::Final(Action::Allow)) = table.get_mut(&number) {
            *verdict = Verdict::GoOn;
        }
    }
}

/// Kills this process on every system call that isn't listed.
pub fn allow_only(numbers: &[i64]) -> Result<(), SpawnError> {
    apply(&only_calls(numbers)?)
}

const NOT_PERMITTED: Action = Action::Errno(libc::EPERM as u32);

fn only_calls(numbers: &[i64]) -> Result<BpfProgram, SpawnError> {
    let mut allowed = BTreeMap::new();
    mark(&mut allowed, numbers, &Action::Allow);
    table::compile(&allowed, &Action::KillProcess, &BpfProgram::new())
}

/// Numbers that aren't numbers of system calls can't be called, so they can be left out.
fn mark(table: &mut BTreeMap<u32, Verdict>, numbers: &[i64], action: &Action) {
    let numbers = numbers.iter().filter_map(|&number| u32::try_from(number).ok()).filter(|&number| number < u32::MAX);
    table.extend(numbers.map(|number| (number, Verdict::Final(action.clone()))));
}

fn apply(program: &BpfProgram) -> Result<(), SpawnError> {
    seccompiler::apply_filter(program).map_err(|error| refused(Step::Seccomp, error))
}

/// Behind the table: a call that is looked at more closely is allowed on one of its terms, or not permitted.
fn compile_arguments(terms: Rules) -> Result<BpfProgram, SpawnError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| refused(Step::Seccomp, error))?;
    SeccompFilter::new(terms, NOT_PERMITTED, Action::Allow, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| refused(Step::Seccomp, error))
}

/// What calls may ask, of those that aren't allowed to ask everything. The program that comes of it is short, which every start pays for: the kernel
/// takes 0.2 us per instruction to compile it.
fn terms(base: Base) -> Result<Rules, SpawnError> {
    let mut terms = common_terms()?;
    match base {
        Base::Jit => {}
        // Writable and executable, and becoming executable, is what the kernel refuses by itself: see `strait_sys::code`.
        Base::Default => {
            let terms_of_mmap = vec![rule(vec![none(2, libc::PROT_EXEC)?])?, rule(vec![none(3, libc::MAP_SHARED)?])?];
            terms.insert(libc::SYS_mmap, terms_of_mmap);
        }
        Base::Strict => narrow(&mut terms)?,
    }
    Ok(terms)
}

fn common_terms() -> Result<Rules, SpawnError> {
    let mut terms = Rules::new();
    terms.insert(libc::SYS_clone, only_without(0, NEW_NAMESPACES)?);
    terms.insert(libc::SYS_ioctl, devices()?);
    // A TCP socket that was handed in could be connected anew by sending the first data with it.
    terms.insert(libc::SYS_sendto, only_without(3, libc::MSG_FASTOPEN)?);
    terms.insert(libc::SYS_sendmsg, only_without(2, libc::MSG_FASTOPEN)?);
    terms.insert(libc::SYS_sendmmsg, only_without(3, libc::MSG_FASTOPEN)?);
    terms.insert(libc::SYS_setsockopt, options()?);
    terms.insert(libc::SYS_socketpair, pairs()?);
    terms.insert(libc::SYS_mknodat, kinds(2)?);
    terms.insert(libc::SYS_fchmod, only_without(1, BORROWED)?);
    terms.insert(libc::SYS_fchmodat, only_without(2, BORROWED)?);
    terms.insert(libc::SYS_openat, creations(2, 3)?);
    #[cfg(target_arch = "x86_64")]
    {
        terms.insert(libc::SYS_mknod, kinds(1)?);
        terms.insert(libc::SYS_chmod, only_without(1, BORROWED)?);
        terms.insert(libc::SYS_creat, only_without(1, BORROWED)?);
        terms.insert(libc::SYS_open, creations(1, 2)?);
    }
    terms.insert(libc::SYS_personality, only(0, u64::from(u32::MAX), &[0, QUERY])?);
    // Pid 1 has the same uid, which is all that the kernel asks for before it lets limits be changed. And the limit on core dumps is not
    // for the world to change: see `privilege::limit`.
    let own = |term: Condition| rule(vec![condition(0, Op::Eq, 0)?, term]);
    terms.insert(libc::SYS_prlimit64, vec![own(condition(1, Op::Ne, CORE)?)?, own(is_null(2)?)?]);
    terms.insert(libc::SYS_setrlimit, only_other(0, &[CORE])?);
    terms.insert(libc::SYS_fcntl, only_other(1, WATCHING)?);
    terms.insert(libc::SYS_membarrier, vec![rule(vec![none(0, !OWN_BARRIERS)?])?]);
    Ok(terms)
}

/// No executable memory from anywhere but `execve`; no memory file that could be executed; threads, but no processes.
fn narrow(terms: &mut Rules) -> Result<(), SpawnError> {
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        terms.insert(call, only_without(2, libc::PROT_EXEC)?);
    }
    terms.insert(libc::SYS_memfd_create, vec![rule(vec![has(1, libc::MFD_NOEXEC_SEAL.cast_signed())?])?]);
    terms.insert(libc::SYS_clone, vec![rule(vec![none(0, NEW_NAMESPACES)?, has(0, libc::CLONE_THREAD)?])?]);
    Ok(())
}

const NEW_NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;
/// A program that runs as its file's owner or group, whoever starts it. Nothing does inside, but the file may be one of the host's, and somebody
/// there may start it.
const BORROWED: i32 = (libc::S_ISUID | libc::S_ISGID) as i32;
/// Typing into a terminal, or taking one over, on behalf of whoever looks at it.
const TERMINAL_INPUT: &[u64] = &[libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSCTTY];
/// A lease has everybody else's `open` or `execve` of a file wait (45 s by default), the launcher's too; a notification tells of others'
/// work in a shared directory, as inotify would.
const WATCHING: &[u64] = &[libc::F_SETLEASE as u64, libc::F_NOTIFY as u64];
/// What `membarrier(2)` does to the caller's own threads: private expedited barriers, of the plain kind, for code that was just written, and for
/// restartable sequences; to register for each (16, 64, 256), to do it (8, 32, 128), and to ask what one is registered for (512). Asking what there is
/// (0) has no bit; the kernel's answer still names the global ones (1, 2, 4), which are `EPERM`: they interrupt, or wait for, processors that run others.
const OWN_BARRIERS: i32 = 8 | 16 | 32 | 64 | 128 | 256 | 512;
/// The limit on core dumps (`getrlimit(2)`).
const CORE: u64 = libc::RLIMIT_CORE as u64;
/// The argument of `personality` that changes nothing.
const QUERY: u64 = 0xffff_ffff;

/// Neither typing into a terminal nor, by a connection of the host's network that was handed in, looking at the host's interfaces, routes and neighbours
/// (`SIOCGIFCONF` and the like, `netdevice(7)`).
fn devices() -> Result<Vec<SeccompRule>, SpawnError> {
    let part = |end: Condition| -> Result<SeccompRule, SpawnError> {
        let others = TERMINAL_INPUT.iter().map(|&value| condition(1, Op::Ne, value));
        rule(others.chain([Ok(end)]).collect::<Result<_, _>>()?)
    };
    let (before, behind) = NETWORK_DEVICES;
    Ok(vec![part(condition(1, Op::Lt, before)?)?, part(condition(1, Op::Gt, behind)?)?])
}

/// The first and the last number of what is asked of a network (`linux/sockios.h`, `linux/wireless.h`): what is asked of a socket itself is before that.
const NETWORK_DEVICES: (u64, u64) = (0x890b, 0x8bff);

/// What may be set of a socket: of itself and of TCP, but nothing of IP. By a source route (`IP_OPTIONS`, `IPV6_RTHDR`) a connection that was handed in
/// sends its bytes wherever one likes. Linux 6.18 wants `CAP_NET_RAW` for one in IPv4; this doesn't count on that.
fn options() -> Result<Vec<SeccompRule>, SpawnError> {
    let of = |level: i32, but: &[i32]| -> Result<SeccompRule, SpawnError> {
        let others = but.iter().map(|&option| condition(2, Op::Ne, option.cast_unsigned().into()));
        let level = condition(1, Op::Eq, level.cast_unsigned().into());
        rule([level].into_iter().chain(others).collect::<Result<_, _>>()?)
    };
    Ok(vec![of(libc::SOL_SOCKET, OF_OTHERS)?, of(libc::SOL_TCP, &[libc::TCP_ULP])?])
}

/// Names of the host's interfaces could be guessed, and a connection moved to another of them. And the last close of a connection would take as long as its
/// world likes: it may be in the broker, with what lies untaken in a lane, or in the kernel's own worker.
const OF_OTHERS: &[i32] = &[libc::SO_LINGER, libc::SO_BINDTODEVICE, SO_BINDTOIFINDEX];
/// `asm-generic/socket.h`.
const SO_BINDTOIFINDEX: i32 = 62;

/// No bit of the flags may be set in the argument.
fn only_without(argument: u8, flags: i32) -> Result<Vec<SeccompRule>, SpawnError> {
    Ok(vec![rule(vec![none(argument, flags)?])?])
}

/// The argument may be anything but these.
fn only_other(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, SpawnError> {
    let others = values.iter().map(|&value| condition(argument, Op::Ne, value));
    Ok(vec![rule(others.collect::<Result<_, _>>()?)?])
}

/// The argument's bits of the mask may be one of these, and nothing else.
fn only(argument: u8, mask: u64, values: &[u64]) -> Result<Vec<SeccompRule>, SpawnError> {
    let one = |&value: &u64| rule(vec![condition(argument, Op::MaskedEq(mask), value)?]);
    values.iter().map(one).collect()
}

/// A connected pair of stream or seqpacket sockets leads nowhere but to its other end, and event loops (asyncio, libuv) need one.
/// Every other family and type is refused: an unconnected datagram socket could send to a path.
fn pairs() -> Result<Vec<SeccompRule>, SpawnError> {
    const TYPE: u64 = 0xf;
    let connected = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].map(|kind| kind.cast_unsigned().into());
    let one = |kind| rule(vec![condition(0, Op::Eq, UNIX)?, condition(1, Op::MaskedEq(TYPE), kind)?]);
    connected.into_iter().map(one).collect()
}

const UNIX: u64 = libc::AF_UNIX as u64;

/// Opening, but for making a file with such a mode: without `O_CREAT` or `O_TMPFILE` the mode is whatever the register held.
fn creations(flags: u8, mode: u8) -> Result<Vec<SeccompRule>, SpawnError> {
    const MAKES: i32 = libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY);
    Ok(vec![rule(vec![none(flags, MAKES)?])?, rule(vec![none(mode, BORROWED)?])?])
}

/// Nodes that are no devices: files, pipes, sockets (`mknod(2)`).
fn kinds(argument: u8) -> Result<Vec<SeccompRule>, SpawnError> {
    let mask = u64::from(libc::S_IFMT | libc::S_ISUID | libc::S_ISGID);
    only(argument, mask, &[0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK].map(u64::from))
}

/// All bits of the flag are set in the argument.
fn has(argument: u8, flag: i32) -> Result<Condition, SpawnError> {
    let flag = u64::from(flag.cast_unsigned());
    condition(argument, Op::MaskedEq(flag), flag)
}

/// None of the bits is.
fn none(argument: u8, flags: i32) -> Result<Condition, SpawnError> {
    condition(argument, Op::MaskedEq(flags.cast_unsigned().into()), 0)
}

/// There is no address. All 64 bits of it count: half of one may be zero.
fn is_null(argument: u8) -> Result<Condition, SpawnError> {
    Condition::new(argument, Qword, Op::Eq, 0).map_err(|error| refused(Step::Seccomp, error))
}

fn condition(argument: u8, op: Op, value: u64) -> Result<Condition, SpawnError> {
    Condition::new(argument, Dword, op, value).map_err(|error| refused(Step::Seccomp, error))
}

fn rule(conditions: Vec<Condition>) -> Result<SeccompRule, SpawnError> {
    SeccompRule::new(conditions).map_err(|error| refused(Step::Seccomp, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_short() {
        let filters = Filters::compile().expect("filters");
        let lengths = filters.payload.each_ref().map(Vec::len);
        assert!(lengths.iter().all(|&length| length < 600), "{lengths:?} instructions");
    }
}
