//! Which paths of the host a world has: by its configuration, and by grants that were there when its life began.

use super::resource::HostPath;
use super::{Line, Policy, Resource, Verdict};
use crate::config::World;

/// The paths of a policy. Without a grant's number one is there for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths(Vec<(Option<u64>, HostPath)>);

impl Paths {
    /// A path that leads upwards is there, and no answer to a question: what it covers can't be told from its text.
    pub(super) fn of_world(world: &World) -> Self {
        let (read, write) = (world.read.iter().map(|text| (text, false)), world.write.iter().map(|text| (text, true)));
        let plain = read.chain(write).filter_map(|(text, is_writable)| HostPath::new(text, is_writable).ok());
        Self(plain.map(|path| (None, path)).collect())
    }

    pub(super) fn grant(&mut self, number: u64, path: HostPath) {
        self.0.push((Some(number), path));
    }

    pub(super) fn revoke(&mut self, number: u64) {
        self.0.retain(|(grant, _)| *grant != Some(number));
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.iter().map(line)
    }

    /// The line, or grant, by which a path is there. Of those that lie on the way to its place inside the deepest one decides, as it does in the
    /// jail: what is attached there hides what is above.
    pub(super) fn line(&self, asked: &HostPath) -> Option<Line> {
        let on_the_way = self.0.iter().filter(|(_, path)| asked.target.starts_with(&path.target));
        let deepest = on_the_way.max_by_key(|(_, path)| path.target.components().count());
        deepest.filter(|(_, path)| path.covers(asked)).map(line)
    }
}

fn line((grant, path): &(Option<u64>, HostPath)) -> Line {
    match grant {
        Some(number) => Line::Grant { number: *number, what: path.to_string() },
        None => Line::Key { key: path.key(), value: path.text().into() },
    }
}

impl Policy {
    /// Whether a path of the host is there.
    pub(super) fn path(&self, asked: &HostPath) -> Verdict {
        let missing = || self.missing(asked.key(), asked.text(), &Resource::Path(asked.clone()));
        self.paths.line(asked).ok_or_else(missing)
    }
}
