//! The index of an image as bytes: 64-bit words, little endian, then names.
//!
//! ```text
//! words 0..32   head: magic, version, bytes of index and image, entry, stack, pid, the kernel's pages, counts
//! 6 per area    start, bytes, protection, kind, file, offset
//! 6 per file    inode, bytes, seconds, nanoseconds, where its path is among the names, how long that is
//! names         paths, each with a NUL
//! ```

use crate::{
    Area, Fault, HOME, MAX_AREAS, MAX_FILES, MAX_INDEX_BYTES, MAX_PATH_BYTES, MappedFile, PAGE, PAGES_AT, Protection,
    Range, Source, USER,
};

/// Bytes of the head.
pub const HEADER_BYTES: usize = HEAD_WORDS * 8;
/// The most pieces that the kernel's own pages (vvar, vvar_vclock, vdso) have.
pub const MAX_PIECES: usize = 4;

pub(crate) const HEAD_WORDS: usize = 32;
pub(crate) const ENTRY_WORDS: usize = 6;
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"straitim");
pub(crate) const VERSION: u64 = 1;

/// What an image says of the process as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the whole file.
    pub image_bytes: u64,
    /// Where a clone goes on.
    pub entry: u64,
    /// With which stack pointer.
    pub stack: u64,
    /// The process's pid in its namespace, which C libraries remember.
    pub pid: u64,
    /// Where the vdso was. The clone's is moved there, because the program remembers that too.
    pub vdso: u64,
    /// The kernel's own pages, the vdso among them; unused ones are empty.
    pub pieces: [Range; MAX_PIECES],
}

impl Head {
    /// The kernel's own pages.
    pub fn pieces(&self) -> impl Iterator<Item = Range> + '_ {
        self.pieces.iter().copied().filter(|piece| piece.bytes() > 0)
    }
}

/// How long the index is that begins with these bytes, so that it can be read whole.
pub fn declared_bytes(head: &[u8]) -> Result<usize, Fault> {
    let words = Words(head);
    if words.get(0) != Some(MAGIC) || words.get(1) != Some(VERSION) {
        return Err(Fault::Alien);
    }
    let bytes = usize::try_from(words.get(2).ok_or(Fault::Alien)?).map_err(|_| Fault::Index)?;
    if (HEADER_BYTES..=MAX_INDEX_BYTES).contains(&bytes) { Ok(bytes) } else { Err(Fault::Index) }
}

/// An index that was judged: every area is some whole user pages that belong to nobody else, and everything that it refers to is there. No page of the
/// image is used twice: what is filled from it is never more than the image has.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    head: Head,
    areas: Words<'a>,
    area_count: usize,
    files: Words<'a>,
    file_count: usize,
    names: &'a [u8],
}

impl<'a> Index<'a> {
    /// Judges the bytes of an index. `image_bytes` is the length that the file really has.
    pub fn parse(bytes: &'a [u8], image_bytes: u64) -> Result<Self, Fault> {
        let bytes = bytes.get(..declared_bytes(bytes)?).ok_or(Fault::Index)?;
        let index = Self::split(bytes).ok_or(Fault::Index)?;
        match index.head.image_bytes == image_bytes && index.is_sound() {
            true => Ok(index),
            false => Err(Fault::Index),
        }
    }

    /// What it says of the whole.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The areas, by rising address; copies right after the area that they are for.
    pub fn areas(&self) -> impl Iterator<Item = Area> + '_ {
        (0..self.area_count).map_while(|at| self.area(at))
    }

    /// The files, in the order of their numbers.
    pub fn files(&self) -> impl Iterator<Item = MappedFile<'a>> + '_ {
        (0..self.file_count).map_while(|at| self.file(at))
    }

    /// One file. Its path is followed by a NUL.
    pub fn file(&self, at: usize) -> Option<MappedFile<'a>> {
        let [inode, bytes, seconds, nanoseconds, ..] = self.file_entry(at)?;
        Some(MappedFile { path: self.path(at)?.split_last()?.1, inode, bytes, modified: (seconds, nanoseconds) })
    }

    /// The same path with its NUL, for the kernel.
    pub fn path(&self, at: usize) -> Option<&'a [u8]> {
        let [.., start, length] = self.file_entry(at)?;
        let start = usize::try_from(start).ok()?;
        let path = self.names.get(start..start.checked_add(usize::try_from(length).ok()?)?)?;
        let (nul, rest) = path.split_last()?;
        let is_path = path.len() <= MAX_PATH_BYTES && *nul == 0 && rest.first() == Some(&b'/') && !rest.contains(&0);
        is_path.then_some(path)
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let words = Words(bytes);
        let count = |at: usize, most: usize| usize::try_from(words.get(at)?).ok().filter(|count| *count <= most);
        let (area_count, file_count) = (count(16, MAX_AREAS)?, count(17, MAX_FILES)?);
        let files_at = HEADER_BYTES + area_count * ENTRY_WORDS * 8;
        let names_at = files_at + file_count * ENTRY_WORDS * 8;
        let mut pieces = [Range::default(); MAX_PIECES];
        for (at, piece) in pieces.iter_mut().enumerate() {
            *piece = Range::new(words.get(8 + 2 * at)?, words.get(9 + 2 * at)?)?;
        }
        let head = Head {
            image_bytes: words.get(3)?,
            entry: words.get(4)?,
            stack: words.get(5)?,
            pid: words.get(6)?,
            vdso: words.get(7)?,
            pieces,
        };
        let (areas, files) = (Words(bytes.get(HEADER_BYTES..files_at)?), Words(bytes.get(files_at..names_at)?));
        Some(Self { head, areas, area_count, files, file_count, names: bytes.get(names_at..)? })
    }

    fn is_sound(&self) -> bool {
        // Where the next area, and the next copy into the last one, may begin; and where in the image the next pages may.
        let (mut next, mut inside, mut unused) = (0, Range::default(), PAGES_AT);
        for at in 0..self.area_count {
            let Some(area) = self.area(at).filter(|area| self.is_area_sound(area)) else { return false };
            let is_in_place = match area.source {
                Source::Copy { .. } => inside.contains(area.range),
                _ => next <= area.range.start,
            };
            let offset = area.source.image_offset().unwrap_or(unused);
            if !is_in_place || offset < unused {
                return false;
            }
            unused = area.source.image_offset().map_or(unused, |offset| offset + area.range.bytes());
            inside = match area.source {
                Source::Copy { .. } => Range { start: area.range.end, ..inside },
                Source::Zero | Source::Stack if area.protection.write => area.range,
                _ => Range::default(),
            };
            next = next.max(area.range.end);
        }
        (0..self.file_count).all(|at| self.file(at).is_some()) && self.is_head_sound()
    }

    fn is_head_sound(&self) -> bool {
        let head = &self.head;
        let is_free = |piece: Range| {
            is_usable(piece)
                && self.areas().all(|area| !area.range.overlaps(piece))
                && head.pieces().filter(|other| other.overlaps(piece)).count() == 1
        };
        let has = |address: u64, what: fn(Protection) -> bool| {
            self.areas().any(|area| area.range.has(address) && what(area.protection))
        };
        head.pieces().all(is_free)
            && (head.vdso == 0 || head.pieces().any(|piece| piece.start == head.vdso))
            && has(head.entry, |protection| protection.execute)
            && has(head.stack, |protection| protection.read && protection.write)
    }

    fn is_area_sound(&self, area: &Area) -> bool {
        let bytes = area.range.bytes();
        let is_source_sound = match area.source {
            Source::Zero => true,
            Source::Stack | Source::Wiped => area.protection.write,
            Source::Image { offset } | Source::Copy { offset } => {
                offset.is_multiple_of(PAGE) && offset.checked_add(bytes).is_some_and(|end| end <= self.head.image_bytes)
            }
            Source::File { file, offset, shared } => {
                file < self.file_count
                    && offset.is_multiple_of(PAGE)
                    && offset.checked_add(bytes).is_some()
                    && !(shared && area.protection.write)
            }
        };
        is_usable(area.range) && is_source_sound
    }

    fn area(&self, at: usize) -> Option<Area> {
        let [start, bytes, protection, kind, file, offset] = self.areas.entry(at)?;
        let file = usize::try_from(file).ok()?;
        let source = match kind {
            0 => Source::Zero,
            1 => Source::Stack,
            2 => Source::Image { offset },
            5 => Source::Wiped,
            6 => Source::Copy { offset },
            3 | 4 => Source::File { file, offset, shared: kind == 4 },
            _ => return None,
        };
        Some(Area { range: Range::new(start, bytes)?, protection: Protection::from_bits(protection)?, source })
    }

    fn file_entry(&self, at: usize) -> Option<[u64; ENTRY_WORDS]> {
        self.files.entry(at)
    }
}

fn is_usable(range: Range) -> bool {
    range.is_pages() && USER.contains(range) && !range.overlaps(HOME)
}

/// Bytes as words. What isn't there is none.
#[derive(Clone, Copy, Debug)]
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn get(&self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at.checked_mul(8)?..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    fn entry(&self, at: usize) -> Option<[u64; ENTRY_WORDS]> {
        let mut words = [0; ENTRY_WORDS];
        for (number, word) in words.iter_mut().enumerate() {
            *word = self.get(at.checked_mul(ENTRY_WORDS)?.checked_add(number)?)?;
        }
        Some(words)
    }
}
