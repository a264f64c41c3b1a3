//! strait's client as a C ABI: nothing on the other side needs to know of Rust.
//!
//! Each function of `include/strait.h` is one function here, and does no more than call [`strait_client::Client`]:
//! judge the caller's pointers, translate, keep panics in. What the caller must keep to is said once, at the head
//! of the header (`cbindgen.toml`); the doc comments below become the header's.
//!
//! **Whom this distrusts:** nobody. The caller is our own process, which has all our memory anyway. Checks for null
//! and the like turn mistakes into errors; they are no border. The border is behind the client, in the slices.
//!
//! **How pointers come in.** A pointer to one thing is an `Option` of a reference (null is `None`: guaranteed by the
//! documentation of `Option`, "Representation"), one to be written `Option<&mut MaybeUninit<_>>`, so that such a
//! function has no unsafe line. What has a length or ends in NUL is a raw pointer and goes through `pointer`: only
//! there and where it is called is unsafe code.

// In the order in which the header tells it.
mod error;

mod record;

mod client;

mod send;

mod receive;

mod draft;

mod parcel;

mod link;

mod store;

mod grants;

mod dial;

mod topics;

mod worlds;

mod tap;

mod pointer;

#[cfg(test)]
mod tests;
