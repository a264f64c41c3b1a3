//! What the runner has prepared for an attempt, and where the probe finds it.

use crate::call;
use crate::outcome::Outcome;
use crate::world::Slices;

/// The places and processes that attempts are made on. On the command line each is a word `key=value`.
#[derive(Debug, Default)]
pub struct Ground {
    /// A directory that is granted read-only. Below it lie `file`, `idle` (a program that doesn't run), `setuid` and `capable` (programs
    /// that would gain by being run), `stream` and `datagram` (sockets of a process outside).
    pub ro: String,
    /// A directory that is granted read-write, with `file` in it, which its user owns.
    pub rw: String,
    /// The path outside of the directory around both, with a file `secret` in it.
    pub outside: String,
    /// A process outside, with the same kernel uid, that nobody needs: it holds a memory file as its standard input.
    pub victim: i32,
    /// An abstract socket name that a process outside listens on.
    pub abstract_name: String,
    /// Whether descriptor 3 is the connection to a broker.
    pub has_broker: bool,
    /// The descriptors that were open when the program began.
    pub inherited: Vec<i32>,
    /// The slices, for the rows that are about them.
    pub slices: Option<Slices>,
}

impl Ground {
    /// Reads the words of a command line; an unknown one is ignored.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ground = Self::default();
        for (key, value) in words.into_iter().filter_map(|word| word.split_once('=')) {
            match key {
                "ro" => ground.ro = value.into(),
                "rw" => ground.rw = value.into(),
                "outside" => ground.outside = value.into(),
                "victim" => ground.victim = value.parse().unwrap_or(0),
                "abstract" => ground.abstract_name = value.into(),
                "broker" => ground.has_broker = value == "yes",
                _ => {}
            }
        }
        ground
    }

    /// The words that [`read`](Self::read) understands.
    pub fn words(&self) -> Vec<String> {
        vec![
            format!("ro={}", self.ro),
            format!("rw={}", self.rw),
            format!("outside={}", self.outside),
            format!("victim={}", self.victim),
            format!("abstract={}", self.abstract_name),
            format!("broker={}", if self.has_broker { "yes" } else { "no" }),
        ]
    }

    /// A path below the read-only directory.
    pub fn in_ro(&self, name: &str) -> String {
        format!("{}/{name}", self.ro)
    }

    /// A path below the read-write directory.
    pub fn in_rw(&self, name: &str) -> String {
        format!("{}/{name}", self.rw)
    }

    /// A file of the victim's directory in `/proc`, by the pid that it has outside.
    pub fn of_victim(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.victim)
    }

    /// Takes the slices that the broker gives to this world; without a broker, memory files of the same kind without any seal.
    pub fn take_slices(&mut self) -> Result<(), Outcome> {
        self.slices = Some(if self.has_broker { Slices::receive()? } else { Slices::unsealed()? });
        Ok(())
    }

    /// Looks which descriptors are open: to be done before any is opened.
    pub fn note_descriptors(&mut self) {
        let is_open = |fd: &i32| call!(libc::SYS_fcntl, *fd, libc::F_GETFD).is_ok();
        self.inherited = (0..1024).filter(is_open).collect();
    }

    /// The slices, once they are taken.
    pub fn slices(&self) -> Result<&Slices, Outcome> {
        self.slices.as_ref().ok_or(Outcome::Word("no-slices"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        let ground = Ground { ro: "/ro".into(), victim: 7, has_broker: true, ..Ground::default() };
        let words = ground.words();
        assert_eq!(Ground::read(words.iter().map(String::as_str)).words(), words);
    }
}
