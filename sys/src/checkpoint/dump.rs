//! Writing this process's memory into an image, without changing what is being written: no allocation from the first page on, and no memory
//! but the scratch tables and the stack below the point that a clone goes on from.

use super::error::{CheckpointError, call};
use super::pages::{self, Writer};
use super::scratch::{Run, Scratch, Tables};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use strait_image::smaps::{self, Region};
use strait_image::{Area, Builder, HOME, Head, MAX_PATH_BYTES, MAX_PIECES, MappedFile, PAGE, Range, Source};

/// Runs of pages with so little between them become one: a call costs more than a few pages.
const GAP_BYTES: u64 = 4 * PAGE;

pub(super) struct Dump<'a> {
    scratch: Option<Scratch>,
    image: BorrowedFd<'a>,
    smaps: BorrowedFd<'a>,
    pagemap: BorrowedFd<'a>,
    pid: u64,
    limit: u64,
    error: Option<CheckpointError>,
}

impl<'a> Dump<'a> {
    pub(super) fn new(
        [image, smaps, pagemap]: [BorrowedFd<'a>; 3],
        pid: u64,
        limit: u64,
    ) -> Result<Self, CheckpointError> {
        Ok(Self { scratch: Some(Scratch::new()?), image, smaps, pagemap, pid, limit, error: None })
    }

    /// In a clone: the memory isn't there to be given back.
    pub(super) fn forget(&mut self) {
        std::mem::forget(self.scratch.take());
    }

    pub(super) fn take_error(&mut self) -> CheckpointError {
        self.error.take().unwrap_or(CheckpointError::TooMany)
    }

    /// 0, or less with the error kept.
    pub(super) fn write(&mut self, stack: u64, entry: u64) -> i64 {
        match self.try_write(stack, entry) {
            Ok(()) => 0,
            Err(error) => {
                self.error = Some(error);
                -1
            }
        }
    }

    fn try_write(&mut self, stack: u64, entry: u64) -> Result<(), CheckpointError> {
        let Some(scratch) = &mut self.scratch else { return Err(CheckpointError::TooMany) };
        let own = scratch.range();
        let Tables { text, index, areas, files, names, runs } = scratch.tables();
        let length = read_whole(self.smaps, text)?;
        let mut walk = Walk {
            pagemap: self.pagemap,
            runs,
            index: Builder::new(areas, files, names),
            pages: Writer::new(self.image, self.limit),
            head: Head { entry, stack, pid: self.pid, ..Head::default() },
            piece_count: 0,
        };
        for region in smaps::regions(&text[..length]) {
            let region = region.map_err(|_| CheckpointError::Unreadable("/proc/self/smaps"))?;
            if region.range != own && region.name != b"[vsyscall]" {
                walk.take(&region)?;
            }
        }
        walk.head.image_bytes = walk.pages.next_offset;
        let length = walk.index.finish(&walk.head, index)?;
        rustix::fs::ftruncate(self.image, walk.head.image_bytes).map_err(call("ftruncate"))?;
        write_whole(self.image, &index[..length])
    }
}

/// The way through the address space.
struct Walk<'a> {
    pagemap: BorrowedFd<'a>,
    runs: &'a mut [Run],
    index: Builder<'a>,
    pages: Writer<'a>,
    head: Head,
    piece_count: usize,
}

impl Walk<'_> {
    fn take(&mut self, region: &Region<'_>) -> Result<(), CheckpointError> {
        if region.is_system() {
            return self.take_system(region);
        }
        if region.range.overlaps(HOME) {
            return Err(refused(region, "these addresses are the restorer's"));
        }
        if region.is_special {
            return Err(refused(region, "it is a shadow stack, huge pages or a device"));
        }
        let source = self.source(region)?;
        match (region.shared, region.is_wiped) {
            (true, _) => self.add(region, region.range, source),
            (_, true) => self.add(region, region.range, Source::Wiped),
            _ => self.take_private(region, source),
        }
    }

    fn take_system(&mut self, region: &Region<'_>) -> Result<(), CheckpointError> {
        if self.piece_count == MAX_PIECES {
            return Err(refused(region, "the kernel has more pages of its own than are known"));
        }
        self.head.pieces[self.piece_count] = region.range;
        self.piece_count += 1;
        if region.name == b"[vdso]" {
            self.head.vdso = region.range.start;
        }
        Ok(())
    }

    /// What is behind the pages that weren't written.
    fn source(&mut self, region: &Region<'_>) -> Result<Source, CheckpointError> {
        let Region { shared, inode, offset, .. } = *region;
        match region.is_file() {
            true if shared && region.protection.write => Err(refused(region, "it is shared and writable")),
            true => Ok(Source::File { file: self.file(region)?, offset, shared }),
            false if shared => Err(refused(region, "it is shared with others")),
            false if inode != 0 => Err(refused(region, "its file has no name any more")),
            false if region.grows_down => Ok(Source::Stack),
            false => Ok(Source::Zero),
        }
    }

    fn file(&mut self, region: &Region<'_>) -> Result<usize, CheckpointError> {
        if let Some(known) = self.index.find(region.name) {
            return Ok(known);
        }
        let mut path = [0; MAX_PATH_BYTES];
        let place = path.get_mut(..region.name.len()).ok_or(CheckpointError::TooMany)?;
        place.copy_from_slice(region.name);
        let path = CStr::from_bytes_until_nul(&path).map_err(|_| CheckpointError::TooMany)?;
        let gone = "its file can't be found by its name";
        let stat = rustix::fs::stat(path).map_err(|_| refused(region, gone))?;
        if stat.st_ino != region.inode {
            return Err(refused(region, "another file has its name by now"));
        }
        let modified = (stat.st_mtime.cast_unsigned(), stat.st_mtime_nsec);
        let (inode, bytes) = (stat.st_ino, stat.st_size.cast_unsigned());
        Ok(self.index.add_file(&MappedFile { path: region.name, inode, bytes, modified })?)
    }

    /// Finds what of a region was written, and writes it down. The rest is as it was at first: zero, or a file's.
    fn take_private(&mut self, region: &Region<'_>, source: Source) -> Result<(), CheckpointError> {
        let is_anonymous = matches!(source, Source::Zero | Source::Stack);
        let is_copied = is_anonymous && region.protection.write;
        if is_copied {
            self.add(region, region.range, source)?;
        }
        let mut done = region.range.start;
        let mut search = Search { range: region.range, open: None };
        while search.range.start < region.range.end {
            let (found, end) = pages::find(self.pagemap, search.range, self.runs)?;
            for at in 0..found {
                let run = Range { start: self.runs[at].start, end: self.runs[at].end };
                if let Some(whole) = search.take(run) {
                    done = self.take_run(region, (!is_copied).then_some(source), done, whole)?;
                }
            }
            search.range.start = if end > search.range.start { end } else { region.range.end };
        }
        if let Some(last) = search.open {
            done = self.take_run(region, (!is_copied).then_some(source), done, last)?;
        }
        if is_copied { Ok(()) } else { self.fill(region, source, done) }
    }

    /// One run of pages. Without a source it goes into an area that is there already; with one it is an area of its own, and so is what lies
    /// between it and the one before. Says where it ends.
    fn take_run(
        &mut self,
        region: &Region<'_>,
        source: Option<Source>,
        done: u64,
        run: Range,
    ) -> Result<u64, CheckpointError> {
        if !region.protection.read {
            return Err(refused(region, "it has content that can't be read"));
        }
        let offset = self.pages.write(run)?;
        match source {
            None => self.add(region, run, Source::Copy { offset })?,
            Some(source) => {
                let before = Region { range: Range { end: run.start, ..region.range }, ..*region };
                self.fill(&before, source, done)?;
                self.add(region, run, Source::Image { offset })?;
            }
        }
        Ok(run.end)
    }

    /// The pages of a region, from some address on, that nobody has written.
    fn fill(&mut self, region: &Region<'_>, source: Source, from: u64) -> Result<(), CheckpointError> {
        if from == region.range.end {
            return Ok(());
        }
        let source = match source {
            Source::File { file, offset, shared } => {
                Source::File { file, offset: offset + (from - region.range.start), shared }
            }
            other => other,
        };
        self.add(region, Range { start: from, end: region.range.end }, source)
    }

    fn add(&mut self, region: &Region<'_>, range: Range, source: Source) -> Result<(), CheckpointError> {
        Ok(self.index.add(&Area { range, protection: region.protection, source })?)
    }
}

/// Runs of pages, made one where there is little between them.
struct Search {
    /// Where to look next.
    range: Range,
    open: Option<Range>,
}

impl Search {
    /// Takes a run, and gives the one before if this doesn't continue it.
    fn take(&mut self, run: Range) -> Option<Range> {
        match &mut self.open {
            Some(open) if run.start - open.end <= GAP_BYTES => {
                open.end = run.end;
                None
            }
            open => open.replace(run),
        }
    }
}

fn refused(region: &Region<'_>, why: &'static str) -> CheckpointError {
    let name = String::from_utf8_lossy(region.name).into_owned();
    let name = if name.is_empty() { "memory without a name".into() } else { name };
    CheckpointError::Memory { range: region.range, name, why }
}

fn read_whole(fd: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, CheckpointError> {
    let mut length = 0;
    loop {
        match rustix::io::read(fd, &mut into[length..]) {
            Ok(0) if length < into.len() => return Ok(length),
            Ok(0) => return Err(CheckpointError::TooMany),
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(call("read /proc/self/smaps")(errno)),
        }
    }
}

fn write_whole(image: BorrowedFd<'_>, index: &[u8]) -> Result<(), CheckpointError> {
    let mut done = 0;
    while done < index.len() {
        done += rustix::io::pwrite(image, &index[done..], done as u64).map_err(call("pwrite of the index"))?;
    }
    Ok(())
}
