//! The monitor's logic that needs no EL2: what is poisoned, how an access to it is told from its
//! neighbours, what an instruction does, where a table walk goes.
//!
//! The program around it is in `main.rs` and its modules.
#![no_std]
#![forbid(unsafe_code)]

pub mod access;
pub mod device_tree;
pub mod exclusive;
pub mod instruction;
mod pattern;
pub mod poison;
pub mod walk;
pub mod watch;

/// Apart, so that a test can put those of a model checker in their place.
mod atomic {
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, fence};
}
