//! See `strait_fuzz::image_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_fuzz::image_index(data));
