//! The caller's pointers that need more than a check for null.

use crate::error::{Failure, StraitError};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::slice;

/// `length` bytes of the caller, to be read during this call. Null is fine where there are none.
///
/// # Safety
/// If `start` isn't null, `length` bytes from there can be read and aren't written for as long as the result lives.
pub(crate) unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(Failure::null("payload"));
    }
    if isize::try_from(length).is_err() {
        return Err(Failure::new(StraitError::TooLarge, format!("no payload has {length} bytes")));
    }
    // SAFETY: not null and not longer than half the address space, as just checked; u8 needs no alignment; that the
    // bytes are there is the caller's word.
    Ok(unsafe { slice::from_raw_parts(start.cast(), length) })
}

/// `count` things of the caller, to be read during this call. Null is fine where there are none.
///
/// # Safety
/// If `start` isn't null, it is aligned, and `count` valid things from there can be read and aren't written for as long as the
/// result lives.
pub(crate) unsafe fn many<'a, T>(start: *const T, count: usize, what: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(Failure::null(what));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(Failure::new(StraitError::TooLarge, format!("there are no {count} {what}")));
    }
    // SAFETY: not null and not longer than half the address space, as just checked; the rest is the caller's word.
    Ok(unsafe { slice::from_raw_parts(start, count) })
}

/// A text of the caller, to be read during this call.
///
/// # Safety
/// If `start` isn't null, it ends in NUL and isn't written for as long as the result lives.
pub(crate) unsafe fn text<'a>(start: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if start.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: not null, as just checked; that it ends is the caller's word.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str().map_err(|error| Failure::new(StraitError::Name, format!("{what}: {error}")))
}

/// The same, where there need be none.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional<'a>(start: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if start.is_null() {
        return Ok(None);
    }
    // SAFETY: that it ends is the caller's word.
    unsafe { text(start, what) }.map(Some)
}

/// Writes as many rows as there is room for, and says how many there are. Null is fine where there is no room.
///
/// # Safety
/// If `start` isn't null, it is aligned, and `capacity` rows can be written from there.
pub(crate) unsafe fn fill<R, T>(
    start: *mut T,
    capacity: usize,
    what: &str,
    rows: &[R],
    row: impl Fn(&R) -> T,
) -> Result<c_int, Failure> {
    if start.is_null() && capacity > 0 {
        return Err(Failure::null(what));
    }
    for (at, found) in rows.iter().take(capacity).enumerate() {
        let place = start.wrapping_add(at);
        // SAFETY: not null, as just checked, and within the capacity, which is the caller's word.
        unsafe { place.write(row(found)) };
    }
    Ok(c_int::try_from(rows.len()).unwrap_or(c_int::MAX))
}

/// A text with a NUL at its end, cut between two characters where it would not fit, without those that it has inside.
pub(crate) fn in_place<const N: usize>(text: &str) -> [c_char; N] {
    let mut end = 0;
    let fits = |one: &char| {
        end += one.len_utf8();
        end < N
    };
    let text: String = text.chars().filter(|one| *one != '\0').take_while(fits).collect();
    let mut place = [0; N];
    place.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte as c_char);
    place
}

/// Writes a result that the caller may not be interested in.
pub(crate) fn give<T>(out: Option<&mut MaybeUninit<T>>, value: T) {
    if let Some(out) = out {
        out.write(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_place_is_whole_characters_and_ends() {
        let bytes = |text| in_place::<5>(text).map(|byte| byte as u8);
        assert_eq!(bytes("abcd"), *b"abcd\0");
        assert_eq!(bytes("abcde"), *b"abcd\0");
        assert_eq!(bytes("abcé"), *b"abc\0\0");
        assert_eq!(bytes("a\0bé"), *b"ab\xc3\xa9\0");
    }
}
