//! The seats that wait: for a plan, and for a task.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::outlook::Outlook;
use crate::seat::Seat;
use crate::shape::{Shape, View};

/// Shapes that are remembered.
const MAX_SHAPES: usize = 8;
/// The largest image that jails are filled from ahead of time: each holds a copy of it.
const MAX_AHEAD_BYTES: u64 = 32 << 20;

/// What seats differ in from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// A share of the processor of its own, as a limit needs it.
    pub own_cpu: bool,
    /// The host's programs and libraries.
    pub system: bool,
}

impl Kind {
    pub fn of(shape: &Shape) -> Kind {
        Kind { own_cpu: shape.limits.cpu_permille.is_some(), system: shape.system }
    }
}

/// The seats of one kind that wait for a plan.
#[derive(Debug)]
struct Row {
    kind: Kind,
    seats: VecDeque<Seat>,
}

/// A jail that was asked for, and those like it that wait for a task.
#[derive(Debug)]
pub struct Series {
    pub shape: Shape,
    pub rendezvous: Option<OwnedFd>,
    /// What its jails are filled from before anybody asks for one.
    pub image: Option<Image>,
    /// It was asked for again.
    is_usual: bool,
    /// What its jails show of the host.
    view: View,
    pub jails: VecDeque<Seat>,
}

impl Series {
    fn is_of(&self, shape: &Shape, rendezvous: Option<&OwnedFd>, image: Option<&Image>) -> bool {
        let content = |image: Option<&Image>| identity(image.map(|image| &image.content));
        self.shape == *shape
            && identity(self.rendezvous.as_ref()) == identity(rendezvous)
            && content(self.image.as_ref()) == content(image)
    }

    /// Whether it is worth making more of it.
    fn is_sound(&self) -> bool {
        self.is_usual && self.view.iter().all(Option::is_some)
    }

    /// Looks at the host, and gives up what was made when that looked otherwise.
    pub fn look(&mut self) -> VecDeque<Seat> {
        let view = self.shape.view();
        match view == self.view {
            true => VecDeque::new(),
            false => {
                self.view = view;
                std::mem::take(&mut self.jails)
            }
        }
    }
}

/// The socket or the file that it is, by device and inode: nothing else has these while it is held.
fn identity(file: Option<&OwnedFd>) -> Option<(u64, u64)> {
    file.and_then(|file| rustix::fs::fstat(file).ok()).map(|stat| (stat.st_dev, stat.st_ino))
}

/// What a payload is restored from.
#[derive(Debug)]
pub struct Image {
    pub restorer: OwnedFd,
    pub content: OwnedFd,
}

impl Image {
    fn is_light(&self) -> bool {
        rustix::fs::fstat(&self.content)
            .is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size <= MAX_AHEAD_BYTES))
    }

    fn try_clone(&self) -> Option<Image> {
        Some(Image { restorer: self.restorer.try_clone().ok()?, content: self.content.try_clone().ok()? })
    }
}

/// What is lacking.
#[derive(Clone, Copy, Debug)]
pub enum Lack {
    /// A jail of the series at this index.
    Jail(usize),
    Seat(Kind),
}

/// Seats of every kind that was ever asked for, and of the usual one; and jails of the shapes that were asked for twice of late.
#[derive(Debug)]
pub struct Pool {
    /// Of each kind, and of each shape.
    size: usize,
    rows: Vec<Row>,
    /// The last that was asked for first.
    pub series: VecDeque<Series>,
    outlook: Outlook,
    /// Were taken out and are to be ended.
    pub outdated: Vec<Seat>,
}

impl Pool {
    /// With so many of each.
    pub fn new(size: usize) -> Pool {
        let rows = vec![Row { kind: Kind { own_cpu: false, system: true }, seats: VecDeque::new() }];
        Pool { size, rows, series: VecDeque::new(), outlook: Outlook::new(), outdated: Vec::new() }
    }

    /// What to make next; jails only where there is a uid for one.
    pub fn lack(&self, has_uid: bool) -> Option<Lack> {
        let lacks = |series: &Series| has_uid && series.is_sound() && series.jails.len() < self.size;
        let jail = self.series.iter().position(lacks).map(Lack::Jail);
        let row = || self.rows.iter().find(|row| row.seats.len() < self.size).map(|row| Lack::Seat(row.kind));
        jail.or_else(row)
    }

    pub fn put_seat(&mut self, kind: Kind, seat: Seat) {
        self.of(kind).push_back(seat);
    }

    pub fn take_seat(&mut self, kind: Kind) -> Option<Seat> {
        self.of(kind).pop_front()
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<Seat> {
        let at = self.rows.iter().position(|row| row.kind == kind).unwrap_or_else(|| {
            self.rows.push(Row { kind, seats: VecDeque::new() });
            self.rows.len() - 1
        });
        &mut self.rows[at].seats
    }

    /// One that waits for its task, of the series that was asked for last.
    pub fn take_jail(&mut self) -> Option<Seat> {
        let series = self.series.front_mut()?;
        self.outdated.extend(series.look());
        if series.is_sound() { series.jails.pop_front() } else { None }
    }

    /// Has its series be the last that was asked for; where no jails wait there are none. A heavy image isn't kept: a jail that isn't filled is the same for any program and any image.
    pub fn remember(&mut self, shape: &Shape, rendezvous: Option<&OwnedFd>, image: Option<&Image>) {
        if self.size == 0 {
            return;
        }
        let image = image.filter(|image| image.is_light());
        let known = self.series.iter().position(|series| series.is_of(shape, rendezvous, image));
        let series = match known.and_then(|at| self.series.remove(at)) {
            Some(series) => Series { is_usual: true, ..series },
            None => Series {
                shape: shape.clone(),
                rendezvous: rendezvous.and_then(|inode| inode.try_clone().ok()),
                image: image.and_then(Image::try_clone),
                is_usual: false,
                view: View::new(),
                jails: VecDeque::new(),
            },
        };
        self.series.push_front(series);
        let forgotten = self.series.drain(self.series.len().min(MAX_SHAPES)..);
        self.outdated.extend(forgotten.flat_map(|series| series.jails));
    }

    /// Takes out what shows a host that isn't any more. Of one who asks for a jail without the system, its files are no concern.
    pub fn look_out(&mut self, system: bool) {
        if self.outlook.has_changed(system) {
            self.clear();
        }
    }

    /// Forgets a series; with `None` all of them.
    pub fn forget(&mut self, at: Option<usize>) {
        let range = at.map_or(0..self.series.len(), |at| at..at + 1);
        self.outdated.extend(self.series.drain(range).flat_map(|series| series.jails));
    }

    /// Takes out everything.
    pub fn clear(&mut self) {
        self.outdated.extend(self.series.iter_mut().flat_map(|series| std::mem::take(&mut series.jails)));
        self.outdated.extend(self.rows.iter_mut().flat_map(|row| std::mem::take(&mut row.seats)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn image(bytes: u64) -> Image {
        let [restorer, content] = [0, bytes].map(|bytes| {
            let file = memfd_create("image", MemfdFlags::CLOEXEC).expect("memfd_create");
            ftruncate(&file, bytes).expect("ftruncate");
            file
        });
        Image { restorer, content }
    }

    #[test]
    fn only_what_jails_are_filled_from_is_kept() {
        let (mut pool, shape) = (Pool::new(2), Shape::of(&Spec::new("image", "")));
        let (light, heavy, other) = (image(MAX_AHEAD_BYTES), image(MAX_AHEAD_BYTES + 1), image(1 << 30));
        pool.remember(&shape, None, Some(&light));
        let kept = pool.series[0].image.as_ref().expect("the light one");
        assert_eq!(identity(Some(&kept.content)), identity(Some(&light.content)));
        pool.remember(&shape, None, Some(&heavy));
        assert!(pool.series.len() == 2 && pool.series[0].image.is_none() && !pool.series[0].is_usual);
        // The same jails, whatever they are filled from in the end, or started with.
        pool.remember(&shape, None, Some(&other));
        pool.remember(&shape, None, None);
        assert!(pool.series.len() == 2 && pool.series[0].is_usual && !pool.series[1].is_usual);
        pool.forget(None);
        assert!(pool.series.is_empty());
        let mut none = Pool::new(0);
        none.remember(&shape, None, Some(&light));
        assert!(none.series.is_empty(), "where nothing waits");
    }
}
