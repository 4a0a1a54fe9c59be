//! `cargo +nightly fuzz run multiplexer`
#![no_main]

#[path = "../src/multiplexer.rs"]
mod multiplexer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| multiplexer::run(data));
