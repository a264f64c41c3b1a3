//! The fourteen system calls of the restorer, and the functions that a compiler expects of a C library.

use core::arch::{asm, naked_asm};
use strait_image::{HOME, Protection, Range};

/// The number that a call failed with.
pub struct Errno;

const READ_AT: u64 = 17;
const FSTAT: u64 = 5;
const MMAP: u64 = 9;
const MUNMAP: u64 = 11;
const MREMAP: u64 = 25;
const MADVISE: u64 = 28;
const DUP2: u64 = 33;
const GETPID: u64 = 39;
const RECVMSG: u64 = 47;
const EXIT_GROUP: u64 = 231;
const OPENAT: u64 = 257;
const CLOSE_RANGE: u64 = 436;

const AT_FDCWD: u64 = -100i64 as u64;
const O_CLOEXEC: u64 = 0o2_000_000;
const O_NONBLOCK: u64 = 0o4_000;
const MREMAP_MAYMOVE_FIXED: u64 = 3;
const MADV_WIPEONFORK: u64 = 18;
const MADV_POPULATE_WRITE: u64 = 23;
const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
/// A reservation isn't charged before it is used, as with the original's.
const MAP_NORESERVE: u64 = 0x4000;

/// One call, with up to six arguments (`syscall(2)`, x86-64).
///
/// # Safety
/// What the call does to memory must be to memory that nobody else counts on.
unsafe fn call(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Result<u64, Errno> {
    let result: i64;
    // SAFETY: the kernel changes rcx and r11 and returns in rax; the rest is the caller's word.
    unsafe {
        asm!("syscall", inlateout("rax") number.cast_signed() => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if (-4095..0).contains(&result) { Err(Errno) } else { Ok(result.cast_unsigned()) }
}

pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: ends the process.
        let _ = unsafe { call(EXIT_GROUP, [code as u64, 0, 0, 0, 0, 0]) };
    }
}

pub fn pid() -> u64 {
    // SAFETY: touches no memory.
    unsafe { call(GETPID, [0; 6]) }.unwrap_or(0)
}

/// What `fstat(2)` says, as far as it is of interest.
pub struct Status {
    pub inode: u64,
    pub bytes: u64,
    pub modified: (u64, u64),
}

pub fn status(fd: i32) -> Result<Status, Errno> {
    // `struct stat` of x86-64: 144 bytes; the inode is its second word, the length its 7th, the time of the last write the 12th and 13th.
    let mut words = [0u64; 18];
    // SAFETY: 144 bytes are there to be written.
    unsafe { call(FSTAT, [fd as u64, words.as_mut_ptr() as u64, 0, 0, 0, 0]) }?;
    Ok(Status { inode: words[1], bytes: words[6], modified: (words[11], words[12]) })
}

pub fn read_at(fd: i32, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let (start, length) = (into.as_mut_ptr() as u64, into.len() as u64);
    // SAFETY: `length` bytes are there to be written.
    unsafe { call(READ_AT, [fd as u64, start, length, offset, 0, 0]) }.map(|bytes| bytes as usize)
}

/// Opens for reading, without waiting for whoever holds the other end of a pipe or a lease. The path ends in NUL: `Index::path` gives no other.
pub fn open(path: &[u8]) -> Result<i32, Errno> {
    // SAFETY: reads a text that ends.
    unsafe { call(OPENAT, [AT_FDCWD, path.as_ptr() as u64, O_CLOEXEC | O_NONBLOCK, 0, 0, 0]) }.map(|fd| fd as i32)
}

/// Waits for one message with three descriptors (`unix(7)`, `SCM_RIGHTS`), and puts them at 0, 1 and 2. False: the other end was closed without one.
pub fn take_streams(socket: i32) -> Result<bool, Errno> {
    /// `SOL_SOCKET`, `SCM_RIGHTS`.
    const RIGHTS: u64 = 1 << 32 | 1;
    /// `struct cmsghdr` is 16 bytes, and three numbers follow.
    const LENGTH: u64 = 16 + 3 * 4;
    let (mut word, mut control) = ([0u8; 8], [0u64; 4]);
    let mut vector = [word.as_mut_ptr() as u64, word.len() as u64];
    // `struct msghdr` of x86-64: name and its length, vector and its count, control and its length, flags.
    let mut message = [0, 0, vector.as_mut_ptr() as u64, 1, control.as_mut_ptr() as u64, size_of_val(&control) as u64, 0];
    // SAFETY: everything that the message names is a live local of the length that it says.
    if unsafe { call(RECVMSG, [socket as u64, message.as_mut_ptr() as u64, 0, 0, 0, 0]) }? == 0 {
        return Ok(false);
    }
    let [length, kind, first, last] = control;
    if (length, kind) != (LENGTH, RIGHTS) {
        return Err(Errno);
    }
    let streams = [first & u64::from(u32::MAX), first >> 32, last & u64::from(u32::MAX)];
    for (number, stream) in (0..).zip(streams) {
        // SAFETY: touches no memory.
        unsafe { call(DUP2, [stream, number, 0, 0, 0, 0]) }?;
    }
    Ok(true)
}

/// Closes all from the first to the last.
pub fn close(first: i32, last: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { call(CLOSE_RANGE, [first as u64, last as u64, 0, 0, 0, 0]) }.map(drop)
}

pub fn unmap(range: Range) -> Result<(), Errno> {
    if range.overlaps(HOME) {
        return Err(Errno);
    }
    // SAFETY: nothing outside HOME is used by this program once it runs.
    unsafe { call(MUNMAP, [range.start, range.bytes(), 0, 0, 0, 0]) }.map(drop)
}

/// Moves pages, over whatever is there.
pub fn relocate(from: Range, to: u64) -> Result<(), Errno> {
    let bytes = from.bytes();
    // SAFETY: only the kernel's own pages are moved, which this program doesn't use, to where it has nothing.
    unsafe { call(MREMAP, [from.start, bytes, bytes, MREMAP_MAYMOVE_FIXED, to, 0]) }.map(drop)
}

/// What is behind a new mapping.
pub enum Backing {
    Zero,
    Stack,
    Wiped,
    File { fd: i32, offset: u64, shared: bool },
}

pub fn map(range: Range, protection: Protection, backing: Backing) -> Result<(), Errno> {
    if range.overlaps(HOME) {
        return Err(Errno);
    }
    let is_wiped = matches!(backing, Backing::Wiped);
    let (flags, fd, offset) = match backing {
        Backing::Zero | Backing::Wiped => (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, u64::MAX, 0),
        Backing::Stack => (MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, u64::MAX, 0),
        Backing::File { fd, offset, shared: false } => (MAP_PRIVATE, fd as u64, offset),
        Backing::File { fd, offset, shared: true } => (MAP_SHARED, fd as u64, offset),
    };
    // SAFETY: outside HOME (checked above) there is nothing that this program uses.
    unsafe { call(MMAP, [range.start, range.bytes(), protection.bits(), flags | MAP_FIXED, fd, offset]) }?;
    if is_wiped {
        // SAFETY: only says what a later fork does with what was just mapped.
        unsafe { call(MADVISE, [range.start, range.bytes(), MADV_WIPEONFORK, 0, 0, 0]) }?;
    }
    Ok(())
}

/// Reads from a file into memory that was mapped for an image. The file is sealed: it is as long as `Index::parse` was told.
pub fn fill(fd: i32, range: Range, offset: u64) -> Result<(), Errno> {
    if range.overlaps(HOME) {
        return Err(Errno);
    }
    // All pages at once: a fault for each costs half as much again (1 MiB: 0.49 ms without, 0.32 with). Only about speed.
    // SAFETY: outside HOME (checked above) there is nothing that this program uses.
    let _ = unsafe { call(MADVISE, [range.start, range.bytes(), MADV_POPULATE_WRITE, 0, 0, 0]) };
    let mut done = 0;
    while done < range.bytes() {
        // SAFETY: outside HOME (checked above) there is nothing that this program uses.
        match unsafe { call(READ_AT, [fd as u64, range.start + done, range.bytes() - done, offset + done, 0, 0]) }? {
            0 => return Err(Errno),
            read => done += read,
        }
    }
    Ok(())
}

/// Goes on in the image, whose first instruction is a system call: the one that unmaps this program.
pub fn jump(entry: u64, stack: u64) -> ! {
    // SAFETY: `Index::parse` found both in areas of the image; from here on the process is its own.
    unsafe {
        asm!("mov rsp, {stack}", "jmp {entry}", stack = in(reg) stack, entry = in(reg) entry, in("rax") MUNMAP,
            in("rdi") HOME.start, in("rsi") HOME.bytes(), options(noreturn));
    }
}

/// `memcpy(3)` and `memmove(3)` for ranges that don't overlap, or are moved down: all that is needed here.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    naked_asm!("mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret")
}

/// `memset(3)`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    naked_asm!("mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret")
}

/// `memcmp(3)`, and `bcmp(3)` beside it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    naked_asm!(
        "xor eax, eax",
        "2:",
        "test rdx, rdx",
        "je 3f",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jne 3f",
        "inc rdi",
        "inc rsi",
        "dec rdx",
        "jmp 2b",
        "3:",
        "ret"
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    naked_asm!("jmp {}", sym memcmp)
}
