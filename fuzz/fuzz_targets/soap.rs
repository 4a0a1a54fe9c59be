//! `cargo +nightly fuzz run soap`
#![no_main]

#[path = "../src/soap.rs"]
mod soap;

libfuzzer_sys::fuzz_target!(|data: &[u8]| soap::run(data));
