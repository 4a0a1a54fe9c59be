//! What fuzzing was started from, and what it found, read once more in every run.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/src/problem.rs"]
mod problem;
#[path = "../../../fuzz/src/soap.rs"]
mod soap;

fn each(corpus: &str, run: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(corpus);
    let mut files = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        run(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", directory.display());
}

#[test]
fn soap_messages() {
    each("soap", soap::run);
}

#[test]
fn problem_details() {
    each("problem", problem::run);
}
