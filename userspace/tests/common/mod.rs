//! What several tests need: memory that fails, and children that may die.
#![expect(dead_code, reason = "every test program uses a part of this module")]

pub(crate) mod child;
pub(crate) mod inject;
pub(crate) mod pages;
