//! Parcels: large payloads that are never copied.

use crate::client::{StraitClient, with_client};
use crate::error::{Failure, StraitError, guarded};
use crate::pointer::{bytes, give};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use strait_client::{Parcel, ParcelMut, WorldId};

/// Memory that is filled by one world and then read by any number of them, never copied and never changed again: the kernel
/// sees to that.
#[derive(Debug)]
pub struct StraitParcel(State);

#[derive(Debug)]
enum State {
    Filling(ParcelMut),
    Sealed(Parcel),
    /// Sealing it failed.
    Lost,
}

impl StraitParcel {
    pub(crate) fn sealed(&self) -> Result<&Parcel, Failure> {
        match &self.0 {
            State::Sealed(parcel) => Ok(parcel),
            State::Filling(_) => Err(Failure::new(StraitError::Parcel, "the parcel isn't sealed yet")),
            State::Lost => Err(Failure::new(StraitError::Parcel, "the parcel is lost: it couldn't be sealed")),
        }
    }
}

/// Makes a parcel of `length` bytes, all zero, up to 4 GiB and to what policy lets this world hold (STRAIT_ERROR_REFUSED
/// beyond that). Asks the switch, so it ends the life of the payload received last. On failure, `*parcel` is NULL. Free it with
/// strait_parcel_free().
#[unsafe(no_mangle)]
pub extern "C" fn strait_parcel_new(
    client: Option<&mut StraitClient>,
    length: usize,
    parcel: Option<&mut MaybeUninit<*mut StraitParcel>>,
) -> c_int {
    with_client(client, |client| {
        let out = parcel.ok_or_else(|| Failure::null("parcel"))?;
        out.write(ptr::null_mut());
        let made = client.sender()?.new_parcel(length)?;
        out.write(Box::into_raw(Box::new(StraitParcel(State::Filling(made)))));
        Ok(0)
    })
}

/// The memory of a parcel that isn't sealed yet, to be written; NULL for one that is, and for NULL. Aligned to a page; alive
/// until the parcel is sealed or freed.
#[unsafe(no_mangle)]
pub extern "C" fn strait_parcel_memory(parcel: Option<&mut StraitParcel>) -> *mut c_void {
    match parcel.map(|parcel| &mut parcel.0) {
        Some(State::Filling(filling)) => filling.as_mut_ptr().cast(),
        _ => ptr::null_mut(),
    }
}

/// Makes a parcel immutable, for ever and for everybody: now it can be sent. STRAIT_ERROR_SYSTEM while something else in this
/// process maps it or the kernel still writes to it (a read(2) under way); then it is lost and can only be freed. Fine if it is
/// sealed already.
#[unsafe(no_mangle)]
pub extern "C" fn strait_parcel_seal(parcel: Option<&mut StraitParcel>) -> c_int {
    guarded(|| {
        let parcel = parcel.ok_or_else(|| Failure::null("parcel"))?;
        parcel.0 = match std::mem::replace(&mut parcel.0, State::Lost) {
            State::Filling(filling) => State::Sealed(filling.seal()?),
            other => other,
        };
        parcel.sealed()?;
        Ok(0)
    })
}

/// The bytes of a sealed parcel, to be read. `*length` may be NULL. NULL for a parcel that isn't sealed, and for NULL. Alive
/// until the parcel is freed.
#[unsafe(no_mangle)]
pub extern "C" fn strait_parcel_bytes(
    parcel: Option<&StraitParcel>,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const c_void {
    let Some(State::Sealed(parcel)) = parcel.map(|parcel| &parcel.0) else { return ptr::null() };
    give(length, parcel.bytes().len());
    parcel.bytes().as_ptr().cast()
}

/// Sends a message with a sealed parcel, which stays ours too and can be sent again. Waits for room if need be, see
/// strait_set_patience(). `*sequence`, which a notice about the message would carry, may be NULL. That the receiver may
/// hold no more parcels is told by a notice, STRAIT_REASON_PARCEL_QUOTA.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_parcel_send(
    client: Option<&mut StraitClient>,
    to: u64,
    parcel: Option<&StraitParcel>,
    payload: *const c_void,
    length: usize,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        let parcel = parcel.ok_or_else(|| Failure::null("parcel"))?.sealed()?;
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word (strait.h, "Pointers").
        let payload = unsafe { bytes(payload, length) }?;
        give(sequence, client.sender()?.send_parcel(WorldId(to), parcel, payload)?);
        Ok(0)
    })
}

/// Takes the parcel that came with the record received last: 1 if there is one, 0 if not, or if it was taken already; then
/// `*parcel` is NULL. It is sealed; it stays until strait_parcel_free(), however long that is after the record. A parcel that
/// isn't taken is given back with its record.
#[unsafe(no_mangle)]
pub extern "C" fn strait_parcel_take(
    client: Option<&mut StraitClient>,
    parcel: Option<&mut MaybeUninit<*mut StraitParcel>>,
) -> c_int {
    with_client(client, |client| {
        let out = parcel.ok_or_else(|| Failure::null("parcel"))?;
        let taken = client.parcel.take().map(|parcel| Box::new(StraitParcel(State::Sealed(parcel))));
        let found = taken.is_some();
        out.write(taken.map_or(ptr::null_mut(), Box::into_raw));
        Ok(found.into())
    })
}

/// Gives a parcel back. Its memory is freed when nobody has it any more. NULL is fine, and so is a parcel whose client is closed.
#[unsafe(no_mangle)]
pub extern "C" fn strait_parcel_free(parcel: Option<Box<StraitParcel>>) {
    guarded(|| {
        drop(parcel);
        Ok(0)
    });
}
