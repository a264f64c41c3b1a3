//! See `strait_fuzz::switch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_fuzz::switch(data));
