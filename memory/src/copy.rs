//! Copying bytes that somebody else may be writing.
//!
//! A `memcpy` of memory that changes is undefined behaviour in Rust (and C). What is needed is weaker: each
//! byte read once, whatever it is at that moment. Short runs are copied by relaxed atomic loads; long ones by one string
//! instruction, which the compiler can't look into and so can't assume anything about.
//! (Rejected: `ptr::copy_nonoverlapping` with a remark that it works; `read_volatile` of bytes, eight times slower.)

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Copies `bytes` bytes that another process may be changing meanwhile.
///
/// # Safety
///
/// `from` must be valid for reads and `to` for writes of `bytes` bytes, and they must not overlap. Nothing in this
/// process may hold a reference to either range. `from` must be aligned to 8.
#[inline]
pub(crate) unsafe fn copy_racing(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    let (from, to, bytes) = {
        let lines = bytes / 64;
        if lines > 0 {
            // SAFETY: reads and writes `lines * 64` bytes, at most `bytes`, valid as the caller promised.
            unsafe { copy_lines(from, to, lines) };
        }
        (from.wrapping_add(lines * 64), to.wrapping_add(lines * 64), bytes % 64)
    };
    let whole = bytes / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: inside the valid range; aligned since `from` is and `at` is a multiple of 8.
        let word = unsafe { AtomicU64::from_ptr(from.wrapping_add(at).cast_mut().cast()) }.load(Ordering::Relaxed);
        // SAFETY: inside the valid range; unaligned writes are asked for by name.
        unsafe { to.wrapping_add(at).cast::<u64>().write_unaligned(word) };
    }
    for at in whole..bytes {
        // SAFETY: inside the valid range; a byte is always aligned.
        let byte = unsafe { AtomicU8::from_ptr(from.wrapping_add(at).cast_mut()) }.load(Ordering::Relaxed);
        // SAFETY: inside the valid range.
        unsafe { to.wrapping_add(at).write(byte) };
    }
}

/// Copies cache lines in 16-byte moves.
///
/// # Safety
///
/// As for [`copy_racing`], with `lines * 64` bytes; `lines` is not 0.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
unsafe fn copy_lines(from: *const u8, to: *mut u8, lines: usize) {
    // SAFETY: as the caller promised.
    unsafe {
        std::arch::asm!(
            "2:",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "sub {lines}, 1",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            lines = inout(reg) lines => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack)
        );
    }
}

/// Copies the 64 bytes of a record header that another process may be changing meanwhile.
///
/// In four wide moves where there are such: eight separate words that are read again as wide ones a moment later (when the header
/// is handed on) stall the processor each time, which cost more than the rest of a small record's way (docs/performance.md).
///
/// # Safety
///
/// `from` must be valid for reads of 64 bytes and aligned to 8. Nothing in this process may hold a reference to them.
#[inline]
pub(crate) unsafe fn load_line(from: *const u8) -> [u64; 8] {
    let mut words = [0; 8];
    // SAFETY: as the caller promised.
    unsafe { load_line_into(from, &mut words) };
    words
}

/// The same, to where they are wanted.
///
/// # Safety
///
/// As for [`load_line`].
#[inline]
pub(crate) unsafe fn load_line_into(from: *const u8, to: &mut [u64; 8]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: reads 64 valid bytes, as the caller promised, and writes the 64 bytes of `to`.
    unsafe {
        std::arch::asm!(
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            from = in(reg) from,
            to = in(reg) to.as_mut_ptr(),
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    for (index, word) in to.iter_mut().enumerate() {
        let source = from.cast::<u64>().wrapping_add(index).cast_mut();
        // SAFETY: inside the valid range and aligned, as the caller promised.
        *word = unsafe { AtomicU64::from_ptr(source) }.load(Ordering::Relaxed);
    }
}

/// Writes the 64 bytes of a record header, word by word.
///
/// By atomics, which the compiler doesn't merge: some of the words were written a moment ago, one by one (the switch's stamp), and a wide
/// move that reads those stalls the processor until they have left its store buffer.
///
/// # Safety
///
/// `to` must be valid for writes of 64 bytes and aligned to 8, and nothing in this process may hold a reference to them.
#[inline]
pub(crate) unsafe fn store_line(to: *mut u64, words: &[u64; 8]) {
    for (index, word) in words.iter().enumerate() {
        // SAFETY: inside the valid range and aligned, as the caller promised.
        unsafe { AtomicU64::from_ptr(to.wrapping_add(index)) }.store(*word, Ordering::Relaxed);
    }
}

/// Copies `bytes` bytes that another process may be changing meanwhile, past this processor's cache.
///
/// For what a reader on another processor is going to read. An ordinary store there first has to get the cache line from that
/// processor, which read it a round ago: 29 ns each, where a line that is written whole without being fetched takes 2 ns
/// (docs/performance.md). [`settle`] before it is published.
///
/// # Safety
///
/// As for [`copy_racing`], and `to` must be aligned to 16.
#[inline]
pub(crate) unsafe fn copy_streaming(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    let (from, to, bytes) = {
        let parts = bytes / 16;
        if parts > 0 {
            // SAFETY: reads and writes `parts * 16` bytes, at most `bytes`, valid and aligned as the caller promised.
            unsafe {
                std::arch::asm!(
                    "2:",
                    "movups {a}, [{from}]",
                    "movntdq [{to}], {a}",
                    "add {from}, 16",
                    "add {to}, 16",
                    "sub {parts}, 1",
                    "jnz 2b",
                    from = inout(reg) from => _,
                    to = inout(reg) to => _,
                    parts = inout(reg) parts => _,
                    a = out(xmm_reg) _,
                    options(nostack)
                );
            }
        }
        (from.wrapping_add(parts * 16), to.wrapping_add(parts * 16), bytes % 16)
    };
    // SAFETY: what is left of the ranges that the caller promised.
    unsafe { copy_racing(from, to, bytes) }
}

/// Writes the 64 bytes of a record header past this processor's cache. [`settle`] before it is published.
///
/// # Safety
///
/// As for [`store_line`].
#[inline]
pub(crate) unsafe fn stream_line(to: *mut u64, words: &[u64; 8]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for (index, word) in words.iter().enumerate() {
        // SAFETY: writes 8 bytes inside the valid range.
        unsafe {
            std::arch::asm!(
                "movnti [{to}], {word}",
                to = in(reg) to.wrapping_add(index),
                word = in(reg) *word,
                options(nostack, preserves_flags)
            );
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: as the caller promised.
    unsafe {
        store_line(to, words)
    }
}

/// Orders what was written past the cache before whatever is written next: such stores are not ordered among others by themselves
/// (Intel SDM volume 1, 10.4.6.2).
#[inline]
pub(crate) fn settle() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a fence touches nothing.
    unsafe {
        std::arch::asm!("sfence", options(nostack, preserves_flags));
    }
}
