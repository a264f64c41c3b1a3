//! Which experiments, and what came of them.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::exceptions::{self, Exception};
use crate::experiment::Bench;
use crate::subject::Kind;
use crate::tracer::{Call, Role};

/// What calls fail with. The first is what a kernel says that refuses; the others are those that code is tempted to take for an answer.
const ERRNOS: [i32; 6] = [libc::EPERM, libc::ENOENT, libc::EEXIST, libc::EINTR, libc::ENOMEM, libc::EAGAIN];

/// What came of one experiment.
type Result = std::result::Result<(), String>;

/// Which of all experiments are made.
struct Sample {
    /// One in so many.
    of: usize,
    from: usize,
}

impl Sample {
    fn new() -> Sample {
        let wanted = std::env::var("STRAIT_FAULTS").ok();
        if wanted.as_deref() == Some("all") {
            return Sample { of: 1, from: 0 };
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as usize);
        Sample { of: PART, from: wanted.and_then(|part| part.parse().ok()).unwrap_or(now) % PART }
    }

    /// Round robin, beginning at another one for each `turn`.
    fn pick<T: Copy>(&self, all: &[T], turn: usize) -> impl Iterator<Item = T> {
        all.iter().copied().skip((self.from + turn) % self.of).step_by(self.of)
    }
}

/// What is tried unless everything is: so many calls with each error, and as many deaths.
const PART: usize = 12;

/// Everything, and one line of counts.
pub fn run() -> ExitCode {
    let sample = Sample::new();
    let results: Vec<Result> =
        [Kind::Program, Kind::Clone].into_iter().flat_map(|kind| try_all(kind, &sample)).collect();
    let wrong: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    wrong.iter().for_each(|why| println!("FAIL  {why}"));
    println!("{} passed, {} failed, 0 skipped", results.len() - wrong.len(), wrong.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_all(kind: Kind, sample: &Sample) -> Vec<Result> {
    let (mut calls, _) = Bench::new(kind).watch();
    if kind == Kind::Clone {
        // The others' are those that they make for a program, but for a few.
        calls.retain(|call| matches!(call.role, Role::Payload | Role::Restorer));
    }
    let is_real = |call: &Call| !exceptions::of(call.role, call.name()).any(|one| one == Exception::Infallible);
    let fallible: Vec<Call> = calls.iter().copied().filter(is_real).collect();
    let (all, some) = (calls.len(), fallible.len());
    let Sample { of, from } = sample;
    println!("{kind:?}: {all} calls, {some} of which can fail; one in {of} is tried (STRAIT_FAULTS={from})");
    let mut results = fail_each(kind, sample, &fallible);
    results.push(Bench::new(kind).hold());
    results.extend(sample.pick(&calls, 0).map(|call| Bench::new(kind).kill(call)));
    results
}

fn fail_each(kind: Kind, sample: &Sample, calls: &[Call]) -> Vec<Result> {
    let mut bench = Bench::new(kind);
    let (_, clean) = bench.watch();
    let mut results = Vec::new();
    for (turn, errno) in ERRNOS.into_iter().enumerate() {
        for call in sample.pick(calls, turn) {
            let (judged, lives) = bench.fail(call, errno, &clean);
            results.push(judged);
            if !lives {
                bench = Bench::new(kind);
            }
        }
    }
    results
}
