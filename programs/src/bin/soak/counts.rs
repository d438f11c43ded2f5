//! What happened, counted by all processes together.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use programs::shared::Shared;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Things that were done.
    Done,
    /// Lines that were made to fail.
    Poisoned,
    /// Pages that were found good to the last byte.
    Verified,
    /// Times that a process was told of a loss: a signal, an error, a short count.
    Told,
}

const NAMES: [&str; 4] = ["done", "lines poisoned", "pages verified", "losses told"];

/// Counters in memory that processes share.
pub(crate) struct Counts([AtomicU64; NAMES.len()]);

#[expect(unsafe_code, reason = "the trait is a promise")]
// SAFETY: it is made of atomics, of which zeros are values.
unsafe impl Shared for Counts {}

impl Counts {
    pub(crate) fn add(&self, count: Count) {
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in NAMES.iter().zip(&self.0).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{} {name}", count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}
