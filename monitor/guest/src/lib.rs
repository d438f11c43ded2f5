//! What the acceptance guest must see, as pure functions: which accesses meet poison, what a store
//! leaves behind, and how a run is described.
//!
//! The program around it is in `main.rs` and its modules. It shares nothing with the monitor but the
//! contract in `control`, so the two cannot be wrong together.
#![no_std]
#![forbid(unsafe_code)]

pub mod memory;
pub mod parameters;
pub mod random;

pub use memory::{Coverage, Memory};
pub use parameters::Parameters;
pub use random::Random;
