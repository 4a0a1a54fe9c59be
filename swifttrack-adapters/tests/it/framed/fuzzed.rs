//! What the fuzzer found, or could have: its targets over a small corpus, and over chance.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[path = "../../../../fuzz/src/frames.rs"]
mod frames;
#[path = "../../../../fuzz/src/multiplexer.rs"]
mod multiplexer;

fn corpus(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut files = 0;
    for entry in fs::read_dir(folder.join(target)).unwrap() {
        let path = entry.unwrap().path();
        run(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files > 0);
}

#[test]
fn the_corpus_of_frames_passes() {
    corpus("frames", frames::run);
}

#[test]
fn the_corpus_of_the_multiplexer_passes() {
    corpus("multiplexer", multiplexer::run);
}

proptest! {
    // Each is a world of its own; the fuzzer does the millions.
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn chance_breaks_no_frame(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        frames::run(&data);
    }

    #[test]
    fn chance_finds_no_call_that_is_told_what_is_not_so(
        script in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        multiplexer::run(&script);
    }
}
