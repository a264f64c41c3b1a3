//! A seccomp program that looks the system call's number up by bisection.
//!
//! The kernel runs a new filter once for every number there is, to learn which are always allowed. A chain of comparisons, one per
//! number, as the usual compilers make it, took 1.2 ms of every start of a jail that way (1,245 and 452 instructions); bisection over runs of
//! equal verdicts takes a tenth. What depends on arguments stays with the compiler: calls of which some are refused go on to its program, which
//! is put behind the table. One filter and not two, because a filter costs 0.1 ms of every start, whatever is in it.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction as Action, sock_filter};

use crate::error::{SpawnError, Step, refused};

/// `AUDIT_ARCH_*` of `linux/audit.h`: which of the processor's system call tables a number belongs to.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCH: u32 = 0xc000_00f3;

/// Where `struct seccomp_data` (`seccomp(2)`) holds the number and the architecture.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What becomes of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This, whatever the arguments.
    Final(Action),
    /// What the program behind the table says.
    GoOn,
}

/// Compiles a table. A call of a foreign architecture kills the process; a number that isn't in the table gets `otherwise`. Behind the table comes
/// `arguments`, a whole program by itself.
pub fn compile(
    table: &BTreeMap<u32, Verdict>,
    otherwise: &Action,
    arguments: &BpfProgram,
) -> Result<BpfProgram, SpawnError> {
    let mut program = vec![
        instruction(LOAD, 0, 0, ARCH_AT),
        instruction(JUMP_IF_EQUAL, 1, 0, ARCH),
        instruction(RETURN, 0, 0, Action::KillProcess.into()),
        instruction(LOAD, 0, 0, NUMBER_AT),
    ];
    program.extend(bisect(&runs(table, otherwise))?);
    // How far it is to the other program is known only now.
    let end = program.len();
    for (at, step) in program.iter_mut().enumerate().filter(|(_, step)| step.code == JUMP) {
        step.k = (end - at - 1) as u32;
    }
    program.extend_from_slice(arguments);
    Ok(program)
}

/// A run of numbers with the same verdict, which lasts until the next run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    verdict: Verdict,
}

/// The whole range of numbers, cut where the verdict changes. Never empty.
fn runs(table: &BTreeMap<u32, Verdict>, otherwise: &Action) -> Vec<Run> {
    let otherwise = Verdict::Final(otherwise.clone());
    let mut cuts = vec![Run { first: 0, verdict: otherwise.clone() }];
    for (&number, verdict) in table {
        // The next number falls back, unless its own entry, which comes then, says otherwise. None is near the end of the range.
        for cut in
            [Run { first: number, verdict: verdict.clone() }, Run { first: number + 1, verdict: otherwise.clone() }]
        {
            if cuts.last().is_some_and(|last| last.first == cut.first) {
                cuts.pop();
            }
            cuts.push(cut);
        }
    }
    cuts.dedup_by(|later, earlier| later.verdict == earlier.verdict);
    cuts
}

/// One comparison halves the runs: at least the middle one's first number jumps over the lower half.
fn bisect(runs: &[Run]) -> Result<BpfProgram, SpawnError> {
    if let [only] = runs {
        return Ok(vec![match &only.verdict {
            Verdict::Final(action) => instruction(RETURN, 0, 0, action.clone().into()),
            Verdict::GoOn => instruction(JUMP, 0, 0, 0),
        }]);
    }
    let (lower, upper) = runs.split_at(runs.len() / 2);
    let (below, above) = (bisect(lower)?, bisect(upper)?);
    let over = u8::try_from(below.len()).map_err(|_| refused(Step::Seccomp, "the list has more than 128 gaps"))?;
    let choice = instruction(JUMP_IF_AT_LEAST, over, 0, upper[0].first);
    Ok([vec![choice], below, above].concat())
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls::{ALLOWED, ALLOWED_HERE, REFUSED};

    /// What the kernel does with the four instructions that are used here.
    fn run(program: &BpfProgram, arch: u32, number: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = &program[at];
            let taken = match step.code {
                LOAD => {
                    value = if step.k == ARCH_AT { arch } else { number };
                    0
                }
                JUMP_IF_EQUAL => u32::from(if value == step.k { step.jt } else { step.jf }),
                JUMP_IF_AT_LEAST => u32::from(if value >= step.k { step.jt } else { step.jf }),
                JUMP => step.k,
                RETURN => return step.k,
                other => panic!("instruction {other:#x}"),
            };
            at += 1 + taken as usize;
        }
    }

    fn always(action: Action) -> Verdict {
        Verdict::Final(action)
    }

    #[test]
    fn every_number_gets_its_verdict() {
        let mut table = BTreeMap::new();
        table.extend(ALLOWED.iter().chain(ALLOWED_HERE).map(|&number| (number as u32, always(Action::Allow))));
        table.extend(REFUSED.iter().map(|&number| (number as u32, always(Action::Errno(1)))));
        let otherwise = Action::Errno(38);
        let program = compile(&table, &otherwise, &Vec::new()).expect("compiles");
        assert!(program.len() < 500, "{}", program.len());
        let x32 = 0x4000_0000..0x4000_0400;
        for number in (0..2000).chain(x32).chain([u32::MAX - 1, u32::MAX]) {
            let expected = match table.get(&number) {
                Some(Verdict::Final(action)) => action.clone(),
                _ => otherwise.clone(),
            };
            assert_eq!(run(&program, ARCH, number), u32::from(expected), "{number}");
            assert_eq!(run(&program, 0x4000_0003, number), u32::from(Action::KillProcess), "32 bits");
        }
    }

    #[test]
    fn what_depends_on_arguments_goes_on_and_nothing_else_does() {
        let mut table: BTreeMap<u32, Verdict> = (0..300).map(|number| (number, always(Action::Allow))).collect();
        let go_on = [0, 41, 42, 299];
        table.extend(go_on.map(|number| (number, Verdict::GoOn)));
        let second = vec![instruction(RETURN, 0, 0, Action::Errno(7).into())];
        let program = compile(&table, &Action::Errno(38), &second).expect("compiles");
        for number in 0..400 {
            let expected = match number {
                number if go_on.contains(&number) => Action::Errno(7),
                0..300 => Action::Allow,
                _ => Action::Errno(38),
            };
            assert_eq!(run(&program, ARCH, number), u32::from(expected), "{number}");
        }
    }

    #[test]
    fn edges() {
        let kill = u32::from(Action::KillProcess);
        let allow = || always(Action::Allow);
        let compile = |table: &BTreeMap<u32, Verdict>| compile(table, &Action::KillProcess, &Vec::new());
        let empty = compile(&BTreeMap::new()).expect("compiles");
        assert_eq!(run(&empty, ARCH, 0), kill);
        let zero = compile(&BTreeMap::from([(0, allow()), (1, allow())])).expect("compiles");
        let allowed = u32::from(Action::Allow);
        assert_eq!([0, 1, 2].map(|number| run(&zero, ARCH, number)), [allowed, allowed, kill]);
        let scattered = (0..1000).map(|number| (number * 2, allow())).collect();
        assert!(compile(&scattered).is_err(), "a jump that doesn't fit is an error, not a wrong jump");
    }
}
