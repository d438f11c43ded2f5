//! One module per architecture, each with the same names:
//!
//! * `Features`: what the CPU has and the caller allows,
//! * `VARIANTS`: the implementations, the plainest first, each needing more than the ones before,
//! * `single`: accesses of one word.
//!
//! Miri interprets no assembly, so it gets the generic module too.

mod generic;

pub use generic::*;
