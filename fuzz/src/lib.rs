//! What the fuzz targets do with the bytes they are given. The same bodies run over the seeds as ordinary tests.
//!
//! | target | the bytes are | what must hold |
//! | --- | --- | --- |
//! | [`switch`] | a script for honest and hostile worlds | `strait_broker::harness` |
//! | [`record_stream`] | an outbox, and what changes in it between any two reads | each record lies within what was published; reading ends |
//! | [`handshake_control`] | a stranger's message | refused, or understood and the same when said again; nothing grows |
//! | [`image_index`] | the index of a clone's image | refused, or every area in its place, and the same when written anew |
//! | [`packed`] | a payload of several messages | each item lies within it; reading ends |
#![forbid(unsafe_code)]

mod handshake_control;
mod image_index;
mod packed;
mod record_stream;

pub use handshake_control::handshake_control;
pub use image_index::image_index;
pub use packed::packed;
pub use record_stream::record_stream;

/// A script for the switch.
pub fn switch(data: &[u8]) {
    // The fuzzer's main isn't Rust's.
    strait_sys::wake::ignore_broken_pipes();
    strait_broker::harness::play(&strait_broker::harness::operations(data));
}
