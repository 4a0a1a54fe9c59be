//! `cargo +nightly fuzz run problem`
#![no_main]

#[path = "../src/problem.rs"]
mod problem;

libfuzzer_sys::fuzz_target!(|data: &[u8]| problem::run(data));
