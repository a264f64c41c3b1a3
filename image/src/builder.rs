//! Writing an index into memory that was set aside for it.

use crate::index::{ENTRY_WORDS, HEAD_WORDS, MAGIC, VERSION};
use crate::{Area, HEADER_BYTES, Head, MAX_AREAS, MAX_FILES, MAX_INDEX_BYTES, MappedFile, Source};

/// More areas, files or names than an index takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// An index that grows. It needs three pieces of memory and nothing else: the process that it describes is its own.
#[derive(Debug)]
pub struct Builder<'a> {
    areas: &'a mut [[u64; ENTRY_WORDS]],
    area_count: usize,
    files: &'a mut [[u64; ENTRY_WORDS]],
    file_count: usize,
    names: &'a mut [u8],
    name_bytes: usize,
}

impl<'a> Builder<'a> {
    /// An empty index that may use this memory.
    pub fn new(areas: &'a mut [[u64; ENTRY_WORDS]], files: &'a mut [[u64; ENTRY_WORDS]], names: &'a mut [u8]) -> Self {
        Self { areas, area_count: 0, files, file_count: 0, names, name_bytes: 0 }
    }

    /// Adds an area. They must come by rising address, copies right after the area that they are for.
    pub fn add(&mut self, area: &Area) -> Result<(), Full> {
        let (kind, file, offset) = match area.source {
            Source::Zero => (0, 0, 0),
            Source::Stack => (1, 0, 0),
            Source::Wiped => (5, 0, 0),
            Source::Image { offset } => (2, 0, offset),
            Source::Copy { offset } => (6, 0, offset),
            Source::File { file, offset, shared } => (3 + u64::from(shared), file as u64, offset),
        };
        let entry = [area.range.start, area.range.bytes(), area.protection.bits(), kind, file, offset];
        let place = self.areas.get_mut(self.area_count).filter(|_| self.area_count < MAX_AREAS).ok_or(Full)?;
        *place = entry;
        self.area_count += 1;
        Ok(())
    }

    /// The number of a file that was added with this path.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        let is_it = |entry: &&[u64; ENTRY_WORDS]| {
            let (start, length) = (entry[4] as usize, entry[5] as usize);
            self.names.get(start..start + length).and_then(|name| name.split_last()).is_some_and(|(_, it)| it == path)
        };
        self.files[..self.file_count].iter().position(|entry| is_it(&entry))
    }

    /// Adds a file and says its number.
    pub fn add_file(&mut self, file: &MappedFile<'_>) -> Result<usize, Full> {
        let (start, length) = (self.name_bytes, file.path.len() + 1);
        let place = self.names.get_mut(start..start + length).ok_or(Full)?;
        place[..length - 1].copy_from_slice(file.path);
        place[length - 1] = 0;
        let entry = [file.inode, file.bytes, file.modified.0, file.modified.1, start as u64, length as u64];
        let number = self.file_count;
        *self.files.get_mut(number).filter(|_| number < MAX_FILES).ok_or(Full)? = entry;
        self.name_bytes += length;
        self.file_count += 1;
        Ok(number)
    }

    /// Writes the whole, and says how many bytes it has.
    pub fn finish(&self, head: &Head, out: &mut [u8]) -> Result<usize, Full> {
        let bytes = HEADER_BYTES + (self.area_count + self.file_count) * ENTRY_WORDS * 8 + self.name_bytes;
        if bytes > MAX_INDEX_BYTES.min(out.len()) {
            return Err(Full);
        }
        let mut words = [0; HEAD_WORDS];
        words[..8].copy_from_slice(&[
            MAGIC,
            VERSION,
            bytes as u64,
            head.image_bytes,
            head.entry,
            head.stack,
            head.pid,
            head.vdso,
        ]);
        for (at, piece) in head.pieces.iter().enumerate() {
            words[8 + 2 * at..10 + 2 * at].copy_from_slice(&[piece.start, piece.bytes()]);
        }
        (words[16], words[17]) = (self.area_count as u64, self.file_count as u64);
        let entries = self.areas[..self.area_count].iter().chain(&self.files[..self.file_count]);
        let all = words.iter().chain(entries.flatten());
        for (place, word) in out.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out[bytes - self.name_bytes..bytes].copy_from_slice(&self.names[..self.name_bytes]);
        Ok(bytes)
    }
}
