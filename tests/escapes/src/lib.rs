//! What a rogue world tries: rows 1 to 60 of the list of escapes, each as a few attempts that a program makes from inside.
//!
//! The table [`ROWS`] is the one place where an attempt is named, made, and given the outcomes that are expected of it. Two programs use
//! it: `strait-escape-probe` makes the attempts of one row and prints what came of each, wherever it is started: in our jail, in
//! somebody else's, or in none. The runner (`escapes`, in `strait-tests`) starts it in all of them and judges.
//!
//! **To add an attempt**, write a function `fn(&Ground) -> Tried` that returns `Ok` if the attempt does its work and what stopped it
//! otherwise, and name it in its row, in the file of its group below `rows/`. It should work for an unconfined root: that is its
//! positive control, and the runner insists on it. What would harm the machine stops one step before the harm (a file is opened for writing
//! and not written) or is made in a [cage](row::Cage).
//!
//! **To make the attempts anywhere else**, in one clone of a template against another, say: build the probe without shared libraries (as
//! `cargo xtask escapes` does), grant it to a world, and run `strait-escape-probe ROW FROM UNTIL KEY=VALUE...` there. The words after the
//! numbers are those of [`Ground`]: where the two granted directories are, who the victim outside is (a process of the other clone), whether
//! descriptor 3 is a broker's. Each line that it prints is an attempt and its outcome; [`Row::held_of`] says which outcomes a jail of ours
//! may have.
//!
//! The probe is no part of the product. It stands for a third party's program, so it makes system calls by number, past every library;
//! `raw` is the one module that may.
#![deny(unsafe_code)]

pub mod ground;
pub mod outcome;
pub mod raw;
pub mod row;
mod rows;
pub mod world;

pub use ground::Ground;
pub use outcome::{Outcome, Tried};
pub use row::{Attempt, Cage, Control, Ending, Row, Where};
pub use rows::ROWS;
