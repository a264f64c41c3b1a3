//! What the kernel says of a process's memory: `/proc/self/smaps` (`proc_pid_smaps(5)`).

use crate::{Protection, Range};

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region<'a> {
    /// Its addresses.
    pub range: Range,
    /// What may be done with it.
    pub protection: Protection,
    /// Whether what is written reaches others.
    pub shared: bool,
    /// Offset in its file.
    pub offset: u64,
    /// The file's inode; 0 for memory without a file.
    pub inode: u64,
    /// The file's path, or a name in brackets, or nothing.
    pub name: &'a [u8],
    /// `gd`: grows downwards, a stack.
    pub grows_down: bool,
    /// `wf` or `dp`: content that a copy of the process must not have (`MADV_WIPEONFORK`, `MAP_DROPPABLE`).
    pub is_wiped: bool,
    /// `ss`, `ht` or `io`: a shadow stack, huge pages or a device's memory, which can't be written down.
    pub is_special: bool,
}

impl Region<'_> {
    /// Whether it is one of the kernel's own: vdso, vvar and what else there will be of the kind.
    pub fn is_system(&self) -> bool {
        self.name == b"[vdso]" || self.name.starts_with(b"[vvar")
    }

    /// Whether a file is behind it that has a path, and could be opened again.
    pub fn is_file(&self) -> bool {
        self.inode != 0 && self.name.starts_with(b"/") && !self.name.ends_with(b" (deleted)")
    }
}

/// The mappings in a text of the kernel's. A line that can't be understood ends it, with an error.
pub fn regions(text: &[u8]) -> impl Iterator<Item = Result<Region<'_>, Unreadable>> {
    let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    core::iter::from_fn(move || {
        let first = lines.next()?;
        let Some(mut region) = head(first) else { return Some(Err(Unreadable)) };
        while let Some(line) = lines.next_if(|line| is_detail(line)) {
            if let Some(flags) = line.strip_prefix(b"VmFlags:") {
                flag(&mut region, flags);
            }
        }
        Some(Ok(region))
    })
}

/// A line that isn't what the kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Details begin with a capital letter, mappings with a hexadecimal digit in lower case.
fn is_detail(line: &[u8]) -> bool {
    line.first().is_some_and(u8::is_ascii_uppercase)
}

/// `7f0000000000-7f0000001000 r-xp 00000000 fe:00 1234    /path`
fn head(line: &[u8]) -> Option<Region<'_>> {
    let (range, rest) = word(line)?;
    let (rights, rest) = word(rest)?;
    let (offset, rest) = word(rest)?;
    let (_device, rest) = word(rest)?;
    let (inode, rest) = word(rest)?;
    let dash = range.iter().position(|byte| *byte == b'-')?;
    let range = Range { start: number(&range[..dash], 16)?, end: number(&range[dash + 1..], 16)? };
    let &[read, write, execute, shared] = rights else { return None };
    Some(Region {
        range,
        protection: Protection { read: read == b'r', write: write == b'w', execute: execute == b'x' },
        shared: shared == b's',
        offset: number(offset, 16)?,
        inode: number(inode, 10)?,
        name: rest.trim_ascii_start(),
        grows_down: false,
        is_wiped: false,
        is_special: false,
    })
}

fn flag(region: &mut Region<'_>, flags: &[u8]) {
    for flag in flags.split(|byte| *byte == b' ') {
        match flag {
            b"gd" => region.grows_down = true,
            b"wf" | b"dp" => region.is_wiped = true,
            b"ss" | b"ht" | b"io" => region.is_special = true,
            _ => {}
        }
    }
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_ascii_start()))
}

fn number(text: &[u8], base: u32) -> Option<u64> {
    u64::from_str_radix(core::str::from_utf8(text).ok()?, base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\
5555-5556000 r-xp 00001000 fe:00 325843                     /usr/bin/a b
Size:                  4 kB
VmFlags: rd ex mr mw me sd
7ffe0ead9000-7ffe0eafa000 rw-p 00000000 00:00 0                          [stack]
VmFlags: rd wr mr mw me gd ac
7fff0000-7fff1000 rw-s 00000000 00:01 7 /memfd:x (deleted)
";

    #[test]
    fn the_kernels_words_are_understood() {
        let found: Vec<_> = regions(TEXT.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].name, found[0].offset, found[0].inode), (&b"/usr/bin/a b"[..], 0x1000, 325_843));
        assert!(found[0].protection.execute && found[0].is_file() && !found[0].grows_down);
        assert!(found[1].grows_down && !found[1].is_file());
        assert!(found[2].shared && !found[2].is_file());
    }

    #[test]
    fn this_process_can_be_read() {
        let text = std::fs::read("/proc/self/smaps").unwrap();
        let found: Vec<_> = regions(&text).map(Result::unwrap).collect();
        assert!(found.iter().any(|region| region.grows_down && region.name == b"[stack]"));
        assert!(found.iter().any(Region::is_file));
        assert!(found.windows(2).all(|two| two[0].range.end <= two[1].range.start));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in prop::collection::vec(prop::sample::select(b"0f-rwxps: \n/V".to_vec()), 0..200)) {
            regions(&text).take(300).for_each(drop);
        }
    }
}
