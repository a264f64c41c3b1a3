//! The escape suite: the attempts of `strait-escapes` in our jail, in others, and in none; judged, and written down side by side.

mod clones;
mod endings;
mod judge;
mod page;
mod place;
mod surroundings;

pub use clones::attack_a_clone;
pub use judge::{Judgement, Verdict, judge};
pub use page::{Column, page};
pub use place::{Place, Programs};
pub use surroundings::{Kind, Surroundings};
