//! The seccomp filters: one for a payload, one for pid 1 of its jail, one for an enclosed service.
//!
//! The payload's filter first looks at the number: allowed, not permitted (`EPERM`), or not there (`ENOSYS`). Of some calls that are allowed it
//! then looks at the arguments, and refuses some. A call of a foreign architecture (`int 0x80`) kills the process; x32 numbers have bit 30 set
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
        Ok(Filters { payload: [default?, jit?, strict?], first_process: only(FIRST_PROCESS)? })
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
    let rules = refusals(profile.base)?;
    go_on(&mut table, &rules);
    table::compile(&table, &Action::Errno(libc::ENOSYS as u32), &compile_arguments(rules)?)
}

/// What is allowed by its number isn't by that alone, if there is a rule about its arguments.
fn go_on(table: &mut BTreeMap<u32, Verdict>, rules: &Rules) {
    for number in rules.keys().filter_map(|&number| u32::try_from(number).ok()) {
        if let Some(verdict @ Verdict::Final(Action::Allow)) = table.get_mut(&number) {
            *verdict = Verdict::GoOn;
        }
    }
}

/// Kills this process on every system call that isn't listed.
pub fn allow_only(numbers: &[i64]) -> Result<(), SpawnError> {
    apply(&only(numbers)?)
}

const NOT_PERMITTED: Action = Action::Errno(libc::EPERM as u32);

fn only(numbers: &[i64]) -> Result<BpfProgram, SpawnError> {
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

fn compile_arguments(rules: Rules) -> Result<BpfProgram, SpawnError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| refused(Step::Seccomp, error))?;
    SeccompFilter::new(rules, Action::Allow, NOT_PERMITTED, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| refused(Step::Seccomp, error))
}

/// Calls that are refused for what they ask.
fn refusals(base: Base) -> Result<Rules, SpawnError> {
    let mut rules = common_refusals()?;
    match base {
        Base::Jit => {}
        // Writable and executable, and becoming executable, is what the kernel refuses by itself: see `strait_sys::code`.
        Base::Default => {
            rules.insert(libc::SYS_mmap, vec![rule(vec![has(2, libc::PROT_EXEC)?, has(3, libc::MAP_SHARED)?])?]);
        }
        Base::Strict => narrow(&mut rules)?,
    }
    Ok(rules)
}

fn common_refusals() -> Result<Rules, SpawnError> {
    let mut rules = Rules::new();
    rules.insert(libc::SYS_clone, bits(0, NEW_NAMESPACES)?);
    rules.insert(libc::SYS_ioctl, values(1, TERMINAL_INPUT)?);
    // A TCP socket that was handed in could be connected anew by sending the first data with it.
    rules.insert(libc::SYS_sendto, bits(3, FAST_OPEN)?);
    rules.insert(libc::SYS_sendmsg, bits(2, FAST_OPEN)?);
    rules.insert(libc::SYS_sendmmsg, bits(3, FAST_OPEN)?);
    rules.insert(libc::SYS_socketpair, pairs()?);
    rules.insert(libc::SYS_mknodat, [kinds(2)?, bits(2, BORROWED)?].concat());
    rules.insert(libc::SYS_fchmod, bits(1, BORROWED)?);
    rules.insert(libc::SYS_fchmodat, bits(2, BORROWED)?);
    rules.insert(libc::SYS_openat, creations(2, 3)?);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_mknod, [kinds(1)?, bits(1, BORROWED)?].concat());
        rules.insert(libc::SYS_chmod, bits(1, BORROWED)?);
        rules.insert(libc::SYS_creat, bits(1, BORROWED)?);
        rules.insert(libc::SYS_open, creations(1, 2)?);
    }
    rules.insert(libc::SYS_personality, vec![rule(vec![condition(0, Op::Ne, 0)?, condition(0, Op::Ne, QUERY)?])?]);
    // Pid 1 has the same uid, which is all that the kernel asks for before it lets limits be changed. And the limit on core dumps is not
    // for the world to change: see `privilege::limit`.
    let changes_core = vec![condition(1, Op::Eq, CORE)?, is_not_null(2)?];
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![condition(0, Op::Ne, 0)?])?, rule(changes_core)?]);
    rules.insert(libc::SYS_setrlimit, values(0, &[CORE])?);
    rules.insert(libc::SYS_fcntl, values(1, WATCHING)?);
    Ok(rules)
}

/// No executable memory from anywhere but `execve`; no memory file that could be executed; threads, but no processes.
fn narrow(rules: &mut Rules) -> Result<(), SpawnError> {
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(call, vec![rule(vec![has(2, libc::PROT_EXEC)?])?]);
    }
    let sealed = u64::from(libc::MFD_NOEXEC_SEAL);
    rules.insert(libc::SYS_memfd_create, vec![rule(vec![condition(1, Op::MaskedEq(sealed), 0)?])?]);
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    rules.entry(libc::SYS_clone).or_default().push(rule(vec![condition(0, Op::MaskedEq(thread), 0)?])?);
    Ok(())
}

/// All bits of the flag are set in the argument.
fn has(argument: u8, flag: i32) -> Result<Condition, SpawnError> {
    let flag = u64::from(flag.cast_unsigned());
    condition(argument, Op::MaskedEq(flag), flag)
}

const NEW_NAMESPACES: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];
/// A program that runs as its file's owner or group, whoever starts it. Nothing does inside, but the file may be one of the host's, and somebody
/// there may start it.
const BORROWED: &[i32] = &[libc::S_ISUID as i32, libc::S_ISGID as i32];
const FAST_OPEN: &[i32] = &[libc::MSG_FASTOPEN];
/// Typing into a terminal, or taking one over, on behalf of whoever looks at it.
const TERMINAL_INPUT: &[u64] = &[libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSCTTY];
/// A lease has everybody else's `open` or `execve` of a file wait (45 s by default), the launcher's too; a notification tells of others'
/// work in a shared directory, as inotify would.
const WATCHING: &[u64] = &[libc::F_SETLEASE as u64, libc::F_NOTIFY as u64];
/// The limit on core dumps (`getrlimit(2)`).
const CORE: u64 = libc::RLIMIT_CORE as u64;
/// The argument of `personality` that changes nothing.
const QUERY: u64 = 0xffff_ffff;

/// One rule per flag: any of them set in the argument matches.
fn bits(argument: u8, flags: &[i32]) -> Result<Vec<SeccompRule>, SpawnError> {
    flags.iter().map(|&flag| rule(vec![has(argument, flag)?])).collect()
}

fn values(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, SpawnError> {
    values.iter().map(|&value| rule(vec![condition(argument, Op::Eq, value)?])).collect()
}

/// A connected pair of stream or seqpacket sockets leads nowhere but to its other end, and event loops (asyncio, libuv) need one.
/// Every other family and type is refused: an unconnected datagram socket could send to a path.
fn pairs() -> Result<Vec<SeccompRule>, SpawnError> {
    const TYPE: u64 = 0xf;
    let other_family = rule(vec![condition(0, Op::Ne, libc::AF_UNIX as u64)?])?;
    let connected = [libc::SOCK_STREAM as u64, libc::SOCK_SEQPACKET as u64];
    let other_types = (0..=TYPE).filter(|kind| !connected.contains(kind));
    let refused = other_types.map(|kind| rule(vec![condition(1, Op::MaskedEq(TYPE), kind)?]));
    std::iter::once(Ok(other_family)).chain(refused).collect()
}

/// Opening with such a mode, where the mode counts: without `O_CREAT` or `O_TMPFILE` it is whatever the register held.
fn creations(flags: u8, mode: u8) -> Result<Vec<SeccompRule>, SpawnError> {
    const TEMPORARY: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;
    let pairs = [libc::O_CREAT, TEMPORARY].into_iter().flat_map(|flag| BORROWED.iter().map(move |&bit| (flag, bit)));
    pairs.map(|(flag, bit)| rule(vec![has(flags, flag)?, has(mode, bit)?])).collect()
}

/// File types that are devices.
fn kinds(argument: u8) -> Result<Vec<SeccompRule>, SpawnError> {
    let mask = Op::MaskedEq(u64::from(libc::S_IFMT));
    let devices = [libc::S_IFCHR, libc::S_IFBLK];
    devices.iter().map(|&kind| rule(vec![condition(argument, mask.clone(), u64::from(kind))?])).collect()
}

/// An address is there. All 64 bits of it count: half of one may be zero.
fn is_not_null(argument: u8) -> Result<Condition, SpawnError> {
    Condition::new(argument, Qword, Op::Ne, 0).map_err(|error| refused(Step::Seccomp, error))
}

fn condition(argument: u8, op: Op, value: u64) -> Result<Condition, SpawnError> {
    Condition::new(argument, Dword, op, value).map_err(|error| refused(Step::Seccomp, error))
}

fn rule(conditions: Vec<Condition>) -> Result<SeccompRule, SpawnError> {
    SeccompRule::new(conditions).map_err(|error| refused(Step::Seccomp, error))
}
