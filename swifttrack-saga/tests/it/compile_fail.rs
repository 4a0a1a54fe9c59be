//! What must not compile, and what the compiler says then.

/// Each case is a file of `tests/ui` and, beside it, what a newcomer reads. `TRYBUILD=overwrite`
/// writes it anew after a change of the compiler's words.
#[test]
fn broken_sagas_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
