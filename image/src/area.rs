//! Areas of memory and where their content comes from.

use crate::PAGE;

/// Addresses from `start` up to, without, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The one after the last.
    pub end: u64,
}

impl Range {
    /// So many bytes from there. None where no address space goes.
    pub fn new(start: u64, bytes: u64) -> Option<Self> {
        start.checked_add(bytes).map(|end| Self { start, end })
    }

    /// Length in bytes.
    pub fn bytes(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it is some whole pages, one at least.
    pub fn is_pages(self) -> bool {
        self.start < self.end && self.start.is_multiple_of(PAGE) && self.end.is_multiple_of(PAGE)
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether every address of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether this address is in it.
    pub fn has(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }
}

/// What may be done with an area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Read.
    pub read: bool,
    /// Written.
    pub write: bool,
    /// Executed.
    pub execute: bool,
}

impl Protection {
    /// As `mmap(2)` wants it.
    pub fn bits(self) -> u64 {
        u64::from(self.read) | u64::from(self.write) << 1 | u64::from(self.execute) << 2
    }

    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let has = |bit: u64| bits & bit != 0;
        (bits < 8).then(|| Self { read: has(1), write: has(2), execute: has(4) })
    }
}

/// Where the content of an area comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is zero.
    Zero,
    /// It is zero, and the kernel lets it grow downwards: the stack.
    Stack,
    /// It is zero, and becomes zero again in a copy of the process (`MADV_WIPEONFORK`): state of random generators.
    Wiped,
    /// The image's pages from this offset on, mapped: what a clone doesn't write, all clones share. For what was a file's in the original.
    Image {
        /// In the image.
        offset: u64,
    },
    /// The image's pages from this offset on, copied into the area before, which is [`Source::Zero`] or [`Source::Stack`], writable, and contains
    /// this one. For memory without a file: it must stay that, or `mremap` would make it grow into the image, and `MADV_DONTNEED` bring the
    /// image's content back instead of zero. Allocators rely on both.
    Copy {
        /// In the image.
        offset: u64,
    },
    /// A file, as the original had it.
    File {
        /// Which, in the index.
        file: usize,
        /// In the file.
        offset: u64,
        /// Whether the mapping is a shared one. It is never writable then.
        shared: bool,
    },
}

impl Source {
    /// From where on it takes pages of the image.
    pub(crate) fn image_offset(self) -> Option<u64> {
        match self {
            Self::Image { offset } | Self::Copy { offset } => Some(offset),
            _ => None,
        }
    }
}

/// Neighbouring pages with one protection and one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its addresses, whole pages.
    pub range: Range,
    /// What may be done with it.
    pub protection: Protection,
    /// What is in it.
    pub source: Source,
}

/// A file that is mapped again in each clone, and by what it is known to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedFile<'a> {
    /// Its path in the jail, without the NUL.
    pub path: &'a [u8],
    /// Its inode.
    pub inode: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last written, in seconds and nanoseconds.
    pub modified: (u64, u64),
}
