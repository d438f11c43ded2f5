//! Deterministic simulation: random programs on several address spaces and CPUs, with poison,
//! refused allocations and failing stores at any moment, against a byte-exact oracle.
//!
//! Everything follows from the seed. After each step all invariants of [`Memory::check`] hold,
//! every frame whose poison was consumed is isolated, and a process saw its own bytes, or an
//! error for memory that did fail. A failing run shrinks to a short script, which
//! [`Script`] prints and parses.
//!
//! [`Memory::check`]: crate::Memory::check

mod machine;
mod model;
mod random;
mod world;

pub use machine::{CPUS, FIRST_FRAME, LINE, SimMachine};
pub use random::Random;
pub use world::{
    Counts, Failure, Kind, Script, Step, World, memory, run, run_refusing, run_script, script,
    shrink, try_access,
};
