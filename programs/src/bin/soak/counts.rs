//! What happened, counted by all processes together.

use std::fmt;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

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

impl Counts {
    /// New ones, all zero, until this process and its children end.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub(crate) fn shared() -> Result<&'static Self> {
        #[expect(unsafe_code, reason = "std has no memory that processes share")]
        // SAFETY: a new mapping, wherever there is room.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("no shared memory");
        }
        #[expect(unsafe_code, reason = "as above")]
        // SAFETY: zeros are counters, aligned to a page, and the mapping is never undone.
        Ok(unsafe { &*address.cast() })
    }

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
