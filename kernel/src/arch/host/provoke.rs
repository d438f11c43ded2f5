//! Mistakes, made on purpose, that end a test.

/// The mistakes, by name.
pub const MISTAKES: &[(&str, fn())] = &[("PANIC", || panic!("dumptest"))];
