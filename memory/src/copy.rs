//! Copying bytes that somebody else may be writing.
//!
//! A `memcpy` of memory that changes is undefined behaviour in Rust (and C). What is needed is weaker: each
//! byte read once, whatever it is at that moment. Short runs are copied by relaxed atomic loads; long ones by one string
//! instruction, which the compiler can't look into and so can't assume anything about.
//! (Rejected: `ptr::copy_nonoverlapping` with a remark that it works; `read_volatile` of bytes, eight times slower.)

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Up to here a loop of 8-byte loads is quicker than starting a string instruction.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const SHORT: usize = 256;

/// Copies `bytes` bytes that another process may be changing meanwhile.
///
/// # Safety
///
/// `from` must be valid for reads and `to` for writes of `bytes` bytes, and they must not overlap. Nothing in this
/// process may hold a reference to either range. `from` must be aligned to 8.
#[inline]
pub(crate) unsafe fn copy_racing(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if bytes > SHORT {
        // SAFETY: `rep movsb` reads `bytes` bytes from `from` and writes them to `to`, both valid as the caller
        // promised. The direction flag is clear at every `asm!` by the ABI.
        unsafe {
            std::arch::asm!(
                "rep movsb",
                inout("rcx") bytes => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
        return;
    }
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
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut words = [0u64; 8];
        // SAFETY: reads 64 valid bytes, as the caller promised, and writes the 64 bytes of `words`.
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
                to = in(reg) words.as_mut_ptr(),
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack, preserves_flags)
            );
        }
        words
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    std::array::from_fn(|index| {
        let word = from.cast::<u64>().wrapping_add(index).cast_mut();
        // SAFETY: inside the valid range and aligned, as the caller promised.
        unsafe { AtomicU64::from_ptr(word) }.load(Ordering::Relaxed)
    })
}
