//! Deterministic simulation: random programs on several address spaces and CPUs, with poison,
//! refused allocations and failing stores at any moment, against a byte-exact oracle.
//!
//! [`run()`] takes one step at a time. [`race()`] interleaves CPUs inside their operations.
//!
//! Everything follows from the seed. After each step all invariants of [`Memory::check`] hold,
//! every frame whose poison was consumed is isolated, and a process saw its own bytes, or an
//! error for memory that did fail. A failing run shrinks to a short script, which
//! [`Script`] prints and parses.
//!
//! [`Memory::check`]: crate::Memory::check

mod access;
mod calls;
mod campaign;
mod compact;
mod errors;
mod files;
mod hold;
mod huge;
mod hugetlb;
mod ksm;
mod machine;
mod mlock;
mod model;
mod pins;
mod race;
mod racer;
mod ram;
mod random;
mod remap;
mod run;
pub(crate) mod schedule;
mod script;
mod swap;
mod world;

pub use access::try_access;
pub use campaign::{Broken, Campaign, EPISODE, Summary};
pub use hold::Held;
pub use machine::{CPUS, FIRST_FRAME, LINE, SimMachine};
pub use race::{RaceCounts, race};
pub use random::Random;
pub use run::{Failure, run, run_refusing, run_script, script, shrink};
pub use script::{Kind, Script, Step};
pub use world::{Counts, World, memory, memory_with};
