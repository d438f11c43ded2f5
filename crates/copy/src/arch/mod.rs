//! One module per architecture, each with the same names:
//!
//! * `Features`: what the CPU has and the caller allows,
//! * `VARIANTS`: the implementations, the plainest first, the best last,
//! * `single`: accesses of one word.
//!
//! Miri interprets no assembly, so it gets the generic module too.

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64;
#[cfg(any(miri, not(any(target_arch = "aarch64", target_arch = "x86_64"))))]
mod generic;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub use aarch64::*;
#[cfg(any(miri, not(any(target_arch = "aarch64", target_arch = "x86_64"))))]
pub use generic::*;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub use x86_64::*;
