//! Parts of a test run that go on side by side.

use crate::tally::Tally;
use std::thread;

pub type Part<'a> = &'a (dyn Fn(&mut Tally) -> Result<(), String> + Sync);

/// Each part on a thread of its own; what they count together. One that can't go on has failed, and the others go on.
pub fn side_by_side<const N: usize>(parts: [Part; N]) -> Tally {
    let mut all = Tally::default();
    thread::scope(|scope| {
        let threads = parts.map(|part| scope.spawn(|| count(part)));
        for thread in threads {
            all.join(thread.join().expect("a part that doesn't panic"));
        }
    });
    all
}

fn count(part: Part) -> Tally {
    let mut tally = Tally::default();
    if let Err(why) = part(&mut tally) {
        tally.check(&why, false, 0.0);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_cant_go_on_has_failed_and_the_others_count() {
        let tally = side_by_side([
            &|tally| {
                tally.check("first", true, 0.0);
                Err("no such thing".into())
            },
            &|tally| {
                tally.check("second", true, 0.0);
                Ok(())
            },
        ]);
        assert_eq!(tally.failed(), 1);
        assert!(tally.to_string().ends_with("2 passed, 1 failed, 0 skipped\n"), "{tally}");
    }
}
