//! What worlds ask for beyond their policy, and who decides.
//!
//! A world asks by [`Request::Ask`](super::Request::Ask) and waits. If a world has the role `control`, it gets a request from the control
//! service with the code [`ASKED`] and the archive of an [`Asked`], and replies with the archive of a [`Decision`]. What it leaves, or if
//! there is no such world, waits for a person. What nobody decides by the deadline is denied.

use super::Malformed;
use rkyv::{Archive, Deserialize, Serialize, rancor};

/// The `code` of a request from the control service to the world with the role `control`: its payload is an [`Asked`], the reply's a
/// [`Decision`]. Codes from here up are such, those below are [`Wanted`](super::Wanted).
pub const ASKED: u16 = 16;

/// The longest reason, in bytes of UTF-8.
pub const MAX_REASON_BYTES: usize = 512;

/// The most rows in one answer about requests or grants.
pub const MAX_GRANTS_PER_ANSWER: usize = 16;

/// Something that a world asks for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The question's number, and that of the grant if there will be one.
    pub number: u64,
    /// Who asks, by the kernel's word: its id.
    pub id: u64,
    /// And its name.
    pub name: String,
    /// What it asks for, as `ask` in a configuration has it.
    pub resource: String,
    /// What for: its own words.
    pub reason: String,
    /// How long it waits from now on, in milliseconds.
    pub left_ms: u32,
}

/// What becomes of it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is granted, for so many milliseconds; without a time, until it is revoked.
    Grant {
        /// For how long.
        for_ms: Option<u32>,
    },
    /// It is denied.
    Deny {
        /// Why, for the asker to read.
        why: String,
    },
    /// Somebody else is to decide: a person.
    Leave,
}

/// Something that was granted.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its number. 0: no grant was needed, policy allows it.
    pub number: u64,
    /// To whom: the id.
    pub id: u64,
    /// And the name.
    pub name: String,
    /// What.
    pub resource: String,
    /// For how long from now on, in milliseconds. Without a time, until it is revoked.
    pub left_ms: Option<u32>,
    /// By whom. Where no grant was needed: by which line of the policy.
    pub by: String,
    /// It takes effect when its world begins its next life: a path of the host can't be added to a jail that stands.
    pub from_next_start: bool,
}

archived!(Asked);
archived!(Decision);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn questions_and_decisions_survive_the_wire() {
        let asked = Asked {
            number: 7,
            id: 16,
            name: "loader".into(),
            resource: "send db/*".into(),
            reason: "to load".into(),
            left_ms: 500,
        };
        assert_eq!(Asked::decode(&asked.encode()), Ok(asked));
        for decision in [Decision::Grant { for_ms: Some(5) }, Decision::Deny { why: "no".into() }, Decision::Leave] {
            assert_eq!(Decision::decode(&decision.encode()), Ok(decision));
        }
        assert!(Decision::decode(b"grant").is_err());
    }
}
