//! Why a clone couldn't be made of an image: one exit code of the restorer for each reason.

use core::fmt;

/// Why the restorer ended without having restored. It has no way to tell but its exit code: [`Fault::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing at descriptor 4, or it can't be read.
    Input,
    /// No image, or one of another version.
    Alien,
    /// The index contradicts itself or the file.
    Index,
    /// The process is another one in its pid namespace than the original was.
    Pid,
    /// A file that was mapped isn't there, or may not be read.
    FileGone,
    /// A file that was mapped is another one than it was.
    FileChanged,
    /// The kernel refused to unmap what the restorer was born with.
    Unmapping,
    /// The kernel refused to move its own pages (vdso, vvar).
    Moving,
    /// The kernel refused to map an area: out of memory, or memory that is writable and executable in a profile that forbids it.
    Mapping,
    /// Memory is back, but the rest isn't: a descriptor, a signal action, the working directory.
    Reviving,
    /// A bug in the restorer.
    Bug,
    /// What came by descriptor 5 weren't the three standard streams.
    Streams,
}

const FIRST_CODE: i32 = 224;
const ALL: [Fault; 12] = [
    Fault::Input,
    Fault::Alien,
    Fault::Index,
    Fault::Pid,
    Fault::FileGone,
    Fault::FileChanged,
    Fault::Unmapping,
    Fault::Moving,
    Fault::Mapping,
    Fault::Reviving,
    Fault::Bug,
    Fault::Streams,
];

impl Fault {
    /// The exit code that says it, from 224 to 235.
    pub fn code(self) -> i32 {
        FIRST_CODE + self as i32
    }

    /// What a code says. A program may end with such a code too: it means this only from a clone that never came to life.
    pub fn from_code(code: i32) -> Option<Self> {
        let at = usize::try_from(code.checked_sub(FIRST_CODE)?).ok()?;
        ALL.get(at).copied()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "there is no image at descriptor 4",
            Self::Alien => "the image is none, or of another version",
            Self::Index => "the image's index contradicts itself",
            Self::Pid => "the clone has another pid than its original had",
            Self::FileGone => "a file that the original had mapped isn't there, or may not be read",
            Self::FileChanged => "a file that the original had mapped has changed since",
            Self::Unmapping => "munmap: refused",
            Self::Moving => "mremap of the kernel's own pages: refused",
            Self::Mapping => {
                "mmap: refused (out of memory, or memory both writable and executable, which takes the profile `jit`)"
            }
            Self::Reviving => "a descriptor, signal action or the working directory couldn't be put back",
            Self::Bug => "a bug in the restorer",
            Self::Streams => "its standard streams didn't come by descriptor 5",
        })
    }
}
