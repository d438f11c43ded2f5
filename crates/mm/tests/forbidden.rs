//! What must not compile: ways around the operations that can fail.

#[test]
fn user_memory_has_no_other_way_in() {
    trybuild::TestCases::new().compile_fail("tests/forbidden/*.rs");
}
