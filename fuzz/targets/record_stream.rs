//! See `strait_fuzz::record_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_fuzz::record_stream(data));
