//! A logistics order service made of the SwiftTrack crates.

fn main() {}
