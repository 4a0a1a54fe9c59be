//! Benches and load programs.
