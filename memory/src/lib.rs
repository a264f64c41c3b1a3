//! Slices as mapped memory.
//!
//! This is one of the two places of the workspace where unsafe code may live (the other is
//! `strait-sys`). The rules it keeps, and for which docs/soundness.md argues:
//!
//! - Memory that a *hostile* peer can write ([`ReadOnly`]) is never behind a Rust reference. Control words
//!   are atomics; headers and payloads are copied out once, by instructions that tear at worst.
//! - Memory that only this process writes ([`Writable`]) is written through `&mut self`.
//! - Memory that only the *switch* writes ([`Inbox`]) may be read in place: the switch doesn't touch a
//!   record before the world has released it, and the kernel keeps everybody else from writing at all
//!   (`F_SEAL_FUTURE_WRITE` is checked when it is mapped).
//! - A *parcel* may be read in place by anybody, once the kernel guarantees that it never changes again (`F_SEAL_WRITE`).
//! - A mapping never goes away under its reader: the file can't shrink (`F_SEAL_SHRINK` is checked too), so
//!   no access can raise `SIGBUS`.

mod copy;
mod file;
mod mapping;
mod parcel;
pub mod racing;
mod slices;

pub use file::{SliceError, SliceFile};
pub use parcel::{MAX_PARCEL_BYTES, ParcelError, ParcelFile, ParcelReader, ParcelWriter};
pub use slices::{Inbox, ReadOnly, Writable, transfer};
