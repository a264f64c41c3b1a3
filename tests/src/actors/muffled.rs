//! A host program whose standard error nobody reads: it starts worlds that give its broker something to say, and sees whether that goes on.

use super::Outcome;
use std::time::Duration;
use strait_broker::{Config, Host};
use strait_tests::attack::Attack;
use strait_tests::{LONG, actor};

pub fn run() -> Outcome<()> {
    let mut host = Host::start(&Config::default())?;
    for n in 0..4 {
        let rogue = host.spawn(&format!("rogue-{n}"), &actor(&["rogue"], &[]))?;
        let order = serde_json::to_vec(&Attack::Produced { cursor: 1 << 40 })?;
        host.client().start_request(rogue, &order, LONG)?;
        let ended = host.client().wait(rogue, Some(Duration::from_secs(20)))?;
        if !ended.note.contains("quarantined") {
            return Err(format!("{ended:?}").into());
        }
    }
    Ok(())
}
