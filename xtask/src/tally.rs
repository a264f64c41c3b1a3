//! Adds up what test runners say at their end.

use std::fmt;

#[derive(Debug, Default)]
pub struct Tally {
    suites: Vec<Suite>,
    skips: Vec<String>,
}

#[derive(Debug)]
struct Suite {
    name: String,
    passed: u64,
    failed: u64,
    skipped: u64,
    seconds: f64,
}

impl Tally {
    /// Takes in the output of a suite, whether its runner was content, and how long it took.
    pub fn add(&mut self, name: &str, output: &str, succeeded: bool, seconds: f64) {
        let mut suite = Suite { name: name.into(), passed: 0, failed: 0, skipped: 0, seconds };
        for line in output.lines() {
            if let Some(counts) = line.trim().strip_prefix("test result: ").or(plain(line)) {
                suite.passed += number_before(counts, "passed");
                suite.failed += number_before(counts, "failed");
                suite.skipped += number_before(counts, "skipped") + number_before(counts, "ignored");
            }
            if let Some(why) = line.trim().strip_prefix("skipped: ") {
                self.skips.push(format!("{name}: {why}"));
            }
        }
        if !succeeded && suite.failed == 0 {
            // It didn't build, or died before it could count.
            suite.failed = 1;
        }
        self.suites.push(suite);
    }

    /// Takes in what either holds or doesn't.
    pub fn check(&mut self, name: &str, holds: bool, seconds: f64) {
        let (passed, failed) = (u64::from(holds), u64::from(!holds));
        self.suites.push(Suite { name: name.into(), passed, failed, skipped: 0, seconds });
    }

    /// A whole suite that can't be run here.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.suites.push(Suite { name: name.into(), passed: 0, failed: 0, skipped: 1, seconds: 0.0 });
        self.skips.push(format!("{name}: {why}"));
    }

    /// Takes in what another one counted.
    pub fn join(&mut self, other: Tally) {
        self.suites.extend(other.suites);
        self.skips.extend(other.skips);
    }

    pub fn failed(&self) -> u64 {
        self.suites.iter().map(|suite| suite.failed).sum()
    }
}

/// The closing line of a runner of our own: `N passed, N failed, N skipped`.
fn plain(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_count =
        line.split(", ").all(|part| part.split_once(' ').is_some_and(|(number, _)| number.parse::<u64>().is_ok()));
    (is_count && line.contains(" passed")).then_some(line)
}

fn number_before(text: &str, word: &str) -> u64 {
    let end = text.find(word).unwrap_or(0);
    text[..end].split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Suite) -> u64| self.suites.iter().map(of).sum::<u64>();
        writeln!(f, "\n{:<42} {:>7} {:>7} {:>7} {:>8}", "suite", "passed", "failed", "skipped", "seconds")?;
        // Many a program has no tests of its own.
        for suite in self.suites.iter().filter(|suite| suite.passed + suite.failed + suite.skipped > 0) {
            let Suite { name, passed, failed, skipped, seconds } = suite;
            writeln!(f, "{name:<42} {passed:>7} {failed:>7} {skipped:>7} {seconds:>8.1}")?;
        }
        for why in &self.skips {
            writeln!(f, "skipped: {why}")?;
        }
        writeln!(f, "{} passed, {} failed, {} skipped", sum(|s| s.passed), sum(|s| s.failed), sum(|s| s.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runners_are_understood() {
        let mut tally = Tally::default();
        let cargo = "test result: ok. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        tally.add("a", &format!("{cargo}\n24 passed, 0 failed, 1 skipped\nskipped: no reason\n"), false, 1.0);
        let mut other = Tally::default();
        other.add("b", "error: could not compile", false, 0.1);
        other.add("empty", "test result: ok. 0 passed; 0 failed; 0 ignored", true, 0.1);
        tally.join(other);
        let text = tally.to_string();
        assert!(!text.contains("empty"), "{text}");
        assert!(text.ends_with("skipped: a: no reason\n27 passed, 2 failed, 3 skipped\n"), "{text}");
    }
}
