//! Two honest worlds in conversation, beside whatever a test does.

use crate::{LONG, Stage};
use std::time::Instant;
use strait_broker::WorldId;

/// They are named `echo` and `talker`; anybody may be allowed to send to `echo`.
pub struct Pair {
    talker: WorldId,
}

impl Pair {
    pub fn on(stage: &mut Stage) -> Self {
        stage.add("echo", &["echo"], &["talker"]);
        Self { talker: stage.add("talker", &["talker", "echo"], &["echo"]) }
    }

    /// How many round trips they have made, all of them right: else the talker would have ended.
    pub fn round_trips(&self, stage: &mut Stage) -> u64 {
        let answer = stage.ask(self.talker, b"how many?");
        String::from_utf8(answer).expect("a number").parse().expect("a number")
    }

    pub fn assert_undisturbed(&self, stage: &mut Stage) {
        let before = self.round_trips(stage);
        let end = Instant::now() + LONG;
        while self.round_trips(stage) < before + 100 {
            assert!(Instant::now() < end, "the honest worlds have stopped talking");
        }
    }
}
