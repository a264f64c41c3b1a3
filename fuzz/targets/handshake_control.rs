//! See `strait_fuzz::handshake_control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| strait_fuzz::handshake_control(data));
