//! What hostile worlds do *between* two steps of the switch: memory that is another the second time it is read.

use super::hostile::Hostile;
use super::operation::Act;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Reads of hostile memory in one step of the switch: more than that, and the step has no end.
#[cfg(feature = "racing")]
const MOST_READS: u32 = 500_000;

type Prepared = (u8, Rc<RefCell<Hostile>>, Act);

/// What is prepared, in order; each waits so many reads after the one before it.
#[derive(Default)]
pub(super) struct Races(Rc<RefCell<VecDeque<Prepared>>>);

impl Races {
    pub(super) fn prepare(&mut self, hostile: Rc<RefCell<Hostile>>, after: u8, act: Act) {
        self.0.borrow_mut().push_back((after, hostile, act));
    }

    pub(super) fn forget(&mut self) {
        self.0.borrow_mut().clear();
    }

    /// Does what is prepared between the reads of `step`, as far as it comes.
    #[cfg(feature = "racing")]
    pub(super) fn during<R>(&self, step: impl FnOnce() -> R) -> R {
        let (prepared, mut reads) = (self.0.clone(), 0u32);
        let before_each_read = move || {
            reads += 1;
            assert!(reads < MOST_READS, "a step of the switch doesn't end");
            let mut prepared = prepared.borrow_mut();
            while let Some((0, hostile, act)) = prepared.front() {
                hostile.borrow_mut().act(act);
                prepared.pop_front();
            }
            if let Some((after, ..)) = prepared.front_mut() {
                *after -= 1;
            }
        };
        strait_memory::racing::during(before_each_read, step)
    }

    /// Without the hook in the memory, all of it before the step.
    #[cfg(not(feature = "racing"))]
    pub(super) fn during<R>(&self, step: impl FnOnce() -> R) -> R {
        for (_, hostile, act) in self.0.borrow_mut().drain(..) {
            hostile.borrow_mut().act(&act);
        }
        step()
    }
}
