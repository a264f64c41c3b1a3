//! The image of a process that stopped at its ready point: what a clone of it is made from.
//!
//! An image is one file: an [index](Index) of areas of memory at its beginning, pages from [`PAGES_AT`] on. The process writes it itself; the
//! restorer reads it inside the jail of a clone, with nothing to lose. Nobody else looks into it.
//!
//! **Whom this distrusts:** whoever wrote the image. It is parsed where only a clone of its author is at stake, and still nothing in it may
//! make the restorer touch its own addresses, loop without end or panic: what isn't plausible is a [`Fault`].
//!
//! No allocation: the writer stops its own memory, the restorer has none.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod area;
mod builder;
mod fault;
mod index;
pub mod smaps;
#[cfg(test)]
mod tests;

pub use area::{Area, MappedFile, Protection, Range, Source};
pub use builder::{Builder, Full};
pub use fault::Fault;
pub use index::{HEADER_BYTES, Head, Index, MAX_PIECES, declared_bytes};

/// Bytes of a page: the only size on x86-64.
pub const PAGE: u64 = 4096;
/// Where an image's pages begin; the index is before. The file is sparse: what the index doesn't need costs nothing.
pub const PAGES_AT: u64 = 1 << 20;
/// The most bytes that an index has.
pub const MAX_INDEX_BYTES: usize = PAGES_AT as usize;
/// The most areas in an image. The kernel's default limit of mappings is 65,530 (`vm.max_map_count`).
pub const MAX_AREAS: usize = 16_384;
/// The most files that are mapped again.
pub const MAX_FILES: usize = 512;
/// The longest path of such a file, with its end (`PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// The addresses that belong to the restorer. A process that has something here can't be an image: no known program or allocator goes here by
/// itself, and the kernel's choices lie far above.
pub const HOME: Range = Range { start: 0x3a5e_0000_0000, end: 0x3a5e_4000_0000 };
/// The addresses that a process can have: below is what `vm.mmap_min_addr` forbids, above is the kernel.
pub const USER: Range = Range { start: 0x1_0000, end: 0x7fff_ffff_f000 };
/// The descriptor under which the restorer finds the image.
pub const IMAGE_FD: i32 = 4;
/// The descriptor of the socket by which it is given the clone's standard streams, once there is somebody whom the clone is for.
pub const STREAMS_FD: i32 = 5;
