//! The restorer: the program that is started in the jail of a clone. It replaces all its memory by that of an image and goes on there.
//!
//! It runs as the world, behind every layer of its jail, and has nothing that the world doesn't get: no file, no secret, no privilege. An image
//! that takes it over has taken over itself.
//!
//! When all is in place it waits for the three standard streams, perhaps for long: a clone can be made before anybody asks for it. None of the
//! image's code runs before they are there.
//!
//! No C library, no allocator, and a stack of its own: everything that it needs lies in [`HOME`], where an image has nothing, so that the rest
//! of the address space can be swept and filled while it runs. Its last step isn't its own: it jumps into the image with the
//! registers set for the `munmap` that removes it.
#![no_std]
#![no_main]

mod kernel;

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use strait_image::{
    Area, Fault, HEADER_BYTES, HOME, Head, IMAGE_FD, Index, MAX_FILES, MAX_INDEX_BYTES, Range, STREAMS_FD, Source, USER,
    declared_bytes,
};

/// What the image's entry expects: see `strait_sys::checkpoint`.
const AT_SYSINFO_EHDR: u64 = 33;
/// Numbers of descriptors end here.
const MAX_FD: i32 = i32::MAX;
const STACK_BYTES: usize = 64 << 10;

/// Memory for one thread, which never takes it twice.
struct Static<T>(UnsafeCell<T>);

// SAFETY: this program has one thread.
unsafe impl<T> Sync for Static<T> {}

#[unsafe(no_mangle)]
static STACK: Static<[u8; STACK_BYTES]> = Static(UnsafeCell::new([0; STACK_BYTES]));
static INDEX: Static<[u8; MAX_INDEX_BYTES]> = Static(UnsafeCell::new([0; MAX_INDEX_BYTES]));
static FILES: Static<[i32; MAX_FILES]> = Static(UnsafeCell::new([-1; MAX_FILES]));

/// Leaves the kernel's stack, which lies where an image's memory may belong, for our own.
///
/// # Safety
/// For the kernel alone to call, as the program's entry.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "mov rdi, rsp",
        "lea rsp, [rip + STACK + {size}]",
        "and rsp, -16",
        "xor ebp, ebp",
        "call {main}",
        "ud2",
        size = const STACK_BYTES,
        main = sym main,
    )
}

/// # Safety
/// `born` is the stack pointer that the kernel started the program with; called once, by `_start`.
unsafe extern "C" fn main(born: *const u64) -> ! {
    // SAFETY: the kernel leaves its words there (`execve(2)`, "initial process stack"), and `_start` passed them on.
    let vdso = unsafe { own_vdso(born) };
    // SAFETY: called once, by one thread.
    match unsafe { restore(vdso) } {
        Ok(head) => kernel::jump(head.entry, head.stack),
        Err(fault) => kernel::exit(fault.code()),
    }
}

/// Where the kernel has put its functions for this process; 0 if it has none.
///
/// # Safety
/// `born` is the stack pointer that the kernel started the program with.
unsafe fn own_vdso(born: *const u64) -> u64 {
    // SAFETY: the count of arguments, as many pointers, a null, the environment, a null, and pairs that end with type 0.
    unsafe {
        let mut at = born.add(*born as usize + 2);
        while *at != 0 {
            at = at.add(1);
        }
        at = at.add(1);
        while *at != 0 && *at != AT_SYSINFO_EHDR {
            at = at.add(2);
        }
        if *at == 0 { 0 } else { *at.add(1) }
    }
}

/// Sweeps the address space and fills it from the image.
///
/// # Safety
/// Called once: it takes the memory that this program has for one thread.
unsafe fn restore(vdso: u64) -> Result<Head, Fault> {
    // SAFETY: the only place that takes it, and called once.
    let memory = unsafe { &mut *INDEX.0.get() };
    let (bytes, image_bytes) = read(memory)?;
    let index = Index::parse(bytes, image_bytes)?;
    let head = *index.head();
    if kernel::pid() != head.pid {
        return Err(Fault::Pid);
    }
    let own = own_pieces(&head, vdso)?;
    sweep(own)?;
    move_system(&head, own)?;
    // SAFETY: the only place that takes it, and called once.
    let files = unsafe { &mut *FILES.0.get() };
    for area in index.areas() {
        map(&index, &area, files)?;
    }
    // Files that were mapped, and the image: while it waits it holds nothing that it doesn't need.
    kernel::close(STREAMS_FD + 1, MAX_FD).and_then(|()| kernel::close(IMAGE_FD, IMAGE_FD)).map_err(|_| Fault::Input)?;
    if !kernel::take_streams(STREAMS_FD).map_err(|_| Fault::Streams)? {
        // Nobody wants this clone any more.
        kernel::exit(0);
    }
    look_again(&index, files)?;
    // What the world is to have lies below.
    kernel::close(IMAGE_FD, MAX_FD).map_err(|_| Fault::Input)?;
    Ok(head)
}

/// The index, and how long the file is. The file is sealed: it is the same when its pages are mapped.
fn read(memory: &mut [u8]) -> Result<(&[u8], u64), Fault> {
    let status = kernel::status(IMAGE_FD).map_err(|_| Fault::Input)?;
    let have = kernel::read_at(IMAGE_FD, &mut memory[..4096], 0).map_err(|_| Fault::Input)?;
    let bytes = declared_bytes(memory.get(..have).ok_or(Fault::Input)?)?.max(HEADER_BYTES);
    if bytes > have {
        let rest = memory.get_mut(have..bytes).ok_or(Fault::Index)?;
        kernel::read_at(IMAGE_FD, rest, have as u64).map_err(|_| Fault::Input)?;
    }
    Ok((&memory[..bytes], status.bytes))
}

/// Where this process has the kernel's pages: the same kernel gives them the same order and lengths every time.
fn own_pieces(head: &Head, vdso: u64) -> Result<Range, Fault> {
    let (mut first, mut last) = (u64::MAX, 0);
    for piece in head.pieces() {
        (first, last) = (first.min(piece.start), last.max(piece.end));
    }
    match (head.vdso, vdso) {
        (0, 0) => Ok(Range { start: HOME.end, end: HOME.end }),
        (0, _) | (_, 0) => Err(Fault::Moving),
        (theirs, ours) => {
            let own = Range { start: ours.wrapping_sub(theirs - first), end: ours.wrapping_add(last - theirs) };
            if USER.contains(own) && HOME.end <= own.start { Ok(own) } else { Err(Fault::Moving) }
        }
    }
}

/// Unmaps everything but the restorer and the kernel's pages.
fn sweep(own: Range) -> Result<(), Fault> {
    for (start, end) in [(USER.start, HOME.start), (HOME.end, own.start), (own.end, USER.end)] {
        if start < end {
            kernel::unmap(Range { start, end }).map_err(|_| Fault::Unmapping)?;
        }
    }
    Ok(())
}

/// Moves the kernel's pages to where the image's program remembers them, by way of the restorer's own range, so that a piece never has to
/// move over itself.
fn move_system(head: &Head, own: Range) -> Result<(), Fault> {
    let Some(first) = head.pieces().map(|piece| piece.start).min() else { return Ok(()) };
    let away = HOME.end - (1 << 29);
    let here = |base: u64, piece: Range| Range { start: base + (piece.start - first), end: base + (piece.end - first) };
    if own.start == first {
        return Ok(());
    }
    let span = Range { start: first, end: first + own.bytes() };
    let is_direct = !span.overlaps(own);
    for piece in head.pieces() {
        let to = if is_direct { piece.start } else { here(away, piece).start };
        kernel::relocate(here(own.start, piece), to).map_err(|_| Fault::Moving)?;
    }
    for piece in head.pieces().filter(|_| !is_direct) {
        kernel::relocate(here(away, piece), piece.start).map_err(|_| Fault::Moving)?;
    }
    Ok(())
}

fn map(index: &Index<'_>, area: &Area, files: &mut [i32; MAX_FILES]) -> Result<(), Fault> {
    use kernel::Backing;
    let backing = match area.source {
        Source::Zero => Backing::Zero,
        Source::Stack => Backing::Stack,
        Source::Wiped => Backing::Wiped,
        Source::Copy { offset } => return kernel::fill(IMAGE_FD, area.range, offset).map_err(|_| Fault::Mapping),
        Source::Image { offset } => Backing::File { fd: IMAGE_FD, offset, shared: false },
        Source::File { file, offset, shared } => {
            let fd = files.get_mut(file).ok_or(Fault::Index)?;
            if *fd < 0 {
                *fd = open(index, file)?;
            }
            Backing::File { fd: *fd, offset, shared }
        }
    };
    kernel::map(area.range, area.protection, backing).map_err(|_| Fault::Mapping)
}

/// Opens a file that the original had mapped, and makes sure that it still is the same.
fn open(index: &Index<'_>, number: usize) -> Result<i32, Fault> {
    let (file, path) = (index.file(number).ok_or(Fault::Index)?, index.path(number).ok_or(Fault::Index)?);
    let fd = kernel::open(path).map_err(|_| Fault::FileGone)?;
    let status = kernel::status(fd).map_err(|_| Fault::FileGone)?;
    match (status.inode, status.bytes, status.modified) == (file.inode, file.bytes, file.modified) {
        true => Ok(fd),
        false => Err(Fault::FileChanged),
    }
}

/// Whether what was mapped before a wait is still what its names lead to: nobody gets a clone of a program that has been replaced.
fn look_again(index: &Index<'_>, files: &[i32; MAX_FILES]) -> Result<(), Fault> {
    let mapped = (0..).zip(files).filter(|(_, fd)| **fd >= 0);
    mapped.map(|(number, _)| number).try_for_each(|number| open(index, number).map(drop))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit(Fault::Bug.code())
}
